/* whole_file.c - files that are read and written as a whole */
#include "whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_all(int fd, char *to, size_t most, size_t *got)
{
    for (*got = 0; *got < most;) {
        ssize_t n = read(fd, to + *got, most - *got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        *got += (size_t)n;
    }
    return 0;
}

static int read_open(void **out, size_t *size, int fd, const char *path, uint64_t most, struct error *e)
{
    struct stat st;
    char *data;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return error_set(e, FL_IO, "%s is not a regular file", path);
    if ((uint64_t)st.st_size > most)
        return error_set(e, FL_TOO_LARGE, "%s has %lld bytes, over the limit of %llu bytes", path,
                         (long long)st.st_size, (unsigned long long)most);
    data = malloc((size_t)st.st_size + 1);
    if (!data)
        return error_set(e, FL_NOMEM, "no memory to read %s", path);
    if (read_all(fd, data, (size_t)st.st_size, size)) {
        free(data);
        return error_set(e, FL_IO, "cannot read %s: %s", path, strerror(errno));
    }
    data[*size] = '\0';
    *out = data;
    return FL_OK;
}

int file_read(void **out, size_t *size, const char *path, uint64_t most, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;
    *out = NULL;
    if (fd < 0)
        return error_set(e, errno == ENOENT ? FL_NOT_FOUND : FL_IO, "%s: %s", path, strerror(errno));
    rc = read_open(out, size, fd, path, most, e);
    close(fd);
    return rc;
}

static bool write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

static int replace(const char *path, mode_t mode, const struct file_part *part, int n, struct error *e)
{
    char *temporary;
    bool ok;
    int fd;
    if (asprintf(&temporary, "%s.%ld.part", path, (long)getpid()) < 0)
        return error_set(e, FL_NOMEM, "no memory to write %s", path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    ok = fd >= 0;
    for (int i = 0; i < n && ok; i++)
        ok = write_all(fd, part[i].data, part[i].size);
    ok = ok && !fsync(fd);
    if (fd >= 0 && close(fd))
        ok = false;
    ok = ok && !rename(temporary, path);
    if (!ok) {
        error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno));
        if (fd >= 0)
            unlink(temporary);
    }
    free(temporary);
    return ok ? FL_OK : FL_IO;
}

int file_replace(const char *path, const struct file_part *part, int n, struct error *e)
{
    return replace(path, 0644, part, n, e);
}

int file_replace_private(const char *path, const struct file_part *part, int n, struct error *e)
{
    return replace(path, 0600, part, n, e);
}
