/* dispatch_doubt.c - results that no honest worker of this pipeline sends */
#include "dispatch_inside.h"

/* The decoder has checked the protocol's limits; these are the pipeline's. What passes is safe as an index.
 */
static int check_result(const struct dispatch *d, const struct result *r, struct error *error)
{
    if (r->exit >= 0 && !r->trace.n)
        return error_set(error, FL_PROTOCOL, "a hit at exit %d that has passed no stage", r->exit);
    for (int i = 0; i < r->trace.n; i++) {
        const struct stage_time *t = &r->trace.stage[i];
        if ((int64_t)t->stage >= registry_stages(d->registry) ||
            (int64_t)t->replica >= registry_replicas(d->registry, (int)t->stage))
            return error_set(
                error, FL_PROTOCOL,
                "a result that has passed stage %u replica %u, which is not in the pipeline file", t->stage,
                t->replica);
    }
    return FL_OK;
}

/* What the workers of the last stage say that the network gives; NULL: nobody said. */
static const struct tensor *expected_scores(const struct dispatch *d)
{
    int last = registry_stages(d->registry) - 1;

    for (int i = 0; i < registry_replicas(d->registry, last); i++) {
        const struct member *m = registry_worker(d->registry, last, i);
        if (m->known && m->hello.output.tensor.dtype)
            return &m->hello.output.tensor;
    }
    return NULL;
}

int dispatch_doubt_answer(const struct dispatch *d, const struct answer *a, struct error *error)
{
    const struct tensor *expected = expected_scores(d);
    char got[128], want[128];

    if (!expected)
        return FL_OK;
    if ((a->scores.dtype || a->exit < 0) &&
        (a->scores.dtype != expected->dtype || tensor_count(&a->scores) != tensor_count(expected)))
        return error_set(error, FL_PROTOCOL, "its scores are %s, here they are %s",
                         tensor_describe(&a->scores, got, sizeof got),
                         tensor_describe(expected, want, sizeof want));
    if (a->label >= tensor_count(expected))
        return error_set(error, FL_PROTOCOL, "its label is %d, here are %lld classes", a->label,
                         (long long)tensor_count(expected));
    return FL_OK;
}

int dispatch_doubt(const struct dispatch *d, const struct request_entry *e, const struct result *r,
                   struct error *error)
{
    const struct tensor *expected = expected_scores(d);
    char got[128], want[128];
    int rc = check_result(d, r, error);

    if (rc)
        return rc;
    if (!e && requests_when(d->requests, r->request) == REQUESTS_FUTURE)
        return error_set(error, FL_PROTOCOL, "a result of a request that was not sent yet");
    for (int i = 0; e && i < r->trace.n; i++)
        if (!(e->used[r->trace.stage[i].stage] >> r->trace.stage[i].replica & 1))
            return error_set(error, FL_PROTOCOL,
                             "a result of a request that was not sent by way of stage %u replica %u",
                             r->trace.stage[i].stage, r->trace.stage[i].replica);
    if (!e || r->error || !expected)
        return FL_OK;
    if (r->exit < 0 && (r->scores.dtype != expected->dtype || !tensor_same_shape(&r->scores, expected)))
        return error_set(error, FL_PROTOCOL, "scores are %s, the network gives %s",
                         tensor_describe(&r->scores, got, sizeof got),
                         tensor_describe(expected, want, sizeof want));
    if (r->label >= tensor_count(expected))
        return error_set(error, FL_PROTOCOL, "label %d, the network has %lld classes", r->label,
                         (long long)tensor_count(expected));
    return FL_OK;
}
