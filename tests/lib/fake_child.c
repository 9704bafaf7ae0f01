/* SPDX-License-Identifier: MIT */
#include "tests/lib/fake_child.h"

#include "tests/lib/eventually.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STORY 4096
#define FAKES 64
#define PATIENCE VIVERO_SECONDS(20)

struct record {
    const struct fake *fake;
    struct vivero_ref ref;
    int starts;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* guarded by lock */
static char story[STORY];
static struct record records[FAKES];
static bool quiet;

static struct record *record_of_locked(const struct fake *fake)
{
    int i = 0;

    while (records[i].fake != NULL && records[i].fake != fake) {
        i++;
        if (i == FAKES) {
            abort();
        }
    }
    records[i].fake = fake;
    return &records[i];
}

static void write_locked(const char *what, const struct fake *fake)
{
    size_t used = strlen(story);

    (void)snprintf(story + used, STORY - used, "%s%s %s", used > 0 ? ", " : "",
                   what, fake->name);
}

static void write(const char *what, const struct fake *fake)
{
    pthread_mutex_lock(&lock);
    if (!quiet) {
        write_locked(what, fake);
    }
    pthread_mutex_unlock(&lock);
}

/* ---- The kind ------------------------------------------------------------------ */

static void *fail_elsewhere(void *ctx)
{
    struct vivero_ref child;

    memcpy(&child, ctx, sizeof(child));
    free(ctx);
    vivero_child_started(child, -7);
    return NULL;
}

static int fail_later(struct vivero_ref child)
{
    struct vivero_ref *copy = malloc(sizeof(*copy));
    pthread_t thread;

    if (copy == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    *copy = child;
    if (pthread_create(&thread, NULL, fail_elsewhere, copy) != 0) {
        free(copy);
        return VIVERO_E_LIMIT;
    }
    pthread_detach(thread);
    return VIVERO_CHILD_STARTING;
}

static int begin(struct fake *fake, const struct vivero_child_start *start)
{
    switch (fake->start) {
    case FAKE_COMES_UP:
        return 0;
    case FAKE_FAILS:
        return -7;
    case FAKE_IGNORES:
        return VIVERO_IGNORE;
    case FAKE_STARTS_LATER:
        return VIVERO_CHILD_STARTING;
    case FAKE_FAILS_LATER:
        return fail_later(start->child);
    }
    return -1;
}

static int start(const struct vivero_child_start *start)
{
    struct fake *fake = (struct fake *)(uintptr_t)start->options;
    bool fails = false;

    if (fake == NULL && start->argument_size == sizeof(fake)) {
        memcpy(&fake, start->argument, sizeof(fake));
    }
    pthread_mutex_lock(&lock);
    if (!quiet) {
        struct record *record = record_of_locked(fake);

        record->ref = start->child;
        record->starts++;
        write_locked("start", fake);
    }
    fails = fake->fails > 0;
    fake->fails -= fails;
    pthread_mutex_unlock(&lock);
    return fails ? -7 : begin(fake, start);
}

/* Which fake a reference is; NULL: it is not known. */
static const struct fake *fake_of(struct vivero_ref ref)
{
    const struct fake *fake = NULL;

    pthread_mutex_lock(&lock);
    for (int i = 0; i < FAKES && records[i].fake != NULL; i++) {
        if (vivero_ref_equal(records[i].ref, ref)) {
            fake = records[i].fake;
        }
    }
    pthread_mutex_unlock(&lock);
    return fake;
}

static void stop(struct vivero_ref child, const struct vivero_exit *reason,
                 const void *options)
{
    const struct fake *fake = options != NULL ? options : fake_of(child);
    struct vivero_exit failed = vivero_reason(VIVERO_EXIT_FAILED, 5, "crash");

    if (fake == NULL) {
        vivero_child_ended(child, reason);
        return;
    }
    write("stop", fake);
    switch (fake->stop) {
    case FAKE_OBEYS:
        vivero_child_ended(child, reason);
        break;
    case FAKE_CRASHES:
        vivero_child_ended(child, &failed);
        break;
    case FAKE_DEAF:
        break;
    }
}

static void do_kill(struct vivero_ref child, const void *options)
{
    const struct fake *fake = options != NULL ? options : fake_of(child);

    if (fake != NULL) {
        write("kill", fake);
    }
}

const struct vivero_child_ops fake_child = {.size = sizeof(fake_child),
                                            .kind = "fake",
                                            .start = start,
                                            .stop = stop,
                                            .kill = do_kill};
const struct vivero_child_ops fake_without_kill = {
    .size = sizeof(fake_child), .kind = "fake", .start = start, .stop = stop};

struct vivero_child_spec fake_spec(struct fake *fake)
{
    return (struct vivero_child_spec){.size = sizeof(struct vivero_child_spec),
                                      .id = fake->name,
                                      .ops = &fake_child,
                                      .options = fake};
}

/* ---- What a test does and sees --------------------------------------------------- */

struct vivero_ref fake_ref(const struct fake *fake)
{
    struct vivero_ref ref;

    pthread_mutex_lock(&lock);
    ref = record_of_locked(fake)->ref;
    pthread_mutex_unlock(&lock);
    return ref;
}

int fake_starts(const struct fake *fake)
{
    int starts;

    pthread_mutex_lock(&lock);
    starts = record_of_locked(fake)->starts;
    pthread_mutex_unlock(&lock);
    return starts;
}

void fake_set_fails(struct fake *fake, int fails)
{
    pthread_mutex_lock(&lock);
    fake->fails = fails;
    pthread_mutex_unlock(&lock);
}

void fake_end(const struct fake *fake, enum vivero_exit_kind kind)
{
    struct vivero_exit reason = vivero_reason(kind, 5, "of the test");

    vivero_child_ended(fake_ref(fake), &reason);
}

void fake_come_up(const struct fake *fake)
{
    vivero_child_started(fake_ref(fake), 0);
}

const char *fake_journal(void)
{
    static char copy[STORY];

    pthread_mutex_lock(&lock);
    memcpy(copy, story, STORY);
    pthread_mutex_unlock(&lock);
    return copy;
}

void fake_reset(void)
{
    pthread_mutex_lock(&lock);
    story[0] = '\0';
    quiet = false;
    memset(records, 0, sizeof(records));
    pthread_mutex_unlock(&lock);
}

void fake_be_quiet(void)
{
    pthread_mutex_lock(&lock);
    quiet = true;
    pthread_mutex_unlock(&lock);
}

static bool says(void *ctx)
{
    return strcmp(fake_journal(), ctx) == 0;
}

bool fake_said(const char *wanted)
{
    bool said = eventually(says, (void *)(uintptr_t)wanted, PATIENCE);

    if (!said) {
        fprintf(stderr, "\nnot \"%s\"\nbut \"%s\"\n", wanted, fake_journal());
    }
    return said;
}

struct wanted {
    const struct fake *fake;
    int starts;
};

static bool has_started(void *ctx)
{
    const struct wanted *wanted = ctx;

    return fake_starts(wanted->fake) >= wanted->starts;
}

bool fake_started(const struct fake *fake, int starts)
{
    struct wanted wanted = {fake, starts};

    return eventually(has_started, &wanted, PATIENCE);
}
