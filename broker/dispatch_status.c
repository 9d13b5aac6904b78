/* dispatch_status.c - what the broker says about itself and its workers */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "dispatch_inside.h"
#include "broker/state/trust.h"

static const char *state_of(const struct member *m)
{
    if (!m->alive)
        return "dead";
    if (trust_is_aside(m))
        return "failing";
    if (m->hello.leaving)
        return "leaving";
    return m->stage < 0 ? (m->hello.ready ? "ready" : "starting") : (member_ready(m) ? "ready" : "starting");
}

static void describe(const struct member *m, struct process_status *s, uint64_t now)
{
    s->role = m->hello.role;
    s->stage = m->hello.stage;
    s->replica = m->hello.replica;
    s->pid = m->hello.pid;
    s->incarnation = m->hello.incarnation;
    memcpy(s->host, m->hello.host, sizeof s->host);
    memcpy(s->engine, m->hello.engine, sizeof s->engine);
    memcpy(s->model, m->hello.model, sizeof s->model);
    memcpy(s->identity, m->hello.identity, sizeof s->identity);
    memcpy(s->plan, m->hello.plan, sizeof s->plan);
    s->caches = m->hello.caches;
    s->input = m->hello.input;
    s->output = m->hello.output;
    s->exits = m->hello.exits;
    s->layers = m->hello.layers;
    snprintf(s->state, sizeof s->state, "%s", state_of(m));
    s->last = m->last;
    s->age_ns = now > m->heard_ns ? now - m->heard_ns : 0;
    s->outstanding = m->outstanding;
}

static void add(struct status_reply *out, const struct member *m, uint64_t now)
{
    bool left = !m->alive && m->hello.leaving; /* as it was asked to */
    if (!left && out->n_processes < STATUS_MAX_PROCESSES)
        describe(m, &out->process[out->n_processes++], now);
}

static void add_waiting(struct status_reply *out, const struct successor *it, uint64_t now)
{
    struct member m = {
        .known = true, .alive = true, .hello = it->hello, .peer = it->peer, .heard_ns = it->heard_ns};
    if (out->n_processes == STATUS_MAX_PROCESSES)
        return;
    describe(&m, &out->process[out->n_processes], now);
    snprintf(out->process[out->n_processes++].state, sizeof out->process->state, "waiting");
}

static void add_choice(const struct dispatch *d, struct status_reply *out, uint64_t now)
{
    struct choice_status s;
    if (!d->choice)
        return;
    choice_status(d->choice, now, &s);
    out->n_variants = s.n;
    for (int i = 0; i < s.n; i++) {
        snprintf(out->variant[i].name, sizeof out->variant[i].name, "%s", s.variant[i].name);
        out->variant[i].share = s.variant[i].share;
        out->variant[i].wanted = d->wanted >> i & 1;
    }
    out->loss = s.loss_hour;
    out->loss_budget = s.loss_budget;
    out->level = s.level;
}

void dispatch_status(const struct dispatch *d, struct status_reply *out, uint64_t now)
{
    const struct counters *c = &d->counters;
    memset(out, 0, offsetof(struct status_reply, process));
    out->ready = trust_ready(d->registry);
    out->draining = d->drain_until_ns > now;
    out->unloaded = atomic_load(&d->settings->unloaded);
    out->admitted = c->admitted;
    out->answered = c->answered;
    out->hits = c->hits;
    out->failed = c->failed;
    out->overloaded = c->overloaded;
    out->expired = c->expired;
    out->retried = c->retried;
    out->duplicates = c->duplicates;
    out->known = c->known;
    out->repeated = c->repeated;
    out->cancelled = c->cancelled;
    out->refused_full = c->refused_full;
    out->refused_late = c->refused_late;
    out->refused_rate = c->refused_rate;
    out->refused_draining = c->refused_draining;
    out->refused_unloaded = c->refused_unloaded;
    out->refused_absent = c->refused_absent;
    out->refused_wrong = c->refused_wrong;
    out->response_bytes = d->responses ? responses_bytes(d->responses) : 0;
    out->in_flight = (uint64_t)requests_count(d->requests);
    out->waiting = (uint64_t)requests_listed(d->requests, REQUESTS_WAITING);
    out->audits_drawn = c->audits_drawn + c->audits_refused;
    out->audits_done = c->audits_done;
    out->audits_dropped = out->audits_drawn - c->audits_done - (uint64_t)audit_line_length(&d->line);
    out->feedback_taken = c->feedback_taken;
    out->feedback_refused = c->feedback_refused;
    out->room = (uint64_t)d->room;
    out->gap_ns = (uint64_t)d->admission.gap_ns;
    out->started_ns = d->started_ns;
    out->broker = d->self.replica;
    out->brokers = (uint32_t)pipeline_brokers(d->pipeline);
    out->pid = d->self.pid;
    memcpy(out->host, d->self.host, sizeof out->host);
    out->now_ns = now;
    for (int i = 0; i < registry_known(d->registry); i++)
        add(out, registry_member(d->registry, i), now);
    for (int i = 0; i < d->succession.n; i++)
        add_waiting(out, &d->succession.item[i], now);
    for (int i = 0; i < MESSAGE_MAX_RELAYS; i++)
        if (d->relays.place[i].told.name[0])
            relay_describe(&d->relays.place[i], &out->relay[out->n_relays++], now);
    add_choice(d, out, now);
    out->n_exits = PIPELINE_MAX_EXITS;
    while (out->n_exits > d->pipeline->n_exits && !c->exit[out->n_exits - 1])
        out->n_exits--;
    for (int i = 0; i < out->n_exits; i++)
        out->exit[i].answered = c->exit[i];
}
