/* html_ratios.c - configurations of one interleaved run against one another: ratios with their intervals */
#include <math.h>

#include "bench_document.h"
#include "html.h"
#include "html_sections.h"
#include "deploy/plot/markup.h"
#include "deploy/plot/ticks.h"

#define WIDTH    440.0
#define LEFT     10.0
#define SPAN     (WIDTH - 2 * LEFT)
#define ROW      36.0
#define MAX_ROWS 64
#define FONT     12.0

static const char *name_of(const json_t *ratio, const char *key)
{
    const char *name = document_text(ratio, key);
    return name ? name : "?";
}

/* Can it be drawn? A ratio is above 0. */
static bool usable(const json_t *ratio)
{
    double r = document_number(ratio, "ratio");
    return r > 1e-6 && r < 1e6;
}

/* Range of the logarithms, 1 included. */
static void range(const json_t *ratios, double *from, double *to)
{
    static const char *const key[] = {"ratio", "low", "high"};
    const json_t *ratio;
    size_t i;

    *from = log(0.9);
    *to = log(1.1);
    json_array_foreach(ratios, i, ratio) for (int k = 0; usable(ratio) && k < 3; k++)
    {
        double v = document_number(ratio, key[k]);
        if (v > 1e-6 && v < 1e6) {
            *from = fmin(*from, log(v));
            *to = fmax(*to, log(v));
        }
    }
    double pad = 0.04 * (*to - *from);
    *from -= pad;
    *to += pad;
}

static double place(double v, double from, double to)
{
    return LEFT + (log(fmin(fmax(v, 1e-6), 1e6)) - from) / (to - from) * SPAN;
}

/* Both names where there is room for both; else what tells them apart, since what they
 * share tells nothing. */
static void pair_text(FILE *to, const char *of, const char *than, double width)
{
    double both = markup_width(of, FONT) + markup_width(than, FONT);
    size_t same = 0, word = 0;

    for (; both > width && of[same] && of[same] == than[same]; same++)
        if (of[same] == ' ' || of[same] == '-' || of[same] == '_' || of[same] == '/')
            word = same + 1;
    if (!of[same] || !than[same]) /* one goes on where the other ends */
        word = 0;
    if (word) {
        of += word;
        than += word;
        both = markup_width(of, FONT) + markup_width(than, FONT);
    }
    markup_text(to, word ? "\xe2\x80\xa6" : "");
    markup_fit(to, of, fmax(width / 2, width - markup_width(than, FONT)), FONT);
    markup_text(to, word ? " / \xe2\x80\xa6" : " / ");
    markup_fit(to, than, fmax(width / 2, width - markup_width(of, FONT)), FONT);
}

static void row(FILE *to, const json_t *ratio, double y, double from, double up_to)
{
    double r = document_number(ratio, "ratio"), low = document_number(ratio, "low"),
           high = document_number(ratio, "high");
    const char *metric = name_of(ratio, "metric");

    fprintf(to, "<text class=\"label\" x=\"%.1f\" y=\"%.1f\">", LEFT, y + 12);
    markup_fit(to, metric, SPAN / 4, FONT);
    markup_text(to, ": ");
    pair_text(to, name_of(ratio, "of"), name_of(ratio, "to"),
              SPAN - 60 - fmin(markup_width(metric, FONT), SPAN / 4) - markup_width(": ... / ", FONT));
    fprintf(to, "</text><text class=\"title label\" text-anchor=\"end\" x=\"%.1f\" y=\"%.1f\">%.3g</text>",
            WIDTH - LEFT, y + 12, r);
    fputs("<g class=\"c0\">", to);
    if (low > 0 && high >= low)
        fprintf(to, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", place(low, from, up_to),
                y + 23, place(high, from, up_to), y + 23);
    fprintf(to, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/></g>", place(r, from, up_to),
            y + 23);
}

static void draw(FILE *to, const json_t *ratios, int rows)
{
    double from, up_to, bottom = 8 + rows * ROW, y = 4;
    struct ticks t;
    const json_t *ratio;
    size_t i;

    range(ratios, &from, &up_to);
    markup_svg_open(to, "Ratios between configurations", WIDTH, bottom + 22);
    ticks_make(&t, true, exp(from), exp(up_to), 6, NULL);
    for (int k = 0; k < t.n; k++) {
        double x = place(t.at[k], from, up_to), half = markup_width(t.label[k], FONT) / 2;
        fprintf(to,
                "<line class=\"grid\" x1=\"%.1f\" y1=\"4\" x2=\"%.1f\" y2=\"%.1f\"/><text "
                "text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">%s</text>",
                x, x, bottom, fmin(fmax(x, half), WIDTH - half), bottom + 14, t.label[k]);
    }
    fprintf(to, "<line class=\"axis\" x1=\"%.1f\" y1=\"4\" x2=\"%.1f\" y2=\"%.1f\"/>", place(1, from, up_to),
            place(1, from, up_to), bottom);
    json_array_foreach(ratios, i, ratio) if (usable(ratio) && rows-- > 0)
    {
        row(to, ratio, y, from, up_to);
        y += ROW;
    }
    fputs("</svg>\n", to);
}

static void ratio_table(FILE *to, const json_t *ratios)
{
    struct html_table t;
    const json_t *ratio;
    size_t i;

    html_table_open(&t, to, "Ratios as a table", "metric|of|to|ratio|95% interval", "lllrr");
    json_array_foreach(ratios, i, ratio)
    {
        html_cell(&t, "%s", name_of(ratio, "metric"));
        html_cell(&t, "%s", name_of(ratio, "of"));
        html_cell(&t, "%s", name_of(ratio, "to"));
        html_number(&t, document_number(ratio, "ratio"), NULL);
        if (isfinite(document_number(ratio, "low")) && isfinite(document_number(ratio, "high")))
            html_cell(&t, "%.3g to %.3g", document_number(ratio, "low"), document_number(ratio, "high"));
        else
            html_cell(&t, "not known");
    }
    html_table_close(&t, "");
}

void html_ratios(FILE *to, const json_t *doc)
{
    const json_t *ratios = document_list(doc, "against.ratios"), *ratio;
    double rounds = document_number(doc, "against.rounds");
    int rows = 0;
    size_t i;

    if (!document_object(doc, "against")) /* most runs are of one configuration: nothing is missing */
        return;
    html_section(to, "against", "Configurations against one another",
                 "Below 1: the first one is lower. Lines are 95% intervals; where one crosses 1 no "
                 "difference is shown.");
    json_array_foreach(ratios, i, ratio) rows += usable(ratio) && rows < MAX_ROWS;
    if (rows) {
        draw(to, ratios, rows);
        if (isfinite(rounds))
            html_line(to, "note",
                      "Measured in %.0f interleaved rounds, so that drift of the machine hits all alike.",
                      rounds);
        ratio_table(to, ratios);
    } else
        html_absent(to, "Not shown: the document has no ratios.");
    html_section_end(to);
}
