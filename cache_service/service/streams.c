/* streams.c - a table of last answers, and the certificate of answering as they were */
#include "streams.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cache_service/promise/alarm.h"
#include "cache_service/promise/betting.h"
#include "cache_service/promise/burst.h"
#include "cache_service/promise/certificate.h"

#define COUNTED      8 /* some 64 frames apart */
#define ROWS         28
#define NEAREST      256.0f             /* of the first row; each next one is 1/sqrt(2) of the one before */
#define MOST_COLUMNS PIPELINE_MAX_EXITS /* at each exit the stream's, then the cache's */

/* What one request that ran to its end had at the exits. */
struct frame {
    uint64_t request; /* 0: none */
    int32_t label;
    float *x[PIPELINE_MAX_EXITS];
    uint32_t dim[PIPELINE_MAX_EXITS];
    int32_t said[MOST_COLUMNS]; /* by each column; -1: nothing */
    float sure[MOST_COLUMNS];
};

struct stream {
    uint64_t id, keys, used; /* used: the newest has the largest number; 0: free */
    struct frame last, coming;
};

struct streams {
    struct stream *stream; /* [STREAMS_MOST], made with the first */
    uint64_t used;
    size_t bytes;
    int n_columns; /* 0: off */
    struct promise_terms terms;
    float least[PIPELINE_MAX_EXITS], whole[PIPELINE_MAX_EXITS]; /* thresholds of the caches */
    uint64_t number;                                            /* of certificates that were begun */
    struct certificate *certificate;
    struct alarm *alarm;
    struct burst *burst;
    int64_t alone; /* keys that the caches alone would have answered */
    struct streams_state state;
};

/* --- the table --- */

static void frame_release(struct streams *s, struct frame *f)
{
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++) {
        if (f->x[k] != NULL)
            s->bytes -= f->dim[k] * sizeof(float);
        free(f->x[k]);
    }
    memset(f, 0, sizeof *f);
}

static void stream_release(struct streams *s, struct stream *t)
{
    frame_release(s, &t->last);
    frame_release(s, &t->coming);
    t->id = t->keys = t->used = 0;
}

static struct stream *find(struct streams *s, uint64_t id)
{
    for (int i = 0; s->stream && i < STREAMS_MOST; i++)
        if (s->stream[i].used && s->stream[i].id == id)
            return &s->stream[i];
    return NULL;
}

/* The longest unused beside `but`; NULL: there is no other. */
static struct stream *oldest(struct streams *s, const struct stream *but, bool taken)
{
    struct stream *best = NULL;
    for (int i = 0; i < STREAMS_MOST; i++) {
        struct stream *t = &s->stream[i];
        if (t != but && (t->used || !taken) && (best == NULL || t->used < best->used))
            best = t;
    }
    return best;
}

static void keep(struct streams *s, struct stream *t, int exit, const float *x, uint32_t dim)
{
    size_t bytes = dim * sizeof *x;
    struct stream *other;
    while (s->bytes + bytes > STREAMS_MOST_BYTES && (other = oldest(s, t, true)) != NULL)
        stream_release(s, other);
    if (s->bytes + bytes > STREAMS_MOST_BYTES || t->coming.x[exit] != NULL ||
        (t->coming.x[exit] = malloc(bytes + 1)) == NULL)
        return;
    memcpy(t->coming.x[exit], x, bytes);
    t->coming.dim[exit] = dim;
    s->bytes += bytes;
}

/* --- the rule --- */

/* |last| / |difference|; 0: they cannot be compared. */
static float nearness(const struct frame *f, int exit, const float *x, uint32_t dim)
{
    const float *y = f->x[exit];
    double norm = 0, apart = 0, near;
    if (y == NULL || f->dim[exit] != dim)
        return 0;
    for (uint32_t i = 0; i < dim; i++) {
        double d = (double)x[i] - (double)y[i];
        norm += (double)y[i] * (double)y[i];
        apart += d * d;
    }
    near = sqrt(norm / (apart + 1e-12 * norm + 1e-30));
    return isfinite(near) ? (float)near : 0;
}

static float threshold_of_row(int64_t row)
{
    return NEAREST * powf(2, -0.5f * (float)row);
}

/* What the rule and the caches together answer; -1: nothing. */
static int32_t answer(const struct streams *s, const struct frame *f)
{
    for (int k = 0; k < s->n_columns; k++) {
        float threshold = k % 2 == 0 ? s->state.nearness : s->least[k / 2];
        if (f->said[k] >= 0 && f->sure[k] > threshold)
            return f->said[k];
    }
    return -1;
}

static bool answers_alone(const struct streams *s, const struct frame *f)
{
    for (int k = 1; k < s->n_columns; k += 2)
        if (f->said[k] >= 0 && f->sure[k] > s->whole[k / 2])
            return true;
    return false;
}

/* --- certifying --- */

static void end(struct streams *s)
{
    certificate_free(s->certificate);
    alarm_free(s->alarm);
    burst_free(s->burst);
    s->certificate = NULL;
    s->alarm = NULL;
    s->burst = NULL;
    s->alone = 0;
    s->state = (struct streams_state){.spent_numbers = (int64_t)s->number};
}

/* Another number, so all certificates together are wrong with 1 - certainty at most. */
static void begin(struct streams *s)
{
    float threshold[ROWS * MOST_COLUMNS];
    struct promise_order order = {.rows = ROWS, .threshold = threshold};
    double delta = betting_delta(s->terms.certainty, ++s->number);
    end(s);
    for (int row = 0; row < ROWS; row++)
        for (int k = 0; k < s->n_columns; k++)
            threshold[row * s->n_columns + k] = k % 2 == 0 ? threshold_of_row(row) : s->least[k / 2];
    if (certificate_new(&s->certificate, &order, s->n_columns, &s->terms, delta) ||
        alarm_new(&s->alarm, s->terms.budget, delta, false) || burst_new(&s->burst)) {
        end(s);
        s->n_columns = 0; /* no memory: it stays off */
    }
}

/* It is on where a row holds that answers more than the caches do by the whole promise's thresholds. While it
 * is off, what held once has to hold by all keys up to now. */
static void consider(struct streams *s)
{
    int64_t row = s->state.on ? certificate_row(s->certificate) : certificate_ready_row(s->certificate, 0);
    struct certificate_row r;
    s->state.keys = certificate_seen(s->certificate);
    if (row < 0)
        return;
    certificate_counts(s->certificate, row, &r);
    s->state.share = r.share;
    s->state.alone = (double)s->alone / (double)s->state.keys;
    s->state.on = r.share > s->state.alone;
    s->state.nearness = threshold_of_row(row);
}

/* All keys may raise the alarm. Of a stream one in COUNTED certifies: those between show the same scene. */
static void certify(struct streams *s, struct stream *t, int32_t full)
{
    const struct frame *f = &t->coming;
    int32_t served = s->state.on ? answer(s, f) : -1;
    if (s->state.on) {
        alarm_see(s->alarm, served >= 0 && served != full);
        if (alarm_raised(s->alarm)) {
            begin(s);
            return;
        }
    }
    if (t->keys++ % COUNTED || (f->x[0] != NULL && !burst_counts(s->burst, f->x[0], f->dim[0])))
        return;
    s->alone += answers_alone(s, f);
    certificate_see(s->certificate, f->said, f->sure, full, -1);
    consider(s);
}

/* --- from outside --- */

int streams_new(struct streams **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? FL_OK : FL_NOMEM;
}

void streams_free(struct streams *s)
{
    if (s == NULL)
        return;
    streams_serve(s, NULL);
    free(s->stream);
    free(s);
}

void streams_serve(struct streams *s, const struct snapshot *caches)
{
    const struct manifest *m = caches ? &caches->manifest : NULL;
    for (int i = 0; s->stream && i < STREAMS_MOST; i++)
        stream_release(s, &s->stream[i]);
    end(s);
    s->n_columns = 0;
    if (caches == NULL || !m->promised || m->learned.serial || 2 * m->n_exits > MOST_COLUMNS ||
        !(m->promise.live.budget > 0 && m->promise.live.budget < 1))
        return;
    for (int i = 0; i < m->n_exits; i++) {
        struct cache_info info = caches->cache[i] ? cache_info(caches->cache[i]) : (struct cache_info){0};
        s->whole[i] = caches->cache[i] ? info.threshold : INFINITY;
        s->least[i] = info.levels.n ? info.levels.of[info.levels.n - 1].threshold : INFINITY;
        if (info.levels.n)
            s->n_columns = 2 * m->n_exits;
    }
    s->terms = m->promise.live;
    s->terms.agreement =
        true; /* the truth of a frame is not known, and what differs is never less than lost */
    if (s->n_columns)
        begin(s);
}

/* A key: what is said of it is noted, and its descriptor kept until its full answer is told. */
static void note(struct streams *s, struct stream *t, uint64_t request, int exit, const float *x,
                 uint32_t dim, float near, const struct cache_verdict *v)
{
    struct frame *f = &t->coming;
    if (f->request != request) {
        frame_release(s, f);
        f->request = request;
        memset(f->said, -1, sizeof f->said);
    }
    f->said[2 * exit] = near > 0 ? t->last.label : -1;
    f->sure[2 * exit] = near;
    f->said[2 * exit + 1] = v->label;
    f->sure[2 * exit + 1] = v->confidence;
    keep(s, t, exit, x, dim);
}

void streams_look(struct streams *s, const struct lookup_item *item, int exit, const float *x, uint32_t dim,
                  struct cache_verdict *v)
{
    struct stream *t;
    float near;
    bool key = item->flags & JOB_KEY;
    if (!item->stream || 2 * exit >= s->n_columns || item->loss_allowed)
        return;
    t = find(s, item->stream);
    if (t == NULL && key) {
        if (s->stream == NULL && (s->stream = calloc(STREAMS_MOST, sizeof *s->stream)) == NULL)
            return; /* no memory: it is not followed */
        t = oldest(s, NULL, false);
        stream_release(s, t);
        t->id = item->stream;
        t->keys = t->id * 0x9e3779b97f4a7c15u >> 61; /* streams begin to count at different places */
    }
    if (t != NULL)
        t->used = ++s->used;
    near = t != NULL && t->last.request ? nearness(&t->last, exit, x, dim) : 0;
    if (key)
        note(s, t, item->request, exit, x, dim, near, v);
    else if (s->state.on && near > s->state.nearness)
        *v = (struct cache_verdict){t->last.label, near, true};
    else if (s->state.on)
        v->hit = v->label >= 0 && v->confidence > s->least[exit];
}

void streams_outcome(struct streams *s, uint64_t request, int32_t label)
{
    for (int i = 0; s->n_columns && s->stream && i < STREAMS_MOST; i++) {
        struct stream *t = &s->stream[i];
        if (!t->used || t->coming.request != request || !request)
            continue;
        if (label < 0) {
            frame_release(s, &t->coming);
            return;
        }
        certify(s, t, label);
        frame_release(s, &t->last);
        t->last = t->coming;
        t->last.label = label;
        memset(&t->coming, 0, sizeof t->coming);
        return;
    }
}

struct streams_state streams_state(const struct streams *s)
{
    return s->state;
}

size_t streams_bytes(const struct streams *s)
{
    return s->bytes;
}
