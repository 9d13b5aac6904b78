/* comparison.c - the figures of two documents side by side, each with its test */
#include "comparison.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TIMES  1000
#define RESOLUTION 0.01 /* of the histograms' buckets: latencies nearer than this are the same */

const char *const comparison_verdicts[] = {"same", "better", "worse", "changed", "not tested"};

static struct change *add(struct comparison *c, const char *name, const char *unit, enum change_kind kind,
                          int better, double before, double after)
{
    struct change *x;

    if (c->n == COMPARISON_MAX || (!isfinite(before) && !isfinite(after)))
        return NULL;
    x = &c->change[c->n++];
    *x = (struct change){.unit = unit,
                         .kind = kind,
                         .better = better,
                         .before = before,
                         .after = after,
                         .p = NAN,
                         .effect = {NAN, NAN, NAN, NAN}};
    snprintf(x->name, sizeof x->name, "%s", name);
    if (kind == CHANGE_RELATIVE && before > 0)
        x->effect.change = after / before - 1;
    return x;
}

static void tested(struct change *x, struct effect effect, const char *test)
{
    if (!x || isnan(effect.p))
        return;
    x->effect = effect;
    x->p = effect.p;
    x->test = test;
}

/* How far a figure of the time line moved, in logarithms, in both runs together. The last entry is rarely a
 * whole one. */
static double wander(const json_t *before, const json_t *after, const char *key)
{
    double sum = 0, figure[MAX_TIMES];

    for (int second = 0; second < 2; second++) {
        const json_t *list = document_list(second ? after : before, "timeline");
        int n = (int)json_array_size(list) - 1;
        n = n > MAX_TIMES ? MAX_TIMES : n;
        for (int i = 0; i < n; i++)
            figure[i] = log(document_number(json_array_get(list, (size_t)i), key));
        sum += significance_wander(figure, n);
    }
    return sum;
}

static int latencies(struct comparison *c, const json_t *before, const json_t *after, struct error *e)
{
    static const char *const key[] = {"mean", "p50", "p90", "p99", "p999"};
    static const double share[] = {SIGNIFICANCE_MEAN, 0.5, 0.9, 0.99, 0.999};
    struct effect effect[5];
    struct spread a, b = {0};
    double factor = 1;
    int rc = spread_read(&a, document_object(before, "histogram"), e);

    if (!rc)
        rc = spread_read(&b, document_object(after, "histogram"), e);
    if (!rc)
        rc = significance_latency(effect, share, 5, &a, &b, wander(before, after, "p50_ms"), &factor, e);
    for (int i = 0; !rc && i < 5; i++) {
        char path[32], name[32];
        snprintf(path, sizeof path, "latency_ms.%s", key[i]);
        snprintf(name, sizeof name, "latency %s", i == 4 ? "p99.9" : key[i]);
        tested(add(c, name, "s", CHANGE_RELATIVE, -1, document_number(before, path) / 1000,
                   document_number(after, path) / 1000),
               effect[i], "bootstrap");
    }
    if (!rc && a.n && b.n)
        tested(add(c, "distribution of latency", NULL, CHANGE_DISTANCE, 0, 0, 0),
               significance_distribution(&a, &b, factor), "Kolmogorov-Smirnov");
    spread_release(&a);
    spread_release(&b);
    return rc;
}

static bool closed(const json_t *doc)
{
    const char *loop = document_text(doc, "load.loop");
    return loop && !strcmp(loop, "closed");
}

/* With an open loop throughput follows what was offered: neither better nor worse. */
static void throughput(struct comparison *c, const json_t *before, const json_t *after)
{
    tested(add(c, "throughput", "/s", CHANGE_RELATIVE, closed(before) && closed(after),
               document_number(before, "achieved_rps"), document_number(after, "achieved_rps")),
           significance_rates(document_number(before, "answered"), document_number(before, "seconds"),
                              document_number(after, "answered"), document_number(after, "seconds"),
                              wander(before, after, "answered")),
           "Poisson rates");
}

static void share(struct comparison *c, const char *name, int better, double a, double n_a, double b,
                  double n_b)
{
    tested(add(c, name, "%", CHANGE_SHARE, better, a, b), significance_shares(a * n_a, n_a, b * n_b, n_b),
           "two proportions");
}

static void shares(struct comparison *c, const json_t *before, const json_t *after)
{
    double n_a = document_number(before, "answered"), n_b = document_number(after, "answered"),
           sent_a = document_number(before, "sent"), sent_b = document_number(after, "sent");

    share(c, "errors", -1, document_number(before, "errors") / sent_a, sent_a,
          document_number(after, "errors") / sent_b, sent_b);
    share(c, "accuracy", 1, document_number(before, "accuracy"), n_a, document_number(after, "accuracy"),
          n_b);
}

static const json_t *exit_named(const json_t *doc, const char *name)
{
    const json_t *list = document_list(doc, "exits");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *other = document_text(json_array_get(list, i), "name");
        if (other && !strcmp(other, name))
            return json_array_get(list, i);
    }
    return NULL;
}

/* An exit that only one of them has answers nothing in the other. */
static void exits(struct comparison *c, const json_t *before, const json_t *after)
{
    double n_a = document_number(before, "answered"), n_b = document_number(after, "answered");

    for (int second = 0; second < 2; second++) {
        const json_t *list = document_list(second ? after : before, "exits");
        for (size_t i = 0; i < json_array_size(list) && c->n < COMPARISON_MAX / 2; i++) {
            const char *name = document_text(json_array_get(list, i), "name");
            char text[64];
            if (!name || (second && exit_named(before, name)))
                continue;
            snprintf(text, sizeof text, "answered by %.40s", name);
            share(c, text, 0, fmax(document_number(exit_named(before, name), "answered") / n_a, 0), n_a,
                  fmax(document_number(exit_named(after, name), "answered") / n_b, 0), n_b);
        }
    }
}

static double memory(const json_t *doc)
{
    const json_t *list = document_list(doc, "processes");
    double sum = 0;

    for (size_t i = 0; i < json_array_size(list); i++)
        sum += fmax(document_number(json_array_get(list, i), "resident_bytes"), 0);
    return sum > 0 ? sum : NAN;
}

/* Figures that each run has once. How much they vary is not known, so they are shown and not judged. */
static void single_figures(struct comparison *c, const json_t *before, const json_t *after)
{
    static const char *const part[] = {"client",  "broker", "wire",      "queue",
                                       "compute", "lookup", "serialise", "residual"};

    for (int i = 0; i < (int)(sizeof part / sizeof *part); i++) {
        char path[32], name[32];
        snprintf(path, sizeof path, "parts_ms.%s", part[i]);
        snprintf(name, sizeof name, "part %s", part[i]);
        add(c, name, "s", CHANGE_RELATIVE, -1, document_number(before, path) / 1000,
            document_number(after, path) / 1000);
    }
    add(c, "memory", "B", CHANGE_RELATIVE, -1, memory(before), memory(after));
    add(c, "CPU time per request", "s", CHANGE_RELATIVE, -1,
        document_number(before, "cpu_seconds_per_request"),
        document_number(after, "cpu_seconds_per_request"));
    add(c, "energy per request", "J", CHANGE_RELATIVE, -1, document_number(before, "joules_per_request"),
        document_number(after, "joules_per_request"));
}

static void warn(struct comparison *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(struct comparison *c, const char *format, ...)
{
    va_list args;

    if (c->n_warnings == COMPARISON_WARNINGS)
        return;
    va_start(args, format);
    vsnprintf(c->warning[c->n_warnings++], sizeof *c->warning, format, args);
    va_end(args);
}

static void describe(char *text, size_t size, const json_t *doc, const char *path)
{
    const json_t *o = document_value(doc, path);
    char *all;

    if (json_is_string(o)) {
        snprintf(text, size, "%.50s", json_string_value(o));
        return;
    }
    all = o ? json_dumps(o, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    snprintf(text, size, "%.50s", all ? all : "?");
    free(all);
}

/* What should be equal for a fair comparison. Revision and label are what one compares. */
static void warn_of_differences(struct comparison *c, const json_t *before, const json_t *after)
{
    static const char *const same[] = {"machine.cpu",         "machine.cores",    "machine.memory_bytes",
                                       "machine.kernel",      "machine.governor", "machine.blas_core",
                                       "machine.conv_engine", "pipeline.model",   "pipeline.stages",
                                       "pipeline.replicas",   "pipeline.caches",  "pipeline.promise",
                                       "load.loop",           "load.scenario",    "load.arrivals",
                                       "load.rate",           "load.closed",      "load.clients",
                                       "load.traffic",        "load.zipf_s",      "load.data"};

    for (int i = 0; i < 2; i++) {
        const json_t *doc = i ? after : before;
        const char *doubt = document_text(doc, "doubt");
        if (!document_truth(doc, "valid", false))
            warn(c, "the run %s is not valid: %.100s", i ? "after" : "before",
                 doubt ? doubt : "it does not say why");
    }
    for (int i = 0; i < (int)(sizeof same / sizeof *same); i++) {
        char a[56], b[56];
        describe(a, sizeof a, before, same[i]);
        describe(b, sizeof b, after, same[i]);
        if (strcmp(a, b) != 0)
            warn(c, "%s differs: %s, then %s", same[i], a, b);
    }
}

static void judge(struct change *x)
{
    double worse = -x->better * x->effect.change;
    bool real = x->p < COMPARISON_LEVEL;

    if (x->kind == CHANGE_RELATIVE && x->unit && !strcmp(x->unit, "s"))
        real = real && fabs(x->effect.change) > RESOLUTION;
    if (!x->test)
        x->verdict = VERDICT_UNTESTED;
    else if (!real)
        x->verdict = VERDICT_SAME;
    else
        x->verdict = !x->better ? VERDICT_CHANGED : worse > 0 ? VERDICT_WORSE : VERDICT_BETTER;
}

int comparison_make(struct comparison *out, const json_t *before, const json_t *after, struct error *e)
{
    double p[COMPARISON_MAX];
    int rc;

    *out = (struct comparison){0};
    for (int i = 0; i < 2; i++)
        if (!(document_number(i ? after : before, "latency_ms.p50") >= 0))
            return error_set(e, FL_VALUE, "the run %s has no latencies: nothing was answered",
                             i ? "after" : "before");
    warn_of_differences(out, before, after);
    if ((rc = latencies(out, before, after, e)))
        return rc;
    throughput(out, before, after);
    shares(out, before, after);
    exits(out, before, after);
    single_figures(out, before, after);
    for (int i = 0; i < out->n; i++)
        p[i] = out->change[i].p;
    significance_correct(p, out->n);
    for (int i = 0; i < out->n; i++) {
        out->change[i].p = p[i];
        judge(&out->change[i]);
    }
    return FL_OK;
}

char *comparison_percent(double share, int digits, char *buf, size_t size)
{
    double percent = 100 * share;
    bool whole = fabs(percent) >= pow(10, digits) - 0.5; /* %g would write an exponent */

    snprintf(buf, size, whole ? "%+.*f" : "%+.*g", whole ? 0 : digits, percent);
    return buf;
}

bool comparison_fails(const struct change *c, double share)
{
    return c->verdict == VERDICT_WORSE && (c->kind != CHANGE_RELATIVE || fabs(c->effect.change) > share);
}
