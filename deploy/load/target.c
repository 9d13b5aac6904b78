/* target.c - one interface to a client and to an executor */
#include "target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/client.h"
#include "deploy/model/model_shape.h"
#include "deploy/model/whole_model.h"
#include "precedence.h"
#include "stages/exec/exec.h"
#include "stages/exec/scores.h"

#define STATUS_WAIT_MS 3000
#define WHOLE_QUEUE    4096 /* requests that wait for the whole model */

struct waiting {
    uint64_t id, since_ns;
    float *input; /* owned, used again */
};

struct target {
    const struct pipeline *pipeline;
    uint32_t flags;
    uint64_t stream;
    double trace_share, trace_due; /* a request is traced when 1 is due */
    int n_clients;                 /* of a running pipeline; 0: the whole model */
    struct client **client;
    uint64_t *first_id; /* of each client: request i is number i / n_clients of client i % n_clients */
    int ready, epoll;   /* ready: whose answers are looked for first; epoll: of many clients, else -1 */
    struct exec *exec;  /* of the whole model */
    int last, classes;  /* its last node; scores per request */
    uint64_t next;      /* id */
    int first, n;
    struct waiting *queue; /* of the whole model: WHOLE_QUEUE */
};

static int make(struct target **out, const struct pipeline *p, struct error *e)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return error_set(e, FL_NOMEM, "no memory");
    (*out)->pipeline = p;
    (*out)->epoll = -1;
    return FL_OK;
}

/* One descriptor that tells of all clients. */
static int watch_clients(struct target *t, struct error *e)
{
    if (t->n_clients == 1)
        return FL_OK;
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; t->epoll >= 0 && i < t->n_clients; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        if (epoll_ctl(t->epoll, EPOLL_CTL_ADD, client_fd(t->client[i]), &event))
            return error_set(e, FL_UNAVAILABLE, "cannot watch %d clients: %s", t->n_clients, strerror(errno));
    }
    return t->epoll >= 0 ? FL_OK : error_set(e, FL_UNAVAILABLE, "cannot watch clients: %s", strerror(errno));
}

static int open_clients(struct target *t, int clients, struct error *e)
{
    int rc = FL_OK;

    t->client = calloc((size_t)clients, sizeof *t->client);
    t->first_id = calloc((size_t)clients, sizeof *t->first_id);
    if (!t->client || !t->first_id)
        return error_set(e, FL_NOMEM, "no memory for %d clients", clients);
    for (; !rc && t->n_clients < clients; t->n_clients++)
        if ((rc = client_new(&t->client[t->n_clients], t->pipeline, e)))
            return rc;
    return watch_clients(t, e);
}

int target_pipeline(struct target **out, const struct pipeline *p, uint32_t flags, int clients,
                    struct error *e)
{
    int rc = make(out, p, e), before;

    if (rc)
        return rc;
    (*out)->flags = flags;
    before = precedence_raise(); /* its ZeroMQ threads start here */
    rc = open_clients(*out, clients, e);
    precedence_restore(before);
    if (rc || (rc = client_status((*out)->client[0], STATUS_WAIT_MS, NULL, e))) {
        target_free(*out);
        *out = NULL;
    }
    return rc;
}

static int load_model(struct target *t, struct error *e)
{
    const struct pipeline *p = t->pipeline;
    int rc, threads = p->n_stages > 0 ? p->stage[0].threads : 1;
    struct graph *g = NULL;

    if ((rc = placement_load(&g, p, e)))
        return rc;
    if (!(rc = model_classes(g, &t->classes, e)) && !(rc = whole_model_new(&t->exec, g, p, threads, 1, e)))
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
    for (int i = 0; i < t->n_clients; i++)
        client_free(t->client[i]);
    free(t->client);
    free(t->first_id);
    if (t->epoll >= 0)
        close(t->epoll);
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
                           .label = scores_label(scores.data, t->classes, NULL),
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

void target_stream(struct target *t, uint64_t stream)
{
    t->stream = stream;
}

/* Through the client whose turn it is. */
static int ask(struct target *t, const struct tensor *input, uint32_t deadline_ms, uint64_t *id,
               struct error *e)
{
    uint64_t clients = (uint64_t)t->n_clients;
    int k = (int)(t->next % clients), rc;
    const struct client_request r = {
        .input = *input, .flags = t->flags | trace_flag(t), .deadline_ms = deadline_ms, .stream = t->stream};

    if ((rc = client_send(t->client[k], &r, id, e)))
        return rc;
    if (t->next < clients)
        t->first_id[k] = *id;
    *id = t->next++;
    return FL_OK;
}

/* The next answer that any client has. */
static int hear(struct target *t, struct answer *out, struct error *e)
{
    for (int i = 0; i < t->n_clients; i++, t->ready = (t->ready + 1) % t->n_clients) {
        int k = t->ready, rc = client_receive(t->client[k], 0, out, NULL, 0, NULL, e);
        if (rc == FL_AGAIN)
            continue;
        out->id = (out->id - t->first_id[k]) * (uint64_t)t->n_clients + (uint64_t)k;
        return rc;
    }
    return FL_AGAIN;
}

int target_submit(struct target *t, const struct tensor *input, uint32_t deadline_ms, uint64_t *id,
                  struct error *e)
{
    return t->n_clients ? ask(t, input, deadline_ms, id, e) : enqueue(t, input, id, e);
}

int target_receive(struct target *t, struct answer *out, struct error *e)
{
    return t->n_clients ? hear(t, out, e) : compute(t, out, e);
}

int target_fd(struct target *t)
{
    return !t->n_clients ? -1 : t->n_clients == 1 ? client_fd(t->client[0]) : t->epoll;
}

const struct pipeline *target_of(const struct target *t)
{
    return t->pipeline;
}

bool target_is_whole(const struct target *t)
{
    return t->exec != NULL;
}
