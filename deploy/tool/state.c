/* state.c - paths, directories and the lock of a state directory */
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int state_path(char buf[STATE_PATH_BYTES], const struct pipeline *p, struct error *e, const char *format, ...)
{
    int n = snprintf(buf, STATE_PATH_BYTES, "%s/", p->state), m;
    va_list args;

    if (n < 0 || n >= STATE_PATH_BYTES)
        return error_set(e, FL_CONFIG, "the path of the state directory is too long");
    va_start(args, format);
    m = vsnprintf(buf + n, STATE_PATH_BYTES - (size_t)n, format, args);
    va_end(args);
    if (m < 0 || n + m >= STATE_PATH_BYTES)
        return error_set(e, FL_CONFIG, "the path of the state directory is too long");
    return FL_OK;
}

static int make(const char *path, mode_t mode, struct error *e)
{
    char part[STATE_PATH_BYTES];
    struct stat st;

    if (strlen(path) >= sizeof part)
        return error_set(e, FL_CONFIG, "%.60s...: path too long", path);
    strcpy(part, path);
    for (char *s = part + 1;; s++) {
        char at = *s;
        if (at && at != '/')
            continue;
        *s = 0;
        if (mkdir(part, mode) && errno != EEXIST)
            return error_set(e, FL_IO, "cannot make directory %s: %s", part, strerror(errno));
        *s = at;
        if (!at)
            break;
    }
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return error_set(e, FL_IO, "%s is not a directory", path);
    return FL_OK;
}

int state_make(const char *path, struct error *e)
{
    return make(path, 0755, e);
}

int state_make_private(const char *path, struct error *e)
{
    return make(path, 0700, e);
}

/* "Permission denied" alone does not help: says to whom the file belongs. */
static int cannot_open(const char *path, struct error *e)
{
    int why = errno;
    struct stat st;
    struct passwd *owner = !stat(path, &st) ? getpwuid(st.st_uid) : NULL;

    if ((why == EACCES || why == EPERM) && owner)
        return error_set(e, FL_IO, "cannot open %s: permission denied: it belongs to %s; run this as %s",
                         path, owner->pw_name, owner->pw_name);
    return error_set(e, FL_IO, "cannot open %s: %s", path, strerror(why));
}

int state_lock(int *fd, const char *path, const char *what, struct error *e)
{
    int rc;

    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*fd < 0)
        return cannot_open(path, e);
    if (!flock(*fd, LOCK_EX | LOCK_NB))
        return FL_OK;
    rc = errno == EWOULDBLOCK
             ? error_set(e, FL_UNAVAILABLE, "%s: another process is at it (it holds %s)", what, path)
             : error_set(e, FL_IO, "cannot lock %s: %s", path, strerror(errno));
    close(*fd);
    *fd = -1;
    return rc;
}
