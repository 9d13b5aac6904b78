/* promised.c - from caches and calibration data to thresholds that keep a promise */
#include "promised.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "plausibility.h"
#include "config/identity.h"
#include "numbers/shuffle.h"
#include "deploy/tool/machine.h"
#include "deploy/tool/report.h"
#include "deploy/tool/state.h"
#include "deploy/tool/table.h"

#define STREAM_EVIDENCE 4000 /* of the pipeline's seed */
#define BATCH           64

struct promise_terms promised_terms(const struct pipeline *p)
{
    return (struct promise_terms){!strcmp(p->cache.promise, "agreement"), p->cache.max_accuracy_loss / 100,
                                  p->cache.certainty};
}

int promised_possible(const struct pipeline *p, const struct dataset *data, int64_t distinct, struct error *e)
{
    struct promise_terms t = promised_terms(p);
    int64_t need = promise_points_needed(&t);

    if (!t.agreement && !dataset_has_labels(data))
        return error_set(
            e, FL_USAGE,
            "the calibration data have no labels, so accuracy cannot be promised: give labels, or "
            "set cache.promise: agreement");
    if (distinct < need)
        return error_set(
            e, FL_USAGE,
            "%lld%s calibration points cannot promise a loss of at most %g points with certainty "
            "%g%%: at least %lld are needed",
            (long long)distinct, distinct < dataset_count(data) ? " different" : "", 100 * t.budget,
            100 * t.certainty, (long long)need);
    return FL_OK;
}

/* --- evidence --- */

/* What the cache of placed exit i says about all points; `to` is in the order of `row`. */
static int ask_cache(struct evidence_exit *to, const struct promising *in, int i, const int32_t *row,
                     struct error *e)
{
    const struct matrix_file *m = &in->extracted->descriptor[i];
    struct cache_verdict *v = malloc(sizeof *v * (size_t)m->rows);
    struct cache_scratch *s = NULL;
    int rc = v && !cache_scratch_new(&s, BATCH) ? FL_OK : FL_NOMEM;

    for (int64_t at = 0; at < in->extracted->rows && !rc; at += BATCH) {
        int64_t left = in->extracted->rows - at;
        rc = cache_lookup(in->cache[i], s, m->data + at * m->dim, left < BATCH ? (int)left : BATCH, v + at);
    }
    for (int64_t k = 0; k < in->extracted->rows && !rc; k++) {
        to->label[k] = v[row[k]].label;
        to->confidence[k] = v[row[k]].confidence;
    }
    cache_scratch_free(s);
    free(v);
    return rc ? error_set(e, (enum fl_code)rc, "no memory for look-ups") : FL_OK;
}

static int ask_caches(struct evidence *ev, const struct promising *in, const int32_t *row, struct error *e)
{
    int k = 0, rc = FL_OK;

    for (int i = 0; i < in->place->n_exits && !rc; i++) {
        const struct placed_exit *exit = &in->place->exit[i];
        struct evidence_exit *to = &ev->exit[k];
        if (!in->cache[i])
            continue;
        snprintf(to->name, sizeof to->name, "%s", exit->name);
        snprintf(to->kind, sizeof to->kind, "%s", cache_info(in->cache[i]).kind);
        to->placed = true;
        to->by_half = 2 * exit->cut.depth <= in->place->depth;
        rc = ask_cache(to, in, i, row, e);
        k++;
    }
    return rc;
}

static int gather(struct evidence *ev, const struct promising *in, struct error *e)
{
    int64_t n = in->extracted->rows;
    int32_t *row = malloc(sizeof *row * (size_t)n);
    struct shuffle s;
    struct identity identity;
    int exits = 0, rc = row ? FL_OK : FL_NOMEM;

    for (int i = 0; i < in->place->n_exits; i++)
        exits += in->cache[i] != NULL;
    if (!rc)
        rc = evidence_new(ev, exits, n, dataset_has_labels(in->data));
    if (rc) {
        free(row);
        return error_set(e, (enum fl_code)rc, "no memory for the evidence of %lld points", (long long)n);
    }
    if (in->extracted->float32 && evidence_add_last(ev)) {
        free(row);
        return error_set(e, FL_NOMEM, "no memory for the evidence of %lld points", (long long)n);
    }
    identity_of(&identity, in->graph->digest, in->pipeline);
    memcpy(ev->identity, identity.digest, sizeof ev->identity);
    for (int64_t i = 0; i < n; i++)
        row[i] = (int32_t)i;
    shuffle_seed(&s, in->pipeline->cache.seed, STREAM_EVIDENCE);
    shuffle_order(&s, row, n);
    for (int64_t i = 0; i < n; i++) {
        ev->full[i] = (in->extracted->float32 ? in->extracted->float32 : in->extracted->label)[row[i]];
        if (ev->last)
            ev->last[i] = in->extracted->label[row[i]];
        if (ev->truth)
            ev->truth[i] = dataset_label(in->data, row[i]);
    }
    rc = ask_caches(ev, in, row, e);
    free(row);
    return rc;
}

/* The file that keeps measured times. They decide the order of thresholds, so measuring them again in each
 * build would give other thresholds each time. Its name is a digest of what they depend on: verdicts,
 * kernels, processor. `ev` has no times yet. */
static int times_path(char path[STATE_PATH_BYTES], const struct evidence *ev, const struct pipeline *p,
                      struct error *e)
{
    json_t *machine = machine_json();
    const char *cpu = json_string_value(json_object_get(machine, "cpu"));
    uint64_t key;
    int rc = evidence_digest(ev, &key) ? error_set(e, FL_NOMEM, "no memory") : FL_OK;

    key = XXH3_64bits_withSeed(p->kernels, strlen(p->kernels), key);
    key = XXH3_64bits_withSeed(p->computes, strlen(p->computes), key);
    if (cpu)
        key = XXH3_64bits_withSeed(cpu, strlen(cpu), key);
    json_decref(machine);
    if (rc || (rc = state_path(path, p, e, "build/times")) || (rc = state_make(path, e)))
        return rc;
    return state_path(path, p, e, "build/times/%016llx.json", (unsigned long long)key);
}

static int find_times(struct evidence *ev, const struct promising *in, bool anew, struct error *e)
{
    struct exit_times times;
    char path[STATE_PATH_BYTES] = "";
    int n = in->place->n_exits, rc = anew ? FL_OK : times_path(path, ev, in->pipeline, e);

    if (!rc && (anew || exit_times_load(&times, path, n))) {
        rc =
            exit_times_measure(&times, in->pipeline, in->graph, in->place, in->cache, in->extracted, NULL, e);
        if (!rc && !anew)
            rc = exit_times_save(&times, path, n, e);
    }
    for (int i = 0, k = 0; !rc && i < n; i++) {
        if (!in->cache[i])
            continue;
        ev->exit[k].before = times.before[i];
        ev->exit[k++].lookup = times.lookup[i];
    }
    ev->network_ms = rc ? 0 : times.network_ms;
    return rc;
}

int promised_gather(struct evidence *out, const struct promising *in, bool anew, struct error *e)
{
    int rc;

    memset(out, 0, sizeof *out);
    rc = gather(out, in, e);
    return rc ? rc : find_times(out, in, anew, e);
}

/* --- thresholds --- */

static struct cache_levels levels_of(const struct promised *p, int k)
{
    struct cache_levels l = {.n = p->choice.n_levels};

    for (int i = 0; i < l.n; i++)
        l.of[i] =
            (struct cache_level){promise_level_ppm(p->terms.budget, i), p->choice.level[i].threshold[k]};
    return l;
}

static int set_thresholds(const struct promised *p, const struct promising *in, struct error *e)
{
    for (int i = 0, k = 0; i < in->place->n_exits; i++) {
        struct cache *changed = NULL;
        struct cache_levels levels = levels_of(p, k);
        if (!in->cache[i])
            continue;
        if (p->choice.placed[k] &&
            cache_with_threshold(&changed, in->cache[i], p->choice.threshold[k], &levels) != FL_OK)
            return error_set(e, FL_NOMEM, "no memory for the cache of %s", in->place->exit[i].name);
        cache_free(in->cache[i]);
        in->cache[i] = changed;
        k++;
    }
    return FL_OK;
}

int promised_make(struct promised *out, const struct promising *in, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc = state_path(path, in->pipeline, e, "build/" PROMISED_EVIDENCE);

    out->terms = promised_terms(in->pipeline);
    snprintf(out->computes, sizeof out->computes, "%s", in->pipeline->computes);
    if (rc || (rc = promise_choose(&out->choice, &out->evidence, &out->terms, in->pipeline->exits_auto, e)))
        return rc;
    for (int k = 0; k < out->evidence.n_exits; k++) {
        out->evidence.exit[k].placed = out->choice.placed[k];
        if (!out->evidence.exit[k].ruled_out)
            continue;
        out->choice.forecast.saves[k] = out->first.saves[k];
        out->choice.forecast.marginal[k] = out->first.marginal[k];
    }
    rc = evidence_save(&out->evidence, path, e);
    return rc ? rc : set_thresholds(out, in, e);
}

void promised_release(struct promised *p)
{
    evidence_release(&p->evidence);
}

/* --- report --- */

static struct plausibility network(const struct evidence *ev)
{
    struct plausibility a = {0};

    for (int64_t i = 0; ev->truth && i < ev->points; i++)
        plausibility_add(&a, ev->truth[i], ev->full[i]);
    return a;
}

static void print_network(const struct evidence *ev)
{
    struct plausibility a = network(ev);

    if (!a.n)
        return;
    printf("network    %.2f%% right on all %lld calibration points\n", 100 * plausibility_right(&a),
           (long long)a.n);
    if (plausibility_is_low(&a))
        printf("warning    that is hardly better than the commonest label alone, %.2f%%: is a picture "
               "normalised as in "
               "training, are\n           these the model's labels, in its order? Where there is hardly any "
               "accuracy to lose, a "
               "promise about it\n           says hardly anything.\n",
               100 * plausibility_commonest(&a));
}

#define NEXT_TO_NOTHING 0.0005 /* of the certifying points: printed as 0.0% */

/* Why exit k is there or not. */
static const char *verdict_on(const struct promised *p, int k)
{
    const struct promise_result *r = &p->choice.certified;
    bool costs = p->choice.forecast.saves[k] <= 0, answers = p->choice.threshold[k] < INFINITY,
         idle = (double)r->exit[k].answered < NEXT_TO_NOTHING * (double)r->points;

    if (!p->choice.placed[k])
        return costs ? "left out: look-ups cost more than it saves"
                     : "left out: the promise allows it no answer";
    if (!answers)
        return "the pipeline file lists it; the promise allows it no answer";
    if (idle)
        return costs ? "the pipeline file lists it; it answers next to nothing"
                     : "placed, but it answers next to nothing: do without it";
    return costs ? "the pipeline file lists it; look-ups cost more than it saves" : "placed";
}

static void table_exit(struct table *t, const struct promised *p, int k)
{
    const struct evidence_exit *x = &p->evidence.exit[k];
    const struct promise_result *r = &p->choice.certified;
    double answered = (double)r->exit[k].answered;

    table_cells(t, "%s|%.1f%%|%.2f%%|%.1f%%|%+.1f%%|%.4g|%.1f%%", x->name, 100 * x->before, 100 * x->lookup,
                100 * p->choice.forecast.saves[k], 100 * p->choice.forecast.marginal[k],
                p->choice.threshold[k], 100 * answered / (double)r->points);
    table_number(t, "%.2f%%", p->evidence.truth ? 100 * (double)r->exit[k].right / answered : NAN);
    table_number(t, "%.2f%%", 100 * (double)r->exit[k].agreed / answered);
    table_cells(t, "%s", verdict_on(p, k));
}

/* What the network loses against float32 where no exit answers; agreement with it. */
static double precision_loss(const struct promised *p, double *agreement)
{
    const struct evidence *ev = &p->evidence;
    const bool none[PIPELINE_MAX_EXITS] = {false};
    const float never[PIPELINE_MAX_EXITS] = {0};
    struct promise_result r;
    int64_t same = 0;

    promise_judge(&r, ev, 0, ev->points, never, none, p->terms.agreement);
    for (int64_t i = 0; ev->last && i < ev->points; i++)
        same += ev->last[i] == ev->full[i];
    *agreement = ev->last ? (double)same / (double)ev->points : 1;
    return r.loss;
}

static void print_precision(const struct promised *p)
{
    double agreement, loss = precision_loss(p, &agreement);

    if (p->evidence.last)
        printf("precision  %s alone: %.2f points, the float32 network's answer for %.2f%%\n", p->computes,
               100 * loss, 100 * agreement);
}

/* What requests get that ask for less loss. */
static void print_levels(const struct promised *p)
{
    const struct promise_choice *c = &p->choice;

    for (int i = 1; i < c->n_levels; i++)
        printf("%s %.3g points at most: %.1f%% early, %.2f points lost", i > 1 ? ";" : "less loss ",
               100 * promise_level(i) * p->terms.budget, 100 * c->level[i].certified.share,
               100 * c->level[i].certified.loss);
    if (c->n_levels > 1)
        printf(" (for requests that ask for it)\n");
}

static json_t *levels_json(const struct promised *p)
{
    json_t *list = json_array();

    for (int i = 0; i < p->choice.n_levels; i++) {
        const struct promise_level *l = &p->choice.level[i];
        json_array_append_new(
            list, json_pack("{s:f, s:o, s:o, s:o}", "max_loss", promise_level(i) * p->terms.budget, "loss",
                            report_rounded(l->certified.loss, 6), "loss_upper", report_rounded(l->upper, 6),
                            "early_share", report_rounded(l->certified.share, 6)));
    }
    return list;
}

static void print_loss(const struct promise_choice *c)
{
    printf("measured   %.2f points ", 100 * c->certified.loss);
    if (isnan(c->upper))
        printf("(point estimate, no bound)");
    else
        printf("(upper bound %.2f)", 100 * c->upper);
    printf(" on %lld calibration points, in an order planned on %lld others\n",
           (long long)c->certified.points, (long long)c->planned_on);
}

int promised_print(const struct promised *p, struct error *e)
{
    const struct promise_choice *c = &p->choice;
    struct table *t;

    printf("\npromise    early answers%s cost at most %.2f points of %s%s, certainty %g%%\n",
           p->evidence.last ? " and the lower precision together" : "", 100 * p->terms.budget,
           p->terms.agreement ? "agreement" : "accuracy",
           p->evidence.last ? " against the float32 network" : "", 100 * p->terms.certainty);
    print_network(&p->evidence);
    print_precision(p);
    print_loss(c);
    printf(
        "answered   %.1f%% early, %.1f%% by half of the depth; mean time %.1f%% of the network's, look-ups "
        "included\n",
        100 * c->certified.share, 100 * c->certified.by_half, 100 * c->certified.time);
    print_levels(p);
    printf("exits      times are shares of the network's time. 'saves' and 'more early' compare the plan "
           "with and "
           "without the exit: mean time,\n           and answers by any exit (fewer, where what may be lost "
           "is spent "
           "on sooner answers). 'answers' and on are certified\n\n");
    t = table_new("exit|time before|look-up|saves|more early|threshold|answers|accuracy|agreement|verdict",
                  "lrrrrrrrrl");
    for (int k = 0; k < p->evidence.n_exits; k++)
        table_exit(t, p, k);
    return table_end(t, e);
}

json_t *promised_json(const struct promised *p)
{
    const struct promise_choice *c = &p->choice;
    const struct promise_result *r = &c->certified;
    struct plausibility right = network(&p->evidence);
    double agreement, alone = precision_loss(p, &agreement);
    json_t *exits = json_array();

    for (int k = 0; k < p->evidence.n_exits; k++) {
        const struct evidence_exit *x = &p->evidence.exit[k];
        double answered = (double)r->exit[k].answered;
        json_array_append_new(
            exits,
            json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "name", x->name, "placed",
                      c->placed[k], "time_before", report_rounded(x->before, 6), "lookup_time",
                      report_rounded(x->lookup, 6), "saves", report_rounded(c->forecast.saves[k], 6),
                      "marginal_share", report_rounded(c->forecast.marginal[k], 6), "threshold",
                      report_number(c->threshold[k]), "share",
                      report_rounded(answered / (double)r->points, 6), "accuracy",
                      report_rounded(p->evidence.truth ? (double)r->exit[k].right / answered : NAN, 6),
                      "agreement", report_rounded((double)r->exit[k].agreed / answered, 6), "note",
                      verdict_on(p, k)));
    }
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:f, s:f, s:o, s:o, s:b, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "of",
        p->terms.agreement ? "agreement" : "accuracy", "precision", p->computes, "precision_loss",
        report_rounded(alone, 6), "precision_agreement", report_rounded(agreement, 6), "max_loss",
        p->terms.budget, "certainty", p->terms.certainty, "full_accuracy",
        report_rounded(plausibility_right(&right), 6), "commonest_label_share",
        report_rounded(plausibility_commonest(&right), 6), "labels_doubtful", plausibility_is_low(&right),
        "planning_points", (json_int_t)c->planned_on, "certifying_points", (json_int_t)r->points, "loss",
        report_rounded(r->loss, 6), "loss_upper", report_rounded(c->upper, 6), "early_share",
        report_rounded(r->share, 6), "by_half_share", report_rounded(r->by_half, 6), "mean_time_share",
        report_rounded(r->time, 6), "levels", levels_json(p), "exits", exits);
}
