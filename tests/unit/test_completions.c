/* SPDX-License-Identifier: MIT */
#include <vivero/error.h>
#include <vivero/time.h>

#include "mailbox/crew.h"
#include "mailbox/future.h"
#include "os/pollable.h"
#include "os/thread.h"
#include "tests/lib/eventually.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

static struct vv_crew crew;
static struct vv_mailbox mailbox;
static struct vv_space space;
static struct vivero_completions *queue;
static int tags[8];

static void open_target(void)
{
    const struct vv_spin none = {0, 0};

    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_crew_init(&crew, 1, &none, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, 8, &space, NULL),
                          VIVERO_OK);
}

static void close_target(void)
{
    vv_mailbox_fini(&mailbox);
    vv_crew_fini(&crew);
    vv_reply_release();
}

static void set_up(void)
{
    open_target();
    CU_ASSERT_EQUAL_FATAL(vivero_completions_open(&queue), VIVERO_OK);
}

static void tear_down(void)
{
    vivero_completions_close(queue);
    vv_pollable_refuse_eventfd(false);
    close_target();
}

/* A message under way whose tag is the n-th. */
struct sent {
    struct vv_reply *reply;
    struct vivero_future future;
    uint32_t generation;
};

static struct sent send_nth(uint32_t n)
{
    const struct vv_future_target target = {
        .object = &crew, .crew = &crew, .addressed = false};
    struct sent sent = {.reply = vv_reply_new(0, true)};

    CU_ASSERT_PTR_NOT_NULL_FATAL(sent.reply);
    vv_future_begin(sent.reply, &target, queue, &tags[n]);
    vv_reply_set_credit(sent.reply, &mailbox.credit);
    sent.future = vv_future_of(sent.reply);
    return sent;
}

static void begin(struct sent *sent)
{
    struct vv_box *box;

    CU_ASSERT_FATAL(vv_reply_begin(sent->reply, &sent->generation, &box));
}

static void finish(struct sent *sent, int result)
{
    begin(sent);
    vv_reply_settle(sent->reply, sent->generation, result, NULL, NULL);
}

static struct sent send_and_finish(uint32_t n)
{
    struct sent sent = send_nth(n);

    finish(&sent, VIVERO_OK);
    return sent;
}

/* Which tag comes next; -1: none is there. Its future is used up. */
static int next_tag(int *result)
{
    struct vivero_completion completion;

    if (vivero_completions_next(queue, &completion, 0) != VIVERO_OK) {
        return -1;
    }
    *result = completion.result;
    CU_ASSERT_EQUAL(vivero_future_wait(completion.future, NULL, 0, 0),
                    completion.result);
    return (int)((int *)completion.tag - tags);
}

/* ---- Taking -------------------------------------------------------------------- */

static void finished_calls_come_in_the_order_in_which_they_finished(void)
{
    struct sent first = send_nth(0);
    struct sent second = send_nth(1);
    struct sent third = send_nth(2);
    int result = 0;

    CU_ASSERT_EQUAL(next_tag(&result), -1);
    finish(&third, -77);
    finish(&first, VIVERO_OK);

    CU_ASSERT_EQUAL(next_tag(&result), 2);
    CU_ASSERT_EQUAL(result, -77);
    CU_ASSERT_EQUAL(next_tag(&result), 0);
    CU_ASSERT_EQUAL(result, VIVERO_OK);
    CU_ASSERT_EQUAL(next_tag(&result), -1);
    finish(&second, VIVERO_OK);
    CU_ASSERT_EQUAL(next_tag(&result), 1);
}

static void a_cancelled_call_is_finished(void)
{
    struct sent before = send_nth(0);
    struct sent after = send_nth(1);
    int result = 0;

    CU_ASSERT(vv_reply_cut(before.reply));
    CU_ASSERT_EQUAL(next_tag(&result), 0);
    CU_ASSERT_EQUAL(result, VIVERO_E_CANCELLED);
    vv_reply_bury(before.reply);

    CU_ASSERT(vv_reply_cut(after.reply));
    vv_reply_bury(after.reply);
    CU_ASSERT_EQUAL(next_tag(&result), 1);
    CU_ASSERT_EQUAL(result, VIVERO_E_CANCELLED);
}

static void what_is_used_up_otherwise_is_not_among_them(void)
{
    struct sent waited = send_and_finish(0);
    struct sent abandoned = send_and_finish(1);
    struct sent running = send_nth(2);
    int result;

    begin(&running);
    CU_ASSERT_EQUAL(vivero_future_wait(waited.future, NULL, 0, 0), VIVERO_OK);
    vivero_future_abandon(abandoned.future);
    vivero_future_abandon(running.future);
    vv_reply_settle(running.reply, running.generation, VIVERO_OK, NULL, NULL);

    CU_ASSERT_EQUAL(next_tag(&result), -1);
}

static void a_message_that_was_not_queued_is_not_among_them(void)
{
    struct sent sent = send_nth(0);
    int result;

    vv_future_undo(sent.reply);
    vv_reply_discard(sent.reply);

    CU_ASSERT_EQUAL(next_tag(&result), -1);
}

static void next_waits_up_to_its_time_out(void)
{
    struct vivero_completion completion;
    int64_t before = vivero_now();

    CU_ASSERT_EQUAL(
        vivero_completions_next(queue, &completion, VIVERO_MILLISECONDS(2)),
        VIVERO_E_AGAIN);
    CU_ASSERT(vivero_now() - before >= VIVERO_MILLISECONDS(2));
}

static void finish_later(void *ctx)
{
    struct sent *sent = ctx;

    eventually_nap();
    vv_reply_settle(sent->reply, sent->generation, VIVERO_OK, NULL, NULL);
}

static void next_is_woken_by_a_call_that_finishes(void)
{
    const struct vv_thread_options options = {0};
    struct sent sent = send_nth(3);
    struct vivero_completion completion = {0};
    struct vv_thread thread;

    begin(&sent);
    CU_ASSERT_EQUAL_FATAL(
        vv_thread_start(&thread, &options, finish_later, &sent), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_completions_next(queue, &completion, VIVERO_FOREVER),
                    VIVERO_OK);
    vv_thread_join(&thread);

    CU_ASSERT_PTR_EQUAL(completion.tag, &tags[3]);
    CU_ASSERT_EQUAL(vivero_future_wait(completion.future, NULL, 0, 0),
                    VIVERO_OK);
}

/* ---- The descriptor ---------------------------------------------------------------- */

static bool is_readable(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};

    return poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN) != 0;
}

static void is_readable_exactly_while_something_is_ready(void)
{
    int fd = vivero_completions_fd(queue);
    struct sent sent;
    int result;

    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(vivero_completions_fd(queue), fd);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_FALSE(is_readable(fd));
        sent = send_nth(0);
        CU_ASSERT_FALSE(is_readable(fd));
        finish(&sent, VIVERO_OK);
        (void)send_and_finish(1);
        CU_ASSERT(is_readable(fd));
        CU_ASSERT_EQUAL(next_tag(&result), 0);
        CU_ASSERT(is_readable(fd));
        CU_ASSERT_EQUAL(next_tag(&result), 1);
    }
    CU_ASSERT_FALSE(is_readable(fd));

    sent = send_and_finish(0);
    CU_ASSERT(is_readable(fd));
    vivero_future_abandon(sent.future);
    CU_ASSERT_FALSE(is_readable(fd));
}

static void the_descriptor_is_readable_exactly_while_something_is_ready(void)
{
    is_readable_exactly_while_something_is_ready();
}

static void so_is_a_pipe_where_there_is_no_eventfd(void)
{
    vv_pollable_refuse_eventfd(true);
    is_readable_exactly_while_something_is_ready();
}

static void a_descriptor_asked_for_late_shows_what_is_there(void)
{
    int result;

    (void)send_and_finish(0);
    CU_ASSERT(is_readable(vivero_completions_fd(queue)));
    CU_ASSERT_EQUAL(next_tag(&result), 0);
    CU_ASSERT_FALSE(is_readable(vivero_completions_fd(queue)));
}

static void without_descriptors_the_answer_is_limit(void)
{
    struct rlimit before;
    struct rlimit none;

    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    CU_ASSERT_EQUAL(vivero_completions_fd(queue), VIVERO_E_LIMIT);
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);

    CU_ASSERT(vivero_completions_fd(queue) >= 0);
}

/* ---- Closing ------------------------------------------------------------------------- */

static void close_abandons_what_was_not_given_out(void)
{
    struct sent queued = send_nth(0);
    struct sent running = send_nth(1);
    struct sent finished;
    struct sent given = send_and_finish(3);
    struct vivero_completion completion;

    begin(&running);
    CU_ASSERT_EQUAL(vivero_completions_next(queue, &completion, 0), VIVERO_OK);
    finished = send_and_finish(2);
    vivero_completions_close(queue);
    queue = NULL;

    CU_ASSERT_EQUAL(vivero_future_wait(finished.future, NULL, 0, 0),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vv_mailbox_settled(&mailbox, VV_SETTLED_CANCELLED), 1);
    vv_reply_bury(queued.reply);
    vv_reply_settle(running.reply, running.generation, VIVERO_OK, NULL, NULL);
    CU_ASSERT_EQUAL(vv_reply_generation(running.reply),
                    running.future.generation + 1);
    CU_ASSERT_EQUAL(vivero_future_wait(given.future, NULL, 0, 0), VIVERO_OK);
}

static void open_reports_no_memory_and_leaves_nothing(void)
{
    struct vivero_completions *other = NULL;
    int descriptors[2];

    tear_down();
    CU_ASSERT_FATAL(fault_allocator_install());
    fault_allocator_fail_after(0);
    CU_ASSERT_EQUAL(vivero_completions_open(&other), VIVERO_E_NO_MEMORY);
    CU_ASSERT_PTR_NULL(other);
    fault_allocator_fail_after(FAULT_NEVER);
    CU_ASSERT_EQUAL(vivero_completions_open(&other), VIVERO_OK);
    descriptors[0] = vivero_completions_fd(other);
    vivero_completions_close(other);
    descriptors[1] = dup(0);

    CU_ASSERT_EQUAL(descriptors[0], descriptors[1]);
    close(descriptors[1]);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT(fault_allocator_uninstall());
    set_up();
}

static void closing_nothing_is_fine(void)
{
    vivero_completions_close(NULL);
}

SUITE_MAIN("completions", set_up, tear_down,
           TEST(finished_calls_come_in_the_order_in_which_they_finished),
           TEST(a_cancelled_call_is_finished),
           TEST(what_is_used_up_otherwise_is_not_among_them),
           TEST(a_message_that_was_not_queued_is_not_among_them),
           TEST(next_waits_up_to_its_time_out),
           TEST(next_is_woken_by_a_call_that_finishes),
           TEST(the_descriptor_is_readable_exactly_while_something_is_ready),
           TEST(so_is_a_pipe_where_there_is_no_eventfd),
           TEST(a_descriptor_asked_for_late_shows_what_is_there),
           TEST(without_descriptors_the_answer_is_limit),
           TEST(close_abandons_what_was_not_given_out),
           TEST(open_reports_no_memory_and_leaves_nothing),
           TEST(closing_nothing_is_fine))
