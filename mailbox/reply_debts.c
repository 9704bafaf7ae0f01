/* SPDX-License-Identifier: MIT */
/* reply_debts: answers that are owed, and those that others give in a worker's
 * place. Every step here starts from a token, under the depot's lock; the states
 * are drawn in reply.c. */
#include <vivero/error.h>

#include "mailbox/reply_private.h"
#include "os/thread.h"

/* ---- Debts --------------------------------------------------------------- */

static void debt_unlink_locked(struct vv_reply *reply)
{
    vv_mutex_assert_held(&vv_reply_lock);
    if (reply->previous != NULL) {
        reply->previous->next = reply->next;
    } else {
        reply->debts->first = reply->next;
    }
    if (reply->next != NULL) {
        reply->next->previous = reply->previous;
    }
    reply->debts = NULL;
}

static void debt_link_locked(struct vv_reply *reply, struct vv_debts *debts)
{
    vv_mutex_assert_held(&vv_reply_lock);
    reply->debts = debts;
    reply->previous = NULL;
    reply->next = debts->first;
    if (debts->first != NULL) {
        debts->first->previous = reply;
    }
    debts->first = reply;
}

bool vv_reply_owe(struct vv_reply *reply, uint32_t generation,
                  struct vv_debts *debts, struct vivero_reply_token *token)
{
    uint32_t word;
    bool has_caller = true;

    token->slot = reply->index;
    token->generation = generation;
    vv_mutex_lock(&vv_reply_lock);
    word = load_word(reply);
    /* Fencing takes the same lock, so if the slot is ours now it stays so. */
    if (!debts->closed && generation_of(word) == generation &&
        (state_of(word) == RUNNING || state_of(word) == ABANDONED)) {
        has_caller = (word & CALLER) != 0;
        if (has_caller) {
            debt_link_locked(reply, debts);
        }
        while (has_caller && state_of(word) == RUNNING &&
               !step(reply, &word, (word & ~STATE_MASK) | (uint32_t)OWED)) {
        }
    }
    vv_mutex_unlock(&vv_reply_lock);
    return has_caller;
}

/* OWED -> SETTLING, off the list; NULL: not owed (any more). A slot whose
 * caller left is freed on the way. */
static bool collect_locked(struct vv_reply *reply, uint32_t generation,
                           struct vv_debts **debts)
{
    uint32_t word = load_word(reply);

    while (generation_of(word) == generation && state_of(word) == OWED) {
        if (step(reply, &word, (word & ~STATE_MASK) | (uint32_t)SETTLING)) {
            *debts = reply->debts;
            debt_unlink_locked(reply);
            return true;
        }
    }
    if (generation_of(word) == generation && state_of(word) == ABANDONED &&
        reply->debts != NULL) {
        debt_unlink_locked(reply);
        vv_reply_free_slot_locked(reply);
    }
    return false;
}

/* SETTLING -> OWED: it was not an answer after all. */
static void put_back_locked(struct vv_reply *reply, struct vv_debts *debts)
{
    uint32_t word = load_word(reply);

    debt_link_locked(reply, debts);
    while (!step(reply, &word, (word & ~STATE_MASK) | (uint32_t)OWED)) {
    }
}

int vv_reply_pay(struct vivero_reply_token token, int result, const void *out,
                 size_t size)
{
    struct vv_reply *reply;
    struct vv_debts *debts = NULL;
    int error = VIVERO_E_GONE;

    if (vv_forked()) {
        return VIVERO_E_FORKED;
    }
    vv_mutex_lock(&vv_reply_lock);
    reply = vv_reply_find(token.slot);
    if (reply != NULL && collect_locked(reply, token.generation, &debts)) {
        if (result == VIVERO_OK && size != out_size_of(reply)) {
            put_back_locked(reply, debts);
            error = VIVERO_E_INVALID;
        } else {
            vv_reply_fill(reply, result, out, NULL);
            error = VIVERO_OK;
        }
    }
    vv_mutex_unlock(&vv_reply_lock);
    if (error == VIVERO_OK) {
        vv_reply_publish(reply);
    }
    return error;
}

void vv_reply_default(struct vv_debts *debts, int result,
                      const struct vivero_exit *exit)
{
    for (;;) {
        struct vv_reply *reply;
        struct vv_debts *whose;
        bool mine = false;

        vv_mutex_lock(&vv_reply_lock);
        reply = debts->first;
        if (reply != NULL) {
            mine =
                collect_locked(reply, generation_of(load_word(reply)), &whose);
        }
        vv_mutex_unlock(&vv_reply_lock);
        if (reply == NULL) {
            return;
        }
        if (mine) {
            vv_reply_fill(reply, result, NULL, exit);
            vv_reply_publish(reply);
        }
    }
}

bool vv_reply_fence(struct vivero_reply_token token, int result,
                    const struct vivero_exit *exit)
{
    struct vv_reply *reply;
    uint32_t word;
    bool mine = false;

    vv_mutex_lock(&vv_reply_lock);
    reply = vv_reply_find(token.slot);
    if (reply != NULL) {
        word = load_word(reply);
        while (!mine && generation_of(word) == token.generation &&
               state_of(word) == RUNNING) {
            mine =
                step(reply, &word, (word & ~STATE_MASK) | (uint32_t)SETTLING);
        }
    }
    vv_mutex_unlock(&vv_reply_lock);
    if (mine) {
        vv_reply_fill(reply, result, NULL, exit);
        vv_reply_publish(reply);
    }
    return mine;
}

static void set_closed(struct vv_debts *debts, bool closed)
{
    vv_mutex_lock(&vv_reply_lock);
    debts->closed = closed;
    vv_mutex_unlock(&vv_reply_lock);
}

void vv_reply_close_debts(struct vv_debts *debts)
{
    set_closed(debts, true);
}

void vv_reply_open_debts(struct vv_debts *debts)
{
    set_closed(debts, false);
}
