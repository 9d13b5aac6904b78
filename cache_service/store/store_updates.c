/* store_updates.c - the stream of updates, the learner's lease, what a batch makes of the caches */
#include "store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_parts.h"
#include "store_scripts.h"

#define PRODUCER_SECONDS "604800" /* longer than a service may be away with updates on its disk */
#define TOKEN_BYTES      64

int store_append(struct store *s, const struct store_parcel *p, int64_t max_entries, int64_t max_bytes,
                 int *accepted, struct error *e)
{
    char producer[STORE_KEY_BYTES], first[24], entries[24], bytes[24];
    const char *const keys[] = {s->updates, producer};
    struct redis_args a = {0};
    long long done = 0;
    int rc;
    *accepted = 0;
    store_key(s, producer, "producer:", p->producer);
    store_script(&a, script_append, keys, 2, NULL);
    store_add_number(&a, first, p->first);
    store_add_number(&a, entries, (uint64_t)max_entries);
    store_add_number(&a, bytes, (uint64_t)max_bytes);
    redis_args_text(&a, PRODUCER_SECONDS);
    redis_args_text(&a, s->hint);
    for (int i = 0; i < p->n; i++)
        redis_args_add(&a, p->record[i].bytes, p->record[i].size);
    rc = store_call_number(s, &a, &done, e);
    if (!rc && (done < 0 || done > p->n))
        rc = error_set(e, FL_PROTOCOL, "%lld of %d updates accepted", done, p->n);
    if (!rc)
        *accepted = (int)done;
    return rc;
}

/* --- the lease --- */

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
    store_script(&a, script_acquire, keys, 2, NULL);
    redis_args_text(&a, s->id);
    store_add_number(&a, duration, duration_ms);
    if ((rc = store_call_number(s, &a, &number, e)))
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
    store_script(&a, script_renew, keys, 1, NULL);
    redis_args_text(&a, token);
    store_add_number(&a, duration, duration_ms);
    if ((rc = store_call_number(s, &a, &number, e)))
        return rc;
    *ok = number == 1;
    return FL_OK;
}

int store_release(struct store *s, uint64_t fence, struct error *e)
{
    bool ok;
    return store_renew(s, fence, 0, &ok, e);
}

/* --- learning --- */

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
    redisReply *r;
    int rc;
    memset(out, 0, sizeof *out);
    make_token(s, token, fence);
    store_script(&a, script_read, keys, 2, NULL);
    redis_args_text(&a, token);
    store_add_number(&a, count, (uint64_t)capacity);
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

int store_ack(struct store *s, uint64_t fence, const struct store_batch *batch, struct error *e)
{
    const char *const keys[] = {s->lease, s->updates};
    char token[TOKEN_BYTES], trim[MANIFEST_ID_BYTES];
    struct redis_args a = {0};
    long long done = 0;
    int rc;
    if (!batch->n)
        return FL_OK;
    make_token(s, token, fence);
    id_after(trim, batch->id[batch->n - 1]);
    store_script(&a, script_ack, keys, 2, NULL);
    redis_args_text(&a, token);
    redis_args_text(&a, trim);
    rc = store_call_number(s, &a, &done, e);
    return rc || done == 1 ? rc : error_set(e, FL_STALE, "another process is the learner");
}

int store_commit(struct store *s, uint64_t fence, const struct snapshot *old, const struct snapshot *next,
                 struct head *head, struct error *e)
{
    char token[TOKEN_BYTES], trim[MANIFEST_ID_BYTES], frozen[STORE_KEY_BYTES];
    const char *const keys[] = {s->lease, s->epoch, s->updates, s->manifest, frozen};
    struct redis_args a = {0};
    struct head after;
    struct store_packed p;
    long long done = 0;
    int rc = store_pack(s, &p, old, next, e);
    if (rc)
        return rc;
    make_token(s, token, fence);
    store_key(s, frozen, "frozen", "");
    head_of(&after, &next->manifest, head);
    id_after(trim, after.applied);
    store_script(&a, script_commit, keys, 5, &p);
    redis_args_text(&a, token);
    redis_args_text(&a, head->text);
    redis_args_text(&a, after.text);
    redis_args_text(&a, s->hint);
    redis_args_text(&a, trim);
    redis_args_text(&a, next->manifest.promised ? p.manifest : "");
    store_add_blobs(&a, &p);
    rc = store_call_number(s, &a, &done, e);
    store_packed_free(&p);
    if (!rc && done == 2)
        rc = error_set(e, FL_STALE, "learning is frozen (freezeline cache thaw lets it go on)");
    else if (!rc && done != 1)
        rc = error_set(e, FL_STALE, "another cache service is the learner, or the caches moved on");
    if (!rc)
        *head = after;
    return rc;
}
