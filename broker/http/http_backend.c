/* http_backend.c - which call an answer belongs to */
#include "http_backend.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/client.h"

#define SLOTS        65536 /* requests to the broker without an answer */
#define MODEL_AGE    (2 * NS_PER_S)
#define MODEL_OLD    (10 * NS_PER_S) /* a request that finds it so old waits for what the broker tells now */
#define GRACE_MS     2000 /* after its deadline at the latest, an answer that says so should be here */
#define OVERDUE_LOOK (NS_PER_S / 5)
#define GATHER       64 /* requests that one wake of the broker may wait for */

static const uint64_t age[HTTP_QUESTIONS] = {NS_PER_S / 10, NS_PER_S / 4}; /* of replies that are fresh */

struct http_backend {
    const struct pipeline *pipeline;
    struct client *client;
    struct settings *settings; /* borrowed */
    struct http_asker *asker;
    struct http_loader *loader;
    struct http_call *slot[SLOTS];    /* by id */
    struct http_call *waiting;        /* list: for answers */
    struct http_call *asking;         /* list: for what the broker tells of itself */
    uint64_t looked_ns;               /* for overdue ones */
    uint64_t came_ns[HTTP_QUESTIONS]; /* when the last reply came, or was given up; 0: never */
    bool answered[HTTP_QUESTIONS];    /* .. and which of the two */
    struct status_reply status;
    struct view view; /* of it */
    struct times times;
    struct oip_model model; /* input.tensor.dtype TENSOR_NONE: not known */
    float *scores;          /* of one answer */
    int classes;
};

int http_backend_new(struct http_backend **out, const struct pipeline *p, struct settings *settings,
                     struct error *e)
{
    struct http_backend *b = calloc(1, sizeof *b);
    int rc;
    *out = NULL;
    if (!b)
        return error_set(e, FL_NOMEM, "out of memory");
    b->pipeline = p;
    b->settings = settings;
    view_of(&b->view, p, NULL);
    if ((rc = client_new_of(&b->client, p, p->broker.index, e)) || (rc = http_asker_new(&b->asker, p, e)) ||
        (rc = http_loader_new(&b->loader, p, settings, http_asker_fd(b->asker), e))) {
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
    http_loader_free(b->loader); /* it writes to the asker's descriptor */
    http_asker_free(b->asker);
    client_free(b->client);
    free(b->scores);
    free(b);
}

/* ---- what the broker tells ---- */

/* Did a reply come at most so long ago, or since then? If not, it is asked for. */
static bool have(struct http_backend *b, enum http_question q, uint64_t age_ns, uint64_t since_ns)
{
    uint64_t now = clock_ns(), came = b->came_ns[q];
    if (came && (now - came <= age_ns || (since_ns && came >= since_ns)))
        return true;
    http_asker_ask(b->asker, q);
    return false;
}

bool http_backend_has(struct http_backend *b, enum http_need need, uint64_t since_ns)
{
    bool status, times;
    switch (need) {
    case NEED_NOTHING:
        return true;
    case NEED_MODEL:
        if (b->model.input.tensor.dtype == TENSOR_NONE)
            return have(b, ASK_STATUS, age[ASK_STATUS], since_ns);
        return have(b, ASK_STATUS, MODEL_AGE, since_ns) || clock_ns() - b->came_ns[ASK_STATUS] <= MODEL_OLD;
    case NEED_STATUS:
        return have(b, ASK_STATUS, age[ASK_STATUS], since_ns);
    default:
        status = have(b, ASK_STATUS, age[ASK_STATUS], since_ns);
        times = have(b, ASK_TIMES, age[ASK_TIMES], since_ns);
        return status && times;
    }
}

const struct status_reply *http_backend_status(const struct http_backend *b)
{
    return b->answered[ASK_STATUS] ? &b->status : NULL;
}

const struct view *http_backend_view(const struct http_backend *b)
{
    return &b->view;
}

const struct times *http_backend_times(const struct http_backend *b)
{
    return b->answered[ASK_TIMES] ? &b->times : NULL;
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

/* While nobody tells it stays as it was: requests may wait for a worker that comes back. */
static void learn_model(struct http_backend *b, const struct status_reply *s)
{
    const struct port *input = find_port(s, true), *output = find_port(s, false);
    int64_t classes = output ? tensor_count(&output->tensor) : 0;
    float *scores;
    if (!input || !output || classes > MESSAGE_MAX_LABEL)
        return;
    if (classes > b->classes) {
        if (!(scores = realloc(b->scores, (size_t)classes * sizeof *scores)))
            return;
        b->scores = scores;
        b->classes = (int)classes;
    }
    b->model = (struct oip_model){*input, *output, b->pipeline->broker.max_requests};
}

int http_backend_model(const struct http_backend *b, struct oip_model *out, struct error *e)
{
    if (b->model.input.tensor.dtype == TENSOR_NONE)
        return error_set(e, FL_UNAVAILABLE,
                         b->answered[ASK_STATUS] ? "the model is not loaded yet"
                                                 : "the broker does not reply");
    *out = b->model;
    return FL_OK;
}

/* ---- calls ---- */

static void put_in_list(struct http_call **list, struct http_call *c)
{
    c->list = list;
    c->before = NULL;
    c->after = *list;
    if (*list)
        (*list)->before = c;
    *list = c;
}

static void take_from_list(struct http_call *c)
{
    if (!c->list)
        return;
    if (c->after)
        c->after->before = c->before;
    if (c->before)
        c->before->after = c->after;
    else
        *c->list = c->after;
    c->list = NULL;
}

/* Where its labels are being told, they go on without it. */
static void leave_labels(struct http_call *c)
{
    if (c->labels && c->told)
        free(c->labels);
    else if (c->labels)
        c->labels->call = NULL;
    c->labels = NULL;
}

/* That goes on without it, too. */
static void leave_loading(struct http_call *c)
{
    if (c->loading && c->loaded)
        free(c->loading);
    else if (c->loading)
        c->loading->call = NULL;
    c->loading = NULL;
}

void http_backend_forget(struct http_backend *b, struct http_call *c)
{
    for (int i = 0; i < c->sent; i++)
        if (b->slot[(c->first_id + (uint64_t)i) % SLOTS] == c) {
            b->slot[(c->first_id + (uint64_t)i) % SLOTS] = NULL;
            client_cancel(b->client, c->first_id + (uint64_t)i);
        }
    take_from_list(c);
    leave_labels(c);
    leave_loading(c);
    c->sent = c->left = 0;
}

static int send_row(struct http_backend *b, struct http_call *c, int row)
{
    struct client_request r = {.input = c->model.input.tensor,
                               .flags = c->request.flags,
                               .deadline_ms = c->request.deadline_ms,
                               .priority = c->request.priority,
                               .loss_allowed = c->request.loss_allowed,
                               .context = c->request.context,
                               .stream = c->request.stream,
                               .trace_high = c->context.high,
                               .trace_low = c->context.low,
                               .parent = c->context.parent,
                               .span = row ? 0 : c->context.span}; /* no two spans have one name */
    uint64_t id;
    int rc;
    if (c->context.sampled && atomic_load(&b->settings->traces))
        r.flags |= JOB_TRACE;
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
        put_in_list(&b->waiting, c);
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

/* What the broker told before that is old. */
static void hear_loader(struct http_backend *b)
{
    struct http_loading *it;
    while ((it = http_loader_done(b->loader))) {
        b->came_ns[ASK_STATUS] = 0;
        if (it->call)
            ((struct http_call *)it->call)->loaded = true;
        else
            free(it);
    }
}

void http_backend_hear(struct http_backend *b, void (*done)(void *arg, struct http_call *c), void *arg)
{
    uint64_t now = clock_ns(), count;
    struct http_labels *labels;

    if (read(http_asker_fd(b->asker), &count, sizeof count) < 0)
        return;
    if (http_asker_status(b->asker, &b->status, &b->answered[ASK_STATUS])) {
        b->came_ns[ASK_STATUS] = now;
        view_of(&b->view, b->pipeline, http_backend_status(b));
        if (b->answered[ASK_STATUS])
            learn_model(b, &b->status);
    }
    if (http_asker_times(b->asker, &b->times, &b->answered[ASK_TIMES]))
        b->came_ns[ASK_TIMES] = now;
    while ((labels = http_asker_told(b->asker))) {
        if (labels->call)
            ((struct http_call *)labels->call)->told = true;
        else
            free(labels);
    }
    hear_loader(b);
    for (struct http_call *c = b->asking, *after; c; c = after) {
        after = c->after;
        if ((c->labels && !c->told) || (c->loading && !c->loaded))
            continue;
        take_from_list(c);
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
    struct http_call *c;
    while ((c = b->waiting ? b->waiting : b->asking)) {
        error_set(&c->error, FL_UNAVAILABLE, "the broker is going away");
        http_backend_forget(b, c);
        done(arg, c);
    }
}

void http_backend_await(struct http_backend *b, struct http_call *c)
{
    c->asked_ns = c->asked_ns ? c->asked_ns : clock_ns();
    put_in_list(&b->asking, c);
}

int http_backend_tell(struct http_backend *b, struct http_call *c, const struct feedback_item *item, int n)
{
    struct http_labels *labels = malloc(sizeof *labels);
    if (!labels)
        return error_set(&c->error, FL_NOMEM, "out of memory for true labels");
    labels->call = c;
    labels->n = n;
    if (n)
        memcpy(labels->item, item, (size_t)n * sizeof *item);
    c->labels = labels;
    c->told = false;
    http_asker_tell(b->asker, labels);
    http_backend_await(b, c);
    return FL_OK;
}

int http_backend_load(struct http_backend *b, struct http_call *c, bool loads)
{
    struct http_loading *what = calloc(1, sizeof *what);
    int rc;
    if (!what)
        return error_set(&c->error, FL_NOMEM, "out of memory");
    what->call = c;
    what->loads = loads;
    if ((rc = http_loader_ask(b->loader, what, &c->error))) {
        free(what);
        return rc;
    }
    c->loading = what;
    c->loaded = false;
    http_backend_await(b, c);
    return FL_OK;
}

int http_backend_fd(const struct http_backend *b)
{
    return client_fd(b->client);
}

int http_backend_asker_fd(const struct http_backend *b)
{
    return http_asker_fd(b->asker);
}
