/* store.c - the keys of store.h, read and written */
#include "cache_service/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache_service/store_scripts.h"

#define NO_UPDATES       "0-0"
#define PRODUCER_SECONDS "86400"
#define LOAD_MAX_BYTES   (1ll << 30) /* of all packed caches together */
#define KEY_BYTES        320
#define HEAD_BYTES       160
#define TOKEN_BYTES      64

struct store {
    struct redis_link *link; /* borrowed */
    char *name;
    char id[32];
    char epoch[KEY_BYTES], manifest[KEY_BYTES], updates[KEY_BYTES], producer[KEY_BYTES], lease[KEY_BYTES],
        fence[KEY_BYTES], hint[KEY_BYTES];
};

static void make_key(const struct store *s, char key[KEY_BYTES], const char *what, const char *which)
{
    snprintf(key, KEY_BYTES, "freezeline:{%s}:%s%s", s->name, what, which);
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
    make_key(s, s->epoch, "epoch", "");
    make_key(s, s->manifest, "manifest", "");
    make_key(s, s->updates, "updates", "");
    make_key(s, s->producer, "producer:", s->id);
    make_key(s, s->lease, "lease", "");
    make_key(s, s->fence, "fence", "");
    make_key(s, s->hint, "hint", "");
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

/* --- small helpers -----------------------------------------------------------------------------------------
 */

static void add_number(struct redis_args *a, char buf[24], uint64_t number)
{
    snprintf(buf, 24, "%" PRIu64, number);
    redis_args_text(a, buf);
}

/* Calls, frees the arguments, and wants a reply of `type`. */
static int call(struct store *s, struct redis_args *a, int type, redisReply **reply, struct error *e)
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

/* A call whose reply is a number. */
static int call_number(struct store *s, struct redis_args *a, long long *number, struct error *e)
{
    redisReply *r;
    int rc = call(s, a, REDIS_REPLY_INTEGER, &r, e);
    if (rc)
        return rc;
    *number = r->integer;
    freeReplyObject(r);
    return FL_OK;
}

static const char *applied_of(const struct manifest *m)
{
    return m->applied[0] ? m->applied : NO_UPDATES;
}

static void format_head(char head[HEAD_BYTES], const struct manifest *m)
{
    char model[33];
    for (int i = 0; i < 16; i++)
        snprintf(model + 2 * i, 3, "%02x", m->model[i]);
    snprintf(head, HEAD_BYTES, "%" PRIu64 " %" PRIu64 " %s %s", m->generation, m->built_ms, model,
             applied_of(m));
}

static int parse_head(struct manifest *m, const redisReply *r, struct error *e)
{
    char text[HEAD_BYTES], model[33], again[HEAD_BYTES];
    memset(m, 0, sizeof *m);
    if (r->type != REDIS_REPLY_STRING || r->len >= sizeof text)
        return error_set(e, FL_PROTOCOL, "the epoch key holds no head of caches");
    memcpy(text, r->str, r->len);
    text[r->len] = '\0';
    if (sscanf(text, "%" SCNu64 " %" SCNu64 " %32[0-9a-f] %47[0-9-]", &m->generation, &m->built_ms, model,
               m->applied) == 4 &&
        strlen(model) == 32)
        for (int i = 0; i < 16; i++) {
            char pair[3] = {model[2 * i], model[2 * i + 1], '\0'};
            m->model[i] = (uint8_t)strtoul(pair, NULL, 16);
        }
    /* What is read is compared as text when it is replaced, so it has to be exactly what is written. */
    format_head(again, m);
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

/* --- reading
 * ------------------------------------------------------------------------------------------------ */

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
    rc = r->type == REDIS_REPLY_NIL ? FL_NOT_FOUND : parse_head(head, r, e);
    freeReplyObject(r);
    return rc;
}

/* Manifest and head together: what build this is and how far it has come. */
static int load_manifest(struct store *s, struct manifest *m, struct error *e)
{
    struct redis_args a = {0};
    struct manifest head;
    redisReply *r;
    int rc;
    redis_args_text(&a, "MGET");
    redis_args_text(&a, s->manifest);
    redis_args_text(&a, s->epoch);
    if ((rc = call(s, &a, REDIS_REPLY_ARRAY, &r, e)))
        return rc;
    if (r->elements != 2 || r->element[0]->type != REDIS_REPLY_STRING)
        rc = error_set(e, FL_CORRUPT, "%s is missing", s->manifest);
    if (!rc)
        rc = manifest_parse(m, r->element[0]->str, r->element[0]->len, s->manifest, e);
    if (!rc)
        rc = parse_head(&head, r->element[1], e);
    if (!rc && (head.built_ms != m->built_ms || memcmp(head.model, m->model, sizeof m->model)))
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
        char key[KEY_BYTES];
        long long bytes;
        int rc;
        make_key(s, key, "exit:", m->exit[i].name);
        redis_args_text(&a, "STRLEN");
        redis_args_text(&a, key);
        if ((rc = call_number(s, &a, &bytes, e)))
            return rc;
        total += bytes;
        if (total > LOAD_MAX_BYTES)
            return error_set(e, FL_TOO_LARGE, "%s: the caches have more than %lld bytes", key,
                             LOAD_MAX_BYTES);
    }
    return FL_OK;
}

/* The cache of exit i from Redis's reply, or else from `mine`. Returns whether Redis's is damaged. */
static bool take_cache(struct snapshot *to, int i, const redisReply *r, const struct snapshot *mine,
                       const char *key, snapshot_refused refused)
{
    struct manifest_exit *x = &to->manifest.exit[i];
    struct error why = {0};
    int rc,
        own = mine && mine->manifest.built_ms == to->manifest.built_ms ? snapshot_exit(mine, x->name) : -1;
    char text[sizeof why.text + KEY_BYTES + 16];
    if (!x->file[0])
        return false;
    if (r->type != REDIS_REPLY_STRING)
        rc = error_set(&why, FL_CORRUPT, "missing");
    else if (!(rc = cache_unpack(&to->cache[i], r->str, r->len, to->manifest.model, &why)))
        return false;
    snprintf(text, sizeof text, "%s refused: %s", key, why.text);
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
    char keys[PIPELINE_MAX_EXITS][KEY_BYTES];
    struct snapshot *loaded;
    redisReply *r;
    int rc;
    *damaged = 0;
    if ((rc = load_manifest(s, &m, e)) || (rc = check_sizes(s, &m, e)))
        return rc;
    redis_args_text(&a, "MGET");
    redis_args_text(&a, s->epoch);
    for (int i = 0; i < m.n_exits; i++) {
        make_key(s, keys[i], "exit:", m.exit[i].name);
        redis_args_text(&a, keys[i]);
    }
    if ((rc = call(s, &a, REDIS_REPLY_ARRAY, &r, e)))
        return rc;
    loaded = NULL;
    if (r->elements != (size_t)m.n_exits + 1)
        rc = error_set(e, FL_PROTOCOL, "MGET gave %zu values for %d keys", r->elements, m.n_exits + 1);
    else if (!(rc = parse_head(&then, r->element[0], e)) &&
             (manifest_compare(&then, &m) || strcmp(then.applied, m.applied)))
        rc = error_set(e, FL_STALE, "a new epoch came while the caches were being read");
    if (!rc && !(loaded = snapshot_new(&m)))
        rc = error_set(e, FL_NOMEM, "out of memory");
    for (int i = 0; !rc && i < m.n_exits; i++)
        *damaged += take_cache(loaded, i, r->element[i + 1], mine, keys[i], refused);
    freeReplyObject(r);
    if (!rc)
        *out = loaded;
    return rc;
}

/* --- writing
 * ------------------------------------------------------------------------------------------------ */

/* The packed caches of `next` that are not those of `old` (NULL: all), with their keys. */
struct packed {
    int n;
    char key[PIPELINE_MAX_EXITS][KEY_BYTES];
    void *data[PIPELINE_MAX_EXITS];
    size_t size[PIPELINE_MAX_EXITS];
};

static void packed_free(struct packed *p)
{
    for (int i = 0; i < p->n; i++)
        free(p->data[i]);
}

static int pack_changed(struct store *s, struct packed *p, const struct snapshot *old,
                        const struct snapshot *next, struct error *e)
{
    p->n = 0;
    for (int i = 0; i < next->manifest.n_exits; i++) {
        int rc;
        if (!next->cache[i] || (old && old->cache[i] == next->cache[i]))
            continue;
        if ((rc = cache_pack(next->cache[i], &p->data[p->n], &p->size[p->n]))) {
            packed_free(p);
            return error_set(e, (enum fl_code)rc, "packing the cache of %s failed: %s",
                             next->manifest.exit[i].name, error_sentence(rc));
        }
        make_key(s, p->key[p->n++], "exit:", next->manifest.exit[i].name);
    }
    return FL_OK;
}

static void start_script(struct redis_args *a, const char *script, const char *const *keys, int n_keys,
                         const struct packed *p)
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

static void add_blobs(struct redis_args *a, const struct packed *p)
{
    for (int i = 0; i < p->n; i++)
        redis_args_add(a, p->data[i], p->size[i]);
}

int store_publish(struct store *s, const struct snapshot *snapshot, const struct manifest *known,
                  struct error *e)
{
    const char *const keys[] = {s->epoch, s->manifest, s->updates};
    struct manifest m = snapshot->manifest;
    char head[HEAD_BYTES], known_head[HEAD_BYTES] = "";
    struct redis_args a = {0};
    struct packed p;
    long long done = 0;
    char *text;
    int rc = pack_changed(s, &p, NULL, snapshot, e);
    if (rc)
        return rc;
    if (!(text = manifest_format(&m))) {
        packed_free(&p);
        return error_set(e, FL_NOMEM, "out of memory");
    }
    format_head(head, &m);
    if (known)
        format_head(known_head, known);
    start_script(&a, script_publish, keys, 3, &p);
    redis_args_text(&a, known_head);
    redis_args_text(&a, head);
    redis_args_text(&a, s->hint);
    redis_args_text(&a, text);
    redis_args_text(&a, applied_of(&m));
    add_blobs(&a, &p);
    rc = call_number(s, &a, &done, e);
    free(text);
    packed_free(&p);
    if (!rc && done != 1)
        rc = error_set(e, FL_STALE, "another cache service published first");
    return rc;
}

int store_append(struct store *s, struct update *const *updates, int n, uint64_t first_sequence,
                 int64_t max_stream, int *accepted, struct error *e)
{
    const char *const keys[] = {s->updates, s->producer};
    struct redis_args a = {0};
    char first[24], most[24];
    void **records = calloc((size_t)n, sizeof *records);
    long long done = 0;
    int rc = FL_OK;
    *accepted = 0;
    if (!records)
        return error_set(e, FL_NOMEM, "out of memory");
    start_script(&a, script_append, keys, 2, NULL);
    add_number(&a, first, first_sequence);
    add_number(&a, most, (uint64_t)max_stream);
    redis_args_text(&a, PRODUCER_SECONDS);
    for (int i = 0; i < n; i++) {
        size_t size;
        records[i] = update_encode(updates[i], &size);
        if (!records[i])
            a.failed = true;
        else
            redis_args_add(&a, records[i], size);
    }
    rc = call_number(s, &a, &done, e);
    for (int i = 0; i < n; i++)
        free(records[i]);
    free(records);
    if (!rc && (done < 0 || done > n))
        rc = error_set(e, FL_PROTOCOL, "%lld of %d updates accepted", done, n);
    if (!rc)
        *accepted = (int)done;
    return rc;
}

/* --- the lease
 * ------------------------------------------------------------------------------------------------ */

static void make_token(const struct store *s, char token[TOKEN_BYTES], uint64_t fence)
{
    snprintf(token, TOKEN_BYTES, "%" PRIu64 ":%s", fence, s->id);
}

int store_acquire(struct store *s, uint64_t duration_ms, uint64_t *fence, struct error *e)
{
    const char *const keys[] = {s->lease, s->fence};
    struct redis_args a = {0};
    char duration[24];
    long long number;
    int rc;
    start_script(&a, script_acquire, keys, 2, NULL);
    redis_args_text(&a, s->id);
    add_number(&a, duration, duration_ms);
    if ((rc = call_number(s, &a, &number, e)))
        return rc;
    if (number < 0)
        return error_set(e, FL_PROTOCOL, "fence %lld", number);
    *fence = (uint64_t)number;
    return FL_OK;
}

int store_renew(struct store *s, uint64_t fence, uint64_t duration_ms, bool *ok, struct error *e)
{
    const char *const keys[] = {s->lease};
    struct redis_args a = {0};
    char token[TOKEN_BYTES], duration[24];
    long long number;
    int rc;
    make_token(s, token, fence);
    start_script(&a, script_renew, keys, 1, NULL);
    redis_args_text(&a, token);
    add_number(&a, duration, duration_ms);
    if ((rc = call_number(s, &a, &number, e)))
        return rc;
    *ok = number == 1;
    return FL_OK;
}

int store_release(struct store *s, uint64_t fence, struct error *e)
{
    bool ok;
    return store_renew(s, fence, 0, &ok, e);
}

/* --- learning
 * ------------------------------------------------------------------------------------------------- */

/* One entry [id, [field, value, ..]] of the stream; FL_PROTOCOL when it is not even that. */
static int take_entry(struct store_batch *b, const redisReply *entry, struct error *e)
{
    const redisReply *id, *fields;
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
        entry->element[0]->type != REDIS_REPLY_STRING || entry->element[0]->len >= MANIFEST_ID_BYTES)
        return error_set(e, FL_PROTOCOL, "a stream entry has no id");
    id = entry->element[0];
    fields = entry->element[1];
    memcpy(b->id[b->n], id->str, id->len);
    b->id[b->n][id->len] = '\0';
    if (fields->type == REDIS_REPLY_ARRAY && fields->elements == 2 &&
        fields->element[1]->type == REDIS_REPLY_STRING &&
        update_decode(&b->update[b->n], fields->element[1]->str, fields->element[1]->len) == FL_NOMEM)
        return error_set(e, FL_NOMEM, "out of memory");
    b->n++;
    return FL_OK;
}

int store_read(struct store *s, uint64_t fence, int capacity, struct store_batch *out, struct error *e)
{
    const char *const keys[] = {s->lease, s->updates};
    struct redis_args a = {0};
    char token[TOKEN_BYTES], count[24];
    struct manifest head;
    redisReply *r;
    int rc;
    memset(out, 0, sizeof *out);
    if ((rc = store_head(s, &head, e)))
        return rc;
    make_token(s, token, fence);
    start_script(&a, script_read, keys, 2, NULL);
    redis_args_text(&a, token);
    redis_args_text(&a, s->id);
    add_number(&a, count, (uint64_t)capacity);
    redis_args_text(&a, applied_of(&head));
    rc = redis_link_call(s->link, &a, &r, e);
    redis_args_free(&a);
    if (rc)
        return rc;
    if (r->type == REDIS_REPLY_INTEGER)
        rc = error_set(e, FL_STALE, "another cache service is the learner");
    else if (r->type != REDIS_REPLY_ARRAY || r->elements > (size_t)capacity)
        rc = error_set(e, FL_PROTOCOL, "reading the stream gave a reply of type %d", r->type);
    if (!rc && r->elements) {
        out->update = calloc(r->elements, sizeof *out->update);
        out->id = calloc(r->elements, sizeof *out->id);
        if (!out->update || !out->id)
            rc = error_set(e, FL_NOMEM, "out of memory");
    }
    for (size_t i = 0; !rc && i < r->elements; i++)
        rc = take_entry(out, r->element[i], e);
    freeReplyObject(r);
    if (rc)
        store_batch_free(out);
    return rc;
}

void store_batch_free(struct store_batch *b)
{
    for (int i = 0; i < b->n; i++)
        update_free(b->update[i]);
    free(b->update);
    free(b->id);
    memset(b, 0, sizeof *b);
}

/* The smallest id above `id`. */
static void id_after(char out[MANIFEST_ID_BYTES], const char *id)
{
    unsigned long long ms = 0, seq = 0;
    sscanf(id, "%llu-%llu", &ms, &seq);
    snprintf(out, MANIFEST_ID_BYTES, "%llu-%llu", ms, seq + 1);
}

int store_commit(struct store *s, uint64_t fence, const struct snapshot *old, const struct snapshot *next,
                 const struct store_batch *batch, struct error *e)
{
    const char *const keys[] = {s->lease, s->epoch, s->updates};
    char token[TOKEN_BYTES], known[HEAD_BYTES], head[HEAD_BYTES], trim[MANIFEST_ID_BYTES], ids[24];
    struct redis_args a = {0};
    struct packed p;
    long long done = 0;
    int rc = pack_changed(s, &p, old, next, e);
    if (rc)
        return rc;
    make_token(s, token, fence);
    format_head(known, &old->manifest);
    format_head(head, &next->manifest);
    id_after(trim, applied_of(&next->manifest));
    start_script(&a, script_commit, keys, 3, &p);
    redis_args_text(&a, token);
    redis_args_text(&a, known);
    redis_args_text(&a, head);
    redis_args_text(&a, s->hint);
    redis_args_text(&a, trim);
    add_number(&a, ids, (uint64_t)batch->n);
    for (int i = 0; i < batch->n; i++)
        redis_args_text(&a, batch->id[i]);
    add_blobs(&a, &p);
    rc = call_number(s, &a, &done, e);
    packed_free(&p);
    if (!rc && done != 1)
        rc = error_set(e, FL_STALE, "another cache service is the learner, or the caches moved on");
    return rc;
}
