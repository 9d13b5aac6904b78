/* exec_internal.h - what an executor is made of, shared by exec.c, exec_load.c and exec_choose.c */
#ifndef FREEZELINE_EXEC_INTERNAL_H
#define FREEZELINE_EXEC_INTERNAL_H

#include "arena.h"
#include "exec.h"
#include "stages/kernels/kernels.h"

/* A value of the range, row-major or channels-last (layouts.h), or seen in the storage of another (views.h).
 */
struct slot {
    enum tensor_dtype dtype;
    int rank;
    struct extent dim[TENSOR_MAX_RANK]; /* logical */
    int value;                          /* of the graph */
    const struct tensor *constant;      /* of the graph, while loading */
    enum tensor_dtype low;              /* view.low */
    float scale;                        /* view.scale, view.zero */
    int zero;
    bool is_constant, channels_last;
    bool needed;     /* a constant that some kernel reads as it is */
    int first, last; /* steps in which it lives */
    int part;        /* it holds that many requests at a time; 0: the whole batch (parts.h) */
    int item;        /* in the arena plan; -1: a constant, or a view */
    int base;        /* the slot in whose storage it lies, `offset` and `stride` in floats; -1: its own */
    struct extent offset, stride[TENSOR_MAX_RANK];
    void *data;
};

/* An input or output of the range. When it has a place of its own, it lies there in float32, row-major where
 * it is the model's, and is converted. */
struct edge {
    char *name;
    int slot;
    bool own_place, row_major;
    int item;
    void *data;
};

struct step {
    struct node node; /* a copy; in[] and out[] are slots */
    const struct kernel *kernel;
    void *state;
    struct op_call call;
    struct view *views; /* n_in + n_out of them; call.in and call.out point into it */
    int scratch_item, alias;
    size_t scratch_bytes, weight_bytes;
    void *scratch;
    int part;     /* requests at a time; 0: the whole batch */
    int cut;      /* slot that alone crosses the point after this step; -1: more than one does */
    bool rounded; /* what crosses the point before it is: exec_options.rounded */
    uint64_t packed[OP_MAX_IO / 64];
};

struct exec {
    int first, last; /* node range of the graph */
    int max_batch, threads;
    /* Kernels go by rank and not by time, where the model is quantized: in parts it has to answer as the
     * whole does, in whatever process, and kernels differ in the last bits. */
    bool by_rank;
    int n_slots, n_steps, n_in, n_out;
    struct slot *slot;
    struct step *step;
    struct edge *in, *out;
    struct weights *weights;
    struct team *team;
    char *arena;
    size_t arena_bytes;
    float *wide; /* the value at a cut in float32, where it lies in a lower type */
    int batch;   /* that the views are set to */
    int next;    /* step at which a run may continue */
};

/* Copies the node with value indices turned into slots by `slot_of`. What was copied is to be dropped, also
 * on FL_NOMEM, by node_release. */
int exec_node_copy(struct node *to, const struct node *from, const int *slot_of);

/* Sets all views to this batch size. */
void exec_set_batch(struct exec *x, int batch);
struct view slot_view(const struct slot *s, int64_t batch); /* of a view: without data */
/* The same, of a view too, in the storage that begins at `storage`, or NULL. */
struct view slot_view_in(const struct slot *s, int64_t batch, void *storage);
struct tensor slot_logical(const struct slot *s, int64_t batch);
int64_t slot_bytes(const struct slot *s, int64_t batch); /* -1 when it overflows */

/* Decides which values lie in a lower type; `whole` has the steps of all of the model. FL_NOMEM. */
int exec_lower(struct exec *x, struct exec *whole, const struct graph *g, const struct exec_options *o);
/* Shows kernels the constants, in the views of all steps. */
void exec_show_constants(struct exec *x);
/* What a kernel is asked about a step. */
void exec_task(const struct exec *x, const struct step *s, struct kernel_task *t);
/* Is there a kernel for the step beside the reference? Views must be set, and constants shown. */
bool exec_is_fast(const struct exec *x, struct step *s, enum exec_kernels mode);
/* Picks and prepares the kernel of each step. */
int exec_choose_kernels(struct exec *x, enum exec_kernels mode, struct error *e);

#endif
