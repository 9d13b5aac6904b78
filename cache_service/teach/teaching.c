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
#define MOST_OLD     8000 /* requests of before a change that teach */
#define REPEATED     4    /* times that each since then does, at most */
#define BLOCK        32
#define MOST_STEPS   4000 /* batches that one exit is taught with */
#define MOST_BUILT   10000
#define PLANNING     0.1 /* of the time, for progress */

struct lesson {
    const struct teaching *t;
    struct reservoir_row *row; /* [n]: what teaches */
    int64_t n, old;            /* old: of before the change, the first of them */
    int repeat;                /* times that each of the others is shown */
    int exits, done;           /* that get a cache; that have one */
};

/* What teaches one exit. */
struct exit_rows {
    struct matrix_file rows, scores; /* a file in work_dir; memory */
    int64_t n;
    int32_t *label; /* [n] */
    float *score;   /* [n][classes] */
    char path[4096];
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

#define SURE 10.0f /* of a label whose scores were not told: no other class is left a chance */

static void fill_scores(const struct teaching *t, const struct reservoir_row *row, float *to)
{
    if (row->scored && reservoir_read(t->reservoir, row, RESERVOIR_SCORES, to))
        return;
    memset(to, 0, sizeof *to * (size_t)t->classes);
    to[row->label] = SURE;
}

/* One more row, of what `x` holds; its scores are there already. */
static int add_row(struct exit_rows *r, struct matrix_writer *w, int classes, const float *x, struct error *e)
{
    const float *scores = r->score + (size_t)r->n * (size_t)classes;
    r->label[r->n] = 0;
    for (int c = 1; c < classes; c++) {
        if (scores[c] > scores[r->label[r->n]])
            r->label[r->n] = c;
    }
    r->n++;
    return matrix_writer_append(w, x, 1, e);
}

/* Points of an index would only be there twice. */
static int shown(const struct lesson *l, int k)
{
    return strcmp(l->t->exit[k].kind, "learned") == 0 ? l->repeat : 1;
}

static int add_kept(struct lesson *l, int k, struct exit_rows *r, struct matrix_writer *w, struct error *e)
{
    const struct teaching *t = l->t;
    float *x = malloc(sizeof *x * (size_t)t->exit[k].dim);
    int repeat = shown(l, k), rc = x != NULL ? FL_OK : error_set(e, FL_NOMEM, "no memory for a descriptor");
    for (int64_t i = 0; i < l->n && rc == FL_OK; i++) {
        if (!reservoir_read(t->reservoir, &l->row[i], k, x))
            continue; /* it has left meanwhile */
        for (int again = 0; again < (i < l->old ? 1 : repeat) && rc == FL_OK; again++) {
            fill_scores(t, &l->row[i], r->score + (size_t)r->n * (size_t)t->classes);
            rc = add_row(r, w, t->classes, x, e);
            r->label[r->n - 1] = l->row[i].label;
        }
        if (rc == FL_OK && i % 256 == 0 && on_progress(l, "copy", 0, 1, NAN) != 0)
            rc = error_set(e, FL_CANCELLED, "stopped while rows were copied");
    }
    free(x);
    return rc;
}

static int64_t built_rows(const struct lesson *l, int k)
{
    const struct matrix_file *rows = l->t->exit[k].built.rows;
    int64_t most = l->t->teach_since_ms > 0 ? 0 : l->t->since_ms > 0 && l->n < MOST_BUILT ? l->n : MOST_BUILT;
    return rows == NULL ? 0 : rows->rows < most ? rows->rows : most;
}

/* So many of them, evenly spread. */
static int add_built(const struct lesson *l, const struct teaching_built *b, int64_t n, struct exit_rows *r,
                     struct matrix_writer *w, struct error *e)
{
    int classes = l->t->classes, rc = FL_OK;
    for (int64_t i = 0; i < n && rc == FL_OK; i++) {
        int64_t row = i * b->rows->rows / n;
        memcpy(r->score + (size_t)r->n * (size_t)classes, b->scores->data + row * classes,
               sizeof *r->score * (size_t)classes);
        rc = add_row(r, w, classes, b->rows->data + row * b->rows->dim, e);
    }
    return rc;
}

static void release_rows(struct exit_rows *r)
{
    matrix_close(&r->rows);
    unlink(r->path);
    free(r->label);
    free(r->score);
}

/* What teaches exit k, in a file that is mapped. Release it in every case. */
static int make_rows(struct lesson *l, int k, struct exit_rows *r, struct error *e)
{
    const struct teaching *t = l->t;
    const struct teaching_exit *x = &t->exit[k];
    int64_t have, built = built_rows(l, k), most = l->old + (l->n - l->old) * shown(l, k) + built + 1;
    struct matrix_writer *w;
    int rc, closed;
    if (snprintf(r->path, sizeof r->path, "%s/%s.rows", t->work_dir, x->name) >= (int)sizeof r->path)
        return error_set(e, FL_CONFIG, "%.200s...: the folder's path is too long", t->work_dir);
    r->label = malloc(sizeof *r->label * (size_t)most);
    r->score = malloc(sizeof *r->score * (size_t)most * (size_t)t->classes);
    if (r->label == NULL || r->score == NULL)
        return error_set(e, FL_NOMEM, "no memory for labels and scores");
    unlink(r->path);
    rc = matrix_writer_open(&w, r->path, x->dim, t->number, &have, e);
    if (rc != FL_OK)
        return rc;
    rc = add_kept(l, k, r, w, e);
    if (rc == FL_OK)
        rc = add_built(l, &x->built, built, r, w, e);
    closed = matrix_writer_close(w, rc == FL_OK ? e : NULL);
    rc = rc == FL_OK ? closed : rc;
    r->scores = (struct matrix_file){.rows = r->n, .dim = t->classes, .data = r->score};
    return rc == FL_OK ? matrix_open(&r->rows, r->path, e) : rc;
}

/* --- caches --- */

static int teach_exit(struct lesson *l, int k, struct cache **out, struct error *e)
{
    const struct teaching *t = l->t;
    const struct teaching_exit *x = &t->exit[k];
    struct cache_config config = *t->config;
    struct exit_rows rows = {.n = 0};
    struct builder_input in = {.exit_name = x->name,
                               .kind = x->kind,
                               .classes = t->classes,
                               .train = &rows.rows,
                               .train_scores = &rows.scores,
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
    int rc = make_rows(l, k, &rows, e);
    config.seed += t->number;
    memcpy(in.identity, t->identity, sizeof in.identity);
    in.train_labels = rows.label;
    if (rc == FL_OK)
        rc = builder_build(out, &in, e);
    release_rows(&rows);
    return rc;
}

/* What is new counts, what is known is kept: of before the change no more than MOST_OLD, evenly spread over
 * all, as the world may be again as it was once; what came since is shown REPEATED times at most. */
static void weigh_new(struct lesson *l)
{
    int64_t old = 0, kept, new;
    while (old < l->n && l->row[old].moment_ms < l->t->since_ms)
        old++;
    kept = old < MOST_OLD ? old : MOST_OLD;
    new = l->n - old;
    for (int64_t i = 0; i < kept; i++)
        l->row[i] = l->row[i * old / kept];
    memmove(l->row + kept, l->row + old, (size_t) new * sizeof *l->row);
    l->n = kept + new;
    l->old = kept;
    l->repeat = new == 0 || kept / new < 1 ? 1 : kept / new < REPEATED ? (int)(kept / new) : REPEATED;
}

static int teach_all(struct taught *out, const struct teaching *t, struct error *e)
{
    struct lesson l = {.t = t};
    int rc = reservoir_list(t->reservoir, false, t->teach_since_ms, &l.row, &l.n);
    if (rc != FL_OK)
        return error_set(e, rc, "no memory for a list of requests");
    weigh_new(&l);
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
