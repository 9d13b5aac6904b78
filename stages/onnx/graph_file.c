/* graph_file.c - map a model file */
#include "graph_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int map_descriptor(struct file_map *m, int fd, const char *path, int64_t max_bytes, struct error *e)
{
    struct stat st;
    void *p;
    if (fstat(fd, &st))
        return error_set(e, FL_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return error_set(e, FL_IO, "%s: not a regular file", path);
    if (!st.st_size)
        return error_set(e, FL_IO, "%s: the file is empty", path);
    if (st.st_size > max_bytes)
        return error_set(e, FL_TOO_LARGE, "%s: %lld bytes, the limit is %lld", path, (long long)st.st_size,
                         (long long)max_bytes);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return error_set(e, FL_IO, "%s: %s", path, strerror(errno));
    m->bytes = p;
    m->size = (size_t)st.st_size;
    return FL_OK;
}

int file_map_open(struct file_map *m, const char *path, int64_t max_bytes, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), code;
    m->bytes = NULL;
    m->size = 0;
    if (fd < 0)
        return error_set(e, FL_IO, "%s: %s", path, strerror(errno));
    code = map_descriptor(m, fd, path, max_bytes, e);
    close(fd);
    return code;
}

void file_map_close(struct file_map *m)
{
    if (m->bytes)
        munmap((void *)(uintptr_t)m->bytes, m->size);
    m->bytes = NULL;
}
