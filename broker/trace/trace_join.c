/* trace_join.c - requests in a table by id, oldest first */
#include "trace_join.h"

#include <stdlib.h>

#include "base/clock.h"

#define GIVE_UP_NS (60 * NS_PER_S)
#define NONE       (-1)

struct trace_join {
    uint64_t wait_ns, lost;
    struct traced *of; /* [TRACES_MOST] */
    int bucket[TRACES_MOST];
    int unused[TRACES_MOST], n_unused;
    int at; /* where the next look begins */
};

int trace_join_new(struct trace_join **out, uint64_t wait_ns)
{
    struct trace_join *j = calloc(1, sizeof *j);
    if (!j || !(j->of = calloc(TRACES_MOST, sizeof *j->of))) { /* untouched until it is used */
        free(j);
        return FL_NOMEM;
    }
    j->wait_ns = wait_ns;
    for (int i = 0; i < TRACES_MOST; i++) {
        j->bucket[i] = NONE;
        j->unused[j->n_unused++] = TRACES_MOST - 1 - i;
    }
    *out = j;
    return FL_OK;
}

void trace_join_free(struct trace_join *j)
{
    if (j)
        free(j->of);
    free(j);
}

static struct traced *find_or_add(struct trace_join *j, uint64_t request, uint64_t now)
{
    int *first = &j->bucket[request % TRACES_MOST], i = *first;
    struct traced *t;
    while (i != NONE && j->of[i].request != request)
        i = j->of[i].chain;
    if (i != NONE)
        return &j->of[i];
    if (!j->n_unused)
        return NULL;
    i = j->unused[--j->n_unused];
    t = &j->of[i];
    t->request = request;
    t->n = 0;
    t->since_ns = now;
    t->here = true;
    t->whole = false;
    t->chain = *first;
    *first = i;
    return t;
}

static void remove_at(struct trace_join *j, int i)
{
    int *link = &j->bucket[j->of[i].request % TRACES_MOST];
    while (*link != i)
        link = &j->of[*link].chain;
    *link = j->of[i].chain;
    j->unused[j->n_unused++] = i;
    j->of[i].here = false;
}

void trace_join_add(struct trace_join *j, const struct span *s, uint64_t now)
{
    struct traced *t = s->request ? find_or_add(j, s->request, now) : NULL;
    bool own = s->kind == SPAN_REQUEST;
    if (!t || (t->n == TRACE_SPANS && !own)) {
        j->lost++;
        return;
    }
    if (own && t->n == TRACE_SPANS) { /* without it the others hang in the air */
        t->n--;
        j->lost++;
    }
    t->span[t->n++] = *s;
    if (own) {
        t->whole = true;
        t->since_ns = now;
    }
}

const struct traced *trace_join_take(struct trace_join *j, bool all, uint64_t now)
{
    for (int left = j->n_unused < TRACES_MOST ? TRACES_MOST : 0; left > 0; left--) {
        struct traced *t = &j->of[j->at];
        int i = j->at;
        uint64_t age = now - t->since_ns;
        j->at = (j->at + 1) % TRACES_MOST;
        if (!t->here || (t->whole ? !all && age < j->wait_ns : age < GIVE_UP_NS))
            continue;
        remove_at(j, i);
        if (t->whole)
            return t;
        j->lost += (uint64_t)t->n;
    }
    return NULL;
}

uint64_t trace_join_lost(const struct trace_join *j)
{
    return j->lost;
}
