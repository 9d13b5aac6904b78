/* table.h - aligned columns; on a terminal no wider than that */
#ifndef FREEZELINE_TABLE_H
#define FREEZELINE_TABLE_H

#include <stdio.h>

#include "base/error.h"

struct table;

/* `columns` is "heading|heading|..."; align has 'l' or 'r' for each. Owned; ended by table_end. */
struct table *table_new(const char *columns, const char *align);
/* The next cells, row after row; a format for each: "%s|%d|%.1f%%". */
void table_cells(struct table *t, const char *formats, ...) __attribute__((format(printf, 2, 3)));
/* One cell of a number: "-" where it is not finite. */
void table_number(struct table *t, const char *format, double x);
/* Prints everything on stdout and frees it. FL_NOMEM when there was no memory for some of it. */
int table_end(struct table *t, struct error *e);

/* "12.3 MB", "45.6 kB": decimal units. Returns buf. */
char *table_bytes(double bytes, char *buf, size_t size);
/* "555.4 M", "1.2 G". Returns buf. */
char *table_count(double count, char *buf, size_t size);

#endif
