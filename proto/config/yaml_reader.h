/* yaml_reader.h - a YAML document as a flat list of settings
 *
 * `stages: [ {threads: 2} ]` becomes four entries: "" (mapping), "stages" (sequence), "stages.0" (mapping)
 * and "stages.0.threads" = "2". Parents come before children. Hostile files are bounded: size, depth, number
 * of entries, length of scalars; cycles of aliases and duplicate keys are refused.
 */
#ifndef FREEZELINE_YAML_READER_H
#define FREEZELINE_YAML_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"

#define YAML_MAX_BYTES   (1024 * 1024)
#define YAML_MAX_DEPTH   16
#define YAML_MAX_ENTRIES 16384
#define YAML_MAX_SCALAR  4096
#define YAML_MAX_PATH    512
#define YAML_MAX_KEYS    256 /* in one mapping */
#define YAML_MAX_INDICES 4

enum yaml_kind { YAML_IS_SCALAR, YAML_IS_NULL, YAML_IS_MAP, YAML_IS_LIST };

struct yaml_entry {
    enum yaml_kind kind;
    char *path;               /* owned */
    char *text;               /* owned; NULL unless a scalar */
    int line, column;         /* of the value, from 1; 0 when it comes from --set */
    int key_line, key_column; /* of the key; of the value for items of lists */
};

struct yaml_entries {
    int n, capacity;
    struct yaml_entry *item;
};

/* Appends the entries of one document. `name` is for messages (NAME:line:column). `prefix` is put before
 * every path; with a prefix, entries have line 0 and messages name the prefix as "--set PREFIX". FL_CONFIG,
 * FL_NOMEM. */
int yaml_read(struct yaml_entries *to, const char *text, size_t size, const char *name, const char *prefix,
              struct error *e);
/* Appends one scalar that comes from --set. */
int yaml_append(struct yaml_entries *to, const char *path, const char *text, struct error *e);
void yaml_entries_free(struct yaml_entries *y);

/* Writes a double-quoted scalar. */
void yaml_print_quoted(FILE *to, const char *text);

/* "stages.2.replicas.0.host" -> "stages.#.replicas.#.host" and {2, 0}. False when there are too many or too
 * large indices, or no room. */
bool yaml_pattern(const char *path, char *pattern, size_t size, int index[YAML_MAX_INDICES]);

#endif
