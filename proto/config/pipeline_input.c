/* pipeline_input.c - mean and std of pixels, and whether they were meant in units of 0-255 or of 0-1 */
#include <stdio.h>
#include <string.h>

#include "pipeline.h"

float pipeline_mean(const struct pipeline *p, int channel)
{
    return !p->n_mean ? 0 : p->mean[channel < p->n_mean ? channel : p->n_mean - 1];
}

float pipeline_std(const struct pipeline *p, int channel)
{
    return !p->n_std ? 1 : p->std[channel < p->n_std ? channel : p->n_std - 1];
}

/* For pixels of 0-255, a std below 1 or means around 0.5 make no sense: they were meant for pixels of 0-1. */
static bool looks_like_shares(const struct pipeline *p)
{
    bool fine = false, small = false, large = false;

    for (int i = 0; i < p->n_std; i++)
        fine |= p->std[i] < 1;
    for (int i = 0; i < p->n_mean; i++) {
        small |= p->mean[i] > 0 && p->mean[i] <= 1;
        large |= p->mean[i] > 1 || p->mean[i] < 0;
    }
    return fine || (small && !large);
}

/* Appends "`KEY: [a, b]`", times 255 where all of it is at most 1. */
static void append_list(char *buf, size_t size, const char *key, const float *value, int n)
{
    size_t at = strlen(buf);
    double scale = 255;

    for (int i = 0; i < n; i++)
        if (value[i] > 1)
            scale = 1;
    at += (size_t)snprintf(buf + at, size - at, "%s`%s: %s", at ? " and " : "", key, n > 1 ? "[" : "");
    for (int i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(buf + at, size - at, "%s%.6g", i ? ", " : "", scale * (double)value[i]);
    if (at < size)
        snprintf(buf + at, size - at, "%s`", n > 1 ? "]" : "");
}

char *pipeline_units_doubt(const struct pipeline *p, char *buf, size_t size)
{
    char write[256] = "";
    struct error e;

    *buf = '\0';
    if (!looks_like_shares(p))
        return buf;
    if (p->n_mean)
        append_list(write, sizeof write, "mean", p->mean, p->n_mean);
    append_list(write, sizeof write, "std", p->n_std ? p->std : &(float){1}, p->n_std ? p->n_std : 1);
    pipeline_error(p, p->n_mean ? "input.mean" : "input.std", &e,
                   "pixels are 0 to 255 here, and this looks like units of 0 to 1: write %s (times 255)",
                   write);
    snprintf(buf, size, "%s", e.text);
    return buf;
}
