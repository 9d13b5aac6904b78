/* target.h - what a load is sent to: a running pipeline, or the whole model in this process
 *
 * A pipeline answers later, in any order. The whole model is one process, one thread, no messages: the
 * baseline of what a pipeline costs. It computes when its answer is asked for, one request after the other.
 * One thread per target.
 */
#ifndef FREEZELINE_TARGET_H
#define FREEZELINE_TARGET_H

#include "wire/message.h"

struct target;

#define TARGET_MOST_CLIENTS 256

/* A running pipeline, asked by 1 to TARGET_MOST_CLIENTS clients in turn, each with a connection of its own;
 * `flags` (job_flags) go with each request. Borrows p. FL_UNAVAILABLE when its broker does not answer. */
int target_pipeline(struct target **out, const struct pipeline *p, uint32_t flags, int clients,
                    struct error *e);
/* The model of p with the threads of its first stage. Errors as graph_load and exec_new. */
int target_whole(struct target **out, const struct pipeline *p, struct error *e);
void target_free(struct target *t);

/* As client_submit and client_receive; ids count up by one per request, whichever client it goes through. */
int target_submit(struct target *t, const struct tensor *input, uint32_t deadline_ms, uint64_t *id,
                  struct error *e);
/* Does not wait for a pipeline: FL_AGAIN when there is nothing (more). */
int target_receive(struct target *t, struct answer *out, struct error *e);
/* As client_fd; -1 of the whole model. */
int target_fd(struct target *t);
/* Has this share of the requests traced from now on (JOB_TRACE), evenly spread. */
void target_trace(struct target *t, double share);
/* From now on requests are frames of this video; 0: of none. */
void target_stream(struct target *t, uint64_t stream);

const struct pipeline *target_of(const struct target *t);
bool target_is_whole(const struct target *t);

#endif
