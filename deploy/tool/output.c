/* output.c - a new file beside the old one, which it replaces */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

static int failed(const char *path, struct error *e)
{
    return error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno ? errno : EIO));
}

static bool written_straight(const char *path)
{
    struct stat st;

    return !lstat(path, &st) && !S_ISREG(st.st_mode);
}

/* The file to write: `path` itself, or the new one beside it. */
static int target_of(char to[PATH_BYTES], const char *path, struct error *e)
{
    if (snprintf(to, PATH_BYTES, "%s%s", path, written_straight(path) ? "" : ".new") >= PATH_BYTES)
        return error_set(e, FL_IO, "the name %.60s... is too long", path);
    return FL_OK;
}

/* What was written is on the disk when this returns true; pipes and terminals have none. */
static bool settle(FILE *f)
{
    return !ferror(f) && !fflush(f) && (!fsync(fileno(f)) || errno == EINVAL);
}

int output_write(const char *path, int (*write)(FILE *to, const void *arg, struct error *e), const void *arg,
                 struct error *e)
{
    bool straight = written_straight(path);
    char to[PATH_BYTES];
    FILE *f;
    int rc = target_of(to, path, e);

    if (rc)
        return rc;
    if (!(f = fopen(to, "we")))
        return failed(path, e);
    errno = 0;
    rc = write(f, arg, e);
    if (!settle(f))
        rc = failed(path, e);
    if ((fclose(f) || (!rc && !straight && rename(to, path))) && !rc)
        rc = failed(path, e);
    if (rc && !straight)
        unlink(to);
    return rc;
}

struct json_output {
    const json_t *root;
    int digits;
};

static int write_json(FILE *to, const void *arg, struct error *e)
{
    const struct json_output *o = arg;

    if (!json_dumpf(o->root, to, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(o->digits)))
        return FL_OK;
    return error_set(e, FL_NOMEM, "no memory to write JSON");
}

int output_json(const json_t *root, int digits, const char *path, struct error *e)
{
    const struct json_output o = {root, digits};

    return root ? output_write(path, write_json, &o, e) : error_set(e, FL_NOMEM, "no memory for %s", path);
}

/* Opens path[i], or the new file beside it, and compares it with those before. */
static int try_one(const char *const *path, int i, struct stat *st, struct error *e)
{
    bool straight = written_straight(path[i]);
    char to[PATH_BYTES];
    int fd, rc = target_of(to, path[i], e);

    if (rc)
        return rc;
    fd = open(to, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_CREAT, 0666);
    if (fd < 0 && straight && errno == ENXIO)
        return FL_OK; /* a pipe that nobody reads yet */
    if (fd < 0 || fstat(fd, &st[i]))
        rc = failed(path[i], e);
    for (int k = 0; k < i && !rc && !straight; k++)
        if (path[k] && st[k].st_ino == st[i].st_ino && st[k].st_dev == st[i].st_dev)
            rc = error_set(e, FL_USAGE, "%s was given for two files: the second would replace the first",
                           path[i]);
    if (fd >= 0)
        close(fd);
    return rc;
}

int output_check(const char *const *path, int n, struct error *e)
{
    struct stat st[OUTPUT_MOST] = {0};
    char to[PATH_BYTES];
    int rc = FL_OK, tried;

    for (tried = 0; tried < n && tried < OUTPUT_MOST && !rc; tried++)
        if (path[tried])
            rc = try_one(path, tried, st, e);
    for (int i = 0; i < tried; i++)
        if (path[i] && !written_straight(path[i]) && !target_of(to, path[i], NULL))
            unlink(to);
    return rc;
}
