/* async.c - orders go to the client's thread, answers come back from it
 *
 * The thread alone uses the client. `lock` guards what others see: orders, finished calls, counts.
 */
#include "async.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client_inside.h"
#include "system/quiet_thread.h"

#define BUCKETS 4096

struct call {
    struct call *next; /* in its bucket, or its list */
    uint64_t id;
    struct async_request asked;
    struct answer answer;
    zmq_msg_t scores;
    int n; /* of them */
};

/* First in, first out. */
struct calls {
    struct call *first, **last;
};

struct async {
    struct client *client;
    pthread_t thread;
    int wake_fd;  /* the thread has orders */
    int ready_fd; /* `finished` has some */
    /* the thread's: what was sent, by id; what it cancels now */
    struct call *bucket[BUCKETS];
    uint64_t cancelling[ASYNC_MOST];

    pthread_mutex_t lock; /* of all below */
    struct calls ordered, finished;
    uint64_t cancel[ASYNC_MOST];
    int n_cancel;
    int n;                /* calls that are not over */
    uint64_t first, next; /* ids: of the first call, of the next one */
    bool stop;
};

static void calls_add(struct calls *l, struct call *c)
{
    c->next = NULL;
    *l->last = c;
    l->last = &c->next;
}

static struct call *calls_take(struct calls *l)
{
    struct call *c = l->first;
    if (c && !(l->first = c->next))
        l->last = &l->first;
    return c;
}

static void signal_fd(int fd)
{
    while (eventfd_write(fd, 1) && errno == EINTR)
        continue;
}

static void clear_fd(int fd)
{
    eventfd_t n;
    while (eventfd_read(fd, &n) && errno == EINTR)
        continue;
}

/* ---- the client's thread ---- */

static struct call *take_out(struct async *a, uint64_t id)
{
    struct call **link = &a->bucket[id % BUCKETS], *c;
    while (*link && (*link)->id != id)
        link = &(*link)->next;
    if ((c = *link))
        *link = c->next;
    return c;
}

static void forget(struct async *a, struct call *c)
{
    free(c);
    pthread_mutex_lock(&a->lock);
    a->n--;
    pthread_mutex_unlock(&a->lock);
}

/* The one answer of a call. The client's payload holds the scores, if there are any. */
static void finish(struct async *a, struct call *c, const struct answer *answer, const float *scores, int n)
{
    if (c->asked.done) {
        c->asked.done(c->asked.arg, c->id, answer, scores, n);
        forget(a, c);
        return;
    }
    c->answer = *answer;
    c->n = n;
    zmq_msg_init(&c->scores);
    if (scores)
        zmq_msg_move(&c->scores, &a->client->payload);
    pthread_mutex_lock(&a->lock);
    if (!a->finished.first)
        signal_fd(a->ready_fd);
    calls_add(&a->finished, c);
    pthread_mutex_unlock(&a->lock);
}

static void fail(struct async *a, struct call *c, int code, const char *text)
{
    struct answer answer = {.id = c->id, .error = (uint32_t)code, .label = -1, .exit = -1};
    snprintf(answer.text, sizeof answer.text, "%.*s", (int)sizeof answer.text - 1, text);
    finish(a, c, &answer, NULL, 0);
}

static void send_call(struct async *a, struct call *c)
{
    struct error e = {FL_OK, ""};
    uint64_t id;
    int rc;
    a->client->next = c->id;
    if ((rc = client_send(a->client, &c->asked.request, &id, &e))) {
        fail(a, c, rc, e.text);
        return;
    }
    c->next = a->bucket[id % BUCKETS];
    a->bucket[id % BUCKETS] = c;
}

/* Does what was ordered: sends first, so that a request that is cancelled was sent. False: it is to end. */
static bool obey(struct async *a)
{
    struct calls ordered = {.last = &ordered.first};
    struct call *c;
    bool stop;
    int n;
    clear_fd(a->wake_fd);
    pthread_mutex_lock(&a->lock);
    while ((c = calls_take(&a->ordered)))
        calls_add(&ordered, c);
    n = a->n_cancel;
    memcpy(a->cancelling, a->cancel, (size_t)n * sizeof *a->cancel);
    a->n_cancel = 0;
    stop = a->stop;
    pthread_mutex_unlock(&a->lock);
    while ((c = calls_take(&ordered)))
        send_call(a, c);
    for (int i = 0; i < n; i++)
        client_cancel(a->client, a->cancelling[i]);
    return !stop;
}

static void take_answers(struct async *a)
{
    struct answer answer;
    const float *scores;
    struct call *c;
    int n, rc;
    while ((rc = client_receive_lent(a->client, 0, &answer, &scores, &n, NULL)) != FL_AGAIN && rc != FL_IO)
        if (!rc && (c = take_out(a, answer.id)))
            finish(a, c, &answer, scores, n);
}

static void end_all(struct async *a)
{
    for (int i = 0; i < BUCKETS; i++)
        for (struct call *c; (c = a->bucket[i]);) {
            a->bucket[i] = c->next;
            client_cancel(a->client, c->id);
            fail(a, c, FL_CANCELLED, "the client ends");
        }
}

static void *run(void *arg)
{
    struct async *a = arg;
    struct pollfd fds[] = {{.fd = client_fd(a->client), .events = POLLIN},
                           {.fd = a->wake_fd, .events = POLLIN}};
    while (obey(a)) {
        take_answers(a);
        poll(fds, sizeof fds / sizeof *fds, -1);
    }
    end_all(a);
    return NULL;
}

/* ---- everyone's side ---- */

static int start(struct async *a, struct error *e)
{
    int rc = quiet_thread(&a->thread, run, a);
    return rc ? error_set(e, FL_IO, "no thread for the client: %s", strerror(rc)) : FL_OK;
}

static void release(struct async *a)
{
    struct async_answer left;
    while (!async_next(a, &left))
        async_release(&left);
    client_free(a->client);
    if (a->wake_fd >= 0)
        close(a->wake_fd);
    if (a->ready_fd >= 0)
        close(a->ready_fd);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

int async_new(struct async **out, const struct pipeline *p, struct error *e)
{
    struct async *a = calloc(1, sizeof *a);
    int rc = FL_OK;
    *out = NULL;
    if (!a)
        return error_set(e, FL_NOMEM, "out of memory");
    pthread_mutex_init(&a->lock, NULL);
    a->ordered.last = &a->ordered.first;
    a->finished.last = &a->finished.first;
    a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    a->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (a->wake_fd < 0 || a->ready_fd < 0)
        rc = error_set(e, FL_IO, "no descriptor for the client: %s", strerror(errno));
    if (rc || (rc = client_new(&a->client, p, e))) {
        release(a);
        return rc;
    }
    a->client->tells_all = true;
    a->first = a->next = a->client->next;
    if ((rc = start(a, e))) {
        release(a);
        return rc;
    }
    *out = a;
    return FL_OK;
}

void async_free(struct async *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_mutex_unlock(&a->lock);
    signal_fd(a->wake_fd);
    pthread_join(a->thread, NULL);
    release(a);
}

/* Takes the request, unless there is no room for it. */
static int order(struct async *a, struct call *c, uint64_t *id, struct error *e)
{
    int rc = FL_OK;
    pthread_mutex_lock(&a->lock);
    if (a->stop) {
        rc = error_set(e, FL_CANCELLED, "the client ends");
    } else if (a->n == ASYNC_MOST) {
        rc = error_set(e, FL_OVERLOADED, "%d requests have no answer yet, or one that was not taken",
                       ASYNC_MOST);
    } else {
        a->n++;
        *id = c->id = a->next++;
        if (!a->ordered.first)
            signal_fd(a->wake_fd);
        calls_add(&a->ordered, c);
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

int async_send(struct async *a, const struct async_request *r, uint64_t *id, struct error *e)
{
    struct call *c = malloc(sizeof *c);
    int rc = c ? FL_OK : error_set(e, FL_NOMEM, "out of memory for a request");
    if (c) {
        c->asked = *r;
        rc = order(a, c, id, e); /* *id is set before the answer can come */
    }
    if (!rc)
        return FL_OK;
    free(c);
    if (r->request.release)
        r->request.release(r->request.input.data, r->request.arg);
    return rc;
}

int async_cancel(struct async *a, uint64_t id)
{
    int rc = FL_OK;
    pthread_mutex_lock(&a->lock);
    if (id - a->first >= a->next - a->first) {
        rc = FL_NOT_FOUND;
    } else if (a->n_cancel == ASYNC_MOST) {
        rc = FL_AGAIN;
    } else {
        a->cancel[a->n_cancel++] = id;
        signal_fd(a->wake_fd);
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

int async_fd(const struct async *a)
{
    return a->ready_fd;
}

int async_next(struct async *a, struct async_answer *out)
{
    struct call *c;
    pthread_mutex_lock(&a->lock);
    if ((c = calls_take(&a->finished))) {
        a->n--;
        if (!a->finished.first)
            clear_fd(a->ready_fd);
    }
    pthread_mutex_unlock(&a->lock);
    if (!c)
        return FL_AGAIN;
    *out = (struct async_answer){.id = c->id, .arg = c->asked.arg, .answer = c->answer, .n = c->n, .held = c};
    out->scores = c->n ? zmq_msg_data(&c->scores) : NULL;
    return FL_OK;
}

void async_release(struct async_answer *answer)
{
    struct call *c = answer->held;
    answer->held = NULL;
    if (!c)
        return;
    zmq_msg_close(&c->scores);
    free(c);
}
