/* http_asker.c - questions and replies under one lock; asking itself is without */
#include "http_asker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/client.h"
#include "system/quiet_thread.h"

#define WAIT_MS 1000 /* for a reply */

struct http_asker {
    const struct pipeline *pipeline;
    struct client *own, *all; /* of this broker; of all, whose labels these may be: made when first needed */
    int fd;
    bool started;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    /* under the lock: */
    bool stop;
    bool asked[HTTP_QUESTIONS]; /* to be asked, or being asked */
    bool came[HTTP_QUESTIONS], answered[HTTP_QUESTIONS];
    struct status_reply status;
    struct times times;
    struct http_labels *tell, *told; /* lists */
    /* the thread's: */
    struct status_reply new_status;
    struct times new_times;
};

static void ask(struct http_asker *a, enum http_question q)
{
    bool ok = q == ASK_STATUS ? client_status(a->own, WAIT_MS, &a->new_status, NULL) == FL_OK
                              : client_times(a->own, WAIT_MS, &a->new_times, NULL) == FL_OK;
    pthread_mutex_lock(&a->lock);
    if (ok && q == ASK_STATUS)
        a->status = a->new_status;
    else if (ok)
        a->times = a->new_times;
    a->asked[q] = false;
    a->came[q] = true;
    a->answered[q] = ok;
    pthread_mutex_unlock(&a->lock);
}

/* Each label goes to the broker that gave the answer. */
static void tell(struct http_asker *a, struct http_labels *labels)
{
    struct client *to = a->own;
    labels->rc = FL_OK;
    if (pipeline_brokers(a->pipeline) > 1) {
        if (!a->all)
            labels->rc = client_new(&a->all, a->pipeline, &labels->error);
        to = a->all;
    }
    if (!labels->rc)
        labels->rc = client_feedback(to, labels->item, labels->n, WAIT_MS, &labels->reply, &labels->error);
    pthread_mutex_lock(&a->lock);
    labels->next = a->told;
    a->told = labels;
    pthread_mutex_unlock(&a->lock);
}

/* The next thing to do, with the lock held: a question, or labels; false: stop. */
static bool next(struct http_asker *a, struct http_labels **labels, enum http_question *q)
{
    for (;;) {
        if (a->stop)
            return false;
        *labels = NULL;
        for (*q = ASK_STATUS; *q < HTTP_QUESTIONS; ++*q)
            if (a->asked[*q])
                return true;
        if ((*labels = a->tell)) {
            a->tell = (*labels)->next;
            return true;
        }
        pthread_cond_wait(&a->wanted, &a->lock);
    }
}

static void *run(void *arg)
{
    struct http_asker *a = arg;
    struct http_labels *labels;
    enum http_question q;

    pthread_mutex_lock(&a->lock);
    while (next(a, &labels, &q)) {
        pthread_mutex_unlock(&a->lock);
        if (labels)
            tell(a, labels);
        else
            ask(a, q);
        eventfd_write(a->fd, 1);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

int http_asker_new(struct http_asker **out, const struct pipeline *p, struct error *e)
{
    struct http_asker *a = calloc(1, sizeof *a);
    int rc;

    *out = NULL;
    if (!a)
        return error_set(e, FL_NOMEM, "out of memory");
    a->pipeline = p;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->wanted, NULL);
    if ((a->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        rc = error_set(e, FL_IO, "no descriptor for HTTP: %s", strerror(errno));
    else
        rc = client_new_of(&a->own, p, p->broker.index, e);
    if (!rc) {
        if (!(a->started = !(rc = quiet_thread(&a->thread, run, a))))
            rc = error_set(e, FL_UNAVAILABLE, "HTTP cannot be served: no thread: %s", strerror(rc));
    }
    if (rc) {
        http_asker_free(a);
        return rc;
    }
    *out = a;
    return FL_OK;
}

static void free_list(struct http_labels *l)
{
    for (struct http_labels *next_one; l; l = next_one) {
        next_one = l->next;
        free(l);
    }
}

void http_asker_free(struct http_asker *a)
{
    if (!a)
        return;
    if (a->started) {
        pthread_mutex_lock(&a->lock);
        a->stop = true;
        pthread_cond_signal(&a->wanted);
        pthread_mutex_unlock(&a->lock);
        pthread_join(a->thread, NULL);
    }
    free_list(a->tell);
    free_list(a->told);
    client_free(a->own);
    client_free(a->all);
    if (a->fd >= 0)
        close(a->fd);
    pthread_cond_destroy(&a->wanted);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

int http_asker_fd(const struct http_asker *a)
{
    return a->fd;
}

void http_asker_ask(struct http_asker *a, enum http_question q)
{
    pthread_mutex_lock(&a->lock);
    if (!a->asked[q])
        pthread_cond_signal(&a->wanted);
    a->asked[q] = true;
    pthread_mutex_unlock(&a->lock);
}

void http_asker_tell(struct http_asker *a, struct http_labels *labels)
{
    struct http_labels **at = &a->tell;
    labels->next = NULL;
    pthread_mutex_lock(&a->lock);
    while (*at)
        at = &(*at)->next;
    *at = labels;
    pthread_cond_signal(&a->wanted);
    pthread_mutex_unlock(&a->lock);
}

static bool take(struct http_asker *a, enum http_question q, void *out, const void *from, size_t bytes,
                 bool *answered)
{
    bool came;
    pthread_mutex_lock(&a->lock);
    came = a->came[q];
    if (came) {
        a->came[q] = false;
        *answered = a->answered[q];
        if (*answered)
            memcpy(out, from, bytes);
    }
    pthread_mutex_unlock(&a->lock);
    return came;
}

bool http_asker_status(struct http_asker *a, struct status_reply *out, bool *answered)
{
    return take(a, ASK_STATUS, out, &a->status, sizeof a->status, answered);
}

bool http_asker_times(struct http_asker *a, struct times *out, bool *answered)
{
    return take(a, ASK_TIMES, out, &a->times, sizeof a->times, answered);
}

struct http_labels *http_asker_told(struct http_asker *a)
{
    struct http_labels *told;
    pthread_mutex_lock(&a->lock);
    if ((told = a->told))
        a->told = told->next;
    pthread_mutex_unlock(&a->lock);
    return told;
}
