/* target.c - one interface to a client and to an executor */
#include "target.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/client.h"
#include "extract.h"
#include "precedence.h"
#include "stages/exec.h"

#define STATUS_WAIT_MS 3000
#define WHOLE_QUEUE    4096 /* requests that wait for the whole model */

struct waiting {
    uint64_t id, since_ns;
    float *input; /* owned, used again */
};

struct target {
    const struct pipeline *pipeline;
    uint32_t flags;
    double trace_share, trace_due; /* a request is traced when 1 is due */
    struct client *client;         /* of a running pipeline */
    struct exec *exec;             /* of the whole model */
    int last, classes;             /* its last node; scores per request */
    uint64_t next;                 /* id */
    int first, n;
    struct waiting *queue; /* of the whole model: WHOLE_QUEUE */
};

static int make(struct target **out, const struct pipeline *p, struct error *e)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return error_set(e, FL_NOMEM, "no memory");
    (*out)->pipeline = p;
    return FL_OK;
}

int target_pipeline(struct target **out, const struct pipeline *p, uint32_t flags, struct error *e)
{
    int rc = make(out, p, e), before;

    if (rc)
        return rc;
    (*out)->flags = flags;
    before = precedence_raise(); /* its ZeroMQ threads start here */
    rc = client_new(&(*out)->client, p, e);
    precedence_restore(before);
    if (rc || (rc = client_status((*out)->client, STATUS_WAIT_MS, NULL, e))) {
        target_free(*out);
        *out = NULL;
    }
    return rc;
}

static int load_model(struct target *t, struct error *e)
{
    const struct pipeline *p = t->pipeline;
    struct exec_options o = {
        .threads = p->n_stages > 0 ? p->stage[0].threads : 1, .max_batch = 1, .last = -1};
    struct graph *g = NULL;
    int rc;

    if (engine_parse_kernels(p->kernels, &o.kernels))
        return error_set(e, FL_CONFIG, "kernels: '%s' is not one of auto, onednn, openblas, reference",
                         p->kernels);
    if ((rc = graph_load(&g, p->model, NULL, e)))
        return rc;
    if (!(rc = extract_classes(g, &t->classes, e)) && !(rc = exec_new(&t->exec, g, &o, e)))
        t->last = g->n_nodes - 1;
    graph_free(g);
    t->queue = calloc(WHOLE_QUEUE, sizeof *t->queue);
    return rc || t->queue ? rc : error_set(e, FL_NOMEM, "no memory for requests");
}

int target_whole(struct target **out, const struct pipeline *p, struct error *e)
{
    int rc = make(out, p, e);

    if (!rc && (rc = load_model(*out, e))) {
        target_free(*out);
        *out = NULL;
    }
    return rc;
}

void target_free(struct target *t)
{
    if (!t)
        return;
    client_free(t->client);
    exec_free(t->exec);
    for (int i = 0; t->queue && i < WHOLE_QUEUE; i++)
        free(t->queue[i].input);
    free(t->queue);
    free(t);
}

static int enqueue(struct target *t, const struct tensor *input, uint64_t *id, struct error *e)
{
    struct waiting *w = &t->queue[(t->first + t->n) % WHOLE_QUEUE];
    size_t bytes = (size_t)tensor_bytes(input);

    if (t->n == WHOLE_QUEUE)
        return error_set(e, FL_OVERLOADED, "%d requests wait for the model", WHOLE_QUEUE);
    if (!w->input && !(w->input = malloc(bytes)))
        return error_set(e, FL_NOMEM, "no memory for an input of %zu bytes", bytes);
    memcpy(w->input, input->data, bytes);
    w->id = *id = t->next++;
    w->since_ns = clock_ns();
    t->n++;
    return FL_OK;
}

/* Computes the request that waits longest. */
static int compute(struct target *t, struct answer *out, struct error *e)
{
    const struct waiting *w = &t->queue[t->first];
    struct tensor input = exec_input_shape(t->exec, 0, 1), scores;
    uint64_t start = clock_ns(), end;
    int rc;

    if (!t->n)
        return FL_AGAIN;
    t->first = (t->first + 1) % WHOLE_QUEUE;
    t->n--;
    memcpy(exec_input_buffer(t->exec, 0), w->input, (size_t)tensor_bytes(&input));
    if ((rc = exec_run(t->exec, 0, t->last, 1, NULL, NULL, e)))
        return rc;
    scores = exec_output(t->exec, 0, 1);
    end = clock_ns();
    *out = (struct answer){.id = w->id,
                           .label = extract_label(scores.data, t->classes),
                           .exit = -1,
                           .attempts = 1,
                           .total_ns = end - w->since_ns};
    out->trace.n = 1;
    out->trace.stage[0] =
        (struct stage_time){.batch = 1, .queue_ns = start - w->since_ns, .compute_ns = end - start};
    return FL_OK;
}

static uint32_t trace_flag(struct target *t)
{
    t->trace_due += t->trace_share;
    if (t->trace_due < 1)
        return 0;
    t->trace_due -= 1;
    return JOB_TRACE;
}

void target_trace(struct target *t, double share)
{
    t->trace_share = share;
    t->trace_due = 0;
}

int target_submit(struct target *t, const struct tensor *input, uint32_t deadline_ms, uint64_t *id,
                  struct error *e)
{
    if (t->client)
        return client_submit(t->client, input, t->flags | trace_flag(t), deadline_ms, id, e);
    return enqueue(t, input, id, e);
}

int target_receive(struct target *t, struct answer *out, struct error *e)
{
    return t->client ? client_receive(t->client, 0, out, NULL, 0, NULL, e) : compute(t, out, e);
}

int target_fd(struct target *t)
{
    return t->client ? client_fd(t->client) : -1;
}

const struct pipeline *target_of(const struct target *t)
{
    return t->pipeline;
}

bool target_is_whole(const struct target *t)
{
    return t->exec != NULL;
}
