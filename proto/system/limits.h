/* limits.h - what this process may use of its machine, or of its container: files, processors, memory,
 * threads
 *
 * Soft limits are raised to the hard ones. What the pipeline file asks for beyond them is refused before
 * anything starts. Otherwise libraries would abort where they get no descriptor or thread, and a pin to
 * processors that are not there would quietly become another.
 */
#ifndef FREEZELINE_LIMITS_H
#define FREEZELINE_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Raises the number of files that may be open to what is allowed. Call at the start of main. */
void limits_raise(void);

/* "20000 open files, cpus 0-1, 7.8 GB of memory", for a log. Returns buf. */
char *limits_text(char *buf, size_t size);

int64_t limits_files(void);  /* that may be open */
int64_t limits_memory(void); /* bytes: the least of the machine's and its control groups' */
int limits_cpus(void);       /* on which this process may run */

/* Bytes of memory that process `pid` (0: this one) has in use; 0: not known. Allocates nothing. */
uint64_t limits_resident_bytes(uint64_t pid);
/* What this process uses: that; of it memory shared with other processes that is no file's; time of
 * processors since its start. Allocates nothing. */
void limits_use(uint64_t *resident_bytes, uint64_t *shared_bytes, uint64_t *cpu_ms);
/* How long the processors that it may use have idled since the machine started, all together; 0: not known.
 */
uint64_t limits_idle_ns(void);

/* FL_CONFIG: it may not run on each of these processors; the text names the ones that it has. */
int limits_check_cpus(const int *cpu, int n, struct error *e);
/* Lets all threads of this process, and those they make, run on these processors alone. */
int limits_pin(const int *cpu, int n, struct error *e);
/* FL_CONFIG: `what` ("broker.max_memory_mb") is more than there is. */
int limits_check_memory(int64_t bytes, const char *what, struct error *e);
/* FL_CONFIG: fewer than `files` may be open. */
int limits_check_files(int64_t files, struct error *e);
/* FL_CONFIG: `ulimit -v` leaves less address space than the libraries need; they abort when they get none. */
int limits_check_space(struct error *e);
/* Tries to start so many threads at once, and ends them again. FL_UNAVAILABLE: they can't be had. */
int limits_check_threads(int threads, struct error *e);

/* The folder of a line of /proc/self/cgroup, and the file there that bounds memory; false: it bounds none. */
bool limits_cgroup(const char *line, char *folder, size_t size, const char **root, const char **file);

#endif
