/* served.h - what the processes that answer say they serve, beside the pipeline file and the caches on disk
 *
 * The pipeline file, the model and STATE/caches may be newer than the processes that were started from them.
 * What is shown of a running pipeline is theirs; where the files are others, a note says so, and what to run.
 * Pure.
 */
#ifndef FREEZELINE_SERVED_H
#define FREEZELINE_SERVED_H

#include <stdio.h>

#include "deploy/build/promise_record.h"
#include "deploy/model/model_shape.h"
#include "wire/message.h"

/* The pipeline file beside what the stage workers serve. */
enum served_file {
    SERVED_UNKNOWN, /* no stage worker tells, or the file's model cannot be read */
    SERVED_SAME,
    SERVED_OTHER_MODEL,
    SERVED_OTHER_INPUT, /* or precision, or labels */
    SERVED_OTHER_PLAN   /* cuts, exits */
};

enum served_caches {
    SERVED_CACHES_NONE,    /* the service has no caches */
    SERVED_CACHES_COLD,    /* nothing is certified (yet, or any more): it answers nothing, and learns */
    SERVED_CACHES_ANSWER,  /* all that the build made */
    SERVED_CACHES_PART,    /* some of them */
    SERVED_CACHES_FOREIGN, /* of another identity than the stages: as if it had none */
};

struct served_service {
    uint32_t index;
    enum served_caches state;
    struct caches_told told;
};

struct served {
    enum served_file file;
    bool ready;  /* the broker says so */
    bool learns; /* it knows a learner */
    bool stages; /* some stage worker told what it serves: */
    uint8_t model[DIGEST_BYTES], identity[DIGEST_BYTES], plan[DIGEST_BYTES];
    int n_waiting; /* stage workers of another plan, that wait */
    struct served_waiting {
        uint32_t stage, replica;
        uint64_t pid;
    } waiting[PIPELINE_MAX_WORKERS];
    int n_services;
    struct served_service service[PIPELINE_MAX_CACHES];
    struct promise_record answers; /* of the first service that answers; not known: none does */
    struct promise_record built;   /* of STATE/caches */
    bool unserved;                 /* STATE/caches holds a build that some service does not answer from, */
    bool fits;                     /* and which is of the pipeline file's identity */
};

/* Pure. `m` describes the pipeline file (NULL: its model cannot be read); `built` is what lies in
 * STATE/caches. */
void served_take(struct served *out, const struct status_reply *r, const struct model_shape *m,
                 const struct promise_record *built, const struct pipeline *p);

/* Asks the broker and STATE/caches. Errors as client_status. */
int served_ask(struct served *out, const struct pipeline *p, const struct model_shape *m, struct error *e);

#define SERVED_NOTE_BYTES 420
#define SERVED_MAX_NOTES  (PIPELINE_MAX_CACHES + 3)
/* One line for each thing that is not as the files have it, with what to do. Returns how many. */
int served_notes(const struct served *s, const struct pipeline *p,
                 char note[SERVED_MAX_NOTES][SERVED_NOTE_BYTES]);
/* What the caches that answer promise, and the notes, for people. */
void served_print(const struct served *s, const struct pipeline *p, FILE *to);
/* The notes on stderr, and a line where the pipeline file asks for another promise than answers. */
void served_warn(const struct served *s, const struct pipeline *p, const char *command);
/* Where requests go: all brokers by ZeroMQ, then by HTTP. */
json_t *served_addresses(const struct pipeline *p);
/* The same, ready to end a line. */
void served_where(const struct pipeline *p, FILE *to);
/* Adds `promise` and `promise_asked` (of the caches that answer), `serves` (file, identity, plan, build) and
 * `notes` to a report. */
void served_report(const struct served *s, const struct pipeline *p, json_t *root);

#endif
