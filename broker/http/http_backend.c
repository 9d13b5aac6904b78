/* http_backend.c - which call an answer belongs to */
#include "http_backend.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/client.h"

#define SLOTS        65536 /* requests to the broker without an answer */
#define STATUS_MS    1000  /* how long the broker is asked about itself */
#define STATUS_AGE   (NS_PER_S / 10)
#define TIMES_AGE    (NS_PER_S / 4)
#define MODEL_AGE    (2 * NS_PER_S)
#define GRACE_MS     2000 /* after its deadline at the latest, an answer that says so should be here */
#define OVERDUE_LOOK (NS_PER_S / 5)
#define GATHER       16 /* requests that one wake of the broker may wait for */

struct http_backend {
    const struct pipeline *pipeline;
    struct client *client;
    struct http_call *slot[SLOTS]; /* by id */
    struct http_call *waiting;     /* list */
    uint64_t looked_ns;            /* for overdue ones */
    uint64_t status_ns;            /* when `status` was asked for; 0: never */
    bool answered;                 /* .. and whether that came */
    struct status_reply status;
    struct view view; /* of it */
    uint64_t times_ns;
    bool timed;
    struct times times;
    struct oip_model model; /* input.tensor.dtype TENSOR_NONE: not known */
    float *scores;          /* of one answer */
    int classes;
};

int http_backend_new(struct http_backend **out, const struct pipeline *p, struct error *e)
{
    struct http_backend *b = calloc(1, sizeof *b);
    int rc;
    *out = NULL;
    if (!b)
        return error_set(e, FL_NOMEM, "out of memory");
    b->pipeline = p;
    if ((rc = client_new_of(&b->client, p, p->broker.index, e))) {
        http_backend_free(b);
        return rc;
    }
    client_gather(b->client, GATHER);
    *out = b;
    return FL_OK;
}

void http_backend_free(struct http_backend *b)
{
    if (!b)
        return;
    client_free(b->client);
    free(b->scores);
    free(b);
}

static const struct status_reply *status(struct http_backend *b, uint64_t age_ns)
{
    uint64_t now = clock_ns();
    if (!b->status_ns || now - b->status_ns > age_ns) {
        b->answered = client_status(b->client, STATUS_MS, &b->status, NULL) == FL_OK;
        b->status_ns = clock_ns();
        view_of(&b->view, b->pipeline, b->answered ? &b->status : NULL);
    }
    return b->answered ? &b->status : NULL;
}

const struct status_reply *http_backend_status(struct http_backend *b)
{
    return status(b, STATUS_AGE);
}

const struct view *http_backend_view(struct http_backend *b)
{
    status(b, MODEL_AGE);
    return &b->view;
}

const struct times *http_backend_times(struct http_backend *b)
{
    uint64_t now = clock_ns();
    if (!b->times_ns || now - b->times_ns > TIMES_AGE) {
        b->timed = client_times(b->client, STATUS_MS, &b->times, NULL) == FL_OK;
        b->times_ns = clock_ns();
    }
    return b->timed ? &b->times : NULL;
}

/* Of the processes that serve, the first one that tells it. */
static const struct port *find_port(const struct status_reply *s, bool input)
{
    for (int i = 0; i < s->n_processes; i++) {
        const struct process_status *p = &s->process[i];
        const struct port *port = input ? &p->input : &p->output;
        if (p->role == ROLE_STAGE && strcmp(p->state, "waiting") && port->tensor.dtype &&
            port->tensor.rank > 0 && port->tensor.dim[0] == 1 && tensor_bytes(&port->tensor) > 0)
            return port;
    }
    return NULL;
}

static int learn_model(struct http_backend *b, const struct status_reply *s, struct error *e)
{
    const struct port *input = find_port(s, true), *output = find_port(s, false);
    int64_t classes = output ? tensor_count(&output->tensor) : 0;
    float *scores;
    if (!input || !output || classes > MESSAGE_MAX_LABEL)
        return error_set(e, FL_UNAVAILABLE, "the model is not loaded yet");
    if (classes > b->classes) {
        if (!(scores = realloc(b->scores, (size_t)classes * sizeof *scores)))
            return error_set(e, FL_NOMEM, "out of memory for scores");
        b->scores = scores;
        b->classes = (int)classes;
    }
    b->model = (struct oip_model){*input, *output, b->pipeline->broker.max_requests};
    return FL_OK;
}

int http_backend_model(struct http_backend *b, struct oip_model *out, struct error *e)
{
    bool known = b->model.input.tensor.dtype != TENSOR_NONE;
    const struct status_reply *s = status(b, known ? MODEL_AGE : STATUS_AGE);
    int rc = s ? learn_model(b, s, e) : error_set(e, FL_UNAVAILABLE, "the broker does not reply");
    if (rc && !known)
        return rc;
    *out = b->model; /* as it was, while nobody tells: requests may wait for a worker that comes back */
    return FL_OK;
}

/* ---- calls ---- */

static void put_in_list(struct http_backend *b, struct http_call *c)
{
    c->before = NULL;
    c->after = b->waiting;
    if (b->waiting)
        b->waiting->before = c;
    b->waiting = c;
}

static void take_from_list(struct http_backend *b, struct http_call *c)
{
    if (c->after)
        c->after->before = c->before;
    if (c->before)
        c->before->after = c->after;
    else
        b->waiting = c->after;
}

void http_backend_forget(struct http_backend *b, struct http_call *c)
{
    for (int i = 0; i < c->sent; i++)
        if (b->slot[(c->first_id + (uint64_t)i) % SLOTS] == c) {
            b->slot[(c->first_id + (uint64_t)i) % SLOTS] = NULL;
            client_cancel(b->client, c->first_id + (uint64_t)i);
        }
    if (c->sent)
        take_from_list(b, c);
    c->sent = c->left = 0;
}

static int send_row(struct http_backend *b, struct http_call *c, int row)
{
    struct client_request r = {.input = c->model.input.tensor,
                               .flags = c->request.flags,
                               .deadline_ms = c->request.deadline_ms,
                               .priority = c->request.priority,
                               .loss_allowed = c->request.loss_allowed};
    uint64_t id;
    int rc;
    r.input.data = (void *)(uintptr_t)(c->request.data + (size_t)row * c->request.row_bytes);
    rc = client_send(b->client, &r, &id, &c->error);
    if (rc)
        return rc;
    if (!c->sent++)
        c->first_id = id;
    c->left++;
    if (b->slot[id % SLOTS])
        return error_set(&c->error, FL_OVERLOADED, "%d requests wait for answers already", SLOTS);
    b->slot[id % SLOTS] = c;
    return FL_OK;
}

void http_backend_send(struct http_backend *b, struct http_call *c)
{
    const struct broker_config *broker = &b->pipeline->broker;
    uint64_t most = (uint64_t)broker->deadline_ms * 10,
             ms = c->request.deadline_ms ? c->request.deadline_ms : (uint64_t)broker->deadline_ms;
    int rc = FL_OK;
    c->until_ns = clock_ns() + ((ms < most ? ms : most) + GRACE_MS) * NS_PER_MS;
    for (int i = 0; i < c->request.rows && !rc; i++)
        rc = send_row(b, c, i);
    if (c->sent)
        put_in_list(b, c);
    if (rc)
        http_backend_forget(b, c);
}

static void look_for_overdue(struct http_backend *b, void (*done)(void *arg, struct http_call *c), void *arg)
{
    uint64_t now = clock_ns();
    if (now - b->looked_ns < OVERDUE_LOOK)
        return;
    b->looked_ns = now;
    for (struct http_call *c = b->waiting, *after; c; c = after) {
        after = c->after;
        if (now < c->until_ns)
            continue;
        error_set(&c->error, FL_DEADLINE, "no answer came before the deadline");
        http_backend_forget(b, c);
        done(arg, c);
    }
}

void http_backend_collect(struct http_backend *b, void (*done)(void *arg, struct http_call *c), void *arg)
{
    struct answer a;
    int n, rc;
    while ((rc = client_receive(b->client, 0, &a, b->scores, b->classes, &n, NULL)) != FL_AGAIN) {
        struct http_call *c = rc ? NULL : b->slot[a.id % SLOTS];
        if (rc == FL_IO)
            break;
        if (!c || a.id - c->first_id >= (uint64_t)c->sent)
            continue;
        b->slot[a.id % SLOTS] = NULL;
        http_call_answer(c, &a, b->scores, n);
        if (c->left && !c->error.code)
            continue;
        http_backend_forget(b, c);
        done(arg, c);
    }
    look_for_overdue(b, done, arg);
}

void http_backend_abandon(struct http_backend *b, void (*done)(void *arg, struct http_call *c), void *arg)
{
    while (b->waiting) {
        struct http_call *c = b->waiting;
        error_set(&c->error, FL_UNAVAILABLE, "the broker is going away");
        http_backend_forget(b, c);
        done(arg, c);
    }
}

int http_backend_feedback(struct http_backend *b, const struct feedback_item *item, int n,
                          struct feedback *reply, struct error *e)
{
    struct client *all;
    int rc;
    if (pipeline_brokers(b->pipeline) == 1)
        return client_feedback(b->client, item, n, STATUS_MS, reply, e);
    if ((rc = client_new(&all, b->pipeline, e))) /* each label goes to the broker that gave the answer */
        return rc;
    rc = client_feedback(all, item, n, STATUS_MS, reply, e);
    client_free(all);
    return rc;
}

bool http_backend_waits(const struct http_backend *b)
{
    return b->waiting != NULL;
}

int http_backend_fd(struct http_backend *b)
{
    return client_fd(b->client);
}
