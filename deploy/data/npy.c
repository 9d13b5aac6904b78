/* npy.c - header dictionary, mapping, Fortran order */
#include "npy.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NPY_MAX_HEADER 65536

static const struct {
    const char *descr;
    enum tensor_dtype dtype;
} descrs[] = {
    {"|u1", TENSOR_U8},  {"|i1", TENSOR_I8},  {"|b1", TENSOR_BOOL}, {"<u2", TENSOR_U16},
    {"<i2", TENSOR_I16}, {"<u4", TENSOR_U32}, {"<i4", TENSOR_I32},  {"<u8", TENSOR_U64},
    {"<i8", TENSOR_I64}, {"<f2", TENSOR_F16}, {"<f4", TENSOR_F32},  {"<f8", TENSOR_F64},
};
#define N_DESCRS (sizeof descrs / sizeof descrs[0])

/* The text after `'key':` in the header dictionary, blanks skipped; NULL when there is no such key. */
static const char *dictionary_value(const char *header, const char *key)
{
    char quoted[32];
    const char *at;

    snprintf(quoted, sizeof quoted, "'%s'", key);
    at = strstr(header, quoted);
    if (!at)
        return NULL;
    at += strlen(quoted);
    at += strspn(at, " \t");
    if (*at++ != ':')
        return NULL;
    return at + strspn(at, " \t");
}

static int parse_descr(struct tensor *out, const char *header, struct error *e)
{
    const char *at = dictionary_value(header, "descr");

    if (!at || *at != '\'')
        return error_set(e, FL_DTYPE, "its 'descr' is not a plain number type");
    for (size_t i = 0; i < N_DESCRS; i++) {
        if (!strncmp(at + 1, descrs[i].descr, 3) && at[4] == '\'') {
            out->dtype = descrs[i].dtype;
            return FL_OK;
        }
    }
    return error_set(e, FL_DTYPE,
                     "number type '%.*s' is not read (save it little-endian, as float32 for example)",
                     (int)strcspn(at + 1, "'\n") > 16 ? 16 : (int)strcspn(at + 1, "'\n"), at + 1);
}

static int parse_shape(struct tensor *out, const char *header, struct error *e)
{
    const char *at = dictionary_value(header, "shape");

    if (!at || *at++ != '(')
        return error_set(e, FL_CORRUPT, "its header has no 'shape'");
    for (out->rank = 0;;) {
        char *end;
        at += strspn(at, " \t");
        if (*at == ')')
            break;
        if (out->rank == TENSOR_MAX_RANK)
            return error_set(e, FL_SHAPE, "more than %d dimensions", TENSOR_MAX_RANK);
        errno = 0;
        if (!isdigit((unsigned char)*at))
            return error_set(e, FL_CORRUPT, "its 'shape' is not a list of sizes");
        out->dim[out->rank++] = strtoll(at, &end, 10);
        if (errno)
            return error_set(e, FL_CORRUPT, "its 'shape' is out of range");
        at = end + strspn(end, " \tL");
        if (*at == ',')
            at++;
        else if (*at != ')')
            return error_set(e, FL_CORRUPT, "its 'shape' is not a list of sizes");
    }
    if (tensor_count(out) < 0 || tensor_bytes(out) < 0)
        return error_set(e, FL_TOO_LARGE, "its 'shape' is larger than memory can be");
    return FL_OK;
}

int npy_parse(struct tensor *out, bool *fortran, size_t *offset, const void *data, size_t size,
              struct error *e)
{
    const uint8_t *b = data;
    char *header;
    const char *order;
    size_t length, start;
    int rc;

    memset(out, 0, sizeof *out);
    if (size < 12 || memcmp(b, "\x93NUMPY", 6) || b[6] < 1 || b[6] > 3)
        return error_set(e, FL_CORRUPT, "not an .npy file of version 1 to 3");
    start = b[6] == 1 ? 10 : 12;
    length = (size_t)b[8] | (size_t)b[9] << 8;
    if (b[6] > 1)
        length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (length > NPY_MAX_HEADER || start + length > size)
        return error_set(e, FL_CORRUPT, "its header is cut off");
    header = strndup((const char *)b + start, length);
    if (!header)
        return error_set(e, FL_NOMEM, "no memory for its header");
    order = dictionary_value(header, "fortran_order");
    *fortran = order && !strncmp(order, "True", 4);
    *offset = start + length;
    rc = parse_descr(out, header, e);
    if (!rc)
        rc = parse_shape(out, header, e);
    free(header);
    return rc;
}

int npy_map_file(void **base, size_t *bytes, const char *path, struct error *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *base = NULL;
    if (fd < 0)
        return error_set(e, FL_IO, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size == 0) {
        close(fd);
        return error_set(e, FL_CORRUPT, "%s: empty or not a regular file", path);
    }
    *bytes = (size_t)st.st_size;
    *base = mmap(NULL, *bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (*base != MAP_FAILED)
        return FL_OK;
    *base = NULL;
    return error_set(e, FL_IO, "cannot map %s: %s", path, strerror(errno));
}

/* Maps, parses and checks that the data is all there. */
int npy_map_open(struct npy_map *m, const char *path, struct error *e)
{
    size_t offset = 0;
    int rc;

    memset(m, 0, sizeof *m);
    if ((rc = npy_map_file(&m->base, &m->bytes, path, e)))
        return rc;
    if ((rc = npy_parse(&m->tensor, &m->fortran, &offset, m->base, m->bytes, e))) {
        error_wrap(e, FL_CORRUPT, "%s", path);
        goto fail;
    }
    if ((size_t)tensor_bytes(&m->tensor) > m->bytes - offset) {
        rc = error_set(e, FL_CORRUPT, "%s: cut off: its shape needs %lld bytes of data, there are %zu", path,
                       (long long)tensor_bytes(&m->tensor), m->bytes - offset);
        goto fail;
    }
    m->tensor.data = (char *)m->base + offset;
    return FL_OK;
fail:
    npy_map_close(m);
    return rc;
}

void npy_map_close(struct npy_map *m)
{
    if (m->base)
        munmap(m->base, m->bytes);
    memset(m, 0, sizeof *m);
}

/* Fortran order has the first dimension fastest: walks the output in C order and keeps the input's offset. */
static void copy_fortran(struct tensor *out, const void *from)
{
    int64_t index[TENSOR_MAX_RANK] = {0}, stride[TENSOR_MAX_RANK] = {0}, count = tensor_count(out), at = 0,
            step = 1;
    size_t size = tensor_dtype_bytes(out->dtype);

    for (int d = 0; d < out->rank; d++) {
        stride[d] = step;
        step *= out->dim[d];
    }
    for (int64_t i = 0; i < count; i++) {
        memcpy((char *)out->data + (size_t)i * size, (const char *)from + (size_t)at * size, size);
        for (int d = out->rank - 1; d >= 0; d--) {
            at += stride[d];
            if (++index[d] < out->dim[d])
                break;
            at -= stride[d] * out->dim[d];
            index[d] = 0;
        }
    }
}

int npy_read(struct tensor *out, const char *path, struct error *e)
{
    struct npy_map m;
    int rc = npy_map_open(&m, path, e);

    memset(out, 0, sizeof *out);
    if (rc)
        return rc;
    *out = m.tensor;
    if (tensor_alloc(out))
        rc = error_set(e, FL_NOMEM, "no memory for %s", path);
    else if (m.fortran)
        copy_fortran(out, m.tensor.data);
    else
        memcpy(out->data, m.tensor.data, (size_t)tensor_bytes(out));
    npy_map_close(&m);
    return rc;
}

static const char *descr_of(enum tensor_dtype dtype)
{
    for (size_t i = 0; i < N_DESCRS; i++)
        if (descrs[i].dtype == dtype)
            return descrs[i].descr;
    return NULL;
}

int npy_write(const struct tensor *t, const char *path, struct error *e)
{
    const char *descr = descr_of(t->dtype);
    char header[512], prefix[10] = "\x93NUMPY\x01";
    int n, rc = FL_OK;
    FILE *f;

    if (!descr || tensor_bytes(t) < 0)
        return error_set(e, FL_DTYPE, "%s: %s cannot be written as .npy", path, tensor_dtype_name(t->dtype));
    n = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int d = 0; d < t->rank; d++)
        n += snprintf(header + n, sizeof header - (size_t)n, "%lld, ", (long long)t->dim[d]);
    n += snprintf(header + n, sizeof header - (size_t)n, "), }");
    while ((n + 11) % 64)
        header[n++] = ' ';
    header[n++] = '\n';
    prefix[8] = (char)(n & 255);
    prefix[9] = (char)(n >> 8);
    f = fopen(path, "wbe");
    if (!f)
        return error_set(e, FL_IO, "cannot create %s: %s", path, strerror(errno));
    if (fwrite(prefix, 1, 10, f) != 10 || fwrite(header, 1, (size_t)n, f) != (size_t)n ||
        fwrite(t->data, 1, (size_t)tensor_bytes(t), f) != (size_t)tensor_bytes(t))
        rc = error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno));
    if (fclose(f) && !rc)
        rc = error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno));
    return rc;
}
