/* store.c - caches in Redis: the head of history, loading, publishing */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_parts.h"
#include "store_scripts.h"

#define LOAD_MAX_BYTES (1ll << 30) /* of all packed caches together */

int store_head(struct store *s, struct manifest *head, struct error *e)
{
    struct redis_args a = {0};
    redisReply *r;
    int rc;
    redis_args_text(&a, "GET");
    redis_args_text(&a, s->epoch);
    rc = redis_link_call(s->link, &a, &r, e);
    redis_args_free(&a);
    if (rc)
        return rc;
    rc = r->type == REDIS_REPLY_NIL ? FL_NOT_FOUND : store_parse_head(head, r, e);
    freeReplyObject(r);
    return rc;
}

/* Manifest and head together: what build this is and how far it has come. */
static int load_manifest(struct store *s, struct manifest *m, struct error *e)
{
    struct redis_args a = {0};
    struct manifest head = {0};
    redisReply *r;
    int rc;
    redis_args_text(&a, "MGET");
    redis_args_text(&a, s->manifest);
    redis_args_text(&a, s->epoch);
    if ((rc = store_call(s, &a, REDIS_REPLY_ARRAY, &r, e)))
        return rc;
    if (r->elements != 2 || r->element[0]->type != REDIS_REPLY_STRING)
        rc = error_set(e, FL_CORRUPT, "%s is missing", s->manifest);
    if (!rc)
        rc = manifest_parse(m, r->element[0]->str, r->element[0]->len, s->manifest, e);
    if (rc == FL_STALE) /* of another version; for store_load it would mean a newer epoch */
        rc = FL_CORRUPT;
    if (!rc)
        rc = store_parse_head(&head, r->element[1], e);
    if (!rc && (head.built_ms != m->built_ms ||
                memcmp(head.identity.digest, m->identity.digest, sizeof m->identity.digest)))
        rc = error_set(e, FL_CORRUPT, "%s and %s are of different builds", s->manifest, s->epoch);
    if (!rc) {
        m->generation = head.generation;
        memcpy(m->applied, head.applied, sizeof m->applied);
    }
    freeReplyObject(r);
    return rc;
}

/* Refuses to fetch what memory was not meant for. */
static int check_sizes(struct store *s, const struct manifest *m, struct error *e)
{
    long long total = 0;
    for (int i = 0; i < m->n_exits; i++) {
        struct redis_args a = {0};
        char key[STORE_KEY_BYTES];
        long long bytes;
        int rc;
        store_key(s, key, "exit:", m->exit[i].name);
        redis_args_text(&a, "STRLEN");
        redis_args_text(&a, key);
        if ((rc = store_call_number(s, &a, &bytes, e)))
            return rc;
        total += bytes;
        if (total > LOAD_MAX_BYTES)
            return error_set(e, FL_TOO_LARGE, "%s: the caches have more than %lld bytes", key,
                             LOAD_MAX_BYTES);
    }
    return FL_OK;
}

/* The manifest there is the build's: what was learned since has other digests, what keeps a promise has not.
 */
static int unpack(struct snapshot *to, int i, const redisReply *r, struct error *e)
{
    int rc = cache_unpack(&to->cache[i], r->str, r->len, to->manifest.identity.digest, e);
    if (rc || !to->manifest.promised || !snapshot_check_cache(&to->manifest, i, to->cache[i], e))
        return rc;
    cache_free(to->cache[i]);
    to->cache[i] = NULL;
    return FL_CORRUPT;
}

/* The cache of exit i from Redis's reply, or else from `mine`. Returns whether Redis's is damaged. */
static bool take_cache(struct snapshot *to, int i, const redisReply *r, const struct snapshot *mine,
                       const char *key, snapshot_refused refused)
{
    struct manifest_exit *x = &to->manifest.exit[i];
    struct error why = {0};
    int rc,
        own = mine && mine->manifest.built_ms == to->manifest.built_ms ? snapshot_exit(mine, x->name) : -1;
    char text[sizeof why.text + STORE_KEY_BYTES + 16];
    if (!x->file[0])
        return false;
    if (r->type != REDIS_REPLY_STRING)
        rc = error_set(&why, FL_CORRUPT, "missing");
    else if (!(rc = unpack(to, i, r, &why)))
        return false;
    snprintf(text, sizeof text, "%.*s refused: %s", STORE_KEY_BYTES - 1, key, why.text);
    refused(text);
    to->cache[i] = own >= 0 ? mine->cache[own] : NULL;
    if (to->cache[i])
        cache_retain(to->cache[i]);
    /* One that another version of this program wrote is not ours to repair. */
    return rc != FL_STALE && to->cache[i];
}

int store_load(struct store *s, struct snapshot **out, const struct snapshot *mine, int *damaged,
               snapshot_refused refused, struct error *e)
{
    struct redis_args a = {0};
    struct manifest m, then;
    char keys[PIPELINE_MAX_EXITS][STORE_KEY_BYTES];
    struct snapshot *loaded;
    redisReply *r;
    int rc;
    *damaged = 0;
    if ((rc = load_manifest(s, &m, e)) || (rc = check_sizes(s, &m, e)))
        return rc;
    redis_args_text(&a, "MGET");
    redis_args_text(&a, s->epoch);
    for (int i = 0; i < m.n_exits; i++) {
        store_key(s, keys[i], "exit:", m.exit[i].name);
        redis_args_text(&a, keys[i]);
    }
    if ((rc = store_call(s, &a, REDIS_REPLY_ARRAY, &r, e)))
        return rc;
    loaded = NULL;
    if (r->elements != (size_t)m.n_exits + 1)
        rc = error_set(e, FL_PROTOCOL, "MGET gave %zu values for %d keys", r->elements, m.n_exits + 1);
    else if (!(rc = store_parse_head(&then, r->element[0], e)) &&
             (manifest_compare(&then, &m) || strcmp(then.applied, m.applied)))
        rc = error_set(e, FL_STALE, "a new epoch came while the caches were being read");
    if (!rc && !(loaded = snapshot_new(&m)))
        rc = error_set(e, FL_NOMEM, "out of memory");
    for (int i = 0; !rc && i < m.n_exits; i++)
        *damaged += take_cache(loaded, i, r->element[i + 1], mine, keys[i], refused);
    freeReplyObject(r);
    if (!rc && !snapshot_whole(loaded))
        rc = error_set(
            e, FL_CORRUPT,
            "a cache in Redis is refused and the promise was made for all of them together: none is "
            "taken from there; run freezeline build again");
    if (rc)
        snapshot_free(loaded);
    else
        *out = loaded;
    return rc;
}

int store_publish(struct store *s, const struct snapshot *snapshot, const struct manifest *known,
                  struct error *e)
{
    const char *const keys[] = {s->epoch, s->manifest, s->updates};
    struct manifest m = snapshot->manifest;
    char head[STORE_HEAD_BYTES], known_head[STORE_HEAD_BYTES] = "";
    struct redis_args a = {0};
    struct store_packed p;
    long long done = 0;
    char *text;
    int rc = store_pack(s, &p, NULL, snapshot, e);
    if (rc)
        return rc;
    if (!(text = manifest_format(&m))) {
        store_packed_free(&p);
        return error_set(e, FL_NOMEM, "out of memory");
    }
    store_format_head(head, &m);
    if (known)
        store_format_head(known_head, known);
    store_script(&a, script_publish, keys, 3, &p);
    redis_args_text(&a, known_head);
    redis_args_text(&a, head);
    redis_args_text(&a, s->hint);
    redis_args_text(&a, text);
    redis_args_text(&a, store_applied(&m));
    store_add_blobs(&a, &p);
    rc = store_call_number(s, &a, &done, e);
    free(text);
    store_packed_free(&p);
    if (!rc && done != 1)
        rc = error_set(e, FL_STALE, "another cache service published first");
    return rc;
}
