/* SPDX-License-Identifier: MIT */
/* mailbox: one worker's bounded queue of messages.
 *
 * Model.    Two rings of cells, the pool lane and the own lane. A cell's turn is
 *           the lap for which it is full, counted from 1; zeroed memory is an
 *           empty ring. Consumers never write to cells: a line travels from the
 *           producer to the consumer and is not sent back.
 *             tail   one word: closed bit, own index, pool index (31 bits each)
 *             head   per lane, 64 bits; moved by whoever has the role, after
 *                    the cell was copied: what is behind it is free
 *           Producers look at the head only when the one they remember
 *           (head_seen, released_seen) leaves no room.
 *           queued = (tails - released - credited), never more than depth.
 * Threads.  put: any. take, drop, flush, cancel, compact: whoever has the role,
 *           a spin lock held for the time of copying a cell (or, for the rare
 *           ones, of walking the rings), never over a handler or a system call.
 * Invariants.
 *   I1 A CAS on tail admits a message: closed, the bound and that the cell is
 *      free were checked for the very tail it replaces, and it gives the cell to
 *      the producer. Nothing is accepted after close.
 *   I2 released counts messages taken or dropped, credited those that became
 *      tombstones. A message is counted by exactly one of them: the state step
 *      of its reply slot decides who.
 *   I3 A tombstone still fills a cell. When the bound has room but the ring does
 *      not, compaction pushes the tombstones out of it.
 * Sync.     mailbox.turn: a full turn publishes the cell to its taker.
 *           mailbox.head: gives the cells behind it back to producers, also to
 *           those who learn it from another producer (head_seen).
 *           mailbox.role: whoever takes the role sees what its predecessor did.
 *           mailbox.tail: the total order between "I put a message" and "I go
 *           to sleep"; see crew.c.
 *           mailbox.room: released and credited are published to producers.
 * Room.     A producer that finds no room sets WANTED in the role word and
 *           looks again. A consumer gives the role back by a read-modify-write,
 *           so either the producer came first and the consumer sees WANTED, or
 *           the consumer came first and the producer sees the room.
 * Failure.  None after init: nothing is allocated.
 * Rejected. One ring for both lanes (a sibling would search it). Claims of many
 *           cells at once (a message would wait behind a slow handler, or need
 *           a second queue to be taken from). */
#include "mailbox/mailbox.h"

#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/park.h"

#include <string.h>

#define CLOSED (UINT64_C(1) << 63)
#define INDEX_MASK UINT32_C(0x7fffffff)
#define OWN_SHIFT 32

/* A producer asks for cells so far ahead of its pen: the CAS of its next message
 * waits for what this one writes, and a cell comes from another CPU's cache. */
#define PREFETCH_CELLS 32

#define HELD UINT32_C(1)
#define WANTED UINT32_C(2)

/* ---- Words ---------------------------------------------------------------- */

static uint32_t tail_index(uint64_t tail, enum vv_lane lane)
{
    return (uint32_t)(lane == VV_LANE_OWN ? tail >> OWN_SHIFT : tail) &
           INDEX_MASK;
}

static uint64_t tail_advance(uint64_t tail, enum vv_lane lane, uint32_t count)
{
    uint64_t index = (tail_index(tail, lane) + count) & INDEX_MASK;
    int shift = lane == VV_LANE_OWN ? OWN_SHIFT : 0;

    return (tail & ~((uint64_t)INDEX_MASK << shift)) | index << shift;
}

static uint32_t admitted(uint64_t tail)
{
    return (tail_index(tail, VV_LANE_POOL) + tail_index(tail, VV_LANE_OWN)) &
           INDEX_MASK;
}

static struct vv_cell *cell_at(const struct vv_mailbox *mailbox,
                               enum vv_lane lane, uint32_t index)
{
    return &mailbox->cells[lane][index & (mailbox->capacity - 1)];
}

/* The turn of the cell at an index when it is full: the lap, from 1. Indices
 * wrap at 2^31; a cell holds its last lap's turn or none, so that is enough. */
static uint32_t turn_full(const struct vv_mailbox *mailbox, uint32_t index)
{
    return ((index & INDEX_MASK) >> mailbox->shift) + 1;
}

static bool is_full(const struct vv_mailbox *mailbox,
                    const struct vv_cell *cell, uint32_t index)
{
    /* sync(mailbox.turn): its producer has written it. */
    return atomic_load_explicit(&cell->turn, memory_order_acquire) ==
           turn_full(mailbox, index);
}

static void set_full(const struct vv_mailbox *mailbox, struct vv_cell *cell,
                     uint32_t index)
{
    /* sync(mailbox.turn): the cell is its taker's. */
    atomic_store_explicit(&cell->turn, turn_full(mailbox, index),
                          memory_order_release);
}

static uint64_t load_tail(const struct vv_mailbox *mailbox)
{
    /* sync(mailbox.tail): seq_cst, total order because a sleeper first says
     * that it is idle and then looks here, a producer first writes here and
     * then looks who is idle. */
    return atomic_load_explicit(&mailbox->tail, memory_order_seq_cst);
}

static uint64_t load_head(const struct vv_mailbox *mailbox, enum vv_lane lane)
{
    /* relaxed: exact for the holder of the role, a hint for others. */
    return atomic_load_explicit(&mailbox->head[lane], memory_order_relaxed);
}

static uint32_t load_released(const struct vv_mailbox *mailbox)
{
    /* sync(mailbox.room): the cells behind these counts were given back. */
    uint32_t taken =
        atomic_load_explicit(&mailbox->released, memory_order_acquire);

    /* sync(mailbox.credit): seq_cst, total order because the one who credits
     * then looks for WANTED, and the one who wants first says so. */
    return taken +
           atomic_load_explicit(&mailbox->credited, memory_order_seq_cst);
}

/* ---- The role -------------------------------------------------------------- */

static bool role_try(struct vv_mailbox *mailbox)
{
    /* relaxed: only a guess for the exchange. */
    uint32_t word =
        atomic_load_explicit(&mailbox->role, memory_order_relaxed) & ~HELD;

    /* sync(mailbox.role): what the previous holder did. */
    return atomic_compare_exchange_strong_explicit(
        &mailbox->role, &word, word | HELD, memory_order_acquire,
        memory_order_relaxed /* relaxed: failed, nothing follows */);
}

static void role_take(struct vv_mailbox *mailbox)
{
    for (uint32_t looks = 0; !role_try(mailbox); looks++) {
        if (looks < 64) {
            vv_cpu_relax();
        } else {
            vv_cpu_yield();
        }
    }
}

/* Gives the role back; wakes producers if they asked and there is room. */
static void role_give(struct vv_mailbox *mailbox)
{
    /* sync(mailbox.role): to the next holder, and to producers that set WANTED
     * and then look for room. */
    uint32_t word = atomic_fetch_sub_explicit(&mailbox->role, HELD,
                                              memory_order_acq_rel);

    if (__builtin_expect((word & WANTED) != 0, 0) &&
        vv_mailbox_queued(mailbox) <= mailbox->depth / 2) {
        /* sync(mailbox.role): one wakes, the others see it was done. */
        word = atomic_fetch_and_explicit(&mailbox->role, ~WANTED,
                                         memory_order_acq_rel);
        if ((word & WANTED) != 0) {
            vv_space_wake(mailbox->space);
        }
    }
}

void vv_mailbox_want_room(struct vv_mailbox *mailbox)
{
    /* sync(mailbox.role): sees the room made by every earlier holder; seq_cst
     * for the order with credits: total order because both sides write first
     * and look then. */
    atomic_fetch_or_explicit(&mailbox->role, WANTED, memory_order_seq_cst);
}

void vv_space_wake(struct vv_space *space)
{
    /* sync(space.sequence): sleepers look at the mailboxes again. */
    atomic_fetch_add_explicit(&space->sequence, 1, memory_order_release);
    vv_unpark(&space->sequence, VV_UNPARK_ALL);
}

/* ---- Life ------------------------------------------------------------------ */

int vv_mailbox_init(struct vv_mailbox *mailbox, uint32_t depth,
                    struct vv_space *space, struct vv_account *account)
{
    memset(mailbox, 0, sizeof(*mailbox));
    while ((UINT32_C(1) << mailbox->shift) < depth) {
        mailbox->shift++;
    }
    mailbox->capacity = UINT32_C(1) << mailbox->shift;
    mailbox->depth = depth;
    mailbox->space = space;
    mailbox->account = account;
    for (int lane = 0; lane < VV_LANE_COUNT; lane++) {
        mailbox->cells[lane] =
            vv_allocate(account, mailbox->capacity * sizeof(struct vv_cell),
                        VV_CACHELINE);
        if (mailbox->cells[lane] == NULL) {
            vv_mailbox_fini(mailbox);
            return VIVERO_E_NO_MEMORY;
        }
    }
    return VIVERO_OK;
}

void vv_mailbox_fini(struct vv_mailbox *mailbox)
{
    for (int lane = 0; lane < VV_LANE_COUNT; lane++) {
        vv_release(mailbox->account, mailbox->cells[lane],
                   mailbox->capacity * sizeof(struct vv_cell), VV_CACHELINE);
        mailbox->cells[lane] = NULL;
    }
}

/* ---- Putting ---------------------------------------------------------------- */

static uint32_t now_mark(void)
{
    return (uint32_t)(vv_clock_coarse() / 1000000) << VV_MARK_SHIFT;
}

static void fill_cell(struct vv_cell *cell, const struct vv_message *message,
                      const void *in, uint32_t mark)
{
    unsigned char *bytes = cell->bytes;

    cell->operation = message->operation;
    if (message->reply != NULL) {
        mark |= VV_MESSAGE_REPLY;
        memcpy(bytes, &message->reply, sizeof(message->reply));
        bytes += VV_ARGS_MAX - VV_ARGS_MAX_CALL;
    }
    if (message->box != NULL) {
        mark |= VV_MESSAGE_BOXED;
        if (message->reply == NULL) {
            memcpy(bytes, &message->box, sizeof(message->box));
        }
    } else if (message->operation->in_size > 0) {
        memcpy(bytes, in, message->operation->in_size);
    }
    cell->mark = mark;
}

/* How many of count the bound admits. */
static uint32_t room_for(struct vv_mailbox *mailbox, uint64_t tail,
                         size_t count)
{
    /* relaxed: too small a number only makes us look at the true one. */
    uint32_t released = atomic_load_explicit(&mailbox->released_seen,
                                             memory_order_relaxed);
    uint32_t queued = (admitted(tail) - released) & INDEX_MASK;

    if (queued + count > mailbox->depth) {
        released = load_released(mailbox);
        /* relaxed: a hint for the next producer. */
        atomic_store_explicit(&mailbox->released_seen, released,
                              memory_order_relaxed);
        queued = (admitted(tail) - released) & INDEX_MASK;
        /* A tail older than released makes the difference wrap: it is stale,
         * and the CAS with it fails. */
        if (queued > mailbox->depth) {
            return 0;
        }
    }
    return mailbox->depth - queued < count ? mailbox->depth - queued
                                           : (uint32_t)count;
}

/* How many of count cells from index on are free for their producer. */
static uint32_t cells_free(struct vv_mailbox *mailbox, enum vv_lane lane,
                           uint32_t index, uint32_t count)
{
    /* sync(mailbox.head): the cells behind it were copied by their takers. */
    uint32_t head = atomic_load_explicit(&mailbox->head_seen[lane],
                                         memory_order_acquire);
    uint32_t used = (index - head) & INDEX_MASK;

    if (used + count > mailbox->capacity) {
        /* sync(mailbox.head): as above. */
        head = (uint32_t)atomic_load_explicit(&mailbox->head[lane],
                                              memory_order_acquire);
        /* sync(mailbox.head): and tells other producers. */
        atomic_store_explicit(&mailbox->head_seen[lane], head,
                              memory_order_release);
        used = (index - head) & INDEX_MASK;
        if (used > mailbox->capacity) {
            return 0; /* a stale tail: its CAS would fail */
        }
    }
    return mailbox->capacity - used < count ? mailbox->capacity - used : count;
}

static void compact(struct vv_mailbox *mailbox, enum vv_lane lane);

/* Admit up to count messages: moves the tail, I1. */
static enum vv_put admit(struct vv_mailbox *mailbox, enum vv_lane lane,
                         uint32_t count, uint32_t *index, uint32_t *admitted_)
{
    uint64_t tail = load_tail(mailbox);

    for (;;) {
        uint32_t room;
        uint32_t fit;

        if ((tail & CLOSED) != 0) {
            return VV_PUT_CLOSED;
        }
        room = room_for(mailbox, tail, count);
        *index = tail_index(tail, lane);
        fit = cells_free(mailbox, lane, *index, room);
        if (fit == 0) {
            uint64_t again = load_tail(mailbox);

            if (again != tail) {
                tail = again;
                continue;
            }
            if (room == 0) {
                return VV_PUT_FULL;
            }
            compact(mailbox, lane);
            tail = load_tail(mailbox);
            continue;
        }
        /* sync(mailbox.tail): seq_cst, see load_tail. */
        if (atomic_compare_exchange_weak_explicit(
                &mailbox->tail, &tail, tail_advance(tail, lane, fit),
                memory_order_seq_cst, memory_order_seq_cst)) {
            *admitted_ = fit;
            return VV_PUT_OK;
        }
    }
}

enum vv_put vv_mailbox_put(struct vv_mailbox *mailbox, enum vv_lane lane,
                           const struct vv_message *message, const void *in,
                           size_t count, size_t *done)
{
    uint32_t want = count < mailbox->depth ? (uint32_t)count : mailbox->depth;
    uint32_t index = 0;
    uint32_t fit = 0;
    uint32_t mark;
    enum vv_put result;

    *done = 0;
    if (message->reply != NULL) {
        vv_reply_set_mailbox(message->reply, mailbox);
        vv_reply_give_box(message->reply, message->box);
    }
    mark = now_mark();
    result = admit(mailbox, lane, want, &index, &fit);
    if (result != VV_PUT_OK) {
        return result;
    }
    for (uint32_t i = 0; i < fit; i++) {
        struct vv_cell *cell = cell_at(mailbox, lane, index + i);

        __builtin_prefetch(cell_at(mailbox, lane, index + i + PREFETCH_CELLS),
                           1, 3);
        fill_cell(cell, message, in, mark);
        set_full(mailbox, cell, index + i);
        in = (const unsigned char *)in + message->operation->in_size;
    }
    *done = fit;
    return VV_PUT_OK;
}

/* ---- Taking ------------------------------------------------------------------ */

static struct vv_reply *reply_of(const struct vv_cell *cell)
{
    struct vv_reply *reply = NULL;

    if ((cell->mark & VV_MESSAGE_REPLY) != 0) {
        memcpy(&reply, cell->bytes, sizeof(reply));
    }
    return reply;
}

/* All but the box of a message with a reply slot: that is the slot's. */
static void copy_out(const struct vv_cell *cell, struct vv_message *message)
{
    message->operation = cell->operation;
    message->mark = cell->mark;
    message->reply = reply_of(cell);
    message->box = NULL;
    if (message->reply != NULL) {
        memcpy(message->args, cell->bytes + VV_ARGS_MAX - VV_ARGS_MAX_CALL,
               VV_ARGS_MAX_CALL);
    } else if ((cell->mark & VV_MESSAGE_BOXED) != 0) {
        memcpy(&message->box, cell->bytes, sizeof(message->box));
    } else {
        memcpy(message->args, cell->bytes, VV_ARGS_MAX);
    }
}

void vv_message_fini(struct vv_message *message)
{
    vv_box_free(message->box);
    message->box = NULL;
}

/* The next cell of a lane that is full, or NULL. Exact under the role. */
static struct vv_cell *front(const struct vv_mailbox *mailbox,
                             enum vv_lane lane)
{
    uint32_t index = (uint32_t)load_head(mailbox, lane);
    struct vv_cell *cell = cell_at(mailbox, lane, index);

    return is_full(mailbox, cell, index) ? cell : NULL;
}

/* Give the front cell back to the producers. Under the role. */
static void pass(struct vv_mailbox *mailbox, enum vv_lane lane)
{
    /* sync(mailbox.head): the cell has been copied. */
    atomic_store_explicit(&mailbox->head[lane], load_head(mailbox, lane) + 1,
                          memory_order_release);
}

static void release_one(struct vv_mailbox *mailbox)
{
    /* relaxed: only the holder of the role writes it. */
    uint32_t released =
        atomic_load_explicit(&mailbox->released, memory_order_relaxed);

    /* sync(mailbox.room): the cell is free. */
    atomic_store_explicit(&mailbox->released, released + 1,
                          memory_order_release);
}

static void count_settled(struct vv_mailbox *mailbox, enum vv_settled how)
{
    /* sync(mailbox.settled): whoever sees all messages settled may free. */
    atomic_fetch_add_explicit(&mailbox->settled[how], 1, memory_order_release);
}

static bool is_expired(const struct vv_reply *reply)
{
    return reply->deadline_ns != VIVERO_FOREVER &&
           reply->deadline_ns <= vivero_now();
}

/* Copy the front message out and pass its cell. True: it has begun and counts;
 * false: it was a tombstone. Under the role. */
static bool begin_front(struct vv_mailbox *mailbox, enum vv_lane lane,
                        struct vv_cell *cell, struct vv_message *message)
{
    bool live = (cell->mark & VV_MESSAGE_HOLE) == 0;

    if (live) {
        copy_out(cell, message);
        live = message->reply == NULL ||
               vv_reply_begin(message->reply, &message->generation,
                              &message->box);
    }
    pass(mailbox, lane);
    if (live) {
        release_one(mailbox);
    }
    return live;
}

/* The next message that counts. Under the role. */
static bool next_live(struct vv_mailbox *mailbox, enum vv_lane lane,
                      struct vv_message *message)
{
    struct vv_cell *cell;

    while ((cell = front(mailbox, lane)) != NULL) {
        if (begin_front(mailbox, lane, cell, message)) {
            return true;
        }
    }
    return false;
}

static void end_message(struct vv_mailbox *mailbox, struct vv_message *message,
                        int result, const struct vivero_exit *exit,
                        enum vv_settled how)
{
    if (message->reply != NULL) {
        vv_reply_settle(message->reply, message->generation, result, NULL,
                        exit);
    }
    vv_message_fini(message);
    count_settled(mailbox, how);
}

enum vv_take vv_mailbox_take(struct vv_mailbox *mailbox, enum vv_lane lane,
                             bool wait, struct vv_message *message)
{
    for (;;) {
        bool found;

        /* Without the role only a hint, but a cheap one: an empty lane's cell
         * is in our cache. */
        if (front(mailbox, lane) == NULL) {
            return VV_TAKE_NONE;
        }
        if (wait) {
            role_take(mailbox);
        } else if (!role_try(mailbox)) {
            return VV_TAKE_BUSY;
        }
        found = next_live(mailbox, lane, message);
        role_give(mailbox);
        if (!found) {
            return VV_TAKE_NONE;
        }
        if (message->reply == NULL || !is_expired(message->reply)) {
            return VV_TAKE_ONE;
        }
        end_message(mailbox, message, VIVERO_E_TIMED_OUT, NULL,
                    VV_SETTLED_EXPIRED);
    }
}

bool vv_mailbox_ready(const struct vv_mailbox *mailbox, enum vv_lane lane)
{
    return front(mailbox, lane) != NULL;
}

bool vv_mailbox_has(const struct vv_mailbox *mailbox, enum vv_lane lane)
{
    uint32_t tail = tail_index(load_tail(mailbox), lane);

    return tail != ((uint32_t)load_head(mailbox, lane) & INDEX_MASK);
}

/* ---- Ending without a handler -------------------------------------------------- */

bool vv_mailbox_drop(struct vv_mailbox *mailbox, enum vv_lane lane, int result,
                     enum vv_settled how)
{
    struct vv_message message;
    bool found;

    role_take(mailbox);
    found = next_live(mailbox, lane, &message);
    role_give(mailbox);
    if (found) {
        end_message(mailbox, &message, result, NULL, how);
    }
    return found;
}

static uint64_t lane_accepted(const struct vv_mailbox *mailbox,
                              enum vv_lane lane)
{
    uint64_t head = load_head(mailbox, lane);
    uint32_t tail = tail_index(load_tail(mailbox), lane);

    return head + ((tail - (uint32_t)head) & INDEX_MASK);
}

/* Up to what was accepted before, so that producers cannot keep us here for
 * ever. One of them between its CAS and its turn is waited for. */
uint32_t vv_mailbox_flush_lane(struct vv_mailbox *mailbox, enum vv_lane lane,
                               int result, const struct vivero_exit *exit,
                               enum vv_settled how)
{
    uint64_t until = lane_accepted(mailbox, lane);
    struct vv_message message;
    uint32_t count = 0;

    while (load_head(mailbox, lane) < until) {
        bool found;

        role_take(mailbox);
        found = next_live(mailbox, lane, &message);
        role_give(mailbox);
        if (found) {
            end_message(mailbox, &message, result, exit, how);
            count++;
        } else if (load_head(mailbox, lane) < until) {
            vv_cpu_yield();
        }
    }
    return count;
}

uint32_t vv_mailbox_flush(struct vv_mailbox *mailbox, int result,
                          const struct vivero_exit *exit, enum vv_settled how)
{
    return vv_mailbox_flush_lane(mailbox, VV_LANE_OWN, result, exit, how) +
           vv_mailbox_flush_lane(mailbox, VV_LANE_POOL, result, exit, how);
}

/* Walk the full cells of a lane. Under the role. */
static uint32_t cut_lane(struct vv_mailbox *mailbox, enum vv_lane lane,
                         const void *owner)
{
    uint32_t head = (uint32_t)load_head(mailbox, lane);
    uint32_t count = 0;

    for (uint32_t i = 0; i < mailbox->capacity; i++) {
        struct vv_cell *cell = cell_at(mailbox, lane, head + i);
        struct vv_reply *reply;

        if (!is_full(mailbox, cell, head + i)) {
            continue;
        }
        reply = reply_of(cell);
        if (reply != NULL && (cell->mark & VV_MESSAGE_HOLE) == 0 &&
            reply->owner == owner && vv_reply_cut(reply)) {
            count++;
        }
    }
    return count;
}

uint32_t vv_mailbox_cancel_owner(struct vv_mailbox *mailbox, const void *owner)
{
    uint32_t count;

    role_take(mailbox);
    count = cut_lane(mailbox, VV_LANE_OWN, owner) +
            cut_lane(mailbox, VV_LANE_POOL, owner);
    role_give(mailbox);
    for (uint32_t i = 0; i < count; i++) {
        vv_mailbox_credit(mailbox, VV_SETTLED_CANCELLED);
    }
    return count;
}

void vv_mailbox_credit(struct vv_mailbox *mailbox, enum vv_settled how)
{
    count_settled(mailbox, how);
    /* sync(mailbox.credit): seq_cst, see load_released. */
    atomic_fetch_add_explicit(&mailbox->credited, 1, memory_order_seq_cst);
    /* sync(mailbox.role): seq_cst, total order because a producer sets WANTED
     * and then looks for credit. */
    if ((atomic_load_explicit(&mailbox->role, memory_order_seq_cst) &
         WANTED) != 0) {
        vv_space_wake(mailbox->space);
    }
}

/* ---- Compaction ------------------------------------------------------------------ */

static bool is_dead(const struct vv_cell *cell)
{
    const struct vv_reply *reply = reply_of(cell);

    return (cell->mark & VV_MESSAGE_HOLE) != 0 ||
           (reply != NULL && vv_reply_is_tombstone(reply));
}

static void bury(struct vv_cell *cell)
{
    if ((cell->mark & VV_MESSAGE_HOLE) == 0) {
        vv_reply_bury(reply_of(cell));
    }
    cell->mark = VV_MESSAGE_HOLE;
}

static void move_cell(struct vv_cell *to, struct vv_cell *from)
{
    to->operation = from->operation;
    to->mark = from->mark;
    memcpy(to->bytes, from->bytes, sizeof(to->bytes));
    from->mark = VV_MESSAGE_HOLE;
}

/* Push the live messages towards the tail, in order, and pass the holes this
 * leaves at the head. Cells whose producer is still writing stay where they
 * are, and what is older stays behind them. */
static void compact(struct vv_mailbox *mailbox, enum vv_lane lane)
{
    uint32_t head;
    uint32_t index;
    uint32_t to;
    struct vv_cell *cell;

    role_take(mailbox);
    head = (uint32_t)load_head(mailbox, lane);
    index = tail_index(load_tail(mailbox), lane);
    to = index;
    while ((index & INDEX_MASK) != (head & INDEX_MASK)) {
        index--;
        cell = cell_at(mailbox, lane, index);
        if (!is_full(mailbox, cell, index)) {
            to = index;
        } else if (is_dead(cell)) {
            bury(cell);
        } else {
            to--;
            if (to != index) {
                move_cell(cell_at(mailbox, lane, to), cell);
            }
        }
    }
    while ((cell = front(mailbox, lane)) != NULL &&
           (cell->mark & VV_MESSAGE_HOLE) != 0) {
        pass(mailbox, lane);
    }
    role_give(mailbox);
}

/* ---- Closing, looking -------------------------------------------------------------- */

void vv_mailbox_close(struct vv_mailbox *mailbox)
{
    /* sync(mailbox.tail): seq_cst, see load_tail. No CAS of a producer that
     * has not seen it succeeds: I1. */
    atomic_fetch_or_explicit(&mailbox->tail, CLOSED, memory_order_seq_cst);
}

void vv_mailbox_reopen(struct vv_mailbox *mailbox)
{
    /* sync(mailbox.tail): seq_cst, see load_tail. */
    atomic_fetch_and_explicit(&mailbox->tail, ~CLOSED, memory_order_seq_cst);
}

bool vv_mailbox_is_open(const struct vv_mailbox *mailbox)
{
    return (load_tail(mailbox) & CLOSED) == 0;
}

uint32_t vv_mailbox_queued(const struct vv_mailbox *mailbox)
{
    uint32_t released = load_released(mailbox);
    uint32_t queued = (admitted(load_tail(mailbox)) - released) & INDEX_MASK;

    /* A tombstone may be credited before we see the tail that admitted it. */
    return queued > mailbox->depth ? mailbox->depth : queued;
}

uint64_t vv_mailbox_accepted(const struct vv_mailbox *mailbox)
{
    return lane_accepted(mailbox, VV_LANE_POOL) +
           lane_accepted(mailbox, VV_LANE_OWN);
}

uint64_t vv_mailbox_settled(const struct vv_mailbox *mailbox,
                            enum vv_settled how)
{
    /* sync(mailbox.settled): the messages behind the number have ended. */
    return atomic_load_explicit(&mailbox->settled[how], memory_order_acquire);
}

static int64_t age_of(const struct vv_cell *cell)
{
    uint32_t age = ((now_mark() - cell->mark) & ~VV_MARK_FLAGS) >>
                   VV_MARK_SHIFT;

    return (int64_t)age * 1000000;
}

/* The age of the first live cell of a lane. Under the role. */
static int64_t lane_age(struct vv_mailbox *mailbox, enum vv_lane lane)
{
    uint32_t head = (uint32_t)load_head(mailbox, lane);

    for (uint32_t i = 0; i < mailbox->capacity; i++) {
        struct vv_cell *cell = cell_at(mailbox, lane, head + i);

        if (!is_full(mailbox, cell, head + i)) {
            return 0;
        }
        if (!is_dead(cell)) {
            return age_of(cell);
        }
    }
    return 0;
}

int64_t vv_mailbox_oldest_age(struct vv_mailbox *mailbox)
{
    int64_t pool;
    int64_t own;

    role_take(mailbox);
    pool = lane_age(mailbox, VV_LANE_POOL);
    own = lane_age(mailbox, VV_LANE_OWN);
    role_give(mailbox);
    return pool > own ? pool : own;
}
