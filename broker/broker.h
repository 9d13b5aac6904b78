/* broker.h - the broker as a process: its sockets and its loop
 *
 * One thread owns all sockets. Garbage on any of them is counted, logged at a bounded rate and otherwise
 * ignored; a client whose request could be decoded gets an error answer.
 */
#ifndef FREEZELINE_BROKER_H
#define FREEZELINE_BROKER_H

#include "config/pipeline.h"

struct broker;
struct settings;

/* Broker `index` of the pipeline (pipeline_be_broker): binds the three front doors and connects to every
 * replica of stage 0. Borrows `p`, and what is changed while it serves, for its life. FL_CONFIG, FL_IO,
 * FL_NOMEM. */
int broker_new(struct broker **out, const struct pipeline *p, int index, struct settings *settings,
               struct error *e);
void broker_free(struct broker *b); /* answers what is left with FL_UNAVAILABLE, then closes */

/* Logs the ready line, serves until *stop becomes non-zero (set from a signal handler). */
void broker_run(struct broker *b, const volatile int *stop);

#endif
