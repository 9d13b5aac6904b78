/* verify.c - `freezeline verify-promise`: is the promise of a build kept when it is made again and again? */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "arguments.h"
#include "cache_service/manifest.h"
#include "command.h"
#include "interrupt.h"
#include "progress.h"
#include "promised.h"
#include "report.h"
#include "state.h"

static const struct usage usage = {
    "verify-promise",
    "",
    "Chooses thresholds again from resampled calibration data and counts how often the promise is broken.",
    "Needs a build with cache.threshold: risk; works from the verdicts that it kept, without model and data. "
    "Each resample draws as\n"
    "many points as there are, with repetition; its thresholds are judged on all of them. Other promises can "
    "be "
    "tried with --set.\n"
    "Exit status 0: broken in at most 1 - certainty of the resamples.\n\n"
    "example:\n  freezeline verify-promise -c P.yaml --resamples 200 --set cache.max_accuracy_loss=0.5\n",
    0,
    0};

struct verify {
    struct pipeline_arguments where;
    int resamples;
    bool json;
    struct pipeline *pipeline;
    struct evidence evidence;
    struct promise_terms terms;
    struct promise_check result;
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
    char path[STATE_PATH_BYTES];
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
    if (rc ||
        (rc = state_path(path, v->pipeline, e, "caches/" MANIFEST_EVIDENCE, (unsigned long long)m->built_ms)))
        goto done;
    if ((rc = evidence_load(&v->evidence, path, m->model, e)) == FL_NOT_FOUND)
        error_set(e, FL_NOT_FOUND, "%s is not there: build with cache.threshold: risk first", path);
    if (!rc && (rc = evidence_digest(&v->evidence, &digest)))
        rc = error_set(e, FL_NOMEM, "no memory");
    if (!rc && digest != m->evidence)
        rc = error_set(e, FL_STALE, "%s is of another build than the caches beside it: build again", path);
done:
    free(m);
    return rc;
}

static bool kept(const struct verify *v)
{
    return v->result.broken <= (1 - v->terms.certainty) * v->result.resamples + 1e-9;
}

static int print(const struct verify *v, struct error *e)
{
    const struct promise_check *r = &v->result;
    double broken = (double)r->broken / r->resamples;

    if (v->json)
        return report_print(
            json_pack("{s:s, s:f, s:f, s:I, s:i, s:i, s:o, s:b, s:o, s:o, s:o, s:o, s:o}", "of",
                      v->terms.agreement ? "agreement" : "accuracy", "max_loss", v->terms.budget, "certainty",
                      v->terms.certainty, "points", (json_int_t)v->evidence.points, "resamples", r->resamples,
                      "broken", r->broken, "broken_share", report_rounded(broken, 6), "kept", kept(v),
                      "mean_loss", report_rounded(r->loss, 6), "worst_loss", report_rounded(r->worst, 6),
                      "early_share", report_rounded(r->share, 6), "by_half_share", report_rounded(r->half, 6),
                      "mean_time_share", report_rounded(r->time, 6)),
            e);
    printf("promise    at most %.2f points of %s lost, certainty %g%%\n", 100 * v->terms.budget,
           v->terms.agreement ? "agreement" : "accuracy", 100 * v->terms.certainty);
    printf("broken     in %d of %d resamples of %lld points: %.1f%%, at most %.1f%% may be: %s\n", r->broken,
           r->resamples, (long long)v->evidence.points, 100 * broken, 100 * (1 - v->terms.certainty),
           kept(v) ? "kept" : "NOT KEPT");
    printf("lost       %.2f points on average, %.2f at worst\n", 100 * r->loss, 100 * r->worst);
    printf("answered   %.1f%% early, %.1f%% by half of the depth; mean time %.1f%% of the network's\n",
           100 * r->share, 100 * r->half, 100 * r->time);
    return FL_OK;
}

static int verify(struct verify *v, struct error *e)
{
    int rc;

    if ((rc = arguments_load(&v->pipeline, &v->where, e)) || (rc = load(v, e)))
        return rc;
    v->terms = promised_terms(v->pipeline);
    interrupt_catch();
    progress_open(&v->progress, stderr);
    rc = promise_check(&v->result, &v->evidence, &v->terms, v->resamples, v->pipeline->cache.seed,
                       on_progress, v, e);
    progress_close(&v->progress);
    if (!rc)
        rc = print(v, e);
    if (!rc && !kept(v))
        rc = error_set(e, FL_VALUE, "the promise was broken in %d of %d resamples", v->result.broken,
                       v->result.resamples);
    return rc;
}

int command_verify_promise(int argc, char **argv, struct error *e)
{
    struct verify *v = calloc(1, sizeof *v);
    struct argument_list operands;
    bool helped;
    int rc;

    if (!v)
        return error_set(e, FL_NOMEM, "no memory");
    v->resamples = 200;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(v->where),
        {ARGUMENT_INT, "resamples", 0, &v->resamples, "N", "how often (200)", 1, 1000000},
        {ARGUMENT_FLAG, "json", 0, &v->json, NULL, "machine-readable output", 0, 0},
        {0},
    };
    rc = arguments_parse(&usage, table, argc, argv, &operands, &helped, e);
    if (!rc && !helped)
        rc = verify(v, e);
    evidence_release(&v->evidence);
    pipeline_free(v->pipeline);
    free(v);
    return rc;
}
