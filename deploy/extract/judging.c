/* judging.c - what a network says about the records of a data set, in one precision or another */
#include "judging.h"

#include <math.h>
#include <stdlib.h>

#include "deploy/tool/interrupt.h"
#include "executors.h"
#include "stages/exec/scores.h"

struct bench {
    const struct judging *of;
    struct executors executors;
    int32_t *label;
    int64_t at;
    int rc[EXECUTORS_MAX];
    struct error problem[EXECUTORS_MAX];
};

static int judge_share(struct bench *b, struct exec *x, int64_t from, int n, struct error *e)
{
    const struct judging *j = b->of;
    const float *scores;
    int rc;

    dataset_images(j->data, from, n, exec_input_buffer(x, 0));
    if ((rc = exec_run(x, 0, j->graph->n_nodes - 1, n, NULL, NULL, e)))
        return rc;
    scores = exec_output(x, 0, n).data;
    for (int i = 0; i < n; i++) {
        b->label[from + i] = scores_label(scores + (size_t)i * (size_t)j->classes, j->classes, NULL);
        if (b->label[from + i] < 0)
            return error_set(e, FL_VALUE, "the model's scores for record %lld are not numbers",
                             (long long)(from + i));
    }
    return FL_OK;
}

static void one_share(void *arg, int i, int thread)
{
    struct bench *b = arg;
    int64_t from = b->at + (int64_t)i * b->executors.batch, left = b->of->count - from;

    (void)thread;
    b->rc[i] = left > 0
                   ? judge_share(b, b->executors.one[i].exec, from,
                                 (int)(left < b->executors.batch ? left : b->executors.batch), &b->problem[i])
                   : FL_OK;
}

static int judge_all(struct bench *b, struct error *e)
{
    const struct judging *j = b->of;

    for (; b->at < j->count; b->at += (int64_t)b->executors.n * b->executors.batch) {
        if (j->progress)
            progress_update(j->progress, j->phase, b->at, j->count, NAN);
        if (interrupt_seen())
            return error_set(e, FL_CANCELLED, "stopped");
        team_run(b->executors.team, one_share, b, b->executors.n);
        for (int i = 0; i < b->executors.n; i++)
            if (b->rc[i]) {
                *e = b->problem[i];
                return b->rc[i];
            }
    }
    if (j->progress)
        progress_update(j->progress, j->phase, j->count, j->count, NAN);
    return FL_OK;
}

int judge(int32_t *label, const struct judging *j, const struct exec_options *o, struct error *e)
{
    struct bench *b = calloc(1, sizeof *b);
    int rc;

    if (!b)
        return error_set(e, FL_NOMEM, "no memory");
    b->of = j;
    b->label = label;
    if (!(rc = executors_open(&b->executors, j->graph, o, j->threads, e)))
        rc = judge_all(b, e);
    executors_close(&b->executors);
    free(b);
    return rc;
}
