/* metrics_text.c - families, each with its help, its type, its samples */
#include "metrics_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/version.h"

static void family(struct json_text *out, const char *name, const char *type, const char *help)
{
    json_text_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Between quotes of a label: the text format escapes these three. */
static void put_label(struct json_text *out, const char *value)
{
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            json_text_bytes(out, "\\", 1);
        json_text_bytes(out, *value == '\n' ? " " : value, 1);
    }
}

/* A family of one sample. */
static void one(struct json_text *out, const char *model, const char *name, const char *type,
                const char *help, double value)
{
    family(out, name, type, help);
    json_text_format(out, "%s{model=\"%s\"} %.17g\n", name, model, value);
}

static void counter(struct json_text *out, const char *model, const char *name, const char *help, uint64_t n)
{
    one(out, model, name, "counter", help, (double)n);
}

static void gauge(struct json_text *out, const char *model, const char *name, const char *help, double value)
{
    one(out, model, name, "gauge", help, value);
}

/* The broker's own: what HTTP turns away itself is counted by status alone. Up to "rate" they are those
 * overloaded. */
static void put_refused(struct json_text *out, const char *m, const struct status_reply *s)
{
    const struct {
        const char *reason;
        uint64_t n;
    } refused[] = {{"queue", s->overloaded - s->refused_full - s->refused_late - s->refused_rate},
                   {"full", s->refused_full},
                   {"late", s->refused_late},
                   {"rate", s->refused_rate},
                   {"draining", s->refused_draining},
                   {"unloaded", s->refused_unloaded},
                   {"no_worker", s->refused_absent},
                   {"wrong", s->refused_wrong}};
    const char *name = "freezeline_requests_refused_total";
    family(out, name, "counter", "Requests that the broker refused, by reason.");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        json_text_format(out, "%s{model=\"%s\",reason=\"%s\"} %llu\n", name, m, refused[i].reason,
                         (unsigned long long)refused[i].n);
}

/* admitted = answered + failed + in flight; the answers by exit are those answered. */
static void put_requests(struct json_text *out, const char *m, const struct status_reply *s)
{
    counter(out, m, "freezeline_requests_admitted_total", "Requests that were admitted.", s->admitted);
    counter(out, m, "freezeline_requests_answered_total", "Admitted requests that were answered.",
            s->answered);
    counter(out, m, "freezeline_requests_failed_total", "Admitted requests that got an error.", s->failed);
    counter(out, m, "freezeline_requests_expired_total", "Failed requests whose deadline had passed.",
            s->expired);
    counter(out, m, "freezeline_requests_cancelled_total", "Failed requests that nobody waited for any more.",
            s->cancelled);
    counter(out, m, "freezeline_requests_overloaded_total", "Requests that were refused because of load.",
            s->overloaded);
    put_refused(out, m, s);
    counter(out, m, "freezeline_attempts_retried_total", "Attempts after a worker's death or silence.",
            s->retried);
    counter(out, m, "freezeline_results_duplicate_total", "Results of requests that were answered already.",
            s->duplicates);
    gauge(out, m, "freezeline_requests_in_flight", "Requests admitted and not answered.",
          (double)s->in_flight);
    gauge(out, m, "freezeline_requests_waiting", "Requests in flight that no stage has yet.",
          (double)s->waiting);
    gauge(out, m, "freezeline_requests_room", "How many may be sent and unanswered.", (double)s->room);
    gauge(out, m, "freezeline_response_cache_bytes", "Answers kept for the same input.",
          (double)s->response_bytes);
}

/* The name of an exit between the quotes of a label. */
static void put_exit(struct json_text *out, const char *name, const char *model, const char *exit)
{
    json_text_format(out, "%s{model=\"%s\",exit=\"", name, model);
    put_label(out, exit);
    json_text_format(out, "\"} ");
}

static void put_answers(struct json_text *out, const struct metrics *m)
{
    const struct status_reply *s = m->status;
    const char *name = "freezeline_answers_total", *model = m->pipeline->name;
    uint64_t early = s->hits + s->known;
    family(out, name, "counter",
           "Answers by what gave them: an exit's cache, the whole network, an earlier answer.");
    for (int i = 0; i < s->n_exits && i < PIPELINE_MAX_EXITS; i++)
        if (i < m->view->n_exits || s->exit[i].answered) {
            put_exit(out, name, model, m->view->exit[i].name);
            json_text_format(out, "%llu\n", (unsigned long long)s->exit[i].answered);
        }
    json_text_format(out, "%s{model=\"%s\",exit=\"none\"} %llu\n%s{model=\"%s\",exit=\"known\"} %llu\n", name,
                     model, (unsigned long long)(s->answered > early ? s->answered - early : 0), name, model,
                     (unsigned long long)s->known);
}

/* ---- where time goes ---- */

static const struct {
    const char *name, *help;
} times_family[TIMES_PARTS] = {
    {"freezeline_request_seconds", "Answers: from when the broker had the request to its answer."},
    {"freezeline_stage_wire_seconds", "On the way to a stage."},
    {"freezeline_stage_queue_seconds", "In a stage's queue."},
    {"freezeline_stage_compute_seconds", "In a stage's layers."},
    {"freezeline_stage_lookup_seconds", "At a stage's exits, beside its layers' time."},
};

static void put_histogram(struct json_text *out, const char *name, const char *labels,
                          const struct times_of *t)
{
    uint64_t n = 0;
    for (int i = 0; i < TIME_BUCKETS - 1; i++) {
        n += t->count[i];
        json_text_format(out, "%s_bucket{%s,le=\"%g\"} %llu\n", name, labels, time_bucket_bound[i],
                         (unsigned long long)n);
    }
    n += t->count[TIME_BUCKETS - 1];
    json_text_format(out, "%s_bucket{%s,le=\"+Inf\"} %llu\n%s_sum{%s} %.17g\n", name, labels,
                     (unsigned long long)n, name, labels, (double)t->sum_ns / NS_PER_S);
    json_text_format(out, "%s_count{%s} %llu\n", name, labels, (unsigned long long)n);
}

static void put_times(struct json_text *out, const char *model, const struct times *t)
{
    char labels[128];
    for (uint32_t part = 0; part < TIMES_PARTS; part++) {
        family(out, times_family[part].name, "histogram", times_family[part].help);
        for (int i = 0; i < t->n; i++) {
            if (t->of[i].part != part)
                continue;
            if (part == TIMES_REQUEST)
                snprintf(labels, sizeof labels, "model=\"%s\"", model);
            else
                snprintf(labels, sizeof labels, "model=\"%s\",stage=\"%u\"", model, t->of[i].stage);
            put_histogram(out, times_family[part].name, labels, &t->of[i]);
        }
    }
}

/* Triton's names where they mean the same, for dashboards that people have. */
static void put_triton(struct json_text *out, const char *model, const struct status_reply *s,
                       const struct times *t)
{
    static const struct {
        const char *name, *help;
        uint32_t part;
    } sums[] = {{"nv_inference_request_duration_us", "Time of all answers at the broker.", TIMES_REQUEST},
                {"nv_inference_queue_duration_us", "Of it in the stages' queues.", TIMES_QUEUE},
                {"nv_inference_compute_infer_duration_us", "Of it in the stages' layers.", TIMES_COMPUTE}};
    const struct {
        const char *name, *help;
        uint64_t n;
    } counts[] = {{"nv_inference_request_success", "Requests that were answered.", s->answered},
                  {"nv_inference_request_failure", "Requests that got an error.", s->failed},
                  {"nv_inference_count", "Answers that were computed.", s->answered - s->known},
                  {"nv_cache_num_hits_per_model", "Answers that were known.", s->known}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        family(out, counts[i].name, "counter", counts[i].help);
        json_text_format(out, "%s{model=\"%s\",version=\"1\"} %llu\n", counts[i].name, model,
                         (unsigned long long)counts[i].n);
    }
    for (size_t k = 0; t && k < sizeof sums / sizeof *sums; k++) {
        uint64_t ns = 0;
        for (int i = 0; i < t->n; i++)
            ns += t->of[i].part == sums[k].part ? t->of[i].sum_ns : 0;
        family(out, sums[k].name, "counter", sums[k].help);
        json_text_format(out, "%s{model=\"%s\",version=\"1\"} %llu\n", sums[k].name, model,
                         (unsigned long long)(ns / NS_PER_US));
    }
}

/* ---- what is promised, and whether it is kept ---- */

static void put_promise(struct json_text *out, const char *m, const struct view *v)
{
    if (!v->promise.made)
        return;
    family(out, "freezeline_promise_budget_ratio", "gauge",
           "How much accuracy (or agreement) early answers may cost.");
    json_text_format(out, "freezeline_promise_budget_ratio{model=\"%s\",of=\"%s\"} %.17g\n", m,
                     v->promise.agreement ? "agreement" : "accuracy", v->promise.max_loss);
    gauge(out, m, "freezeline_promise_certainty_ratio", "Certainty of that promise.", v->promise.certainty);
}

static void put_per_exit(struct json_text *out, const char *model, const struct view *v, const char *name,
                         const char *type, const char *help, const uint64_t *of)
{
    family(out, name, type, help);
    for (int i = 0; i < v->told.n_exits; i++) {
        put_exit(out, name, model, v->exit[i].name);
        json_text_format(out, "%llu\n", (unsigned long long)of[i]);
    }
}

static void put_epoch(struct json_text *out, const char *m, const struct view *v)
{
    const struct epoch_told *t = &v->told;
    if (t->state == EPOCH_NOT)
        return;
    gauge(out, m, "freezeline_epoch_serial", "The certified epoch that serves.", (double)t->serial);
    gauge(out, m, "freezeline_epoch_age_seconds", "Since it was seen to serve.", (double)t->age_ms / 1000);
    gauge(out, m, "freezeline_epoch_candidate", "The newest candidate for an epoch.", (double)t->candidate);
    gauge(out, m, "freezeline_epoch_audits", "Audits since the epoch serves.", (double)t->audits);
    gauge(out, m, "freezeline_epoch_audits_differ", "Of these, those with another label than the network's.",
          (double)t->differ);
    if (t->audits)
        gauge(out, m, "freezeline_epoch_loss_ratio", "Mean loss of these audits.",
              ((double)t->lost - (double)t->won) / (double)t->audits);
    if (isfinite(t->lower) && isfinite(t->upper)) {
        gauge(out, m, "freezeline_epoch_loss_lower_ratio", "The mean loss is at least this.", t->lower);
        gauge(out, m, "freezeline_epoch_loss_upper_ratio", "The mean loss is at most this.", t->upper);
    }
    gauge(out, m, "freezeline_epoch_alarm_ratio", "How far the evidence against the promise is.", t->alarm);
    gauge(out, m, "freezeline_epoch_off", "1 after an alarm that switched all exits off.",
          t->state == EPOCH_OFF);
    gauge(out, m, "freezeline_learner_lag_seconds", "From an answer to the learner's disk.",
          (double)t->lag_ms / 1000);
    gauge(out, m, "freezeline_learner_kept", "Requests that are kept to learn from.", (double)t->kept);
    put_per_exit(out, m, v, "freezeline_exit_audits", "gauge", "Audits that the exit would have answered.",
                 t->answered);
    put_per_exit(out, m, v, "freezeline_exit_audits_lost", "gauge", "Of these, those that it lost.",
                 t->exit_lost);
}

static void put_learning(struct json_text *out, const char *m, const struct status_reply *s)
{
    counter(out, m, "freezeline_audits_drawn_total", "Requests that were drawn as audits.", s->audits_drawn);
    counter(out, m, "freezeline_audits_done_total", "Audits that ended with an outcome.", s->audits_done);
    counter(out, m, "freezeline_audits_dropped_total", "Audits that were given up.", s->audits_dropped);
    counter(out, m, "freezeline_feedback_taken_total", "True labels that were taken.", s->feedback_taken);
    counter(out, m, "freezeline_feedback_refused_total", "True labels that were refused.",
            s->feedback_refused);
}

/* ---- processes ---- */

static const char *const roles[] = {"", "broker", "stage", "cache", "client", "learner"};

enum process_field {
    PROCESS_UP,
    PROCESS_JOBS,
    PROCESS_BATCHES,
    PROCESS_LOOKUPS,
    PROCESS_HITS,
    PROCESS_MISSES,
    PROCESS_DROPPED,
    PROCESS_RESIDENT,
    PROCESS_SHARED,
    PROCESS_CPU,
    PROCESS_QUEUED,
    PROCESS_OUTSTANDING,
    PROCESS_EPOCH,
    PROCESS_BUSY,
    PROCESS_FIELDS
};

static const struct {
    const char *name, *type, *help;
} process_family[PROCESS_FIELDS] = {
    {"freezeline_process_ready", "gauge", "1 while the broker counts it as ready."},
    {"freezeline_process_jobs_total", "counter", "Requests that a stage took."},
    {"freezeline_process_batches_total", "counter", "Batches that a stage computed."},
    {"freezeline_process_lookups_total", "counter",
     "Look-ups: sent by a stage, answered by a cache service."},
    {"freezeline_process_hits_total", "counter", "Look-ups that were hits."},
    {"freezeline_process_misses_total", "counter",
     "Look-ups that were none, or that nobody answered in time."},
    {"freezeline_process_dropped_total", "counter", "Requests or look-ups that were dropped."},
    {"freezeline_process_resident_bytes", "gauge", "Memory in use."},
    {"freezeline_process_shared_bytes", "gauge", "Of it memory that it shares with others, beside files."},
    {"freezeline_process_cpu_seconds_total", "counter", "Time of processors since it started."},
    {"freezeline_process_queued", "gauge", "Requests in a stage's queue."},
    {"freezeline_process_outstanding", "gauge", "Requests in flight whose route leads through it."},
    {"freezeline_process_epoch", "gauge", "Newest epoch of its caches."},
    {"freezeline_process_busy_ratio", "gauge", "Share of the last two seconds with a batch in hand."},
};

static double process_value(const struct process_status *s, enum process_field f)
{
    switch (f) {
    case PROCESS_UP:
        return !strcmp(s->state, "ready");
    case PROCESS_JOBS:
        return (double)s->last.jobs;
    case PROCESS_BATCHES:
        return (double)s->last.batches;
    case PROCESS_LOOKUPS:
        return (double)s->last.lookups;
    case PROCESS_HITS:
        return (double)s->last.hits;
    case PROCESS_MISSES:
        return s->last.lookups > s->last.hits ? (double)(s->last.lookups - s->last.hits) : 0;
    case PROCESS_DROPPED:
        return (double)s->last.dropped;
    case PROCESS_RESIDENT:
        return (double)s->last.resident_bytes;
    case PROCESS_SHARED:
        return (double)s->last.shared_bytes;
    case PROCESS_CPU:
        return (double)s->last.cpu_ms / 1000;
    case PROCESS_QUEUED:
        return s->last.queued;
    case PROCESS_OUTSTANDING:
        return s->outstanding;
    case PROCESS_EPOCH:
        return (double)s->last.epoch;
    default:
        return s->last.busy / 1000.0;
    }
}

static void put_process(struct json_text *out, const char *model, const struct process_status *x,
                        enum process_field f)
{
    const char *role = x->role < sizeof roles / sizeof *roles ? roles[x->role] : "";
    json_text_format(out, "%s{model=\"%s\",role=\"%s\",stage=\"%u\",replica=\"%u\",host=\"",
                     process_family[f].name, model, role, x->stage, x->replica);
    put_label(out, x->host);
    json_text_format(out, "\"} %.17g\n", process_value(x, f));
}

/* The broker, and those that serve: one that waits has the place of one that is here already. */
static void put_processes(struct json_text *out, const struct metrics *m)
{
    const struct status_reply *s = m->status;
    struct process_status broker = {
        .role = ROLE_BROKER, .replica = s->broker, .state = "ready", .last = m->own};
    memcpy(broker.host, s->host, sizeof broker.host);
    for (int f = 0; f < PROCESS_FIELDS; f++) {
        family(out, process_family[f].name, process_family[f].type, process_family[f].help);
        put_process(out, m->pipeline->name, &broker, (enum process_field)f);
        for (int i = 0; i < s->n_processes; i++)
            if (strcmp(s->process[i].state, "waiting") && s->process[i].role != ROLE_BROKER)
                put_process(out, m->pipeline->name, &s->process[i], (enum process_field)f);
    }
}

/* ---- HTTP's own ---- */

static void put_exemplar(struct json_text *out, const struct exemplar *x)
{
    if (x->at > 0)
        json_text_format(out, " # {trace_id=\"%016llx%016llx\"} %.6g %.3f", (unsigned long long)x->high,
                         (unsigned long long)x->low, x->took, x->at);
    json_text_put(out, "\n");
}

static const struct exemplar no_exemplar;

static void put_http(struct json_text *out, const char *m, const struct http_counts *h, bool open)
{
    const char *replies = "freezeline_http_replies_total", *took = "freezeline_http_inference_seconds";
    uint64_t n = 0;
    family(out, replies, "counter", "HTTP replies by status.");
    for (int i = 0; i < METRICS_STATUSES; i++)
        if (h->reply[i])
            json_text_format(out, "%s{code=\"%d\"} %llu\n", replies, i, (unsigned long long)h->reply[i]);
    gauge(out, m, "freezeline_http_connections", "Open HTTP connections.", (double)h->connections);
    family(out, took, "histogram", "Inference requests over HTTP: from the whole body to the reply.");
    for (int i = 0; i <= METRICS_BUCKETS; i++) {
        n += h->took[i];
        json_text_format(out, "%s_bucket{model=\"%s\",le=\"", took, m);
        if (i < METRICS_BUCKETS)
            json_text_format(out, "%g\"} %llu", metrics_bucket[i], (unsigned long long)n);
        else
            json_text_format(out, "+Inf\"} %llu", (unsigned long long)n);
        put_exemplar(out, open ? &h->exemplar[i] : &no_exemplar);
    }
    json_text_format(out, "%s_sum{model=\"%s\"} %.17g\n", took, m, h->took_sum);
    json_text_format(out, "%s_count{model=\"%s\"} %llu\n", took, m, (unsigned long long)n);
}

static void put_all(struct json_text *out, const struct metrics *all)
{
    const struct status_reply *s = all->status;
    const char *m = all->pipeline->name;
    family(out, "freezeline_build_info", "gauge", "1, with the version.");
    json_text_format(out, "freezeline_build_info{version=\"%s\",revision=\"%s\"} 1\n", version_number(),
                     version_revision());
    gauge(out, m, "freezeline_up", "1 while the broker replies.", s != NULL);
    put_http(out, m, all->http, all->open);
    if (!s)
        return;
    gauge(out, m, "freezeline_ready", "1 while every stage has a ready worker.", s->ready);
    gauge(out, m, "freezeline_draining", "1 while no requests are admitted.", s->draining);
    gauge(out, m, "freezeline_unloaded", "1 while the model is unloaded (POST ../unload).", s->unloaded);
    gauge(out, m, "freezeline_uptime_seconds", "Since the broker started.",
          s->now_ns > s->started_ns ? (double)(s->now_ns - s->started_ns) / NS_PER_S : 0);
    put_requests(out, m, s);
    put_answers(out, all);
    if (all->times)
        put_times(out, m, all->times);
    put_triton(out, m, s, all->times);
    put_promise(out, m, all->view);
    put_epoch(out, m, all->view);
    put_learning(out, m, s);
    put_processes(out, all);
}

/* OpenMetrics names a family of counters without the `_total` of its samples. Triton's counters have none:
 * they are of no type that it knows. */
static void put_opened(struct json_text *out, const char *text, size_t n)
{
    static const char counters[] = "_total counter\n", counter_type[] = " counter\n";
    for (const char *end, *end_of_text = text + n; text < end_of_text; text = end) {
        const char *word = text + strlen("# HELP "), *after;
        size_t left;
        end = (const char *)memchr(text, '\n', (size_t)(end_of_text - text)) + 1;
        if (*text != '#') {
            json_text_bytes(out, text, (size_t)(end - text));
            continue;
        }
        after = memchr(word, ' ', (size_t)(end - word));
        left = (size_t)(end - after);
        if (after - word > 6 && !memcmp(after - 6, counters, 6))
            json_text_bytes(out, text, (size_t)(after - 6 - text));
        else
            json_text_bytes(out, text, (size_t)(after - text));
        if (left == strlen(counter_type) && !memcmp(after, counter_type, left) &&
            memcmp(after - 6, counters, strlen(counters)))
            json_text_put(out, " unknown\n");
        else
            json_text_bytes(out, after, left);
    }
    json_text_put(out, "# EOF\n");
}

void metrics_text(struct json_text *out, const struct metrics *m)
{
    struct json_text plain = {.at = NULL};
    if (!m->open) {
        put_all(out, m);
        return;
    }
    put_all(&plain, m);
    if (plain.failed)
        out->failed = true;
    else
        put_opened(out, plain.at, plain.n);
    json_text_free(&plain);
}
