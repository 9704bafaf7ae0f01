/* SPDX-License-Identifier: MIT */
/* The driver as a thread: when it is there, when it wakes, and races for it. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "os/thread.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"
#include "timer/timer.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdatomic.h>

#define PATIENCE VIVERO_SECONDS(20)
#define HOUR VIVERO_SECONDS(3600)

/* ---- Timers that count ----------------------------------
 */

#define RECORDS_MAX 10000u

struct record {
    struct vv_timer timer;
};

static _Atomic uint32_t fired;
static struct record records[RECORDS_MAX];

static uint32_t fired_count(void)
{
    return atomic_load(&fired);
}

static void count_firing(struct vv_timer *timer)
{
    (void)timer;
    atomic_fetch_add(&fired, 1);
}

static bool so_many_fired(void *ctx)
{
    return fired_count() >= *(const uint32_t *)ctx;
}

static bool await_fired(uint32_t n)
{
    return eventually(so_many_fired, &n, PATIENCE);
}

static void set_up(void)
{
    atomic_store(&fired, 0);
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        vv_timer_init(&records[i].timer, count_firing);
    }
    CU_ASSERT_EQUAL(vv_timer_retain(), VIVERO_OK);
}

static void tear_down(void)
{
    vv_timer_release();
}

/* ---- The driver's thread, as the system sees it --------------------------------
 */

#define THREAD_NAME "vivero/timer\n"

static bool read_task_file(const char *task, const char *file, char *text,
                           size_t size)
{
    char path[300];
    FILE *in;
    size_t length = 0;

    snprintf(path, sizeof(path), "/proc/self/task/%.200s/%s", task, file);
    in = fopen(path, "r");
    if (in != NULL) {
        length = fread(text, 1, size - 1, in);
        fclose(in);
    }
    text[length] = '\0';
    return length > 0;
}

/* How often it gave up its processor to wait; -1: there is no such thread. */
static long driver_sleeps(void)
{
    DIR *folder = opendir("/proc/self/task");
    char text[4096];
    long sleeps = -1;

    for (struct dirent *entry;
         folder != NULL && (entry = readdir(folder)) != NULL;) {
        if (read_task_file(entry->d_name, "comm", text, sizeof(text)) &&
            strcmp(text, THREAD_NAME) == 0 &&
            read_task_file(entry->d_name, "status", text, sizeof(text))) {
            const char *line = strstr(text, "\nvoluntary_ctxt_switches:");

            sleeps = line != NULL ? strtol(strchr(line, '\t'), NULL, 10) : 0;
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return sleeps;
}

static bool driver_is_there(void *ctx)
{
    (void)ctx;
    return driver_sleeps() >= 0;
}

/* It slept once more since *ctx. */
static bool driver_slept_since(void *ctx)
{
    return driver_sleeps() > *(const long *)ctx;
}

static void a_start_after_the_first_does_not_wake_the_driver(void)
{
    long before = driver_sleeps();
    long after;

    vv_timer_start(&records[0].timer, vivero_now() + HOUR);
    CU_ASSERT_TRUE_FATAL(eventually(driver_slept_since, &before, PATIENCE));

    before = driver_sleeps();
    for (uint32_t i = 1; i < 5000; i++) {
        vv_timer_start(&records[i].timer, vivero_now() + HOUR + i);
    }
    after = driver_sleeps();

    CU_ASSERT_TRUE(after - before < 100);
    for (uint32_t i = 0; i < 5000; i++) {
        CU_ASSERT_TRUE(vv_timer_cancel(&records[i].timer));
    }
}

/* ---- Races ------------------------------------------------------------------------ */

#define RACERS 4u
#define ROUNDS 3000u

/* Timers that everybody starts and cancels; who fires them is the driver. */
struct race {
    struct vv_timer timer;
    _Atomic uint64_t fires;
};

static struct race races[8];

static void count_fire(struct vv_timer *timer)
{
    atomic_fetch_add(&((struct race *)timer)->fires, 1);
}

struct racer {
    struct vv_thread thread;
    uint32_t number;
    uint64_t starts[8];
    uint64_t cancels[8];
};

static void start_and_cancel(void *ctx)
{
    struct racer *racer = ctx;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t which = (i + racer->number * 2) % 8;

        vv_timer_start(&races[which].timer,
                       vivero_now() + VIVERO_MICROSECONDS(i % 100));
        racer->starts[which]++;
        if (i % 3 == 0) {
            racer->cancels[which] += vv_timer_cancel(&races[which].timer);
        } else if (i % 3 == 1) {
            racer->cancels[which] +=
                vv_timer_cancel_and_wait(&races[which].timer);
        }
    }
}

static void racing_starts_and_cancels_lose_no_timer(void)
{
    static struct racer racers[RACERS];
    const struct vv_thread_options options = {0};
    uint32_t started = 0;

    memset(racers, 0, sizeof(racers));
    for (uint32_t i = 0; i < 8; i++) {
        vv_timer_init(&races[i].timer, count_fire);
        atomic_store(&races[i].fires, 0);
    }
    for (; started < RACERS; started++) {
        racers[started].number = started;
        if (vv_thread_start(&racers[started].thread, &options, start_and_cancel,
                            &racers[started]) != VIVERO_OK) {
            break;
        }
    }
    CU_ASSERT_EQUAL(started, RACERS);
    for (uint32_t i = 0; i < started; i++) {
        vv_thread_join(&racers[i].thread);
    }

    for (uint32_t i = 0; i < 8; i++) {
        uint64_t starts = 0;
        uint64_t cancels = 0;

        (void)vv_timer_cancel_and_wait(&races[i].timer);
        for (uint32_t k = 0; k < started; k++) {
            starts += racers[k].starts[i];
            cancels += racers[k].cancels[i];
        }
        /* The rest were started over. */
        CU_ASSERT_TRUE(atomic_load(&races[i].fires) + cancels <= starts);
        CU_ASSERT_EQUAL(vv_timer_due(&races[i].timer), 0);
    }
}

/* One owner: what it cancelled did not fire, what it did not cancel did. */
static void every_start_is_either_cancelled_or_fires(void)
{
    struct race *race = &races[0];
    uint64_t cancels = 0;

    vv_timer_init(&race->timer, count_fire);
    atomic_store(&race->fires, 0);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        vv_timer_start(&race->timer,
                       vivero_now() + VIVERO_MICROSECONDS(i % 60));
        while (i % 2 == 0 && vivero_now() % 97 != 0) {
        }
        cancels += vv_timer_cancel_and_wait(&race->timer);
    }

    CU_ASSERT_EQUAL(atomic_load(&race->fires) + cancels, ROUNDS);
}

/* ---- The driver's life --------------------------------------------------------------
 */

static void the_driver_lives_while_somebody_retains_it(void)
{
    CU_ASSERT_TRUE(eventually(driver_is_there, NULL, PATIENCE));
    CU_ASSERT_EQUAL(vv_timer_retain(), VIVERO_OK);
    vv_timer_release();
    CU_ASSERT_TRUE(driver_sleeps() >= 0);

    vv_timer_release();
    CU_ASSERT_EQUAL(driver_sleeps(), -1);

    CU_ASSERT_EQUAL(vv_timer_retain(), VIVERO_OK);
    vv_timer_start(&records[0].timer, 0);
    CU_ASSERT_TRUE(await_fired(1));
}

static void without_a_thread_nothing_is_retained(void)
{
    vv_timer_release();
    vv_thread_fail_starts(0, 1);
    CU_ASSERT_EQUAL(vv_timer_retain(), VIVERO_E_LIMIT);
    vv_thread_fail_starts(0, 0);
    CU_ASSERT_EQUAL(driver_sleeps(), -1);

    CU_ASSERT_EQUAL(vv_timer_retain(), VIVERO_OK);
    vv_timer_start(&records[0].timer, 0);
    CU_ASSERT_TRUE(await_fired(1));
}

static void retain_and_release(void *ctx)
{
    struct record *record = ctx;

    for (uint32_t i = 0; i < 100; i++) {
        if (vv_timer_retain() == VIVERO_OK) {
            vv_timer_start(&record->timer, vivero_now() + i % 2 * HOUR);
            (void)vv_timer_cancel_and_wait(&record->timer);
            vv_timer_release();
        }
    }
}

static void nothing(struct vv_timer *timer)
{
    (void)timer;
}

static void many_threads_may_make_and_end_the_driver(void)
{
    const struct vv_thread_options options = {0};
    struct vv_thread threads[RACERS];
    uint32_t started = 0;

    vv_timer_release();
    for (; started < RACERS; started++) {
        vv_timer_init(&records[started].timer, nothing);
        if (vv_thread_start(&threads[started], &options, retain_and_release,
                            &records[started]) != VIVERO_OK) {
            break;
        }
    }
    CU_ASSERT_EQUAL(started, RACERS);
    for (uint32_t i = 0; i < started; i++) {
        vv_thread_join(&threads[i]);
    }

    CU_ASSERT_EQUAL(driver_sleeps(), -1);
    CU_ASSERT_EQUAL(vv_timer_retain(), VIVERO_OK);
}

static jmp_buf out_of_misuse;
static char sentence[256];

static void note_misuse(const char *text, void *ctx)
{
    (void)ctx;
    snprintf(sentence, sizeof(sentence), "%s", text);
    longjmp(out_of_misuse, 1);
}

static void release_in_callback(struct vv_timer *timer)
{
    if (setjmp(out_of_misuse) == 0) {
        vv_timer_release();
    }
    count_firing(timer);
}

static void a_callback_may_not_release(void)
{
    sentence[0] = '\0';
    vivero_set_misuse_hook(note_misuse, NULL);
    vv_timer_init(&records[0].timer, release_in_callback);
    vv_timer_start(&records[0].timer, 0);

    CU_ASSERT_TRUE(await_fired(1));
    vivero_set_misuse_hook(NULL, NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(sentence, "timers' thread"));
}

SUITE_MAIN("timer_threads", set_up, tear_down,
           TEST(a_start_after_the_first_does_not_wake_the_driver),
           TEST(racing_starts_and_cancels_lose_no_timer),
           TEST(every_start_is_either_cancelled_or_fires),
           TEST(the_driver_lives_while_somebody_retains_it),
           TEST(without_a_thread_nothing_is_retained),
           TEST(many_threads_may_make_and_end_the_driver),
           TEST(a_callback_may_not_release))
