/* verdict.c - labels compared, and time */
#include "verdict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cache_service/promise/gap_bound.h"
#include "stages/exec/scores.h"
#include "stretch.h"

#define CERTAINTY 0.95
#define ROUNDS    41

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* In turn, so that what else the machine does meets both alike. */
static int time_both(struct verdict *v, const struct graph *const *g, const struct samples *samples,
                     struct error *e)
{
    struct exec *x[2] = {NULL};
    double ms[2][ROUNDS];
    int rc = FL_OK;
    for (int k = 0; !rc && k < 2; k++) {
        struct exec_options o = {.max_batch = 1, .last = -1};
        rc = exec_new(&x[k], g[k], &o, e);
    }
    for (int i = -2; !rc && i < ROUNDS; i++)
        for (int k = 0; !rc && k < 2; k++) {
            double from;
            samples_put(samples, 0, exec_input_buffer(x[k], 0));
            from = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID);
            rc = exec_run(x[k], 0, g[k]->n_nodes - 1, 1, NULL, NULL, e);
            if (i >= 0)
                ms[k][i] = (clock_cpu_us(CLOCK_THREAD_CPUTIME_ID) - from) / 1e3;
        }
    for (int k = 0; k < 2; k++) {
        if (!rc) {
            qsort(ms[k], ROUNDS, sizeof ms[k][0], by_size);
            v->cpu_ms[k] = ms[k][ROUNDS / 2];
        }
        exec_free(x[k]);
    }
    return rc;
}

static void compare(struct verdict *v, const struct samples *s, int64_t skip, int64_t numbers,
                    float *const *given)
{
    struct gap_counts lost = {.n = v->records};
    int64_t right[2] = {0, 0};
    double off = 0, all = 0;
    for (int64_t i = 0; i < v->records * numbers; i++) {
        double was = (double)given[0][i], is = (double)given[1][i];
        off += (was - is) * (was - is);
        all += was * was;
    }
    v->error = all > 0 ? off / all : 0;
    for (int64_t i = 0; v->classes && i < v->records; i++) {
        int32_t label[2];
        for (int k = 0; k < 2; k++) {
            label[k] = scores_label(given[k] + i * numbers, numbers, NULL);
            right[k] += v->labels && label[k] == dataset_label(s->pictures, skip + i);
        }
        lost.lost += label[0] != label[1];
    }
    v->agreement = v->classes ? 1 - (double)lost.lost / (double)v->records : NAN;
    v->agreement_least = v->classes ? 1 - gap_upper_bound(&lost, 1 - CERTAINTY) : NAN;
    for (int k = 0; k < 2; k++)
        v->accuracy[k] = v->classes && v->labels ? (double)right[k] / (double)v->records : NAN;
}

int verdict_of(struct verdict *v, const struct graph *was, const struct graph *is,
               const struct samples *samples, int64_t skip, int64_t count, int threads,
               struct progress *progress, struct error *e)
{
    const struct graph *g[2] = {was, is};
    static const char *const phase[] = {"judge the original", "judge the smaller one"};
    struct tensor t = value_shape(&was->values[was->outputs[0]], 1);
    int64_t numbers = tensor_count(&t);
    float *given[2] = {NULL};
    int rc = FL_OK;
    *v = (struct verdict){.records = count,
                          .labels = samples->pictures && dataset_has_labels(samples->pictures)};
    v->classes = t.rank >= 2 && t.dim[1] == numbers && numbers >= 2;
    for (int k = 0; !rc && k < 2; k++) {
        struct stretch all = {.graph = g[k],
                              .last = g[k]->n_nodes - 1,
                              .threads = threads,
                              .count = count,
                              .samples = samples,
                              .skip = skip};
        progress_update(progress, phase[k], 0, 1, NAN);
        all.out = given[k] = malloc((size_t)(count * numbers + 1) * sizeof *given[k]);
        rc = given[k] ? stretch_run(&all, e) : error_set(e, FL_NOMEM, "no memory for answers");
        progress_update(progress, phase[k], 1, 1, NAN);
        for (int i = 0; i < g[k]->n_nodes; i++) {
            v->flops[k] += graph_node_flops(g[k], i, 1);
            v->parameters[k] += graph_node_parameters(g[k], i);
        }
    }
    if (!rc) {
        compare(v, samples, skip, numbers, given);
        rc = time_both(v, g, samples, e);
    }
    free(given[0]);
    free(given[1]);
    return rc;
}
