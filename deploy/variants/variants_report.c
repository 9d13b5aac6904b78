/* variants_report.c - variants side by side */
#include "variants_report.h"

#include <math.h>
#include <stdio.h>

#include "deploy/plot/plot.h"
#include "deploy/tool/output.h"
#include "deploy/tool/report.h"
#include "deploy/tool/table.h"

static double share(const struct measurements *m, int64_t of)
{
    return (double)of / (double)m->records;
}

static double accuracy(const struct measurements *m, const struct measured *x)
{
    return m->labelled ? share(m, x->right) : NAN;
}

/* Of the cascade, on the records that certified it. */
static double cascade_accuracy(const struct measurements *m, const struct cascade *c)
{
    const struct measured *best = &m->one[m->best];
    return (m->labelled ? accuracy(m, best) : share(m, best->of.agreed)) - c->choice.certified.loss;
}

/* --- table --- */

static void print_rows(const struct measurements *m, struct table *t)
{
    char text[32];
    for (int i = 0; i < m->n; i++) {
        const struct measured *x = &m->one[i];
        table_cells(t, "%s|%s", x->name, x->computes);
        table_number(t, "%.2f%%", 100 * accuracy(m, x));
        table_cells(t, "%.2f%%|%.2f|%.2f|%.3f|%.3f|%.3f|%s", 100 * share(m, x->of.agreed), 100 * x->loss,
                    100 * x->upper, x->of.served_ms.mean, x->of.served_ms.p99, 1e3 * x->of.served_cpu_s,
                    table_bytes(x->bytes, text, sizeof text));
        table_number(t, "%.3f", 1e3 * x->joules);
        table_cells(t, "%s", x->front ? "*" : "");
    }
}

static void print_cascade(const struct measurements *m, const struct cascade *c)
{
    const struct measured *best = &m->one[m->best];
    const struct promise_result *r = &c->choice.certified;

    if (*c->why_not) {
        printf("cascade         none: %s\n", c->why_not);
        return;
    }
    printf("cascade         ");
    for (int k = 0; k < c->n; k++)
        if (c->choice.placed[k])
            printf("%s answers %.1f%% (above confidence %.4f), ", m->one[c->of[k]].name,
                   100 * (double)r->exit[k].answered / (double)r->points, (double)c->choice.threshold[k]);
    printf("%s the rest: loses %.2f points (at most %.2f), %.3f ms\n", best->name, 100 * r->loss,
           100 * c->choice.upper, c->ms);
    printf("in comparison   %s by itself takes %.3f ms, with its exits %.3f ms: the cascade %s\n", best->name,
           best->of.full_ms.mean, c->best_ms,
           best->of.early
               ? c->ms < c->best_ms ? "is quicker than exits alone" : "is no quicker than exits alone"
               : "is quicker, and has no exits to compare with");
}

int variants_print(const struct measurements *m, const struct cascade *c, const char *figures,
                   struct error *e)
{
    struct table *t = table_new(
        "variant|precision|accuracy|agreement|lost|at most|ms|p99|CPU ms|memory|mJ|front", "llrrrrrrrrrl");
    int rc;

    printf("%lld records; lost: points of %s against %s, at most: with certainty %g%% for all at once; one "
           "request at a time, exits\nincluded; front: none is as accurate and quicker\n\n",
           (long long)m->records, m->labelled ? "accuracy" : "agreement", m->one[m->best].name,
           100 * m->certainty);
    print_rows(m, t);
    if ((rc = table_end(t, e)))
        return rc;
    printf("\n");
    print_cascade(m, c);
    printf("figures         %s: the broker chooses by them when it starts\n", figures);
    return FL_OK;
}

/* --- JSON --- */

static json_t *one_json(const struct measurements *m, const struct cascade *c, int i)
{
    const struct measured *x = &m->one[i];
    const struct summary *s = &x->of.served_ms;
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:{s:o, s:o, s:o}, s:o, s:o, s:I, s:o, s:o, s:o, s:b}",
                     "name", x->name, "precision", x->computes, "accuracy", report_rounded(accuracy(m, x), 6),
                     "agreement", report_rounded(share(m, x->of.agreed), 6), "loss",
                     report_rounded(x->loss, 6), "loss_upper", report_rounded(x->upper, 6), "latency_ms",
                     "mean", report_rounded(s->mean, 6), "p50", report_rounded(s->p50, 6), "p99",
                     report_rounded(s->p99, 6), "network_ms", report_rounded(x->of.full_ms.mean, 6), "cpu_s",
                     report_rounded(x->of.served_cpu_s, 9), "memory_bytes", (json_int_t)x->bytes, "joules",
                     report_rounded(x->joules, 6), "early_share", report_rounded(share(m, x->of.early), 6),
                     "sure", report_number(c->sure[i]), "front", x->front);
}

static json_t *cascade_json(const struct measurements *m, const struct cascade *c)
{
    const struct promise_result *r = &c->choice.certified;
    json_t *order = json_array(), *answered = json_array();

    for (int k = 0; k < c->n; k++)
        if (c->choice.placed[k]) {
            json_array_append_new(order, json_string(m->one[c->of[k]].name));
            json_array_append_new(answered,
                                  report_rounded((double)r->exit[k].answered / (double)r->points, 6));
        }
    json_array_append_new(order, json_string(m->one[m->best].name));
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:b}", "order", order, "answered", answered,
                     "loss", report_rounded(r->loss, 6), "loss_upper", report_rounded(c->choice.upper, 6),
                     "ms", report_rounded(c->ms, 6), "exits_alone_ms", report_rounded(c->best_ms, 6),
                     "network_ms", report_rounded(m->one[m->best].of.full_ms.mean, 6), "certified_on",
                     (json_int_t)r->points, "beats_exits", c->ms < c->best_ms);
}

int variants_json(const struct measurements *m, const struct cascade *c, const char *figures, int threads,
                  struct error *e)
{
    json_t *list = json_array(), *root;

    for (int i = 0; i < m->n; i++)
        json_array_append_new(list, one_json(m, c, i));
    root = json_pack("{s:I, s:o, s:s, s:o, s:o, s:s}", "requests", (json_int_t)m->records, "certainty",
                     report_number(m->certainty), "best", m->one[m->best].name, "variants", list, "cascade",
                     *c->why_not ? json_pack("{s:s}", "why_not", c->why_not) : cascade_json(m, c), "figures",
                     figures);
    if (root)
        report_engine(root, threads);
    return report_print(root, e);
}

/* --- picture --- */

struct picture_of {
    const struct measurements *m;
    const struct cascade *c;
};

static double height(const struct measurements *m, const struct measured *x)
{
    return 100 * (m->labelled ? accuracy(m, x) : share(m, x->of.agreed));
}

static int draw(FILE *to, const void *arg, struct error *e)
{
    const struct picture_of *of = arg;
    const struct measurements *m = of->m;
    double x[CHOICE_MAX], y[CHOICE_MAX], fx[CHOICE_MAX], fy[CHOICE_MAX], cx = of->c->ms, cy;
    const char *name[CHOICE_MAX];
    struct plot_series s[3] = {{"variants", PLOT_POINTS, false, m->n, x, y, NULL, NULL, name},
                               {"nothing is better", PLOT_STEP, true, 0, fx, fy, NULL, NULL, NULL},
                               {"cascade", PLOT_POINTS, false, 1, &cx, &cy, NULL, NULL, NULL}};
    struct plot p = {.title = "Variants: accuracy against latency",
                     .x = {.title = "latency of a request (ms)"},
                     .y = {.title = m->labelled ? "accuracy" : "agreement with float32", .unit = "%"},
                     .n_series = *of->c->why_not ? 2 : 3,
                     .series = s};

    cy = 100 * cascade_accuracy(m, of->c);
    for (int i = 0; i < m->n; i++) {
        x[i] = m->one[i].of.served_ms.mean;
        y[i] = height(m, &m->one[i]);
        name[i] = m->one[i].name;
    }
    for (int i = 0; i < m->n; i++) { /* the front from left to right */
        int at = s[1].n;
        if (!m->one[i].front)
            continue;
        for (; at && fx[at - 1] > x[i]; at--) {
            fx[at] = fx[at - 1];
            fy[at] = fy[at - 1];
        }
        fx[at] = x[i];
        fy[at] = y[i];
        s[1].n++;
    }
    return plot_write(&p, to, e);
}

int variants_plot(const struct measurements *m, const struct cascade *c, const char *path, struct error *e)
{
    return output_write(path, draw, &(struct picture_of){m, c}, e);
}
