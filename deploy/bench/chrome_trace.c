/* chrome_trace.c - collecting spans, writing them as Chrome trace events */
#include "chrome_trace.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "deploy/tool/output.h"

#define TAKE_TIMEOUT_MS 3000
#define PATIENCE_NS     (5 * NS_PER_S)
#define EVENT_FLAGS     (JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(15))

static const char *const kind_names[SPAN_KINDS] = {[SPAN_REQUEST] = "request",
                                                   [SPAN_WAIT] = "waits for a worker",
                                                   [SPAN_WIRE] = "wire",
                                                   [SPAN_QUEUE] = "queue",
                                                   [SPAN_SERIALISE] = "serialise",
                                                   [SPAN_COMPUTE] = "compute",
                                                   [SPAN_ASK] = "ask",
                                                   [SPAN_HELD] = "held back",
                                                   [SPAN_LOOKUP] = "look-up",
                                                   [SPAN_SPECULATION] = "speculation",
                                                   [SPAN_DROPPED] = "cancelled",
                                                   [SPAN_HIT] = "hit",
                                                   [SPAN_MISS] = "miss"};

/* --- collecting --- */

int chrome_trace_add(struct chrome_trace *t, const struct spans *s)
{
    int room = CHROME_TRACE_MAX_SPANS - t->n, take = s->n < room ? s->n : room;
    t->lost += s->lost + (uint64_t)(s->n - take);
    if (t->n + take > t->capacity) {
        int capacity = t->capacity ? 2 * t->capacity : 4096;
        struct span *larger = realloc(t->span, (size_t)capacity * sizeof *larger);
        if (!larger)
            return FL_NOMEM;
        t->span = larger;
        t->capacity = capacity;
    }
    if (take)
        memcpy(t->span + t->n, s->span, (size_t)take * sizeof *s->span);
    t->n += take;
    return FL_OK;
}

void chrome_trace_release(struct chrome_trace *t)
{
    free(t->span);
    memset(t, 0, sizeof *t);
}

/* Every process that lives was heard after `since_ns`, and so has told what it had noted before. */
static bool all_have_told(const struct status_reply *s, uint64_t since_ns)
{
    for (int i = 0; i < s->n_processes; i++)
        if (strcmp(s->process[i].state, "dead") && s->process[i].age_ns + since_ns >= s->now_ns)
            return false;
    return true;
}

/* Who stays silent for long is left out. */
static int await_heartbeats(struct client *c, const struct pipeline *p, struct error *e)
{
    struct status_reply *s = malloc(sizeof *s);
    struct timespec beat = {p->broker.heartbeat_ms / 1000, p->broker.heartbeat_ms % 1000 * 1000000l};
    uint64_t until = clock_ns() + (uint64_t)p->broker.dead_after_ms * NS_PER_MS + PATIENCE_NS, since = 0;
    int rc = FL_OK;

    if (!s)
        return error_set(e, FL_NOMEM, "no memory for a trace");
    while (!(rc = client_status(c, TAKE_TIMEOUT_MS, s, e))) {
        since = since ? since : s->now_ns;
        if (all_have_told(s, since) || clock_ns() > until)
            break;
        nanosleep(&beat, NULL);
    }
    free(s);
    return rc;
}

int chrome_trace_collect(struct chrome_trace *t, const struct pipeline *p, struct error *e)
{
    struct spans *s = malloc(sizeof *s);
    struct client *c = NULL;
    int rc;

    if (!s)
        return error_set(e, FL_NOMEM, "no memory for a trace");
    if (p->traces.to) { /* whoever asks first has them */
        free(s);
        return error_set(e, FL_UNSUPPORTED, "this pipeline's traces go to %.300s (traces.to)", p->traces.to);
    }
    if (!(rc = client_new(&c, p, e)) && t)
        rc = await_heartbeats(c, p, e);
    do {
        if (!rc)
            rc = client_take_spans(c, TAKE_TIMEOUT_MS, s, e);
        if (!rc && t && chrome_trace_add(t, s))
            rc = error_set(e, FL_NOMEM, "no memory for a trace of %d spans", t->n);
    } while (!rc && s->left);
    client_free(c);
    free(s);
    return rc;
}

/* --- order --- */

/* Chrome's process number, in the order of the tracks; also its one thread's, since readers want those
 * unique. */
static int track_of(const struct span *s)
{
    if (s->role == ROLE_BROKER)
        return 1;
    if (s->role == ROLE_STAGE)
        return 2 + (int)(s->stage * PIPELINE_MAX_REPLICAS + s->replica);
    return 2 + PIPELINE_MAX_STAGES * PIPELINE_MAX_REPLICAS + (int)(s->replica % PIPELINE_MAX_CACHES);
}

/* One thing after another, in the process's own thread. */
static bool is_work(const struct span *s)
{
    switch (s->kind) {
    case SPAN_SERIALISE:
    case SPAN_COMPUTE:
    case SPAN_ASK:
    case SPAN_HELD:
    case SPAN_HIT:
    case SPAN_MISS:
        return true;
    default:
        return false;
    }
}

static int order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* By process, then time; what a batch shares lies together. */
static int by_track(const void *x, const void *y)
{
    const struct span *a = x, *b = y;
    int d = track_of(a) - track_of(b);
    if (!d)
        d = order(a->start_ns, b->start_ns);
    if (!d)
        d = order(b->end_ns, a->end_ns);
    if (!d)
        d = order(a->kind, b->kind);
    return d ? d : order(a->request, b->request);
}

static int by_request(const void *x, const void *y)
{
    const struct span *a = x, *b = y;
    int d = order(a->request, b->request);
    if (!d)
        d = order(a->attempt, b->attempt);
    return d ? d : order(a->start_ns, b->start_ns);
}

static bool same_work(const struct span *a, const struct span *b)
{
    return is_work(a) && a->kind == b->kind && a->exit == b->exit && a->start_ns == b->start_ns &&
           a->end_ns == b->end_ns && track_of(a) == track_of(b);
}

/* --- events --- */

struct writer {
    FILE *to;
    const struct model_shape *model;
    uint64_t base_ns;
    bool comma, failed;
    int arrows;
};

/* Takes the event. */
static void put(struct writer *w, json_t *event)
{
    if (!event || (w->comma && fputs(",\n", w->to) < 0) || json_dumpf(event, w->to, EVENT_FLAGS))
        w->failed = true;
    w->comma = true;
    json_decref(event);
}

static double us(const struct writer *w, uint64_t ns)
{
    return (double)(ns - w->base_ns) / NS_PER_US;
}

static const char *kind_of(const struct span *s)
{
    return s->kind && s->kind < SPAN_KINDS ? kind_names[s->kind] : "other";
}

/* "compute to block4", "hit block4", "wire". */
static const char *name_of(const struct writer *w, const struct span *s, char *buf, size_t size)
{
    const char *way = s->kind == SPAN_COMPUTE ? "to " : s->kind == SPAN_SPECULATION ? "past " : "";
    if (s->exit < 0 || s->kind == SPAN_WIRE || s->kind == SPAN_QUEUE)
        snprintf(buf, size, "%s", kind_of(s));
    else if (w->model)
        snprintf(buf, size, "%s %s%s", kind_of(s), way, model_shape_exit(w->model, s->exit));
    else
        snprintf(buf, size, "%s %sexit %d", kind_of(s), way, s->exit);
    return buf;
}

static void put_track(struct writer *w, const struct span *s)
{
    char name[64];
    int track = track_of(s);
    if (s->role == ROLE_BROKER)
        snprintf(name, sizeof name, "broker");
    else if (s->role == ROLE_STAGE)
        snprintf(name, sizeof name, "stage %u replica %u", s->stage, s->replica);
    else
        snprintf(name, sizeof name, "cache %u", s->replica);
    put(w, json_pack("{s:s, s:s, s:i, s:{s:s}}", "ph", "M", "name", "process_name", "pid", track, "args",
                     "name", name));
    put(w, json_pack("{s:s, s:s, s:i, s:{s:i}}", "ph", "M", "name", "process_sort_index", "pid", track,
                     "args", "sort_index", track));
    put(w, json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "ph", "M", "name", "thread_name", "pid", track, "tid",
                     track, "args", "name", "work"));
}

/* Ids do not fit into JSON's numbers. */
static json_t *request_json(uint64_t request)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)request);
    return json_string(text);
}

/* One slice of the work track, of the n traced requests of a batch. It ends 1 ns early: who reads times as
 * fractions of a microsecond must not see it reach into the next one. */
static void put_work(struct writer *w, const struct span *s, int n)
{
    uint64_t end_ns = s->end_ns > s->start_ns ? s->end_ns - 1 : s->end_ns;
    json_t *requests = json_array();
    char name[128];
    for (int i = 0; i < n; i++)
        json_array_append_new(requests, request_json(s[i].request));
    put(w, json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:{s:o}}", "ph", "X", "cat", "work", "name",
                     name_of(w, s, name, sizeof name), "pid", track_of(s), "tid", track_of(s), "ts",
                     us(w, s->start_ns), "dur", (double)(end_ns - s->start_ns) / NS_PER_US, "args",
                     "requests", requests));
}

/* A slice of a track of its own: tracks are told apart by category and id. */
static void put_beside(struct writer *w, const struct span *s, int number)
{
    char name[128], id[32];
    const char *kind = kind_of(s);
    snprintf(id, sizeof id, "0x%x", (unsigned)number * (PIPELINE_MAX_EXITS + 1) + (unsigned)(s->exit + 1));
    name_of(w, s, name, sizeof name);
    put(w,
        json_pack("{s:s, s:s, s:s, s:i, s:i, s:{s:s}, s:f, s:{s:o, s:i}}", "ph", "b", "cat", kind, "name",
                  name, "pid", track_of(s), "tid", track_of(s), "id2", "local", id, "ts", us(w, s->start_ns),
                  "args", "request", request_json(s->request), "attempt", (int)s->attempt));
    put(w, json_pack("{s:s, s:s, s:s, s:i, s:i, s:{s:s}, s:f}", "ph", "e", "cat", kind, "name", name, "pid",
                     track_of(s), "tid", track_of(s), "id2", "local", id, "ts", us(w, s->end_ns)));
    if (s->kind == SPAN_DROPPED)
        put(w, json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:f}", "ph", "i", "s", "t", "cat", kind, "name",
                         name, "pid", track_of(s), "tid", track_of(s), "ts", us(w, s->end_ns)));
}

static void put_arrow(struct writer *w, const struct span *from, const struct span *to)
{
    uint64_t end = from->end_ns > from->start_ns + 1 ? from->end_ns - 2 : from->start_ns; /* in the slice */
    uint64_t start = end < to->start_ns ? end : to->start_ns;
    int id = ++w->arrows;
    if (start < from->start_ns)
        return; /* clocks of two hosts disagree */
    put(w, json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:f}", "ph", "s", "cat", "way", "name", "way", "id", id,
                     "pid", track_of(from), "tid", track_of(from), "ts", us(w, start)));
    put(w, json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:f}", "ph", "f", "bp", "e", "cat", "way", "name",
                     "way", "id", id, "pid", track_of(to), "tid", track_of(to), "ts", us(w, to->start_ns)));
}

/* The arrows of one attempt's n spans, in the order of time: from each stage to the next, from each question
 * to its look-up. */
static void put_arrows(struct writer *w, const struct span *s, int n)
{
    const struct span *asked[PIPELINE_MAX_EXITS] = {NULL}, *last = NULL;
    for (int i = 0; i < n; i++) {
        bool at_exit = s[i].exit >= 0 && s[i].exit < PIPELINE_MAX_EXITS;
        if (!is_work(&s[i]))
            continue;
        if (s[i].role != ROLE_STAGE) {
            if (at_exit && asked[s[i].exit])
                put_arrow(w, asked[s[i].exit], &s[i]);
            continue;
        }
        if (s[i].kind == SPAN_ASK && at_exit)
            asked[s[i].exit] = &s[i];
        if (last && track_of(last) != track_of(&s[i]))
            put_arrow(w, last, &s[i]);
        last = &s[i];
    }
}

/* Sorted by request: tracks beside the work, and arrows. */
static void put_requests(struct writer *w, const struct chrome_trace *t)
{
    int number = 0;
    for (int i = 0, end; i < t->n; i = end) {
        const struct span *s = &t->span[i];
        for (end = i; end < t->n && t->span[end].request == s->request && t->span[end].attempt == s->attempt;
             end++)
            if (!is_work(&t->span[end]))
                put_beside(w, &t->span[end], number);
        put_arrows(w, s, end - i);
        number++;
    }
}

/* Sorted by track: what is told of each process, and its work. */
static void put_tracks(struct writer *w, const struct chrome_trace *t)
{
    for (int i = 0, end; i < t->n; i = end) {
        const struct span *s = &t->span[i];
        if (!i || track_of(s) != track_of(s - 1))
            put_track(w, s);
        for (end = i + 1; end < t->n && same_work(s, &t->span[end]); end++)
            ;
        if (is_work(s))
            put_work(w, s, end - i);
    }
}

/* Leaves out spans that end before they start: nobody honest sends such. */
static void drop_nonsense(struct chrome_trace *t)
{
    int kept = 0;
    for (int i = 0; i < t->n; i++)
        if (t->span[i].end_ns >= t->span[i].start_ns)
            t->span[kept++] = t->span[i];
    t->n = kept;
}

int chrome_trace_write(struct chrome_trace *t, const struct model_shape *model, FILE *to)
{
    struct writer w = {.to = to, .model = model, .base_ns = UINT64_MAX};
    json_t *other = json_pack("{s:i, s:I}", "spans", t->n, "lost", (json_int_t)t->lost);

    drop_nonsense(t);
    for (int i = 0; i < t->n; i++)
        if (t->span[i].start_ns < w.base_ns)
            w.base_ns = t->span[i].start_ns;
    fputs("{\"displayTimeUnit\":\"ms\",\"otherData\":", to);
    if (!other || json_dumpf(other, to, JSON_COMPACT))
        w.failed = true;
    json_decref(other);
    fputs(",\"traceEvents\":[\n", to);
    if (t->n)
        qsort(t->span, (size_t)t->n, sizeof *t->span, by_track);
    put_tracks(&w, t);
    if (t->n)
        qsort(t->span, (size_t)t->n, sizeof *t->span, by_request);
    put_requests(&w, t);
    fputs("\n]}\n", to);
    return w.failed || fflush(to) || ferror(to) ? FL_IO : FL_OK;
}

struct save {
    struct chrome_trace *trace;
    const struct model_shape *model;
};

static int save(FILE *to, const void *arg, struct error *e)
{
    const struct save *s = arg;
    int rc = chrome_trace_write(s->trace, s->model, to);

    return rc ? error_set(e, (enum fl_code)rc, "a trace of %d spans cannot be written", s->trace->n) : FL_OK;
}

int chrome_trace_save(struct chrome_trace *t, const struct model_shape *model, const char *path,
                      struct error *e)
{
    return output_write(path, save, &(struct save){t, model}, e);
}
