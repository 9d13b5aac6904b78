/* message_encode.c - message structs to protobuf frames
 *
 * The generated structs are filled in the thread's scratch, borrowing strings and dims from the message, and
 * packed into the caller's buffer. Nothing is allocated.
 */
#include "message.h"

#include <string.h>

#include "freezeline.pb-c.h"
#include "codec.h"
#include "message_fields.h"

/* Takes `n` structs of a generated type and a pointer array to them, each initialised. False when the scratch
 * is full. */
#define TAKE_ARRAY(s, n, Type, INIT, pointers)                                   \
    ((pointers) = take_array((s), (size_t)(n), sizeof(Type), &(const Type)INIT), \
     (n) == 0 || (pointers) != NULL)

static void *take_array(struct scratch *s, size_t n, size_t size, const void *init)
{
    uint8_t *items = scratch_take(s, n * size);
    void **pointers = scratch_take(s, n * sizeof *pointers);
    if (!items || !pointers)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        pointers[i] = items + i * size;
        memcpy(pointers[i], init, size);
    }
    return pointers;
}

static bool count_ok(int n, int most)
{
    return n >= 0 && n <= most;
}

/* NULL for a tensor that is not announced, so that it costs nothing on the wire. `to` lives as long as the
 * message. */
static Freezeline__Tensor *put_tensor(Freezeline__Tensor *to, const struct tensor *t)
{
    if (t->dtype == TENSOR_NONE)
        return NULL;
    *to = (Freezeline__Tensor)FREEZELINE__TENSOR__INIT;
    to->dtype = (uint32_t)t->dtype;
    to->n_dim = (size_t)t->rank;
    to->dim = (int64_t *)(uintptr_t)t->dim;
    return to;
}

static void put_stage_time(Freezeline__StageTime *to, const struct stage_time *from)
{
    COPY_FIELDS(STAGE_TIME_FIELDS)
}

static bool put_trace(struct scratch *s, Freezeline__Trace *to, const struct trace *t)
{
    *to = (Freezeline__Trace)FREEZELINE__TRACE__INIT;
    if (!count_ok(t->n, PIPELINE_MAX_STAGES) ||
        !TAKE_ARRAY(s, t->n, Freezeline__StageTime, FREEZELINE__STAGE_TIME__INIT, to->stage))
        return false;
    to->n_stage = (size_t)t->n;
    for (int i = 0; i < t->n; i++)
        put_stage_time(to->stage[i], &t->stage[i]);
    return true;
}

static char *text(const char *s)
{
    return (char *)(uintptr_t)s; /* protobuf-c's structs are not const; packing only reads */
}

static bool rank_ok(const struct tensor *t)
{
    return count_ok(t->rank, TENSOR_MAX_RANK);
}

/* What a heartbeat has below it. */
struct learning_parts {
    Freezeline__Learning learning;
    Freezeline__LookupTally built, learned;
    Freezeline__EpochTold told;
};

/* What a hello has below it for the model's ends. */
struct port_parts {
    Freezeline__Port port;
    Freezeline__Tensor tensor;
};

struct parts {
    struct port_parts input, output;
    Freezeline__Tensor tensor;
    Freezeline__Trace trace;
    Freezeline__Caches caches;
    Freezeline__Promise promise;
    struct learning_parts learning;
    Freezeline__Choice choice;
    union {
        Freezeline__Request request;
        Freezeline__Answer answer;
        Freezeline__Job job;
        Freezeline__Lookup lookup;
        Freezeline__Verdict verdict;
        Freezeline__Result result;
        Freezeline__Hello hello;
        Freezeline__Heartbeat heartbeat;
        Freezeline__Cancel cancel;
        Freezeline__Outcome outcome;
        Freezeline__Status status;
        Freezeline__StatusReply status_reply;
        Freezeline__Drain drain;
        Freezeline__Spans spans;
        Freezeline__Feedback feedback;
        Freezeline__Times times;
        Freezeline__Relays relays;
    };
};

static bool put_request(struct parts *p, const struct request *from)
{
    Freezeline__Request *to = &p->request;
    *to = (Freezeline__Request)FREEZELINE__REQUEST__INIT;
    COPY_FIELDS(REQUEST_FIELDS)
    to->input = put_tensor(&p->tensor, &from->input);
    return rank_ok(&from->input);
}

static bool put_answer(struct scratch *s, struct parts *p, const struct answer *from)
{
    Freezeline__Answer *to = &p->answer;
    *to = (Freezeline__Answer)FREEZELINE__ANSWER__INIT;
    COPY_FIELDS(ANSWER_FIELDS)
    to->error = from->error;
    to->text = text(from->text);
    to->scores = put_tensor(&p->tensor, &from->scores);
    to->label = from->label;
    to->exit = from->exit;
    to->confidence = from->confidence;
    to->variant = text(from->variant);
    to->trace = &p->trace;
    return rank_ok(&from->scores) && put_trace(s, &p->trace, &from->trace);
}

static bool put_job(struct scratch *s, struct parts *p, const struct job *from)
{
    Freezeline__Job *to = &p->job;
    *to = (Freezeline__Job)FREEZELINE__JOB__INIT;
    COPY_FIELDS(JOB_FIELDS)
    to->route.len = (size_t)from->n_route;
    to->route.data = (uint8_t *)(uintptr_t)from->route;
    to->trace = &p->trace;
    to->activation = put_tensor(&p->tensor, &from->activation);
    to->n_rest_us = (size_t)from->n_rest;
    to->rest_us = (uint32_t *)(uintptr_t)from->rest_us;
    return count_ok(from->n_route, PIPELINE_MAX_STAGES) && count_ok(from->n_rest, PIPELINE_MAX_STAGES) &&
           rank_ok(&from->activation) && put_trace(s, &p->trace, &from->trace);
}

static void put_lookup_item(Freezeline__LookupItem *to, const struct lookup_item *from)
{
    COPY_FIELDS(LOOKUP_ITEM_FIELDS)
}

static bool put_lookup(struct scratch *s, struct parts *p, const struct lookup *from)
{
    Freezeline__Lookup *to = &p->lookup;
    Freezeline__Trace *traces = scratch_take(s, MESSAGE_MAX_BATCH * sizeof *traces);
    *to = (Freezeline__Lookup)FREEZELINE__LOOKUP__INIT;
    if (!traces || !count_ok(from->n, MESSAGE_MAX_BATCH) ||
        !TAKE_ARRAY(s, from->n, Freezeline__LookupItem, FREEZELINE__LOOKUP_ITEM__INIT, to->item))
        return false;
    COPY_FIELDS(LOOKUP_FIELDS)
    to->n_item = (size_t)from->n;
    for (int i = 0; i < from->n; i++) {
        put_lookup_item(to->item[i], &from->item[i]);
        to->item[i]->trace = &traces[i];
        if (!put_trace(s, &traces[i], &from->item[i].trace))
            return false;
    }
    return true;
}

static void put_verdict_item(Freezeline__VerdictItem *to, const struct verdict_item *from)
{
    COPY_FIELDS(VERDICT_ITEM_FIELDS)
    to->label = from->label;
    to->confidence = from->confidence;
}

static bool put_verdict(struct scratch *s, struct parts *p, const struct verdict *from)
{
    Freezeline__Verdict *to = &p->verdict;
    *to = (Freezeline__Verdict)FREEZELINE__VERDICT__INIT;
    if (!count_ok(from->n, MESSAGE_MAX_BATCH) ||
        !TAKE_ARRAY(s, from->n, Freezeline__VerdictItem, FREEZELINE__VERDICT_ITEM__INIT, to->item))
        return false;
    COPY_FIELDS(VERDICT_FIELDS)
    to->n_item = (size_t)from->n;
    for (int i = 0; i < from->n; i++)
        put_verdict_item(to->item[i], &from->item[i]);
    return true;
}

static bool put_result(struct scratch *s, struct parts *p, const struct result *from)
{
    Freezeline__Result *to = &p->result;
    *to = (Freezeline__Result)FREEZELINE__RESULT__INIT;
    COPY_FIELDS(RESULT_FIELDS)
    to->error = from->error;
    to->text = text(from->text);
    to->label = from->label;
    to->exit = from->exit;
    to->confidence = from->confidence;
    to->trace = &p->trace;
    to->scores = put_tensor(&p->tensor, &from->scores);
    return rank_ok(&from->scores) && put_trace(s, &p->trace, &from->trace);
}

static ProtobufCBinaryData digest(const uint8_t of[DIGEST_BYTES])
{
    return (ProtobufCBinaryData){DIGEST_BYTES, (uint8_t *)(uintptr_t)of};
}

/* The message of `from` in *to and *promise, or NULL where there is nothing to tell. */
static Freezeline__Caches *put_caches(Freezeline__Caches *to, Freezeline__Promise *promise,
                                      const struct caches_told *from)
{
    const struct caches_promise *p = &from->promise;
    static const struct caches_told none;
    if (!memcmp(from->build, none.build, sizeof none.build))
        return NULL;
    *to = (Freezeline__Caches)FREEZELINE__CACHES__INIT;
    to->build = digest(from->build);
    to->built = from->built;
    to->loaded = from->loaded;
    if (!p->made)
        return to;
    *promise = (Freezeline__Promise)FREEZELINE__PROMISE__INIT;
    promise->agreement = p->agreement;
    promise->max_loss = p->max_loss;
    promise->certainty = p->certainty;
    promise->planning_points = p->planning_points;
    promise->certifying_points = p->certifying_points;
    promise->loss = p->loss;
    promise->loss_upper = p->loss_upper;
    promise->n_level_ppm = (size_t)p->n_levels;
    promise->level_ppm = (uint32_t *)(uintptr_t)p->level_ppm;
    to->promise = promise;
    return to;
}

/* NULL where nothing is told. */
static Freezeline__Port *put_port(struct port_parts *to, const struct port *from)
{
    if (from->tensor.dtype == TENSOR_NONE || !rank_ok(&from->tensor))
        return NULL;
    to->port = (Freezeline__Port)FREEZELINE__PORT__INIT;
    to->port.name = text(from->name);
    to->port.tensor = put_tensor(&to->tensor, &from->tensor);
    return &to->port;
}

static bool put_exits(struct scratch *s, Freezeline__ExitTold ***to, size_t *n, const struct exits_told *from)
{
    *n = (size_t)from->n;
    if (!count_ok(from->n, PIPELINE_MAX_EXITS) ||
        !TAKE_ARRAY(s, from->n, Freezeline__ExitTold, FREEZELINE__EXIT_TOLD__INIT, *to))
        return false;
    for (int i = 0; i < from->n; i++) {
        (*to)[i]->index = from->exit[i].index;
        (*to)[i]->layers = from->exit[i].layers;
        (*to)[i]->name = text(from->exit[i].name);
    }
    return true;
}

static bool put_hello(struct scratch *s, struct parts *p, const struct hello *from)
{
    Freezeline__Hello *to = &p->hello;
    *to = (Freezeline__Hello)FREEZELINE__HELLO__INIT;
    to->role = from->role;
    COPY_FIELDS(HELLO_FIELDS)
    to->host = text(from->host);
    to->boot_id = text(from->boot_id);
    to->model = digest(from->model);
    to->identity = digest(from->identity);
    to->plan = digest(from->plan);
    to->caches = put_caches(&p->caches, &p->promise, &from->caches);
    to->engine = text(from->engine);
    to->endpoint = text(from->endpoint);
    to->remote = text(from->remote);
    to->reaches = from->reaches;
    to->input = put_port(&p->input, &from->input);
    to->output = put_port(&p->output, &from->output);
    return put_exits(s, &to->exit, &to->n_exit, &from->exits);
}

static Freezeline__LookupTally *put_tally(Freezeline__LookupTally *to, const struct lookup_tally *from)
{
    *to = (Freezeline__LookupTally)FREEZELINE__LOOKUP_TALLY__INIT;
    COPY_FIELDS(TALLY_FIELDS)
    return to;
}

static Freezeline__Learning *put_learning(struct learning_parts *p, const struct learning *from)
{
    Freezeline__Learning *to = &p->learning;
    if (from->state == LEARNING_UNKNOWN)
        return NULL;
    *to = (Freezeline__Learning)FREEZELINE__LEARNING__INIT;
    COPY_FIELDS(LEARNING_FIELDS)
    to->redis_build = digest(from->redis_build);
    to->built = put_tally(&p->built, &from->built);
    to->learned = put_tally(&p->learned, &from->learned);
    return to;
}

/* The lists are packed from where they are. NULL: there is nothing to tell. */
static Freezeline__EpochTold *put_epoch(Freezeline__EpochTold *to, const struct epoch_told *from)
{
    if (from->state == EPOCH_NOT)
        return NULL;
    *to = (Freezeline__EpochTold)FREEZELINE__EPOCH_TOLD__INIT;
    COPY_FIELDS(EPOCH_FIELDS)
    to->n_threshold = to->n_answered = to->n_exit_lost = (size_t)from->n_exits;
    to->threshold = (float *)(uintptr_t)from->threshold;
    to->answered = (uint64_t *)(uintptr_t)from->answered;
    to->exit_lost = (uint64_t *)(uintptr_t)from->exit_lost;
    return to;
}

static void put_heartbeat(Freezeline__Heartbeat *to, struct learning_parts *p, const struct heartbeat *from)
{
    *to = (Freezeline__Heartbeat)FREEZELINE__HEARTBEAT__INIT;
    COPY_FIELDS(HEARTBEAT_FIELDS)
    to->reaches = from->reaches;
    to->learning = put_learning(p, &from->learning);
    to->told = put_epoch(&p->told, &from->told);
}

static bool put_cancel(struct parts *p, const struct cancel *c)
{
    p->cancel = (Freezeline__Cancel)FREEZELINE__CANCEL__INIT;
    p->cancel.n_request = (size_t)c->n;
    p->cancel.request = (uint64_t *)(uintptr_t)c->request;
    p->cancel.n_ask = (size_t)c->n_ask;
    p->cancel.ask = (uint64_t *)(uintptr_t)c->ask;
    return count_ok(c->n, MESSAGE_MAX_BATCH) && count_ok(c->n_ask, MESSAGE_MAX_BATCH);
}

static bool put_outcome(Freezeline__Outcome *to, const struct outcome *from)
{
    *to = (Freezeline__Outcome)FREEZELINE__OUTCOME__INIT;
    COPY_FIELDS(OUTCOME_FIELDS)
    to->label = from->label;
    to->hit_exit = from->hit_exit;
    to->scores.len = (size_t)from->n_scores * sizeof from->scores[0];
    to->scores.data = (uint8_t *)(uintptr_t)from->scores;
    return count_ok(from->n_scores, MESSAGE_MAX_SCORES);
}

/* What one process has below it. */
struct process_parts {
    struct port_parts input, output;
    Freezeline__Heartbeat last;
    Freezeline__Caches caches;
    Freezeline__Promise promise;
    struct learning_parts learning;
};

static bool put_process(struct scratch *s, Freezeline__ProcessStatus *to, struct process_parts *p,
                        const struct process_status *from)
{
    to->role = from->role;
    COPY_FIELDS(PROCESS_FIELDS)
    to->host = text(from->host);
    to->state = text(from->state);
    to->engine = text(from->engine);
    to->model = digest(from->model);
    to->identity = digest(from->identity);
    to->plan = digest(from->plan);
    to->caches = put_caches(&p->caches, &p->promise, &from->caches);
    to->input = put_port(&p->input, &from->input);
    to->output = put_port(&p->output, &from->output);
    put_heartbeat(&p->last, &p->learning, &from->last);
    to->last = &p->last;
    return put_exits(s, &to->exit, &to->n_exit, &from->exits);
}

static void put_relay_status(Freezeline__RelayStatus *to, const struct relay_status *from)
{
    COPY_FIELDS(RELAY_STATUS_FIELDS)
    to->name = text(from->name);
    to->state = text(from->state);
    to->why = text(from->why);
}

static bool put_relay_statuses(struct scratch *s, Freezeline__StatusReply *to,
                               const struct status_reply *from)
{
    if (!count_ok(from->n_relays, MESSAGE_MAX_RELAYS) ||
        !TAKE_ARRAY(s, from->n_relays, Freezeline__RelayStatus, FREEZELINE__RELAY_STATUS__INIT, to->relay))
        return false;
    to->n_relay = (size_t)from->n_relays;
    for (int i = 0; i < from->n_relays; i++)
        put_relay_status(to->relay[i], &from->relay[i]);
    return true;
}

static bool put_choice(struct scratch *s, struct parts *p, Freezeline__StatusReply *to,
                       const struct status_reply *from)
{
    Freezeline__Choice *c = &p->choice;
    if (!from->n_variants)
        return true;
    *c = (Freezeline__Choice)FREEZELINE__CHOICE__INIT;
    if (!count_ok(from->n_variants, MESSAGE_MAX_RELAYS) ||
        !(c->name = scratch_take(s, MESSAGE_MAX_RELAYS * sizeof *c->name)) ||
        !(c->share = scratch_take(s, MESSAGE_MAX_RELAYS * sizeof *c->share)) ||
        !(c->wanted = scratch_take(s, MESSAGE_MAX_RELAYS * sizeof *c->wanted)))
        return false;
    c->n_name = c->n_share = c->n_wanted = (size_t)from->n_variants;
    for (int i = 0; i < from->n_variants; i++) {
        c->name[i] = text(from->variant[i].name);
        c->share[i] = from->variant[i].share;
        c->wanted[i] = from->variant[i].wanted;
    }
    c->loss = from->loss;
    c->loss_budget = from->loss_budget;
    c->level = from->level;
    to->choice = c;
    return true;
}

static bool put_status_reply(struct scratch *s, struct parts *p, const struct status_reply *from)
{
    Freezeline__StatusReply *to = &p->status_reply;
    struct process_parts *parts = scratch_take(s, STATUS_MAX_PROCESSES * sizeof *parts);
    *to = (Freezeline__StatusReply)FREEZELINE__STATUS_REPLY__INIT;
    if (!parts || !count_ok(from->n_processes, STATUS_MAX_PROCESSES) ||
        !count_ok(from->n_exits, PIPELINE_MAX_EXITS) ||
        !TAKE_ARRAY(s, from->n_processes, Freezeline__ProcessStatus, FREEZELINE__PROCESS_STATUS__INIT,
                    to->process) ||
        !TAKE_ARRAY(s, from->n_exits, Freezeline__ExitStatus, FREEZELINE__EXIT_STATUS__INIT, to->exit))
        return false;
    COPY_FIELDS(STATUS_FIELDS)
    to->host = text(from->host);
    to->n_process = (size_t)from->n_processes;
    for (int i = 0; i < from->n_processes; i++)
        if (!put_process(s, to->process[i], &parts[i], &from->process[i]))
            return false;
    to->n_exit = (size_t)from->n_exits;
    for (int i = 0; i < from->n_exits; i++)
        to->exit[i]->answered = from->exit[i].answered;
    return put_relay_statuses(s, to, from) && put_choice(s, p, to, from);
}

static void put_span(Freezeline__Span *to, const struct span *from)
{
    COPY_FIELDS(SPAN_FIELDS)
    to->role = from->role;
    to->exit = from->exit;
}

static bool put_spans(struct scratch *s, struct parts *p, const struct spans *from)
{
    Freezeline__Spans *to = &p->spans;
    *to = (Freezeline__Spans)FREEZELINE__SPANS__INIT;
    if (!count_ok(from->n, MESSAGE_MAX_SPANS) ||
        !TAKE_ARRAY(s, from->n, Freezeline__Span, FREEZELINE__SPAN__INIT, to->span))
        return false;
    to->lost = from->lost;
    to->left = from->left;
    to->n_span = (size_t)from->n;
    for (int i = 0; i < from->n; i++)
        put_span(to->span[i], &from->span[i]);
    return true;
}

static bool put_feedback(struct scratch *s, struct parts *p, const struct feedback *from)
{
    Freezeline__Feedback *to = &p->feedback;
    *to = (Freezeline__Feedback)FREEZELINE__FEEDBACK__INIT;
    if (!count_ok(from->n, MESSAGE_MAX_FEEDBACK) ||
        !TAKE_ARRAY(s, from->n, Freezeline__FeedbackItem, FREEZELINE__FEEDBACK_ITEM__INIT, to->item))
        return false;
    COPY_FIELDS(FEEDBACK_FIELDS)
    to->n_item = (size_t)from->n;
    for (int i = 0; i < from->n; i++) {
        to->item[i]->request = from->item[i].request;
        to->item[i]->label = from->item[i].label;
    }
    return true;
}

static void put_drain(Freezeline__Drain *to, const struct drain *from)
{
    *to = (Freezeline__Drain)FREEZELINE__DRAIN__INIT;
    COPY_FIELDS(DRAIN_FIELDS)
}

static void put_relay(Freezeline__Relay *to, const struct relay *from)
{
    COPY_FIELDS(RELAY_FIELDS)
    to->name = text(from->name);
    to->endpoint = text(from->endpoint);
}

static bool put_relays(struct scratch *s, struct parts *p, const struct relays *from)
{
    Freezeline__Relays *to = &p->relays;
    *to = (Freezeline__Relays)FREEZELINE__RELAYS__INIT;
    if (!count_ok(from->n, MESSAGE_MAX_RELAYS) ||
        !TAKE_ARRAY(s, from->n, Freezeline__Relay, FREEZELINE__RELAY__INIT, to->relay))
        return false;
    to->lease_ms = from->lease_ms;
    to->slower = from->slower;
    to->n_relay = (size_t)from->n;
    for (int i = 0; i < from->n; i++)
        put_relay(to->relay[i], &from->relay[i]);
    return true;
}

static bool put_times(struct scratch *s, struct parts *p, const struct times *from)
{
    Freezeline__Times *to = &p->times;
    *to = (Freezeline__Times)FREEZELINE__TIMES__INIT;
    if (!count_ok(from->n, TIMES_MAX) ||
        !TAKE_ARRAY(s, from->n, Freezeline__TimesOf, FREEZELINE__TIMES_OF__INIT, to->of))
        return false;
    to->n_of = (size_t)from->n;
    for (int i = 0; i < from->n; i++) {
        to->of[i]->part = from->of[i].part;
        to->of[i]->stage = from->of[i].stage;
        to->of[i]->sum_ns = from->of[i].sum_ns;
        to->of[i]->n_count = TIME_BUCKETS;
        to->of[i]->count = (uint64_t *)(uintptr_t)from->of[i].count;
    }
    return true;
}

/* Fills the body for m->type; false when a count is out of bounds or the scratch is full. */
static bool put_body(struct scratch *s, struct parts *p, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_REQUEST:
        return put_request(p, &m->request);
    case MESSAGE_ANSWER:
        return put_answer(s, p, &m->answer);
    case MESSAGE_JOB:
        return put_job(s, p, &m->job);
    case MESSAGE_LOOKUP:
        return put_lookup(s, p, &m->lookup);
    case MESSAGE_VERDICT:
        return put_verdict(s, p, &m->verdict);
    case MESSAGE_RESULT:
        return put_result(s, p, &m->result);
    case MESSAGE_HELLO:
        return put_hello(s, p, &m->hello);
    case MESSAGE_HEARTBEAT:
        put_heartbeat(&p->heartbeat, &p->learning, &m->heartbeat);
        return true;
    case MESSAGE_CANCEL:
        return put_cancel(p, &m->cancel);
    case MESSAGE_OUTCOME:
        return put_outcome(&p->outcome, &m->outcome);
    case MESSAGE_STATUS:
        p->status = (Freezeline__Status)FREEZELINE__STATUS__INIT;
        return true;
    case MESSAGE_STATUS_REPLY:
        return put_status_reply(s, p, &m->status_reply);
    case MESSAGE_DRAIN:
        put_drain(&p->drain, &m->drain);
        return true;
    case MESSAGE_SPANS:
        return put_spans(s, p, &m->spans);
    case MESSAGE_FEEDBACK:
        return put_feedback(s, p, &m->feedback);
    case MESSAGE_TIMES:
        return put_times(s, p, &m->times);
    case MESSAGE_RELAYS:
        return put_relays(s, p, &m->relays);
    }
    return false;
}

/* The oneof case has the number of the body's field, which is the message type + 1. */
_Static_assert(FREEZELINE__ENVELOPE__BODY_REQUEST == MESSAGE_REQUEST + 1,
               "body numbers follow enum message_type");
_Static_assert(FREEZELINE__ENVELOPE__BODY_RELAYS == MESSAGE_RELAYS + 1,
               "body numbers follow enum message_type");

int message_encode(const struct message *m, uint8_t *buf, size_t capacity, size_t *size)
{
    struct scratch *s = scratch_start();
    struct parts parts;
    Freezeline__Envelope envelope = FREEZELINE__ENVELOPE__INIT;

    if (!s)
        return FL_NOMEM;
    if (!put_body(s, &parts, m))
        return FL_TOO_LARGE;
    envelope.version = MESSAGE_VERSION;
    envelope.body_case = (Freezeline__Envelope__BodyCase)(m->type + 1);
    envelope.request = &parts.request; /* all members of both unions start at the same address */
    *size = freezeline__envelope__get_packed_size(&envelope);
    if (*size > capacity)
        return FL_TOO_LARGE;
    freezeline__envelope__pack(&envelope, buf);
    return FL_OK;
}
