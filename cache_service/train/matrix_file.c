/* matrix_file.c - rows of floats on disk: written append-only, read mapped
 *
 * Layout, little-endian: struct matrix_header (64 bytes), then rows. The number of rows follows from the
 * file's size; a row that was being written when the writer died is cut off by the next one.
 */
#include "matrix_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MATRIX_MAGIC   "FLMATRX"
#define MATRIX_VERSION 1u
#define MATRIX_MAX_DIM (1 << 24)

struct matrix_header {
    char magic[8];
    uint32_t version;
    int32_t dim;
    uint64_t tag; /* of what the rows were made from */
    uint8_t reserved[40];
};
_Static_assert(sizeof(struct matrix_header) == 64, "rows are aligned");

struct matrix_writer {
    int fd, dim;
    char path[4096];
};

static int read_header(int fd, struct matrix_header *h, const char *path, struct error *e)
{
    ssize_t n = pread(fd, h, sizeof *h, 0);
    if (n < 0)
        return error_set(e, FL_IO, "%s: %s", path, strerror(errno));
    if (n != (ssize_t)sizeof *h || memcmp(h->magic, MATRIX_MAGIC, sizeof h->magic) != 0)
        return error_set(e, FL_CORRUPT, "%s holds no rows of descriptors: remove it and build again", path);
    if (h->version != MATRIX_VERSION || h->dim < 1 || h->dim > MATRIX_MAX_DIM)
        return error_set(e, FL_STALE, "%s was written by another version: remove it and build again", path);
    return FL_OK;
}

static int64_t rows_in(off_t size, int dim)
{
    return ((int64_t)size - (int64_t)sizeof(struct matrix_header)) / ((int64_t)dim * (int64_t)sizeof(float));
}

int matrix_open(struct matrix_file *m, const char *path, struct error *e)
{
    struct matrix_header h;
    struct stat st;
    uint8_t *map;
    int rc, fd = open(path, O_RDONLY | O_CLOEXEC);
    memset(m, 0, sizeof *m);
    if (fd < 0)
        return error_set(e, errno == ENOENT ? FL_NOT_FOUND : FL_IO, "%s: %s", path, strerror(errno));
    rc = read_header(fd, &h, path, e);
    if (rc == FL_OK && fstat(fd, &st) != 0)
        rc = error_set(e, FL_IO, "%s: %s", path, strerror(errno));
    if (rc == FL_OK) {
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) {
            rc = error_set(e, FL_IO, "%s cannot be mapped: %s", path, strerror(errno));
        } else {
            m->dim = h.dim;
            m->tag = h.tag;
            m->rows = rows_in(st.st_size, h.dim);
            m->data = (const void *)(map + sizeof h);
            m->mapped_bytes = (size_t)st.st_size;
        }
    }
    close(fd);
    return rc;
}

void matrix_close(struct matrix_file *m)
{
    if (m->data != NULL)
        munmap((void *)((uintptr_t)m->data - sizeof(struct matrix_header)), m->mapped_bytes);
    memset(m, 0, sizeof *m);
}

/* --- writing --- */

static int write_fully(const struct matrix_writer *w, const void *data, size_t size, struct error *e)
{
    const uint8_t *p = data;
    while (size > 0) {
        ssize_t n = write(w->fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(e, FL_IO, "%s: %s", w->path, strerror(errno));
        p += n;
        size -= (size_t)n;
    }
    return FL_OK;
}

static int begin_file(struct matrix_writer *w, uint64_t tag, struct error *e)
{
    struct matrix_header h = {.magic = MATRIX_MAGIC, .version = MATRIX_VERSION, .dim = w->dim, .tag = tag};
    return write_fully(w, &h, sizeof h, e);
}

static int continue_file(struct matrix_writer *w, uint64_t tag, off_t size, int64_t *rows, struct error *e)
{
    struct matrix_header h;
    int rc = read_header(w->fd, &h, w->path, e);
    if (rc != FL_OK)
        return rc;
    if (h.dim != w->dim || h.tag != tag)
        return error_set(e, FL_STALE, "%s was made from another input: remove it to make it again", w->path);
    *rows = rows_in(size, w->dim);
    size = (off_t)sizeof h + (off_t)*rows * w->dim * (off_t)sizeof(float);
    if (ftruncate(w->fd, size) != 0 || lseek(w->fd, size, SEEK_SET) < 0)
        return error_set(e, FL_IO, "%s: %s", w->path, strerror(errno));
    return FL_OK;
}

int matrix_writer_open(struct matrix_writer **out, const char *path, int dim, uint64_t tag, int64_t *rows,
                       struct error *e)
{
    struct matrix_writer *w;
    struct stat st;
    int rc;
    *rows = 0;
    if (dim < 1 || dim > MATRIX_MAX_DIM)
        return error_set(e, FL_SHAPE, "%s: %d is no possible number of features", path, dim);
    w = calloc(1, sizeof *w);
    if (w == NULL)
        return error_set(e, FL_NOMEM, "no memory to write %s", path);
    w->dim = dim;
    w->fd = -1;
    if (strlen(path) >= sizeof w->path) {
        rc = error_set(e, FL_IO, "%.200s...: the path is too long", path);
        goto fail;
    }
    strcpy(w->path, path);
    w->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (w->fd < 0 || fstat(w->fd, &st) != 0) {
        rc = error_set(e, FL_IO, "%s: %s", path, strerror(errno));
        goto fail;
    }
    if (st.st_size > 0 &&
        st.st_size < (off_t)sizeof(struct matrix_header)) { /* died while writing the header */
        if (ftruncate(w->fd, 0) == 0)
            st.st_size = 0;
    }
    rc = st.st_size == 0 ? begin_file(w, tag, e) : continue_file(w, tag, st.st_size, rows, e);
    if (rc != FL_OK)
        goto fail;
    *out = w;
    return FL_OK;
fail:
    if (w->fd >= 0)
        close(w->fd);
    free(w);
    return rc;
}

int matrix_writer_append(struct matrix_writer *w, const float *rows, int n, struct error *e)
{
    return write_fully(w, rows, (size_t)n * (size_t)w->dim * sizeof *rows, e);
}

int matrix_writer_close(struct matrix_writer *w, struct error *e)
{
    int rc = FL_OK;
    if (w == NULL)
        return FL_OK;
    if (fsync(w->fd) != 0)
        rc = error_set(e, FL_IO, "%s: %s", w->path, strerror(errno));
    if (close(w->fd) != 0 && rc == FL_OK)
        rc = error_set(e, FL_IO, "%s: %s", w->path, strerror(errno));
    free(w);
    return rc;
}
