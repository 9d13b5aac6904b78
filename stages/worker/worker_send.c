/* worker_send.c - what leaves a stage: activations to the next one, scores and failures to the broker */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "worker_parts.h"

/* Appends this stage's entry to t: the time that the batch in hand has taken up to the last lap. */
void worker_fill_time(const struct stage_worker *w, const struct row *r, struct trace *t)
{
    struct stage_time *s;
    uint64_t ready = r->received_ns + r->decode_ns;
    *t = r->job.trace;
    if (t->n >= PIPELINE_MAX_STAGES)
        return;
    s = &t->stage[t->n++];
    s->stage = (uint32_t)w->stage;
    s->replica = (uint32_t)w->replica;
    s->batch = (uint32_t)w->formed;
    s->wire_ns = r->wire_ns;
    s->queue_ns = w->formed_ns > ready ? w->formed_ns - ready : 0;
    s->compute_ns = w->compute_ns;
    s->lookup_ns = w->lookup_ns;
    s->serialise_ns = r->decode_ns + w->serialise_ns;
    s->hidden_ns = w->hidden_ns;
}

static struct result *start_result(struct stage_worker *w, uint64_t request, uint32_t attempt)
{
    struct result *out = &w->out.result;
    memset(out, 0, sizeof *out);
    w->out.type = MESSAGE_RESULT;
    out->request = request;
    out->attempt = attempt;
    out->exit = -1;
    out->label = -1;
    out->sent_ns = worker_broker_time(w, clock_ns());
    return out;
}

void worker_send_hit(struct stage_worker *w, const struct told_hit *h)
{
    struct result *out = start_result(w, h->request, h->attempt);
    out->label = h->label;
    out->exit = h->exit;
    out->confidence = h->confidence;
    out->epoch = h->epoch;
    out->trace = h->trace;
    frames_send(w->results, NULL, &w->out, NULL);
}

/* Best effort: when the broker can't be told, it finds out by its own clock. */
void worker_send_error(struct stage_worker *w, const struct row *r, enum fl_code code, const char *text)
{
    struct result *out = start_result(w, r->job.request, r->job.attempt);
    out->error = code;
    out->trace = r->job.trace;
    snprintf(out->text, sizeof out->text, "%s", text);
    frames_send(w->results, NULL, &w->out, NULL);
}

/* Label and confidence of one row of scores. Confidence is the largest probability: of the scores when they
 * are probabilities, of their softmax otherwise. Label -1 when a score is not a number, or the best is
 * infinite. */
static int32_t judge(const float *scores, int64_t n, float *confidence)
{
    double sum = 0, exps = 0;
    bool probabilities = true;
    int64_t best = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(scores[i]))
            return -1;
        best = scores[i] > scores[best] ? i : best;
        sum += scores[i];
        probabilities = probabilities && scores[i] >= 0 && scores[i] <= 1.0001f;
    }
    if (isinf(scores[best]))
        return -1;
    if (probabilities && fabs(sum - 1) < 1e-3) {
        *confidence = scores[best];
        return (int32_t)best;
    }
    for (int64_t i = 0; i < n; i++)
        exps += exp((double)scores[i] - scores[best]);
    *confidence = (float)(1 / exps);
    return (int32_t)best;
}

/* A message that holds row i of `t`, whose shape becomes one request's. */
static bool take_row(struct tensor *t, int i, int batch, zmq_msg_t *payload)
{
    size_t bytes = (size_t)tensor_bytes(t) / (size_t)batch;
    if (zmq_msg_init_size(payload, bytes))
        return false;
    memcpy(zmq_msg_data(payload), (const char *)t->data + (size_t)i * bytes, bytes);
    t->dim[0] = 1;
    return true;
}

static void send_scores(struct stage_worker *w, const struct row *r, struct tensor t, int i)
{
    int64_t n = tensor_count(&t) / w->n_batch;
    struct result *out = start_result(w, r->job.request, r->job.attempt);
    zmq_msg_t payload;

    out->label = judge((const float *)t.data + i * n, n, &out->confidence);
    if (out->label < 0) {
        worker_send_error(w, r, FL_VALUE, "the model's scores are not numbers for this input");
        return;
    }
    if (!take_row(&t, i, w->n_batch, &payload)) {
        worker_send_error(w, r, FL_NOMEM, "out of memory for a result");
        return;
    }
    /* 1xCx1x1, as a network without a Flatten gives, goes out as 1xC. */
    out->scores = (struct tensor){.dtype = t.dtype, .rank = 2, .dim = {1, n}};
    out->sent_ns = worker_broker_time(w, worker_lap(w, SPAN_SERIALISE, -1));
    worker_fill_time(w, r, &out->trace);
    if (frames_send(w->results, NULL, &w->out, &payload))
        zmq_msg_close(&payload);
}

static void send_activation(struct stage_worker *w, const struct row *r, struct tensor t, int i)
{
    struct job *out = &w->out.job;
    int replica = r->job.route[w->stage + 1];
    char text[MESSAGE_TEXT_BYTES];
    zmq_msg_t payload;
    int rc;

    w->out.type = MESSAGE_JOB;
    *out = r->job;
    if (!take_row(&t, i, w->n_batch, &payload)) {
        worker_send_error(w, r, FL_NOMEM, "out of memory for an activation");
        return;
    }
    out->activation = t;
    out->activation.data = NULL;
    out->sent_ns = worker_broker_time(w, worker_lap(w, SPAN_SERIALISE, -1));
    worker_fill_time(w, r, &out->trace);
    if ((rc = frames_send(w->next[replica], NULL, &w->out, &payload))) {
        zmq_msg_close(&payload);
        w->reached_ns = 0; /* look at the links and tell */
        snprintf(text, sizeof text, "stage %d replica %d does not reach stage %d replica %d: %s", w->stage,
                 w->replica, w->stage + 1, replica,
                 rc == FL_AGAIN ? "not connected, or its queue is full" : error_sentence(rc));
        worker_send_error(w, r, FL_UNAVAILABLE, text);
    }
}

void worker_send_outputs(struct stage_worker *w)
{
    struct tensor t = exec_output(w->exec, 0, w->n_batch);
    for (int i = 0; i < w->n_batch; i++) {
        struct row *r = &w->row[w->batch[i]];
        if (r->state != ROW_RUNS)
            continue;
        if (w->last_stage)
            send_scores(w, r, t, i);
        else
            send_activation(w, r, t, i);
        r->state = ROW_SENT;
    }
}
