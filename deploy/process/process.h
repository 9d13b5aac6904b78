/* process.h - processes of this host, known by pid and start time so that a pid used again is never taken for
 * the old process
 *
 * A pid means something only where it was given: in one pid namespace of one boot of one machine, its
 * `space`. A process of another space (another container, another host that shares the folder) can neither be
 * looked at nor signalled from here; whether it lives is told by what it holds (claim.h). */
#ifndef FREEZELINE_PROCESS_H
#define FREEZELINE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

#define PROCESS_HOST_BYTES 65

struct process {
    pid_t pid;
    uint64_t start; /* in clock ticks after boot, as the kernel tells */
    uint64_t space; /* 0: not known, taken for ours */
    char host[PROCESS_HOST_BYTES];
};

#define PROCESS_SELF_BYTES 1024

/* The path of this very program. FL_IO. */
int process_self(char path[PROCESS_SELF_BYTES], struct error *e);
/* The running process of that pid; false when there is none (a zombie counts as none). */
bool process_find(struct process *out, pid_t pid);
/* Its user and system time; false when there is no such process here. */
bool process_cpu_s(pid_t pid, double *seconds);
/* Of these its main thread's alone, us, as the scheduler counts; kernels that do not count give 0. */
double process_main_us(pid_t pid);
/* False when it is gone, and when it is of another space. */
bool process_alive(const struct process *p);
/* Is it of the space that this process is in? */
bool process_visible(const struct process *p);
/* Signals exactly this process. False when it is gone, or is another user's. */
bool process_signal(const struct process *p, int signal);
/* Waits until it is gone, up to timeout_ms. True when it is. */
bool process_wait_gone(const struct process *p, int timeout_ms);
/* A pidfd, readable when it has ended, also where it is nobody's child here; -1: it is gone. */
int process_watch(const struct process *p);
/* SIGTERM, wait, SIGKILL, wait. */
void process_end(const struct process *p, int timeout_ms);

/* Pid files: "PID START SPACE HOST\n", written atomically. FL_NOT_FOUND when there is none or it is not
 * understood. */
int process_save(const struct process *p, const char *path, struct error *e);
int process_load(struct process *out, const char *path);

#define PROCESS_INHERITED_FD 3

/* Starts argv[0] (looked up in PATH when it has no '/') in a session of its own, stdin from /dev/null, stdout
 * and stderr appended to `log`, and `inherit` (-1: nothing) as descriptor 3. FL_NOT_FOUND when there is no
 * such program. */
int process_spawn(struct process *out, char *const *argv, const char *log, int inherit, struct error *e);

#endif
