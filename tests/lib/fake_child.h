/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_CHILD_H
#define TESTS_LIB_FAKE_CHILD_H

/* A kind of child that does what a test says, and a journal of what was done to
 * it: "start a, start b, stop b". */

#include <vivero/supervisor.h>

#include <stdbool.h>

enum fake_start {
    FAKE_COMES_UP = 0,
    FAKE_FAILS,        /* with code -7 */
    FAKE_IGNORES,      /* wants not to be */
    FAKE_STARTS_LATER, /* until fake_come_up() */
    FAKE_FAILS_LATER   /* on another thread, with code -7 */
};

enum fake_stop {
    FAKE_OBEYS = 0, /* ends for the reason given */
    FAKE_DEAF,      /* until it is killed, or fake_end() */
    FAKE_CRASHES    /* ends, but failed with code 5 */
};

struct fake {
    const char *name;
    enum fake_start start;
    enum fake_stop stop;
    int fails; /* so many starts fail, whatever start says */
};

/* options: a struct fake, which stays where it is; or NULL, and then the
 * argument is a pointer to one. */
extern const struct vivero_child_ops fake_child;
/* The same without a kill. */
extern const struct vivero_child_ops fake_without_kill;

/* A spec of this fake, to be changed. */
struct vivero_child_spec fake_spec(struct fake *fake);

/* Its living incarnation; nobody. */
struct vivero_ref fake_ref(const struct fake *fake);
int fake_starts(const struct fake *fake);
void fake_set_fails(struct fake *fake, int fails);

/* It ends, by itself. */
void fake_end(const struct fake *fake, enum vivero_exit_kind kind);
void fake_come_up(const struct fake *fake);

/* What was done to all of them since; and forget it. */
const char *fake_journal(void);
void fake_reset(void);
/* Whether the journal comes to say this, within a long time. */
bool fake_said(const char *story);
bool fake_started(const struct fake *fake, int starts);
/* Without a journal, for many. */
void fake_be_quiet(void);

#endif
