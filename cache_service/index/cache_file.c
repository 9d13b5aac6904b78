/* cache_file.c - packed caches as files: written whole or not at all */
#include "cache_body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

int cache_save(const struct cache *c, const char *path, uint64_t *digest, struct error *e)
{
    void *data = NULL;
    size_t size;
    char temporary[4096];
    int fd = -1, rc = cache_pack(c, &data, &size);
    if (rc != FL_OK)
        return error_set(e, rc, "the cache of %s cannot be packed: %s", cache_info(c).exit,
                         error_sentence(rc));
    if (snprintf(temporary, sizeof temporary, "%s.%ld.part", path, (long)getpid()) >= (int)sizeof temporary) {
        free(data);
        return error_set(e, FL_IO, "%.200s...: the path is too long", path);
    }
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write_all(fd, data, size) != 0 || fsync(fd) != 0) {
        rc = error_set(e, FL_IO, "%s: %s", temporary, strerror(errno));
        if (fd >= 0)
            close(fd);
    } else if (close(fd) != 0 || rename(temporary, path) != 0) {
        rc = error_set(e, FL_IO, "%s: %s", path, strerror(errno));
    }
    if (rc != FL_OK && fd >= 0)
        unlink(temporary);
    if (digest)
        *digest = cache_pack_digest(data);
    free(data);
    return rc;
}

int cache_load(struct cache **out, const char *path, const uint8_t *identity, struct error *e)
{
    struct stat st;
    uint8_t *data = NULL;
    size_t got = 0;
    int rc = FL_OK, fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(e, errno == ENOENT ? FL_NOT_FOUND : FL_IO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        rc = error_set(e, FL_IO, "%s is not a regular file", path);
        goto done;
    }
    if ((uint64_t)st.st_size > CACHE_MAX_BYTES) {
        rc = error_set(e, FL_TOO_LARGE, "%s has %lld bytes, a cache has at most %llu", path,
                       (long long)st.st_size, CACHE_MAX_BYTES);
        goto done;
    }
    data = malloc((size_t)st.st_size + 1);
    if (data == NULL) {
        rc = error_set(e, FL_NOMEM, "no memory to read %s", path);
        goto done;
    }
    while (got < (size_t)st.st_size) {
        ssize_t n = read(fd, data + got, (size_t)st.st_size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    rc = cache_unpack(out, data, got, identity, e);
    if (rc != FL_OK)
        error_wrap(e, (enum fl_code)rc, "%s", path);
done:
    free(data);
    close(fd);
    return rc;
}
