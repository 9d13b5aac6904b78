/* dispatch_status.c - what the broker says about itself and its workers */
#include <stdio.h>
#include <string.h>

#include "dispatch.h"
#include "trust.h"

static const char *state_of(const struct worker *w)
{
    if (!w->alive)
        return "dead";
    if (trust_is_aside(w))
        return "failing";
    if (w->hello.leaving)
        return "leaving";
    return w->hello.role == ROLE_CACHE ? (w->hello.ready ? "ready" : "starting")
                                       : (worker_ready(w) ? "ready" : "starting");
}

static void describe(const struct worker *w, struct process_status *s, uint64_t now)
{
    s->role = w->hello.role;
    s->stage = w->hello.stage;
    s->replica = w->hello.replica;
    s->pid = w->hello.pid;
    s->incarnation = w->hello.incarnation;
    memcpy(s->host, w->hello.host, sizeof s->host);
    memcpy(s->engine, w->hello.engine, sizeof s->engine);
    memcpy(s->model, w->hello.model, sizeof s->model);
    memcpy(s->identity, w->hello.identity, sizeof s->identity);
    memcpy(s->plan, w->hello.plan, sizeof s->plan);
    s->caches = w->hello.caches;
    snprintf(s->state, sizeof s->state, "%s", state_of(w));
    s->last = w->last;
    s->age_ns = now > w->heard_ns ? now - w->heard_ns : 0;
    s->outstanding = w->outstanding;
}

static void add(struct status_reply *out, const struct worker *w, uint64_t now)
{
    if (w->known && out->n_processes < STATUS_MAX_PROCESSES)
        describe(w, &out->process[out->n_processes++], now);
}

static void add_waiting(struct status_reply *out, const struct successor *it, uint64_t now)
{
    struct worker w = {
        .known = true, .alive = true, .hello = it->hello, .peer = it->peer, .heard_ns = it->heard_ns};
    if (out->n_processes == STATUS_MAX_PROCESSES)
        return;
    describe(&w, &out->process[out->n_processes], now);
    snprintf(out->process[out->n_processes++].state, sizeof out->process->state, "waiting");
}

void dispatch_status(const struct dispatch *d, struct status_reply *out, uint64_t now)
{
    const struct counters *c = &d->counters;
    memset(out, 0, sizeof *out);
    out->ready = trust_ready(&d->registry);
    out->draining = d->drain_until_ns > now;
    out->admitted = c->admitted;
    out->answered = c->answered;
    out->hits = c->hits;
    out->failed = c->failed;
    out->overloaded = c->overloaded;
    out->expired = c->expired;
    out->retried = c->retried;
    out->duplicates = c->duplicates;
    out->in_flight = (uint64_t)requests_count(d->requests);
    out->waiting = (uint64_t)requests_listed(d->requests, REQUESTS_WAITING);
    out->room = (uint64_t)d->room;
    out->gap_ns = (uint64_t)d->admission.gap_ns;
    out->started_ns = d->started_ns;
    out->pid = d->self.pid;
    memcpy(out->host, d->self.host, sizeof out->host);
    out->now_ns = now;
    for (int s = 0; s < d->registry.n_stages; s++)
        for (int i = 0; i < d->registry.n_replicas[s]; i++)
            add(out, &d->registry.stage[s][i], now);
    for (int i = 0; i < d->registry.n_caches; i++)
        add(out, &d->registry.cache[i], now);
    for (int i = 0; i < d->succession.n; i++)
        add_waiting(out, &d->succession.item[i], now);
    out->n_exits = PIPELINE_MAX_EXITS;
    while (out->n_exits > d->pipeline->n_exits && !c->exit[out->n_exits - 1])
        out->n_exits--;
    for (int i = 0; i < out->n_exits; i++)
        out->exit[i].answered = c->exit[i];
}

void dispatch_fill_status(struct dispatch *d, uint64_t now)
{
    d->out.type = MESSAGE_STATUS_REPLY;
    dispatch_status(d, &d->out.status_reply, now);
}
