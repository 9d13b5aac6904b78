/* client_inside.h - what the files of the client share; private to this folder */
#ifndef FREEZELINE_CLIENT_INSIDE_H
#define FREEZELINE_CLIENT_INSIDE_H

#include "client.h"
#include "failover.h"
#include "keys/keys.h"
#include "link/link.h"

#define CLIENT_HIGH_WATER 4096

struct client {
    void *context;
    int n_brokers, n_links;
    struct {
        char *requests, *control;
    } broker[PIPELINE_MAX_BROKERS]; /* where they are */
    struct link link[PIPELINE_MAX_BROKERS];
    struct lanes *lanes; /* NULL: switched off */
    struct failover *failover;
    bool met;         /* the first request was sent: until then a broker may just be connecting */
    uint64_t due_ns;  /* when it wants to be called */
    int watch, timer; /* descriptors: of all links; of time */
    bool tells_all;   /* an only broker's silence is an answer, too */
    int taken;        /* broker whose spans are being taken */
    struct security security;
    struct keys *keys;    /* its own; NULL: the process's, or none are needed */
    uint32_t deadline_ms; /* the pipeline's */
    uint64_t next;        /* id */
    int64_t max_bytes;    /* of an input */
    uint64_t clock;       /* which one is this process's */
    struct message message;
    zmq_msg_t payload; /* of the newest answer */
};

/* Fills *e: no reply came in time. Connects once to find out why. FL_UNAVAILABLE. */
int ask_silence_error(struct client *c, const char *endpoint, int timeout_ms, struct error *e);
/* Fills *e: sending failed like this. */
int ask_send_error(const char *endpoint, int rc, struct error *e);

#endif
