/* fake_server.h - a server with known behaviour that speaks the broker's client protocol, in a thread
 *
 * Serves one request after the other, each for `service_ns`. The label that it answers is the input's first
 * number. Sleeps until the next answer is due; the socket wakes it.
 */
#ifndef FREEZELINE_FAKE_SERVER_H
#define FREEZELINE_FAKE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/frames.h"

#define FAKE_QUEUE 8192
#define FAKE_PEERS 16

struct fake_behaviour {
    uint64_t service_ns;
    int64_t stall_at; /* before this request (from 1) the server stands still .. */
    uint64_t stall_ns;
    int64_t silent_from; /* requests from this one on are never answered; 0: none */
    int64_t error_every; /* each so-many-th is answered FL_OVERLOADED; 0: none */
    int64_t exit_every;  /* each so-many-th is answered by exit 1; 0: none */
    int64_t garbage_every;
    struct answer like; /* durations of answers */
};

struct fake_server {
    struct fake_behaviour does;
    char folder[64], endpoint[128];
    void *context, *socket;
    pthread_t thread;
    atomic_bool end;
    _Atomic int64_t seen, asked;  /* requests, and questions for its status */
    _Atomic int64_t silent_from;  /* as in `does`; may be set while it runs */
    _Atomic int64_t cancelled;    /* requests that were; they are answered all the same */
    _Atomic uint64_t incarnation; /* of a worker that it says to have: this process; 0: none */
    atomic_int plan;              /* the first byte of its plan */
    int n_peers;                  /* different ones that sent requests, FAKE_PEERS at most */
    struct peer known[FAKE_PEERS];
    uint64_t free_ns; /* when the server is done with what it has */
    int first, n;
    struct fake_pending {
        struct peer peer;
        uint64_t id, due_ns;
        int64_t number;
        int32_t label;
    } pending[FAKE_QUEUE];
    struct message message;
};

static void fake_status(struct fake_server *s)
{
    struct status_reply *r = &s->message.status_reply;

    memset(&s->message, 0, sizeof s->message);
    s->message.type = MESSAGE_STATUS_REPLY;
    r->ready = true;
    r->started_ns = 1;
    if (s->incarnation) {
        r->n_processes = 1;
        r->process[0] = (struct process_status){
            .role = ROLE_STAGE, .pid = (uint64_t)getpid(), .incarnation = s->incarnation};
        r->process[0].plan[0] = (uint8_t)s->plan;
        strcpy(r->process[0].state, "ready");
        gethostname(r->process[0].host, sizeof r->process[0].host - 1);
    }
    s->asked++;
}

static void fake_meet(struct fake_server *s, const struct peer *peer)
{
    for (int i = 0; i < s->n_peers; i++)
        if (s->known[i].size == peer->size && !memcmp(s->known[i].id, peer->id, peer->size))
            return;
    if (s->n_peers < FAKE_PEERS)
        s->known[s->n_peers++] = *peer;
}

static void fake_take(struct fake_server *s, const struct peer *peer, zmq_msg_t *payload)
{
    struct fake_pending *p = &s->pending[(s->first + s->n) % FAKE_QUEUE];
    uint64_t now = clock_ns();

    if (s->message.type == MESSAGE_STATUS) {
        fake_status(s);
        frames_send(s->socket, peer, &s->message, NULL);
        return;
    }
    if (s->message.type == MESSAGE_CANCEL)
        s->cancelled += s->message.cancel.n;
    if (s->message.type != MESSAGE_REQUEST || s->n == FAKE_QUEUE)
        return;
    fake_meet(s, peer);
    p->peer = *peer;
    p->id = s->message.request.id;
    p->number = ++s->seen;
    p->label = (int32_t) * (float *)zmq_msg_data(payload);
    if (s->silent_from && p->number >= s->silent_from)
        return;
    if (p->number == s->does.stall_at)
        s->free_ns = now + s->does.stall_ns;
    s->free_ns = (s->free_ns > now ? s->free_ns : now) + s->does.service_ns;
    p->due_ns = s->free_ns;
    s->n++;
}

static void fake_answer(struct fake_server *s, const struct fake_pending *p)
{
    const struct fake_behaviour *does = &s->does;

    if (does->garbage_every && p->number % does->garbage_every == 0) {
        zmq_send(s->socket, p->peer.id, p->peer.size, ZMQ_SNDMORE);
        zmq_send(s->socket, "garbage", 7, 0);
    }
    memset(&s->message, 0, sizeof s->message);
    s->message.type = MESSAGE_ANSWER;
    s->message.answer = does->like;
    s->message.answer.id = p->id;
    s->message.answer.label = p->label;
    s->message.answer.attempts = 1;
    s->message.answer.exit = does->exit_every && p->number % does->exit_every == 0 ? 1 : -1;
    if (does->error_every && p->number % does->error_every == 0)
        s->message.answer.error = FL_OVERLOADED;
    frames_send(s->socket, &p->peer, &s->message, NULL);
}

static void *fake_run(void *arg)
{
    struct fake_server *s = arg;
    zmq_pollitem_t item = {.socket = s->socket, .events = ZMQ_POLLIN};
    struct peer peer;
    zmq_msg_t payload;
    struct error e;

    zmq_msg_init(&payload);
    while (!s->end) {
        uint64_t now = clock_ns();
        long wait_ms = 10;
        if (s->n)
            wait_ms = s->pending[s->first].due_ns > now
                          ? (long)((s->pending[s->first].due_ns - now + NS_PER_MS - 1) / NS_PER_MS)
                          : 0;
        zmq_poll(&item, 1, wait_ms < 10 ? wait_ms : 10);
        while (!frames_recv(s->socket, &peer, &s->message, &payload, &e))
            fake_take(s, &peer, &payload);
        for (now = clock_ns(); s->n && s->pending[s->first].due_ns <= now; s->n--) {
            fake_answer(s, &s->pending[s->first]);
            s->first = (s->first + 1) % FAKE_QUEUE;
        }
    }
    zmq_msg_close(&payload);
    return NULL;
}

/* Zero when it runs. Its folder is the caller's too; fake_stop removes it. */
static int fake_start(struct fake_server *s, const struct fake_behaviour *does)
{
    struct socket_options o = {.mandatory = true, .high_water = FAKE_QUEUE};
    struct error e;

    memset(s, 0, sizeof *s);
    s->does = *does;
    s->silent_from = does->silent_from;
    strcpy(s->folder, "/tmp/freezeline-fake-XXXXXX");
    if (!mkdtemp(s->folder))
        return 1;
    snprintf(s->endpoint, sizeof s->endpoint, "ipc://%s/requests", s->folder);
    s->context = zmq_ctx_new();
    if (frames_socket(&s->socket, s->context, ZMQ_ROUTER, FRAMES_BIND, s->endpoint, &o, NULL, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    return pthread_create(&s->thread, NULL, fake_run, s);
}

static void fake_stop(struct fake_server *s)
{
    char path[128];

    s->end = true;
    pthread_join(s->thread, NULL);
    zmq_close(s->socket);
    zmq_ctx_term(s->context);
    snprintf(path, sizeof path, "%s/requests", s->folder);
    unlink(path);
    rmdir(s->folder);
}

#endif
