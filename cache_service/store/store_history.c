/* store_history.c - events, kept epochs and the frozen word in Redis */
#include "store_history.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store_parts.h"

#define KEPT_MAX_BYTES (1ll << 30) /* of one epoch */
#define TEXT(number)   TEXT_OF(number)
#define TEXT_OF(n)     #n

/* KEYS history; ARGV line, most. */
static const char script_add[] = "if redis.call('LINDEX', KEYS[1], 0) == ARGV[1] then return 0 end\n"
                                 "redis.call('LPUSH', KEYS[1], ARGV[1])\n"
                                 "redis.call('LTRIM', KEYS[1], 0, ARGV[2] - 1)\n"
                                 "return 1\n";

/* KEYS history; ARGV how many -> lines; one that is too long is no event and is not fetched */
static const char script_lines[] =
    "local lines = redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)\n"
    "for i = 1, #lines do if #lines[i] > " TEXT(HISTORY_LINE_BYTES) " then lines[i] = '' end end\n"
                                                                    "return lines\n";

/* KEYS kept, kept:SERIAL; ARGV serial, most, prefix of the keys, field, value, ..
 * The others' keys share the hash tag, so they may be named here. */
static const char script_keep[] =
    "redis.call('DEL', KEYS[2])\n"
    "for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end\n"
    "redis.call('ZADD', KEYS[1], ARGV[1], ARGV[1])\n"
    "local old = redis.call('ZRANGE', KEYS[1], 0, -1 - ARGV[2])\n"
    "for i = 1, #old do redis.call('DEL', ARGV[3] .. old[i]) redis.call('ZREM', KEYS[1], old[i]) end\n"
    "return #old\n";

/* KEYS kept:SERIAL -> its fields, or how many bytes they are where those are too many */
static const char script_kept[] =
    "local all, bytes = redis.call('HKEYS', KEYS[1]), 0\n"
    "for i = 1, #all do bytes = bytes + redis.call('HSTRLEN', KEYS[1], all[i]) end\n"
    "if bytes > tonumber(ARGV[1]) then return bytes end\n"
    "return redis.call('HGETALL', KEYS[1])\n";

/* --- the history --- */

int store_history_add(struct store *s, const struct history_event *event, struct error *e)
{
    char key[STORE_KEY_BYTES];
    struct redis_args a = {0};
    long long added;
    char *line = history_format(event);
    int rc;
    if (!line)
        return error_set(e, FL_NOMEM, "out of memory");
    store_key(s, key, "history", "");
    store_script(&a, script_add, (const char *[]){key}, 1, NULL);
    redis_args_text(&a, line);
    redis_args_text(&a, TEXT(STORE_HISTORY_MOST));
    rc = store_call_number(s, &a, &added, e);
    free(line);
    return rc;
}

int store_history_read(struct store *s, int most, struct history_event **out, int *n, int *strange,
                       struct error *e)
{
    char key[STORE_KEY_BYTES], number[24];
    struct redis_args a = {0};
    redisReply *r;
    int rc;
    *out = NULL;
    *n = *strange = 0;
    store_key(s, key, "history", "");
    store_script(&a, script_lines, (const char *[]){key}, 1, NULL);
    store_add_number(&a, number, (uint64_t)most);
    if ((rc = store_call(s, &a, REDIS_REPLY_ARRAY, &r, e)))
        return rc;
    if (r->elements > (size_t)most)
        rc = error_set(e, FL_PROTOCOL, "%zu lines of history where %d were asked for", r->elements, most);
    else if (!(*out = calloc(r->elements + 1, sizeof **out)))
        rc = error_set(e, FL_NOMEM, "out of memory");
    for (size_t i = 0; !rc && i < r->elements; i++) {
        const redisReply *line = r->element[i];
        if (line->type == REDIS_REPLY_STRING && !history_parse(&(*out)[*n], line->str, line->len, NULL))
            (*n)++;
        else
            (*strange)++;
    }
    freeReplyObject(r);
    return rc;
}

/* --- kept epochs --- */

static void kept_key(const struct store *s, char key[STORE_KEY_BYTES], uint64_t serial)
{
    char number[24];
    snprintf(number, sizeof number, "%" PRIu64, serial);
    store_key(s, key, "kept:", number);
}

/* "exit:NAME"; store_pack's keys end with it. */
static const char *field_of(const char *key)
{
    return strstr(key, "}:") + 2;
}

static char *sum_text(char text[DIGEST_TEXT_BYTES], const struct store_packed *p)
{
    uint8_t digest[DIGEST_BYTES];
    digest_of(digest, p->manifest, strlen(p->manifest));
    for (int i = 0; i < p->n; i++)
        digest_add(digest, p->data[i], p->size[i]);
    return digest_text(digest, text);
}

int store_keep(struct store *s, uint64_t serial, const struct snapshot *snapshot, struct error *e)
{
    char index[STORE_KEY_BYTES], key[STORE_KEY_BYTES], prefix[STORE_KEY_BYTES], number[24],
        sum[DIGEST_TEXT_BYTES];
    struct redis_args a = {0};
    struct store_packed p;
    long long gone;
    int rc = store_pack(s, &p, NULL, snapshot, e);
    if (rc)
        return rc;
    store_key(s, index, "kept", "");
    store_key(s, prefix, "kept:", "");
    kept_key(s, key, serial);
    store_script(&a, script_keep, (const char *[]){index, key}, 2, NULL);
    store_add_number(&a, number, serial);
    redis_args_text(&a, TEXT(STORE_KEPT));
    redis_args_text(&a, prefix);
    redis_args_text(&a, "manifest");
    redis_args_text(&a, p.manifest);
    redis_args_text(&a, "sum");
    redis_args_text(&a, sum_text(sum, &p));
    for (int i = 0; i < p.n; i++) {
        redis_args_text(&a, field_of(p.key[i]));
        redis_args_add(&a, p.data[i], p.size[i]);
    }
    rc = store_call_number(s, &a, &gone, e);
    store_packed_free(&p);
    return rc;
}

int store_kept_list(struct store *s, uint64_t serial[STORE_KEPT], int *n, struct error *e)
{
    char key[STORE_KEY_BYTES];
    redisReply *r;
    int rc;
    *n = 0;
    store_key(s, key, "kept", "");
    rc = store_command(s, &r, e, 4, (const char *[]){"ZREVRANGE", key, "0", TEXT(STORE_KEPT)});
    if (rc)
        return rc;
    for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i < r->elements && *n < STORE_KEPT; i++)
        if (r->element[i]->type == REDIS_REPLY_STRING)
            serial[(*n)++] = strtoull(r->element[i]->str, NULL, 10);
    freeReplyObject(r);
    return FL_OK;
}

/* The value of a field in HGETALL's reply; NULL: there is none. */
static const redisReply *field(const redisReply *r, const char *name)
{
    for (size_t i = 0; i + 1 < r->elements; i += 2)
        if (r->element[i]->type == REDIS_REPLY_STRING && r->element[i + 1]->type == REDIS_REPLY_STRING &&
            !strcmp(r->element[i]->str, name))
            return r->element[i + 1];
    return NULL;
}

/* The caches that the manifest names, and whether all is as it was kept. */
static int take_caches(struct snapshot *to, const redisReply *r, const char *key, struct error *e)
{
    const redisReply *manifest = field(r, "manifest"), *sum = field(r, "sum");
    uint8_t digest[DIGEST_BYTES];
    char text[DIGEST_TEXT_BYTES];
    int rc;
    digest_of(digest, manifest->str, manifest->len);
    for (int i = 0; i < to->manifest.n_exits; i++) {
        char name[sizeof to->manifest.exit[i].name + 8];
        const redisReply *packed;
        snprintf(name, sizeof name, "exit:%s", to->manifest.exit[i].name);
        if (!(packed = field(r, name)))
            continue;
        digest_add(digest, packed->str, packed->len);
        rc = cache_unpack(&to->cache[i], packed->str, packed->len, to->manifest.identity.digest, e);
        if (!rc && to->manifest.promised)
            rc = snapshot_check_cache(&to->manifest, i, to->cache[i], e);
        if (rc)
            return error_wrap(e, FL_CORRUPT, "%s, exit %s", key, to->manifest.exit[i].name);
    }
    if (!sum || strcmp(sum->str, digest_text(digest, text)) || snapshot_lacks(to))
        return error_set(e, FL_CORRUPT, "%s is not as it was kept: its checksum does not fit", key);
    return FL_OK;
}

static int take_kept(struct snapshot **out, const redisReply *r, const char *key, struct error *e)
{
    const redisReply *manifest = field(r, "manifest");
    struct manifest m;
    int rc;
    if (!manifest)
        return error_set(e, FL_CORRUPT, "%s has no manifest", key);
    if ((rc = manifest_parse(&m, manifest->str, manifest->len, key, e)))
        return rc;
    if (!(*out = snapshot_new(&m)))
        return error_set(e, FL_NOMEM, "out of memory");
    if ((rc = take_caches(*out, r, key, e))) {
        snapshot_free(*out);
        *out = NULL;
    }
    return rc;
}

int store_kept(struct store *s, struct snapshot **out, uint64_t serial, struct error *e)
{
    char key[STORE_KEY_BYTES], most[24];
    struct redis_args a = {0};
    redisReply *r;
    int rc;
    kept_key(s, key, serial);
    store_script(&a, script_kept, (const char *[]){key}, 1, NULL);
    store_add_number(&a, most, KEPT_MAX_BYTES);
    rc = redis_link_call(s->link, &a, &r, e);
    redis_args_free(&a);
    if (rc)
        return rc;
    if (r->type == REDIS_REPLY_INTEGER)
        rc = error_set(e, FL_TOO_LARGE, "%s has %lld bytes, more than %lld", key, r->integer, KEPT_MAX_BYTES);
    else if (r->type != REDIS_REPLY_ARRAY)
        rc = error_set(e, FL_PROTOCOL, "%s: reply of type %d", key, r->type);
    else if (!r->elements)
        rc = error_set(e, FL_NOT_FOUND, "epoch %" PRIu64 " is not kept", serial);
    else
        rc = take_kept(out, r, key, e);
    freeReplyObject(r);
    return rc;
}

/* The last candidate of the build that serves; 0: not known. Each has spent a part of the certainty, whatever
 * serves next. */
static uint64_t last_candidate(struct store *s, const struct manifest *of)
{
    struct manifest m;
    redisReply *r;
    bool known;
    if (store_begin(s, s->manifest, MANIFEST_MAX_BYTES + 1, &r, NULL))
        return 0;
    known =
        !manifest_parse(&m, r->str, r->len, s->manifest, NULL) && !memcmp(m.build, of->build, sizeof m.build);
    freeReplyObject(r);
    return known ? m.learned.candidate : 0;
}

int store_rollback(struct store *s, uint64_t serial, struct head *head, struct error *e)
{
    uint64_t last;
    char kept[MANIFEST_BUILD_BYTES], serves[MANIFEST_BUILD_BYTES];
    struct snapshot *back;
    struct manifest *m;
    int rc = store_head(s, head, e);
    if (rc || (rc = store_kept(s, &back, serial, e)))
        return rc;
    m = &back->manifest;
    if (memcmp(m->build, head->build, sizeof m->build) ||
        memcmp(m->identity.digest, head->identity, sizeof head->identity))
        rc = error_set(e, FL_VALUE,
                       "epoch %" PRIu64 " is of build %s, but build %s serves: run freezeline build again "
                       "or bring that one back",
                       serial, manifest_build_text(m->build, kept), manifest_build_text(head->build, serves));
    if (!rc) {
        last = last_candidate(s, m);
        m->learned.candidate = last > m->learned.candidate ? last : m->learned.candidate;
        m->generation = head->generation + 1;
        memcpy(m->applied, head->applied, sizeof m->applied);
        rc = store_publish(s, back, head, e);
    }
    snapshot_free(back);
    return rc;
}

/* --- frozen --- */

int store_freeze(struct store *s, const char *by, struct error *e)
{
    char key[STORE_KEY_BYTES], value[STORE_WHO_BYTES + 24];
    redisReply *r;
    int rc;
    store_key(s, key, "frozen", "");
    snprintf(value, sizeof value, "%" PRIu64 " %.*s", (uint64_t)time(NULL) * 1000, STORE_WHO_BYTES - 1, by);
    if ((rc = store_command(s, &r, e, 4, (const char *[]){"SET", key, value, "NX"})))
        return rc;
    if (r->type == REDIS_REPLY_NIL)
        rc = error_set(e, FL_STALE, "learning is frozen already");
    freeReplyObject(r);
    return rc;
}

int store_thaw(struct store *s, struct error *e)
{
    char key[STORE_KEY_BYTES];
    struct redis_args a = {0};
    long long gone;
    int rc;
    store_key(s, key, "frozen", "");
    redis_args_text(&a, "DEL");
    redis_args_text(&a, key);
    if (!(rc = store_call_number(s, &a, &gone, e)) && !gone)
        rc = error_set(e, FL_STALE, "learning is not frozen");
    return rc;
}

int store_frozen(struct store *s, struct store_frozen *out, struct error *e)
{
    char key[STORE_KEY_BYTES];
    redisReply *r;
    int rc;
    memset(out, 0, sizeof *out);
    store_key(s, key, "frozen", "");
    rc = store_begin(s, key, STORE_WHO_BYTES, &r, e);
    if (rc == FL_IO) { /* of another type: somebody put it there */
        out->frozen = true;
        return FL_OK;
    }
    if (rc)
        return rc;
    out->frozen = r->len;
    if (out->frozen) {
        char *end;
        out->at_ms = strtoull(r->str, &end, 10);
        snprintf(out->by, sizeof out->by, "%.*s", STORE_WHO_BYTES - 1, end + (*end == ' '));
        for (char *c = out->by; *c; c++)
            if (iscntrl((unsigned char)*c))
                *c = '?';
    }
    freeReplyObject(r);
    return FL_OK;
}
