/* store_parts.h - what store.c (caches) and store_updates.c (updates, lease) have in common; included by them
 * alone */
#ifndef FREEZELINE_STORE_PARTS_H
#define FREEZELINE_STORE_PARTS_H

#include "store.h"

#define STORE_KEY_BYTES 320

struct store {
    struct redis_link *link; /* borrowed */
    char *name;
    char id[32];
    char epoch[STORE_KEY_BYTES], manifest[STORE_KEY_BYTES], updates[STORE_KEY_BYTES], lease[STORE_KEY_BYTES],
        fence[STORE_KEY_BYTES], hint[STORE_KEY_BYTES];
};

void store_key(const struct store *s, char key[STORE_KEY_BYTES], const char *what, const char *which);

/* A command of so many words, which may have any reply. */
int store_command(struct store *s, redisReply **reply, struct error *e, int n, const char *const *words);
/* The first `bytes` of the text at `key`, "" where there is none: others may have put there more than memory
 * holds. */
int store_begin(struct store *s, const char *key, size_t bytes, redisReply **reply, struct error *e);
/* Calls, frees the arguments, and wants a reply of `type`. */
int store_call(struct store *s, struct redis_args *a, int type, redisReply **reply, struct error *e);
/* A call whose reply is a number. */
int store_call_number(struct store *s, struct redis_args *a, long long *number, struct error *e);
/* Adds the number as text; buf lives until the call. */
void store_add_number(struct redis_args *a, char buf[24], uint64_t number);

/* The manifest of `next`, and its packed caches that are not those of `old` (NULL: all), with their keys. */
struct store_packed {
    char *manifest;
    int n;
    char key[PIPELINE_MAX_EXITS][STORE_KEY_BYTES];
    void *data[PIPELINE_MAX_EXITS];
    size_t size[PIPELINE_MAX_EXITS];
};

int store_pack(struct store *s, struct store_packed *p, const struct snapshot *old,
               const struct snapshot *next, struct error *e);
void store_packed_free(struct store_packed *p);

/* EVAL, the script, its keys (those of the packed caches last). */
void store_script(struct redis_args *a, const char *script, const char *const *keys, int n_keys,
                  const struct store_packed *p);
void store_add_blobs(struct redis_args *a, const struct store_packed *p);

#endif
