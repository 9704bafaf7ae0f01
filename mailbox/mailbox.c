/* SPDX-License-Identifier: MIT */
/* mailbox: one worker's bounded queue of messages.
 *
 * Model.    Two rings of cells, the pool lane and the own lane. A cell's turn is
 *           the lap for which it is full, counted from 1; zeroed memory is an
 *           empty ring. Takers never write to cells: a line travels from the
 *           producer to the taker and is not sent back.
 *             tail   one word: closed bit, own index, pool index (31 bits each)
 *             head   per lane: frozen bit, index (63 bits); what is behind it
 *                    is free
 *           queued = tails - heads - (credited - buried), at most depth.
 *           Producers look at the heads only when what they remember of them
 *           (head_seen, released_seen) leaves no room.
 * Threads.  put, take, drop, flush, credit, close: any, lock-free. cancel_owner,
 *           oldest_age and compaction freeze a lane while they walk over it:
 *           takers fail meanwhile, producers do not notice.
 * Invariants.
 *   I1 A CAS on tail admits a message: closed, the bound and that the cell is
 *      free were checked for the very tail it replaces, and it gives the cell to
 *      the producer. Nothing is accepted after close.
 *   I2 A taker copies the cell at the head, then moves the head by a CAS. If the
 *      CAS succeeds nobody else took the message, and nobody wrote the cell in
 *      between, since producers do not come past the head. Else it throws the
 *      copy away; that is why cells are atomic, word by word.
 *   I3 Heads count messages that were passed, credited those that became
 *      tombstones before, buried those that were both. The state step of the
 *      reply slot decides who ends a message. For the instant between passing a
 *      tombstone and counting it buried, the bound may be exceeded by that one.
 *   I4 A tombstone still fills a cell. When the bound has room but the ring does
 *      not, compaction pushes the tombstones out of it.
 * Sync.     mailbox.turn: a full turn publishes the cell to its taker.
 *           mailbox.head: gives the cells behind it back to producers, also to
 *           those who learn it from another producer (head_seen).
 *           mailbox.tail: the total order between "I put a message" and "I go
 *           to sleep"; see crew.c.
 *           mailbox.wanted: a producer that finds no room sets it and looks
 *           again; a taker moves the head (or credits) and looks at it. All
 *           seq_cst, so one of them sees the other.
 * Failure.  None after init: nothing is allocated.
 * Rejected. One ring for both lanes (a sibling would search it). A lock for the
 *           consuming side (two atomic operations per message instead of one,
 *           and a taker that loses its CPU would stop the others). Claims of
 *           many cells at once (a message would wait behind a slow handler). */
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
/* And a taker for cells so far ahead; more would take them from the producer
 * that is writing them. Both measured: bench/pool_vivero cast_1_1. */
#define PREFETCH_TAKES 3

#define FROZEN (UINT64_C(1) << 63)

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
static uint32_t turn_full(const struct vv_mailbox *mailbox, uint64_t index)
{
    return (((uint32_t)index & INDEX_MASK) >> mailbox->shift) + 1;
}

static uint64_t stamp_of(const struct vv_cell *cell)
{
    /* sync(mailbox.turn): its producer has written the rest. */
    return atomic_load_explicit(&cell->stamp, memory_order_acquire);
}

static void set_stamp(struct vv_cell *cell, uint32_t turn, uint32_t mark)
{
    /* sync(mailbox.turn): the cell is its taker's. */
    atomic_store_explicit(&cell->stamp, (uint64_t)turn << 32 | mark,
                          memory_order_release);
}

static uint32_t turn_of(uint64_t stamp)
{
    return (uint32_t)(stamp >> 32);
}

static uint32_t mark_of(uint64_t stamp)
{
    return (uint32_t)stamp;
}

static uint64_t load_tail(const struct vv_mailbox *mailbox)
{
    /* sync(mailbox.tail): seq_cst, total order because a sleeper first says
     * that it is idle and then looks here, a producer first writes here and
     * then looks who is idle. */
    return atomic_load_explicit(&mailbox->tail, memory_order_seq_cst);
}

/* The head word of a lane, with its frozen bit. */
static uint64_t load_head_word(const struct vv_mailbox *mailbox,
                               enum vv_lane lane)
{
    /* sync(mailbox.head): the cells behind it were copied by their takers;
     * seq_cst for mailbox.wanted: total order, see there. */
    return atomic_load_explicit(&mailbox->head[lane], memory_order_seq_cst);
}

static uint64_t load_head(const struct vv_mailbox *mailbox, enum vv_lane lane)
{
    return load_head_word(mailbox, lane) & ~FROZEN;
}

static uint32_t load_buried(const struct vv_mailbox *mailbox)
{
    /* sync(mailbox.wanted): seq_cst, total order with credit(). */
    return atomic_load_explicit(&mailbox->buried, memory_order_seq_cst);
}

/* What makes room: all that was passed or became a tombstone, once. No burial
 * falls between the heads and the credits we read, else they do not fit. */
static uint32_t load_released(const struct vv_mailbox *mailbox)
{
    uint32_t buried = load_buried(mailbox);

    for (;;) {
        uint32_t heads = (uint32_t)load_head(mailbox, VV_LANE_POOL) +
                         (uint32_t)load_head(mailbox, VV_LANE_OWN);
        /* sync(mailbox.wanted): seq_cst, total order with credit(). */
        uint32_t credited =
            atomic_load_explicit(&mailbox->credited, memory_order_seq_cst);
        uint32_t again = load_buried(mailbox);

        if (again == buried) {
            return heads + credited - buried;
        }
        buried = again;
    }
}

/* ---- Room ------------------------------------------------------------------- */

static bool is_wanted(const struct vv_mailbox *mailbox)
{
    /* sync(mailbox.wanted): seq_cst, total order: the looker made room first,
     * whoever wants room said so first and then looks for it. */
    return atomic_load_explicit(&mailbox->wanted, memory_order_seq_cst) != 0;
}

void vv_mailbox_want_room(struct vv_mailbox *mailbox)
{
    /* sync(mailbox.wanted): seq_cst, as above. */
    atomic_store_explicit(&mailbox->wanted, 1, memory_order_seq_cst);
}

void vv_space_wake(struct vv_space *space)
{
    /* sync(space.sequence): sleepers look at the mailboxes again. */
    atomic_fetch_add_explicit(&space->sequence, 1, memory_order_release);
    vv_unpark(&space->sequence, VV_UNPARK_ALL);
}

/* Room was made: wake who waits for it, not at every cell but when the mailbox
 * is half empty. */
static void offer_room(struct vv_mailbox *mailbox)
{
    if (__builtin_expect(is_wanted(mailbox), 0) &&
        vv_mailbox_queued(mailbox) <= mailbox->depth / 2 &&
        /* sync(mailbox.wanted): seq_cst; one wakes for all. */
        atomic_exchange_explicit(&mailbox->wanted, 0, memory_order_seq_cst) !=
            0) {
        vv_space_wake(mailbox->space);
    }
}

/* ---- Frozen lanes ------------------------------------------------------------- */

/* Takers fail until thaw(). Returns the head. */
static uint64_t freeze(struct vv_mailbox *mailbox, enum vv_lane lane)
{
    uint64_t head = load_head(mailbox, lane);

    /* sync(mailbox.head): seq_cst as every change of it; what the last taker
     * did is over. */
    while (!atomic_compare_exchange_weak_explicit(
        &mailbox->head[lane], &head, head | FROZEN, memory_order_seq_cst,
        memory_order_seq_cst)) {
        if ((head & FROZEN) != 0) {
            vv_cpu_yield(); /* for one walk of somebody else */
            head &= ~FROZEN;
        }
    }
    return head;
}

static void thaw(struct vv_mailbox *mailbox, enum vv_lane lane, uint64_t head)
{
    /* sync(mailbox.head): what was done to the cells; seq_cst as above. */
    atomic_store_explicit(&mailbox->head[lane], head, memory_order_seq_cst);
    offer_room(mailbox);
}

/* ---- Life ------------------------------------------------------------------ */

/* Have the pages now: no message shall be the one that needs memory. */
static void touch(struct vv_cell *cells, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        /* relaxed: nobody else knows the ring yet. */
        atomic_store_explicit(&cells[i].stamp, 0, memory_order_relaxed);
    }
}

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
    vv_mailbox_close(mailbox);
    for (int lane = 0; lane < VV_LANE_COUNT; lane++) {
        mailbox->cells[lane] = vv_allocate(
            account, mailbox->capacity * sizeof(struct vv_cell), VV_CACHELINE);
        if (mailbox->cells[lane] == NULL) {
            vv_mailbox_fini(mailbox);
            return VIVERO_E_NO_MEMORY;
        }
        touch(mailbox->cells[lane], mailbox->capacity);
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

static void set_word(struct vv_cell *cell, size_t i, uint64_t word)
{
    /* relaxed: published by the stamp. */
    atomic_store_explicit(&cell->words[i], word, memory_order_relaxed);
}

static uint64_t get_word(const struct vv_cell *cell, size_t i)
{
    /* relaxed: after the stamp; what is torn is thrown away (I2). */
    return atomic_load_explicit(&cell->words[i], memory_order_relaxed);
}

static void set_operation(struct vv_cell *cell,
                          const struct vivero_operation *operation)
{
    /* relaxed: published by the stamp. */
    atomic_store_explicit(&cell->operation, operation, memory_order_relaxed);
}

static const struct vivero_operation *get_operation(const struct vv_cell *cell)
{
    /* relaxed: as in get_word(). */
    return atomic_load_explicit(&cell->operation, memory_order_relaxed);
}

/* A message as it stands in a cell. */
struct image {
    uint32_t mark;
    uint64_t words[VV_CELL_WORDS];
};

static void draw_image(struct image *image, const struct vv_message *message,
                       const void *in, uint32_t mark)
{
    uint32_t size = message->operation->in_size;
    unsigned char *bytes = (unsigned char *)image->words;

    image->mark = mark;
    if (message->reply != NULL) {
        image->mark |= VV_MESSAGE_REPLY;
        image->words[0] = (uint64_t)(uintptr_t)message->reply;
        bytes += sizeof(uint64_t);
    }
    if (message->box != NULL) {
        image->mark |= VV_MESSAGE_BOXED;
        if (message->reply == NULL) {
            image->words[0] = (uint64_t)(uintptr_t)message->box;
        }
    } else if (size == sizeof(uint64_t)) {
        memcpy(bytes, in, sizeof(uint64_t)); /* one number: no call */
    } else if (size > 0) {
        memcpy(bytes, in, size);
    }
}

/* The words that an image of this message uses. */
static size_t words_used(const struct vv_message *message)
{
    size_t bytes = message->box != NULL ? 0 : message->operation->in_size;

    if (message->reply != NULL || message->box != NULL) {
        bytes += sizeof(uint64_t);
    }
    return (bytes + sizeof(uint64_t) - 1) / sizeof(uint64_t);
}

static void fill_cell(const struct vv_mailbox *mailbox, struct vv_cell *cell,
                      uint32_t index, const struct vv_message *message,
                      const void *in, uint32_t mark)
{
    size_t used = words_used(message);
    struct image image;

    image.words[used > 0 ? used - 1 : 0] = 0; /* the last one's padding */
    draw_image(&image, message, in, mark);
    set_operation(cell, message->operation);
    for (size_t i = 0; i < used; i++) {
        set_word(cell, i, image.words[i]);
    }
    set_stamp(cell, turn_full(mailbox, index), image.mark);
}

/* Admitted and not released. Below nothing when the tail is older than the rest,
 * or a tombstone was just passed and not yet counted as buried: nothing then. */
static uint32_t difference(uint64_t tail, uint32_t released)
{
    uint32_t queued = (admitted(tail) - released) & INDEX_MASK;

    return queued > INDEX_MASK / 2 ? 0 : queued;
}

/* How many of count the bound admits. */
static uint32_t room_for(struct vv_mailbox *mailbox, uint64_t tail,
                         size_t count)
{
    /* relaxed: too small a number only makes us look at the true one. */
    uint32_t released =
        atomic_load_explicit(&mailbox->released_seen, memory_order_relaxed);
    uint32_t queued = difference(tail, released);

    if (queued + count > mailbox->depth) {
        released = load_released(mailbox);
        /* relaxed: a hint for the next producer. */
        atomic_store_explicit(&mailbox->released_seen, released,
                              memory_order_relaxed);
        queued = difference(tail, released);
    }
    if (queued >= mailbox->depth) {
        return 0;
    }
    return mailbox->depth - queued < count ? mailbox->depth - queued
                                           : (uint32_t)count;
}

/* How many of count cells from index on are free for their producer. */
static uint32_t cells_free(struct vv_mailbox *mailbox, enum vv_lane lane,
                           uint32_t index, uint32_t count)
{
    /* sync(mailbox.head): the cells behind it were copied by their takers. */
    uint32_t head =
        atomic_load_explicit(&mailbox->head_seen[lane], memory_order_acquire);
    uint32_t used = (index - head) & INDEX_MASK;

    if (used + count > mailbox->capacity) {
        head = (uint32_t)load_head(mailbox, lane);
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

static bool compact(struct vv_mailbox *mailbox, enum vv_lane lane);

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
            /* Still none after compacting, by us or by another producer: what
             * we took for room was about to be buried, or somebody is still
             * writing at the head. */
            if (room == 0 || (!compact(mailbox, lane) &&
                              cells_free(mailbox, lane, *index, 1) == 0)) {
                return VV_PUT_FULL;
            }
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

/* Unless it is not free yet: its taker needs it first. */
static void prefetch_ahead(const struct vv_mailbox *mailbox, enum vv_lane lane,
                           uint32_t index)
{
    /* relaxed: only a hint. */
    uint32_t head =
        atomic_load_explicit(&mailbox->head_seen[lane], memory_order_relaxed);

    if (((index - head) & INDEX_MASK) < mailbox->capacity) {
        vv_cpu_prefetch_write(cell_at(mailbox, lane, index));
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

        prefetch_ahead(mailbox, lane, index + i + PREFETCH_CELLS);
        fill_cell(mailbox, cell, index + i, message, in, mark);
        in = (const unsigned char *)in + message->operation->in_size;
    }
    *done = fit;
    return VV_PUT_OK;
}

/* ---- Taking ------------------------------------------------------------------ */

static struct vv_reply *reply_of(const struct vv_cell *cell, uint32_t mark)
{
    return (mark & VV_MESSAGE_REPLY) != 0
               ? (struct vv_reply *)(uintptr_t)get_word(cell, 0)
               : NULL;
}

/* All but the box of a message with a reply slot: that is the slot's. */
static void copy_out(const struct vv_cell *cell, uint32_t mark,
                     struct vv_message *message)
{
    uint64_t words[VV_CELL_WORDS];

    message->operation = get_operation(cell);
    message->mark = mark;
    message->reply = NULL;
    message->box = NULL;
    for (size_t i = 0; i < VV_CELL_WORDS; i++) {
        words[i] = get_word(cell, i);
    }
    if ((mark & VV_MESSAGE_REPLY) != 0) {
        message->reply = (struct vv_reply *)(uintptr_t)words[0];
        memcpy(message->args, words + 1, VV_ARGS_MAX_CALL);
    } else if ((mark & VV_MESSAGE_BOXED) != 0) {
        message->box = (struct vv_box *)(uintptr_t)words[0];
    } else {
        memcpy(message->args, words, VV_ARGS_MAX);
    }
}

void vv_message_fini(struct vv_message *message)
{
    vv_box_free(message->box);
    message->box = NULL;
}

static void count_settled(struct vv_mailbox *mailbox, enum vv_settled how)
{
    /* sync(mailbox.settled): whoever sees all messages settled may free. */
    atomic_fetch_add_explicit(&mailbox->settled[how], 1, memory_order_release);
}

static void count_buried(struct vv_mailbox *mailbox)
{
    /* sync(mailbox.wanted): seq_cst as credited. */
    atomic_fetch_add_explicit(&mailbox->buried, 1, memory_order_seq_cst);
}

/* By the cheap clock: a caller looks at its own deadline more closely. */
static bool is_expired(const struct vv_reply *reply)
{
    return reply->deadline_ns != VIVERO_FOREVER &&
           reply->deadline_ns <= vv_clock_coarse();
}

enum passed {
    PASSED_ONE,
    PASSED_NONE, /* none is ready */
    PASSED_FROZEN
};

/* Copy the message at the head and pass it: I2. */
static enum passed pass_one(struct vv_mailbox *mailbox, enum vv_lane lane,
                            struct vv_message *message)
{
    uint64_t head = load_head_word(mailbox, lane);

    for (;;) {
        const struct vv_cell *cell = cell_at(mailbox, lane, (uint32_t)head);
        uint64_t stamp = stamp_of(cell);

        if ((head & FROZEN) != 0) {
            return PASSED_FROZEN;
        }
        if (turn_of(stamp) != turn_full(mailbox, head)) {
            return PASSED_NONE;
        }
        __builtin_prefetch(
            cell_at(mailbox, lane, (uint32_t)head + PREFETCH_TAKES), 0, 3);
        copy_out(cell, mark_of(stamp), message);
        /* sync(mailbox.head): the cell has been copied; seq_cst for
         * mailbox.wanted. */
        if (atomic_compare_exchange_weak_explicit(
                &mailbox->head[lane], &head, head + 1, memory_order_seq_cst,
                memory_order_seq_cst)) {
            return PASSED_ONE;
        }
    }
}

/* Whether the message just passed counts; what is no message is buried. */
static bool begin(struct vv_mailbox *mailbox, struct vv_message *message)
{
    if ((message->mark & VV_MESSAGE_HOLE) == 0 &&
        (message->reply == NULL ||
         vv_reply_begin(message->reply, &message->generation, &message->box))) {
        return true;
    }
    count_buried(mailbox);
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

/* The next message that has not ended. */
static enum passed next_live(struct vv_mailbox *mailbox, enum vv_lane lane,
                             struct vv_message *message)
{
    enum passed passed;

    do {
        passed = pass_one(mailbox, lane, message);
        if (passed == PASSED_ONE) {
            offer_room(mailbox);
        }
    } while (passed == PASSED_ONE && !begin(mailbox, message));
    return passed;
}

bool vv_mailbox_take(struct vv_mailbox *mailbox, enum vv_lane lane,
                     struct vv_message *message)
{
    while (next_live(mailbox, lane, message) == PASSED_ONE) {
        if (message->reply == NULL || !is_expired(message->reply)) {
            return true;
        }
        end_message(mailbox, message, VIVERO_E_TIMED_OUT, NULL,
                    VV_SETTLED_EXPIRED);
    }
    return false;
}

bool vv_mailbox_ready(const struct vv_mailbox *mailbox, enum vv_lane lane)
{
    uint64_t head = load_head_word(mailbox, lane);

    return (head & FROZEN) == 0 &&
           turn_of(stamp_of(cell_at(mailbox, lane, (uint32_t)head))) ==
               turn_full(mailbox, head);
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

    enum passed passed = next_live(mailbox, lane, &message);

    while (passed == PASSED_FROZEN) {
        vv_cpu_yield(); /* for one walk of somebody else */
        passed = next_live(mailbox, lane, &message);
    }
    if (passed == PASSED_NONE) {
        return false;
    }
    end_message(mailbox, &message, result, NULL, how);
    return true;
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
static uint32_t flush_once(struct vv_mailbox *mailbox, enum vv_lane lane,
                           int result, const struct vivero_exit *exit,
                           enum vv_settled how)
{
    uint64_t until = lane_accepted(mailbox, lane);
    struct vv_message message;
    uint32_t count = 0;

    while (load_head(mailbox, lane) < until) {
        if (next_live(mailbox, lane, &message) == PASSED_ONE) {
            end_message(mailbox, &message, result, exit, how);
            count++;
        } else if (load_head(mailbox, lane) < until) {
            vv_cpu_yield();
        }
    }
    return count;
}

static uint32_t load_compactions(const struct vv_mailbox *mailbox)
{
    /* relaxed: read before and after the lane, which synchronises. */
    return atomic_load_explicit(&mailbox->compactions, memory_order_relaxed);
}

/* Once more if a compaction may have pushed messages past the mark. */
uint32_t vv_mailbox_flush_lane(struct vv_mailbox *mailbox, enum vv_lane lane,
                               int result, const struct vivero_exit *exit,
                               enum vv_settled how)
{
    uint32_t count = 0;
    uint32_t before;

    do {
        before = load_compactions(mailbox);
        count += flush_once(mailbox, lane, result, exit, how);
    } while (load_compactions(mailbox) != before);
    return count;
}

uint32_t vv_mailbox_flush(struct vv_mailbox *mailbox, int result,
                          const struct vivero_exit *exit, enum vv_settled how)
{
    return vv_mailbox_flush_lane(mailbox, VV_LANE_OWN, result, exit, how) +
           vv_mailbox_flush_lane(mailbox, VV_LANE_POOL, result, exit, how);
}

/* The cell at an index of a frozen lane, if it is full; and its mark. */
static struct vv_cell *full_cell(const struct vv_mailbox *mailbox,
                                 enum vv_lane lane, uint64_t index,
                                 uint32_t *mark)
{
    struct vv_cell *cell = cell_at(mailbox, lane, (uint32_t)index);
    uint64_t stamp = stamp_of(cell);

    *mark = mark_of(stamp);
    return turn_of(stamp) == turn_full(mailbox, index) ? cell : NULL;
}

/* The cells a walk over a lane has to look at. */
static uint32_t lane_length(const struct vv_mailbox *mailbox, enum vv_lane lane,
                            uint64_t head)
{
    return (tail_index(load_tail(mailbox), lane) - (uint32_t)head) & INDEX_MASK;
}

static uint32_t cut_lane(struct vv_mailbox *mailbox, enum vv_lane lane,
                         const void *owner)
{
    uint64_t head = freeze(mailbox, lane);
    uint32_t length = lane_length(mailbox, lane, head);
    uint32_t count = 0;

    for (uint32_t i = 0; i < length; i++) {
        uint32_t mark;
        const struct vv_cell *cell = full_cell(mailbox, lane, head + i, &mark);
        struct vv_reply *reply = cell != NULL && (mark & VV_MESSAGE_HOLE) == 0
                                     ? reply_of(cell, mark)
                                     : NULL;

        if (reply != NULL && reply->owner == owner && vv_reply_cut(reply)) {
            count++;
        }
    }
    thaw(mailbox, lane, head);
    return count;
}

uint32_t vv_mailbox_cancel_owner(struct vv_mailbox *mailbox, const void *owner)
{
    uint32_t count = cut_lane(mailbox, VV_LANE_OWN, owner) +
                     cut_lane(mailbox, VV_LANE_POOL, owner);

    for (uint32_t i = 0; i < count; i++) {
        vv_mailbox_credit(mailbox, VV_SETTLED_CANCELLED);
    }
    return count;
}

void vv_mailbox_credit(struct vv_mailbox *mailbox, enum vv_settled how)
{
    count_settled(mailbox, how);
    /* sync(mailbox.wanted): seq_cst, total order: room first, then look. */
    atomic_fetch_add_explicit(&mailbox->credited, 1, memory_order_seq_cst);
    /* Not only when half empty: no taker may come for long. */
    if (is_wanted(mailbox) &&
        /* sync(mailbox.wanted): seq_cst; one wakes for all. */
        atomic_exchange_explicit(&mailbox->wanted, 0, memory_order_seq_cst) !=
            0) {
        vv_space_wake(mailbox->space);
    }
}

/* ---- Compaction ------------------------------------------------------------------ */

static bool is_dead(const struct vv_cell *cell, uint32_t mark)
{
    const struct vv_reply *reply = reply_of(cell, mark);

    return (mark & VV_MESSAGE_HOLE) != 0 ||
           (reply != NULL && vv_reply_is_tombstone(reply));
}

/* Make a hole of it, for good. */
static void bury(struct vv_mailbox *mailbox, struct vv_cell *cell,
                 uint64_t index, uint32_t mark)
{
    if ((mark & VV_MESSAGE_HOLE) == 0) {
        vv_reply_bury(reply_of(cell, mark));
        set_stamp(cell, turn_full(mailbox, index), VV_MESSAGE_HOLE);
    }
}

static void move_cell(struct vv_mailbox *mailbox, enum vv_lane lane,
                      uint64_t to, struct vv_cell *from, uint64_t from_index,
                      uint32_t mark)
{
    struct vv_cell *cell = cell_at(mailbox, lane, (uint32_t)to);

    set_operation(cell, get_operation(from));
    for (size_t i = 0; i < VV_CELL_WORDS; i++) {
        set_word(cell, i, get_word(from, i));
    }
    set_stamp(cell, turn_full(mailbox, to), mark);
    set_stamp(from, turn_full(mailbox, from_index), VV_MESSAGE_HOLE);
}

/* Push the live messages of a frozen lane towards the tail, in order. Cells
 * whose producer is still writing stay where they are, and what is older stays
 * behind them. */
static void push_to_tail(struct vv_mailbox *mailbox, enum vv_lane lane,
                         uint64_t head)
{
    uint64_t index = head + lane_length(mailbox, lane, head);
    uint64_t to = index;

    while (index-- != head) {
        uint32_t mark;
        struct vv_cell *cell = full_cell(mailbox, lane, index, &mark);

        if (cell == NULL) {
            to = index;
        } else if (is_dead(cell, mark)) {
            bury(mailbox, cell, index, mark);
        } else if (--to != index) {
            move_cell(mailbox, lane, to, cell, index, mark);
        }
    }
}

/* Pass the holes at the head of a frozen lane: tombstones that are counted as
 * passed and as buried at once. Returns the new head. */
static uint64_t pass_holes(struct vv_mailbox *mailbox, enum vv_lane lane,
                           uint64_t head)
{
    uint32_t length = lane_length(mailbox, lane, head);
    uint32_t mark;

    while (length-- > 0 && full_cell(mailbox, lane, head, &mark) != NULL &&
           (mark & VV_MESSAGE_HOLE) != 0) {
        count_buried(mailbox);
        head++;
    }
    return head;
}

/* False: it made no room in the ring. */
static bool compact(struct vv_mailbox *mailbox, enum vv_lane lane)
{
    uint64_t head = freeze(mailbox, lane);
    uint64_t after;

    /* relaxed: thaw publishes it. */
    atomic_fetch_add_explicit(&mailbox->compactions, 1, memory_order_relaxed);
    push_to_tail(mailbox, lane, head);
    after = pass_holes(mailbox, lane, head);
    thaw(mailbox, lane, after);
    return after != head;
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
    uint32_t queued = difference(load_tail(mailbox), released);

    /* The tail may be newer than what was released before it. */
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

static int64_t age_of(uint32_t mark)
{
    uint32_t age = ((now_mark() - mark) & ~VV_MARK_FLAGS) >> VV_MARK_SHIFT;

    return (int64_t)age * 1000000;
}

/* The age of the first message of a lane that has not ended. */
static int64_t lane_age(struct vv_mailbox *mailbox, enum vv_lane lane)
{
    uint64_t head = freeze(mailbox, lane);
    uint32_t length = lane_length(mailbox, lane, head);
    int64_t age = 0;

    for (uint32_t i = 0; i < length && age == 0; i++) {
        uint32_t mark;
        const struct vv_cell *cell = full_cell(mailbox, lane, head + i, &mark);

        if (cell != NULL && !is_dead(cell, mark)) {
            age = age_of(mark) + 1;
        }
    }
    thaw(mailbox, lane, head);
    return age;
}

int64_t vv_mailbox_oldest_age(struct vv_mailbox *mailbox)
{
    int64_t pool = lane_age(mailbox, VV_LANE_POOL);
    int64_t own = lane_age(mailbox, VV_LANE_OWN);

    return pool > own ? pool : own;
}
