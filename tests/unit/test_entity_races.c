/* SPDX-License-Identifier: MIT */
/* Ends against everything else: each call is answered once, each monitor tells
 * once, whoever comes first. */
#include "base/hash.h"
#include "mailbox/here.h"
#include "os/cpu.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"
#include "tests/unit/subject.h"

#include <pthread.h>

#define THREADS 4u
#define LONG_ENOUGH VIVERO_SECONDS(60)

static void set_up(void)
{
    CU_ASSERT_FATAL(fault_allocator_install());
}

static void tear_down(void)
{
    CU_ASSERT_EQUAL(subject_count(), 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static void start(pthread_t *threads, uint32_t count, void *(*run)(void *),
                  void *ctx, size_t size)
{
    for (uint32_t i = 0; i < count; i++) {
        pthread_create(&threads[i], NULL, run, (char *)ctx + i * size);
    }
}

static void join(const pthread_t *threads, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* ---- Put against end --------------------------------------------------------------------------- */

#define ENDS 400u

/* Two callers, one taker, one who ends it: rounds with a barrier. */
struct match {
    pthread_barrier_t begin;
    pthread_barrier_t end;
    struct vivero_ref ref;
    struct vv_entity *entity;
    uint32_t round;
};

static struct match match;

struct hitter {
    uint32_t accepted;
    uint32_t answered;
    uint32_t settled;
    uint32_t refused;
    uint32_t odd;
};

static void call_once(struct hitter *hitter)
{
    struct call call;
    int error = call_put(&call, match.ref, 5, LONG_ENOUGH);

    if (error == VIVERO_OK) {
        hitter->accepted++;
        error = call_wait(&call);
        hitter->answered += error == VIVERO_OK && call.answer == 5;
        hitter->settled += error == VIVERO_E_DOWN &&
                           vv_here()->last_exit.kind == VIVERO_EXIT_FAILED;
    } else {
        hitter->refused++;
        hitter->odd += error != VIVERO_E_GONE && error != VIVERO_E_FULL;
    }
}

static void dawdle(uint32_t seed)
{
    uint64_t state = seed;
    uint32_t looks = (uint32_t)(vv_random_next(&state) % 200);

    for (uint32_t i = 0; i < looks; i++) {
        vv_cpu_relax();
    }
}

static void *hit(void *ctx)
{
    struct hitter *hitter = ctx;

    for (uint32_t i = 0; i < ENDS; i++) {
        pthread_barrier_wait(&match.begin);
        for (uint32_t k = 0; k < 10; k++) {
            call_once(hitter);
        }
        pthread_barrier_wait(&match.end);
    }
    return NULL;
}

/* Its thread: takes a while, then ends it. */
static void *serve_and_end(void *ctx)
{
    (void)ctx;
    for (uint32_t i = 0; i < ENDS; i++) {
        pthread_barrier_wait(&match.begin);
        for (uint32_t k = 0; k < i % 16; k++) {
            (void)subject_take(match.entity);
        }
        dawdle(i);
        (void)subject_end(match.entity, VIVERO_EXIT_FAILED);
        pthread_barrier_wait(&match.end);
    }
    return NULL;
}

static void *declare_dead(void *ctx)
{
    const struct vivero_exit exit = {.kind = VIVERO_EXIT_FAILED};

    (void)ctx;
    for (uint32_t i = 0; i < ENDS; i++) {
        pthread_barrier_wait(&match.begin);
        dawdle(i + 1000);
        if (i % 2 == 0) {
            (void)vv_entity_end_ref(match.ref, &exit);
        }
        pthread_barrier_wait(&match.end);
    }
    return NULL;
}

static void
a_call_is_answered_or_settled_or_refused_when_its_receiver_ends(void)
{
    struct hitter hitters[2] = {{0}, {0}};
    pthread_t threads[4];

    pthread_barrier_init(&match.begin, NULL, 5);
    pthread_barrier_init(&match.end, NULL, 5);
    start(threads, 2, hit, hitters, sizeof(hitters[0]));
    pthread_create(&threads[2], NULL, serve_and_end, NULL);
    pthread_create(&threads[3], NULL, declare_dead, NULL);
    for (uint32_t i = 0; i < ENDS; i++) {
        match.entity = subject_new(0, 5, NULL);
        match.ref = match.entity->ref;
        pthread_barrier_wait(&match.begin);
        pthread_barrier_wait(&match.end);
    }
    join(threads, 4);
    pthread_barrier_destroy(&match.begin);
    pthread_barrier_destroy(&match.end);

    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(hitters[i].odd, 0);
        CU_ASSERT_EQUAL(hitters[i].accepted + hitters[i].refused, ENDS * 10);
        CU_ASSERT_EQUAL(hitters[i].answered + hitters[i].settled,
                        hitters[i].accepted);
    }
}

/* ---- A storm of ties ------------------------------------------------------------------------------ */

#define BEINGS 8u
#define STORM 300u

/* Each thread runs two beings, which tie themselves to others and end. */
struct being {
    struct vv_entity *self;
    struct patron patron;
    uint32_t expected; /* DOWNs of monitors that were not taken back */
    uint32_t downs;
};

static pthread_mutex_t refs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vivero_ref refs[BEINGS]; /* guarded by refs_lock */

static struct vivero_ref ref_of(uint32_t being)
{
    struct vivero_ref ref;

    pthread_mutex_lock(&refs_lock);
    ref = refs[being % BEINGS];
    pthread_mutex_unlock(&refs_lock);
    return ref;
}

static void begin_being(struct being *being, uint32_t index)
{
    memset(being, 0, sizeof(*being));
    patron_init(&being->patron);
    being->self = subject_new(VV_ENTITY_TRAPS, 4, &being->patron);
    pthread_mutex_lock(&refs_lock);
    refs[index] = being->self->ref;
    pthread_mutex_unlock(&refs_lock);
}

struct weather {
    uint32_t index;
    uint32_t wrong;
    uint64_t seed;
};

/* Whatever is told was asked for; a monitor is told at most once. */
static void read_all(struct being *being, struct weather *weather)
{
    for (;;) {
        struct taken taken = subject_take(being->self);

        switch (taken.what) {
        case NOTHING:
            return;
        case DOWN:
            being->downs++;
            break;
        case EXIT:
            break;
        case OVER:
        case REQUEST:
        case VERDICT:
        case TELL:
        case CALL:
            weather->wrong++;
            break;
        }
    }
}

static void tie_once(struct being *being, struct weather *weather)
{
    uint64_t random = vv_random_next(&weather->seed);
    struct vivero_ref other = ref_of((uint32_t)(random >> 8));
    struct vivero_monitor monitor;

    switch (random % 4) {
    case 0:
        (void)vv_entity_link(being->self, other);
        break;
    case 1:
        vv_entity_unlink(being->self, other);
        break;
    case 2:
        being->expected +=
            vv_entity_monitor(being->self, other, &monitor) == VIVERO_OK;
        break;
    default:
        if (vv_entity_monitor(being->self, other, &monitor) == VIVERO_OK &&
            vv_entity_demonitor(being->self, monitor) != VIVERO_OK) {
            being->expected++;
        }
        break;
    }
}

/* Monitors others have still to fire are in its list; the rest was told. */
static uint32_t pending(struct being *being)
{
    uint32_t links;
    uint32_t monitors;
    uint32_t monitored;

    vv_entity_count_ties(being->self, &links, &monitors, &monitored);
    return monitored;
}

static void end_being(struct being *being, struct weather *weather)
{
    uint32_t left;

    do {
        left = pending(being);
        read_all(being, weather);
    } while (being->downs + left != being->expected && left != pending(being));
    weather->wrong += being->downs + left != being->expected;
    weather->wrong += !subject_end(being->self, VIVERO_EXIT_FAILED);
    weather->wrong += being->patron.ended != 1;
}

static void *storm(void *ctx)
{
    struct weather *weather = ctx;
    struct being beings[2];

    for (uint32_t i = 0; i < STORM; i++) {
        begin_being(&beings[0], weather->index);
        begin_being(&beings[1], weather->index + THREADS);
        for (uint32_t k = 0; k < 20; k++) {
            tie_once(&beings[k % 2], weather);
            read_all(&beings[(k + 1) % 2], weather);
        }
        end_being(&beings[0], weather);
        end_being(&beings[1], weather);
    }
    return NULL;
}

static void in_a_storm_of_ties_each_monitor_tells_exactly_once(void)
{
    struct weather weathers[THREADS];
    pthread_t threads[THREADS];
    struct vv_entity *ground = subject_new(0, 1, NULL);

    for (uint32_t i = 0; i < THREADS; i++) {
        weathers[i] = (struct weather){i, 0, i + 1};
    }
    start(threads, THREADS, storm, weathers, sizeof(weathers[0]));
    join(threads, THREADS);

    for (uint32_t i = 0; i < THREADS; i++) {
        CU_ASSERT_EQUAL(weathers[i].wrong, 0);
    }
    CU_ASSERT(subject_end(ground, VIVERO_EXIT_NORMAL));
}

/* ---- In place of a bare one ------------------------------------------------------------------------------ */

static void *end_by_reference(void *ctx)
{
    struct hitter *hitter = ctx;
    const struct vivero_exit exit = {.kind = VIVERO_EXIT_FAILED};

    for (uint32_t i = 0; i < ENDS * 5; i++) {
        pthread_barrier_wait(&match.begin);
        dawdle(i);
        hitter->settled += vv_entity_end_ref(match.ref, &exit);
        pthread_barrier_wait(&match.end);
    }
    return NULL;
}

/* Either the bare one ended, then there is no successor; or the successor is
 * what ends. */
static void an_end_meets_the_bare_one_or_its_successor(void)
{
    struct hitter hitter = {0};
    struct vv_entity *ground = subject_new(0, 1, NULL);
    pthread_t thread;
    uint32_t told = 0;

    pthread_barrier_init(&match.begin, NULL, 2);
    pthread_barrier_init(&match.end, NULL, 2);
    pthread_create(&thread, NULL, end_by_reference, &hitter);
    for (uint32_t i = 0; i < ENDS * 5; i++) {
        struct vv_entity *successor = subject_new_unbound(0, 1);
        struct vv_entity *bare;
        struct patron patron;
        bool bound;

        patron_init(&patron);
        bare = subject_new(VV_ENTITY_DEAF, 0, &patron);
        match.ref = bare->ref;
        pthread_barrier_wait(&match.begin);
        dawdle(i + 500);
        bound = vv_entity_bind(successor, match.ref);
        pthread_barrier_wait(&match.end);
        if (bound) {
            (void)subject_end(successor, VIVERO_EXIT_NORMAL);
        } else {
            successor->ops->free(successor);
            vv_entity_release(bare);
        }
        told += patron.ended;
    }
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&match.begin);
    pthread_barrier_destroy(&match.end);

    CU_ASSERT_EQUAL(hitter.settled, ENDS * 5);
    CU_ASSERT_EQUAL(told, ENDS * 5);
    CU_ASSERT(subject_end(ground, VIVERO_EXIT_NORMAL));
}

SUITE_MAIN(
    "entity_races", set_up, tear_down,
    TEST(a_call_is_answered_or_settled_or_refused_when_its_receiver_ends),
    TEST(in_a_storm_of_ties_each_monitor_tells_exactly_once),
    TEST(an_end_meets_the_bare_one_or_its_successor))
