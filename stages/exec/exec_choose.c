/* exec_choose.c - pick a kernel for each node: by rank, or by timing the candidates
 *
 * Timing runs the real kernel on made-up numbers, for one request alone and for a batch. Candidates are
 * prepared, timed and thrown away; the winner is prepared again, so that the weights lie in the order in
 * which they are read.
 */
#include "exec_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define MAX_CANDIDATES 8
#define TRIAL_RUNS     5
#define TRIAL_NS       (20 * NS_PER_MS) /* at most this long per candidate, but one run */
#define TRIAL_BATCH    8
#define ROWS_ENOUGH_NS \
    (4 * NS_PER_MS) /* what takes that long for one has rows enough to take the same for each of many */
#define CHILL_BYTES ((size_t)3 << 20)
#define MARGIN      0.95 /* of the best time so far: what a later candidate must beat it by */

/* Places for one node's inputs and outputs while its candidates are timed. */
struct trial {
    int batch;
    struct view views[2 * OP_MAX_IO];
    void *data[2 * OP_MAX_IO];
    char *chill; /* read between runs, so that weights come from where they will come from in a whole run */
};

void exec_task(const struct exec *x, const struct step *s, struct kernel_task *t)
{
    *t = (struct kernel_task){
        .call = s->call, .max_batch = x->max_batch, .threads = x->threads, .weights = x->weights};
    t->alias = GRAPH_NONE;
}

static int prepare(const struct exec *x, struct step *s, const struct kernel *k, struct kernel_task *t)
{
    int rc;
    exec_task(x, s, t);
    s->kernel = k;
    s->state = NULL;
    rc = k->prepare ? k->prepare(t, &s->state) : FL_OK;
    if (rc) {
        if (k->release)
            k->release(s->state);
        s->kernel = NULL;
        s->state = NULL;
    }
    return rc;
}

static void drop(struct step *s)
{
    if (s->kernel->release)
        s->kernel->release(s->state);
    s->kernel = NULL;
    s->state = NULL;
}

static int find_candidates(const struct exec *x, struct step *s, enum exec_kernels mode,
                           const struct kernel **found)
{
    const struct kernel *const *table = kernel_table();
    unsigned families = kernel_families(mode);
    struct kernel_task t;
    int n = 0;
    exec_task(x, s, &t);
    for (int i = 0; table[i] && n < MAX_CANDIDATES; i++) {
        /* The reference only runs what nothing else does; nor is OpenBLAS's convolution ever the fastest. */
        if (!(table[i]->family & families) || (table[i]->family == KERNEL_REFERENCE && n) ||
            (table[i]->family == KERNEL_OPENBLAS && mode == KERNELS_AUTO && n && node_is(&s->node, "Conv")))
            continue;
        if (table[i]->accepts(&t))
            found[n++] = table[i];
    }
    return n;
}

bool exec_is_fast(const struct exec *x, struct step *s, enum exec_kernels mode)
{
    const struct kernel *candidate[MAX_CANDIDATES + 1];
    return find_candidates(x, s, mode, candidate) && candidate[0]->family != KERNEL_REFERENCE;
}

static void fill(const struct view *v, void *data)
{
    uint32_t seed = 12345;
    int64_t n = view_count(v);
    if (v->dtype != TENSOR_F32) {
        memset(data, 0, (size_t)n * tensor_dtype_bytes(v->dtype));
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        ((float *)data)[i] = (float)(seed >> 8) / (1 << 23) - 1;
    }
}

static int open_trial(struct trial *t, const struct exec *x, const struct step *s, int batch)
{
    int n = s->node.n_in + s->node.n_out;
    memset(t, 0, sizeof *t);
    t->batch = batch;
    t->chill = calloc(1, CHILL_BYTES);
    if (!t->chill)
        return FL_NOMEM;
    for (int i = 0; i < n; i++) {
        int at = i < s->node.n_in ? s->node.in[i] : s->node.out[i - s->node.n_in];
        const struct slot *storage;
        struct tensor space;
        if (at == GRAPH_NONE)
            continue;
        t->views[i] = slot_view(&x->slot[at], batch);
        if (x->slot[at].is_constant) {
            t->views[i].data = x->slot[at].constant->data;
            continue;
        }
        storage = x->slot[at].base >= 0 ? &x->slot[x->slot[at].base] : &x->slot[at];
        space = slot_logical(storage, batch);
        if (tensor_alloc(&space))
            return FL_NOMEM;
        t->data[i] = space.data;
        t->views[i] = view_plain(&space);
        fill(&t->views[i], space.data);
        t->views[i] = slot_view_in(&x->slot[at], batch, space.data);
    }
    return FL_OK;
}

static void close_trial(struct trial *t)
{
    for (int i = 0; i < 2 * OP_MAX_IO; i++)
        free(t->data[i]);
    free(t->chill);
}

/* One thread is timed by what it computed, so that other processes do not decide; several by the clock. */
static uint64_t now_ns(const struct exec *x)
{
    struct timespec t;
    if (x->threads > 1 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t))
        return clock_ns();
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void chill(struct trial *t)
{
    for (size_t i = 0; i < CHILL_BYTES; i += 64)
        t->chill[i]++;
}

/* The shortest of a few runs of what is prepared, in ns; UINT64_MAX when it cannot run. */
static uint64_t time_runs(const struct exec *x, const struct step *s, struct trial *t, void *scratch)
{
    struct op_call call = s->call;
    struct kernel_run run = {scratch, x->team};
    uint64_t best = UINT64_MAX, started = clock_ns();
    call.in = t->views;
    call.out = t->views + s->node.n_in;
    for (int i = 0; i < TRIAL_RUNS && (i < 2 || clock_ns() - started < TRIAL_NS); i++) {
        uint64_t from, took;
        chill(t);
        from = now_ns(x);
        if (s->kernel->run(s->state, &call, &run))
            break;
        took = now_ns(x) - from;
        best = took < best ? took : best;
    }
    return best;
}

/* Of one request alone, and its part of a batch; both in ns. UINT64_MAX when it cannot run. */
static uint64_t time_candidate(const struct exec *x, struct step *s, const struct kernel *k,
                               struct trial *one, struct trial *many)
{
    struct kernel_task task;
    uint64_t alone = UINT64_MAX, each = 0;
    void *scratch;
    if (prepare(x, s, k, &task))
        return UINT64_MAX;
    scratch = aligned_alloc(64, (task.scratch_bytes + 127) / 64 * 64);
    if (scratch)
        alone = each = time_runs(x, s, one, scratch);
    if (many->batch > 1 && alone < ROWS_ENOUGH_NS)
        each = time_runs(x, s, many, scratch) / (uint64_t)many->batch;
    free(scratch);
    drop(s);
    return alone == UINT64_MAX ? alone : alone + each;
}

static const struct kernel *fastest(const struct exec *x, struct step *s, const struct kernel **candidate,
                                    int n)
{
    const struct kernel *best = candidate[0];
    int batch = x->max_batch < TRIAL_BATCH ? x->max_batch : TRIAL_BATCH;
    uint64_t best_ns = UINT64_MAX;
    struct trial *t = calloc(2, sizeof *t);
    if (t && !open_trial(&t[0], x, s, 1) && (batch == 1 || !open_trial(&t[1], x, s, batch)))
        for (int i = 0; i < n; i++) {
            struct weights_mark mark = weights_mark(x->weights);
            uint64_t ns = time_candidate(x, s, candidate[i], &t[0], &t[1]);
            weights_rewind(x->weights, mark);
            if ((double)ns < (best_ns == UINT64_MAX ? 1.0 : MARGIN) * (double)best_ns) {
                best_ns = ns;
                best = candidate[i];
            }
        }
    for (int i = 0; t && i < 2; i++)
        close_trial(&t[i]);
    free(t);
    return best;
}

static bool same_attr(const struct attr *a, const struct attr *b)
{
    if (strcmp(a->name, b->name) || a->kind != b->kind || a->count != b->count || a->i != b->i ||
        a->f != b->f)
        return false;
    if (a->tensor || b->tensor || a->strings || b->strings || !a->s != !b->s || (a->s && strcmp(a->s, b->s)))
        return false;
    return (!a->ints || !memcmp(a->ints, b->ints, (size_t)a->count * sizeof *a->ints)) &&
           (!a->floats || !memcmp(a->floats, b->floats, (size_t)a->count * sizeof *a->floats));
}

static bool same_slot(const struct exec *x, int a, int b)
{
    const struct slot *p, *q;
    if (a == GRAPH_NONE || b == GRAPH_NONE)
        return a == b;
    p = &x->slot[a];
    q = &x->slot[b];
    return p->dtype == q->dtype && p->rank == q->rank && p->is_constant == q->is_constant &&
           p->channels_last == q->channels_last && (p->base < 0) == (q->base < 0) &&
           !memcmp(p->stride, q->stride, sizeof p->stride) &&
           !memcmp(p->dim, q->dim, (size_t)p->rank * sizeof *p->dim);
}

/* The same work on other numbers: what was fastest for one is for the other. */
static bool same_work(const struct exec *x, const struct node *a, const struct node *b)
{
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != b->n_out || a->n_attr != b->n_attr ||
        a->post.residual != b->post.residual || a->post.activation != b->post.activation)
        return false;
    for (int i = 0; i < a->n_attr; i++)
        if (!same_attr(&a->attr[i], &b->attr[i]))
            return false;
    for (int i = 0; i < a->n_in; i++)
        if (!same_slot(x, a->in[i], b->in[i]))
            return false;
    for (int i = 0; i < a->n_out; i++)
        if (!same_slot(x, a->out[i], b->out[i]))
            return false;
    return true;
}

static const struct kernel *pick(const struct exec *x, struct step *s, enum exec_kernels mode,
                                 const struct kernel **candidate, int n)
{
    if (n && (candidate[0]->family == KERNEL_LOW || (mode == KERNELS_AUTO && x->by_rank)))
        return candidate[0];
    for (int i = 0; i < n && mode == KERNELS_ONEDNN; i++)
        if (candidate[i]->family == KERNEL_ONEDNN)
            return candidate[i];
    if (n < 2 || mode == KERNELS_ONEDNN)
        return n ? candidate[0] : NULL;
    for (const struct step *before = x->step; before < s; before++)
        if (same_work(x, &before->node, &s->node))
            return before->kernel;
    return fastest(x, s, candidate, n);
}

static int choose(struct exec *x, struct step *s, enum exec_kernels mode, struct error *e)
{
    const struct kernel *candidate[MAX_CANDIDATES + 1];
    int n = find_candidates(x, s, mode, candidate);
    const struct kernel *first = pick(x, s, mode, candidate, n);
    size_t before = weights_bytes(x->weights);
    struct kernel_task t;
    int rc = FL_UNSUPPORTED;
    exec_task(x, s, &t);
    if (first)
        rc = prepare(x, s, first, &t);
    for (int i = 0; i < n && rc == FL_UNSUPPORTED; i++)
        rc = prepare(x, s, candidate[i], &t);
    if (rc == FL_UNSUPPORTED && kernel_find("reference")->accepts(&t))
        rc = prepare(x, s, kernel_find("reference"), &t);
    if (rc)
        return error_set(e, (enum fl_code)rc, "node %s (%s): no kernel could be prepared: %s", s->node.name,
                         s->node.op->name, error_sentence(rc));
    s->scratch_bytes = t.scratch_bytes;
    s->weight_bytes = weights_bytes(x->weights) - before;
    s->alias = t.alias;
    memcpy(s->packed, t.packed, sizeof s->packed);
    return FL_OK;
}

void exec_show_constants(struct exec *x)
{
    for (int i = 0; i < x->n_steps; i++) {
        struct step *s = &x->step[i];
        for (int k = 0; k < s->node.n_in; k++)
            if (s->node.in[k] != GRAPH_NONE && x->slot[s->node.in[k]].is_constant)
                s->call.in[k].data = x->slot[s->node.in[k]].constant->data;
    }
}

int exec_choose_kernels(struct exec *x, enum exec_kernels mode, struct error *e)
{
    exec_set_batch(x, x->max_batch);
    exec_show_constants(x);
    for (int i = 0; i < x->n_steps; i++) {
        int rc = x->step[i].kernel ? FL_OK : choose(x, &x->step[i], mode, e);
        if (rc)
            return rc;
    }
    return FL_OK;
}
