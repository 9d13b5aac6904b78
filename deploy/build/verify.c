/* verify.c - `freezeline verify-promise`: is the promise of a build kept when it is made again and again? */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/arguments.h"
#include "numbers/binomial.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/progress.h"
#include "promise_record.h"
#include "promised.h"
#include "deploy/tool/report.h"
#include "deploy/tool/state.h"

#define LEAST_CHANCE 0.01 /* of as many broken resamples: with less the promise is not kept */

static const struct usage usage = {
    .command = "verify-promise",
    .summary = "Chooses thresholds again from resampled calibration data and counts how often the promise is "
               "broken.",
    .notes = "Needs a build with cache.threshold: risk; works from the verdicts that it kept, without\n"
             "model and data. Each resample draws as many points as there are, with repetition; its\n"
             "thresholds are judged on all of them. The promise is the one that was built, whatever the\n"
             "file says by now; another can be tried with --set.\n"
             "Exit status 1: broken so often that chance is no excuse. If it breaks in 1 - certainty of\n"
             "all resamples, as many as here happen in less than 1 of 100 runs (binomial test). 200\n"
             "resamples tell 12% from the 5% of a certainty of 95% nine times in ten, 10 hardly ever.\n\n"
             "example:\n"
             "  freezeline verify-promise -c P.yaml --resamples 200 --set cache.max_accuracy_loss=0.5\n",
};

struct verify {
    struct pipeline_arguments where;
    int resamples;
    bool json;
    struct pipeline *pipeline;
    struct evidence evidence;
    struct promise_record record;
    struct promise_terms terms;
    struct promise_check result[PROMISE_LEVELS];
    struct progress progress;
};

static int on_progress(void *arg, int done)
{
    struct verify *v = arg;
    progress_update(&v->progress, "resample", done, v->resamples, NAN);
    return interrupt_seen();
}

/* The evidence of the build that is in STATE/caches. */
static int load(struct verify *v, struct error *e)
{
    struct manifest *m = malloc(sizeof *m);
    char path[STATE_PATH_BYTES], build[MANIFEST_BUILD_BYTES];
    uint64_t digest;
    int rc = m ? FL_OK : error_set(e, FL_NOMEM, "no memory");

    if (rc || (rc = state_path(path, v->pipeline, e, "caches/manifest.json")))
        goto done;
    if ((rc = manifest_load(m, path, e)) == FL_NOT_FOUND)
        error_set(e, FL_NOT_FOUND, "%s is not there: run freezeline build first", path);
    if (!rc && !m->promised)
        rc = error_set(e, FL_NOT_FOUND,
                       "the caches in %s promise nothing: build with cache.threshold: risk first",
                       v->pipeline->state);
    if (rc || (rc = state_path(path, v->pipeline, e, "caches/" MANIFEST_EVIDENCE,
                               manifest_build_text(m->build, build))))
        goto done;
    if ((rc = evidence_load(&v->evidence, path, m->identity.digest, e)) == FL_NOT_FOUND)
        error_set(e, FL_NOT_FOUND, "%s is not there: build with cache.threshold: risk first", path);
    if (!rc && (rc = evidence_digest(&v->evidence, &digest)))
        rc = error_set(e, FL_NOMEM, "no memory");
    if (!rc && digest != m->promise.evidence)
        rc = error_set(e, FL_STALE, "%s is of another build than the caches beside it: build again", path);
    if (!rc)
        promise_record_take(&v->record, m, v->pipeline);
done:
    free(m);
    return rc;
}

static bool is_set(const struct verify *v, const char *key)
{
    size_t n = strlen(key);

    for (int i = 0; i < v->where.sets.n; i++)
        if (!strncmp(v->where.sets.item[i], key, n) && v->where.sets.item[i][n] == '=')
            return true;
    return false;
}

/* Those that were built, but what --set says. */
static void choose_terms(struct verify *v)
{
    struct promise_terms file = promised_terms(v->pipeline), *t = &v->terms;

    *t = v->record.promise.terms;
    if (is_set(v, "cache.promise"))
        t->agreement = file.agreement;
    if (is_set(v, "cache.max_accuracy_loss"))
        t->budget = file.budget;
    if (is_set(v, "cache.certainty"))
        t->certainty = file.certainty;
}

static bool as_built(const struct verify *v)
{
    return promise_same(&v->terms, &v->record.promise.terms);
}

/* How probable as many broken resamples or more are when 1 - certainty of all there could be are broken. */
static double chance(const struct verify *v, int level)
{
    return binomial_tail(v->result[level].resamples, v->result[level].broken, 1 - v->terms.certainty);
}

static bool kept(const struct verify *v, int level)
{
    return chance(v, level) >= LEAST_CHANCE;
}

/* The first level whose promise is not kept; -1: all are. */
static int not_kept(const struct verify *v)
{
    for (int i = 0; i < PROMISE_LEVELS; i++)
        if (!kept(v, i))
            return i;
    return -1;
}

/* Of the share that is broken of all resamples that there could be, 95%. */
static void broken_interval(const struct promise_check *r, double *low, double *high)
{
    *low = binomial_lower(r->resamples, r->broken, 0.025);
    *high = binomial_upper(r->resamples, r->broken, 0.025);
}

static const char *verdict(const struct verify *v, int level)
{
    const struct promise_check *r = &v->result[level];

    if (!kept(v, level))
        return "NOT KEPT";
    return r->broken <= (1 - v->terms.certainty) * r->resamples + 1e-9 ? "kept" : "kept, within chance";
}

static json_t *level_json(const struct verify *v, int level)
{
    const struct promise_check *r = &v->result[level];
    double low, high;

    broken_interval(r, &low, &high);
    return json_pack("{s:f, s:i, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o}", "max_loss",
                     promise_level(level) * v->terms.budget, "broken", r->broken, "broken_share",
                     report_rounded((double)r->broken / r->resamples, 6), "broken_share_low",
                     report_rounded(low, 6), "broken_share_high", report_rounded(high, 6), "p_value",
                     report_rounded(chance(v, level), 6), "kept", kept(v, level), "mean_loss",
                     report_rounded(r->loss, 6), "worst_loss", report_rounded(r->worst, 6), "early_share",
                     report_rounded(r->share, 6), "by_half_share", report_rounded(r->half, 6),
                     "mean_time_share", report_rounded(r->time, 6));
}

/* The whole promise stands at the top, the others in a list. */
static int print_json(const struct verify *v, struct error *e)
{
    json_t *root = level_json(v, 0), *levels = json_array();

    json_object_update_new(root, json_pack("{s:b, s:s, s:f, s:I, s:i}", "as_built", as_built(v), "of",
                                           v->terms.agreement ? "agreement" : "accuracy", "certainty",
                                           v->terms.certainty, "points", (json_int_t)v->evidence.points,
                                           "resamples", v->result[0].resamples));
    for (int i = 1; i < PROMISE_LEVELS; i++)
        json_array_append_new(levels, level_json(v, i));
    json_object_set_new(root, "levels", levels);
    return report_print(root, e);
}

static void print_level(const struct verify *v, int level)
{
    const struct promise_check *r = &v->result[level];
    double low, high;

    broken_interval(r, &low, &high);
    printf("broken     in %d of %d resamples of %lld points: %.1f%% (95%% interval %.1f to %.1f%%), at most "
           "%.1f%% may be: %s\n",
           r->broken, r->resamples, (long long)v->evidence.points, 100 * (double)r->broken / r->resamples,
           100 * low, 100 * high, 100 * (1 - v->terms.certainty), verdict(v, level));
    printf("lost       %.2f points on average, %.2f at worst\n", 100 * r->loss, 100 * r->worst);
    printf("answered   %.1f%% early, %.1f%% by half of the depth; mean time %.1f%% of the network's\n",
           100 * r->share, 100 * r->half, 100 * r->time);
}

static int print(const struct verify *v, struct error *e)
{
    char text[PROMISE_TEXT_BYTES];

    if (v->json)
        return print_json(v, e);
    printf("promise    %s\n", promise_text(&v->terms, text));
    if (!as_built(v))
        printf("built      %s\n", promise_text(&v->record.promise.terms, text));
    print_level(v, 0);
    for (int i = 1; i < PROMISE_LEVELS; i++) {
        printf("\nlevel      at most %g points, for requests that ask for it\n",
               100 * promise_level(i) * v->terms.budget);
        print_level(v, i);
    }
    return FL_OK;
}

static int verify(struct verify *v, struct error *e)
{
    int rc, broken;

    if ((rc = arguments_load(&v->pipeline, &v->where, e)) || (rc = load(v, e)))
        return rc;
    choose_terms(v);
    if (as_built(v))
        promise_record_warn(&v->record, usage.command);
    interrupt_catch();
    progress_open(&v->progress, stderr);
    rc = promise_check(v->result, &v->evidence, &v->terms, v->resamples, v->pipeline->cache.seed, on_progress,
                       v, e);
    progress_close(&v->progress);
    if (!rc)
        rc = print(v, e);
    if (!rc && (broken = not_kept(v)) >= 0)
        rc = error_set(e, FL_VALUE,
                       "the promise of %g points was broken in %d of %d resamples; a promise that is kept "
                       "breaks as often with probability %.2g",
                       100 * promise_level(broken) * v->terms.budget, v->result[broken].broken,
                       v->result[broken].resamples, chance(v, broken));
    return rc;
}

int command_verify_promise(int argc, char **argv, struct error *e)
{
    struct verify *v = calloc(1, sizeof *v);
    int rc;

    if (!v)
        return error_set(e, FL_NOMEM, "no memory");
    v->resamples = 200;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(v->where),
        OPTION_INT("resamples", v->resamples, "N", "how often (200)", 1, 1000000),
        ARGUMENTS_JSON(v->json),
        {0},
    };
    rc = arguments_parse(&usage, table, argc, argv, NULL, e);
    if (!rc)
        rc = verify(v, e);
    evidence_release(&v->evidence);
    pipeline_free(v->pipeline);
    free(v);
    return rc;
}
