/* http_loader.c - see http_loader.h */
#include "http_loader.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "client/client.h"
#include "http_orders.h"
#include "system/quiet_thread.h"

#define MOST      8     /* that wait for their turn */
#define ASK_MS    1000  /* for the broker's reply */
#define LOOK_MS   20    /* between two questions */
#define READY_MS  30000 /* for what the supervisor has started, or what stayed */
#define AUDITS_MS 10000 /* for audits, which run when nothing else does */
#define DEADLINES 10    /* so many times broker.deadline_ms a request may take */

struct http_loader {
    const struct pipeline *pipeline;
    struct settings *settings;
    int wake_fd, stop_fd;
    bool started;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    /* under the lock: */
    bool stop;
    int n; /* in `asked` */
    struct http_loading *asked, *done;
    /* the thread's: */
    struct client *client; /* of this broker */
    struct status_reply status;
};

/* ---- the thread ---- */

static bool is_empty(const struct status_reply *s)
{
    return s->unloaded && !s->in_flight;
}

/* Audits that lose their worker might count as lost. */
static bool is_settled(const struct status_reply *s)
{
    return is_empty(s) && s->audits_drawn == s->audits_done + s->audits_dropped;
}

static bool is_ready(const struct status_reply *s)
{
    return s->ready && !s->unloaded;
}

/* Until the broker says that it is so. FL_DEADLINE: it did not say so in time. */
static int wait_until(struct http_loader *l, bool (*is)(const struct status_reply *s), int64_t ms,
                      struct error *e)
{
    uint64_t until = clock_ns() + (uint64_t)ms * NS_PER_MS;
    int rc = l->client ? FL_OK : client_new_of(&l->client, l->pipeline, l->pipeline->broker.index, e);

    while (!rc && (client_status(l->client, ASK_MS, &l->status, e) || !is(&l->status))) {
        if (clock_ns() > until)
            rc = FL_DEADLINE;
        else if (poll(&(struct pollfd){.fd = l->stop_fd, .events = POLLIN}, 1, LOOK_MS) > 0)
            rc = error_set(e, FL_UNAVAILABLE, "the broker is going away");
    }
    return rc;
}

static int unload(struct http_loader *l, struct error *e)
{
    const struct pipeline *p = l->pipeline;
    struct error why;
    int rc;

    log_info("unload: no more requests are admitted");
    atomic_store(&l->settings->unloaded, true);
    rc = wait_until(l, is_empty, (int64_t)p->broker.deadline_ms * DEADLINES + READY_MS, e);
    if (!rc && (rc = wait_until(l, is_settled, AUDITS_MS, e)) == FL_DEADLINE)
        rc = FL_OK; /* they wait for other workers */
    if (rc)
        return rc == FL_DEADLINE
                   ? error_set(e, FL_UNAVAILABLE, "no more is admitted, but what was has not all ended")
                   : rc;
    if (pipeline_brokers(p) > 1)
        log_info("unload: done; the stage workers stay for the other brokers");
    else if ((rc = http_order(p, "unload", l->stop_fd, &why)))
        log_info("unload: done; the stage workers stay as they are: %s", why.text);
    else
        log_info("unload: done; the stage workers have ended");
    return FL_OK;
}

/* What is wrong with the files is an error of whoever asks, as Triton has it. */
static int shown(int rc)
{
    return rc == FL_UNAVAILABLE || rc == FL_UNSUPPORTED || rc == FL_NOMEM ? rc : FL_VALUE;
}

static int load(struct http_loader *l, struct error *e)
{
    bool unloaded = atomic_load(&l->settings->unloaded);
    struct error why;
    int rc;

    log_info("load: ordered");
    rc = http_order(l->pipeline, "load", l->stop_fd, &why);
    if (rc == FL_NOT_FOUND && unloaded) {
        log_info("load: %s, and the stage workers are as they were", why.text);
        rc = FL_OK;
    } else if (rc == FL_NOT_FOUND) {
        rc = error_set(&why, FL_UNAVAILABLE,
                       "no supervisor of this broker's host tends the pipeline: `freezeline up` starts one; "
                       "where something else runs the stage workers, that has to start them again");
    }
    if (!rc) {
        atomic_store(&l->settings->unloaded, false);
        if ((rc = wait_until(l, is_ready, READY_MS, &why)) == FL_DEADLINE)
            rc = error_set(&why, FL_UNAVAILABLE, "a stage has no ready worker: see `freezeline status`");
    }
    log_info("load: %s", rc ? why.text : "done");
    return rc ? error_set(e, (enum fl_code)shown(rc), "failed to load '%.64s', %.400s", l->pipeline->name,
                          why.text)
              : FL_OK;
}

/* The next one, with the lock held; NULL: stop. */
static struct http_loading *next(struct http_loader *l)
{
    struct http_loading *it;

    while (!l->stop && !l->asked)
        pthread_cond_wait(&l->wanted, &l->lock);
    if (l->stop)
        return NULL;
    it = l->asked;
    l->asked = it->next;
    l->n--;
    return it;
}

static void *run(void *arg)
{
    struct http_loader *l = arg;
    struct http_loading *it;

    pthread_mutex_lock(&l->lock);
    while ((it = next(l))) {
        pthread_mutex_unlock(&l->lock);
        it->rc = it->loads ? load(l, &it->error) : unload(l, &it->error);
        pthread_mutex_lock(&l->lock);
        it->next = l->done;
        l->done = it;
        eventfd_write(l->wake_fd, 1);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- HTTP's side ---- */

int http_loader_new(struct http_loader **out, const struct pipeline *p, struct settings *settings,
                    int wake_fd, struct error *e)
{
    struct http_loader *l = calloc(1, sizeof *l);

    *out = NULL;
    if (!l)
        return error_set(e, FL_NOMEM, "out of memory");
    l->pipeline = p;
    l->settings = settings;
    l->wake_fd = wake_fd;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wanted, NULL);
    if ((l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
        http_loader_free(l);
        return error_set(e, FL_IO, "no descriptor for HTTP: %s", strerror(errno));
    }
    *out = l;
    return FL_OK;
}

static void free_list(struct http_loading *it)
{
    for (struct http_loading *next_one; it; it = next_one) {
        next_one = it->next;
        free(it);
    }
}

void http_loader_free(struct http_loader *l)
{
    if (!l)
        return;
    if (l->started) {
        pthread_mutex_lock(&l->lock);
        l->stop = true;
        pthread_cond_signal(&l->wanted);
        pthread_mutex_unlock(&l->lock);
        eventfd_write(l->stop_fd, 1);
        pthread_join(l->thread, NULL);
    }
    free_list(l->asked);
    free_list(l->done);
    client_free(l->client);
    if (l->stop_fd >= 0)
        close(l->stop_fd);
    pthread_cond_destroy(&l->wanted);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static int start(struct http_loader *l, struct error *e)
{
    int rc = l->started ? 0 : quiet_thread(&l->thread, run, l);

    l->started = !rc;
    return rc ? error_set(e, FL_UNAVAILABLE, "no thread: %s", strerror(rc)) : FL_OK;
}

int http_loader_ask(struct http_loader *l, struct http_loading *what, struct error *e)
{
    struct http_loading **at = &l->asked;
    int rc = start(l, e);

    if (rc)
        return rc;
    what->next = NULL;
    pthread_mutex_lock(&l->lock);
    if (l->n == MOST) {
        rc = error_set(e, FL_OVERLOADED, "%d others wait already to load or unload", MOST);
    } else {
        while (*at)
            at = &(*at)->next;
        *at = what;
        l->n++;
        pthread_cond_signal(&l->wanted);
    }
    pthread_mutex_unlock(&l->lock);
    return rc;
}

struct http_loading *http_loader_done(struct http_loader *l)
{
    struct http_loading *done;

    pthread_mutex_lock(&l->lock);
    if ((done = l->done))
        l->done = done->next;
    pthread_mutex_unlock(&l->lock);
    return done;
}
