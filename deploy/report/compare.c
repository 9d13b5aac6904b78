/* compare.c - `freezeline compare`: what changed between two bench documents */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "comparison.h"
#include "deploy/tool/report.h"
#include "deploy/tool/table.h"
#include "deploy/plot/ticks.h"

static const struct usage usage = {
    .command = "compare",
    .operands = "BEFORE.json AFTER.json",
    .summary = "Says what changed between two documents of `freezeline bench --output`, and whether it is "
               "more than noise.",
    .notes = "Latency is tested by a bootstrap over the histograms and as a whole by Kolmogorov-Smirnov,\n"
             "shares (exits, accuracy, errors) as two proportions, throughput as Poisson rates; p-values\n"
             "are corrected for the number of tests (Holm), and 5% counts as significant. Two runs of the\n"
             "very same thing differ as well, by what drifts on the machine between them: measure that\n"
             "first, and give it to --fail-over.\n\n"
             "Exit status: 0 nothing got significantly worse, 1 something did, 2 the documents cannot be\n"
             "compared.\n\n"
             "example:\n"
             "  freezeline compare before.json after.json --fail-over 5\n",
    .min_operands = 2,
    .max_operands = 2,
};

struct compare {
    json_t *before, *after;
    struct comparison *result;
    double fail_over; /* percent */
    bool json;
};

static bool fails(const struct compare *c, int i)
{
    return comparison_fails(&c->result->change[i], c->fail_over / 100);
}

/* A value from a document, with nothing in it that commands the terminal. */
static const char *harmless(char *text)
{
    for (char *p = text; *p; p++)
        if (iscntrl((unsigned char)*p))
            *p = '?';
    return text;
}

static json_t *change_json(const struct change *x, bool fail)
{
    bool distance = x->kind == CHANGE_DISTANCE;

    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:b}", "name", x->name, "unit",
                     x->unit ? json_string(x->unit) : json_null(), "before",
                     distance ? json_null() : report_number(x->before), "after",
                     distance ? json_null() : report_number(x->after), "change",
                     report_number(x->effect.change), "low", report_number(x->effect.low), "high",
                     report_number(x->effect.high), "p", report_number(x->p), "test",
                     x->test ? json_string(x->test) : json_null(), "verdict", comparison_verdicts[x->verdict],
                     "fails", fail);
}

static int print_json(const struct compare *c, int worse, struct error *e)
{
    json_t *changes = json_array(), *warnings = json_array();

    for (int i = 0; i < c->result->n; i++)
        json_array_append_new(changes, change_json(&c->result->change[i], fails(c, i)));
    for (int i = 0; i < c->result->n_warnings; i++)
        json_array_append_new(warnings, json_string(c->result->warning[i]));
    return report_print(json_pack("{s:b, s:f, s:o, s:o}", "worse", worse > 0, "fail_over_percent",
                                  c->fail_over, "warnings", warnings, "changes", changes),
                        e);
}

static void value_cell(struct table *t, double value, const char *unit)
{
    char text[64];
    bool share = unit && !strcmp(unit, "%");

    if (isfinite(value))
        table_cells(t, "%s", ticks_format(text, sizeof text, share ? 100 * value : value, unit));
    else
        table_cells(t, "-");
}

static void change_row(struct table *t, const struct change *x)
{
    const char *unit = x->kind == CHANGE_SHARE ? " points" : "%";
    char name[sizeof x->name], low[32], high[32];

    snprintf(name, sizeof name, "%s", x->name);
    table_cells(t, "%s", harmless(name));
    value_cell(t, x->kind == CHANGE_DISTANCE ? NAN : x->before, x->unit);
    value_cell(t, x->kind == CHANGE_DISTANCE ? NAN : x->after, x->unit);
    if (x->kind == CHANGE_DISTANCE)
        table_cells(t, "apart by %.2g", x->effect.change);
    else if (isfinite(x->effect.change))
        table_cells(t, "%s%s", comparison_percent(x->effect.change, 3, low, sizeof low), unit);
    else
        table_cells(t, "-");
    if (isfinite(x->effect.low))
        table_cells(t, "%s to %s", comparison_percent(x->effect.low, 2, low, sizeof low),
                    comparison_percent(x->effect.high, 2, high, sizeof high));
    else
        table_cells(t, " ");
    if (isfinite(x->p))
        table_cells(t, x->p < 0.001 ? "<0.001" : "%.3f", x->p);
    else
        table_cells(t, " ");
    table_cells(t, "%s", comparison_verdicts[x->verdict]);
}

static int print_table(const struct compare *c, struct error *e)
{
    struct table *t;

    for (int i = 0; i < c->result->n_warnings; i++)
        printf("warning: %s\n", harmless(c->result->warning[i]));
    if (c->result->n_warnings)
        putchar('\n');
    t = table_new("|before|after|change|95% interval|p|verdict", "lrrrrrl");
    for (int i = 0; i < c->result->n; i++)
        change_row(t, &c->result->change[i]);
    return table_end(t, e);
}

/* "latency p99 +12%, errors +1.2 points": all that fails. */
static void name_failures(const struct compare *c, char *text, size_t size)
{
    size_t n = 0;

    *text = 0;
    for (int i = 0; i < c->result->n && n < size; i++) {
        const struct change *x = &c->result->change[i];
        if (fails(c, i))
            n += (size_t)snprintf(text + n, size - n, "%s%s %+.3g%s", n ? ", " : "", x->name,
                                  100 * x->effect.change, x->kind == CHANGE_SHARE ? " points" : "%");
    }
    harmless(text);
}

static int compare(struct compare *c, struct error *e)
{
    char text[400];
    int rc, worse = 0;

    c->result = malloc(sizeof *c->result);
    if (!c->result)
        return error_set(e, FL_NOMEM, "no memory to compare");
    if ((rc = comparison_make(c->result, c->before, c->after, e)))
        return rc == FL_NOMEM ? rc : FL_USAGE; /* status 2: nobody shall take it for a slower run */
    for (int i = 0; i < c->result->n; i++)
        worse += fails(c, i);
    if ((rc = c->json ? print_json(c, worse, e) : print_table(c, e)))
        return rc;
    if (worse) {
        name_failures(c, text, sizeof text);
        return error_set(e, FL_VALUE, "worse: %s", text);
    }
    if (!c->json)
        puts("\nnothing got significantly worse");
    return FL_OK;
}

int command_compare(int argc, char **argv, struct error *e)
{
    struct compare c = {0};
    struct argument_list operands;
    const struct argument table[] = {
        OPTION_NUMBER("fail-over", c.fail_over, "PERCENT",
                      "let latency and throughput get worse by so much (0)", 0, 1e6),
        ARGUMENTS_JSON(c.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &operands, e);

    if (rc)
        return rc;
    if (document_load(&c.before, operands.item[0], e) || document_load(&c.after, operands.item[1], e))
        rc = FL_USAGE;
    else
        rc = compare(&c, e);
    json_decref(c.before);
    json_decref(c.after);
    free(c.result);
    return rc;
}
