/* ticks.c - where the round numbers are, and their labels */
#include "ticks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SPACE "\xc2\xa0" /* one that does not break */

static const struct prefix {
    double factor;
    const char *text;
} prefixes[] = {{1e-9, "n"}, {1e-6, "\xc2\xb5"}, {1e-3, "m"}, {1, ""},     {1e3, "k"},
                {1e6, "M"},  {1e9, "G"},         {1e12, "T"}, {1e15, "P"}, {1e18, "E"}};
#define N_PREFIXES ((int)(sizeof prefixes / sizeof prefixes[0]))
#define NO_PREFIX  3

static bool plain(const char *unit)
{
    return !unit || !*unit;
}

/* The prefix for numbers as large as x. Seconds have no kilo; bytes and rates no milli. */
static const struct prefix *prefix_for(double x, const char *unit)
{
    int i = 0, last = !plain(unit) && !strcmp(unit, "s") ? NO_PREFIX : N_PREFIXES - 1;

    if (!plain(unit) && !strcmp(unit, "%"))
        return &prefixes[NO_PREFIX];
    if (plain(unit) || !strcmp(unit, "B") || unit[0] == '/')
        i = NO_PREFIX;
    if (x == 0 || (plain(unit) && fabs(x) < 1e5))
        return &prefixes[NO_PREFIX];
    while (i < last && fabs(x) >= prefixes[i + 1].factor * (1 - 1e-12))
        i++;
    return &prefixes[i];
}

static void label(char *buf, int size, const char *number, const struct prefix *p, const char *unit)
{
    bool apart = !plain(unit) && strcmp(unit, "%") != 0 && unit[0] != '/';
    snprintf(buf, (size_t)size, "%s%s%s%.8s", number, apart ? SPACE : "", p->text, unit ? unit : "");
}

char *ticks_format(char *buf, int size, double value, const char *unit)
{
    const struct prefix *p = prefix_for(value, unit);
    char number[32];
    double x = value / p->factor;

    if (fabs(x) >= 100 && fabs(x) < 1e15)
        snprintf(number, sizeof number, "%.0f", x);
    else
        snprintf(number, sizeof number, "%.3g", x);
    label(buf, size, number, p, unit);
    return buf;
}

/* The next step of 1, 2, 5, 10, 20, ... */
static double next_step(double step)
{
    double power = pow(10, floor(log10(step) + 1e-9)), head = step / power;
    return head < 1.5 ? 2 * power : head < 3 ? 5 * power : 10 * power;
}

/* Multiples of a step share a prefix and their number of decimals. */
static void linear(struct ticks *t, double from, double to, int most, const char *unit)
{
    double range = to - from, step = pow(10, floor(log10(range / most)) - 1), first;
    const struct prefix *p = prefix_for(fmax(fabs(from), fabs(to)), unit);
    char number[32];

    while (floor(to / step + 1e-9) - ceil(from / step - 1e-9) + 1 > most)
        step = next_step(step);
    first = ceil(from / step - 1e-9);
    int decimals = (int)-floor(log10(step / p->factor) + 1e-9);
    decimals = decimals < 0 ? 0 : decimals > 12 ? 12 : decimals;
    for (t->n = 0; t->n < most && first + t->n <= to / step + 1e-9; t->n++) {
        double v = (first + t->n) * step;
        if (fabs(v) < step / 2) /* 0 needs no unit, and has no minus */
            snprintf(t->label[t->n], TICKS_LABEL_BYTES, "0%s", plain(unit) || strcmp(unit, "%") ? "" : "%");
        else {
            if (fabs(v / p->factor) < 1e15 && (v / p->factor == 0 || fabs(step / p->factor) > 1e-12))
                snprintf(number, sizeof number, "%.*f", decimals, v / p->factor);
            else
                snprintf(number, sizeof number, "%.4g", v / p->factor);
            label(t->label[t->n], TICKS_LABEL_BYTES, number, p, unit);
        }
        t->at[t->n] = v;
    }
}

static bool add(struct ticks *t, double v, double from, double to, int most, const char *unit)
{
    if (v < from * (1 - 1e-9) || v > to * (1 + 1e-9))
        return true;
    if (t->n == most)
        return false;
    t->at[t->n] = v;
    ticks_format(t->label[t->n++], TICKS_LABEL_BYTES, v, unit);
    return true;
}

/* 1, 2, 5 times each power of ten; false when there are more than `most`. */
static bool heads(struct ticks *t, double from, double to, int most, const char *unit)
{
    t->n = 0;
    for (double d = floor(log10(from)); d <= ceil(log10(to)); d++) {
        double power = pow(10, d);
        if (!add(t, power, from, to, most, unit) || !add(t, 2 * power, from, to, most, unit) ||
            !add(t, 5 * power, from, to, most, unit))
            return false;
    }
    return true;
}

/* Every stride-th power of ten. */
static void powers(struct ticks *t, double from, double to, int most, const char *unit)
{
    double first = floor(log10(from)), last = ceil(log10(to));

    for (double stride = 1;; stride++) {
        bool fits = true;
        t->n = 0;
        for (double d = ceil(first / stride) * stride; fits && d <= last; d += stride)
            fits = add(t, pow(10, d), from, to, most, unit);
        if (fits)
            return;
    }
}

void ticks_make(struct ticks *out, bool log, double from, double to, int most, const char *unit)
{
    most = most < 2 ? 2 : most > TICKS_MAX ? TICKS_MAX : most;
    if (!log || to / from < 5) {
        linear(out, from, to, most, unit);
        return;
    }
    if (heads(out, from, to, most, unit) && out->n >= 2)
        return;
    powers(out, from, to, most, unit);
    if (out->n < 2) /* one power of ten, and 1, 2, 5 are too many: its neighbours are still round */
        linear(out, from, to, most, unit);
}
