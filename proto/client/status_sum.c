/* status_sum.c - replies are added field by field */
#include "status_sum.h"

#include <stdio.h>
#include <string.h>

static void add_broker(struct status_reply *sum, const struct status_reply *s)
{
    struct process_status *p = &sum->process[sum->n_processes];
    if (sum->n_processes == STATUS_MAX_PROCESSES)
        return;
    sum->n_processes++;
    memset(p, 0, sizeof *p);
    p->role = ROLE_BROKER;
    p->replica = s->broker;
    p->pid = s->pid;
    memcpy(p->host, s->host, sizeof p->host);
    snprintf(p->state, sizeof p->state, "ready");
}

static struct process_status *same_process(struct status_reply *sum, const struct process_status *p)
{
    for (int i = 0; i < sum->n_processes; i++)
        if (sum->process[i].role == p->role && sum->process[i].incarnation == p->incarnation &&
            sum->process[i].stage == p->stage && sum->process[i].replica == p->replica)
            return &sum->process[i];
    return NULL;
}

static void add_process(struct status_reply *sum, const struct process_status *p)
{
    struct process_status *at = same_process(sum, p);
    uint32_t outstanding = at ? at->outstanding : 0;
    if (!at && sum->n_processes == STATUS_MAX_PROCESSES)
        return;
    if (!at || (!strcmp(at->state, "dead") && strcmp(p->state, "dead")))
        *(at ? at : &sum->process[sum->n_processes]) = *p;
    if (!at)
        at = &sum->process[sum->n_processes++];
    at->outstanding = outstanding + p->outstanding;
}

static void add_relay(struct status_reply *sum, const struct relay_status *r)
{
    struct relay_status *at = sum->relay, *end = sum->relay + sum->n_relays;

    while (at < end && strcmp(at->name, r->name))
        at++;
    if (at == end) {
        if (sum->n_relays < MESSAGE_MAX_RELAYS)
            sum->relay[sum->n_relays++] = *r;
        return;
    }
    if (strcmp(r->state, "ready")) {
        memcpy(at->state, r->state, sizeof at->state);
        memcpy(at->why, r->why, sizeof at->why);
    }
    at->outstanding += r->outstanding;
    at->sent += r->sent;
    at->turned += r->turned;
    at->failed += r->failed;
    at->failed_both += r->failed_both;
    at->answered += r->answered;
    at->early += r->early;
    at->answered_ns += r->answered_ns;
    at->pairs += r->pairs;
    at->failed_now += r->failed_now;
    at->failed_next += r->failed_next;
    at->both += r->both;
    at->agreed += r->agreed;
    at->timed += r->timed;
    at->slower += r->slower;
}

static void add_counts(struct status_reply *sum, const struct status_reply *s)
{
    sum->admitted += s->admitted;
    sum->answered += s->answered;
    sum->hits += s->hits;
    sum->failed += s->failed;
    sum->overloaded += s->overloaded;
    sum->expired += s->expired;
    sum->retried += s->retried;
    sum->duplicates += s->duplicates;
    sum->in_flight += s->in_flight;
    sum->known += s->known;
    sum->response_bytes += s->response_bytes;
    sum->waiting += s->waiting;
    sum->room += s->room;
    sum->audits_drawn += s->audits_drawn;
    sum->audits_done += s->audits_done;
    sum->audits_dropped += s->audits_dropped;
    sum->feedback_taken += s->feedback_taken;
    sum->feedback_refused += s->feedback_refused;
    sum->repeated += s->repeated;
    sum->cancelled += s->cancelled;
    sum->refused_full += s->refused_full;
    sum->refused_late += s->refused_late;
    sum->refused_rate += s->refused_rate;
    sum->refused_draining += s->refused_draining;
    sum->refused_unloaded += s->refused_unloaded;
    sum->refused_absent += s->refused_absent;
    sum->refused_wrong += s->refused_wrong;
    for (int i = 0; i < s->n_exits; i++)
        sum->exit[i].answered += s->exit[i].answered;
    sum->n_exits = s->n_exits > sum->n_exits ? s->n_exits : sum->n_exits;
}

void status_sum_add(struct status_reply *sum, const struct status_reply *s)
{
    bool first = !sum->started_ns;
    double rate = (sum->gap_ns ? 1.0 / (double)sum->gap_ns : 0) + (s->gap_ns ? 1.0 / (double)s->gap_ns : 0);
    add_counts(sum, s);
    sum->gap_ns = rate > 0 ? (uint64_t)(1 / rate) : 0;
    sum->ready = sum->ready || s->ready;
    sum->draining = sum->draining || s->draining;
    sum->unloaded = sum->unloaded || s->unloaded;
    if (first) {
        sum->n_variants =
            s->n_variants; /* each broker chooses by itself: the first one's figures stand for all */
        memcpy(sum->variant, s->variant, sizeof sum->variant);
        sum->loss = s->loss;
        sum->loss_budget = s->loss_budget;
        sum->level = s->level;
        sum->started_ns = s->started_ns;
        sum->now_ns = s->now_ns;
        sum->pid = s->pid;
        sum->broker = s->broker;
        sum->brokers = s->brokers;
        memcpy(sum->host, s->host, sizeof sum->host);
    }
    add_broker(sum, s);
    for (int i = 0; i < s->n_relays; i++)
        add_relay(sum, &s->relay[i]);
    for (int i = 0; i < s->n_processes; i++)
        add_process(sum, &s->process[i]);
}
