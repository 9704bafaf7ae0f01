/* SPDX-License-Identifier: MIT */
/* restart [SCALE]: how long it takes from a failure to the next message handled,
 * beside what the system needs for the same: a futex round trip (the supervisor
 * is asked and answers) and a thread's start. And what the watchdog costs.
 *
 *   A  the handler fails, same thread          goal: 2 round trips
 *   B  the handler ends its thread             goal: 2 (round trip + start)
 *   C  a hung one is fenced and replaced       the same, from the fencing
 *
 * Once with the threads where the system puts them, beside a round trip between
 * two CPUs; once with all of them on one.
 *
 * Sync. restart.turn: whose turn it is in a ping-pong.
 *       restart.times: instants, read after the call that follows. */
#include <vivero/vivero.h>

#include "bench/lib/measure.h"

#include <dirent.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ANYWHERE (-1)
#define HANG_DEADLINE VIVERO_MILLISECONDS(10)
#define WATCHED 1000u
#define WATCH_DEADLINE VIVERO_MILLISECONDS(50)
#define WATCH_FOR VIVERO_SECONDS(3)

static double scale = 1.0;
static _Atomic int64_t began_ns; /* the failure */
static _Atomic int64_t ended_ns; /* the next message */
static _Atomic uint32_t gate;    /* what hangs waits for */

static uint32_t scaled(uint32_t count)
{
    double wanted = (double)count * scale;

    return wanted < 20.0 ? 20 : (uint32_t)wanted;
}

static void stamp(_Atomic int64_t *instant)
{
    /* sync(restart.times): the call that follows publishes it as well. */
    atomic_store_explicit(instant, bench_now(), memory_order_release);
}

static int64_t stamped(const _Atomic int64_t *instant)
{
    /* sync(restart.times): see stamp(). */
    return atomic_load_explicit(instant, memory_order_acquire);
}

static double median(uint32_t *values, uint32_t count)
{
    bench_sort(values, count);
    return bench_percentile(values, count, 0.5);
}

static void show(const char *what, const char *where, double value,
                 double allowed)
{
    char metric[32];

    bench_report("vivero", what, where, value, "ns");
    (void)snprintf(metric, sizeof(metric), "%s_of_goal", where);
    bench_report("vivero", what, metric, value / allowed, "x");
}

/* ---- What the system needs ----------------------------------------------------- */

static _Atomic uint32_t turn_now;

static void wait_turn(uint32_t turn)
{
    uint32_t seen;

    /* sync(restart.turn): the other side has had its turn. */
    while ((seen = atomic_load_explicit(&turn_now, memory_order_acquire)) !=
           turn) {
        (void)syscall(SYS_futex, &turn_now, FUTEX_WAIT_PRIVATE, seen, NULL,
                      NULL, 0);
    }
}

static void pass_turn(uint32_t turn)
{
    /* sync(restart.turn): this side has had its turn. */
    atomic_store_explicit(&turn_now, turn, memory_order_release);
    (void)syscall(SYS_futex, &turn_now, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

struct trips {
    uint32_t count;
    int cpu; /* of the caller; ANYWHERE: as it comes */
    int other_cpu;
    int64_t pause_ns; /* before each */
    double median;
};

static void *answer_turns(void *arg)
{
    const struct trips *trips = arg;

    if (trips->other_cpu != ANYWHERE) {
        bench_pin(trips->other_cpu);
    }
    for (uint32_t i = 0; i < trips->count; i++) {
        wait_turn(2 * i + 1);
        pass_turn(2 * i + 2);
    }
    return NULL;
}

static void *make_trips(void *arg)
{
    struct trips *trips = arg;
    uint32_t *times = bench_allocate(trips->count, sizeof(*times));
    pthread_t other;

    if (trips->cpu != ANYWHERE) {
        bench_pin(trips->cpu);
    }
    bench_thread(&other, answer_turns, trips);
    for (uint32_t i = 0; i < trips->count; i++) {
        int64_t begin;

        if (trips->pause_ns > 0) {
            bench_sleep(trips->pause_ns);
        }
        begin = bench_now();
        pass_turn(2 * i + 1);
        wait_turn(2 * i + 2);
        times[i] = (uint32_t)(bench_now() - begin);
    }
    (void)pthread_join(other, NULL);
    trips->median = median(times, trips->count);
    free(times);
    return NULL;
}

static double round_trip(uint32_t count, int cpu, int other_cpu,
                         int64_t pause_ns)
{
    struct trips trips = {count, cpu, other_cpu, pause_ns, 0.0};
    pthread_t caller;

    /* relaxed: nobody else is there yet. */
    atomic_store_explicit(&turn_now, 0, memory_order_relaxed);
    bench_thread(&caller, make_trips, &trips);
    (void)pthread_join(caller, NULL);
    return trips.median;
}

static void *note_start(void *arg)
{
    (void)arg;
    stamp(&ended_ns);
    return NULL;
}

static double thread_start(uint32_t count, int64_t pause_ns)
{
    uint32_t *times = bench_allocate(count, sizeof(*times));
    double value;

    for (uint32_t i = 0; i < count; i++) {
        pthread_t thread;
        int64_t begin;

        if (pause_ns > 0) {
            bench_sleep(pause_ns);
        }
        begin = bench_now();
        bench_thread(&thread, note_start, NULL);
        (void)pthread_join(thread, NULL);
        times[i] = (uint32_t)(stamped(&ended_ns) - begin);
    }
    value = median(times, count);
    free(times);
    return value;
}

/* ---- What the pool needs ---------------------------------------------------------- */

enum how { BY_FAILING, BY_LEAVING, BY_HANGING };

static int fail_somehow(struct vivero_self *self, const void *in, void *out)
{
    (void)out;
    switch (*(const enum how *)in) {
    case BY_FAILING:
        stamp(&began_ns);
        return vivero_fail(self, 1, "as asked");
    case BY_LEAVING:
        stamp(&began_ns);
        pthread_exit(NULL);
    case BY_HANGING:
        (void)syscall(SYS_futex, &gate, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
        break;
    }
    return VIVERO_OK;
}

static int be_next(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    stamp(&ended_ns);
    return VIVERO_OK;
}

static const struct vivero_operation fail_operation = {
    .name = "fail", .run = fail_somehow, .in_size = sizeof(enum how)};
static const struct vivero_operation next_operation = {.name = "next",
                                                       .run = be_next};

/* After a hang this is the first to hear of the fencing. */
static void note_fencing(struct vivero_pool *pool,
                         const struct vivero_dead *dead, void *ctx)
{
    (void)pool;
    (void)ctx;
    if (dead->reason->kind >= VIVERO_EXIT_HUNG_CPU) {
        stamp(&began_ns);
    }
}

static void let_zombies_go(void)
{
    while (vivero_abandoned_threads() > 0) {
        (void)syscall(SYS_futex, &gate, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL,
                      NULL, 0);
        bench_sleep(VIVERO_MICROSECONDS(200));
    }
}

static struct vivero_pool *open_one(void)
{
    struct vivero_pool *pool;

    if (vivero_pool_open(VIVERO_POOL_OPTIONS(.workers = 1,
                                             .restarts_max = VIVERO_UNLIMITED,
                                             .deadline_ns = HANG_DEADLINE,
                                             .on_hang = VIVERO_HANG_REPLACE,
                                             .on_dead = note_fencing),
                         &pool) != VIVERO_OK) {
        bench_fail("no pool");
    }
    return pool;
}

static double restart(enum how how, uint32_t count)
{
    uint32_t *times = bench_allocate(count, sizeof(*times));
    struct vivero_pool *pool = open_one();
    double value;

    for (uint32_t i = 0; i < count; i++) {
        if (vivero_pool_cast(pool, &fail_operation, &how,
                             VIVERO_SEND(.worker = 1)) != VIVERO_OK ||
            vivero_pool_call(pool, &next_operation, NULL, NULL,
                             VIVERO_SEND(.worker = 1)) != VIVERO_OK) {
            bench_fail("a message was refused");
        }
        times[i] = (uint32_t)(stamped(&ended_ns) - stamped(&began_ns));
        let_zombies_go();
    }
    (void)vivero_pool_close(pool);
    value = median(times, count);
    free(times);
    return value;
}

/* ---- The watchdog -------------------------------------------------------------------- */

static int64_t cpu_of(const char *name)
{
    DIR *folder = opendir("/proc/self/task");
    int64_t used = -1;

    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        pid_t task = (pid_t)atoi(entry->d_name);
        char path[64];
        char comm[32] = "";
        FILE *file;

        (void)snprintf(path, sizeof(path), "/proc/self/task/%d/comm",
                       (int)task);
        file = task > 0 ? fopen(path, "r") : NULL;
        if (file != NULL) {
            struct timespec time;

            if (fgets(comm, sizeof(comm), file) != NULL &&
                strncmp(comm, name, strlen(name)) == 0 &&
                clock_gettime((clockid_t)((~(unsigned)task << 3) | 6u),
                              &time) == 0) {
                used = time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
            }
            (void)fclose(file);
        }
    }
    (void)closedir(folder);
    return used;
}

static int nap(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    bench_sleep(VIVERO_MILLISECONDS(20));
    return VIVERO_OK;
}

static const struct vivero_operation nap_operation = {.name = "nap",
                                                      .run = nap};

/* The supervisor's share of one CPU while all workers are in handlers. */
static double watch_share(int64_t deadline_ns)
{
    struct vivero_pool *pool;
    int64_t before;
    int64_t after;

    if (vivero_pool_open(VIVERO_POOL_OPTIONS(.name = "watched",
                                             .workers = WATCHED,
                                             .hang_report_ns = VIVERO_NONE,
                                             .deadline_ns = deadline_ns),
                         &pool) != VIVERO_OK) {
        bench_fail("no pool of %u workers", WATCHED);
    }
    for (int i = 0; i < 400; i++) {
        if (vivero_pool_broadcast(pool, &nap_operation, NULL) < 0) {
            bench_fail("no room");
        }
    }
    bench_sleep(VIVERO_MILLISECONDS(100));
    before = cpu_of("watched/keeper");
    bench_sleep(WATCH_FOR);
    after = cpu_of("watched/keeper");
    (void)vivero_pool_close(pool);
    return (double)(after - before) / WATCH_FOR * 100.0;
}

/* All restarts, beside a round trip and a start in the same place; a hang beside
 * those after a pause as long as its deadline. */
static void compare(const char *where, int cpu, int other_cpu)
{
    double trip = round_trip(scaled(20000), cpu, other_cpu, 0);
    double start = thread_start(scaled(5000), 0);
    double cold_trip = round_trip(scaled(200), cpu, other_cpu, HANG_DEADLINE);
    double cold_start = thread_start(scaled(200), HANG_DEADLINE);

    bench_report("machine", "futex_round_trip", where, trip, "ns");
    bench_report("machine", "thread_start", where, start, "ns");
    bench_report("machine", "futex_round_trip_cold", where, cold_trip, "ns");
    bench_report("machine", "thread_start_cold", where, cold_start, "ns");
    show("restart_a", where, restart(BY_FAILING, scaled(10000)), 2 * trip);
    show("restart_b", where, restart(BY_LEAVING, scaled(5000)),
         2 * (trip + start));
    show("restart_c", where, restart(BY_HANGING, scaled(200)),
         2 * (cold_trip + cold_start));
}

int main(int count, char **values)
{
    int first;
    int last;
    int cpus = bench_cpus(&first, &last);

    if (count > 1) {
        scale = strtod(values[1], NULL);
    }
    if (count > 2 || !(scale > 0.0 && scale <= 100.0)) {
        (void)fprintf(stderr, "usage: %s [SCALE]\n", values[0]);
        return 2;
    }
    if (cpus > 1) {
        compare("apart", first, last);
    }
    bench_report("vivero", "watch_1000", "cpu", watch_share(WATCH_DEADLINE),
                 "%");
    bench_report("vivero", "watch_none", "cpu", watch_share(0), "%");
    bench_pin(first);
    compare("together", ANYWHERE, ANYWHERE);
    return 0;
}
