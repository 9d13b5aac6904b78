/* teaching.c - rows to files, files to caches, what they say about audits to an order of thresholds */
#include "teaching.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "index/cache.h"

#define FEWEST_TEACH 64
#define FEWEST_PLAN  64
#define FEWEST_MIXED 1000 /* requests that teach after a change, where there are so many */
#define BLOCK        32
#define MOST_STEPS   4000 /* batches that one exit is taught with */
#define PLANNING     0.1  /* of the time, for progress */

struct lesson {
    const struct teaching *t;
    struct reservoir_row *row; /* [n]: what teaches */
    int64_t n;
    int exits, done; /* that get a cache; that have one */
    char path[4096]; /* rows of the exit in hand */
};

static bool wants_cache(const struct teaching_exit *x)
{
    return x->dim > 0 && strcmp(x->kind, "none") != 0;
}

static int tell(const struct teaching *t, const char *phase, double share)
{
    return t->progress != NULL ? t->progress(t->progress_arg, phase, (int64_t)(1000 * share), 1000, NAN) : 0;
}

/* Of one exit's building, in thousandths, to that of the whole. */
static int on_progress(void *arg, const char *phase, int64_t done, int64_t total, double number)
{
    const struct lesson *l = arg;
    double share = (l->done + (double)done / (double)(total > 0 ? total : 1)) / l->exits;
    (void)number;
    return tell(l->t, phase, (1 - PLANNING) * share);
}

/* --- rows --- */

static int add_rows(struct lesson *l, int k, struct matrix_writer *w, int32_t *labels, int64_t *n,
                    struct error *e)
{
    const struct teaching *t = l->t;
    float *x = malloc(sizeof *x * (size_t)t->exit[k].dim);
    int rc = x != NULL ? FL_OK : error_set(e, FL_NOMEM, "no memory for a descriptor");
    for (int64_t i = 0; i < l->n && rc == FL_OK; i++) {
        if (!reservoir_read(t->reservoir, &l->row[i], k, x))
            continue; /* it has left meanwhile */
        labels[(*n)++] = l->row[i].label;
        rc = matrix_writer_append(w, x, 1, e);
        if (rc == FL_OK && i % 256 == 0 && on_progress(l, "copy", 0, 1, NAN) != 0)
            rc = error_set(e, FL_CANCELLED, "stopped while rows were copied");
    }
    free(x);
    return rc;
}

static int add_built(const struct teaching_built *b, struct matrix_writer *w, int32_t *labels, int64_t *n,
                     struct error *e)
{
    int rc = FL_OK;
    if (b->rows == NULL)
        return FL_OK;
    memcpy(labels + *n, b->labels, sizeof *labels * (size_t)b->rows->rows);
    *n += b->rows->rows;
    for (int64_t at = 0; at < b->rows->rows && rc == FL_OK; at += 1024) {
        int64_t left = b->rows->rows - at;
        rc = matrix_writer_append(w, b->rows->data + at * b->rows->dim, left < 1024 ? (int)left : 1024, e);
    }
    return rc;
}

/* The file of rows of exit k, mapped, and their labels, which the caller frees. */
static int make_rows(struct lesson *l, int k, struct matrix_file *m, int32_t **labels, struct error *e)
{
    const struct teaching *t = l->t;
    const struct teaching_exit *x = &t->exit[k];
    int64_t n = 0, have, built = x->built.rows != NULL ? x->built.rows->rows : 0;
    struct matrix_writer *w;
    int rc, closed;
    if (snprintf(l->path, sizeof l->path, "%s/%s.rows", t->work_dir, x->name) >= (int)sizeof l->path)
        return error_set(e, FL_CONFIG, "%.200s...: the folder's path is too long", t->work_dir);
    *labels = malloc(sizeof **labels * (size_t)(l->n + built + 1));
    if (*labels == NULL)
        return error_set(e, FL_NOMEM, "no memory for labels");
    unlink(l->path);
    rc = matrix_writer_open(&w, l->path, x->dim, t->number, &have, e);
    if (rc != FL_OK)
        return rc;
    rc = add_rows(l, k, w, *labels, &n, e);
    if (rc == FL_OK)
        rc = add_built(&x->built, w, *labels, &n, e);
    closed = matrix_writer_close(w, rc == FL_OK ? e : NULL);
    rc = rc == FL_OK ? closed : rc;
    return rc == FL_OK ? matrix_open(m, l->path, e) : rc;
}

/* --- caches --- */

static int teach_exit(struct lesson *l, int k, struct cache **out, struct error *e)
{
    const struct teaching *t = l->t;
    const struct teaching_exit *x = &t->exit[k];
    struct cache_config config = *t->config;
    struct matrix_file rows = {0};
    int32_t *labels = NULL;
    struct builder_input in = {.exit_name = x->name,
                               .kind = x->kind,
                               .classes = t->classes,
                               .train = &rows,
                               .config = &config,
                               .budget_bytes = x->budget_bytes,
                               .work_dir = t->work_dir,
                               .progress = on_progress,
                               .progress_arg = l,
                               .map_side = x->map_side,
                               .most_work = x->most_work,
                               .once = true,
                               .warm = x->cache,
                               .most_steps = MOST_STEPS};
    int rc = make_rows(l, k, &rows, &labels, e);
    config.seed += t->number;
    memcpy(in.identity, t->identity, sizeof in.identity);
    in.train_labels = labels;
    if (rc == FL_OK)
        rc = builder_build(out, &in, e);
    matrix_close(&rows);
    unlink(l->path);
    free(labels);
    return rc;
}

/* The newest: as many of before the change as of after. */
static void leave_out_old(struct lesson *l)
{
    int64_t old = 0, keep;
    while (old < l->n && l->row[old].moment_ms < l->t->since_ms)
        old++;
    keep = 2 * (l->n - old);
    keep = keep > FEWEST_MIXED ? keep : FEWEST_MIXED;
    if (keep >= l->n)
        return;
    memmove(l->row, l->row + (l->n - keep), (size_t)keep * sizeof *l->row);
    l->n = keep;
}

static int teach_all(struct taught *out, const struct teaching *t, struct error *e)
{
    struct lesson l = {.t = t};
    int rc = reservoir_list(t->reservoir, false, t->teach_since_ms, &l.row, &l.n);
    if (rc != FL_OK)
        return error_set(e, rc, "no memory for a list of requests");
    leave_out_old(&l);
    if (l.n < FEWEST_TEACH)
        rc = error_set(e, FL_AGAIN, "%lld requests are too few to learn from", (long long)l.n);
    for (int k = 0; k < t->n_exits; k++)
        l.exits += wants_cache(&t->exit[k]);
    for (int k = 0; k < t->n_exits && rc == FL_OK; k++) {
        if (!wants_cache(&t->exit[k]))
            continue;
        rc = teach_exit(&l, k, &out->cache[k], e);
        l.done++;
    }
    out->points = l.n;
    free(l.row);
    return rc;
}

/* --- the order --- */

/* What the cache of exit k says about the rows. */
static int ask(struct evidence_exit *to, const struct teaching *t, struct cache *c, int k,
               const struct reservoir_row *row, int64_t n, struct cache_scratch *s)
{
    int dim = t->exit[k].dim, rc = FL_OK;
    float *x = malloc(sizeof *x * (size_t)dim * BLOCK);
    struct cache_verdict v[BLOCK];
    int32_t which[BLOCK];
    for (int64_t i = 0; i < n; i++)
        to->label[i] = -1;
    for (int64_t at = 0; at < n && rc == FL_OK && x != NULL; at += BLOCK) {
        int m = 0;
        for (int64_t i = at; i < n && i < at + BLOCK; i++) {
            if (reservoir_read(t->reservoir, &row[i], k, x + (size_t)m * (size_t)dim))
                which[m++] = (int32_t)i;
        }
        rc = cache_lookup(c, s, x, m, v);
        for (int i = 0; i < m && rc == FL_OK; i++) {
            to->label[which[i]] = v[i].label;
            to->confidence[which[i]] = v[i].confidence;
        }
    }
    free(x);
    return x != NULL ? rc : FL_NOMEM;
}

/* Where the truth is not known, the network is taken to be right: no loss is smaller than it is then. */
static void fill_answers(struct evidence *ev, const struct reservoir_row *row)
{
    for (int64_t i = 0; i < ev->points; i++) {
        ev->full[i] = row[i].label;
        if (ev->truth != NULL)
            ev->truth[i] = row[i].truth >= 0 ? row[i].truth : row[i].label;
    }
}

static int gather(struct evidence *ev, const struct teaching *t, struct cache *const *cache,
                  const struct reservoir_row *row, int64_t n)
{
    struct cache_scratch *s;
    int rc = cache_scratch_new(&s, BLOCK);
    if (rc != FL_OK)
        return rc;
    rc = evidence_new(ev, t->n_exits, n, !t->terms.agreement);
    if (rc == FL_OK)
        fill_answers(ev, row);
    for (int k = 0; k < t->n_exits && rc == FL_OK; k++) {
        struct evidence_exit *to = &ev->exit[k];
        memcpy(to->name, t->exit[k].name, sizeof to->name);
        snprintf(to->kind, sizeof to->kind, "%s", t->exit[k].kind);
        to->placed = cache[k] != NULL;
        to->ruled_out = cache[k] == NULL;
        to->by_half = t->exit[k].by_half;
        to->before = t->exit[k].before;
        to->lookup = t->exit[k].lookup;
        if (cache[k] != NULL)
            rc = ask(to, t, cache[k], k, row, n, s);
    }
    cache_scratch_free(s);
    return rc;
}

static int plan(struct taught *out, const struct teaching *t, struct error *e)
{
    struct reservoir_row *row;
    struct evidence ev = {0};
    int64_t n;
    int rc = reservoir_list(t->reservoir, true, t->since_ms, &row, &n);
    if (rc != FL_OK)
        return error_set(e, rc, "no memory for a list of requests");
    if (tell(t, "plan", 1 - PLANNING) != 0)
        rc = error_set(e, FL_CANCELLED, "stopped before the order was planned");
    else if (n < FEWEST_PLAN)
        rc = error_set(e, FL_AGAIN, "%lld audits are too few to plan from", (long long)n);
    else if ((rc = gather(&ev, t, out->cache, row, n)) != FL_OK)
        error_set(e, rc, "no memory to plan on %lld audits", (long long)n);
    free(row);
    out->planned_on = n;
    if (rc == FL_OK)
        rc = promise_order(&out->order, &ev, &t->terms, t->may_drop, e);
    evidence_release(&ev);
    return rc;
}

/* --- both --- */

int teaching_run(struct taught *out, const struct teaching *t, struct error *e)
{
    int rc;
    memset(out, 0, sizeof *out);
    rc = teach_all(out, t, e);
    if (rc == FL_OK)
        rc = plan(out, t, e);
    if (rc != FL_OK)
        taught_release(out);
    return rc;
}

int teaching_plan(struct taught *out, const struct teaching *t, struct error *e)
{
    int rc;
    memset(out, 0, sizeof *out);
    for (int k = 0; k < t->n_exits; k++) {
        if (t->exit[k].cache == NULL)
            continue;
        cache_retain(t->exit[k].cache);
        out->cache[k] = t->exit[k].cache;
    }
    rc = plan(out, t, e);
    if (rc != FL_OK)
        taught_release(out);
    return rc;
}

void taught_release(struct taught *t)
{
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++)
        cache_free(t->cache[k]);
    promise_order_release(&t->order);
    memset(t, 0, sizeof *t);
}
