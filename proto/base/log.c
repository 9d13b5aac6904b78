/* log.c - formatting and writing of log lines */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};

enum log_level log_threshold = LOG_LEVEL_INFO;
static char log_role[32] = "freezeline";

void log_open(const char *role, const char *level)
{
    snprintf(log_role, sizeof log_role, "%s", role);
    for (int i = 0; i < 4; i++)
        if (level && !strcmp(level, level_names[i]))
            log_threshold = (enum log_level)i;
}

void log_line(enum log_level level, uint64_t request, const char *format, ...)
{
    char line[1024];
    struct timespec now;
    struct tm local;
    va_list args;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &local);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ld %d %s %s ", now.tv_nsec / 1000000, (int)getpid(),
                          log_role, level_names[level]);
    if (request)
        n += (size_t)snprintf(line + n, sizeof line - n, "#%llu ", (unsigned long long)request);
    va_start(args, format);
    n += (size_t)vsnprintf(line + n, sizeof line - n, format, args);
    va_end(args);
    if (n > sizeof line - 2)
        n = sizeof line - 2;
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, n) < 0)
        return; /* nowhere left to complain */
}
