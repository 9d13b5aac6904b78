/* oip_view.c - see oip_view.h */
#include "oip_view.h"

#include <stdio.h>
#include <string.h>

static void see_exits(struct view *v, const struct process_status *s)
{
    for (int i = 0; i < s->exits.n; i++) {
        const struct exit_told *told = &s->exits.exit[i];
        struct view_exit *x = &v->exit[told->index];
        x->stage = (int)s->stage;
        x->layers = told->layers;
        memcpy(x->name, told->name, sizeof x->name);
        if ((int)told->index >= v->n_exits)
            v->n_exits = (int)told->index + 1;
    }
    v->layers = s->layers ? s->layers : v->layers;
}

static void name_exits(struct view *v, const struct pipeline *p)
{
    for (int i = 0; i < PIPELINE_MAX_EXITS; i++) {
        v->exit[i].stage = -1;
        if (i < p->n_exits && p->exit[i].name)
            snprintf(v->exit[i].name, sizeof v->exit[i].name, "%s", p->exit[i].name);
        else
            snprintf(v->exit[i].name, sizeof v->exit[i].name, "exit%d", i + 1);
    }
    v->n_exits = p->n_exits;
}

/* A learner certifies against the pipeline file. */
static void promise_of_file(struct caches_promise *out, const struct pipeline *p)
{
    if (p->cache.rule != THRESHOLD_RISK)
        return;
    *out = (struct caches_promise){.made = true,
                                   .agreement = !strcmp(p->cache.promise, "agreement"),
                                   .max_loss = p->cache.max_accuracy_loss / 100,
                                   .certainty = p->cache.certainty};
}

void view_of(struct view *v, const struct pipeline *p, const struct status_reply *s)
{
    memset(v, 0, sizeof *v);
    name_exits(v, p);
    for (int i = 0; s && i < s->n_processes; i++) {
        const struct process_status *x = &s->process[i];
        if (!strcmp(x->state, "waiting"))
            continue;
        if (x->role == ROLE_STAGE)
            see_exits(v, x);
        if (x->role == ROLE_CACHE && x->caches.promise.made)
            v->promise = x->caches.promise;
        if (x->role == ROLE_LEARNER && x->last.told.state != EPOCH_NOT && strcmp(x->state, "dead"))
            v->told = x->last.told;
    }
    for (int i = 0; s && i < s->n_exits; i++)
        if (s->exit[i].answered && i >= v->n_exits)
            v->n_exits = i + 1;
    if (v->told.state != EPOCH_NOT && v->told.serial)
        promise_of_file(&v->promise, p);
}

const char *view_promise(const struct view *v, uint32_t less, char *buf, size_t size)
{
    const struct caches_promise *p = &v->promise;
    double loss = less ? (less - 1) / (double)SHARE_PPM : p->max_loss;
    *buf = 0;
    if (p->made)
        snprintf(buf, size, "%s, at most %.3g points lost, certainty %.3g%%",
                 p->agreement ? "agreement" : "accuracy", loss * 100, p->certainty * 100);
    return buf;
}
