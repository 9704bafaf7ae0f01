/* SPDX-License-Identifier: MIT */
/* Entities among threads: nothing is lost, nothing is told twice, nobody sleeps
 * on, whoever ends when. */
#include "base/hash.h"
#include "mailbox/here.h"
#include "mailbox/spin.h"
#include "os/cpu.h"
#include "tests/lib/eventually.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"
#include "tests/unit/subject.h"

#include <pthread.h>
#include <time.h>

#define THREADS 4u
#define LONG_ENOUGH VIVERO_SECONDS(60)

static const struct vv_spin no_spin = {0, 0};
static const struct vv_spin some_spin = {2000, 10};

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

/* ---- Many senders, one taker that rests ------------------------------------------------- */

#define MESSAGES 20000

struct sender {
    struct vivero_ref to;
    int first;
    uint32_t failed;
};

/* Sends its numbers in order, waiting for room. */
static void *send_all(void *ctx)
{
    struct sender *sender = ctx;
    struct vv_entity *to = vv_entity_retain(sender->to);

    for (int i = 0; i < MESSAGES; i++) {
        int error = subject_put(to, sender->first + i);

        while (error == VIVERO_E_FULL) {
            (void)vv_entity_wait_for_room(to, VIVERO_FOREVER);
            error = subject_put(to, sender->first + i);
        }
        sender->failed += error != VIVERO_OK;
    }
    vv_entity_release(to);
    return NULL;
}

struct taker {
    struct vv_entity *entity;
    const struct vv_spin *spin;
    uint32_t expected;
    uint32_t taken;
    uint32_t out_of_order;
};

static void *take_all(void *ctx)
{
    struct taker *taker = ctx;
    int next[THREADS] = {0};

    while (taker->taken < taker->expected) {
        int number = subject_take_number(taker->entity);

        if (number >= 0) {
            taker->taken++;
            taker->out_of_order +=
                number % MESSAGES != next[number / MESSAGES]++;
        } else {
            (void)vv_entity_rest(taker->entity, taker->spin, VIVERO_FOREVER);
        }
    }
    return NULL;
}

static void send_to_one_taker(uint32_t depth, const struct vv_spin *spin)
{
    struct taker taker = {.entity = subject_new(0, depth, NULL),
                          .spin = spin,
                          .expected = THREADS * MESSAGES};
    struct sender senders[THREADS];
    pthread_t threads[THREADS];
    pthread_t thread;

    for (uint32_t i = 0; i < THREADS; i++) {
        senders[i] = (struct sender){taker.entity->ref, (int)i * MESSAGES, 0};
    }
    pthread_create(&thread, NULL, take_all, &taker);
    start(threads, THREADS, send_all, senders, sizeof(senders[0]));
    join(threads, THREADS);
    pthread_join(thread, NULL);

    for (uint32_t i = 0; i < THREADS; i++) {
        CU_ASSERT_EQUAL(senders[i].failed, 0);
    }
    CU_ASSERT_EQUAL(taker.taken, THREADS * MESSAGES);
    CU_ASSERT_EQUAL(taker.out_of_order, 0);
    CU_ASSERT(subject_end(taker.entity, VIVERO_EXIT_NORMAL));
}

static void all_arrives_in_order_at_one_that_sleeps(void)
{
    send_to_one_taker(1000, &no_spin);
}

static void all_arrives_in_order_at_one_that_looks_before_it_sleeps(void)
{
    send_to_one_taker(1000, &some_spin);
}

static void all_arrives_through_a_small_inbox(void)
{
    send_to_one_taker(1, &no_spin);
    send_to_one_taker(3, &no_spin);
}

/* ---- A ball between two sleepers ------------------------------------------------------------ */

#define RALLY 20000

struct player {
    struct vv_entity *self;
    struct vivero_ref other;
    bool late;
};

/* Each put must wake the other: a lost wake-up is seen as a deadline. */
static void *play(void *ctx)
{
    struct player *player = ctx;

    for (int i = 0; i < RALLY && !player->late; i++) {
        struct vv_entity *other;

        while (!player->late && subject_take_number(player->self) < 0) {
            player->late = !vv_entity_rest(player->self, &no_spin,
                                           vivero_now() + LONG_ENOUGH);
        }
        other = vv_entity_retain(player->other);
        (void)subject_put_reserved(other, i);
        vv_entity_release(other);
    }
    return NULL;
}

static void no_wake_up_is_lost_between_two_that_sleep(void)
{
    struct player players[2];
    pthread_t threads[2];

    for (uint32_t i = 0; i < 2; i++) {
        players[i] = (struct player){.self = subject_new(0, 4, NULL)};
    }
    players[0].other = players[1].self->ref;
    players[1].other = players[0].self->ref;
    CU_ASSERT_EQUAL(subject_put(players[0].self, 1), VIVERO_OK);
    start(threads, 2, play, players, sizeof(players[0]));
    join(threads, 2);

    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_FALSE(players[i].late);
        CU_ASSERT(subject_end(players[i].self, VIVERO_EXIT_NORMAL));
    }
}

/* ---- One that sleeps costs nothing ------------------------------------------------------------ */

static void *rest_until_told(void *ctx)
{
    while (subject_take_number(ctx) < 0) {
        (void)vv_entity_rest(ctx, &some_spin, VIVERO_FOREVER);
    }
    return NULL;
}

static int64_t cpu_time_of(pthread_t thread)
{
    struct timespec used = {0, 0};
    clockid_t clock;

    if (pthread_getcpuclockid(thread, &clock) == 0) {
        clock_gettime(clock, &used);
    }
    return (int64_t)used.tv_sec * VIVERO_SECONDS(1) + used.tv_nsec;
}

struct stillness {
    pthread_t thread;
    int64_t used;
};

/* It has used nothing for some naps: it sleeps. */
static bool is_still(void *ctx)
{
    struct stillness *stillness = ctx;
    int64_t before = stillness->used;

    for (uint32_t i = 0; i < 20; i++) {
        eventually_nap();
    }
    stillness->used = cpu_time_of(stillness->thread);
    return before == stillness->used;
}

static void one_that_rests_uses_no_processor(void)
{
    struct vv_entity *subject = subject_new(0, 4, NULL);
    struct stillness stillness = {.used = -1};
    int64_t used;

    pthread_create(&stillness.thread, NULL, rest_until_told, subject);
    CU_ASSERT(eventually(is_still, &stillness, LONG_ENOUGH));
    used = stillness.used;
    for (uint32_t i = 0; i < 10; i++) {
        (void)is_still(&stillness);
    }
    CU_ASSERT_EQUAL(stillness.used, used);
    CU_ASSERT_EQUAL(subject_put(subject, 1), VIVERO_OK);
    pthread_join(stillness.thread, NULL);
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
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

/* ---- The runtime comes and goes ----------------------------------------------------------------------- */

#define COMINGS 500u

static _Atomic uint64_t latest; /* slot << 32 | generation */

static struct vivero_ref latest_ref(void)
{
    /* relaxed: any reference will do, also a stale one. */
    uint64_t ref = atomic_load_explicit(&latest, memory_order_relaxed);

    return (struct vivero_ref){(uint32_t)(ref >> 32), (uint32_t)ref};
}

struct pest {
    _Atomic bool *over;
    uint32_t odd;
};

static bool is_fine(int error)
{
    return error == VIVERO_OK || error == VIVERO_E_GONE ||
           error == VIVERO_E_FULL || error == VIVERO_E_DOWN ||
           error == VIVERO_E_TIMED_OUT;
}

/* Uses whatever it finds, alive or not. */
static void *pester(void *ctx)
{
    static const struct vivero_exit reason = {.kind = VIVERO_EXIT_SHUTDOWN};
    struct pest *pest = ctx;

    /* relaxed: a hint to stop. */
    while (!atomic_load_explicit(pest->over, memory_order_relaxed)) {
        struct vivero_ref ref = latest_ref();
        struct vivero_exit exit;
        struct call call;
        int error;

        pest->odd += !is_fine(vivero_tell(ref, 1, &ref, sizeof(ref)));
        pest->odd += !is_fine(vivero_signal(ref, &reason));
        pest->odd += !is_fine(vivero_register(ref, "latest")) &&
                     vivero_is_alive(ref) &&
                     vivero_ref_is_nobody(vivero_whereis("latest"));
        error = call_put(&call, ref, 1, VIVERO_MILLISECONDS(1));
        pest->odd += !is_fine(error);
        pest->odd += error == VIVERO_OK && !is_fine(call_wait(&call));
        (void)vv_entity_await_end(ref, 0, &exit);
        (void)vivero_unregister("latest");
    }
    return NULL;
}

static void the_runtime_comes_and_goes_under_stale_references(void)
{
    _Atomic bool over = false;
    struct pest pests[2] = {{&over, 0}, {&over, 0}};
    pthread_t threads[2];

    start(threads, 2, pester, pests, sizeof(pests[0]));
    for (uint32_t i = 0; i < COMINGS; i++) {
        struct vv_entity *subject = subject_new(VV_ENTITY_TRAPS, 4, NULL);

        /* relaxed: as in latest_ref(). */
        atomic_store_explicit(&latest,
                              (uint64_t)subject->ref.slot << 32 |
                                  subject->ref.generation,
                              memory_order_relaxed);
        for (uint32_t k = 0; k < i % 20; k++) {
            (void)subject_take(subject);
        }
        CU_ASSERT(subject_end(subject, VIVERO_EXIT_FAILED));
    }
    /* relaxed: a hint to stop. */
    atomic_store_explicit(&over, true, memory_order_relaxed);
    join(threads, 2);

    CU_ASSERT_EQUAL(pests[0].odd + pests[1].odd, 0);
}

SUITE_MAIN(
    "entity_threads", set_up, tear_down,
    TEST(all_arrives_in_order_at_one_that_sleeps),
    TEST(all_arrives_in_order_at_one_that_looks_before_it_sleeps),
    TEST(all_arrives_through_a_small_inbox),
    TEST(no_wake_up_is_lost_between_two_that_sleep),
    TEST(one_that_rests_uses_no_processor),
    TEST(a_call_is_answered_or_settled_or_refused_when_its_receiver_ends),
    TEST(in_a_storm_of_ties_each_monitor_tells_exactly_once),
    TEST(the_runtime_comes_and_goes_under_stale_references))
