/* table.c - collect cells, then print them as wide as they need to be; on a terminal columns for which it has
 * no room stand below their row, with their names */
#include "table.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TABLE_MAX_COLUMNS 16
#define BETWEEN_COLUMNS   2
#define BELOW_INDENT      4

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

static int terminal_width(void)
{
    struct winsize size;
    return !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col ? size.ws_col : INT_MAX;
}

/* How many columns stand side by side: the first one does in any case. */
static int columns_within(const struct table *t, const int *width, int room)
{
    int n = 1;
    for (int used = width[0]; n < t->columns && (used += BETWEEN_COLUMNS + width[n]) <= room; n++)
        continue;
    return n;
}

static void print_cell(const struct table *t, int i, const int *width, bool last)
{
    int column = i % t->columns, pad = width[column] - display_width(t->cell[i]);

    if (t->align[column] == 'r')
        printf("%*s%s", pad, "", t->cell[i]);
    else
        printf("%s%*s", t->cell[i], last ? 0 : pad, "");
    printf("%*s", last ? 0 : BETWEEN_COLUMNS, "");
}

/* Word by word, `used` columns of a line being taken already. */
static void print_words(const char *text, const char *end, int room, int *used)
{
    char word[2048];
    for (size_t n; *(text += strspn(text, " ")); text += n) {
        int wide;
        n = strcspn(text, " ");
        snprintf(word, sizeof word, "%.*s%s", (int)n, text, text[n] ? "" : end);
        wide = display_width(word);
        if (!*used || *used + 1 + wide >= room) /* a semicolon may follow */
            *used = printf("\n%*s", BELOW_INDENT - 1, "") - 1;
        *used += printf(" %s", word) - (int)strlen(word) + wide;
    }
}

/* What has no room beside the row that begins with this cell. */
static void print_below(const struct table *t, int row, int from, int room)
{
    int used = 0;
    for (int i = from; i < t->columns; i++) {
        const char *cell = t->cell[row + i];
        if (!*cell || !strcmp(cell, "-"))
            continue;
        if (used)
            used += printf(";");
        print_words(t->cell[i], ":", room, &used);
        print_words(cell, "", room, &used);
    }
}

static void print_row(const struct table *t, int row, const int *width, int side_by_side, int room)
{
    for (int i = 0; i < side_by_side; i++)
        print_cell(t, row + i, width, i == side_by_side - 1);
    if (row)
        print_below(t, row, side_by_side, room);
    putchar('\n');
}

int table_end(struct table *t, struct error *e)
{
    int width[TABLE_MAX_COLUMNS] = {0}, room = terminal_width(),
        rc = t && !t->failed ? FL_OK : error_set(e, FL_NOMEM, "no memory for a table");

    for (int i = 0; !rc && i < t->n; i++) {
        int w = display_width(t->cell[i]);
        if (w > width[i % t->columns])
            width[i % t->columns] = w;
    }
    for (int i = 0, n = rc ? 0 : columns_within(t, width, room); !rc && i + t->columns <= t->n;
         i += t->columns)
        print_row(t, i, width, n, room);
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
