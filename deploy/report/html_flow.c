/* html_flow.c - requests as a stream from top to bottom: what enters, what leaves at each
 * exit, what goes on */
#include <math.h>
#include <string.h>

#include "bench_document.h"
#include "html.h"
#include "html_sections.h"
#include "deploy/plot/markup.h"
#include "deploy/plot/ticks.h"

#define WIDTH    440.0
#define LEFT     10.0
#define STREAM   120.0 /* width of all requests */
#define BEND     12.0
#define TEXT     168.0 /* where branches end and words begin */
#define ROW      40.0  /* least height of a branch */
#define MAX_ROWS 66

/* One branch of the stream. */
struct branch {
    const char *name, *colour;
    double stage, count, accuracy, p50_ms;
    bool last; /* all that is left goes there */
};

struct flow {
    int n;
    struct branch branch[MAX_ROWS];
    double total;
};

static void add(struct flow *f, struct branch b)
{
    if (b.count > 0 && f->n < MAX_ROWS) {
        f->branch[f->n++] = b;
        f->total += b.count;
    }
}

/* Exits in their order, errors, and the network last. */
static void read_flow(struct flow *f, const json_t *doc)
{
    const json_t *exits = document_list(doc, "exits"), *exit;
    struct branch network = {0};
    size_t i;

    *f = (struct flow){0};
    json_array_foreach(exits, i, exit)
    {
        const char *name = document_text(exit, "name");
        struct branch b = {name ? name : "?",
                           "c2",
                           document_number(exit, "stage"),
                           document_number(exit, "answered"),
                           document_number(exit, "accuracy"),
                           document_number(exit, "latency_ms.p50"),
                           false};
        if (name && !strcmp(name, "network"))
            network = b;
        else if (f->n < MAX_ROWS - 2)
            add(f, b);
    }
    add(f, (struct branch){"errors", "c1", NAN, document_number(doc, "errors"), NAN, NAN, false});
    network.colour = "c0";
    network.last = true;
    add(f, network);
}

static double height_of(const struct flow *f, const struct branch *b)
{
    double width = b->count / f->total * STREAM;
    return b->last ? fmax(ROW, 36) : fmax(ROW, width + 16);
}

/* What has not left yet, as one shape that gets narrower, down to the arrow of the network's answers. */
static void draw_stream(FILE *to, const struct flow *f, double y)
{
    double left = STREAM, width;

    fprintf(to, "<g class=\"c0\"><path class=\"mark\" d=\"M%.2f %.1f", LEFT, y);
    for (int i = 0; i < f->n; i++) {
        const struct branch *b = &f->branch[i];
        width = b->count / f->total * STREAM;
        if (b->last) {
            double point = fmin(10, left / 2);
            fprintf(to, "H%.2fV%.1fL%.2f %.1fL%.2f %.1f", LEFT + left, y + height_of(f, b) - point,
                    LEFT + left / 2, y + height_of(f, b), LEFT, y + height_of(f, b) - point);
        } else
            fprintf(to, "H%.2fV%.1f", LEFT + fmax(left - width, 0), y + height_of(f, b));
        left -= width;
        y += height_of(f, b);
    }
    fputs("Z\"/></g>", to);
}

/* The branch's part of the stream, from its right side, bends to the right like a pipe. */
static void draw_branch(FILE *to, const struct flow *f, const struct branch *b, double y, double left)
{
    double width = b->count / f->total * STREAM, top = y + 6, in = LEFT + fmax(left - width, 0),
           out = LEFT + left;
    double inner = fmin(BEND, width), end = TEXT - 8;

    fprintf(to,
            "<g class=\"%s\"><path class=\"mark\" d=\"M%.2f %.1fQ%.2f %.2f %.2f %.2fH%.1fV%.2fH%.2fQ%.2f "
            "%.2f %.2f "
            "%.2fV%.1fZ\"/></g>",
            b->colour, out, y, out, top, fmin(out + 6, end), top, end, top + width, in + inner, in,
            top + width, in, top + width - inner, y);
}

static void words(FILE *to, const struct flow *f, const struct branch *b, double y)
{
    char p50[64];

    fprintf(to, "<text class=\"title\" x=\"%.1f\" y=\"%.1f\">", TEXT, y);
    markup_fit(to, b->name, 150, 12);
    fputs("</text>", to);
    fprintf(to, "<text x=\"%.1f\" y=\"%.1f\">%.3g%%", TEXT, y + 15, 100 * b->count / f->total);
    if (isfinite(b->stage) && b->stage >= 0 && b->stage < 1000)
        fprintf(to, ", stage %.0f", b->stage);
    if (isfinite(b->accuracy))
        fprintf(to, ", %.3g%% right", 100 * b->accuracy);
    if (isfinite(b->p50_ms))
        fprintf(to, ", p50 %s", ticks_format(p50, sizeof p50, b->p50_ms / 1000, "s"));
    fputs("</text>", to);
}

static void draw_flow(FILE *to, const struct flow *f)
{
    double height = 30, y = 26, left = STREAM;

    for (int i = 0; i < f->n; i++)
        height += height_of(f, &f->branch[i]);
    markup_svg_open(to, "Exits as a flow", WIDTH, height);
    fprintf(to, "<text class=\"title\" x=\"%.1f\" y=\"15\">%.0f requests</text>", LEFT, f->total);
    draw_stream(to, f, y);
    for (int i = 0; i < f->n; i++) {
        const struct branch *b = &f->branch[i];
        if (!b->last)
            draw_branch(to, f, b, y, left);
        words(to, f, b, b->last ? y + 15 : y + 6 + fmax(b->count / f->total * STREAM / 2, 8));
        y += height_of(f, b);
        left -= b->count / f->total * STREAM;
    }
    fputs("</svg>\n", to);
}

static void flow_table(FILE *to, const struct flow *f)
{
    struct html_table t;
    double left = f->total;

    html_table_open(&t, to, "Flow as a table", "at|come|leave here|go on", "lrrr");
    for (int i = 0; i < f->n; i++) {
        html_cell(&t, "%s", f->branch[i].name);
        html_cell(&t, "%.0f", left);
        html_cell(&t, "%.0f", f->branch[i].count);
        html_cell(&t, "%.0f", fmax(left - f->branch[i].count, 0));
        left -= f->branch[i].count;
    }
    html_table_close(&t, "");
}

void html_flow(FILE *to, const json_t *doc)
{
    struct flow f;

    read_flow(&f, doc);
    html_section(
        to, "flow", "What leaves where",
        "All requests enter at the top. Each exit answers some; the rest goes on, down to the network's own "
        "answer.");
    if (f.total > 0 && f.total < 1e15) {
        draw_flow(to, &f);
        flow_table(to, &f);
    } else
        html_absent(to, "Not shown: the document does not say who answered.");
    html_section_end(to);
}
