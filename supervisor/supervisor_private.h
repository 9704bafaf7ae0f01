/* SPDX-License-Identifier: MIT */
#ifndef SUPERVISOR_SUPERVISOR_PRIVATE_H
#define SUPERVISOR_SUPERVISOR_PRIVATE_H

/* What a public supervisor is made of. Model, threads and shutdown:
 * supervisor.c. */

#include <vivero/supervisor.h>

#include "entity/entity.h"
#include "supervisor/loop.h"

#include <stdatomic.h>

#define VV_NAME_SIZE 64u
#define VV_REASONS_MAX 16u

/* A child's spec, checked and copied; shared by what was made from it. */
struct vv_spec {
    _Atomic uint32_t references;
    struct vivero_child_spec given; /* defaults filled in; id: the one below */
    struct vv_policy policy;
    uint32_t intensity; /* of a budget of its own */
    bool has_budget;
    void *copy; /* of its options; NULL: they are borrowed */
    char id[VV_NAME_SIZE];
};

/* A supervisor's options, checked and copied with all specs: what it is made
 * from, once or, as a child, again and again. */
struct vv_blueprint {
    _Atomic uint32_t references;
    struct vivero_supervisor_options options; /* without the lists */
    char name[VV_NAME_SIZE];                  /* "": none */
    struct vv_spec **specs;
    size_t count;
    struct vv_spec *template_; /* NULL: none */
    uint32_t partitions;       /* 0: it is no partition supervisor */
};

/* ---- spec.c -------------------------------------------------------------------- */

/* Ours of given, and what is wrong with them. */
enum vivero_spec_fault
vv_options_take(struct vivero_supervisor_options *options,
                const struct vivero_supervisor_options *given);
/* Whether a supervisor of these options takes it. */
bool vv_spec_fits(const struct vv_spec *spec,
                  const struct vivero_supervisor_options *options);

/* ---- blueprint.c ---------------------------------------------------------------- */

/* spec has been checked. Errors: NO_MEMORY. */
int vv_spec_new(const struct vivero_child_spec *spec, int64_t period_ns,
                struct vv_spec **copy);
struct vv_spec *vv_spec_retain(struct vv_spec *spec);
void vv_spec_release(struct vv_spec *spec); /* NULL is fine */
/* Errors: INVALID, NO_MEMORY. */
int vv_blueprint_new(const struct vivero_supervisor_options *options,
                     struct vv_blueprint **blueprint);
struct vv_blueprint *vv_blueprint_retain(struct vv_blueprint *blueprint);
void vv_blueprint_release(struct vv_blueprint *blueprint);

struct vv_supervisor;
struct vv_call;

/* The entity that stands for a child whose kind brings none. */
struct vv_bare {
    struct vv_entity entity; /* first */
    struct vv_ward *ward;    /* NULL: it has ended */
};

/* A child in a supervisor's care: its record. The supervisor's thread only,
 * unless said otherwise. */
struct vv_ward {
    struct vv_child child; /* first */
    struct vv_owner owner;
    struct vv_supervisor *supervisor;
    struct vv_spec *spec;
    struct vv_budget budget;
    struct vivero_ref ref;  /* of the living incarnation; nobody */
    struct vivero_ref past; /* of the one before */
    struct vv_bare *bare;   /* NULL: its kind has its own entity */
    void *argument;         /* of start_child_with; NULL: none */
    size_t argument_size;
    uint64_t incarnation;
    uint64_t restarts;
    struct vv_call *calls;   /* that wait for what becomes of it */
    struct vivero_exit exit; /* its latest end, or failed start */
    bool refused;            /* the start that was asked for failed */
    bool by_request;         /* this start was asked for by a call */
    struct vv_ward *next_dropped;
    struct vv_notice up; /* the loop's */
    struct vv_notice end;
    /* written under the entity's lock, before the notice that tells */
    int start_result;
    struct vivero_exit start_exit;
    bool ended;
};

/* Who waits in vivero_supervisor_start(). */
struct vv_opener {
    struct vv_owner owner;
    struct vv_mutex lock;
    struct vv_cond changed;
    /* guarded by lock */
    bool done;
    int error;
};

/* So many children did not end as they were asked to, for the same reason. */
struct vv_reason_count {
    struct vivero_exit reason;
    uint32_t count;
    struct vv_spec *spec; /* of the first of them */
};

/* What children of one kind share. */
struct vv_shared {
    const struct vivero_child_ops *ops;
    void *shared;
};

#define VV_SHARED_MAX 8u

struct vv_supervisor {
    struct vv_entity entity; /* first */
    struct vv_loop loop;
    struct vv_blueprint *blueprint;
    struct vv_ward *wards; /* of the blueprint's children */
    bool is_child;         /* of another supervisor */
    char *failed; /* the opener's place for an id; NULL: nobody waits */
    /* its thread only */
    bool up;
    bool
        tells_up; /* whoever started it is told when this event is dealt with */
    bool stopping; /* reason is settled */
    bool gave_up;
    struct vivero_exit reason; /* of its end */
    int open_error;
    struct vv_ward *dropped; /* to be freed when the event is dealt with */
    struct vv_reason_count reasons[VV_REASONS_MAX];
    uint32_t reason_count;
    struct vv_shared shared[VV_SHARED_MAX];
    uint32_t shared_count;
    struct vv_notice open_notice;
    struct vv_notice stop_notice;
    /* guarded by loop.lock */
    bool told_to_stop; /* by the supervisor above it */
    struct vivero_exit told_reason;
    struct vivero_ref *partitions; /* blueprint->partitions of them */
};

static inline struct vv_ward *vv_ward_of(struct vv_child *child)
{
    return (struct vv_ward *)child;
}

static inline bool vv_supervisor_is_dynamic(const struct vv_supervisor *it)
{
    return it->blueprint->options.strategy == VIVERO_DYNAMIC;
}

/* ---- supervisor.c ---------------------------------------------------------------- */

extern const struct vv_loop_ops vv_supervisor_loop_ops;
/* vv_loop_ops.look: inbox.c. */
void vv_supervisor_look(void *ctx);
/* All of them; none is up. */
void vv_supervisor_free_wards(struct vv_supervisor *supervisor);
/* End it for a reason, unless it is ending already. Its thread. */
void vv_supervisor_begin_stop(struct vv_supervisor *supervisor,
                              const struct vivero_exit *reason);
/* A ward is in no list any more: free it, or leave it for the end. Its thread. */
void vv_supervisor_forget(struct vv_ward *ward);

/* ---- supervisor_open.c ----------------------------------------------------------- */

/* Make one from a blueprint, behind a reserved reference, or in place of the bare
 * entity of a ward, and start its thread; owner hears how that went. Errors:
 * NO_MEMORY, LIMIT, EXISTS; then a reserved reference is nobody's any more. */
struct vv_birth {
    struct vivero_ref ref;
    struct vivero_ref parent;
    struct vv_owner *owner; /* NULL: that of the bare entity */
    bool is_child;
    char *failed;
};
int vv_supervisor_open(struct vv_blueprint *blueprint,
                       const struct vv_birth *birth);
/* Start one and wait until it is up. */
int vv_supervisor_start(struct vv_blueprint *blueprint, struct vivero_ref *ref,
                        char *failed);
/* The supervisor behind ref, retained; NULL, and *error says why. */
struct vv_supervisor *vv_supervisor_find(struct vivero_ref ref, int *error);

/* ---- ward.c ------------------------------------------------------------------------ */

/* spec is retained. */
void vv_ward_init(struct vv_ward *ward, struct vv_supervisor *supervisor,
                  struct vv_spec *spec);
/* Its budget, and into the supervisor's list. Errors: NO_MEMORY. */
int vv_ward_attach(struct vv_ward *ward);
void vv_ward_fini(struct vv_ward *ward);
/* One that was added later. NULL is fine. */
void vv_ward_free(struct vv_ward *ward);
void vv_ward_start(struct vv_ward *ward);
void vv_ward_stop(struct vv_ward *ward);
void vv_ward_kill(struct vv_ward *ward);
/* What its ended incarnation left. */
void vv_ward_clear(struct vv_ward *ward);
/* The ward whose owner it is; NULL: somebody else is. */
struct vv_ward *vv_ward_of_owner(struct vv_owner *owner);
/* The ward of that id, or with that reference, now or before its restart; NULL:
 * none. */
struct vv_ward *vv_ward_find(struct vv_supervisor *supervisor, const char *id);
struct vv_ward *vv_ward_find_ref(struct vv_supervisor *supervisor,
                                 struct vivero_ref ref);
/* The ward that is, or is above, an entity; NULL: none. */
struct vv_ward *vv_ward_above(struct vv_supervisor *supervisor,
                              struct vivero_ref ref);

/* ---- report.c ---------------------------------------------------------------------- */

void vv_report(struct vv_ward *ward, enum vivero_report_kind kind,
               const struct vivero_exit *reason);
/* Count one that did not end as asked, to be reported with its like. */
void vv_report_collect(struct vv_ward *ward, const struct vivero_exit *reason);
void vv_report_collected(struct vv_supervisor *supervisor);

/* ---- calls.c ------------------------------------------------------------------------ */

enum vv_call_kind {
    VV_CALL_START = 1,
    VV_CALL_TERMINATE,
    VV_CALL_TERMINATE_REF,
    VV_CALL_RESTART,
    VV_CALL_DELETE,
    VV_CALL_WHICH,
    VV_CALL_COUNT,
    VV_CALL_STOP
};

/* A management call on its way. */
struct vv_call {
    struct vv_request request; /* first */
    struct vv_turn turn;
    struct vv_call *next; /* of those that wait for the same ward */
    struct vv_ward *ward; /* START: the new one, until it is attached */
    char id[VV_NAME_SIZE];
    struct vivero_ref ref;
    struct vivero_exit reason; /* STOP */
    bool one;                  /* WHICH: that of id */
    size_t count;
    size_t room;
    struct vivero_child_counts counts;
    struct vivero_child_info info[];
};

/* It came out of the supervisor's inbox: answer it, or queue it. */
void vv_call_arrived(struct vv_supervisor *supervisor, struct vv_call *call);
/* Its turn has come. */
void vv_call_serve(struct vv_supervisor *supervisor, struct vv_call *call);
/* What happened to a ward: answer those who waited for it. */
void vv_call_follow(struct vv_ward *ward, enum vv_event_kind event);
/* A ward is about to be stopped: who is below it must not wait. */
void vv_call_refuse_below(struct vv_ward *ward);

/* ---- info.c -------------------------------------------------------------------------- */

void vv_info_fill(struct vv_supervisor *supervisor, struct vv_call *call);
void vv_info_count(struct vv_supervisor *supervisor,
                   struct vivero_child_counts *counts);

#endif
