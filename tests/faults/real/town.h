/* town.h - a whole pipeline of real processes under test: on one host by `freezeline up`, or on three
 *
 * The demo's network in two stages of two replicas each, caches under a promise, Redis and a learner. On one
 * host `up` and its supervisor start and tend everything. On three (crossing.h) each process is started from
 * its role and the pipeline file alone, over tcp, and town_tend starts again what dies, as an init would.
 */
#ifndef FREEZELINE_TEST_TOWN_H
#define FREEZELINE_TEST_TOWN_H

#include "config/pipeline.h"
#include "crossing.h"
#include "deploy/process/process.h"
#include "wire/message.h"

#define TOWN_MOST 24
#define TOWN_PATH 512

struct town_plan {
    const char *bin;    /* where the programs are */
    const char *caches; /* built ones (town_build) */
    const char *model;  /* demo.onnx */
    const char *under;  /* words before `freezeline up`; "": none */
    int disk_mb;        /* size of the disk that it is on; 0: no disk of its own */
    bool full_shm;      /* /dev/shm is its own, and full. Both need a mount namespace of one's own */
    int hosts;          /* 1, or 3 */
    int brokers;        /* 1 or 2; of three hosts two are on the second and the third */
};

struct town_member {
    char name[32]; /* "stage0.1", "supervisor" */
    int host;
    struct process process; /* of three hosts: as it was started last */
    bool started;
    uint64_t again_ns; /* when to start it again */
};

struct town;

/* Builds the caches into `folder`, unless it has those of this program and network. */
int town_build(const char *bin, const char *model, const char *folder, struct error *e);

/* Starts it, waits until it is whole. FL_UNSUPPORTED: three hosts cannot be made here. */
int town_new(struct town **out, const struct town_plan *plan, struct error *e);
/* Stops it; false when something was left that should have ended, or a log has a sanitizer's report. */
bool town_free(struct town *t);

const struct pipeline *town_pipeline(const struct town *t);
const char *town_state(const struct town *t);   /* of host 0 */
struct crossing *town_crossing(struct town *t); /* NULL: one host */

int town_members(struct town *t, struct town_member **out);
/* The living process of a member. */
bool town_find(struct town *t, const char *name, struct process *out);
/* While it is down, nothing is started there; three hosts. */
void town_host_down(struct town *t, int host, bool down);
/* Starts again what died; to be called often. */
void town_tend(struct town *t);
/* Everybody is ready, Redis answers: all that faults may take away is back. `why` (may be NULL) gets what is
 * missing. */
bool town_whole(struct town *t, char *why, size_t size);
/* What the broker says; all zero when it says nothing. */
void town_status(struct town *t, struct status_reply *out);
/* How many lines of this member's logs, be they of before, have both texts. */
int town_said(struct town *t, const char *name, const char *text, const char *and);

/* Resident memory in bytes and open files of a process; 0 when it is gone. */
int64_t town_rss(pid_t pid);
int town_files(pid_t pid);

#endif
