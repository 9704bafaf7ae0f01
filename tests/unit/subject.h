/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_SUBJECT_H
#define TESTS_UNIT_SUBJECT_H

/* A subject: an entity that does nothing by itself. Whoever tests is its thread.
 * Its memory is malloc's and gone with the last reference, so that a sanitizer
 * sees who uses it after that. Nothing here asserts. */

#include <vivero/error.h>
#include <vivero/time.h>

#include "entity/entity.h"
#include "mailbox/reply.h"

/* Who wants to hear of a subject; written under the entity's lock. */
struct patron {
    struct vv_owner owner;
    uint32_t started;
    int error;
    uint32_t ended;
    struct vivero_exit exit;
    bool started_after_end;
};

void patron_init(struct patron *patron);

/* Bound behind a reference of its own; NULL: no memory. patron may be NULL. */
struct vv_entity *subject_new(uint32_t flags, uint32_t depth,
                              struct patron *patron);
struct vv_entity *subject_new_below(uint32_t flags, struct vivero_ref parent);
/* One that is yet to be bound. */
struct vv_entity *subject_new_unbound(uint32_t flags, uint32_t depth);
/* End it for a reason, and give back its thread's reference. False: somebody
 * else had ended it. */
bool subject_end(struct vv_entity *subject, enum vivero_exit_kind kind);
/* How many have not been freed. */
uint32_t subject_count(void);

/* What a subject was sent. Calls are answered with their number. */
struct taken {
    enum { NOTHING, OVER, REQUEST, VERDICT, TELL, CALL, EXIT, DOWN } what;
    int number; /* TELL, CALL, REQUEST: its kind */
    struct vivero_ref from;
    struct vivero_exit exit; /* VERDICT, EXIT, DOWN */
    struct vivero_monitor monitor;
};

/* Take what is next, and deal with it. */
struct taken subject_take(struct vv_entity *subject);
/* The number of what is next; -1: nothing, or something without a number. */
int subject_take_number(struct vv_entity *subject);
/* The kind of exit it is told or ends with next; NONE: something else. */
enum vivero_exit_kind subject_take_exit(struct vv_entity *subject);

/* An envelope with a number in it, sent by nobody. */
struct vv_envelope *subject_letter(int number, bool reserved);
/* Put one; frees it again if it was refused. */
int subject_put(struct vv_entity *subject, int number);
int subject_put_reserved(struct vv_entity *subject, int number);

/* One call: queued by call_put(), over after call_wait(). */
struct call {
    struct vv_entity *entity;
    struct vv_reply *reply;
    bool expired;
    int answer;
};

int call_put(struct call *call, struct vivero_ref to, int number,
             int64_t timeout_ns);
int call_wait(struct call *call);
bool call_cancel(const struct call *call);

#endif
