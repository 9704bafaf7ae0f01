/* SPDX-License-Identifier: MIT */
/* crew: workers that share work, and how they sleep and wake.
 *
 * Model.    A seat per worker: mailbox, park word, idle bit. At most one worker
 *           is the `searcher`: awake without work, looking. A wake-up makes the
 *           woken one the searcher, so at most one is under way at a time; a
 *           searcher that finds work wakes the next if there is more.
 * Threads.  notify, pick, borrow: any. take, rest: the thread that runs a seat.
 * Invariants.
 *   I1 Whoever clears a seat's idle bit must wake it, run in its place, or be
 *      the seat's own thread. Nobody else touches its park word.
 *   I2 No message is forgotten. A producer puts (tail, seq_cst), then reads
 *      searcher and the idle bits (seq_cst). Cases:
 *      a. It reads searcher = s. s gives the role up (seq_cst) before it looks
 *         at the tails again, in rest() before it sleeps and in found_work()
 *         before it goes to work; both come after the producer's read, hence
 *         after its put: s sees the message, or somebody took it.
 *      b. It reads no searcher and a bit: it clears the bit and wakes.
 *      c. It reads neither: every worker is awake and sets its bit before it
 *         looks at the tails for the last time, after the producer's read:
 *         it sees the message.
 *   I3 A tail moves before its cell is full. A worker that sees the tail but no
 *      full cell stays awake, giving way, until the producer has written it.
 * Sync.     idle.word, mailbox.tail, crew.searcher: the total order of I2.
 *           seat.park: the waker publishes whether the woken one is searcher.
 *           seat.attention: set, then the idle bit is read; the worker sets its
 *           bit, then reads attention.
 *           crew.used: publishes a new seat.
 *           crew.watchers, crew.quiet: endings are announced to those who wait
 *           for all to be done.
 *           crew.lent: a call in a worker's place is seen by a drain.
 * Rejected. A stack of sleepers (addressed wake-ups leave stale entries). One
 *           wake-up per message (two futex calls per message at saturation). */
#include "mailbox/crew.h"

#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "mailbox/here.h"
#include "os/cpu.h"
#include "os/mutex.h"
#include "os/park.h"

/* Every so many turns a worker looks at a sibling first, so that a message
 * behind a stuck worker is found although nobody is idle. */
#define SIBLING_FIRST_TURNS 61u
/* And so often at its pool lane before its own. */
#define POOL_FIRST_TURNS 8u
/* About a microsecond, after so many casts in a row. */
#define LET_FILL_PAUSES 64u
#define LET_FILL_CASTS 4u

/* ---- Life ------------------------------------------------------------------- */

int vv_crew_init(struct vv_crew *crew, uint32_t seats_max,
                 const struct vv_spin *spin, struct vv_account *account)
{
    crew->seats_max = seats_max;
    crew->spin = *spin;
    crew->account = account;
    crew->seats = vv_allocate(account, seats_max * sizeof(*crew->seats),
                              _Alignof(max_align_t));
    if (crew->seats == NULL ||
        vv_idle_init(&crew->idle, seats_max, account) != VIVERO_OK) {
        vv_crew_fini(crew);
        return VIVERO_E_NO_MEMORY;
    }
    return VIVERO_OK;
}

void vv_crew_fini(struct vv_crew *crew)
{
    uint32_t used = vv_crew_used(crew);

    for (uint32_t i = 0; i < used; i++) {
        vv_crew_free_seat(crew, crew->seats[i]);
    }
    vv_idle_fini(&crew->idle, crew->account);
    vv_release(crew->account, crew->seats,
               crew->seats_max * sizeof(*crew->seats), _Alignof(max_align_t));
    crew->seats = NULL;
}

int vv_crew_make_seat(struct vv_crew *crew, uint32_t mailbox_depth,
                      struct vv_seat **seat)
{
    struct vv_seat *fresh =
        vv_allocate(crew->account, sizeof(*fresh), VV_CACHELINE);
    struct vv_mailbox *mailbox =
        vv_allocate(crew->account, sizeof(*mailbox), VV_CACHELINE);

    VV_ASSERT(vv_crew_used(crew) < crew->seats_max);
    if (fresh == NULL || mailbox == NULL ||
        vv_mailbox_init(mailbox, mailbox_depth, &crew->space, crew->account) !=
            VIVERO_OK) {
        vv_release(crew->account, mailbox, sizeof(*mailbox), VV_CACHELINE);
        vv_release(crew->account, fresh, sizeof(*fresh), VV_CACHELINE);
        return VIVERO_E_NO_MEMORY;
    }
    fresh->crew = crew;
    fresh->index = vv_crew_used(crew);
    fresh->mailbox = mailbox;
    *seat = fresh;
    return VIVERO_OK;
}

void vv_crew_free_seat(struct vv_crew *crew, struct vv_seat *seat)
{
    vv_mailbox_fini(seat->mailbox);
    vv_release(crew->account, seat->mailbox, sizeof(*seat->mailbox),
               VV_CACHELINE);
    vv_release(crew->account, seat, sizeof(*seat), VV_CACHELINE);
}

void vv_crew_show_seat(struct vv_crew *crew, struct vv_seat *seat)
{
    crew->seats[seat->index] = seat;
    /* sync(crew.used): the seat is whole. */
    atomic_store_explicit(&crew->used, seat->index + 1, memory_order_release);
}

void vv_crew_set_size(struct vv_crew *crew, uint32_t size)
{
    /* sync(crew.size): after the seats. */
    atomic_store_explicit(&crew->size, size, memory_order_release);
}

/* ---- Waking ----------------------------------------------------------------- */

static uint32_t load_searcher(const struct vv_crew *crew)
{
    /* sync(crew.searcher): seq_cst, total order of I2. */
    return atomic_load_explicit(&crew->searcher, memory_order_seq_cst);
}

static bool become_searcher(struct vv_crew *crew, uint32_t index)
{
    uint32_t nobody = 0;

    /* sync(crew.searcher): seq_cst, total order of I2. */
    return atomic_compare_exchange_strong_explicit(
        &crew->searcher, &nobody, index + 1, memory_order_seq_cst,
        memory_order_seq_cst);
}

static void end_search(struct vv_crew *crew)
{
    /* sync(crew.searcher): seq_cst, total order of I2. */
    atomic_store_explicit(&crew->searcher, 0, memory_order_seq_cst);
}

static bool is_suspended(const struct vv_crew *crew)
{
    /* sync(crew.suspended): seq_cst, total order because resuming clears it
     * and then looks for idle bits. */
    return atomic_load_explicit(&crew->suspended, memory_order_seq_cst) != 0;
}

#define AWAKE 1u
#define AWAKE_AS_SEARCHER 2u

/* The seat's idle bit is ours: I1. */
static void wake(struct vv_crew *crew, struct vv_seat *seat, uint32_t how)
{
    /* relaxed: a statistic. */
    atomic_fetch_add_explicit(&crew->wake_ups, 1, memory_order_relaxed);
    /* sync(seat.park): what was done in the worker's place, and how. */
    atomic_store_explicit(&seat->park, how, memory_order_release);
    vv_unpark(&seat->park, 1);
}

void vv_crew_notify_any(struct vv_crew *crew)
{
    while (load_searcher(crew) == 0 && !is_suspended(crew)) {
        uint32_t index = vv_idle_first(&crew->idle);

        if (index == VV_IDLE_NONE) {
            return;
        }
        if (!become_searcher(crew, index)) {
            return; /* I2 a: that one looks after it */
        }
        if (vv_idle_clear(&crew->idle, index)) {
            wake(crew, crew->seats[index], AWAKE_AS_SEARCHER);
            return;
        }
        end_search(crew);
    }
}

void vv_crew_notify_seat(struct vv_crew *crew, uint32_t index)
{
    if (vv_idle_is_set(&crew->idle, index) &&
        vv_idle_clear(&crew->idle, index)) {
        wake(crew, crew->seats[index], AWAKE);
    }
}

void vv_crew_notify_all(struct vv_crew *crew)
{
    uint32_t used = vv_crew_used(crew);

    for (uint32_t i = 0; i < used; i++) {
        vv_crew_notify_seat(crew, i);
    }
}

void vv_crew_call_attention(struct vv_crew *crew, uint32_t index)
{
    /* sync(seat.attention): seq_cst, total order because the worker sets its
     * idle bit and then looks here. */
    atomic_store_explicit(&crew->seats[index]->attention, 1,
                          memory_order_seq_cst);
    vv_crew_notify_seat(crew, index);
    vv_unpark(&crew->seats[index]->attention, 1);
}

void vv_crew_suspend(struct vv_crew *crew, bool suspended)
{
    /* sync(crew.suspended): seq_cst, see is_suspended. */
    atomic_store_explicit(&crew->suspended, suspended, memory_order_seq_cst);
    if (!suspended) {
        vv_crew_notify_all(crew);
    }
}

uint32_t vv_crew_pick_free(const struct vv_crew *crew, uint32_t sticky)
{
    uint32_t size = vv_crew_size(crew);
    uint32_t seat = load_searcher(crew);

    if (seat == 0) {
        seat = vv_idle_first(&crew->idle);
    } else {
        seat--;
    }
    if (seat < size) {
        return seat;
    }
    return size > 0 ? sticky % size : 0;
}

/* ---- Taking ------------------------------------------------------------------- */

static bool has_attention(const struct vv_seat *seat)
{
    /* sync(seat.attention): seq_cst, see vv_crew_call_attention. */
    return atomic_load_explicit(&seat->attention, memory_order_seq_cst) != 0;
}

static bool anything_to_take(const struct vv_seat *seat)
{
    const struct vv_crew *crew = seat->crew;
    uint32_t used = vv_crew_used(crew);

    if (vv_mailbox_has(seat->mailbox, VV_LANE_OWN)) {
        return true;
    }
    for (uint32_t i = 0; i < used; i++) {
        if (vv_mailbox_has(crew->seats[i]->mailbox, VV_LANE_POOL)) {
            return true;
        }
    }
    return false;
}

static bool take_from_siblings(struct vv_seat *seat, struct vv_message *message)
{
    struct vv_crew *crew = seat->crew;
    uint32_t used = vv_crew_used(crew);

    for (uint32_t i = 1; i < used; i++) {
        struct vv_mailbox *mailbox =
            crew->seats[(seat->index + i) % used]->mailbox;

        if (vv_mailbox_take(mailbox, VV_LANE_POOL, message)) {
            /* relaxed: a statistic of one writer. */
            atomic_fetch_add_explicit(&seat->taken, 1, memory_order_relaxed);
            return true;
        }
    }
    return false;
}

static bool take_from_own(struct vv_seat *seat, struct vv_message *message)
{
    enum vv_lane first =
        seat->turns % POOL_FIRST_TURNS == 0 ? VV_LANE_POOL : VV_LANE_OWN;
    enum vv_lane second = first == VV_LANE_POOL ? VV_LANE_OWN : VV_LANE_POOL;

    return vv_mailbox_take(seat->mailbox, first, message) ||
           vv_mailbox_take(seat->mailbox, second, message);
}

/* A searcher found work: it stops searching, and sees to what is left. */
static void found_work(struct vv_seat *seat)
{
    if (seat->searching) {
        vv_crew_stop_searching(seat);
    }
}

bool vv_crew_take(struct vv_seat *seat, struct vv_message *message)
{
    bool found = false;

    if (is_suspended(seat->crew)) {
        return false;
    }
    seat->turns++;
    if (seat->turns % SIBLING_FIRST_TURNS == 0) {
        found = take_from_siblings(seat, message);
    }
    found = found || take_from_own(seat, message) ||
            take_from_siblings(seat, message);
    if (found) {
        seat->fruitless = 0;
        seat->casts = message->reply == NULL ? seat->casts + 1 : 0;
        found_work(seat);
    }
    return found;
}

bool vv_crew_is_suspended(const struct vv_crew *crew)
{
    return is_suspended(crew);
}

bool vv_crew_take_own(struct vv_seat *seat, struct vv_message *message)
{
    bool found = !is_suspended(seat->crew) &&
                 vv_mailbox_take(seat->mailbox, VV_LANE_OWN, message);

    if (found) {
        found_work(seat);
    }
    return found;
}

bool vv_crew_take_attention(struct vv_seat *seat)
{
    if (!has_attention(seat)) {
        return false;
    }
    /* sync(seat.attention): seq_cst; what is announced from here on is looked
     * at the next time. */
    return atomic_exchange_explicit(&seat->attention, 0,
                                    memory_order_seq_cst) != 0;
}

bool vv_crew_wait_for_attention(struct vv_seat *seat, int64_t deadline_ns)
{
    while (!has_attention(seat)) {
        if (!vv_park(&seat->attention, 0, deadline_ns)) {
            return has_attention(seat);
        }
    }
    return true;
}

void vv_crew_stop_searching(struct vv_seat *seat)
{
    if (!seat->searching) {
        return;
    }
    seat->searching = false;
    end_search(seat->crew);
    if (anything_to_take(seat)) {
        vv_crew_notify_any(seat->crew);
    }
}

bool vv_crew_is_idle(const struct vv_seat *seat)
{
    return vv_idle_is_set(&seat->crew->idle, seat->index);
}

void vv_crew_finished(struct vv_seat *seat)
{
    /* relaxed: one writer at a time. */
    uint64_t finished =
        atomic_load_explicit(&seat->finished, memory_order_relaxed);

    /* sync(seat.finished): what the handler did is over. */
    atomic_store_explicit(&seat->finished, finished + 1, memory_order_release);
}

uint64_t vv_crew_finished_count(const struct vv_seat *seat)
{
    /* sync(seat.finished): what those handlers did has happened. */
    return atomic_load_explicit(&seat->finished, memory_order_acquire);
}

/* ---- Sleeping -------------------------------------------------------------------- */

/* What a searcher looks at again and again. */
static bool ready_for(void *ctx)
{
    const struct vv_seat *seat = ctx;
    const struct vv_crew *crew = seat->crew;
    uint32_t used = vv_crew_used(crew);

    if (has_attention(seat)) {
        return true;
    }
    if (is_suspended(crew)) {
        return false;
    }
    for (uint32_t i = 0; i < used; i++) {
        if (vv_mailbox_ready(crew->seats[i]->mailbox, VV_LANE_POOL)) {
            return true;
        }
    }
    return vv_mailbox_ready(seat->mailbox, VV_LANE_OWN);
}

/* What it looks at for the last time before it sleeps: I2. */
static bool something_for(void *ctx)
{
    const struct vv_seat *seat = ctx;

    return has_attention(seat) ||
           (!is_suspended(seat->crew) && anything_to_take(seat));
}

/* Sleep until somebody clears our idle bit and wakes us. False: the deadline
 * passed, and the bit is ours again. */
static bool sleep_in(struct vv_seat *seat, int64_t deadline_ns)
{
    struct vv_crew *crew = seat->crew;

    for (;;) {
        /* sync(seat.park): what was done in our place, and how we wake. */
        uint32_t how = atomic_load_explicit(&seat->park, memory_order_acquire);

        if (how != 0) {
            seat->searching = how == AWAKE_AS_SEARCHER;
            return true;
        }
        if (!vv_park(&seat->park, 0, deadline_ns)) {
            if (vv_idle_clear(&crew->idle, seat->index)) {
                return false;
            }
            deadline_ns = VIVERO_FOREVER; /* a wake-up is under way */
        }
    }
}

/* The lanes ran dry while casts were coming one after another. Looking at once
 * would take every cell from its producer's cache the moment it is written, one
 * by one; a moment later there are many. Nobody waits for a cast. */
static void let_fill(void)
{
    for (uint32_t i = 0; i < LET_FILL_PAUSES; i++) {
        vv_cpu_relax();
    }
}

/* The message is there but cannot be taken yet: let its producer run. With a
 * real-time policy yielding is not enough for that. */
static void give_way(struct vv_seat *seat)
{
    seat->fruitless++;
    if (seat->fruitless % 4096 == 0) {
        _Atomic uint32_t nobody = 0;

        (void)vv_park(&nobody, 0, vivero_now() + VIVERO_MICROSECONDS(50));
    } else if (seat->fruitless % 32 == 0) {
        vv_cpu_yield();
    }
}

bool vv_crew_rest(struct vv_seat *seat, int64_t deadline_ns)
{
    struct vv_crew *crew = seat->crew;

    uint32_t casts = seat->casts;

    seat->casts = 0;
    if (casts >= LET_FILL_CASTS && crew->spin.limit_ns > 0) {
        let_fill();
        return true;
    }
    if (!seat->searching && !is_suspended(crew)) {
        seat->searching = become_searcher(crew, seat->index);
    }
    if (seat->searching && vv_spin_until(&crew->spin, ready_for, seat)) {
        return true;
    }
    /* relaxed: our own until the bit is set. */
    atomic_store_explicit(&seat->park, 0, memory_order_relaxed);
    vv_idle_set(&crew->idle, seat->index);
    if (seat->searching) {
        seat->searching = false;
        end_search(crew);
    }
    vv_crew_poke_quiet(crew);
    if (something_for(seat) && vv_idle_clear(&crew->idle, seat->index)) {
        /* I3, or the message stands in a lane that is frozen. */
        give_way(seat);
        return true;
    }
    return sleep_in(seat, deadline_ns);
}

/* ---- Borrowing ----------------------------------------------------------------------- */

struct vv_seat *vv_crew_borrow(struct vv_crew *crew, uint32_t only)
{
    uint32_t index = only != VV_ANY_SEAT ? only : vv_idle_first(&crew->idle);

    if (index == VV_IDLE_NONE || !vv_idle_is_set(&crew->idle, index) ||
        !vv_idle_clear(&crew->idle, index)) {
        return NULL;
    }
    return crew->seats[index];
}

static void count_lent(struct vv_seat *seat, uint64_t change)
{
    /* sync(crew.lent): seq_cst, total order because a drain closes the mailbox
     * and then counts, a lender counts and then looks whether it is open. */
    atomic_fetch_add_explicit(&seat->lent, change, memory_order_seq_cst);
}

bool vv_crew_lend(struct vv_seat *seat)
{
    count_lent(seat, 1);
    if (!has_attention(seat) && !is_suspended(seat->crew) &&
        vv_mailbox_is_open(seat->mailbox) &&
        vv_mailbox_queued(seat->mailbox) == 0) {
        return true;
    }
    count_lent(seat, UINT64_MAX);
    return false;
}

void vv_crew_give_back(struct vv_seat *seat, bool must_wake)
{
    struct vv_crew *crew = seat->crew;

    if (must_wake) {
        wake(crew, seat, AWAKE);
        return;
    }
    vv_idle_set(&crew->idle, seat->index);
    vv_crew_poke_quiet(crew);
    if (something_for(seat) && vv_idle_clear(&crew->idle, seat->index)) {
        wake(crew, seat, AWAKE);
    }
}

/* ---- Room ------------------------------------------------------------------------------ */

uint32_t vv_crew_prepare_for_room(struct vv_crew *crew)
{
    /* sync(space.sequence): what made room before this number is seen. */
    uint32_t sequence =
        atomic_load_explicit(&crew->space.sequence, memory_order_acquire);
    uint32_t size = vv_crew_size(crew);

    for (uint32_t i = 0; i < size; i++) {
        vv_mailbox_want_room(crew->seats[i]->mailbox);
    }
    return sequence;
}

bool vv_crew_wait_for_room(struct vv_crew *crew, uint32_t prepared,
                           int64_t deadline_ns)
{
    return vv_here_park(&crew->space.sequence, prepared, deadline_ns) ==
           VV_WAKE_CALLED;
}

/* ---- Rest ------------------------------------------------------------------------------- */

uint64_t vv_crew_accepted(const struct vv_crew *crew)
{
    uint32_t used = vv_crew_used(crew);
    uint64_t sum = 0;

    for (uint32_t i = 0; i < used; i++) {
        sum += vv_mailbox_accepted(crew->seats[i]->mailbox);
        /* sync(crew.lent): seq_cst, see count_lent(). */
        sum +=
            atomic_load_explicit(&crew->seats[i]->lent, memory_order_seq_cst);
    }
    return sum;
}

uint64_t vv_crew_settled(const struct vv_crew *crew, enum vv_settled how)
{
    uint32_t used = vv_crew_used(crew);
    uint64_t sum = 0;

    for (uint32_t i = 0; i < used; i++) {
        sum += vv_mailbox_settled(crew->seats[i]->mailbox, how);
    }
    return sum;
}

bool vv_crew_is_quiet(const struct vv_crew *crew)
{
    uint32_t used = vv_crew_used(crew);
    uint64_t ended = 0;

    /* First the endings, then the acceptances: both only grow, and no message
     * ends before it is accepted, so if they are equal all were ended at the
     * moment between. */
    for (uint32_t i = 0; i < used; i++) {
        ended += vv_crew_finished_count(crew->seats[i]);
    }
    for (int how = 0; how < VV_SETTLED_COUNT; how++) {
        ended += vv_crew_settled(crew, (enum vv_settled)how);
    }
    return ended == vv_crew_accepted(crew);
}

void vv_crew_poke_quiet(struct vv_crew *crew)
{
    /* sync(crew.watchers): a read-modify-write, so that either the watcher came
     * first and we see it, or it comes later and sees what we ended. */
    if (atomic_fetch_add_explicit(&crew->quiet_watchers, 0,
                                  memory_order_acq_rel) != 0) {
        /* sync(crew.quiet): watchers count again. */
        atomic_fetch_add_explicit(&crew->quiet, 1, memory_order_release);
        vv_unpark(&crew->quiet, VV_UNPARK_ALL);
    }
}

int vv_crew_wait_quiet(struct vv_crew *crew, int64_t deadline_ns,
                       bool (*stop)(void *ctx), void *ctx)
{
    int result = 0;
    bool in_time = true;

    /* sync(crew.watchers): see vv_crew_poke_quiet. */
    atomic_fetch_add_explicit(&crew->quiet_watchers, 1, memory_order_acq_rel);
    for (;;) {
        /* sync(crew.quiet): what was ended before this number is counted. */
        uint32_t seen =
            atomic_load_explicit(&crew->quiet, memory_order_acquire);

        if (stop(ctx)) {
            result = -1;
            break;
        }
        if (vv_crew_is_quiet(crew)) {
            result = 1;
            break;
        }
        if (!in_time) {
            break;
        }
        in_time = vv_park(&crew->quiet, seen, deadline_ns);
    }
    /* relaxed: one watcher less to wake, at worst in vain. */
    atomic_fetch_sub_explicit(&crew->quiet_watchers, 1, memory_order_relaxed);
    return result;
}
