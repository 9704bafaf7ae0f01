/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_SUPERVISOR_H
#define VIVERO_SUPERVISOR_H

/* A supervisor: a thread that starts children in order, watches them, restarts
 * those that end as their restart type says, within a budget, and stops them in
 * reverse order. It knows a child only by a table of operations, so a child may
 * be a worker, a pool, another supervisor, or the program's own thing.
 *
 * The words are OTP's: strategy, intensity, period, permanent, transient,
 * temporary, significant, shutdown. */

#include <vivero/api.h>
#include <vivero/child.h>
#include <vivero/entity.h>
#include <vivero/error.h>
#include <vivero/exit.h>
#include <vivero/time.h>

#include <stdbool.h>
#include <stdio.h>

enum vivero_strategy {
    VIVERO_ONE_FOR_ONE = 0, /* the child that ended */
    VIVERO_ONE_FOR_ALL,     /* it and all others */
    VIVERO_REST_FOR_ONE,    /* it and those started after it */
    VIVERO_DYNAMIC          /* like children, started on demand; stopped all at
                               once under one timer */
};

enum vivero_restart {
    VIVERO_PERMANENT = 0, /* whatever the reason */
    VIVERO_TRANSIENT,     /* unless it ended normal, shutdown, shutdown_with */
    VIVERO_TEMPORARY      /* never; its spec is forgotten when it ends */
};

enum vivero_auto_shutdown {
    VIVERO_AUTO_NEVER = 0,
    VIVERO_AUTO_ANY_SIGNIFICANT, /* when one significant child has ended by
                                    itself and is not restarted */
    VIVERO_AUTO_ALL_SIGNIFICANT  /* when the last of them has */
};

enum vivero_child_type { VIVERO_CHILD_WORKER = 0, VIVERO_CHILD_SUPERVISOR };

/* As a child's shutdown_ns: kill it at once. */
#define VIVERO_BRUTAL_KILL (-3)

/* ---- Specs and options ---------------------------------------------------------- */

/* "VIVERO_NONE" is an explicit zero where it is allowed. */
struct vivero_child_spec {
    size_t size;
    const char *id; /* copied, at most 63 bytes; a dynamic supervisor takes NULL
                       and does not look at it */
    const struct vivero_child_ops *ops; /* what kind of child it is */
    const void *options;                /* for ops */
    enum vivero_restart restart;
    enum vivero_child_type type; /* for reports, and the default shutdown */
    int64_t shutdown_ns; /* how long it may take to stop; 0: five seconds, a
                            supervisor for ever; VIVERO_NONE: no time;
                            VIVERO_FOREVER; VIVERO_BRUTAL_KILL */
    int64_t start_timeout_ns; /* 0: for ever; past it the start has failed and
                                 the child is killed */
    bool significant;
    bool own_thread; /* dynamic: a thread of its own, not the shared ones */
    /* A budget of its own in place of the supervisor's: after more restarts than
     * this within period_ns it is left alone (quarantined; a dynamic one is
     * forgotten), its siblings untouched. 0: the supervisor's counts;
     * VIVERO_NONE: no restart is allowed. */
    int32_t intensity;
    int64_t period_ns;      /* of that budget; 0: the supervisor's */
    int64_t backoff_ns;     /* delay before the second restart in a row, or that
                               of its group, doubling from there with jitter;
                               0: none */
    int64_t backoff_max_ns; /* 0: one second */
};

#define VIVERO_CHILD_SPEC(...)                                                 \
    (&(const struct vivero_child_spec){                                        \
        .size = sizeof(struct vivero_child_spec), __VA_ARGS__})

enum vivero_report_kind {
    VIVERO_REPORT_STARTED = 1, /* a child came up */
    VIVERO_REPORT_START_ERROR, /* a start or restart failed */
    VIVERO_REPORT_ENDED,       /* a child ended by itself, against its type */
    VIVERO_REPORT_SHUTDOWN_ERROR, /* it did not end as it was asked to */
    VIVERO_REPORT_QUARANTINED,    /* its own budget is spent */
    VIVERO_REPORT_GAVE_UP         /* the supervisor's budget is spent */
};

/* One incident. Valid during the call. */
struct vivero_report {
    enum vivero_report_kind kind;
    const char *supervisor;           /* its name */
    const char *child;                /* its id; "" in a dynamic one */
    struct vivero_ref ref;            /* of the child; nobody: it has none */
    const struct vivero_exit *reason; /* NULL for STARTED */
    enum vivero_restart restart;
    enum vivero_child_type type;
    int64_t shutdown_ns;
    bool significant;
    uint32_t child_count; /* SHUTDOWN_ERROR of a dynamic supervisor: so many
                             children with the same reason; else 1 */
};

/* On the supervisor's thread, under no lock, in the order of the incidents; before
 * vivero_supervisor_start() returns, or a later call is answered, whatever
 * happened before has been reported. A call of that supervisor from here is
 * answered DEADLOCK. */
typedef void vivero_report_fn(const struct vivero_report *report, void *ctx);

/* The supervisor gave up and nobody is above it: the last word before it is
 * gone. On its thread. The default logs an error. */
typedef void vivero_gave_up_fn(struct vivero_ref supervisor,
                               const struct vivero_exit *reason, void *ctx);

struct vivero_supervisor_options {
    size_t size;
    const char *name; /* registered if not NULL; for reports "supervisor" */
    enum vivero_strategy strategy;
    enum vivero_auto_shutdown auto_shutdown;
    int32_t intensity;     /* 0: 3; VIVERO_NONE: none; VIVERO_UNLIMITED */
    uint32_t children_max; /* dynamic: running and restarting ones; 0: no
                              bound */
    int64_t period_ns;     /* 0: five seconds */
    const struct vivero_child_spec *const *children; /* in start order */
    size_t child_count;
    const struct vivero_child_spec *template_; /* dynamic: what start_child with
                                                  an argument starts; NULL */
    uint32_t carriers; /* dynamic: threads that worker children share; 0: one
                           per usable CPU. For open_shared */
    bool link;         /* end with the caller, for whatever reason it ends */
    bool abort_on_give_up; /* abort() after on_gave_up, for those who restart
                              the whole process */
    unsigned char reserved[2];
    vivero_report_fn *on_report; /* besides the log; NULL: only the log */
    vivero_gave_up_fn *on_gave_up;
    void *ctx; /* handed to both */
};

#define VIVERO_SUPERVISOR_OPTIONS(...)                                         \
    (&(const struct vivero_supervisor_options){                                \
        .size = sizeof(struct vivero_supervisor_options), __VA_ARGS__})

/* The children's list, for .children and .child_count. */
#define VIVERO_CHILDREN(...)                                                   \
    .children = (const struct vivero_child_spec *const[]){__VA_ARGS__},        \
    .child_count =                                                             \
        sizeof((const struct vivero_child_spec *const[]){__VA_ARGS__}) /       \
        sizeof(const struct vivero_child_spec *)

/* What is wrong with a spec, besides VIVERO_E_INVALID: for people and tests. */
enum vivero_spec_fault {
    VIVERO_SPEC_OK = 0,
    VIVERO_SPEC_MISSING_ID,
    VIVERO_SPEC_LONG_ID,
    VIVERO_SPEC_DUPLICATE_ID,
    VIVERO_SPEC_MISSING_OPS, /* no table, or one without start */
    VIVERO_SPEC_BAD_SIZE,    /* of the struct, or of ops */
    VIVERO_SPEC_BAD_RESTART,
    VIVERO_SPEC_BAD_TYPE,
    VIVERO_SPEC_BAD_SHUTDOWN,
    VIVERO_SPEC_BAD_START_TIMEOUT,
    VIVERO_SPEC_BAD_SIGNIFICANT, /* permanent, or auto_shutdown is never */
    VIVERO_SPEC_BAD_BUDGET,
    VIVERO_SPEC_BAD_BACKOFF,
    VIVERO_SPEC_BAD_STRATEGY,
    VIVERO_SPEC_BAD_INTENSITY,
    VIVERO_SPEC_BAD_PERIOD,
    VIVERO_SPEC_BAD_AUTO_SHUTDOWN, /* unknown, or with a dynamic one */
    VIVERO_SPEC_BAD_CHILDREN, /* NULL among them, static ones under dynamic, a
                                 template elsewhere, children_max elsewhere */
    VIVERO_SPEC_BAD_NAME,     /* of the supervisor: empty, or too long */
    VIVERO_SPEC_FAULT_COUNT
};

VIVERO_BEGIN

/* A supervisor as a child: .options = its options, which are copied with all
 * they point to. Each incarnation is made anew from them. */
VIVERO_API extern const struct vivero_child_ops vivero_child_supervisor;

VIVERO_API void vivero_child_spec_init(struct vivero_child_spec *spec);
VIVERO_API void
vivero_supervisor_options_init(struct vivero_supervisor_options *options);

/* What is wrong with these, the first thing found; never starts anything. */
VIVERO_API enum vivero_spec_fault
vivero_supervisor_check(const struct vivero_supervisor_options *options);
/* The same for one spec, as a child of a supervisor of this strategy and
 * auto_shutdown. */
VIVERO_API enum vivero_spec_fault
vivero_child_spec_check(const struct vivero_child_spec *spec,
                        enum vivero_strategy strategy,
                        enum vivero_auto_shutdown auto_shutdown);
/* "significant", "duplicate id": static text. */
VIVERO_API const char *vivero_spec_fault_text(enum vivero_spec_fault fault);

/* ---- Life ------------------------------------------------------------------------- */

/* Start a supervisor and its children, one after another.
 *
 * If a child cannot start, those before it are stopped in reverse order and the
 * supervisor is gone again; *failed (NULL is fine), cut to 64 bytes, is its id.
 *
 * Blocks: until the last child is up. Thread: any.
 * Errors: INVALID: vivero_supervisor_check() says what; EXISTS when the name is
 * taken; what the child that failed answered; TIMED_OUT for one that took
 * longer than its start_timeout_ns; NO_MEMORY, LIMIT, FORKED. */
VIVERO_API VIVERO_MUST_USE int
vivero_supervisor_start(const struct vivero_supervisor_options *options,
                        struct vivero_ref *ref, char failed[64]);

/* Stop its children as their specs say, then the supervisor, with this reason
 * (NULL: normal), and wait until all of it is gone.
 *
 * Blocks: up to timeout_ns. DEADLOCK: from one of its own descendants' callbacks
 * or its own thread: ask with vivero_signal() instead.
 * Errors: GONE, TIMED_OUT (it goes on stopping), DEADLOCK, FORKED. */
VIVERO_API int vivero_supervisor_stop(struct vivero_ref ref,
                                      const struct vivero_exit *reason,
                                      int64_t timeout_ns);

/* ---- Children ----------------------------------------------------------------------
 *
 * Blocks, all of these: until the supervisor has dealt with it; one that is not
 * dynamic does nothing else while children start, stop or restart. At most
 * timeout_ns.
 * Errors, all of these: GONE; INVALID: ref names no supervisor; CLOSING when it
 * is stopping; TIMED_OUT: it may still happen; DEADLOCK: a descendant may not
 * wait for its own supervisor while that waits for it; NO_MEMORY; FORKED. */

/* Add a child and start it; *ref is nobody if it was ignored. In a dynamic
 * supervisor spec may be NULL: the template.
 * Errors: INVALID; EXISTS when the id runs, *ref is it; AGAIN when the id is
 * known but does not run (OTP's already_present); LIMIT: children_max; or what
 * its start answered, and then it is not kept. */
VIVERO_API int
vivero_supervisor_start_child(struct vivero_ref ref,
                              const struct vivero_child_spec *spec,
                              int64_t timeout_ns, struct vivero_ref *child);
/* The template, with size bytes for vivero_argument(); copied and kept for its
 * restarts. */
VIVERO_API int vivero_supervisor_start_child_with(struct vivero_ref ref,
                                                  const void *argument,
                                                  size_t size,
                                                  int64_t timeout_ns,
                                                  struct vivero_ref *child);

/* Stop a child and do not restart it; its spec stays unless it is temporary.
 * Also of one that is stopped or restarting: 0. Errors: NOT_FOUND; UNSUPPORTED
 * by id in a dynamic supervisor. */
VIVERO_API int vivero_supervisor_terminate_child(struct vivero_ref ref,
                                                 const char *id,
                                                 int64_t timeout_ns);
/* In a dynamic one, by its reference; that of a child which is being restarted
 * will do. Errors: NOT_FOUND for one that lives elsewhere, 0 for one that has
 * ended; UNSUPPORTED in a static supervisor. */
VIVERO_API int vivero_supervisor_terminate_ref(struct vivero_ref ref,
                                               struct vivero_ref child,
                                               int64_t timeout_ns);
/* Start one that was stopped, or quarantined. Costs no budget.
 * Errors: EXISTS: it runs; AGAIN: it is restarting; NOT_FOUND; UNSUPPORTED in a
 * dynamic one; or what its start answered, and it stays stopped. */
VIVERO_API int vivero_supervisor_restart_child(struct vivero_ref ref,
                                               const char *id,
                                               int64_t timeout_ns,
                                               struct vivero_ref *child);
/* Forget one that is stopped. Errors: EXISTS: it runs; AGAIN: it is restarting;
 * NOT_FOUND; UNSUPPORTED in a dynamic one. */
VIVERO_API int vivero_supervisor_delete_child(struct vivero_ref ref,
                                              const char *id,
                                              int64_t timeout_ns);

enum vivero_child_state {
    VIVERO_CHILD_STOPPED = 0,
    VIVERO_CHILD_RUNNING,
    VIVERO_CHILD_RESTARTING, /* a restart failed, waits for its time, or has not
                                come up yet; dynamic: a first start, too */
    VIVERO_CHILD_QUARANTINED /* its own budget is spent */
};

struct vivero_child_info {
    char id[64];
    struct vivero_ref ref; /* nobody when it does not run */
    enum vivero_child_state state;
    enum vivero_child_type type;
    enum vivero_restart restart;
    bool significant;
    unsigned char reserved[3];
    uint64_t restarts;
    const char *kind; /* its ops' */
};

struct vivero_child_counts {
    uint32_t specs;
    uint32_t active;
    uint32_t supervisors; /* specs of this type, running or not */
    uint32_t workers;
};

/* Copies up to room entries, in reverse start order (dynamic: any), and sets
 * *count to how many there are. */
VIVERO_API int vivero_supervisor_which_children(struct vivero_ref ref,
                                                struct vivero_child_info *info,
                                                size_t room, size_t *count,
                                                int64_t timeout_ns);
/* One of them. Errors: NOT_FOUND; UNSUPPORTED in a dynamic one. */
VIVERO_API int vivero_supervisor_which_child(struct vivero_ref ref,
                                             const char *id,
                                             struct vivero_child_info *info,
                                             int64_t timeout_ns);
VIVERO_API int
vivero_supervisor_count_children(struct vivero_ref ref,
                                 struct vivero_child_counts *counts,
                                 int64_t timeout_ns);

/* ---- Partitions ---------------------------------------------------------------------- */

/* A supervisor of count like children (0: one per usable CPU) with the ids "0",
 * "1", ..., one_for_one; options' children and template_ must be empty. */
VIVERO_API VIVERO_MUST_USE int
vivero_partitions_start(const struct vivero_supervisor_options *options,
                        const struct vivero_child_spec *spec, uint32_t count,
                        struct vivero_ref *ref);
/* The child for a key: an integer's absolute value, or the hash of size bytes,
 * modulo count; nobody while that one is down. Never blocks.
 * Errors: GONE; INVALID: ref is no partition supervisor. */
VIVERO_API int vivero_partition_of_number(struct vivero_ref ref, int64_t key,
                                          struct vivero_ref *child);
VIVERO_API int vivero_partition_of(struct vivero_ref ref, const void *key,
                                   size_t size, struct vivero_ref *child);

/* ---- Looking at it ---------------------------------------------------------------------- */

enum vivero_tree_format {
    VIVERO_TREE_TEXT = 0, /* indented lines */
    VIVERO_TREE_DOT       /* a digraph for Graphviz */
};

/* Print the tree from here down. Errors: as above; IO. */
VIVERO_API int vivero_tree_print(struct vivero_ref ref, FILE *out,
                                 enum vivero_tree_format format,
                                 int64_t timeout_ns);

VIVERO_END

#endif
