/* span_log.c - a ring of spans */
#include "span_log.h"

#include <stdlib.h>

void span_log_init(struct span_log *l, int capacity, uint32_t role, uint32_t stage, uint32_t replica)
{
    *l = (struct span_log){.capacity = capacity, .role = role, .stage = stage, .replica = replica};
}

void span_log_free(struct span_log *l)
{
    free(l->span);
    l->span = NULL;
    l->capacity = l->n = 0;
}

void span_log_put(struct span_log *l, const struct span *s)
{
    if (!l->span && l->capacity)
        l->span = malloc((size_t)l->capacity * sizeof *l->span);
    if (l->n == l->capacity || !l->span)
        l->lost++;
    else
        l->span[(l->first + l->n++) % l->capacity] = *s;
}

void span_log_note(struct span_log *l, enum span_kind kind, uint64_t request, uint32_t attempt, int32_t exit,
                   uint64_t start_ns, uint64_t end_ns)
{
    struct span s = {.request = request,
                     .attempt = attempt,
                     .kind = (uint32_t)kind,
                     .role = l->role,
                     .stage = l->stage,
                     .replica = l->replica,
                     .exit = exit,
                     .start_ns = start_ns,
                     .end_ns = end_ns};
    if (end_ns >= start_ns)
        span_log_put(l, &s);
}

bool span_log_take(struct span_log *l, struct spans *out)
{
    out->n = 0;
    while (l->n && out->n < MESSAGE_MAX_SPANS) {
        out->span[out->n++] = l->span[l->first];
        l->first = (l->first + 1) % l->capacity;
        l->n--;
    }
    out->lost = l->lost;
    out->left = (uint32_t)l->n;
    l->lost = 0;
    return out->n || out->lost;
}

void span_log_send(struct span_log *l, int (*send)(void *arg, int broker, const struct message *m), void *arg,
                   int broker, struct message *scratch)
{
    while (span_log_take(l, &scratch->spans)) {
        uint64_t lost = scratch->spans.lost + (uint64_t)scratch->spans.n;
        scratch->type = MESSAGE_SPANS;
        if (send(arg, broker, scratch)) {
            l->lost += lost;
            return;
        }
    }
}
