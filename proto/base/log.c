/* log.c - formatting and writing of log lines; the file that they go to */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "json_text.h"
#include "log_rate.h"

static const char *const level_names[] = {"debug", "info", "warn", "error"};

enum log_level log_threshold = LOG_LEVEL_INFO;
static char log_role[32] = "freezeline";
static bool log_json;

#define LOG_PATH_BYTES 1024

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static struct log_rate rate;
static char log_path[LOG_PATH_BYTES]; /* "": stderr was opened by others, and is not bounded here; does not
                                         change once it is set */
static int64_t log_max_bytes;
static int log_keep;

void log_open(const char *role, const char *level)
{
    snprintf(log_role, sizeof log_role, "%s", role);
    for (int i = 0; i < 4; i++)
        if (level && !strcmp(level, level_names[i]))
            log_threshold = (enum log_level)i;
}

/* Only what is safe in a signal handler. */
static int point_at(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && dup2(fd, STDOUT_FILENO) >= 0 && dup2(fd, STDERR_FILENO) >= 0;

    if (fd > STDERR_FILENO)
        close(fd);
    return ok ? FL_OK : FL_IO;
}

int log_to(const char *path, double max_mb, int keep, struct error *e)
{
    if (strlen(path) >= sizeof log_path - 16)
        return error_set(e, FL_CONFIG, "%.60s...: the log's path is too long", path);
    if (point_at(path))
        return error_set(e, FL_IO, "cannot write the log %s: %s", path, strerror(errno));
    log_max_bytes = (int64_t)(max_mb * 1024 * 1024);
    log_keep = keep;
    strcpy(log_path, path);
    return FL_OK;
}

void log_reopen(void)
{
    int saved = errno;
    if (log_path[0])
        point_at(log_path);
    errno = saved;
}

void log_shift(const char *path, int keep)
{
    char from[LOG_PATH_BYTES + 16], to[LOG_PATH_BYTES + 16];

    if (!keep)
        unlink(path);
    for (int i = keep; i > 0; i--) {
        snprintf(to, sizeof to, "%s.%d", path, i);
        snprintf(from, sizeof from, i > 1 ? "%s.%d" : "%s", path, i - 1);
        rename(from, to); /* none there: nothing to keep */
    }
}

/* When the old file can't be moved it is emptied: the bound holds, its lines are lost. */
static void bound_file(void)
{
    struct stat st;

    if (!log_path[0] || fstat(STDERR_FILENO, &st) || !S_ISREG(st.st_mode))
        return;
    if (st.st_nlink && st.st_size < log_max_bytes)
        return;
    if (st.st_nlink)
        log_shift(log_path, log_keep);
    point_at(log_path);
    if (!fstat(STDERR_FILENO, &st) && st.st_size >= log_max_bytes && ftruncate(STDERR_FILENO, 0))
        return; /* nowhere left to complain */
}

static size_t put_time(char *line, size_t size)
{
    struct timespec now;
    struct tm local;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &now);
    if (log_json)
        gmtime_r(&now.tv_sec, &local);
    else
        localtime_r(&now.tv_sec, &local);
    n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &local);
    n += (size_t)snprintf(line + n, size - n, ".%03ld", now.tv_nsec / 1000000);
    if (log_json) /* for programs: in UTC */
        n += (size_t)snprintf(line + n, size - n, "Z");
    return n;
}

void log_as_json(bool json)
{
    log_json = json;
}

struct line {
    const char *when, *level, *text;
    uint64_t request;
    uint32_t left_out; /* lines like this one, before it */
};

/* Request ids are texts: JSON's numbers have 53 bits. */
static void write_json(const struct line *l)
{
    struct json_text t = {.at = NULL};
    json_text_format(&t, "{\"time\":\"%s\",\"pid\":%d,\"role\":", l->when, (int)getpid());
    json_text_string(&t, log_role);
    json_text_format(&t, ",\"level\":\"%s\"", l->level);
    if (l->request)
        json_text_format(&t, ",\"request\":\"%llu\"", (unsigned long long)l->request);
    json_text_put(&t, ",\"message\":");
    json_text_string(&t, l->text);
    if (l->left_out)
        json_text_format(&t, ",\"left_out\":%u", l->left_out);
    json_text_put(&t, "}\n");
    if (!t.failed && write(STDERR_FILENO, t.at, t.n) < 0)
        errno = 0; /* nowhere left to complain */
    json_text_free(&t);
}

static void write_text(const struct line *l)
{
    char line[1152], id[24] = "", more[64] = "";
    size_t n;
    if (l->request)
        snprintf(id, sizeof id, "#%llu ", (unsigned long long)l->request);
    if (l->left_out)
        snprintf(more, sizeof more, " (%u lines like this were left out before)", l->left_out);
    n = (size_t)snprintf(line, sizeof line, "%s %d %s %s %s%.980s%s\n", l->when, (int)getpid(), log_role,
                         l->level, id, l->text, more);
    if (write(STDERR_FILENO, line, n) < 0)
        errno = 0;
}

void log_line(enum log_level level, uint64_t request, const char *format, ...)
{
    char text[1024], when[40];
    struct line l = {when, level_names[level], text, request, 0};
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put_time(when, sizeof when);
    pthread_mutex_lock(&lock);
    if (level == LOG_LEVEL_DEBUG || log_rate_allows(&rate, text, clock_ns(), &l.left_out)) {
        bound_file();
        (log_json ? write_json : write_text)(&l);
    }
    pthread_mutex_unlock(&lock);
}
