/* html.c - the frame of a page */
#include "html.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "deploy/plot/markup.h"
#include "deploy/plot/ticks.h"

static const char style[] =
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1c2128;--soft:#57606a;--line:#dfe3e8;--tint:#f6f8fa;"
    "--good:#00664b;--bad:#a33f00}"
    "@media(prefers-color-scheme:dark){:root{--paper:#161a20;--ink:#e8eaed;--soft:#a9b1bb;--line:#2c333c;"
    "--tint:#1d222a;--good:#4fd1a5;--bad:#ffa14f}}"
    "*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}"
    "body{margin:0 auto;max-width:50rem;padding:1.25rem 1rem 4rem;background:var(--paper);color:var(--ink);"
    "font:1rem/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Liberation "
    "Sans',sans-serif;overflow-wrap:anywhere}"
    "h1{font-size:1rem;font-weight:600;margin:0;color:var(--soft)}"
    "h2{font-size:1.2rem;line-height:1.3;margin:2.75rem 0 .25rem}"
    "p{margin:.35rem 0}.note,.absent,footer{color:var(--soft);font-size:.9rem}"
    ".absent{border-left:3px solid var(--line);padding:.15rem .75rem;margin:.75rem 0}"
    ".verdict{font-size:1.35rem;line-height:1.35;font-weight:600;margin:.5rem 0 1rem;text-wrap:balance}"
    ".good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(6.8rem,1fr));gap:1px;margin:1.25rem 0}"
    ".tiles div{box-shadow:0 0 0 1px var(--line);padding:.6rem .75rem}.tiles "
    "dt{font-size:.8rem;color:var(--soft)}"
    ".tiles "
    "dd{margin:0;font-size:1.25rem;font-weight:600;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "svg.plot{display:block;width:100%;max-width:44rem;height:auto;margin:.75rem 0 .25rem}"
    "details{margin:.5rem 0;border:1px solid var(--line);border-radius:8px}"
    "summary{cursor:pointer;padding:.45rem .75rem;font-size:.9rem;color:var(--soft)}"
    "details[open]>summary{border-bottom:1px solid var(--line)}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:"
    "tabular-nums}"
    "th,td{padding:.3rem .75rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}"
    "tr:last-child td{border-bottom:0}th{font-weight:600;color:var(--soft);background:var(--tint)}"
    "th,td{overflow-wrap:normal}.facts td{overflow-wrap:anywhere}.r{text-align:right;white-space:nowrap}"
    ".facts td:first-child{color:var(--soft);width:7rem}"
    "footer{margin-top:3rem;border-top:1px solid var(--line);padding-top:.75rem}"
    "@media print{details>*{display:block}}";

void html_open(FILE *to, const char *title)
{
    fputs("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>"
          "<meta name=\"color-scheme\" content=\"light dark\"/><title>",
          to);
    markup_text(to, title);
    fprintf(to, "</title><style>%s</style></head>\n<body>\n", style);
}

void html_close(FILE *to)
{
    fputs("</body></html>\n", to);
}

void html_section(FILE *to, const char *id, const char *heading, const char *note)
{
    fprintf(to, "<section id=\"%s\"><h2>", id);
    markup_text(to, heading);
    fputs("</h2>\n", to);
    if (note)
        html_line(to, "note", "%s", note);
}

void html_section_end(FILE *to)
{
    fputs("</section>\n", to);
}

static void paragraph(FILE *to, const char *class, const char *format, va_list args)
{
    char text[1024];

    vsnprintf(text, sizeof text, format, args);
    fprintf(to, "<p class=\"%s\">", class);
    markup_text(to, text);
    fputs("</p>\n", to);
}

void html_absent(FILE *to, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    paragraph(to, "absent", format, args);
    va_end(args);
}

void html_line(FILE *to, const char *class, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    paragraph(to, class, format, args);
    va_end(args);
}

void html_table_open(struct html_table *t, FILE *to, const char *summary, const char *columns,
                     const char *align)
{
    *t = (struct html_table){.to = to, .align = align, .columns = (int)strlen(align)};
    if (summary) {
        fputs("<details><summary>", to);
        markup_text(to, summary);
        fputs("</summary>", to);
    }
    fprintf(to, "<div class=\"wide\"><table%s>", columns ? "" : " class=\"facts\"");
    if (!columns)
        return;
    fputs("<tr>", to);
    for (int i = 0; i < t->columns; i++) {
        size_t n = strcspn(columns, "|");
        fprintf(to, "<th%s>%.*s</th>", align[i] == 'r' ? " class=\"r\"" : "", (int)n, columns);
        columns += n + (columns[n] != 0);
    }
    fputs("</tr>\n", to);
}

static bool writes(const struct html_table *t)
{
    return t->cells < HTML_MAX_ROWS * t->columns;
}

static void cell(struct html_table *t, const char *text)
{
    int column = t->cells % t->columns;

    if (writes(t)) {
        fprintf(t->to, "%s<td%s>", column ? "" : "<tr>", t->align[column] == 'r' ? " class=\"r\"" : "");
        markup_text(t->to, text);
        fprintf(t->to, "</td>%s", column == t->columns - 1 ? "</tr>\n" : "");
    }
    t->cells++;
}

void html_cell(struct html_table *t, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cell(t, text);
}

void html_number(struct html_table *t, double value, const char *unit)
{
    char text[64];
    cell(t, isfinite(value) ? ticks_format(text, sizeof text, value, unit) : "\xe2\x80\x93");
}

void html_table_close(struct html_table *t, const char *summary)
{
    fputs("</table></div>", t->to);
    if (!writes(t) && t->cells > HTML_MAX_ROWS * t->columns)
        html_line(t->to, "note", "and %d rows more", t->cells / t->columns - HTML_MAX_ROWS);
    fputs(summary ? "</details>\n" : "\n", t->to);
}
