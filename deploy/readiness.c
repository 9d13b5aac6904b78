/* readiness.c - status, one request of zeros, status again */
#include "readiness.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "client/client.h"
#include "model_shape.h"

#define ASK_STARTING_NS (100 * NS_PER_MS)
#define ASK_READY_NS    (2 * NS_PER_S)
#define WAIT_MS         100
#define REQUEST_MS      30000

struct readiness {
    struct client *client;
    struct tensor zeros; /* owned */
    struct status_reply status;
    int workers; /* stage workers in all */
    bool ready, asked;
    uint64_t request, next_ns, asked_ns;
};

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
    for (int s = 0; !rc && s < p->n_stages; s++)
        r->workers += p->stage[s].n_replicas;
    if (!rc)
        rc = client_new(&r->client, p, e);
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
        n += s->process[i].role == ROLE_STAGE && !strcmp(s->process[i].state, "ready");
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
        r->asked = false; /* one that failed is sent again */
    }
}

bool readiness_check(struct readiness *r)
{
    uint64_t now = clock_ns();
    struct error e;

    if (now < r->next_ns)
        return r->ready;
    r->next_ns = now + (r->ready ? ASK_READY_NS : ASK_STARTING_NS);
    take_answers(r);
    if (client_status(r->client, WAIT_MS, &r->status, &e))
        r->ready = false;
    else
        r->ready = r->status.ready && ready_workers(&r->status) >= 1;
    if (!r->ready && ready_workers(&r->status) == r->workers)
        send_request(r);
    return r->ready;
}
