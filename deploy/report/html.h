/* html.h - a page without scripts or network: sections, tables that fold away, text made safe
 *
 * The output is well-formed XML as well. It fits a phone: nothing is wider than the page, and wide tables
 * scroll by themselves. Errors of writing are the caller's to see, by ferror.
 */
#ifndef FREEZELINE_HTML_H
#define FREEZELINE_HTML_H

#include <stdio.h>

void html_open(FILE *to, const char *title);
void html_close(FILE *to);

/* A heading and what stands under it; `note` says how to read it (NULL: nothing). */
void html_section(FILE *to, const char *id, const char *heading, const char *note);
void html_section_end(FILE *to);
/* Says why something is not shown. */
void html_absent(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A paragraph, its text made safe. */
void html_line(FILE *to, const char *class, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A table, folded behind `summary` when there is one. Columns are "heading|heading|...", align has 'l' or 'r'
 * for each. After HTML_MAX_ROWS rows cells are counted, no longer written, and the end says how many rows are
 * missing. */
#define HTML_MAX_ROWS 1000
struct html_table {
    FILE *to;
    const char *align;
    int columns, cells;
};

void html_table_open(struct html_table *t, FILE *to, const char *summary, const char *columns,
                     const char *align);
void html_cell(struct html_table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A number in its unit ("s", "B", "/s", "%", NULL), or a dash where it is not known. */
void html_number(struct html_table *t, double value, const char *unit);
void html_table_close(struct html_table *t, const char *summary);

#endif
