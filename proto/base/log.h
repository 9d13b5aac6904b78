/* log.h - one line per event on stderr: time, process, role, level, request id where there is one
 *
 * Only services and tools log; libraries return errors. The level is tested before anything is formatted.
 * Lines are written with one write(2) each, so processes that share a file do not mix theirs. Lines that
 * repeat are bounded (log_rate.h), but for those of level debug. Any thread.
 */
#ifndef FREEZELINE_LOG_H
#define FREEZELINE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

extern enum log_level log_threshold;

/* `role` ("broker", "stage1.0") is copied; level is "debug", "info", "warn" or "error" (anything else: info).
 */
void log_open(const char *role, const char *level);
/* Lines are JSON objects: time, pid, role, level, request (where there is one), message. */
void log_as_json(bool json);
void log_line(enum log_level level, uint64_t request, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* From here on all that this process writes to stdout and stderr is appended to `path` (absolute). When a
 * line makes it longer than max_mb it becomes PATH.1, what was PATH.1 becomes PATH.2, and so on: `keep` old
 * files stay. */
int log_to(const char *path, double max_mb, int keep, struct error *e);
/* Opens the file of log_to again, which another process has moved away. For signal handlers too. */
void log_reopen(void);
/* PATH becomes PATH.1, and so on; with keep 0 it is removed. */
void log_shift(const char *path, int keep);

#define log_at(level, request, ...)                    \
    do {                                               \
        if ((level) >= log_threshold)                  \
            log_line((level), (request), __VA_ARGS__); \
    } while (0)

#define log_debug(...) log_at(LOG_LEVEL_DEBUG, 0, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, 0, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, 0, __VA_ARGS__)
#define log_error(...) log_at(LOG_LEVEL_ERROR, 0, __VA_ARGS__)

#endif
