/* SPDX-License-Identifier: MIT */

/* limits: what this machine allows, for the figures of the pools to be read
 * beside. `limits [SCALE]` prints the lines of bench/lib/driver.h under the
 * name "machine".
 *
 * Sync. limits.turn: whose turn it is in a ping-pong; publishes nothing else.
 *       limits.tail: slots of the ring up to the tail are written.
 *       limits.head: slots of the ring up to the head have been read. */

#include "bench/lib/measure.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_SIZE 4096
#define BATCH 32
#define ANYWHERE (-1)

static double scale = 1.0;

static void report(const char *what, const char *metric, double value,
                   const char *unit)
{
    bench_report("machine", what, metric, value, unit);
}

static uint32_t scaled(uint32_t count)
{
    const double wanted = (double)count * scale;

    return wanted < 1000.0 ? 1000 : (uint32_t)wanted;
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void place(int cpu)
{
    if (cpu != ANYWHERE) {
        bench_pin(cpu);
    }
}

/* ---- Ping-pong ---------------------------------------------------------- */

typedef void wait_fn(uint32_t turn);
typedef void pass_fn(uint32_t turn);

static _Alignas(128) _Atomic uint32_t turn_now;

static void spin_wait(uint32_t turn)
{
    /* sync(limits.turn): the other side has had its turn. */
    while (atomic_load_explicit(&turn_now, memory_order_acquire) != turn) {
        pause_briefly();
    }
}

static void spin_pass(uint32_t turn)
{
    /* sync(limits.turn): this side has had its turn. */
    atomic_store_explicit(&turn_now, turn, memory_order_release);
}

static void futex_wait(uint32_t turn)
{
    uint32_t seen;

    for (;;) {
        /* sync(limits.turn): the other side has had its turn. */
        seen = atomic_load_explicit(&turn_now, memory_order_acquire);
        if (seen == turn) {
            return;
        }
        (void)syscall(SYS_futex, &turn_now, FUTEX_WAIT_PRIVATE, seen, NULL);
    }
}

static void futex_pass(uint32_t turn)
{
    spin_pass(turn);
    (void)syscall(SYS_futex, &turn_now, FUTEX_WAKE_PRIVATE, 1);
}

struct ping_pong {
    wait_fn *wait;
    pass_fn *pass;
    uint32_t rounds;
    int cpu; /* of the far side */
};

static void *far_side(void *arg)
{
    const struct ping_pong *game = arg;

    place(game->cpu);
    for (uint32_t i = 0; i < game->rounds; i++) {
        game->wait(2 * i + 1);
        game->pass(2 * i + 2);
    }
    return NULL;
}

/* Returns the nanoseconds of a round trip. */
static double play(struct ping_pong *game, int near_cpu, int far_cpu)
{
    pthread_t far;
    int64_t begin_ns;
    int64_t duration_ns;

    spin_pass(0);
    game->cpu = far_cpu;
    place(near_cpu);
    bench_thread(&far, far_side, game);
    bench_sleep(2000000);
    begin_ns = bench_now();
    for (uint32_t i = 0; i < game->rounds; i++) {
        game->pass(2 * i + 1);
        game->wait(2 * i + 2);
    }
    duration_ns = bench_now() - begin_ns;
    (void)pthread_join(far, NULL);
    return (double)duration_ns / (double)game->rounds;
}

/* ---- Ring of one producer and one consumer ------------------------------ */

struct line {
    _Alignas(64) uint64_t word[8];
};

static struct {
    _Alignas(128) _Atomic uint64_t head; /* written by the consumer */
    _Alignas(128) _Atomic uint64_t tail; /* written by the producer */
    struct line lines[RING_SIZE];
} ring;

struct stream {
    uint64_t count;
    uint64_t batch; /* lines between two publications */
    int cpu;        /* of the consumer */
    uint64_t sum;
};

static void *consume(void *arg)
{
    struct stream *stream = arg;
    uint64_t head = 0;

    place(stream->cpu);
    while (head < stream->count) {
        /* sync(limits.tail): the lines before it may be read. */
        const uint64_t tail =
            atomic_load_explicit(&ring.tail, memory_order_acquire);

        if (tail == head) {
            pause_briefly();
        }
        while (head < tail) {
            stream->sum += ring.lines[head % RING_SIZE].word[0];
            head++;
            if (head % stream->batch == 0 || head == tail) {
                /* sync(limits.head): what is before it may be overwritten. */
                atomic_store_explicit(&ring.head, head, memory_order_release);
            }
        }
    }
    return NULL;
}

static void produce(const struct stream *stream)
{
    uint64_t head = 0;

    for (uint64_t tail = 0; tail < stream->count;) {
        struct line *line = &ring.lines[tail % RING_SIZE];

        while (tail - head == RING_SIZE) {
            pause_briefly();
            /* sync(limits.head): the lines before it have been read. */
            head = atomic_load_explicit(&ring.head, memory_order_acquire);
        }
        for (int i = 0; i < 8; i++) {
            line->word[i] = tail;
        }
        tail++;
        if (tail % stream->batch == 0 || tail == stream->count) {
            /* sync(limits.tail): publishes the lines before it. */
            atomic_store_explicit(&ring.tail, tail, memory_order_release);
        }
    }
}

/* Returns millions of lines per second. */
static double flow(uint64_t batch, int producer_cpu, int consumer_cpu)
{
    struct stream stream = {scaled(10000000), batch, consumer_cpu, 0};
    pthread_t consumer;
    int64_t begin_ns;
    int64_t duration_ns;

    /* relaxed: nobody else is there yet. */
    atomic_store_explicit(&ring.head, 0, memory_order_relaxed);
    atomic_store_explicit(&ring.tail, 0, memory_order_relaxed);
    place(producer_cpu);
    bench_thread(&consumer, consume, &stream);
    bench_sleep(2000000);
    begin_ns = bench_now();
    produce(&stream);
    (void)pthread_join(consumer, NULL);
    duration_ns = bench_now() - begin_ns;
    if (stream.sum != stream.count * (stream.count - 1) / 2) {
        bench_fail("machine: the ring lost something");
    }
    return (double)stream.count * 1e3 / (double)duration_ns;
}

/* ---- Single instructions and calls -------------------------------------- */

static _Alignas(128) _Atomic uint64_t word;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static double time_swap(uint32_t count)
{
    int64_t begin_ns = bench_now();

    for (uint64_t i = 0; i < count; i++) {
        uint64_t expected = i;

        /* relaxed: nobody else looks. */
        (void)atomic_compare_exchange_strong_explicit(&word, &expected, i + 1,
                                                      memory_order_relaxed,
                                                      memory_order_relaxed);
    }
    return (double)(bench_now() - begin_ns) / count;
}

static double time_add(uint32_t count)
{
    int64_t begin_ns = bench_now();

    for (uint32_t i = 0; i < count; i++) {
        /* relaxed: nobody else looks. */
        (void)atomic_fetch_add_explicit(&word, 1, memory_order_relaxed);
    }
    return (double)(bench_now() - begin_ns) / count;
}

static double time_mutex(uint32_t count)
{
    int64_t begin_ns = bench_now();

    for (uint32_t i = 0; i < count; i++) {
        (void)pthread_mutex_lock(&mutex);
        (void)pthread_mutex_unlock(&mutex);
    }
    return (double)(bench_now() - begin_ns) / count;
}

static double time_clock(uint32_t count)
{
    int64_t begin_ns = bench_now();

    for (uint32_t i = 0; i < count; i++) {
        (void)bench_now();
    }
    return (double)(bench_now() - begin_ns) / count;
}

static double time_system_call(uint32_t count)
{
    int64_t begin_ns = bench_now();

    for (uint32_t i = 0; i < count; i++) {
        (void)syscall(SYS_getppid);
    }
    return (double)(bench_now() - begin_ns) / count;
}

/* ---- All of it ---------------------------------------------------------- */

/* The futex between CPUs of the scheduler's choice comes first, before the
 * main thread is pinned. */
static void between_threads(int cpus, int first, int last)
{
    struct ping_pong spin = {spin_wait, spin_pass, scaled(1000000), 0};
    struct ping_pong futex = {futex_wait, futex_pass, scaled(20000), 0};

    report("futex_pingpong", "anywhere", play(&futex, ANYWHERE, ANYWHERE),
           "ns");
    report("futex_pingpong", "together", play(&futex, first, first), "ns");
    if (cpus < 2) {
        return;
    }
    report("futex_pingpong", "apart", play(&futex, first, last), "ns");
    report("spin_pingpong", "apart", play(&spin, first, last), "ns");
    report("spsc_ring", "single", flow(1, first, last), "M/s");
    report("spsc_ring", "batched", flow(BATCH, first, last), "M/s");
}

int main(int count, char **values)
{
    int first;
    int last;
    int cpus;

    if (count > 1) {
        scale = strtod(values[1], NULL);
    }
    if (count > 2 || !(scale > 0.0 && scale <= 100.0)) {
        (void)fprintf(stderr, "usage: %s [SCALE]\n", values[0]);
        return 2;
    }
    (void)alarm(120 + (unsigned)(20.0 * scale));
    cpus = bench_cpus(&first, &last);
    between_threads(cpus, first, last);
    report("swap", "uncontended", time_swap(scaled(10000000)), "ns");
    report("add", "uncontended", time_add(scaled(10000000)), "ns");
    report("mutex", "uncontended", time_mutex(scaled(5000000)), "ns");
    report("clock", "read", time_clock(scaled(5000000)), "ns");
    report("system_call", "getppid", time_system_call(scaled(2000000)), "ns");
    return 0;
}
