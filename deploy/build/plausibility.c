/* plausibility.c - see plausibility.h */
#include "plausibility.h"

#include <math.h>

#define LEAST_SKILL 0.1

void plausibility_add(struct plausibility *a, int32_t label, int32_t full)
{
    if (label < 0 || label >= PIPELINE_MAX_LABELS)
        return;
    a->n++;
    a->right += label == full;
    a->seen[label]++;
}

double plausibility_right(const struct plausibility *a)
{
    return a->n ? (double)a->right / (double)a->n : NAN;
}

double plausibility_commonest(const struct plausibility *a)
{
    int64_t most = 0;

    for (int i = 0; i < PIPELINE_MAX_LABELS; i++)
        most = a->seen[i] > most ? a->seen[i] : most;
    return a->n ? (double)most / (double)a->n : NAN;
}

bool plausibility_is_low(const struct plausibility *a)
{
    double commonest = plausibility_commonest(a);

    return plausibility_right(a) - commonest < LEAST_SKILL * (1 - commonest);
}

static void say_normalisation(const struct pipeline *p, const struct dataset *d, FILE *to)
{
    char doubt[ERROR_TEXT_BYTES];

    if (dataset_shape(d).dtype == TENSOR_U8)
        fprintf(to, "The model takes pixels as they are, 0 to 255, and has to do that itself.\n");
    else if (!dataset_is_pixels(d))
        fprintf(to,
                "floating point is fed as it is, without input.mean and input.std: is that what it takes?\n");
    else if (*pipeline_units_doubt(p, doubt, sizeof doubt))
        fprintf(to, "%s\n", doubt);
    else if (!p->n_mean && !p->n_std)
        fprintf(to, "pixels are fed as 0 to 255, since input.mean and input.std are not set. After "
                    "ToTensor() alone write\n"
                    "     `std: 255`, for most of torchvision's networks `mean: [123.675, 116.28, 103.53]` "
                    "and `std: [58.395, "
                    "57.12, 57.375]`;\n     what training normalised with, times 255\n");
    else
        fprintf(to,
                "input.mean and input.std are what training normalised with, times 255: mean %g, std %g for "
                "channel 0?\n",
                (double)pipeline_mean(p, 0), (double)pipeline_std(p, 0));
}

void plausibility_warn(const struct plausibility *a, const struct pipeline *p, const struct dataset *d,
                       FILE *to)
{
    if (!plausibility_is_low(a))
        return;
    fprintf(to,
            "warning: the network is right on %.1f%% of %lld pictures, hardly better than the commonest "
            "label alone, %.1f%%:\n"
            "  1. Is a picture normalised as in training? ",
            100 * plausibility_right(a), (long long)a->n, 100 * plausibility_commonest(a));
    say_normalisation(p, d, to);
    fprintf(to, "  2. Are these its labels, and in its order?\n");
}
