/* watch.h - the processes of a pipeline while a load runs: memory, CPU time, energy, what happens to them
 *
 * A thread of its own asks the broker about once a second and reads /proc for processes of this host, so the
 * thread that sends requests is never held up. Everything may be read once watch_stop returned.
 */
#ifndef FREEZELINE_WATCH_H
#define FREEZELINE_WATCH_H

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"
#include "config/pipeline.h"

struct watch;

int watch_start(struct watch **out, const struct pipeline *p, struct error *e);
/* From now on it counts: CPU time, energy, events. Any thread. */
void watch_begin(struct watch *w);
/* The end of what counts. */
void watch_stop(struct watch *w);
void watch_free(struct watch *w); /* stops it too; NULL is fine */

/* [{role, stage, replica, host, pid, resident_bytes, cpu_seconds}]; null where not known. */
json_t *watch_processes(const struct watch *w);
/* [{t, text}], t in seconds after watch_begin. */
json_t *watch_events(const struct watch *w);
/* CPU seconds of all processes; NaN when one is not known (it is on another host). */
double watch_cpu_s(const struct watch *w);
/* The stage workers moved on to another plan while it counted. Also while it runs. */
bool watch_saw_reload(struct watch *w);
/* Joules of this host's packages; NaN when not exposed. */
double watch_joules(const struct watch *w);

#endif
