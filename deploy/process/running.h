/* running.h - the pipeline as it was started
 *
 * `up` leaves its --set arguments in STATE/run/arguments, for as long as the pipeline runs. Commands that ask
 * or stop a running pipeline take them before their own, so that `up --set
 * broker.requests=tcp://127.0.0.1:5555` is found by a plain `status`, `infer`, `down`.
 * Where --set state chose another directory, they are left in the file's own directory as well.
 */
#ifndef FREEZELINE_RUNNING_H
#define FREEZELINE_RUNNING_H

#include "deploy/tool/arguments.h"
#include "wire/message.h"

/* For who holds run/lock (claim.h). */
int running_remember(const struct pipeline *p, const struct pipeline_arguments *a, struct error *e);

/* What its broker says, heard within wait_ms. Errors as client_new and client_status. */
int running_ask(const struct pipeline *p, int wait_ms, struct status_reply *out, struct error *e);

/* arguments_load, with what is remembered of this pipeline file in its state directory. */
int running_load(struct pipeline **out, const struct pipeline_arguments *a, struct error *e);

#endif
