/* readiness.c - status, one request of zeros, status again */
#include "readiness.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "client/client.h"
#include "deploy/model/model_shape.h"
#include "deploy/process/roles.h"

#define ASK_STARTING_NS (100 * NS_PER_MS)
#define ASK_READY_NS    (2 * NS_PER_S) /* at most: a death is seen about as soon as the broker sees it */
#define WAIT_MS         100
#define WAIT_LONG_MS    500 /* of a broker that was ready: it may be busy */
#define REQUEST_MS      30000

struct readiness {
    const struct pipeline *pipeline; /* borrowed */
    struct client *client;
    struct tensor zeros; /* owned */
    struct status_reply status;
    int workers; /* stage workers and cache services in all, and brokers, where there are several */
    bool ready, asked, warm; /* warm: a request ran through this broker's pipeline */
    uint64_t request, next_ns, asked_ns, broker_started_ns;
    uint64_t answered_ns; /* when `status` was asked for last */
    uint64_t every_ns;    /* while ready */
};

static int count_workers(struct readiness *r, const struct pipeline *p, struct error *e)
{
    struct role role[ROLES_MAX];
    int n, rc = roles_list(p, role, &n, e);

    for (int i = 0; !rc && i < n; i++)
        r->workers += role[i].kind == ROLE_KIND_STAGE || role[i].kind == ROLE_KIND_CACHE ||
                      (role[i].kind == ROLE_KIND_BROKER && pipeline_brokers(p) > 1);
    return rc;
}

int readiness_new(struct readiness **out, const struct pipeline *p, struct error *e)
{
    struct readiness *r = calloc(1, sizeof *r);
    struct model_shape *m = malloc(sizeof *m);
    int rc = FL_OK;

    *out = NULL;
    if (!r || !m)
        rc = error_set(e, FL_NOMEM, "no memory");
    if (!rc && !(rc = model_shape_load(m, p, e))) {
        r->zeros = m->input;
        if (tensor_alloc(&r->zeros))
            rc = error_set(e, FL_NOMEM, "no memory for a request");
    }
    if (!rc) {
        r->every_ns = (uint64_t)p->broker.dead_after_ms * NS_PER_MS;
        r->every_ns = r->every_ns < ASK_READY_NS ? r->every_ns : ASK_READY_NS;
        rc = count_workers(r, p, e);
    }
    if (!rc)
        rc = client_new(&r->client, p, e);
    if (!rc)
        r->pipeline = p;
    free(m);
    if (rc)
        readiness_free(r);
    else
        *out = r;
    return rc;
}

void readiness_free(struct readiness *r)
{
    if (!r)
        return;
    client_free(r->client);
    tensor_release(&r->zeros);
    free(r);
}

static int ready_workers(const struct status_reply *s)
{
    int n = 0;
    for (int i = 0; i < s->n_processes; i++)
        n += s->process[i].role != ROLE_LEARNER && !strcmp(s->process[i].state, "ready");
    return n;
}

static void send_request(struct readiness *r)
{
    struct error e;

    if (r->asked && clock_ns() - r->asked_ns < REQUEST_MS * NS_PER_MS)
        return;
    r->asked = !client_submit(r->client, &r->zeros, JOB_NO_CACHE, REQUEST_MS, &r->request, &e);
    r->asked_ns = clock_ns();
}

static void take_answers(struct readiness *r)
{
    struct answer answer;
    struct error e;

    while (r->asked && !client_receive(r->client, WAIT_MS, &answer, NULL, 0, NULL, &e)) {
        if (answer.error)
            log_warn("the request that warms up failed: %s", answer.text);
        else
            r->warm = true;
        r->asked = false; /* one that failed is sent again */
    }
}

/* A broker that is silent may have a new key by now, and want one: both are read again. */
static void begin_anew(struct readiness *r)
{
    struct client *fresh;
    if (r->pipeline->security.mode != SECURITY_CURVE || client_new(&fresh, r->pipeline, NULL))
        return;
    client_free(r->client);
    r->client = fresh;
    r->asked = false;
}

bool readiness_check(struct readiness *r)
{
    uint64_t now = clock_ns();

    if (now < r->next_ns)
        return r->ready;
    take_answers(r);
    if (client_status(r->client, r->warm ? WAIT_LONG_MS : WAIT_MS, &r->status, NULL)) {
        memset(&r->status, 0, sizeof r->status);
        begin_anew(r);
    }
    r->answered_ns = clock_ns();
    if (r->status.started_ns &&
        r->status.started_ns != r->broker_started_ns) { /* another broker: begin again */
        r->broker_started_ns = r->status.started_ns;
        r->warm = r->asked = false;
    }
    if (!r->warm && r->status.ready && ready_workers(&r->status) == r->workers)
        send_request(r);
    r->ready = r->warm && r->status.ready;
    r->next_ns = clock_ns() + (r->ready ? r->every_ns : ASK_STARTING_NS);
    return r->ready;
}

void readiness_hurry(struct readiness *r)
{
    uint64_t soon = r->answered_ns + ASK_STARTING_NS;
    if (r->next_ns > soon)
        r->next_ns = soon;
}

const struct status_reply *readiness_status(const struct readiness *r, uint64_t *asked_ns)
{
    *asked_ns = r->answered_ns;
    return &r->status;
}
