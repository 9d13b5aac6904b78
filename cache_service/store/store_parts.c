/* store_parts.c - keys, heads, scripts and packed caches: the words in which Redis is spoken to */
#include "store_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void store_key(const struct store *s, char key[STORE_KEY_BYTES], const char *what, const char *which)
{
    snprintf(key, STORE_KEY_BYTES, "freezeline:{%s}:%s%s", s->name, what, which);
}

int store_new(struct store **out, struct redis_link *link, const char *name, const char *id, struct error *e)
{
    struct store *s;
    if (strlen(name) > 128 || strpbrk(name, "{}"))
        return error_set(e, FL_CONFIG,
                         "name: \"%.140s\" is no name for keys: up to 128 characters without braces", name);
    s = calloc(1, sizeof *s);
    if (!s || !(s->name = strdup(name))) {
        free(s);
        return error_set(e, FL_NOMEM, "out of memory");
    }
    s->link = link;
    snprintf(s->id, sizeof s->id, "%s", id);
    store_key(s, s->epoch, "epoch", "");
    store_key(s, s->manifest, "manifest", "");
    store_key(s, s->updates, "updates", "");
    store_key(s, s->lease, "lease", "");
    store_key(s, s->fence, "fence", "");
    store_key(s, s->hint, "hint", "");
    *out = s;
    return FL_OK;
}

void store_free(struct store *s)
{
    if (!s)
        return;
    free(s->name);
    free(s);
}

void store_add_number(struct redis_args *a, char buf[24], uint64_t number)
{
    snprintf(buf, 24, "%" PRIu64, number);
    redis_args_text(a, buf);
}

int store_command(struct store *s, redisReply **reply, struct error *e, int n, const char *const *words)
{
    struct redis_args a = {0};
    int rc;
    for (int i = 0; i < n; i++)
        redis_args_text(&a, words[i]);
    rc = redis_link_call(s->link, &a, reply, e);
    redis_args_free(&a);
    return rc;
}

int store_begin(struct store *s, const char *key, size_t bytes, redisReply **reply, struct error *e)
{
    struct redis_args a = {0};
    char end[24];
    snprintf(end, sizeof end, "%zu", bytes - 1);
    redis_args_text(&a, "GETRANGE");
    redis_args_text(&a, key);
    redis_args_text(&a, "0");
    redis_args_text(&a, end);
    return store_call(s, &a, REDIS_REPLY_STRING, reply, e);
}

int store_call(struct store *s, struct redis_args *a, int type, redisReply **reply, struct error *e)
{
    int rc = redis_link_call(s->link, a, reply, e);
    redis_args_free(a);
    if (!rc && (*reply)->type != type) {
        rc = error_set(e, FL_PROTOCOL, "reply of type %d where %d is due", (*reply)->type, type);
        freeReplyObject(*reply);
        *reply = NULL;
    }
    return rc;
}

int store_call_number(struct store *s, struct redis_args *a, long long *number, struct error *e)
{
    redisReply *r;
    int rc = store_call(s, a, REDIS_REPLY_INTEGER, &r, e);
    if (rc)
        return rc;
    *number = r->integer;
    freeReplyObject(r);
    return FL_OK;
}

void store_packed_free(struct store_packed *p)
{
    for (int i = 0; i < p->n; i++)
        free(p->data[i]);
    free(p->manifest);
}

int store_pack(struct store *s, struct store_packed *p, const struct snapshot *old,
               const struct snapshot *next, struct error *e)
{
    p->n = 0;
    if (!(p->manifest = manifest_format(&next->manifest)))
        return error_set(e, FL_NOMEM, "out of memory");
    for (int i = 0; i < next->manifest.n_exits; i++) {
        int rc;
        if (!next->cache[i] || (old && old->cache[i] == next->cache[i]))
            continue;
        if ((rc = cache_pack(next->cache[i], &p->data[p->n], &p->size[p->n]))) {
            store_packed_free(p);
            return error_set(e, (enum fl_code)rc, "packing the cache of %s failed: %s",
                             next->manifest.exit[i].name, error_sentence(rc));
        }
        store_key(s, p->key[p->n++], "exit:", next->manifest.exit[i].name);
    }
    return FL_OK;
}

void store_script(struct redis_args *a, const char *script, const char *const *keys, int n_keys,
                  const struct store_packed *p)
{
    static const char *const numbers[] = {"0",  "1",  "2",  "3",  "4",  "5",  "6",  "7",  "8",  "9",
                                          "10", "11", "12", "13", "14", "15", "16", "17", "18", "19",
                                          "20", "21", "22", "23", "24", "25", "26", "27", "28", "29",
                                          "30", "31", "32", "33", "34", "35", "36", "37"};
    _Static_assert(sizeof numbers / sizeof *numbers > PIPELINE_MAX_EXITS + 5,
                   "every number of keys has its text");
    redis_args_text(a, "EVAL");
    redis_args_text(a, script);
    redis_args_text(a, numbers[n_keys + (p ? p->n : 0)]);
    for (int i = 0; i < n_keys; i++)
        redis_args_text(a, keys[i]);
    for (int i = 0; p && i < p->n; i++)
        redis_args_text(a, p->key[i]);
}

void store_add_blobs(struct redis_args *a, const struct store_packed *p)
{
    for (int i = 0; i < p->n; i++)
        redis_args_add(a, p->data[i], p->size[i]);
}
