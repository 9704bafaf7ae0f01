/* SPDX-License-Identifier: MIT */
#include "tests/unit/subject.h"

#include "mailbox/spin.h"
#include "os/clock.h"

#include <stdlib.h>
#include <string.h>

/* ---- Patrons --------------------------------------------------------------- */

static void note_started(struct vv_owner *owner, int error,
                         const struct vivero_exit *exit)
{
    struct patron *patron = (struct patron *)owner;

    (void)exit;
    patron->started++;
    patron->error = error;
    patron->started_after_end = patron->ended > 0;
}

static void note_ended(struct vv_owner *owner, const struct vivero_exit *exit)
{
    struct patron *patron = (struct patron *)owner;

    patron->ended++;
    patron->exit = *exit;
}

void patron_init(struct patron *patron)
{
    memset(patron, 0, sizeof(*patron));
    patron->owner.started = note_started;
    patron->owner.ended = note_ended;
}

/* ---- Subjects ---------------------------------------------------------------- */

static _Atomic uint32_t count;

static void free_subject(struct vv_entity *entity)
{
    /* relaxed: whoever asks has joined those who free. */
    atomic_fetch_sub_explicit(&count, 1, memory_order_relaxed);
    free(entity);
}

static const struct vv_entity_ops ops = {.free = free_subject};

uint32_t subject_count(void)
{
    /* relaxed: as above. */
    return atomic_load_explicit(&count, memory_order_relaxed);
}

struct vv_entity *subject_new_unbound(uint32_t flags, uint32_t depth)
{
    struct vv_entity *entity = calloc(1, sizeof(*entity));

    if (entity != NULL) {
        entity->ops = &ops;
        entity->flags = flags;
        entity->depth = depth;
        /* relaxed: as above. */
        atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    }
    return entity;
}

static struct vv_entity *bind_fresh(struct vv_entity *entity)
{
    struct vivero_ref ref;

    if (entity == NULL || vv_entity_reserve(&ref) != VIVERO_OK) {
        if (entity != NULL) {
            free_subject(entity);
        }
        return NULL;
    }
    (void)vv_entity_bind(entity, ref);
    return entity;
}

struct vv_entity *subject_new(uint32_t flags, uint32_t depth,
                              struct patron *patron)
{
    struct vv_entity *entity = subject_new_unbound(flags, depth);

    if (entity != NULL && patron != NULL) {
        entity->owner = &patron->owner;
    }
    return bind_fresh(entity);
}

struct vv_entity *subject_new_below(uint32_t flags, struct vivero_ref parent)
{
    struct vv_entity *entity = subject_new_unbound(flags, 100);

    if (entity != NULL) {
        entity->parent = parent;
    }
    return bind_fresh(entity);
}

bool subject_end(struct vv_entity *subject, enum vivero_exit_kind kind)
{
    const struct vivero_exit exit = {.kind = kind, .code = 7, .text = "over"};
    bool first = vv_entity_end(subject, &exit);

    vv_entity_release(subject);
    return first;
}

/* ---- Taking --------------------------------------------------------------------- */

static struct taken open_call(struct vv_envelope *envelope)
{
    struct vv_message *message = &envelope->message;
    struct taken taken = {.what = CALL, .from = envelope->from};

    memcpy(&taken.number, message->args, sizeof(taken.number));
    if (message->reply != NULL) {
        vv_reply_settle(message->reply, message->generation, VIVERO_OK,
                        &taken.number, NULL);
    }
    return taken;
}

static struct taken open_envelope(struct vv_envelope *envelope)
{
    struct taken taken = {.what = TELL, .from = envelope->from};

    switch (envelope->kind) {
    case VV_ENVELOPE_OPERATION:
        taken = open_call(envelope);
        break;
    case VV_ENVELOPE_TELL:
        taken.number = envelope->size == sizeof(int)
                           ? *(const int *)vv_envelope_bytes(envelope)
                           : -1;
        break;
    case VV_ENVELOPE_EXIT:
        taken.what = EXIT;
        taken.exit = envelope->exit;
        break;
    case VV_ENVELOPE_DOWN:
        taken.what = DOWN;
        taken.exit = envelope->exit;
        taken.monitor = envelope->monitor;
        break;
    }
    vv_envelope_free(envelope);
    return taken;
}

struct taken subject_take(struct vv_entity *subject)
{
    struct taken taken = {.what = NOTHING};
    struct vv_mail mail;

    if (!vv_entity_take(subject, &mail)) {
        return taken;
    }
    if (mail.over) {
        taken.what = OVER;
    } else if (mail.request != NULL) {
        taken.what = REQUEST;
        taken.number = mail.request->kind;
        taken.from = mail.request->from;
        vv_request_answer(mail.request, VIVERO_OK, NULL);
    } else if (mail.verdict != NULL) {
        taken.what = VERDICT;
        taken.exit = mail.verdict->exit;
        taken.from = mail.verdict->from;
        vv_envelope_free(mail.verdict);
    } else {
        taken = open_envelope(mail.envelope);
    }
    return taken;
}

int subject_take_number(struct vv_entity *subject)
{
    struct taken taken = subject_take(subject);

    return taken.what == TELL || taken.what == CALL ? taken.number : -1;
}

enum vivero_exit_kind subject_take_exit(struct vv_entity *subject)
{
    return subject_take(subject).exit.kind;
}

/* ---- Sending ----------------------------------------------------------------------- */

struct vv_envelope *subject_letter(int number, bool reserved)
{
    struct vv_envelope *letter;

    if (vv_envelope_tell(0, &number, sizeof(number), &letter) != VIVERO_OK) {
        return NULL;
    }
    letter->reserved = reserved;
    return letter;
}

static int put_letter(struct vv_entity *subject, struct vv_envelope *letter)
{
    int error =
        letter != NULL ? vv_entity_put(subject, letter) : VIVERO_E_NO_MEMORY;

    if (error != VIVERO_OK && letter != NULL) {
        vv_envelope_free(letter);
    }
    return error;
}

int subject_put(struct vv_entity *subject, int number)
{
    return put_letter(subject, subject_letter(number, false));
}

int subject_put_reserved(struct vv_entity *subject, int number)
{
    return put_letter(subject, subject_letter(number, true));
}

/* ---- Calls ---------------------------------------------------------------------------- */

static int put_call(struct call *call, int number, int64_t timeout_ns)
{
    struct vv_envelope *envelope;
    int error;

    call->reply = vv_reply_new(sizeof(int), true);
    if (call->reply == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    call->reply->deadline_ns = vv_deadline_after(vivero_now(), timeout_ns);
    vv_reply_set_credit(call->reply, vv_entity_credit(call->entity));
    envelope = vv_envelope_new(VV_ENVELOPE_OPERATION);
    if (envelope == NULL) {
        vv_reply_discard(call->reply);
        return VIVERO_E_NO_MEMORY;
    }
    envelope->message.reply = call->reply;
    memcpy(envelope->message.args, &number, sizeof(number));
    error = vv_entity_put(call->entity, envelope);
    if (error != VIVERO_OK) {
        vv_envelope_free(envelope);
        vv_reply_discard(call->reply);
    }
    return error;
}

int call_put(struct call *call, struct vivero_ref to, int number,
             int64_t timeout_ns)
{
    int error;

    memset(call, 0, sizeof(*call));
    call->entity = vv_entity_retain(to);
    if (call->entity == NULL) {
        return VIVERO_E_GONE;
    }
    error = put_call(call, number, timeout_ns);
    if (error != VIVERO_OK) {
        vv_entity_release(call->entity);
    }
    return error;
}

int call_wait(struct call *call)
{
    const struct vv_spin none = {0, 0};
    int result =
        vv_reply_wait(call->reply, &none, &call->answer, &call->expired);

    vv_entity_release(call->entity);
    return result;
}

bool call_cancel(const struct call *call)
{
    return vv_reply_cancel((struct vivero_message){
        call->reply->index, vv_reply_generation(call->reply)});
}
