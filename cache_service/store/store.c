/* store.c - caches in Redis: the head of history, loading, publishing */
#include "store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_parts.h"
#include "store_scripts.h"

#define LOAD_MAX_BYTES (1ll << 30) /* of all packed caches together */

_Static_assert(HEAD_BYTES - 2 == 190, "script_publish compares as much of a head as there may be");

int store_head(struct store *s, struct head *head, struct error *e)
{
    redisReply *r;
    int rc = store_begin(s, s->epoch, HEAD_BYTES, &r, e);
    memset(head, 0, sizeof *head);
    if (rc)
        return rc;
    rc = r->len ? head_parse(head, r->str, r->len, e) : error_set(e, FL_NOT_FOUND, "Redis holds no caches");
    freeReplyObject(r);
    return rc;
}

/* --- who has which build --- */

static void held_key(const struct store *s, char key[STORE_KEY_BYTES], const uint8_t build[DIGEST_BYTES])
{
    char text[DIGEST_TEXT_BYTES];
    store_key(s, key, "held:", digest_text(build, text));
}

int store_hold(struct store *s, const uint8_t build[DIGEST_BYTES], const char *who, struct error *e)
{
    char key[STORE_KEY_BYTES], ms[24];
    redisReply *r;
    int rc;
    held_key(s, key, build);
    snprintf(ms, sizeof ms, "%d", LINEAGE_HOLD_MS);
    if (!(rc = store_command(s, &r, e, 5, (const char *[]){"SET", key, who, "PX", ms})))
        freeReplyObject(r);
    return rc;
}

int store_holder(struct store *s, const uint8_t build[DIGEST_BYTES], char who[STORE_WHO_BYTES],
                 struct error *e)
{
    char key[STORE_KEY_BYTES];
    redisReply *r;
    int rc;
    held_key(s, key, build);
    if ((rc = store_begin(s, key, STORE_WHO_BYTES - 1, &r, e)))
        return rc;
    snprintf(who, STORE_WHO_BYTES, "%s", r->str);
    freeReplyObject(r);
    for (char *c = who; *c; c++) /* for logs; who wrote it is not known */
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
            *c = '?';
    return FL_OK;
}

/* --- loading --- */

/* The manifest of the head's build: Redis's, or `mine` where that is the same build's. */
static int load_manifest(struct store *s, struct manifest *m, const struct head *head,
                         const struct snapshot *mine, struct store_load *how, struct error *e)
{
    bool same = mine && !memcmp(mine->manifest.build, head->build, sizeof head->build);
    redisReply *r;
    int rc = store_begin(s, s->manifest, MANIFEST_MAX_BYTES + 1, &r, e);
    if (rc == FL_UNAVAILABLE)
        return rc;
    if (!rc && !r->len)
        rc = error_set(e, FL_CORRUPT, "%s is missing", s->manifest);
    if (!rc && r->len > MANIFEST_MAX_BYTES)
        rc = error_set(e, FL_CORRUPT, "%s has more than %d bytes", s->manifest, MANIFEST_MAX_BYTES);
    if (!rc)
        rc = manifest_parse(m, r->str, (size_t)r->len, s->manifest, e);
    if (!rc && (memcmp(head->build, m->build, sizeof m->build) ||
                memcmp(head->identity, m->identity.digest, sizeof head->identity)))
        rc = error_set(e, FL_CORRUPT, "%s and %s are of different builds", s->manifest, s->epoch);
    freeReplyObject(r);
    if (rc && same) {
        if (how->refused)
            how->refused(e->text);
        how->damaged++;
        *m = mine->manifest;
        rc = FL_OK;
    }
    m->generation = head->generation;
    memcpy(m->applied, head->applied, sizeof m->applied);
    return rc == FL_STALE ? FL_CORRUPT : rc; /* stale would mean: the head moved on */
}

/* Refuses to fetch what memory was not meant for. */
static int check_sizes(struct store *s, const struct manifest *m, struct error *e)
{
    long long total = 0;
    for (int i = -1; i < m->n_exits; i++) {
        struct redis_args a = {0};
        char key[STORE_KEY_BYTES];
        long long bytes;
        int rc;
        if (i < 0)
            snprintf(key, sizeof key, "%s", s->epoch);
        else
            store_key(s, key, "exit:", m->exit[i].name);
        redis_args_text(&a, "STRLEN");
        redis_args_text(&a, key);
        if ((rc = store_call_number(s, &a, &bytes, e)) == FL_IO)
            continue; /* of another type: as good as missing */
        if (rc)
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

/* The cache of exit i from Redis's reply, or else from `mine`. */
static void take_cache(struct snapshot *to, int i, const redisReply *r, const struct snapshot *mine,
                       const char *key, struct store_load *how)
{
    struct manifest_exit *x = &to->manifest.exit[i];
    bool same = mine && !memcmp(mine->manifest.build, to->manifest.build, sizeof to->manifest.build);
    int rc, own = same ? snapshot_exit(mine, x->name) : -1;
    struct error why = {0};
    char text[sizeof why.text + STORE_KEY_BYTES + 16];
    if (!x->file[0])
        return;
    if (r->type != REDIS_REPLY_STRING)
        rc = error_set(&why, FL_CORRUPT, "missing");
    else if (!(rc = unpack(to, i, r, &why)))
        return;
    snprintf(text, sizeof text, "%.*s refused: %s", STORE_KEY_BYTES - 1, key, why.text);
    if (how->refused)
        how->refused(text);
    to->cache[i] = own >= 0 ? mine->cache[own] : NULL;
    if (to->cache[i])
        cache_retain(to->cache[i]);
    how->damaged +=
        rc != FL_UNSUPPORTED; /* what another version of this program wrote is not ours to repair */
    how->lost += !to->cache[i];
}

static int take_all(struct snapshot **out, const struct manifest *m, const redisReply *r,
                    char keys[][STORE_KEY_BYTES], const struct snapshot *mine, struct store_load *how,
                    struct error *e)
{
    struct snapshot *loaded = snapshot_new(m);
    if (!loaded)
        return error_set(e, FL_NOMEM, "out of memory");
    for (int i = 0; i < m->n_exits; i++)
        take_cache(loaded, i, r->element[i + 1], mine, keys[i], how);
    if (snapshot_whole(loaded)) {
        *out = loaded;
        return FL_OK;
    }
    snapshot_free(loaded);
    return error_set(
        e, FL_CORRUPT,
        "a cache there is refused and the promise was made for all of them together: none is taken from "
        "there; reload the service whose build it is, or run freezeline build again");
}

int store_load(struct store *s, struct snapshot **out, const struct head *head, const struct snapshot *mine,
               struct store_load *how, struct error *e)
{
    struct redis_args a = {0};
    struct manifest m;
    char keys[PIPELINE_MAX_EXITS][STORE_KEY_BYTES];
    redisReply *r;
    int rc;
    how->damaged = how->lost = 0;
    if ((rc = load_manifest(s, &m, head, mine, how, e)) || (rc = check_sizes(s, &m, e)))
        return rc;
    redis_args_text(&a, "MGET");
    redis_args_text(&a, s->epoch);
    for (int i = 0; i < m.n_exits; i++) {
        store_key(s, keys[i], "exit:", m.exit[i].name);
        redis_args_text(&a, keys[i]);
    }
    if ((rc = store_call(s, &a, REDIS_REPLY_ARRAY, &r, e)))
        return rc;
    if (r->elements != (size_t)m.n_exits + 1)
        rc = error_set(e, FL_PROTOCOL, "MGET gave %zu values for %d keys", r->elements, m.n_exits + 1);
    else if (r->element[0]->type != REDIS_REPLY_STRING || strcmp(r->element[0]->str, head->text))
        rc = error_set(e, FL_STALE, "a new epoch came while the caches were being read");
    else
        rc = take_all(out, &m, r, keys, mine, how, e);
    freeReplyObject(r);
    return rc;
}

/* --- publishing --- */

int store_publish(struct store *s, const struct snapshot *snapshot, struct head *head, struct error *e)
{
    const char *const keys[] = {s->epoch, s->manifest, s->updates};
    struct redis_args a = {0};
    struct store_packed p;
    struct head next;
    long long done = 0;
    int rc = store_pack(s, &p, NULL, snapshot, e);
    if (rc)
        return rc;
    head_of(&next, &snapshot->manifest, head);
    store_script(&a, script_publish, keys, 3, &p);
    redis_args_text(&a, head->text);
    redis_args_text(&a, next.text);
    redis_args_text(&a, s->hint);
    redis_args_text(&a, p.manifest);
    redis_args_text(&a, next.applied);
    store_add_blobs(&a, &p);
    rc = store_call_number(s, &a, &done, e);
    store_packed_free(&p);
    if (!rc && done != 1)
        rc = error_set(e, FL_STALE, "another cache service published first");
    if (!rc)
        *head = next;
    return rc;
}

/* --- hints --- */

#define DAMAGED "damaged "

const char *store_channel(const struct store *s)
{
    return s->hint;
}

int store_tell_damaged(struct store *s, const struct head *head, struct error *e)
{
    char text[40];
    redisReply *r;
    int rc;
    snprintf(text, sizeof text, DAMAGED "%" PRIu64, head->sequence);
    if (!(rc = store_command(s, &r, e, 3, (const char *[]){"PUBLISH", s->hint, text})))
        freeReplyObject(r);
    return rc;
}

enum store_hint store_hint(const char *text, size_t size, uint64_t *sequence)
{
    char word[40] = "";
    *sequence = 0;
    if (size < sizeof word)
        memcpy(word, text, size);
    if (!strcmp(word, "updates"))
        return STORE_HINT_UPDATES;
    if (!strncmp(word, DAMAGED, sizeof DAMAGED - 1)) {
        *sequence = strtoull(word + sizeof DAMAGED - 1, NULL, 10);
        return STORE_HINT_DAMAGED;
    }
    return STORE_HINT_HEAD;
}
