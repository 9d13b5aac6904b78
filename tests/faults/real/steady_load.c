/* steady_load.c - the thread that sends and listens
 *
 * The program is linked with --wrap=link_receive, so every message that the client reads is seen here first.
 */
#include "steady_load.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "client/client.h"
#include "deploy/load/arrivals.h"
#include "deploy/load/precedence.h"
#include "link/link.h"

#define MOST_WAIT_MS 20
#define GRACE_NS     (2 * NS_PER_S)
#define CATCH_UP_NS  (1 * NS_PER_S) /* a sender that was kept from running so long starts anew */

struct steady_load {
    pthread_t thread;
    pthread_mutex_t lock;
    const struct load_inputs *in;
    struct client *client;
    struct account account;
    uint64_t first_id, seed, begun_ns, due_ns; /* the first id is known with the first request */
    struct arrivals *arrivals;
    double rate;
    int closed;
    int64_t unsent, under_way;
    bool paced, running;
    volatile bool stop;
};

static struct steady_load *listening;

int __real_link_receive(struct link *l, struct peer *from, struct message *m, zmq_msg_t *payload,
                        struct error *e);
int __wrap_link_receive(struct link *l, struct peer *from, struct message *m, zmq_msg_t *payload,
                        struct error *e);
int __wrap_link_receive(struct link *l, struct peer *from, struct message *m, zmq_msg_t *payload,
                        struct error *e)
{
    int rc = __real_link_receive(l, from, m, payload, e);

    if (!rc && m->type == MESSAGE_ANSWER && listening && pthread_equal(listening->thread, pthread_self()))
        account_seen(&listening->account, (int64_t)(m->answer.id - listening->first_id), &m->answer);
    return rc;
}

static void listen_now(struct steady_load *l)
{
    struct answer answer;

    pthread_mutex_lock(&l->lock);
    while (!client_receive(l->client, 0, &answer, NULL, 0, NULL, NULL)) {
        account_heard(&l->account, (int64_t)(answer.id - l->first_id), &answer, clock_ns());
        l->under_way -= l->under_way > 0; /* a late one was given up */
    }
    pthread_mutex_unlock(&l->lock);
}

static void send_one(struct steady_load *l, uint64_t due_ns)
{
    int32_t input = (int32_t)(l->account.n % l->in->n);
    struct tensor t = l->in->shape;
    uint64_t id;

    t.data = (float *)(uintptr_t)l->in->data + input * tensor_count(&t);
    pthread_mutex_lock(&l->lock);
    if (client_submit(l->client, &t, 0, 0, &id, NULL)) {
        l->unsent++;
    } else {
        if (!l->account.n)
            l->first_id = id;
        account_sent(&l->account, input, due_ns, clock_ns());
        l->under_way++;
    }
    pthread_mutex_unlock(&l->lock);
}

/* A new pace, or the sender did not run for long: due times begin now, and what was lost is not waited for.
 */
static void begin(struct steady_load *l, uint64_t now)
{
    uint64_t after = 0;

    l->paced = false;
    arrivals_free(l->arrivals);
    l->arrivals = NULL;
    if (l->rate > 0 && !arrivals_new(&l->arrivals, "poisson", l->rate, l->seed++, NULL))
        arrivals_next(l->arrivals, &after);
    l->under_way = account_open(&l->account, GRACE_NS, now);
    l->begun_ns = now;
    l->due_ns = l->arrivals ? now + after : UINT64_MAX;
}

/* Returns when to come back. */
static uint64_t send_due(struct steady_load *l, uint64_t now)
{
    uint64_t after;

    pthread_mutex_lock(&l->lock);
    if (l->paced || (l->due_ns != UINT64_MAX && now > l->due_ns + CATCH_UP_NS))
        begin(l, now);
    pthread_mutex_unlock(&l->lock);
    for (; l->closed && l->under_way < l->closed; now = clock_ns()) {
        int64_t before = l->unsent;
        send_one(l, now);
        if (l->unsent > before)
            return now + NS_PER_MS;
    }
    if (l->closed)
        return UINT64_MAX;
    while (l->due_ns <= now && arrivals_next(l->arrivals, &after)) {
        send_one(l, l->due_ns);
        l->due_ns = l->begun_ns + after;
    }
    return l->due_ns;
}

static void *run(void *arg)
{
    struct steady_load *l = arg;
    struct pollfd fd = {.fd = client_fd(l->client), .events = POLLIN};

    precedence_raise(); /* what it waits for a core would count as the pipeline's time */
    while (!l->stop) {
        uint64_t until = send_due(l, clock_ns()), now = clock_ns(), most = now + MOST_WAIT_MS * NS_PER_MS;
        struct timespec t = {0};
        until = until < most ? until : most;
        if (until > now)
            t.tv_nsec = (long)(until - now);
        if (ppoll(&fd, 1, &t, NULL))
            listen_now(l);
    }
    return NULL;
}

int steady_load_start(struct steady_load **out, const struct pipeline *p, const struct load_inputs *in,
                      double rate, uint64_t seed, struct error *e)
{
    struct steady_load *l = *out = calloc(1, sizeof *l);
    int rc;

    if (!l)
        return error_set(e, FL_NOMEM, "no memory");
    pthread_mutex_init(&l->lock, NULL);
    account_init(&l->account, in->truth, in->n, (uint64_t)p->broker.deadline_ms * NS_PER_MS);
    l->account.several = p->broker.n_replicas > 1;
    l->in = in;
    l->seed = seed;
    l->due_ns = UINT64_MAX;
    if ((rc = client_new(&l->client, p, e))) {
        steady_load_free(l);
        *out = NULL;
        return rc;
    }
    steady_load_pace(l, rate, 0);
    listening = l;
    l->running = !pthread_create(&l->thread, NULL, run, l);
    return l->running ? FL_OK : error_set(e, FL_NOMEM, "no thread");
}

void steady_load_pace(struct steady_load *l, double rate, int closed)
{
    pthread_mutex_lock(&l->lock);
    l->rate = rate;
    l->closed = closed;
    l->paced = true;
    pthread_mutex_unlock(&l->lock);
}

const struct account *steady_load_lock(struct steady_load *l)
{
    pthread_mutex_lock(&l->lock);
    return &l->account;
}

void steady_load_unlock(struct steady_load *l)
{
    pthread_mutex_unlock(&l->lock);
}

int64_t steady_load_unsent(struct steady_load *l)
{
    int64_t n;

    pthread_mutex_lock(&l->lock);
    n = l->unsent;
    pthread_mutex_unlock(&l->lock);
    return n;
}

void steady_load_stop(struct steady_load *l)
{
    int64_t open = 1;

    steady_load_pace(l, 0, 0);
    while (l->running && open) {
        struct timespec t = {0, 10 * (long)NS_PER_MS};
        nanosleep(&t, NULL);
        steady_load_lock(l);
        open = account_open(&l->account, GRACE_NS, clock_ns());
        steady_load_unlock(l);
    }
    l->stop = true;
    if (l->running)
        pthread_join(l->thread, NULL);
    l->running = false;
    client_free(l->client);
    l->client = NULL;
}

void steady_load_free(struct steady_load *l)
{
    if (!l)
        return;
    if (listening == l)
        listening = NULL;
    client_free(l->client);
    arrivals_free(l->arrivals);
    account_release(&l->account);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
