/* live_text.c - see live_text.h */
#include "live_text.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/version.h"

static const char *const roles[] = {"", "broker", "stage", "cache", "client", "learner"};
static const char *const epochs[EPOCH_STATES] = {"none", "cold", "serving", "tightened", "off"};

/* "NAME": with a comma before it but for the first. */
static void key(struct json_text *out, const char *name, bool first)
{
    json_text_format(out, "%s\"%s\":", first ? "" : ",", name);
}

static void number(struct json_text *out, const char *name, double value)
{
    key(out, name, false);
    if (isfinite(value))
        json_text_format(out, "%.10g", value);
    else
        json_text_format(out, "null");
}

static void text(struct json_text *out, const char *name, const char *value)
{
    key(out, name, false);
    json_text_string(out, value);
}

static void truth(struct json_text *out, const char *name, bool value)
{
    key(out, name, false);
    json_text_format(out, value ? "true" : "false");
}

void live_about_text(struct json_text *out, const struct pipeline *p, const struct oip_model *model)
{
    json_text_format(out, "event: about\ndata: {");
    key(out, "name", true);
    json_text_string(out, p->name);
    text(out, "version", version_number());
    number(out, "stages", p->n_stages);
    key(out, "shape", false);
    json_text_format(out, "[");
    for (int i = 0; model && i < model->input.tensor.rank; i++)
        json_text_format(out, "%s%lld", i ? "," : "", (long long)model->input.tensor.dim[i]);
    json_text_format(out, "]");
    key(out, "labels", false);
    json_text_format(out, "[");
    for (int i = 0; i < p->n_labels; i++) {
        json_text_bytes(out, ",", i > 0);
        json_text_string(out, p->label[i]);
    }
    json_text_format(out, "]");
    key(out, "bounds", false);
    json_text_format(out, "[");
    for (int i = 0; i < TIME_BUCKETS - 1; i++)
        json_text_format(out, "%s%g", i ? "," : "", time_bucket_bound[i]);
    json_text_format(out, "]}\n\n");
}

static void put_counters(struct json_text *out, const struct status_reply *s)
{
    const struct {
        const char *name;
        uint64_t n;
    } counter[] = {{"admitted", s->admitted},
                   {"answered", s->answered},
                   {"hits", s->hits},
                   {"known", s->known},
                   {"failed", s->failed},
                   {"expired", s->expired},
                   {"overloaded", s->overloaded},
                   {"retried", s->retried},
                   {"in_flight", s->in_flight},
                   {"waiting", s->waiting},
                   {"room", s->room},
                   {"audits", s->audits_drawn},
                   {"audits_done", s->audits_done},
                   {"audits_dropped", s->audits_dropped}};
    for (size_t i = 0; i < sizeof counter / sizeof *counter; i++)
        number(out, counter[i].name, (double)counter[i].n);
}

static void put_exits(struct json_text *out, const struct status_reply *s, const struct view *v)
{
    key(out, "exits", false);
    json_text_format(out, "[");
    for (int i = 0; i < v->n_exits && i < PIPELINE_MAX_EXITS; i++) {
        const struct view_exit *x = &v->exit[i];
        bool told = i < v->told.n_exits;
        json_text_format(out, "%s{", i ? "," : "");
        key(out, "name", true);
        json_text_string(out, x->name);
        number(out, "stage", x->stage);
        number(out, "layers", x->layers);
        number(out, "answered", i < s->n_exits ? (double)s->exit[i].answered : 0);
        number(out, "threshold", told ? (double)v->told.threshold[i] : NAN);
        number(out, "audits", told ? (double)v->told.answered[i] : NAN);
        number(out, "lost", told ? (double)v->told.exit_lost[i] : NAN);
        json_text_format(out, "}");
    }
    json_text_format(out, "]");
}

static void put_process(struct json_text *out, const struct process_status *s, bool first)
{
    json_text_format(out, "%s{", first ? "" : ",");
    key(out, "role", true);
    json_text_string(out, s->role < sizeof roles / sizeof *roles ? roles[s->role] : "");
    number(out, "stage", s->stage);
    number(out, "replica", s->replica);
    text(out, "host", s->host);
    text(out, "state", s->state);
    number(out, "pid", (double)s->pid);
    number(out, "queued", s->last.queued);
    number(out, "outstanding", s->outstanding);
    number(out, "busy", s->last.busy / 1000.0);
    number(out, "memory", (double)s->last.resident_bytes);
    number(out, "epoch", (double)s->last.epoch);
    number(out, "silent", (double)s->age_ns / NS_PER_S);
    number(out, "batch", s->last.batch);
    json_text_format(out, "}");
}

static void put_promise(struct json_text *out, const struct view *v)
{
    key(out, "promise", false);
    if (!v->promise.made) {
        json_text_format(out, "null");
        return;
    }
    json_text_format(out, "{");
    key(out, "of", true);
    json_text_string(out, v->promise.agreement ? "agreement" : "accuracy");
    number(out, "budget", v->promise.max_loss);
    number(out, "certainty", v->promise.certainty);
    json_text_format(out, "}");
}

static void put_learner(struct json_text *out, const struct epoch_told *t)
{
    key(out, "learner", false);
    if (t->state == EPOCH_NOT) {
        json_text_format(out, "null");
        return;
    }
    json_text_format(out, "{");
    key(out, "state", true);
    json_text_string(out, t->state < EPOCH_STATES ? epochs[t->state] : "unknown");
    truth(out, "teaching", t->teaching);
    truth(out, "frozen", t->frozen);
    number(out, "serial", (double)t->serial);
    number(out, "age", (double)t->age_ms / 1000);
    number(out, "candidate", (double)t->candidate);
    number(out, "judged", (double)t->judged);
    number(out, "needed", (double)t->needed);
    number(out, "audits", (double)t->audits);
    number(out, "differ", (double)t->differ);
    number(out, "loss", t->audits ? ((double)t->lost - (double)t->won) / (double)t->audits : NAN);
    number(out, "lower", t->lower);
    number(out, "upper", t->upper);
    number(out, "alarm", t->alarm);
    number(out, "kept", (double)t->kept);
    json_text_format(out, "}");
}

static void put_times(struct json_text *out, const struct times *t)
{
    key(out, "took", false);
    json_text_format(out, "[");
    for (int i = 0; t && t->n && i < TIME_BUCKETS; i++)
        json_text_format(out, "%s%llu", i ? "," : "", (unsigned long long)t->of[0].count[i]);
    json_text_format(out, "]");
}

void live_state_text(struct json_text *out, const struct metrics *m)
{
    const struct status_reply *s = m->status;
    bool first = true;
    json_text_format(out, "event: state\ndata: {");
    key(out, "up", true);
    json_text_format(out, s ? "true" : "false");
    if (s) {
        number(out, "now", (double)s->now_ns / NS_PER_S);
        number(out, "uptime", s->now_ns > s->started_ns ? (double)(s->now_ns - s->started_ns) / NS_PER_S : 0);
        truth(out, "ready", s->ready);
        truth(out, "draining", s->draining);
        truth(out, "unloaded", s->unloaded);
        put_counters(out, s);
        number(out, "layers", m->view->layers);
        put_exits(out, s, m->view);
        put_promise(out, m->view);
        put_learner(out, &m->view->told);
        put_times(out, m->times);
        key(out, "processes", false);
        json_text_format(out, "[");
        for (int i = 0; i < s->n_processes; i++, first = false)
            put_process(out, &s->process[i], first);
        json_text_format(out, "]");
    }
    json_text_format(out, "}\n\n");
}
