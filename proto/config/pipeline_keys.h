/* pipeline_keys.h - the table of keys of a pipeline file; private to this folder's pipeline*.c
 *
 * One row per key: path, type, default, range, help. `#` in a path stands for an index of a list. Loading,
 * `--set`, messages and configs/reference.yaml all come from this table.
 */
#ifndef FREEZELINE_PIPELINE_KEYS_H
#define FREEZELINE_PIPELINE_KEYS_H

#include "pipeline.h"
#include "yaml_reader.h"

enum key_type {
    KEY_TEXT,
    KEY_NAME,     /* letters, digits, `_`, `-`, `.`: safe in file names and Redis keys */
    KEY_PATH,     /* made absolute */
    KEY_HOST,     /* a name or an address of a machine; brackets of an IPv6 address are taken off */
    KEY_ENDPOINT, /* tcp://HOST:PORT, ipc://PATH */
    KEY_REDIS,    /* unix:PATH, HOST:PORT */
    KEY_CHOICE,   /* one word of `choices`, kept as text */
    KEY_RULE,     /* likewise, kept as an enum in the order of `choices` */
    KEY_BOOL,
    KEY_INT,
    KEY_INT64,
    KEY_UINT64,
    KEY_FLOAT,
    KEY_DOUBLE,
    KEY_EXITS,    /* the word before a list of exits is given: `auto`, `none` */
    KEY_STAGES,   /* the number instead of a list */
    KEY_REPLICAS, /* the number instead of a list */
    KEY_BROKERS,  /* likewise */
    KEY_LABELS,   /* a text file with one label per line instead of a list */
};

struct key {
    const char *path;
    enum key_type type;
    size_t offset; /* in the pipeline, stage, replica, exit, host, broker or variant: whichever the path leads
                      to */
    const char *initial; /* default, as it would be written; NULL: none, or derived (`help` says how) */
    const char *example; /* for the reference where there is no default */
    double min, max;
    const char *choices; /* "a|b|c" */
    size_t count_offset; /* of the item counter, for paths that end in # */
    int most;            /* items */
    const char *help;
};

extern const struct key pipeline_keys[];
extern const int pipeline_n_keys;

/* Where a value comes from, for messages and for relative paths. */
struct key_source {
    const char *file;
    const struct yaml_entry *entry; /* NULL for a default */
};

/* The row of a pattern, or NULL. */
const struct key *key_find(const char *pattern);
/* Is the pattern a mapping (some key is below it) or a list (some key is its #)? */
bool key_is_section(const char *pattern);
bool key_is_list(const char *pattern);
/* The key or section, as deep as `pattern`, that has the smallest edit distance; written into buf, which is
 * returned. */
const char *key_nearest(const char *pattern, char *buf, size_t size);
/* Writes what a key takes ("a number from 0 to 100") into buf and returns buf. */
const char *key_takes(const struct key *k, char *buf, size_t size);

/* Fills *e with "FILE:line:column: text" or "--set KEY: text". `at_key`: point at the key, not at its value.
 */
int key_error(struct key_source o, bool at_key, struct error *e, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Sets the value of `text` in p; makes the list items that `index` leads to when they are the next ones. */
int key_set(struct pipeline *p, const struct key *k, const int *index, const char *text, struct key_source o,
            struct error *e);
/* A list begins: it replaces the defaults, or an earlier list. */
int key_start_list(struct pipeline *p, const char *pattern, const int *index, struct key_source o,
                   struct error *e);
/* An item of a list of mappings begins. */
int key_start_item(struct pipeline *p, const char *pattern, const int *index, struct key_source o,
                   struct error *e);

/* What KEY_NAME takes. A name that comes from the model's file may be another. */
bool pipeline_name_ok(const char *text);
/* Where the value of a key is, for these indices of its path. */
const void *key_at(const struct pipeline *p, const struct key *k, const int *index);
/* The number of items of a list; -1: the pattern is none. */
int key_items(const struct pipeline *p, const char *pattern, const int *index);
/* One value as a file could have it; "" where there is none. */
void key_text(char *buf, size_t size, const struct key *k, const void *at);

/* Sets every default whose path has no index. */
int key_set_defaults(struct pipeline *p, struct error *e);
struct stage_config *pipeline_add_stage(struct pipeline *p);
struct replica_config *pipeline_add_replica(struct stage_config *s);
/* Empties a list of mappings ("variants"); all texts of all keys. */
void pipeline_clear_list(struct pipeline *p, const char *path);
void pipeline_clear_texts(struct pipeline *p);
/* Chooses a host for all that the file gives none, and derives all endpoints. FL_CONFIG, FL_NOMEM. */
int pipeline_place(struct pipeline *p, struct error *e);
void pipeline_clear_ways(struct pipeline *p);

#endif
