/* exec.h - run a range of a model's nodes: memory planned once, kernels chosen once, nothing allocated per
 * run
 *
 * An executor owns packed weights and one arena for `max_batch`, both sized at exec_new; after that it no
 * longer needs the graph's constants (the graph may be freed). Activations of rank 4 are NHWC float32 inside
 * and at cuts; a model's own inputs and outputs are as the file says (row-major). In a lower precision they
 * may lie in its type inside, and what is given out is float32 all the same. One executor serves one thread
 * at a time.
 */
#ifndef FREEZELINE_EXEC_H
#define FREEZELINE_EXEC_H

#include "stages/graph/graph.h"
#include "stages/graph/op.h"
#include "stages/kernels/engine.h"
#include "quantization.h"

#define EXEC_MAX_ROUNDED 16

struct exec_options {
    enum exec_kernels kernels; /* AUTO times the candidates of each node at load and keeps the fastest */
    int threads;               /* for kernels; 0 = 1 */
    int max_batch;             /* 0 = 1 */
    int first,
        last; /* node range, inclusive; last = -1: to the end. Must begin and end at cuts or model ends */
    enum exec_precision precision;
    const struct quantization *quantization; /* for PRECISION_INT8; borrowed during exec_new */
    /* Nodes within the range before which the value at the cut is rounded to bfloat16, as a message to the
     * next stage does (wire_dtype). What comes into the range is taken as it is. */
    int n_rounded, rounded[EXEC_MAX_ROUNDED];
    /* Where runs end, beside the last node: after these nodes only, or (when not `only_stops`) after any cut.
     * The fewer, the less has to be kept in whole. Borrowed during exec_new. */
    bool only_stops;
    int n_stops;
    const int *stops;
    bool apart; /* no value lies in another one's storage, so that exec_value finds each */
};

struct exec;

int exec_new(struct exec **out, const struct graph *g, const struct exec_options *o, struct error *e);
void exec_free(struct exec *x);

/* What crosses the range's beginning and end. Inputs: the model's own inputs when first = 0, else the one cut
 * value. Shape is concrete for `batch`; NHWC order in dim[] for rank-4 cut values ("physical" shape). */
int exec_n_inputs(const struct exec *x);
const char *exec_input_name(const struct exec *x, int i);
const char *exec_output_name(const struct exec *x, int i);
struct tensor exec_input_shape(const struct exec *x, int i, int batch);
struct tensor exec_output_shape(const struct exec *x, int i, int batch);

/* Where to write input i before a run: a buffer of exec_input_shape(max_batch) bytes in the arena. */
void *exec_input_buffer(struct exec *x, int i);

/* Runs nodes first..last of the range (given as node indices of the graph; consecutive calls continue where
 * the last one ended); a run ends at a cut. `after` (may be NULL) is called after each node, several times
 * where a batch goes through in parts; a non-zero return stops the run, which then returns FL_CANCELLED.
 * FL_VALUE, FL_SHAPE, FL_INTERNAL. */
typedef int (*exec_after)(void *arg, int node);
int exec_run(struct exec *x, int first, int last, int batch, exec_after after, void *arg, struct error *e);

/* The value that crosses the cut after `node`, as it lies in the arena: valid after exec_run(.., last = node)
 * until the next run. Physical (NHWC) shape. */
int exec_cut(struct exec *x, int node, int batch, struct tensor *out, struct error *e);
/* Output 0 of a node of a float32 executor as it lies in the arena, right after that node ran; no data where
 * it is only seen in another value, in another order. */
struct tensor exec_value(struct exec *x, int node, int batch);
/* The same in any order of its numbers; with node -1 what goes into the range, right before it runs. */
struct view exec_view(struct exec *x, int node, int batch);
/* Keeps only rows keep[0..n) (ascending) of the value at the cut after `node`; the next run uses batch n. */
int exec_compact(struct exec *x, int node, const int *keep, int n, struct error *e);

/* Output i after the last node ran; borrows the arena, valid until the next run. Row-major, as the file says
 * for model outputs; physical for a cut. */
struct tensor exec_output(struct exec *x, int i, int batch);

/* Bytes of packed weights and of the arena. */
size_t exec_weight_bytes(const struct exec *x);
size_t exec_arena_bytes(const struct exec *x);
/* Which kernel node runs on: "onednn", "openblas", "reference", ... */
const char *exec_kernel_name(const struct exec *x, int node);

#endif
