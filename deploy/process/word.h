/* word.h - the small files in STATE/run: words that a supervisor leaves for commands that
 * wait, and pid files */
#ifndef FREEZELINE_WORD_H
#define FREEZELINE_WORD_H

#include <stdbool.h>
#include <stddef.h>

#include "config/pipeline.h"
#include "process.h"

/* One line in a file. Best effort: who waits has a time limit. Atomic. */
void word_leave(const struct pipeline *p, const char *name, const char *text);
bool word_read(const struct pipeline *p, const char *name, char *buf, size_t size); /* false: none is there */
bool word_there(const struct pipeline *p, const char *name);
void word_remove(const struct pipeline *p, const char *name);

/* STATE/run/ROLE.pid, as process_save and process_load. */
int pid_file_save(const struct pipeline *p, const char *role, const struct process *process, struct error *e);
int pid_file_load(const struct pipeline *p, const char *role, struct process *out);
void pid_file_remove(const struct pipeline *p, const char *role);

#endif
