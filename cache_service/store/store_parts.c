/* store_parts.c - keys, heads, scripts and packed caches: the words in which Redis is spoken to */
#include "store_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"

#define NO_UPDATES "0-0"

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
    store_key(s, s->producer, "producer:", s->id);
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

const char *store_applied(const struct manifest *m)
{
    return m->applied[0] ? m->applied : NO_UPDATES;
}

void store_format_head(char head[STORE_HEAD_BYTES], const struct manifest *m)
{
    char identity[DIGEST_TEXT_BYTES];
    snprintf(head, STORE_HEAD_BYTES, "%" PRIu64 " %" PRIu64 " %s %s", m->generation, m->built_ms,
             digest_text(m->identity.digest, identity), store_applied(m));
}

int store_parse_head(struct manifest *m, const redisReply *r, struct error *e)
{
    char text[STORE_HEAD_BYTES], identity[33], again[STORE_HEAD_BYTES];
    memset(m, 0, sizeof *m);
    if (r->type != REDIS_REPLY_STRING || r->len >= sizeof text)
        return error_set(e, FL_PROTOCOL, "the epoch key holds no head of caches");
    memcpy(text, r->str, r->len);
    text[r->len] = '\0';
    if (sscanf(text, "%" SCNu64 " %" SCNu64 " %32[0-9a-f] %47[0-9-]", &m->generation, &m->built_ms, identity,
               m->applied) == 4 &&
        strlen(identity) == 32)
        for (int i = 0; i < 16; i++) {
            char pair[3] = {identity[2 * i], identity[2 * i + 1], '\0'};
            m->identity.digest[i] = (uint8_t)strtoul(pair, NULL, 16);
        }
    /* What is read is compared as text when it is replaced, so it has to be exactly what is written. */
    store_format_head(again, m);
    if (strcmp(text, again) || !strchr(m->applied, '-'))
        return error_set(e, FL_PROTOCOL, "the epoch key holds \"%.80s\", no head of caches", text);
    return FL_OK;
}

int store_id_compare(const char *a, const char *b)
{
    unsigned long long a_ms = 0, a_seq = 0, b_ms = 0, b_seq = 0;
    sscanf(a, "%llu-%llu", &a_ms, &a_seq);
    sscanf(b, "%llu-%llu", &b_ms, &b_seq);
    if (a_ms != b_ms)
        return a_ms < b_ms ? -1 : 1;
    return a_seq == b_seq ? 0 : a_seq < b_seq ? -1 : 1;
}

void store_packed_free(struct store_packed *p)
{
    for (int i = 0; i < p->n; i++)
        free(p->data[i]);
}

int store_pack(struct store *s, struct store_packed *p, const struct snapshot *old,
               const struct snapshot *next, struct error *e)
{
    p->n = 0;
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
    static const char *const numbers[] = {"0",  "1",  "2",  "3",  "4",  "5",  "6",  "7",  "8",
                                          "9",  "10", "11", "12", "13", "14", "15", "16", "17",
                                          "18", "19", "20", "21", "22", "23", "24", "25", "26",
                                          "27", "28", "29", "30", "31", "32", "33", "34", "35"};
    _Static_assert(sizeof numbers / sizeof *numbers > PIPELINE_MAX_EXITS + 3,
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
