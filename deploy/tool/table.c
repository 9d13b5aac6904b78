/* table.c - collect cells, then print them as wide as they need to be */
#include "table.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_MAX_COLUMNS 16

struct table {
    int columns;
    char align[TABLE_MAX_COLUMNS];
    int n, capacity; /* cells, headings first */
    char **cell;
    bool failed;
};

/* Columns on the terminal: UTF-8 continuation bytes take none. */
static int display_width(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void add(struct table *t, const char *text)
{
    if (t->n == t->capacity) {
        int capacity = t->capacity ? 2 * t->capacity : 64;
        char **cell = realloc(t->cell, sizeof *cell * (size_t)capacity);
        if (!cell) {
            t->failed = true;
            return;
        }
        t->cell = cell;
        t->capacity = capacity;
    }
    t->cell[t->n] = strdup(text);
    if (t->cell[t->n])
        t->n++;
    else
        t->failed = true;
}

struct table *table_new(const char *columns, const char *align)
{
    struct table *t = calloc(1, sizeof *t);
    char word[64];

    for (const char *s = columns; t; s++) {
        size_t n = strcspn(s, "|");
        snprintf(word, sizeof word, "%.*s", (int)n, s);
        t->align[t->columns] = align[t->columns];
        t->columns++;
        add(t, word);
        s += n;
        if (!*s || t->columns == TABLE_MAX_COLUMNS)
            break;
    }
    return t;
}

/* What a format's `|` becomes, so that one within a text parts nothing. */
#define BETWEEN '\x1f'

void table_cells(struct table *t, const char *formats, ...)
{
    char parted[256], text[2048], *rest = text, *cell;
    va_list args;

    snprintf(parted, sizeof parted, "%s", formats);
    for (char *bar = parted; (bar = strchr(bar, '|'));)
        *bar = BETWEEN;
    va_start(args, formats);
    vsnprintf(text, sizeof text, parted, args);
    va_end(args);
    while (t && (cell = strsep(&rest, (char[]){BETWEEN, '\0'})))
        add(t, cell);
}

void table_number(struct table *t, const char *format, double x)
{
    table_cells(t, isfinite(x) ? format : "-", x);
}

static void print_cell(const struct table *t, int i, const int *width)
{
    int column = i % t->columns, pad = width[column] - display_width(t->cell[i]);
    bool last = column == t->columns - 1;

    if (t->align[column] == 'r')
        printf("%*s%s", pad, "", t->cell[i]);
    else
        printf("%s%*s", t->cell[i], last ? 0 : pad, "");
    fputs(last ? "\n" : "  ", stdout);
}

int table_end(struct table *t, struct error *e)
{
    int width[TABLE_MAX_COLUMNS] = {0},
        rc = t && !t->failed ? FL_OK : error_set(e, FL_NOMEM, "no memory for a table");

    for (int i = 0; !rc && i < t->n; i++) {
        int w = display_width(t->cell[i]);
        if (w > width[i % t->columns])
            width[i % t->columns] = w;
    }
    for (int i = 0; !rc && i < t->n; i++)
        print_cell(t, i, width);
    for (int i = 0; t && i < t->n; i++)
        free(t->cell[i]);
    if (t)
        free(t->cell);
    free(t);
    return rc;
}

static char *scaled(double x, const char *const *unit, int n, char *buf, size_t size)
{
    int i = 0;
    while (x >= 1000 && i < n - 1) {
        x /= 1000;
        i++;
    }
    snprintf(buf, size, i ? "%.1f %s" : "%.0f %s", x, unit[i]);
    return buf;
}

char *table_bytes(double bytes, char *buf, size_t size)
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB"};
    return scaled(bytes, unit, 5, buf, size);
}

char *table_count(double count, char *buf, size_t size)
{
    static const char *const unit[] = {"", "k", "M", "G", "T"};
    return scaled(count, unit, 5, buf, size);
}
