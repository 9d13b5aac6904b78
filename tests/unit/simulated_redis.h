/* simulated_redis.h - a Redis in memory, as far as keepers ask it for anything (keeper_brain.h), with faults
 *
 * What each question does is what its script does in store_scripts.h, whole or not at all. Caches are held by
 * reference: packing them is tested elsewhere. Time is the test's.
 */
#ifndef FREEZELINE_SIMULATED_REDIS_H
#define FREEZELINE_SIMULATED_REDIS_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache_service/keep/keeper_brain.h"

#define SIM_STREAM  512
#define SIM_CLIENTS 64
#define SIM_BUILDS  8
#define SIM_HINTS   16
#define SIM_LOG     4096

struct sim_entry {
    uint64_t ms, part; /* its id */
    struct update *update;
};

struct sim_hint {
    char text[HEAD_BYTES];
};

struct sim_redis {
    uint64_t now;
    bool down;             /* takes no connections */
    bool full;             /* refuses what writes */
    int64_t max_stream;    /* as in the pipeline */
    struct snapshot *held; /* manifest and caches; NULL: none */
    char head[HEAD_BYTES]; /* "": none */
    struct sim_entry stream[SIM_STREAM];
    int n_stream;
    uint64_t last_ms, last_part; /* the id that was given out last */
    struct {
        uint64_t client, last;
    } producer[SIM_CLIENTS];
    int n_producers;
    uint64_t fence, lease_fence, lease_client, lease_until;
    struct {
        uint8_t build[DIGEST_BYTES];
        char who[STORE_WHO_BYTES];
        uint64_t until;
    } holder[SIM_BUILDS];
    int n_holders;
    struct sim_hint hint[SIM_HINTS]; /* published and not heard yet; the test takes them */
    int n_hints;
    int32_t log[SIM_LOG]; /* labels of all updates that were ever appended, in their order */
    int n_log;
};

static inline void sim_die(const char *what)
{
    fprintf(stderr, "simulated Redis: %s\n", what);
    abort();
}

static inline struct update *sim_copy_update(const struct update *u)
{
    struct update *copy = update_join((struct update *[]){(struct update *)u}, 1, NULL, 0);
    if (!copy)
        sim_die("out of memory");
    return copy;
}

/* Forgets everything, as one that keeps nothing on a disk and starts again. */
static inline void sim_redis_wipe(struct sim_redis *r)
{
    for (int i = 0; i < r->n_stream; i++)
        update_free(r->stream[i].update);
    snapshot_free(r->held);
    r->held = NULL;
    r->head[0] = '\0';
    r->n_stream = r->n_producers = r->n_holders = r->n_hints = 0;
    r->last_ms = r->last_part = 0;
    r->fence = r->lease_fence = 0;
}

/* What it holds becomes what `from` holds: a copy for later, or one that is restored. Keys that expire go on
 * as they are. */
static inline void sim_redis_restore(struct sim_redis *r, const struct sim_redis *from)
{
    struct sim_redis now = *r;
    sim_redis_wipe(r);
    *r = *from;
    r->held = from->held ? snapshot_with_applied(from->held, from->held->manifest.applied) : NULL;
    for (int i = 0; i < r->n_stream; i++)
        r->stream[i].update = sim_copy_update(from->stream[i].update);
    r->now = now.now;
    r->down = now.down;
    r->full = now.full;
    r->n_hints = 0;
    r->n_log = now.n_log;
    memcpy(r->log, now.log, sizeof r->log);
}

static inline void sim_id(char text[MANIFEST_ID_BYTES], uint64_t ms, uint64_t part)
{
    snprintf(text, MANIFEST_ID_BYTES, "%" PRIu64 "-%" PRIu64, ms, part);
}

static inline void sim_publish(struct sim_redis *r, const char *text)
{
    if (r->n_hints == SIM_HINTS) /* hints may be lost */
        memmove(r->hint, r->hint + 1, sizeof *r->hint * (size_t)--r->n_hints);
    snprintf(r->hint[r->n_hints++].text, HEAD_BYTES, "%s", text);
}

/* --- the head, and who has which build --- */

static inline int sim_head(const struct sim_redis *r, struct head *head, struct error *e)
{
    memset(head, 0, sizeof *head);
    return r->head[0] ? head_parse(head, r->head, strlen(r->head), e) : FL_NOT_FOUND;
}

static inline void sim_hold(struct sim_redis *r, const struct keeper_task *t)
{
    int i = 0;
    while (i < r->n_holders && memcmp(r->holder[i].build, t->build, DIGEST_BYTES))
        i++;
    if (i == SIM_BUILDS)
        sim_die("too many builds");
    if (i == r->n_holders)
        r->n_holders++;
    memcpy(r->holder[i].build, t->build, DIGEST_BYTES);
    snprintf(r->holder[i].who, STORE_WHO_BYTES, "%s", t->who);
    r->holder[i].until = r->now + LINEAGE_HOLD_MS * 1000000ull;
}

static inline void sim_holder(const struct sim_redis *r, struct keeper_task *t)
{
    t->holder[0] = '\0';
    for (int i = 0; i < r->n_holders; i++)
        if (!memcmp(r->holder[i].build, t->build, DIGEST_BYTES) && r->now < r->holder[i].until)
            memcpy(t->holder, r->holder[i].who, sizeof t->holder);
}

/* --- caches --- */

/* A cache that is missing there is taken from who asks, where that is of the same build. */
static inline int sim_load(const struct sim_redis *r, struct keeper_task *t)
{
    const struct snapshot *mine;
    if (strcmp(r->head, t->head.text))
        return FL_STALE;
    mine = t->mine && snapshot_same_build(t->mine, r->held) ? t->mine : NULL;
    if (!(t->got = snapshot_new(&r->held->manifest)))
        return FL_NOMEM;
    for (int i = 0; i < r->held->manifest.n_exits; i++) {
        struct cache *c = r->held->cache[i];
        if (!c && r->held->manifest.exit[i].file[0]) {
            c = mine ? mine->cache[i] : NULL;
            t->load.damaged++;
            t->load.lost += !c;
        }
        if ((t->got->cache[i] = c))
            cache_retain(c);
    }
    memcpy(t->got->manifest.applied, t->head.applied, sizeof t->head.applied);
    return FL_OK;
}

static inline void sim_replace(struct sim_redis *r, const struct snapshot *by, struct head *head)
{
    struct head next;
    head_of(&next, &by->manifest, head);
    snapshot_free(r->held);
    r->held = snapshot_with_applied(by, next.applied);
    if (!r->held)
        sim_die("out of memory");
    memcpy(r->head, next.text, sizeof r->head);
    *head = next;
    sim_publish(r, r->head);
}

static inline int sim_publish_caches(struct sim_redis *r, struct keeper_task *t)
{
    uint64_t ms = 0, part = 0;
    if (strcmp(r->head, t->head.text))
        return FL_STALE;
    sim_replace(r, t->mine, &t->head);
    sscanf(t->head.applied, "%" SCNu64 "-%" SCNu64, &ms, &part);
    if (ms > r->last_ms || (ms == r->last_ms && part > r->last_part)) {
        r->last_ms = ms;
        r->last_part = part;
    }
    return FL_OK;
}

/* --- the stream --- */

static inline uint64_t *sim_producer(struct sim_redis *r, uint64_t client)
{
    for (int i = 0; i < r->n_producers; i++)
        if (r->producer[i].client == client)
            return &r->producer[i].last;
    if (r->n_producers == SIM_CLIENTS)
        sim_die("too many clients");
    r->producer[r->n_producers].client = client;
    r->producer[r->n_producers].last = 0;
    return &r->producer[r->n_producers++].last;
}

static inline void sim_add(struct sim_redis *r, const struct update_record *record)
{
    struct sim_entry *entry = &r->stream[r->n_stream++];
    uint64_t ms = r->now / 1000000;
    *entry = (struct sim_entry){.ms = ms};
    if (update_decode(&entry->update, record->bytes, record->size))
        sim_die("a record that is none");
    if (ms <= r->last_ms) {
        entry->ms = r->last_ms;
        entry->part = r->last_part + 1;
    }
    r->last_ms = entry->ms;
    r->last_part = entry->part;
    if (r->n_log == SIM_LOG)
        sim_die("too many updates");
    r->log[r->n_log++] = entry->update->label;
}

static inline void sim_append(struct sim_redis *r, struct keeper_task *t)
{
    const struct store_parcel *p = &t->parcel;
    uint64_t *last = sim_producer(r, strtoull(p->producer, NULL, 10)), before = *last;
    int held = r->n_stream;
    t->accepted = 0;
    for (int i = 0; i < p->n; i++) {
        if (p->first + (unsigned)i > *last) {
            if (r->n_stream >= r->max_stream || r->n_stream >= SIM_STREAM)
                break;
            sim_add(r, &p->record[i]);
            *last = p->first + (unsigned)i;
        }
        t->accepted++;
    }
    if (!held && *last > before)
        sim_publish(r, "updates");
}

static inline bool sim_leads(const struct sim_redis *r, uint64_t client, uint64_t fence)
{
    return fence && r->lease_fence == fence && r->lease_client == client && r->now < r->lease_until;
}

static inline int sim_read(struct sim_redis *r, uint64_t client, struct keeper_task *t)
{
    struct store_batch *b = &t->batch;
    memset(b, 0, sizeof *b);
    if (!sim_leads(r, client, t->fence))
        return FL_STALE;
    if (!(b->update = calloc((size_t)t->n, sizeof *b->update)) ||
        !(b->id = calloc((size_t)t->n, sizeof *b->id)))
        sim_die("out of memory");
    for (; b->n < r->n_stream && b->n < t->n; b->n++) {
        sim_id(b->id[b->n], r->stream[b->n].ms, r->stream[b->n].part);
        b->update[b->n] = sim_copy_update(r->stream[b->n].update);
    }
    return FL_OK;
}

static inline int sim_commit(struct sim_redis *r, uint64_t client, struct keeper_task *t)
{
    int kept = 0;
    if (!sim_leads(r, client, t->fence) || strcmp(r->head, t->head.text))
        return FL_STALE;
    sim_replace(r, t->next, &t->head);
    for (int i = 0; i < r->n_stream; i++) {
        char id[MANIFEST_ID_BYTES];
        sim_id(id, r->stream[i].ms, r->stream[i].part);
        if (stream_id_compare(id, t->head.applied) > 0)
            r->stream[kept++] = r->stream[i];
        else
            update_free(r->stream[i].update);
    }
    r->n_stream = kept;
    return FL_OK;
}

static inline int sim_ack(struct sim_redis *r, uint64_t client, const struct keeper_task *t)
{
    int kept = 0;
    if (!sim_leads(r, client, t->fence))
        return FL_STALE;
    for (int i = 0; i < r->n_stream; i++) {
        char id[MANIFEST_ID_BYTES];
        sim_id(id, r->stream[i].ms, r->stream[i].part);
        if (stream_id_compare(id, t->batch.id[t->batch.n - 1]) > 0)
            r->stream[kept++] = r->stream[i];
        else
            update_free(r->stream[i].update);
    }
    r->n_stream = kept;
    return FL_OK;
}

/* --- the lease --- */

static inline void sim_acquire(struct sim_redis *r, uint64_t client, struct keeper_task *t)
{
    t->fence = 0;
    if (r->lease_fence && r->now < r->lease_until)
        return;
    t->fence = r->lease_fence = ++r->fence;
    r->lease_client = client;
    r->lease_until = r->now + KEEPER_LEASE_MS * 1000000ull;
}

static inline void sim_renew(struct sim_redis *r, uint64_t client, struct keeper_task *t)
{
    t->ok = sim_leads(r, client, t->fence);
    if (t->ok)
        r->lease_until = t->act == KEEPER_RELEASE ? r->now : r->now + KEEPER_LEASE_MS * 1000000ull;
}

/* One question of one client (its incarnation), answered as the real one would. */
static inline int sim_redis_do(struct sim_redis *r, uint64_t client, struct keeper_task *t)
{
    bool writes = t->act != KEEPER_CONNECT && t->act != KEEPER_LISTEN && t->act != KEEPER_HEAD &&
                  t->act != KEEPER_HOLDER && t->act != KEEPER_LOAD && t->act != KEEPER_TELL_DAMAGED;
    char text[40];
    if (r->down)
        return error_set(&t->error, FL_UNAVAILABLE, "down");
    if (writes && r->full)
        return error_set(&t->error, FL_IO, "OOM command not allowed");
    switch (t->act) {
    case KEEPER_HEAD:
        return sim_head(r, &t->head, &t->error);
    case KEEPER_HOLD:
        sim_hold(r, t);
        return FL_OK;
    case KEEPER_HOLDER:
        sim_holder(r, t);
        return FL_OK;
    case KEEPER_LOAD:
        return sim_load(r, t);
    case KEEPER_PUBLISH:
        return sim_publish_caches(r, t);
    case KEEPER_TELL_DAMAGED:
        snprintf(text, sizeof text, "damaged %" PRIu64, t->head.sequence);
        sim_publish(r, text);
        return FL_OK;
    case KEEPER_ACQUIRE:
        sim_acquire(r, client, t);
        return FL_OK;
    case KEEPER_RENEW:
    case KEEPER_RELEASE:
        sim_renew(r, client, t);
        return FL_OK;
    case KEEPER_APPEND:
        sim_append(r, t);
        return FL_OK;
    case KEEPER_READ:
        return sim_read(r, client, t);
    case KEEPER_COMMIT:
        return sim_commit(r, client, t);
    case KEEPER_ACK:
        return sim_ack(r, client, t);
    default:
        return FL_OK; /* connecting, listening */
    }
}

#endif
