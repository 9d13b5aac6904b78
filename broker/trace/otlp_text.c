/* otlp_text.c - ids that follow from what they name; spans with their attributes */
#include "otlp_text.h"

#include "base/version.h"

#define KIND_INTERNAL 1
#define KIND_SERVER   2

static const char *const kind_name[SPAN_KINDS] = {
    [SPAN_REQUEST] = "request",
    [SPAN_WAIT] = "wait",
    [SPAN_WIRE] = "wire",
    [SPAN_QUEUE] = "queue",
    [SPAN_SERIALISE] = "serialise",
    [SPAN_COMPUTE] = "compute",
    [SPAN_ASK] = "ask",
    [SPAN_HELD] = "held",
    [SPAN_LOOKUP] = "lookup",
    [SPAN_SPECULATION] = "speculation",
    [SPAN_DROPPED] = "dropped",
    [SPAN_HIT] = "hit",
    [SPAN_MISS] = "miss",
};
static const char *const role_name[] = {"", "broker", "stage", "cache", "client", "learner"};

/* splitmix64: different numbers become different ones. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct trace_id trace_id_of(uint64_t request)
{
    return (struct trace_id){mix(request ^ 0x7472616365u), mix(request)};
}

/* Of a request's own span that has no id, or of another: nothing that is the same in two spans of a request.
 */
static uint64_t span_id(const struct span *s)
{
    uint64_t id = mix(s->request ^ 0x7370616eu);
    if (s->kind != SPAN_REQUEST) {
        id = mix(id ^ (s->kind << 24 | s->role << 16 | s->stage << 8 | s->replica));
        id = mix(id ^ s->start_ns) + s->attempt * 64 + (uint64_t)(s->exit + 1);
    }
    return id ? id : 1;
}

/* The span that is the request; it is there. */
static const struct span *own_span(const struct traced *t)
{
    const struct span *s = t->span;
    while (s->kind != SPAN_REQUEST && s < t->span + t->n - 1)
        s++;
    return s;
}

static void put_number(struct json_text *out, const char *key, int64_t value)
{
    json_text_format(out, ",{\"key\":\"freezeline.%s\",\"value\":{\"intValue\":\"%lld\"}}", key,
                     (long long)value);
}

static void put_attributes(struct json_text *out, const struct span *s)
{
    const char *role = s->role < sizeof role_name / sizeof *role_name ? role_name[s->role] : "";
    json_text_format(out, "\"attributes\":[{\"key\":\"freezeline.role\",\"value\":{\"stringValue\":\"%s\"}}",
                     role);
    json_text_format(out, ",{\"key\":\"freezeline.request\",\"value\":{\"stringValue\":\"%llu\"}}",
                     (unsigned long long)s->request);
    if (s->role == ROLE_STAGE)
        put_number(out, "stage", s->stage);
    if (s->role != ROLE_BROKER)
        put_number(out, "replica", s->replica);
    if (s->exit >= 0)
        put_number(out, "exit", s->exit);
    if (s->attempt > 1)
        put_number(out, "attempt", s->attempt);
    json_text_put(out, "]");
}

void otlp_trace(struct json_text *out, const struct traced *t, bool first, uint64_t realtime_ns)
{
    const struct span *own = own_span(t);
    struct trace_id id = own->trace_high | own->trace_low ? (struct trace_id){own->trace_high, own->trace_low}
                                                          : trace_id_of(t->request);
    uint64_t root = own->span ? own->span : span_id(own);
    for (int i = 0; i < t->n; i++) {
        const struct span *s = &t->span[i];
        uint64_t parent = s == own ? own->parent : root;
        json_text_format(out, "%s{\"traceId\":\"%016llx%016llx\",\"spanId\":\"%016llx\",",
                         first && !i ? "" : ",", (unsigned long long)id.high, (unsigned long long)id.low,
                         (unsigned long long)(s == own ? root : span_id(s)));
        if (parent)
            json_text_format(out, "\"parentSpanId\":\"%016llx\",", (unsigned long long)parent);
        json_text_format(out, "\"name\":\"%s\",\"kind\":%d,",
                         s->kind < SPAN_KINDS && kind_name[s->kind] ? kind_name[s->kind] : "unknown",
                         s == own ? KIND_SERVER : KIND_INTERNAL);
        json_text_format(out, "\"startTimeUnixNano\":\"%llu\",\"endTimeUnixNano\":\"%llu\",",
                         (unsigned long long)(s->start_ns + realtime_ns),
                         (unsigned long long)(s->end_ns + realtime_ns));
        put_attributes(out, s);
        json_text_put(out, "}");
    }
}

void otlp_begin(struct json_text *out, const char *pipeline)
{
    json_text_put(out,
                  "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{"
                  "\"stringValue\":\"freezeline\"}},{\"key\":\"service.namespace\",\"value\":{"
                  "\"stringValue\":");
    json_text_string(out, pipeline);
    json_text_format(
        out, "}}]},\"scopeSpans\":[{\"scope\":{\"name\":\"freezeline\",\"version\":\"%s\"},\"spans\":[",
        version_number());
}

void otlp_end(struct json_text *out)
{
    json_text_put(out, "]}]}]}");
}
