/* answers.c - probabilities against probabilities */
#include "answers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_CLASSES 4096

/* Logarithms of the probabilities that scores stand for. */
static void log_shares(const struct answers *a, const float *score, double *out)
{
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < a->numbers; i++)
        most = fmax(most, (double)score[i]);
    for (int64_t i = 0; !a->shares && i < a->numbers; i++)
        sum += exp((double)score[i] - most);
    for (int64_t i = 0; i < a->numbers; i++)
        out[i] = a->shares ? log(fmax((double)score[i], 1e-12)) : (double)score[i] - most - log(sum);
}

static bool are_shares(const struct answers *a, const float *given)
{
    for (int64_t r = 0; r < a->count; r++) {
        double sum = 0;
        for (int64_t i = 0; i < a->numbers; i++) {
            if (given[r * a->numbers + i] < 0)
                return false;
            sum += (double)given[r * a->numbers + i];
        }
        if (fabs(sum - 1) > 1e-3)
            return false;
    }
    return true;
}

int answers_new(struct answers *a, const struct graph *g, const float *given, int64_t count)
{
    struct tensor t = value_shape(&g->values[g->outputs[0]], 1);
    int64_t n;
    *a = (struct answers){.count = count, .numbers = tensor_count(&t)};
    n = count * a->numbers;
    a->truth = malloc((size_t)(n + 1) * sizeof *a->truth);
    if (!a->truth)
        return FL_NOMEM;
    memcpy(a->truth, given, (size_t)n * sizeof *given);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(given[i]))
            return FL_VALUE;
        a->scale += (double)given[i] * (double)given[i] / (double)n;
    }
    a->classes = t.rank >= 2 && t.dim[1] == a->numbers && a->numbers >= 2 && a->numbers <= MOST_CLASSES;
    a->shares = a->classes && are_shares(a, given);
    return FL_OK;
}

void answers_release(struct answers *a)
{
    free(a->truth);
    *a = (struct answers){.truth = NULL};
}

static double divergence(const struct answers *a, const float *truth, const float *given)
{
    double p[MOST_CLASSES], q[MOST_CLASSES], sum = 0;
    log_shares(a, truth, p);
    log_shares(a, given, q);
    for (int64_t i = 0; i < a->numbers; i++)
        sum += exp(p[i]) * (p[i] - q[i]);
    return sum;
}

static double squared_error(const struct answers *a, const float *truth, const float *given)
{
    double sum = 0;
    for (int64_t i = 0; i < a->numbers; i++)
        sum += ((double)truth[i] - (double)given[i]) * ((double)truth[i] - (double)given[i]);
    return sum / (double)a->numbers / (a->scale > 0 ? a->scale : 1);
}

double answers_loss(const struct answers *a, const float *given)
{
    double sum = 0;
    for (int64_t r = 0; r < a->count; r++) {
        const float *truth = a->truth + r * a->numbers, *got = given + r * a->numbers;
        sum += a->classes ? divergence(a, truth, got) : squared_error(a, truth, got);
    }
    return isfinite(sum) ? sum / (double)a->count : INFINITY;
}
