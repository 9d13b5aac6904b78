/* teaching.c - rows to files, files to caches, what they say about audits to an order of thresholds
 *
 * All that is needed of the reservoir is copied to files before anything is taught: what is there by then is
 * all that the candidate depends on.
 */
#include "teaching.h"

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

/* What teaches one exit. */
struct exit_rows {
    struct matrix_file rows, scores; /* a file in work_dir; memory */
    int64_t n;
    int32_t *label; /* [n] */
    float *score;   /* [n][classes] */
    char path[4096];
};

/* What one exit's order is planned on. */
struct exit_audits {
    struct matrix_file rows; /* a file in work_dir */
    int64_t n;
    int32_t *which; /* [n]: of the lesson's audits; one that has left the reservoir is missing */
    char path[4096];
};

struct lesson {
    const struct teaching *t;
    struct reservoir_row *row; /* [n]: what teaches */
    int64_t n, old;            /* old: of before the change, the first of them */
    int repeat;                /* times that each of the others is shown */
    int exits, done;           /* that get a cache; that have one */
    struct exit_rows rows[PIPELINE_MAX_EXITS];
    struct reservoir_row *audit; /* [n_audits]: what plans */
    int64_t n_audits;
    struct exit_audits audits[PIPELINE_MAX_EXITS];
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

static int work_file(const struct teaching *t, int k, const char *what, char *path, size_t size,
                     struct error *e)
{
    if (snprintf(path, size, "%s/%s.%s", t->work_dir, t->exit[k].name, what) >= (int)size)
        return error_set(e, FL_CONFIG, "%.200s...: the folder's path is too long", t->work_dir);
    unlink(path);
    return FL_OK;
}

/* What teaches exit k, in a file that is mapped. */
static int copy_rows(struct lesson *l, int k, struct error *e)
{
    const struct teaching *t = l->t;
    struct exit_rows *r = &l->rows[k];
    int64_t have, built = built_rows(l, k), most = l->old + (l->n - l->old) * shown(l, k) + built + 1;
    struct matrix_writer *w;
    int rc = work_file(t, k, "rows", r->path, sizeof r->path, e), closed;
    if (rc != FL_OK)
        return rc;
    r->label = malloc(sizeof *r->label * (size_t)most);
    r->score = malloc(sizeof *r->score * (size_t)most * (size_t)t->classes);
    if (r->label == NULL || r->score == NULL)
        return error_set(e, FL_NOMEM, "no memory for labels and scores");
    rc = matrix_writer_open(&w, r->path, t->exit[k].dim, t->number, &have, e);
    if (rc != FL_OK)
        return rc;
    rc = add_kept(l, k, r, w, e);
    if (rc == FL_OK)
        rc = add_built(l, &t->exit[k].built, built, r, w, e);
    closed = matrix_writer_close(w, rc == FL_OK ? e : NULL);
    rc = rc == FL_OK ? closed : rc;
    r->scores = (struct matrix_file){.rows = r->n, .dim = t->classes, .data = r->score};
    return rc == FL_OK ? matrix_open(&r->rows, r->path, e) : rc;
}

/* What plans exit k, likewise. */
static int copy_audits(struct lesson *l, int k, struct error *e)
{
    const struct teaching *t = l->t;
    struct exit_audits *a = &l->audits[k];
    int64_t have;
    struct matrix_writer *w;
    float *x;
    int rc = work_file(t, k, "audits", a->path, sizeof a->path, e), closed;
    if (rc != FL_OK || (rc = matrix_writer_open(&w, a->path, t->exit[k].dim, t->number, &have, e)) != FL_OK)
        return rc;
    a->which = malloc(sizeof *a->which * (size_t)l->n_audits + 1);
    x = malloc(sizeof *x * (size_t)t->exit[k].dim);
    if (a->which == NULL || x == NULL)
        rc = error_set(e, FL_NOMEM, "no memory to plan on %lld audits", (long long)l->n_audits);
    for (int64_t i = 0; i < l->n_audits && rc == FL_OK; i++) {
        if (!reservoir_read(t->reservoir, &l->audit[i], k, x))
            continue;
        a->which[a->n++] = (int32_t)i;
        rc = matrix_writer_append(w, x, 1, e);
    }
    free(x);
    closed = matrix_writer_close(w, rc == FL_OK ? e : NULL);
    rc = rc == FL_OK ? closed : rc;
    return rc == FL_OK && a->n > 0 ? matrix_open(&a->rows, a->path, e) : rc;
}

static void release_lesson(struct lesson *l)
{
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++) {
        matrix_close(&l->rows[k].rows);
        matrix_close(&l->audits[k].rows);
        free(l->rows[k].label);
        free(l->rows[k].score);
        free(l->audits[k].which);
        if (l->rows[k].path[0] != 0)
            unlink(l->rows[k].path);
        if (l->audits[k].path[0] != 0)
            unlink(l->audits[k].path);
    }
    free(l->row);
    free(l->audit);
    free(l);
}

/* --- caches --- */

static int teach_exit(struct lesson *l, int k, struct cache **out, struct error *e)
{
    const struct teaching *t = l->t;
    const struct teaching_exit *x = &t->exit[k];
    const struct exit_rows *rows = &l->rows[k];
    struct cache_config config = *t->config;
    struct builder_input in = {.exit_name = x->name,
                               .kind = x->kind,
                               .classes = t->classes,
                               .train = &rows->rows,
                               .train_labels = rows->label,
                               .train_scores = &rows->scores,
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
    config.seed += t->number;
    memcpy(in.identity, t->identity, sizeof in.identity);
    return builder_build(out, &in, e);
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

/* What teaches, of all exits. */
static int copy_teaching(struct lesson *l, struct error *e)
{
    const struct teaching *t = l->t;
    int rc = reservoir_list(t->reservoir, false, t->teach_since_ms, &l->row, &l->n);
    if (rc != FL_OK)
        return error_set(e, rc, "no memory for a list of requests");
    weigh_new(l);
    if (l->n < FEWEST_TEACH)
        return error_set(e, FL_AGAIN, "%lld requests are too few to learn from", (long long)l->n);
    for (int k = 0; k < t->n_exits; k++)
        l->exits += wants_cache(&t->exit[k]);
    for (int k = 0; k < t->n_exits && rc == FL_OK; k++) {
        if (wants_cache(&t->exit[k]))
            rc = copy_rows(l, k, e);
    }
    return rc;
}

static int teach_all(struct taught *out, struct lesson *l, struct error *e)
{
    int rc = FL_OK;
    for (int k = 0; k < l->t->n_exits && rc == FL_OK; k++) {
        if (!wants_cache(&l->t->exit[k]))
            continue;
        rc = teach_exit(l, k, &out->cache[k], e);
        l->done++;
    }
    out->points = l->n;
    return rc;
}

/* --- the order --- */

/* What plans, of the exits that have or will have a cache. */
static int copy_planning(struct lesson *l, struct error *e)
{
    const struct teaching *t = l->t;
    int rc = reservoir_list(t->reservoir, true, t->since_ms, &l->audit, &l->n_audits);
    if (rc != FL_OK)
        return error_set(e, rc, "no memory for a list of requests");
    if (l->n_audits < FEWEST_PLAN)
        return error_set(e, FL_AGAIN, "%lld audits are too few to plan from", (long long)l->n_audits);
    for (int k = 0; k < t->n_exits && rc == FL_OK; k++) {
        if (wants_cache(&t->exit[k]) || t->exit[k].cache != NULL)
            rc = copy_audits(l, k, e);
    }
    return rc;
}

/* What a cache says about them. */
static int ask(struct evidence_exit *to, const struct exit_audits *a, struct cache *c, int64_t n,
               struct cache_scratch *s)
{
    struct cache_verdict v[BLOCK];
    int rc = FL_OK;
    for (int64_t i = 0; i < n; i++)
        to->label[i] = -1;
    for (int64_t at = 0; at < a->n && rc == FL_OK; at += BLOCK) {
        int m = a->n - at < BLOCK ? (int)(a->n - at) : BLOCK;
        rc = cache_lookup(c, s, a->rows.data + at * a->rows.dim, m, v);
        for (int i = 0; i < m && rc == FL_OK; i++) {
            to->label[a->which[at + i]] = v[i].label;
            to->confidence[a->which[at + i]] = v[i].confidence;
        }
    }
    return rc;
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

static int gather(struct evidence *ev, const struct lesson *l, struct cache *const *cache)
{
    const struct teaching *t = l->t;
    struct cache_scratch *s;
    int rc = cache_scratch_new(&s, BLOCK);
    if (rc != FL_OK)
        return rc;
    rc = evidence_new(ev, t->n_exits, l->n_audits, !t->terms.agreement);
    if (rc == FL_OK)
        fill_answers(ev, l->audit);
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
            rc = ask(to, &l->audits[k], cache[k], l->n_audits, s);
    }
    cache_scratch_free(s);
    return rc;
}

static int plan(struct taught *out, const struct lesson *l, struct error *e)
{
    const struct teaching *t = l->t;
    struct evidence ev = {0};
    int rc;
    if (tell(t, "plan", 1 - PLANNING) != 0)
        return error_set(e, FL_CANCELLED, "stopped before the order was planned");
    if ((rc = gather(&ev, l, out->cache)) != FL_OK)
        error_set(e, rc, "no memory to plan on %lld audits", (long long)l->n_audits);
    out->planned_on = l->n_audits;
    if (rc == FL_OK)
        rc = promise_order(&out->order, &ev, &t->terms, t->may_drop, e);
    evidence_release(&ev);
    return rc;
}

/* --- both --- */

static void keep_caches(struct taught *out, const struct teaching *t)
{
    for (int k = 0; k < t->n_exits; k++) {
        if (t->exit[k].cache == NULL)
            continue;
        cache_retain(t->exit[k].cache);
        out->cache[k] = t->exit[k].cache;
    }
}

static int make_candidate(struct taught *out, const struct teaching *t, bool teaches, struct error *e)
{
    struct lesson *l = calloc(1, sizeof *l);
    int rc;
    memset(out, 0, sizeof *out);
    if (l == NULL)
        return error_set(e, FL_NOMEM, "no memory to teach");
    l->t = t;
    rc = teaches ? copy_teaching(l, e) : FL_OK;
    if (rc == FL_OK)
        rc = copy_planning(l, e);
    if (rc == FL_OK && t->fixed != NULL)
        t->fixed(t->progress_arg);
    if (rc == FL_OK && !teaches)
        keep_caches(out, t);
    if (rc == FL_OK && teaches)
        rc = teach_all(out, l, e);
    if (rc == FL_OK)
        rc = plan(out, l, e);
    release_lesson(l);
    if (rc != FL_OK)
        taught_release(out);
    return rc;
}

int teaching_run(struct taught *out, const struct teaching *t, struct error *e)
{
    return make_candidate(out, t, true, e);
}

int teaching_plan(struct taught *out, const struct teaching *t, struct error *e)
{
    return make_candidate(out, t, false, e);
}

void taught_release(struct taught *t)
{
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++)
        cache_free(t->cache[k]);
    promise_order_release(&t->order);
    memset(t, 0, sizeof *t);
}
