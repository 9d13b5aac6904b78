/* onnx_external.c - find, confine and read the files beside a model */
#include "onnx_external.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Tensors may share bytes of a file, but a small file must not fill the memory with copies of itself. */
#define SHARED_TIMES ((int64_t)4)
#define SHARED_BYTES ((int64_t)64 << 20)

struct file_id {
    dev_t device;
    ino_t number;
};

struct external_files {
    int n_folders; /* [0]: where the model is named, [1]: where the file lies that its name links to */
    char folder[2][PATH_MAX];
    char *location; /* of the open file; NULL: none is open */
    int fd;
    int64_t size;
    struct file_id *seen;
    int n_seen, room;
    int64_t seen_bytes, asked_bytes;
    void (*told)(void *arg, const char *location, const char *path);
    void *arg;
};

/* The folder of a path without links, without the slash behind it. */
static bool folder_of(const char *path, char *out)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int n = slash ? snprintf(folder, sizeof folder, "%.*s", (int)(slash - path) + 1, path)
                  : snprintf(folder, sizeof folder, ".");
    return n < (int)sizeof folder && realpath(folder, out);
}

int external_files_new(struct external_files **out, const char *model_path, struct error *e)
{
    struct external_files *f = calloc(1, sizeof *f);
    char target[PATH_MAX];
    *out = NULL;
    if (!f)
        return error_set(e, FL_NOMEM, "out of memory");
    f->fd = -1;
    if (!folder_of(model_path, f->folder[0]) || !realpath(model_path, target) ||
        !folder_of(target, f->folder[1])) {
        free(f);
        return error_set(e, FL_IO, "the model's folder cannot be resolved: %s", strerror(errno));
    }
    f->n_folders = strcmp(f->folder[0], f->folder[1]) ? 2 : 1;
    *out = f;
    return FL_OK;
}

static void close_file(struct external_files *f)
{
    if (f->fd >= 0)
        close(f->fd);
    free(f->location);
    f->fd = -1;
    f->location = NULL;
}

void external_files_free(struct external_files *f)
{
    if (!f)
        return;
    close_file(f);
    free(f->seen);
    free(f);
}

void external_files_tell(struct external_files *f,
                         void (*told)(void *arg, const char *location, const char *path), void *arg)
{
    f->told = told;
    f->arg = arg;
}

static bool is_plain(const char *location)
{
    if (!location || !*location || *location == '/')
        return false;
    for (const char *at = location; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (!strncmp(at, "..", 2) && (at[2] == '/' || !at[2]))
            return false;
    }
    return true;
}

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return !strncmp(path, folder, n) && (path[n] == '/' || n == 1);
}

/* Where LOCATION is once all links are followed. */
static int resolve(const struct external_files *f, const char *location, char *real, struct error *e)
{
    char joined[PATH_MAX];
    bool found = false;
    for (int i = 0; i < f->n_folders && !found; i++) {
        if (snprintf(joined, sizeof joined, "%s/%s", f->folder[i], location) >= (int)sizeof joined)
            return error_set(e, FL_MODEL, "the location of external data is too long: '%.80s...'", location);
        found = realpath(joined, real) != NULL;
        if (!found && errno != ENOENT)
            break;
    }
    if (!found)
        return error_set(e, FL_IO,
                         "external data file '%s' cannot be read: %s; it belongs beside the model, in %s",
                         location, strerror(errno), f->folder[0]);
    for (int i = 0; i < f->n_folders; i++)
        if (is_below(real, f->folder[i]))
            return FL_OK;
    return error_set(
        e, FL_MODEL,
        "external data '%s' is a link to %s, which lies neither beside the model nor beside the file "
        "that the model's name links to: put the file itself there",
        location, real);
}

/* Counts the size of a file once, however often it is opened. */
static int count_file(struct external_files *f, const struct stat *st, const char *real)
{
    for (int i = 0; i < f->n_seen; i++)
        if (f->seen[i].device == st->st_dev && f->seen[i].number == st->st_ino)
            return FL_OK;
    if (f->n_seen == f->room) {
        int room = f->room ? 2 * f->room : 8;
        struct file_id *seen = realloc(f->seen, (size_t)room * sizeof *seen);
        if (!seen)
            return FL_NOMEM;
        f->seen = seen;
        f->room = room;
    }
    f->seen[f->n_seen++] = (struct file_id){st->st_dev, st->st_ino};
    f->seen_bytes += st->st_size;
    if (f->told)
        f->told(f->arg, f->location, real);
    return FL_OK;
}

static int open_file(struct external_files *f, const char *location, struct error *e)
{
    char real[PATH_MAX];
    struct stat st;
    int code;
    close_file(f);
    if (!is_plain(location))
        return error_set(e, FL_MODEL,
                         "external data at '%s': its location must be a relative path without '..'",
                         location ? location : "");
    if ((code = resolve(f, location, real, e)))
        return code;
    f->fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (f->fd < 0 || fstat(f->fd, &st) || !S_ISREG(st.st_mode))
        return error_set(e, FL_IO, "external data file '%s' cannot be read: %s", location,
                         f->fd < 0 ? strerror(errno) : "not a regular file");
    f->size = st.st_size;
    f->location = strdup(location);
    return !f->location || count_file(f, &st, real) ? error_set(e, FL_NOMEM, "out of memory") : FL_OK;
}

int external_files_open(struct external_files *f, const char *location, int64_t offset, int64_t bytes,
                        struct error *e)
{
    int code;
    if (!f)
        return error_set(e, FL_MODEL, "external data at '%s' is only read for a model that is a file",
                         location ? location : "");
    if ((!f->location || !location || strcmp(f->location, location)) && (code = open_file(f, location, e)))
        return code;
    if (offset < 0 || bytes < 0 || offset > f->size || bytes > f->size - offset)
        return error_set(e, FL_MODEL, "external data file '%s' has %lld bytes, which is too short", location,
                         (long long)f->size);
    f->asked_bytes += bytes;
    if (f->asked_bytes > SHARED_BYTES && (f->asked_bytes - SHARED_BYTES) / SHARED_TIMES > f->seen_bytes)
        return error_set(e, FL_MODEL, "its tensors ask for many times the bytes that its external data has");
    return FL_OK;
}

int external_files_read(struct external_files *f, void *to, int64_t bytes, int64_t offset, struct error *e)
{
    char *p = to;
    while (bytes) {
        ssize_t n = pread(f->fd, p, (size_t)bytes, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(e, FL_IO, "external data file '%s' cannot be read: %s", f->location,
                             n < 0 ? strerror(errno) : "it became shorter");
        p += n;
        offset += n;
        bytes -= n;
    }
    return FL_OK;
}

int64_t external_files_bytes(const struct external_files *f)
{
    return f ? f->seen_bytes : 0;
}
