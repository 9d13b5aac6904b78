/* job_check.c - route, plan, dtype, shape */
#include "job_check.h"

static bool passed_all_before(const struct job *j, int stage)
{
    if (j->trace.n != stage)
        return false;
    for (int i = 0; i < j->trace.n; i++)
        if (j->trace.stage[i].stage != (uint32_t)i || j->trace.stage[i].replica != j->route[i])
            return false;
    return true;
}

int job_check(const struct job *j, const struct stage_setup *s, int n_next, struct error *e)
{
    const struct pipeline *p = s->pipeline;
    const struct tensor *expects = &s->expects;
    int stage = (int)s->self.stage;
    char got[128], want[128];
    if (request_broker(j->request) >= pipeline_brokers(p))
        return error_set(e, FL_PROTOCOL, "the job is of a broker that is not in the pipeline file");
    if (j->n_route != p->n_stages || j->route[stage] != s->self.replica)
        return error_set(e, FL_PROTOCOL, "the job's route does not lead here");
    if (j->plan && j->plan != digest_short(s->self.plan))
        return error_set(e, FL_STALE, "the job was sent by and for stages of another plan");
    if (!passed_all_before(j, stage))
        return error_set(e, FL_PROTOCOL, "the job has not passed the stages before stage %d by its route",
                         stage);
    if (stage + 1 < p->n_stages && j->route[stage + 1] >= n_next)
        return error_set(e, FL_PROTOCOL, "the job's route leads to a replica that is not known here");
    if (j->activation.dtype != expects->dtype)
        return error_set(e, FL_DTYPE, "the input is %s, the model takes %s",
                         tensor_dtype_name(j->activation.dtype), tensor_dtype_name(expects->dtype));
    if (!tensor_same_shape(&j->activation, expects))
        return error_set(e, FL_SHAPE, "the input is %s, the model takes %s",
                         tensor_describe(&j->activation, got, sizeof got),
                         tensor_describe(expects, want, sizeof want));
    return FL_OK;
}
