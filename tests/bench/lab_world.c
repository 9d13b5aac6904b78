/* lab_world.c - learning without processes */
#include "lab_world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cache_service/promise/drift_signal.h"
#include "cache_service/learn/syllabus.h"
#include "cache_service/store/update.h"
#include "index/cache.h"
#include "index/half.h"

#define AUDIT_LAG   10  /* requests until an audit's layers have run */
#define COMMIT_LAG  0.5 /* seconds */
#define MOST_CACHES 64  /* candidates whose caches are held */
#define MS          1000.0

#define SIGNAL_WINDOW 100

struct held {
    uint64_t number;
    struct cache *cache[PIPELINE_MAX_EXITS];
};

struct lab {
    const struct lab_setup *s;
    struct reservoir *reservoir;
    struct learner_brain *brain;
    struct cache_scratch *scratch;
    struct drift_signal *drift;
    bool drifting;
    int64_t now; /* request */
    int64_t taught_rows, planning_rows;
    /* audit in hand */
    const float *row[PIPELINE_MAX_EXITS];
    struct held held[MOST_CACHES];
    int n_held;
    /* what serves, and what will */
    struct learner_decision serving, next;
    int64_t next_at; /* request from which `next` serves; INT64_MAX: none */
    /* teaching: done at once, delivered later */
    struct taught taught;
    int taught_rc;
    char taught_why[200];
    uint64_t teaching;
    int64_t fixed_at, taught_at;
    bool *audited;
    struct lab_result *out;
    struct lab_window *w;
};

static uint64_t id_of(int64_t i)
{
    uint64_t x = (uint64_t)i + 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Uniform in 0..1, of request and purpose. */
static double chance(int64_t i, int purpose)
{
    return (double)(id_of(i * 7 + purpose + (int64_t)1e12) >> 11) / 9007199254740992.0;
}

static uint64_t now_ns(const struct lab *l)
{
    return (uint64_t)((double)l->now / l->s->rate * 1e9);
}

static uint64_t moment_ms(const struct lab *l, int64_t i)
{
    return (uint64_t)((double)i / l->s->rate * MS) + 1;
}

static struct held *find_held(struct lab *l, uint64_t number)
{
    for (int i = 0; i < l->n_held; i++) {
        if (l->held[i].number == number)
            return &l->held[i];
    }
    return NULL;
}

static void forget(struct lab *l, uint64_t number)
{
    struct held *h = find_held(l, number);
    if (h == NULL)
        return;
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++)
        cache_free(h->cache[k]);
    *h = l->held[--l->n_held];
}

static void hold(struct lab *l, uint64_t number, struct cache *const *cache)
{
    struct held *h = &l->held[l->n_held++];
    if (l->n_held == MOST_CACHES)
        abort();
    h->number = number;
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++) {
        h->cache[k] = cache[k];
        if (cache[k] != NULL)
            cache_retain(cache[k]);
    }
}

/* --- the brain's questions --- */

static int look(void *arg, uint64_t number, int32_t *label, float *confidence)
{
    struct lab *l = arg;
    struct held *h = find_held(l, number);
    if (h == NULL)
        return FL_NOT_FOUND;
    for (int k = 0; k < l->s->manifest->n_exits; k++) {
        struct cache_verdict v = {.label = -1};
        if (h->cache[k] != NULL)
            cache_lookup(h->cache[k], l->scratch, l->row[k], 1, &v);
        label[k] = v.label;
        confidence[k] = v.confidence;
    }
    return FL_OK;
}

/* --- records --- */

static const float *row_at(const struct lab *l, int64_t i, int k)
{
    const struct matrix_file *m = &l->s->traffic->descriptor[k];
    return m->data + i * m->dim;
}

static int add_record(struct lab *l, int64_t i, bool audit, struct reservoir_row *row,
                      enum reservoir_what *what, struct error *e)
{
    const struct manifest *m = l->s->manifest;
    const float *scores = l->s->traffic->scores.data;
    uint32_t dim[PIPELINE_MAX_EXITS + 1];
    int of[PIPELINE_MAX_EXITS], n = 0, rc;
    struct update *u;
    char id[48];
    static uint64_t serial;
    for (int k = 0; k < m->n_exits; k++) {
        if (m->exit[k].dim == 0)
            continue;
        of[n] = k;
        dim[n++] = (uint32_t)m->exit[k].dim;
    }
    dim[n] = (uint32_t)l->s->traffic->classes;
    u = update_new(n + (scores != NULL), dim);
    if (u == NULL)
        return error_set(e, FL_NOMEM, "no memory for a record");
    memcpy(u->identity, m->identity.digest, sizeof u->identity);
    u->request = id_of(i);
    u->moment_ms = moment_ms(l, i);
    u->label = l->s->traffic->label[i];
    u->flags = audit ? UPDATE_AUDIT : 0;
    if (l->s->truth != NULL && chance(i, 3) < l->s->feedback)
        u->truth = l->s->truth[i];
    for (int j = 0; j < n; j++)
        update_fill(u, j, m->exit[of[j]].origin, row_at(l, i, of[j]));
    if (scores != NULL)
        update_fill(u, n, UPDATE_SCORES, scores + i * l->s->traffic->classes);
    snprintf(id, sizeof id, "%llu-%llu", (unsigned long long)moment_ms(l, l->now),
             (unsigned long long)++serial);
    rc = reservoir_add(l->reservoir, u, id, what, row, e);
    update_free(u);
    return rc;
}

/* --- decisions --- */

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void teach(struct lab *l, const struct learner_decision *d)
{
    const struct lab_setup *s = l->s;
    struct teaching t;
    struct held *of = find_held(l, d->of);
    struct error e = {0};
    double from = cpu_s(), took;
    if (l->teaching != 0 && l->taught_rc == FL_OK)
        taught_release(&l->taught);
    syllabus_teaching(&t, s->manifest, s->pipeline, d, of != NULL ? of->cache : NULL, s->book);
    t.reservoir = l->reservoir;
    t.work_dir = s->work;
    t.terms = s->terms;
    l->taught_rc =
        d->what == LEARNER_TUNE ? teaching_plan(&l->taught, &t, &e) : teaching_run(&l->taught, &t, &e);
    snprintf(l->taught_why, sizeof l->taught_why, "%.190s", e.text);
    took = cpu_s() - from;
    l->out->teaching_s += took;
    l->teaching = d->number;
    l->fixed_at = l->now;
    l->taught_at = l->now + (s->speed > 0 ? (int64_t)(took / s->speed * s->rate) : 0);
    if (s->lines != NULL)
        fprintf(s->lines, "# %lld teaching %llu: %.1f s CPU, %lld rows, planned on %lld\n", (long long)l->now,
                (unsigned long long)d->number, took, (long long)l->taught.points,
                (long long)l->taught.planned_on);
}

static struct learner_audit audit_of(const struct lab *l, int64_t i)
{
    bool told = l->s->truth != NULL && chance(i, 3) < l->s->feedback;
    return (struct learner_audit){id_of(i), l->s->traffic->label[i], told ? l->s->truth[i] : -1,
                                  moment_ms(l, i)};
}

static void take_in_hand(struct lab *l, int64_t i)
{
    for (int k = 0; k < l->s->manifest->n_exits; k++)
        l->row[k] = l->s->manifest->exit[k].dim > 0 ? row_at(l, i, k) : NULL;
}

/* Audits that came while the new candidate was taught judge it. */
static void catch_up(struct lab *l)
{
    int32_t label[PIPELINE_MAX_EXITS];
    float confidence[PIPELINE_MAX_EXITS];
    for (int64_t i = l->fixed_at - AUDIT_LAG + 1; i <= l->now - AUDIT_LAG; i++) {
        struct learner_audit a = audit_of(l, i);
        if (i < l->s->skip || !l->audited[i])
            continue;
        take_in_hand(l, i);
        look(l, l->teaching, label, confidence);
        learner_brain_recall(l->brain, l->teaching, &a, label, confidence);
    }
}

static void deliver(struct lab *l)
{
    if (l->teaching == 0 || l->now < l->taught_at)
        return;
    if (l->taught_rc != FL_OK)
        learner_brain_not_taught(l->brain, l->teaching, l->taught_why, now_ns(l));
    else if (hold(l, l->teaching, l->taught.cache),
             !learner_brain_taught(l->brain, l->teaching, &l->taught.order, l->taught.points, now_ns(l)))
        forget(l, l->teaching);
    else
        catch_up(l);
    l->teaching = 0;
    if (l->taught_rc == FL_OK)
        taught_release(&l->taught);
}

static const char *const state_name[] = {"cold", "serving", "tightened", "off"};

static void obey(struct lab *l)
{
    struct learner_decision d;
    while (learner_brain_next(l->brain, &d)) {
        if (d.why[0] != 0 && l->s->lines != NULL)
            fprintf(l->s->lines, "# %lld %s: %s\n", (long long)l->now, state_name[d.state], d.why);
        if (d.what == LEARNER_TEACH || d.what == LEARNER_TUNE) {
            teach(l, &d);
            l->out->candidates++;
        } else if (d.what == LEARNER_FORGET && d.number != l->serving.number && d.number != l->next.number) {
            forget(l, d.number);
        } else if (d.what == LEARNER_SERVE) {
            l->next = d;
            l->next_at = l->now + (int64_t)(COMMIT_LAG * l->s->rate);
            l->out->commits += d.state == LEARNER_SERVING;
            l->out->alarms += d.state != LEARNER_SERVING;
        }
    }
}

/* --- requests --- */

static int answer(struct lab *l, int64_t i, int32_t *label, float *confidence)
{
    struct held *h = find_held(l, l->serving.number);
    for (int k = 0; h != NULL && k < l->s->manifest->n_exits; k++) {
        struct cache_verdict v;
        if (!l->serving.placed[k] || h->cache[k] == NULL)
            continue;
        cache_lookup(h->cache[k], l->scratch, row_at(l, i, k), 1, &v);
        confidence[k] = v.confidence;
        if (v.label >= 0 && v.confidence > l->serving.threshold[k]) {
            *label = v.label;
            return k;
        }
    }
    return -1;
}

/* What serves now looks otherwise by itself. */
static int new_signal(struct lab *l, struct error *e)
{
    drift_signal_free(l->drift);
    l->drift = NULL;
    if (drift_signal_new(&l->drift, l->s->manifest->n_exits, SIGNAL_WINDOW) != FL_OK)
        return error_set(e, FL_NOMEM, "no memory for signals");
    return FL_OK;
}

static int serve_one(struct lab *l, int64_t i, struct error *e)
{
    int32_t full = l->s->traffic->label[i], truth = l->s->truth != NULL ? l->s->truth[i] : -1, label = full;
    float confidence[PIPELINE_MAX_EXITS];
    int n = l->s->manifest->n_exits, k, d;
    struct learner_view v = learner_brain_view(l->brain);
    for (int j = 0; j < n; j++)
        confidence[j] = NAN;
    k = answer(l, i, &label, confidence);
    d = certificate_loss(l->s->terms.agreement, label, full, l->s->terms.agreement ? -1 : truth);
    drift_signal_see(l->drift, k >= 0 ? k : n, confidence);
    if (drift_signal_up(l->drift) && !l->drifting)
        learner_brain_signal(l->brain, "shares of exits or confidences are not what they were", now_ns(l));
    l->drifting = drift_signal_up(l->drift);
    l->w->n++;
    l->w->early += k >= 0;
    l->w->by_half += k >= 0 && l->s->manifest->exit[k].by_half;
    l->w->lost += d > 0;
    l->w->won += d < 0;
    l->w->differ += label != full;
    l->audited[i] = chance(i, 1) < v.audit;
    if (!l->audited[i] && k < 0 && chance(i, 2) < (v.audit > l->s->audit ? 1 : l->s->sample)) {
        struct reservoir_row row;
        enum reservoir_what what;
        l->taught_rows++;
        return add_record(l, i, false, &row, &what, e);
    }
    return FL_OK;
}

static int audit_one(struct lab *l, int64_t i, struct error *e)
{
    struct learner_audit a;
    struct reservoir_row row;
    enum reservoir_what what;
    int rc;
    if (i < 0 || !l->audited[i])
        return FL_OK;
    a = audit_of(l, i);
    rc = add_record(l, i, true, &row, &what, e);
    if (rc != FL_OK)
        return rc;
    if (what != RESERVOIR_WHOLE)
        return error_set(e, FL_INTERNAL, "an audit was not taken: %d", (int)what);
    take_in_hand(l, i);
    learner_brain_audit(l->brain, &a, now_ns(l));
    *(row.certifies ? &l->planning_rows : &l->taught_rows) += 1;
    learner_brain_grown(l->brain, l->taught_rows, l->planning_rows, now_ns(l));
    l->w->audits++;
    return FL_OK;
}

/* --- windows --- */

static double loss_of(const struct lab_window *w)
{
    return w->n > 0 ? (double)(w->lost - w->won) / (double)w->n : 0;
}

static void end_window(struct lab *l)
{
    struct learner_view v = learner_brain_view(l->brain);
    struct lab_window *w = l->w, *all = &l->out->all;
    w->state = v.state;
    w->audit = v.audit;
    w->audited_loss = v.audits > 0 ? (double)(v.lost - v.won) / (double)v.audits : 0;
    w->upper = v.loss_upper;
    all->n += w->n;
    all->early += w->early;
    all->by_half += w->by_half;
    all->lost += w->lost;
    all->won += w->won;
    all->differ += w->differ;
    all->audits += w->audits;
    if (loss_of(w) > l->out->worst)
        l->out->worst = loss_of(w);
    if (l->s->lines != NULL)
        fprintf(l->s->lines,
                "%8lld %-9s early %6.2f%% half %6.2f%% lost %6.3f differ %6.3f | audits %5lld at %.3f "
                "loss %6.3f upper %6.3f alarm %.2f\n",
                (long long)(w->from + w->n), state_name[w->state], 100.0 * (double)w->early / (double)w->n,
                100.0 * (double)w->by_half / (double)w->n, 100 * loss_of(w),
                100.0 * (double)w->differ / (double)w->n, (long long)w->audits, w->audit,
                100 * w->audited_loss, 100 * w->upper, v.alarm);
    l->w++;
    l->w->from = w->from + w->n;
    l->out->windows++;
}

/* --- all of it --- */

static int open_lab(struct lab *l, struct error *e)
{
    const struct lab_setup *s = l->s;
    struct reservoir_setup r = {.n_exits = s->manifest->n_exits,
                                .classes = s->traffic->classes,
                                .scores = true,
                                .most_bytes = (size_t)(s->pipeline->updates.reservoir_mb * 1e6)};
    struct learner_setup b = {.n_exits = s->manifest->n_exits,
                              .terms = s->terms,
                              .audit = s->audit,
                              .audit_most = s->audit_most,
                              .interval_ns = 1000000000,
                              .serves = s->built != NULL,
                              .differs = NAN};
    char path[4096];
    int rc;
    snprintf(path, sizeof path, "%s/reservoir", s->work);
    unlink(path);
    r.path = path;
    memcpy(r.identity, s->manifest->identity.digest, sizeof r.identity);
    for (int k = 0; k < s->manifest->n_exits; k++) {
        const struct manifest_exit *x = &s->manifest->exit[k];
        r.exit[k].origin = x->origin;
        r.exit[k].dim = (uint32_t)x->dim;
        snprintf(b.exit[k].name, sizeof b.exit[k].name, "%s", x->name);
        b.exit[k].before = x->before;
        b.exit[k].lookup = x->lookup;
        b.placed[k] = s->built != NULL && s->built[k] != NULL;
        b.threshold[k] = b.placed[k] ? cache_info(s->built[k]).threshold : INFINITY;
    }
    if ((rc = reservoir_open(&l->reservoir, &r, e)) != FL_OK)
        return rc;
    if (s->built != NULL)
        hold(l, 0, s->built);
    memcpy(l->serving.placed, b.placed, sizeof b.placed);
    memcpy(l->serving.threshold, b.threshold, sizeof b.threshold);
    rc = cache_scratch_new(&l->scratch, 64);
    if (rc == FL_OK)
        rc = learner_brain_new(&l->brain, &b, look, l, 0);
    l->audited = calloc((size_t)s->traffic->rows + 1, sizeof *l->audited);
    l->w = l->out->window = calloc((size_t)(s->traffic->rows / s->window) + 2, sizeof *l->w);
    return rc == FL_OK && l->audited != NULL && l->w != NULL ? FL_OK : error_set(e, FL_NOMEM, "no memory");
}

static void close_lab(struct lab *l)
{
    while (l->n_held > 0)
        forget(l, l->held[0].number);
    if (l->teaching != 0 && l->taught_rc == FL_OK)
        taught_release(&l->taught);
    learner_brain_free(l->brain);
    drift_signal_free(l->drift);
    reservoir_close(l->reservoir);
    cache_scratch_free(l->scratch);
    free(l->audited);
}

int lab_play(struct lab_result *out, const struct lab_setup *s, struct error *e)
{
    struct lab *l = calloc(1, sizeof *l);
    int rc;
    memset(out, 0, sizeof *out);
    if (l == NULL)
        return error_set(e, FL_NOMEM, "no memory");
    l->s = s;
    l->out = out;
    l->next_at = INT64_MAX;
    rc = open_lab(l, e);
    if (rc == FL_OK)
        rc = new_signal(l, e);
    l->now = l->w != NULL ? l->w->from = s->skip : 0;
    for (; l->now < s->traffic->rows && rc == FL_OK; l->now++) {
        if (l->now >= l->next_at) {
            l->serving = l->next;
            if ((rc = new_signal(l, e)) != FL_OK)
                break;
            l->next_at = INT64_MAX;
        }
        rc = serve_one(l, l->now, e);
        if (rc == FL_OK)
            rc = audit_one(l, l->now - AUDIT_LAG, e);
        deliver(l);
        learner_brain_tick(l->brain, now_ns(l));
        obey(l);
        if (rc == FL_OK && l->w->n == s->window)
            end_window(l);
    }
    if (rc == FL_OK && l->w->n > 0)
        end_window(l);
    close_lab(l);
    free(l);
    return rc;
}
