/* arrivals.c - Poisson, uniform, bursty and recorded arrival times */
#include "arrivals.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/nearest_word.h"
#include "numbers/shuffle.h"

#define STREAM_GAPS      11
#define STREAM_STATES    12
#define BURST_RATE       5.0         /* times the mean */
#define CALM_RATE        (5.0 / 9.0) /* with a tenth of the time in bursts: 0.1 * 5 + 0.9 * 5/9 = 1 */
#define BURST_SHARE      0.1
#define BURST_S          0.2 /* mean length */
#define CALM_S           1.8
#define TRACE_LINE_BYTES 4096
#define TRACE_MAX_S      1e7

static const char *const names[] = {"poisson", "uniform", "mmpp", "trace"};

enum kind { POISSON, UNIFORM, MMPP, TRACE };

struct arrivals {
    enum kind kind;
    double rate;
    struct shuffle gaps, states;
    double at_s;          /* of the last one */
    double switch_s;      /* mmpp: when the state changes */
    bool burst;           /* mmpp: the state */
    int64_t n, next;      /* trace: its times; uniform: how many there were */
    int64_t room;         /* of due_s */
    double *due_s, first; /* trace: after the first one's time */
};

static int wrong_line(const char *path, int64_t line, const char *what, struct error *e)
{
    return error_set(e, FL_CORRUPT, "%s:%lld: %s", path, (long long)line, what);
}

static int keep_time(struct arrivals *a, double at_s, const char *path, int64_t line, struct error *e)
{
    if (!a->n)
        a->first = at_s;
    at_s -= a->first;
    if (a->n && at_s < a->due_s[a->n - 1])
        return wrong_line(path, line, "this time is before the last one; sort the file", e);
    if (at_s > TRACE_MAX_S)
        return wrong_line(path, line, "more than 10,000,000 seconds after the first time", e);
    if (a->n == ARRIVALS_MAX_TRACE)
        return error_set(e, FL_TOO_LARGE, "%s has more than %d times; split it", path, ARRIVALS_MAX_TRACE);
    if (a->n == a->room) {
        int64_t room = a->room ? 2 * a->room : 1024;
        double *more = realloc(a->due_s, (size_t)room * sizeof *more);
        if (!more)
            return error_set(e, FL_NOMEM, "no memory for the times of %s", path);
        a->due_s = more;
        a->room = room;
    }
    a->due_s[a->n++] = at_s;
    return FL_OK;
}

/* One line with its newline taken off. */
static int trace_line(struct arrivals *a, const char *text, const char *path, int64_t line, struct error *e)
{
    const char *begin = text + strspn(text, " \t");
    char *end;
    double at_s;

    if (!*begin || *begin == '#')
        return FL_OK;
    at_s = strtod(begin, &end);
    if (end == begin && line == 1)
        return FL_OK; /* a heading */
    end += strspn(end, " \t");
    if (end == begin || (*end && *end != ',') || !isfinite(at_s) || at_s < 0)
        return wrong_line(path, line, "expected a time in seconds, then a comma or the line's end", e);
    return keep_time(a, at_s, path, line, e);
}

static int read_lines(struct arrivals *a, FILE *f, const char *path, struct error *e)
{
    char text[TRACE_LINE_BYTES];
    int64_t line = 0;
    int rc = FL_OK;

    while (!rc && fgets(text, sizeof text, f)) {
        size_t n = strlen(text);
        line++;
        if (!n || text[n - 1] != '\n')
            return wrong_line(path, line,
                              feof(f) ? "the last line does not end; is the file cut off?"
                                      : "no line of text of less than 4096 bytes",
                              e);
        text[n - 1 - (n > 1 && text[n - 2] == '\r')] = 0;
        rc = trace_line(a, text, path, line, e);
    }
    if (!rc && ferror(f))
        rc = error_set(e, FL_IO, "cannot read %s: %s", path, strerror(errno));
    if (!rc && !a->n)
        rc = error_set(e, FL_CORRUPT, "%s has no times", path);
    return rc;
}

static int read_trace(struct arrivals *a, const char *path, struct error *e)
{
    FILE *f = fopen(path, "re");
    int rc;

    if (!f)
        return error_set(e, FL_IO, "cannot open %s: %s", path, strerror(errno));
    rc = read_lines(a, f, path, e);
    fclose(f);
    if (!rc)
        a->rate = a->due_s[a->n - 1] > 0 ? (double)(a->n - 1) / a->due_s[a->n - 1] : (double)a->n;
    return rc;
}

static int parse(struct arrivals *a, const char *spec, struct error *e)
{
    const char *near;

    if (!strncmp(spec, "trace:", 6)) {
        a->kind = TRACE;
        return spec[6] ? read_trace(a, spec + 6, e)
                       : error_set(e, FL_USAGE, "trace: names no file; write trace:FILE");
    }
    for (int i = POISSON; i < TRACE; i++)
        if (!strcmp(spec, names[i])) {
            a->kind = (enum kind)i;
            if (!(a->rate > 0 && a->rate <= ARRIVALS_MAX_RATE))
                return error_set(e, FL_USAGE, "a rate of %g requests a second is impossible: above 0 to %g",
                                 a->rate, ARRIVALS_MAX_RATE);
            return FL_OK;
        }
    near = nearest_word(spec, names, 4);
    return error_set(e, FL_USAGE, "arrivals '%s' are unknown%s%s%s: poisson, uniform, mmpp or trace:FILE",
                     spec, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

int arrivals_new(struct arrivals **out, const char *spec, double rate, uint64_t seed, struct error *e)
{
    struct arrivals *a = calloc(1, sizeof *a);
    int rc;

    *out = NULL;
    if (!a)
        return error_set(e, FL_NOMEM, "no memory for arrival times");
    a->rate = rate;
    if ((rc = parse(a, spec, e))) {
        arrivals_free(a);
        return rc;
    }
    shuffle_seed(&a->gaps, seed, STREAM_GAPS);
    shuffle_seed(&a->states, seed, STREAM_STATES);
    a->burst = shuffle_uniform(&a->states) < BURST_SHARE;
    a->switch_s = shuffle_exponential(&a->states, a->burst ? BURST_S : CALM_S);
    *out = a;
    return FL_OK;
}

void arrivals_free(struct arrivals *a)
{
    if (!a)
        return;
    free(a->due_s);
    free(a);
}

/* Exponential gaps have no memory, so what is left of one when the state changes is drawn anew. */
static double next_bursty(struct arrivals *a)
{
    for (;;) {
        double at_s =
            a->at_s + shuffle_exponential(&a->gaps, 1 / (a->rate * (a->burst ? BURST_RATE : CALM_RATE)));
        if (at_s < a->switch_s)
            return at_s;
        a->at_s = a->switch_s;
        a->burst = !a->burst;
        a->switch_s += shuffle_exponential(&a->states, a->burst ? BURST_S : CALM_S);
    }
}

bool arrivals_next(struct arrivals *a, uint64_t *due_ns)
{
    switch (a->kind) {
    case POISSON:
        a->at_s += shuffle_exponential(&a->gaps, 1 / a->rate);
        break;
    case UNIFORM:
        a->at_s = (double)a->next++ / a->rate;
        break;
    case MMPP:
        a->at_s = next_bursty(a);
        break;
    case TRACE:
        if (a->next == a->n)
            return false;
        a->at_s = a->due_s[a->next++];
        break;
    }
    *due_ns = (uint64_t)(a->at_s * (double)NS_PER_S);
    return true;
}

const char *arrivals_name(const struct arrivals *a)
{
    return names[a->kind];
}

double arrivals_rate(const struct arrivals *a)
{
    return a->rate;
}

double arrivals_steady_rate(const struct arrivals *a)
{
    return a->kind == TRACE ? fmin(fmin(a->rate, (double)a->n), ARRIVALS_MAX_RATE) : a->rate;
}
