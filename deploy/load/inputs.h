/* inputs.h - inputs of requests, made ready before they are sent
 *
 * First in, first out: at most 64, and at most 16 MiB (at least 2). Reading, normalising and shifting a
 * picture takes longer than a request may be late.
 */
#ifndef FREEZELINE_INPUTS_H
#define FREEZELINE_INPUTS_H

#include "deploy/data/dataset.h"
#include "traffic.h"

struct inputs;

/* Fills it. Borrows both. FL_NOMEM. */
int inputs_new(struct inputs **out, const struct dataset *d, struct traffic *t, struct error *e);
void inputs_free(struct inputs *in);

/* Makes one more ready; there must be room. */
void inputs_prepare(struct inputs *in);
int inputs_ready(const struct inputs *in);
bool inputs_full(const struct inputs *in);
/* How long making one takes, lately. */
uint64_t inputs_takes_ns(const struct inputs *in);

/* Takes the next one, made now if none is ready: what it shows, and its tensor, which is valid until the next
 * inputs_prepare. */
const struct tensor *inputs_take(struct inputs *in, struct traffic_pick *pick);

#endif
