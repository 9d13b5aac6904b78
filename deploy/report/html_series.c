/* html_series.c - figures over something: latency over load, a run over time */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "bench_document.h"
#include "html.h"
#include "html_sections.h"
#include "deploy/plot/plot.h"

#define MAX_EVENTS 64
#define MAX_WORDS  4 /* events that are written out beside their lines */

/* One number of each object of a list, times `scale`; NAN where there is none. */
static double *column(const json_t *list, const char *key, double scale)
{
    double *x = malloc((json_array_size(list) + 1) * sizeof *x);

    for (size_t i = 0; x && i < json_array_size(list); i++)
        x[i] = scale * document_number(json_array_get(list, i), key);
    return x;
}

/* What was due per second at each rate; NULL without memory. Documents of earlier versions have only the
 * rates that were asked for, from which what was due differs by chance over *seconds. Where a document has
 * what was due, *seconds becomes infinite. */
static double *offered(const json_t *sweep, double *seconds)
{
    double *x = column(sweep, "offered_rps", 1);

    for (size_t i = 0; x && i < json_array_size(sweep); i++)
        if (isnan(x[i])) {
            free(x);
            return column(sweep, "rate", 1);
        }
    *seconds = INFINITY;
    return x;
}

static int no_memory(struct error *e)
{
    return error_set(e, FL_NOMEM, "no memory for the report");
}

static void load_table(FILE *to, const json_t *sweep)
{
    struct html_table t;
    const json_t *step;
    double due;
    size_t i;

    html_table_open(&t, to, "Load as a table", "offered|answered|p50|p99|valid", "rrrrl");
    json_array_foreach(sweep, i, step)
    {
        due = document_number(step, "offered_rps");
        html_number(&t, isfinite(due) ? due : document_number(step, "rate"), "/s");
        html_number(&t, document_number(step, "achieved_rps"), "/s");
        html_number(&t, document_number(step, "p50_ms") / 1000, "s");
        html_number(&t, document_number(step, "p99_ms") / 1000, "s");
        html_cell(&t, "%s", document_truth(step, "valid", false) ? "yes" : "no");
    }
    html_table_close(&t, "");
}

/* The highest rate that was kept up with: answered as fast as offered, but for 2% and what chance takes off
 * the number of arrivals in `seconds` where it is not known (three standard deviations of a Poisson number).
 */
static double highest_kept(const double *rate, const double *achieved, size_t n, double seconds)
{
    double best = NAN;

    for (size_t i = 0; i < n; i++) {
        double chance = seconds > 0 && rate[i] > 0 ? 3 * sqrt(rate[i] / seconds) : 0;
        if (achieved[i] >= 0.98 * rate[i] - chance && !(rate[i] <= best))
            best = rate[i];
    }
    return best;
}

static int draw_load(FILE *to, const json_t *sweep, double seconds, struct error *e)
{
    size_t n = json_array_size(sweep);
    double *rate = offered(sweep, &seconds), *achieved = column(sweep, "achieved_rps", 1),
           *p50 = column(sweep, "p50_ms", 1e-3), *p99 = column(sweep, "p99_ms", 1e-3), limit;
    static const char *const limit_name[] = {"keeps up to here"};
    int rc = rate && achieved && p50 && p99 ? FL_OK : no_memory(e);

    if (!rc) {
        limit = highest_kept(rate, achieved, n, seconds);
        const struct plot_series series[] = {
            {.name = "p50", .n = (int)n, .x = rate, .y = p50},
            {.name = "p99", .n = (int)n, .x = rate, .y = p99, .dashed = true},
            {.mark = PLOT_RULES, .n = isfinite(limit), .x = &limit, .label = limit_name}};
        const struct plot p = {.title = "Latency against load",
                               .bare = true,
                               .x = {.title = "offered load", .unit = "/s"},
                               .y = {.title = "latency", .log = true, .unit = "s"},
                               .n_series = 3,
                               .series = series};
        rc = plot_write(&p, to, e);
    }
    free(rate);
    free(achieved);
    free(p50);
    free(p99);
    return rc;
}

int html_load(FILE *to, const json_t *doc, struct error *e)
{
    const json_t *sweep = document_list(doc, "sweep");
    int rc = FL_VALUE;

    html_section(to, "load", "Latency against load",
                 "Where the lines turn upwards, requests arrive faster than they are answered, and wait.");
    if (json_array_size(sweep))
        rc = draw_load(to, sweep, document_number(doc, "load.seconds"), e);
    if (rc == FL_VALUE) {
        html_absent(to, "Not shown: this run had one rate only, no sweep over rates.");
        rc = FL_OK;
    } else if (!rc)
        load_table(to, sweep);
    html_section_end(to);
    return rc;
}

struct events {
    int n;
    double at[MAX_EVENTS];
    const char *text[MAX_EVENTS];
    char number[MAX_EVENTS][12];
    const char *label[MAX_EVENTS]; /* few are written out, many are numbered as in the table */
};

static void read_events(struct events *out, const json_t *doc)
{
    const json_t *list = document_list(doc, "events"), *event;
    size_t i;

    out->n = 0;
    json_array_foreach(list, i, event)
    {
        const char *text = document_text(event, "text");
        double t = document_number(event, "t");
        if (text && isfinite(t) && out->n < MAX_EVENTS) {
            out->at[out->n] = t;
            out->text[out->n++] = text;
        }
    }
    for (int k = 0; k < out->n; k++) {
        snprintf(out->number[k], sizeof out->number[k], "%d", k + 1);
        out->label[k] = out->n > MAX_WORDS ? out->number[k] : out->text[k];
    }
}

static struct plot_series rules(const struct events *v)
{
    return (struct plot_series){.mark = PLOT_RULES, .n = v->n, .x = v->at, .label = v->label, .dashed = true};
}

static int draw_rates(FILE *to, const struct events *events, int n, double *t, double *const of[4],
                      struct error *e)
{
    double most = 0;

    for (int i = 0; i < n; i++)
        most = isfinite(of[2][i]) ? fmax(most, of[2][i]) : most;
    const struct plot_series series[] = {
        {.name = "sent", .mark = PLOT_STEP, .n = n, .x = t, .y = of[0], .dashed = true},
        {.name = "answered", .mark = PLOT_STEP, .n = n, .x = t, .y = of[1]},
        {.name = "answered by an exit", .mark = PLOT_STEP, .n = n, .x = t, .y = of[3]},
        {.name = "errors", .mark = PLOT_STEP, .n = most > 0 ? n : 0, .x = t, .y = of[2]},
        rules(events)};
    const struct plot p = {.title = "Requests over time",
                           .bare = true,
                           .x = {.title = "time", .unit = "s"},
                           .y = {.title = "requests per second"},
                           .n_series = 5,
                           .series = series};
    return plot_write(&p, to, e);
}

static int draw_latency(FILE *to, const struct events *events, int n, double *t, double *p50, double *p99,
                        struct error *e)
{
    const struct plot_series series[] = {{.name = "p50", .n = n, .x = t, .y = p50},
                                         {.name = "p99", .n = n, .x = t, .y = p99, .dashed = true},
                                         rules(events)};
    const struct plot p = {.title = "Latency over time",
                           .bare = true,
                           .x = {.title = "time", .unit = "s"},
                           .y = {.title = "latency of the requests of a time", .log = true, .unit = "s"},
                           .n_series = 3,
                           .series = series};
    return plot_write(&p, to, e);
}

/* How long each entry of the time line is: long runs have longer ones. */
static double slot_seconds(const json_t *list)
{
    double s = document_number(json_array_get(list, 1), "t") - document_number(json_array_get(list, 0), "t");
    return s > 0 ? s : 1;
}

static int draw_timeline(FILE *to, const json_t *list, const struct events *events, struct error *e)
{
    static const char *const key[] = {"sent", "answered", "errors", "early"};
    double *t = column(list, "t", 1), *p50 = column(list, "p50_ms", 1e-3),
           *p99 = column(list, "p99_ms", 1e-3), *of[4];
    int n = (int)json_array_size(list), rc = t && p50 && p99 ? FL_OK : no_memory(e);

    for (int i = 0; i < 4; i++)
        if (!(of[i] = column(list, key[i], 1 / slot_seconds(list))))
            rc = no_memory(e);
    if (!rc)
        rc = draw_rates(to, events, n, t, of, e);
    if (!rc && (rc = draw_latency(to, events, n, t, p50, p99, e)) == FL_VALUE)
        rc = FL_OK; /* nothing was answered; the rates show it */
    for (int i = 0; i < 4; i++)
        free(of[i]);
    free(t);
    free(p50);
    free(p99);
    return rc;
}

static void timeline_tables(FILE *to, const json_t *list, const struct events *events)
{
    struct html_table t;
    const json_t *second;
    size_t i;

    if (events->n) {
        html_table_open(&t, to, "Events as a table", "no.|time|event", "rrl");
        for (int k = 0; k < events->n; k++) {
            html_cell(&t, "%d", k + 1);
            html_number(&t, events->at[k], "s");
            html_cell(&t, "%s", events->text[k]);
        }
        html_table_close(&t, "");
    }
    html_table_open(&t, to, "Time line as a table", "time|sent|answered|by an exit|errors|p50|p99",
                    "rrrrrrr");
    json_array_foreach(list, i, second)
    {
        html_number(&t, document_number(second, "t"), "s");
        html_number(&t, document_number(second, "sent"), NULL);
        html_number(&t, document_number(second, "answered"), NULL);
        html_number(&t, document_number(second, "early"), NULL);
        html_number(&t, document_number(second, "errors"), NULL);
        html_number(&t, document_number(second, "p50_ms") / 1000, "s");
        html_number(&t, document_number(second, "p99_ms") / 1000, "s");
    }
    html_table_close(&t, "");
}

int html_timeline(FILE *to, const json_t *doc, struct error *e)
{
    const json_t *list = document_list(doc, "timeline");
    struct events events;
    int rc = FL_VALUE;

    read_events(&events, doc);
    html_section(to, "timeline", "The run over time",
                 !events.n              ? NULL
                 : events.n > MAX_WORDS ? "Vertical lines are events, numbered as in the table below."
                                        : "Vertical lines are events.");
    if (json_array_size(list) > 1)
        rc = draw_timeline(to, list, &events, e);
    if (rc == FL_VALUE) {
        html_absent(to, "Not shown: the document has no time line of two seconds or more.");
        rc = FL_OK;
    } else if (!rc)
        timeline_tables(to, list, &events);
    html_section_end(to);
    return rc;
}
