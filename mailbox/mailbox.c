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
 * Files.    mailbox.c puts, mailbox_take.c takes and ends, mailbox_walk.c does
 *           what needs a frozen lane.
 * Failure.  None after init: nothing is allocated.
 * Rejected. One ring for both lanes (a sibling would search it). A lock for the
 *           consuming side (two atomic operations per message instead of one,
 *           and a taker that loses its CPU would stop the others). Claims of
 *           many cells at once (a message would wait behind a slow handler). */
#include "mailbox/mailbox.h"

#include <vivero/error.h>

#include "mailbox/mailbox_private.h"
#include "os/cpu.h"
#include "os/park.h"

#include <stddef.h>
#include <string.h>

/* A producer asks for cells so far ahead of its pen: the CAS of its next message
 * waits for what this one writes, and a cell comes from another CPU's cache. */
#define PREFETCH_CELLS 32

/* ---- Room ------------------------------------------------------------------- */

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
void vv_mailbox_offer_room(struct vv_mailbox *mailbox)
{
    if (__builtin_expect(is_wanted(mailbox), 0) &&
        vv_mailbox_queued(mailbox) <= mailbox->depth / 2 &&
        /* sync(mailbox.wanted): seq_cst; one wakes for all. */
        atomic_exchange_explicit(&mailbox->wanted, 0, memory_order_seq_cst) !=
            0) {
        vv_space_wake(mailbox->space);
    }
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

static void give_credit(struct vv_credit *credit, enum vv_settled how)
{
    vv_mailbox_credit(
        (struct vv_mailbox *)((unsigned char *)credit -
                              offsetof(struct vv_mailbox, credit)),
        how);
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
    mailbox->credit.give = give_credit;
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

bool vv_mailbox_is_sound(const struct vv_mailbox *mailbox)
{
    return mailbox->shift < 32 &&
           mailbox->capacity == UINT32_C(1) << mailbox->shift &&
           mailbox->depth > 0 && mailbox->depth <= mailbox->capacity &&
           mailbox->cells[VV_LANE_POOL] != NULL &&
           mailbox->cells[VV_LANE_OWN] != NULL && mailbox->space != NULL &&
           mailbox->credit.give == give_credit;
}

/* ---- Putting ---------------------------------------------------------------- */

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
            if (room == 0 || (!vv_mailbox_compact(mailbox, lane) &&
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
        vv_reply_set_credit(message->reply, &mailbox->credit);
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
