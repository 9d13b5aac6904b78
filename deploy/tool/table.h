/* table.h - aligned columns on the terminal */
#ifndef FREEZELINE_TABLE_H
#define FREEZELINE_TABLE_H

#include <stdio.h>

#include "base/error.h"

struct table;

/* `columns` is "heading|heading|..."; align has 'l' or 'r' for each. FL_NOMEM. */
int table_new(struct table **out, const char *columns, const char *align);
void table_free(struct table *t);
/* The next cell, row after row. A lack of memory is remembered and told by table_print. */
void table_cell(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints everything with `indent` blanks before each row. */
int table_print(const struct table *t, FILE *to, int indent, struct error *e);

/* "12.3 MB", "45.6 kB": decimal units. Returns buf. */
char *table_bytes(double bytes, char *buf, size_t size);
/* "555.4 M", "1.2 G". Returns buf. */
char *table_count(double count, char *buf, size_t size);

#endif
