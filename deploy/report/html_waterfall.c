/* html_waterfall.c - where the time goes: parts of the whole, and stage by stage */
#include <math.h>
#include <string.h>

#include "bench_document.h"
#include "html.h"
#include "html_sections.h"
#include "deploy/plot/markup.h"
#include "deploy/plot/ticks.h"

#define WIDTH      440.0
#define LEFT       8.0
#define SPAN       (WIDTH - 2 * LEFT)
#define FONT       12.0
#define ROW        46.0
#define MAX_STAGES 64
#define N(a)       ((int)(sizeof(a) / sizeof *(a)))

/* In the order in which they pass; each has its colour wherever it is drawn. */
static const struct part {
    const char *key, *name, *colour;
} parts[] = {{"client", "client", "c5"},       {"broker", "broker", "c3"},
             {"wire", "wire", "c2"},           {"queue", "queue", "c4"},
             {"compute", "compute", "c0"},     {"lookup", "look-up", "c1"},
             {"serialise", "serialise", "c6"}, {"residual", "unexplained", "rest"}};
#define N_PARTS N(parts)

static const struct part stage_parts[] = {{"wire_ms", "wire", "c2"},
                                          {"queue_ms", "queue", "c4"},
                                          {"compute_ms", "compute", "c0"},
                                          {"lookup_exposed_ms", "look-up", "c1"},
                                          {"serialise_ms", "serialise", "c6"}};

/* What is drawn of a duration in ms: nothing of one that is unknown or below 0. */
static double length(double ms)
{
    return ms > 0 ? fmin(ms, 1e12) : 0;
}

/* A segment with a text to hover, and its name inside where there is room. */
static void segment(FILE *to, const struct part *p, double x, double y, double width, double height,
                    double ms)
{
    char text[64];

    if (width <= 0)
        return;
    fprintf(to,
            "<g class=\"%s\"><rect class=\"mark\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.1f\">"
            "<title>%s: %s</title></rect></g>",
            p->colour, x, y, fmax(width - 0.6, 0.4), height, p->name,
            ticks_format(text, sizeof text, ms / 1000, "s"));
}

static void legend(FILE *to, const struct part *p, int n, double y)
{
    double x = LEFT;

    for (int i = 0; i < n; i++) {
        double width = 32 + markup_width(p[i].name, FONT);
        if (x + width > WIDTH) {
            x = LEFT;
            y += 18;
        }
        fprintf(to,
                "<g class=\"%s\"><rect class=\"mark\" x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"10\"/></g>"
                "<text x=\"%.1f\" y=\"%.1f\">%s</text>",
                p[i].colour, x, y, x + 17, y + 9, p[i].name);
        x += width;
    }
}

static double total_of(const json_t *o)
{
    double sum = 0;
    for (int i = 0; i < N_PARTS; i++)
        sum += length(document_number(o, parts[i].key));
    return sum;
}

static void stacked(FILE *to, const json_t *o, const char *name, double y, double per_ms)
{
    char text[64];
    double x = LEFT;

    fprintf(to, "<text class=\"title\" x=\"%.1f\" y=\"%.1f\">%s: %s</text>", LEFT, y + 12, name,
            ticks_format(text, sizeof text, total_of(o) / 1000, "s"));
    for (int i = 0; i < N_PARTS; i++) {
        double ms = length(document_number(o, parts[i].key));
        segment(to, &parts[i], x, y + 19, ms * per_ms, 24, ms);
        x += ms * per_ms;
    }
}

static void parts_table(FILE *to, const json_t *mean, const json_t *middle)
{
    struct html_table t;

    html_table_open(&t, to, "Parts as a table", "part|mean|share|median requests|share", "lrrrr");
    for (int i = 0; i < N_PARTS; i++) {
        html_cell(&t, "%s", parts[i].name);
        html_number(&t, document_number(mean, parts[i].key) / 1000, "s");
        html_number(&t, 100 * document_number(mean, parts[i].key) / total_of(mean), "%");
        html_number(&t, document_number(middle, parts[i].key) / 1000, "s");
        html_number(&t, 100 * document_number(middle, parts[i].key) / total_of(middle), "%");
    }
    html_table_close(&t, "");
}

void html_parts(FILE *to, const json_t *doc)
{
    const json_t *mean = document_object(doc, "parts_ms"), *middle = document_object(doc, "parts_p50_ms");
    double most = fmax(total_of(mean), total_of(middle)),
           residual = document_number(doc, "residual_share_p50");
    int rows = (total_of(mean) > 0) + (total_of(middle) > 0);
    double y = 46;

    html_section(
        to, "parts", "Where the time goes",
        "Parts of a request's time one after another: the mean over all requests, and of the requests around "
        "the median. Look-up is what a look-up adds; what is hidden behind computing costs nothing.");
    if (!rows) {
        html_absent(to, "Not shown: the document does not say where the time went.");
        html_section_end(to);
        return;
    }
    markup_svg_open(to, "Where the time goes", WIDTH, y + rows * 58);
    legend(to, parts, N_PARTS, 4);
    if (total_of(mean) > 0) {
        stacked(to, mean, "mean of all requests", y, SPAN / most);
        y += 58;
    }
    if (total_of(middle) > 0)
        stacked(to, middle, "requests around the median", y, SPAN / most);
    fputs("</svg>\n", to);
    if (isfinite(residual))
        html_line(to, "note", "Unexplained at the median: %.1f%% of the time.", 100 * fabs(residual));
    parts_table(to, mean, middle);
    html_section_end(to);
}

static double stage_length(const json_t *stage)
{
    double sum = 0;
    for (int i = 0; i < N(stage_parts); i++)
        sum += length(document_number(stage, stage_parts[i].key));
    return sum;
}

/* One row: a title, and bars from where the row before it ended. Returns where it ends, in ms. */
static double stage_row(FILE *to, const json_t *stage, int number, double answered, double y, double start,
                        double per_ms)
{
    double entered = document_number(stage, "entered"), batch = document_number(stage, "batch_mean"),
           at = start;
    double hidden = length(document_number(stage, "lookup_hidden_ms"));
    double compute =
        start + length(document_number(stage, "wire_ms")) + length(document_number(stage, "queue_ms"));

    fprintf(to, "<text x=\"%.1f\" y=\"%.1f\"><tspan class=\"title\">stage %d</tspan>", LEFT, y + 12, number);
    if (answered > 0 && isfinite(entered))
        fprintf(to, " reached by %.0f%%", fmin(100 * entered / answered, 100));
    if (batch > 0)
        fprintf(to, ", %.2g in a batch", batch);
    fputs("</text>", to);
    for (int i = 0; i < N(stage_parts); i++) {
        double ms = length(document_number(stage, stage_parts[i].key));
        segment(to, &stage_parts[i], LEFT + at * per_ms, y + 18, ms * per_ms, 16, ms);
        at += ms;
    }
    if (hidden > 0) {
        char text[64];
        fprintf(to,
                "<g class=\"c1\"><rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"5\" fill=\"none\" "
                "stroke=\"currentColor\"><title>look-up hidden behind computing: %s</title></rect></g>",
                LEFT + compute * per_ms, y + 36, hidden * per_ms,
                ticks_format(text, sizeof text, hidden / 1000, "s"));
    }
    return at;
}

/* Before the first stage: client and broker, of all requests. Returns where it ends, in ms. */
static double intro_row(FILE *to, const json_t *mean, double y, double per_ms)
{
    double at = 0;

    fprintf(to, "<text class=\"title\" x=\"%.1f\" y=\"%.1f\">client and broker</text>", LEFT, y + 12);
    for (int i = 0; i < 2; i++) {
        double ms = length(document_number(mean, parts[i].key));
        segment(to, &parts[i], LEFT + at * per_ms, y + 18, ms * per_ms, 16, ms);
        at += ms;
    }
    return at;
}

/* After the last stage: the answer on its way to the broker. */
static void return_row(FILE *to, double ms, double y, double start, double per_ms)
{
    fprintf(to, "<text class=\"title\" x=\"%.1f\" y=\"%.1f\">the answer's way back</text>", LEFT, y + 12);
    segment(to, &stage_parts[0], LEFT + start * per_ms, y + 18, ms * per_ms, 16, ms);
}

static void time_axis(FILE *to, double most_ms, double bottom)
{
    struct ticks t;

    ticks_make(&t, false, 0, most_ms / 1000, 5, "s");
    for (int i = 0; i < t.n; i++) {
        double x = LEFT + t.at[i] * 1000 / most_ms * SPAN, half = markup_width(t.label[i], FONT) / 2;
        fprintf(to,
                "<line class=\"grid\" x1=\"%.1f\" y1=\"46\" x2=\"%.1f\" y2=\"%.1f\"/>"
                "<text text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">%s</text>",
                x, x, bottom - 22, fmin(fmax(x, half), WIDTH - half), bottom - 8, t.label[i]);
    }
}

static void stage_table(FILE *to, const json_t *stages)
{
    struct html_table t;
    const json_t *stage;
    size_t i;

    html_table_open(&t, to, "Stages as a table",
                    "stage|entered|exited|batch|wire|queue|compute|look-up|hidden look-up|serialise",
                    "rrrrrrrrrr");
    json_array_foreach(stages, i, stage)
    {
        static const char *const key[] = {"wire_ms",           "queue_ms",         "compute_ms",
                                          "lookup_exposed_ms", "lookup_hidden_ms", "serialise_ms"};
        html_cell(&t, "%zu", i);
        html_number(&t, document_number(stage, "entered"), NULL);
        html_number(&t, document_number(stage, "exited"), NULL);
        html_number(&t, document_number(stage, "batch_mean"), NULL);
        for (int k = 0; k < N(key); k++)
            html_number(&t, document_number(stage, key[k]) / 1000, "s");
    }
    html_table_close(&t, "");
}

void html_waterfall(FILE *to, const json_t *doc)
{
    const json_t *stages = document_list(doc, "stages"), *mean = document_object(doc, "parts_ms"), *stage;
    double answered = document_number(doc, "answered"), back = length(document_number(doc, "return_ms"));
    double y = 30, at, most = 0, height;
    size_t n = json_array_size(stages), i;

    html_section(to, "stages", "Stage by stage",
                 "The way of a request that runs every stage: means over the requests that ran each. An "
                 "outlined bar is "
                 "a look-up that was on its way while its stage went on computing.");
    json_array_foreach(stages, i, stage) most += stage_length(stage);
    if (!(most > 0) || n > MAX_STAGES) {
        html_absent(to, n > MAX_STAGES ? "Not shown: more stages than can be drawn."
                                       : "Not shown: the document has no times of stages.");
        html_section_end(to);
        return;
    }
    most += length(document_number(mean, "client")) + length(document_number(mean, "broker")) + back;
    height = y + 18 + (double)(n + 1 + (back > 0)) * ROW + 22;
    markup_svg_open(to, "Stage by stage", WIDTH, height);
    time_axis(to, most, height);
    legend(to, parts, N_PARTS - 1, 4);
    at = intro_row(to, mean, y += 18, SPAN / most);
    json_array_foreach(stages, i, stage) at =
        stage_row(to, stage, (int)i, answered, y += ROW, at, SPAN / most);
    if (back > 0)
        return_row(to, back, y + ROW, at, SPAN / most);
    fputs("</svg>\n", to);
    stage_table(to, stages);
    html_section_end(to);
}
