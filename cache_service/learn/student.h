/* student.h - what a learner's process does with updates: keeps them, judges candidates by them, has new ones
 * taught, and offers epochs
 *
 * It works while this process holds the lease: then it has the reservoir open (a file lock keeps any other
 * process of this host from it) and a brain (learner_brain.h) that begins from what serves. When the lease is
 * lost, teaching is called off and the reservoir closed; when what serves has become another than what was
 * offered (a new build, a rollback, another learner's epoch), the brain begins again from that.
 *
 * All but student_view runs in the keeper's thread.
 */
#ifndef FREEZELINE_STUDENT_H
#define FREEZELINE_STUDENT_H

#include "cache_service/keep/keeper.h"
#include "learner_brain.h"

struct student;

/* Borrows p. Its files are in STATE/learner. FL_CONFIG, FL_IO, FL_NOMEM. */
int student_new(struct student **out, const struct pipeline *p, struct error *e);
void student_free(struct student *s); /* NULL is fine; after the keeper's */
/* For keeper_new_student; s->arg is the student. */
const struct keeper_student *student_hooks(const struct student *s);
/* Whom to wake when a teaching is over. Before the keeper starts. */
void student_wakes(struct student *s, struct keeper *k);

struct student_view {
    bool works;               /* it is the learner, and all it needs is there */
    struct learner_view view; /* where it works */
    uint64_t serial;          /* of the epoch that serves */
    uint64_t since_ns;        /* .. since then, as far as this process saw */
    uint64_t lag_ms;          /* from the outcome of the newest record to this disk */
    int64_t kept;             /* requests that are there */
    int n_exits;
    float threshold[PIPELINE_MAX_EXITS]; /* infinity: none stands there */
    uint64_t taken, refused;             /* records */
};
/* Any thread. */
struct student_view student_view(struct student *s);

#endif
