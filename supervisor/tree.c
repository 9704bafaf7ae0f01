/* SPDX-License-Identifier: MIT */
/* tree: a picture of who is below a supervisor. Asks each of them in turn, so it
 * shows no single instant. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "os/clock.h"
#include "supervisor/supervisor_private.h"

#include <inttypes.h>
#include <stddef.h>

#define DEPTH_MAX 64
#define GUESS 16u

struct picture {
    FILE *out;
    enum vivero_tree_format format;
    int64_t deadline_ns;
    bool broken; /* the output cannot be written to */
};

struct children {
    struct vivero_child_info *info;
    size_t room;
    size_t count;
};

static int64_t time_left(const struct picture *picture)
{
    int64_t now = vivero_now();

    if (picture->deadline_ns == VIVERO_FOREVER) {
        return VIVERO_FOREVER;
    }
    return picture->deadline_ns > now ? picture->deadline_ns - now : 0;
}

static void release(struct children *children)
{
    vv_release(NULL, children->info, children->room * sizeof(*children->info),
               _Alignof(max_align_t));
    children->info = NULL;
}

/* Ask again with more room while there are more. */
static int get_children(const struct picture *picture, struct vivero_ref ref,
                        struct children *children)
{
    int error = VIVERO_OK;

    *children = (struct children){NULL, 0, GUESS};
    while (error == VIVERO_OK && children->room < children->count) {
        release(children);
        children->room = children->count;
        children->info =
            vv_allocate(NULL, children->room * sizeof(*children->info),
                        _Alignof(max_align_t));
        error = children->info != NULL
                    ? vivero_supervisor_which_children(
                          ref, children->info, children->room, &children->count,
                          time_left(picture))
                    : VIVERO_E_NO_MEMORY;
    }
    if (error != VIVERO_OK) {
        release(children);
    }
    return error;
}

static const char *state_name(enum vivero_child_state state)
{
    switch (state) {
    case VIVERO_CHILD_STOPPED:
        return "stopped";
    case VIVERO_CHILD_RUNNING:
        return "running";
    case VIVERO_CHILD_RESTARTING:
        return "restarting";
    case VIVERO_CHILD_QUARANTINED:
        return "quarantined";
    }
    return "";
}

/* An id for people: quotes and backslashes would end Graphviz' strings. */
static void print_id(struct picture *picture, const char *id)
{
    for (; *id != '\0'; id++) {
        if (picture->format == VIVERO_TREE_DOT && (*id == '"' || *id == '\\')) {
            (void)fputc('\\', picture->out);
        }
        (void)fputc(*id, picture->out);
    }
}

static void print_child(struct picture *picture, struct vivero_ref parent,
                        const struct vivero_child_info *info, int depth,
                        size_t index)
{
    FILE *out = picture->out;

    if (picture->format == VIVERO_TREE_TEXT) {
        (void)fprintf(out, "%*s", 2 * depth, "");
        print_id(picture, info->id[0] != '\0' ? info->id : info->kind);
        (void)fprintf(out, " (%s, %s, restarts %" PRIu64 ")\n", info->kind,
                      state_name(info->state), info->restarts);
    } else {
        (void)fprintf(out, "  n%u_%u_%zu [label=\"", parent.slot,
                      parent.generation, index);
        print_id(picture, info->id[0] != '\0' ? info->id : info->kind);
        (void)fprintf(out, "\\n%s\"];\n  n%u_%u -> n%u_%u_%zu;\n",
                      state_name(info->state), parent.slot, parent.generation,
                      parent.slot, parent.generation, index);
    }
    picture->broken = picture->broken || ferror(out) != 0;
}

/* The children of ref, and theirs: a tree, so recursion ends with it. */
static int print_below(struct picture *picture, struct vivero_ref ref,
                       int depth)
{
    struct children children;
    int error = get_children(picture, ref, &children);

    if (error != VIVERO_OK) {
        return error;
    }
    for (size_t i = children.count; i-- > 0;) {
        const struct vivero_child_info *info = &children.info[i];

        print_child(picture, ref, info, depth, i);
        if (info->type == VIVERO_CHILD_SUPERVISOR && depth < DEPTH_MAX &&
            info->state == VIVERO_CHILD_RUNNING) {
            if (picture->format == VIVERO_TREE_DOT) {
                (void)fprintf(picture->out, "  n%u_%u_%zu -> n%u_%u;\n",
                              ref.slot, ref.generation, i, info->ref.slot,
                              info->ref.generation);
            }
            /* One that ends meanwhile, or is no supervisor of ours, is shown
             * without its children. */
            (void)print_below(picture, info->ref, depth + 1);
        }
    }
    release(&children);
    return VIVERO_OK;
}

static void print_root(struct picture *picture, struct vivero_ref ref,
                       const char *name)
{
    if (picture->format == VIVERO_TREE_TEXT) {
        (void)fprintf(picture->out, "%s\n", name);
    } else {
        (void)fprintf(picture->out, "digraph tree {\n  n%u_%u [label=\"",
                      ref.slot, ref.generation);
        print_id(picture, name);
        (void)fprintf(picture->out, "\"];\n");
    }
}

int vivero_tree_print(struct vivero_ref ref, FILE *out,
                      enum vivero_tree_format format, int64_t timeout_ns)
{
    struct picture picture = {
        out, format, vv_deadline_after(vivero_now(), timeout_ns), false};
    int error = VIVERO_OK;
    struct vv_supervisor *supervisor = vv_supervisor_find(ref, &error);

    if (supervisor == NULL) {
        return error;
    }
    print_root(&picture, ref,
               supervisor->blueprint->options.name != NULL
                   ? supervisor->blueprint->name
                   : "supervisor");
    error = print_below(&picture, ref, 1);
    vv_entity_release(&supervisor->entity);
    if (format == VIVERO_TREE_DOT) {
        (void)fprintf(out, "}\n");
    }
    if (error == VIVERO_OK && (picture.broken || fflush(out) != 0)) {
        error = VIVERO_E_IO;
    }
    return error;
}
