/* onnx_tensor.c - TensorProto to tensor and back
 *
 * All that stands in a file is checked before it is believed: dims for overflow, the length of the data
 * against dims. Bytes outside the file are onnx_external.c's.
 */
#include "onnx_tensor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph_file.h"
#include "onnx_proto.h"

static const char *entry(const Onnx__TensorProto *t, const char *key)
{
    for (size_t i = 0; i < t->n_external_data; i++)
        if (t->external_data[i]->key && !strcmp(t->external_data[i]->key, key))
            return t->external_data[i]->value;
    return NULL;
}

static int parse_size(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    *out = text ? strtoll(text, &end, 10) : 0;
    return !text || (!errno && end != text && !*end && *out >= 0) ? FL_OK : FL_MODEL;
}

static int read_external(struct tensor *out, const Onnx__TensorProto *t, struct external_files *files,
                         struct error *e)
{
    int64_t offset, length, bytes = tensor_bytes(out);
    int code;
    if (parse_size(entry(t, "offset"), &offset) || parse_size(entry(t, "length"), &length))
        return error_set(e, FL_MODEL, "external data of tensor '%s' has a wrong offset or length", t->name);
    if (entry(t, "length") && length != bytes)
        return error_set(e, FL_MODEL, "external data of tensor '%s' has %lld bytes, its dims ask for %lld",
                         t->name, (long long)length, (long long)bytes);
    if ((code = external_files_open(files, entry(t, "location"), offset, bytes, e)))
        return error_wrap(e, (enum fl_code)code, "tensor '%s'", t->name);
    if (tensor_alloc(out))
        return error_set(e, FL_NOMEM, "out of memory for tensor '%s' of %lld bytes", t->name,
                         (long long)bytes);
    return external_files_read(files, out->data, bytes, offset, e);
}

/* How many elements stand in the typed field that carries this dtype. */
static size_t typed_count(const Onnx__TensorProto *t, enum tensor_dtype dtype)
{
    switch (dtype) {
    case TENSOR_F32:
        return t->n_float_data;
    case TENSOR_F64:
        return t->n_double_data;
    case TENSOR_I64:
        return t->n_int64_data;
    case TENSOR_U32:
    case TENSOR_U64:
        return t->n_uint64_data;
    default:
        return t->n_int32_data;
    }
}

static void copy_typed(struct tensor *out, const Onnx__TensorProto *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        switch (out->dtype) {
        case TENSOR_F32:
            ((float *)out->data)[i] = t->float_data[i];
            break;
        case TENSOR_F64:
            ((double *)out->data)[i] = t->double_data[i];
            break;
        case TENSOR_I64:
            ((int64_t *)out->data)[i] = t->int64_data[i];
            break;
        case TENSOR_U64:
            ((uint64_t *)out->data)[i] = t->uint64_data[i];
            break;
        case TENSOR_U32:
            ((uint32_t *)out->data)[i] = (uint32_t)t->uint64_data[i];
            break;
        case TENSOR_I32:
            ((int32_t *)out->data)[i] = t->int32_data[i];
            break;
        case TENSOR_I16:
        case TENSOR_U16:
        case TENSOR_F16:
            ((uint16_t *)out->data)[i] = (uint16_t)t->int32_data[i];
            break;
        default:
            ((uint8_t *)out->data)[i] = (uint8_t)t->int32_data[i];
        }
}

static int convert_shape(struct tensor *out, const Onnx__TensorProto *t, struct error *e)
{
    memset(out, 0, sizeof *out);
    out->dtype = (enum tensor_dtype)t->data_type;
    if (!tensor_dtype_travels(out->dtype))
        return error_set(e, FL_UNSUPPORTED, "tensor '%s' has element type %s (%d), which is not supported",
                         t->name, tensor_dtype_name(out->dtype), (int)t->data_type);
    if (t->n_dims > TENSOR_MAX_RANK)
        return error_set(e, FL_UNSUPPORTED, "tensor '%s' has %zu dims, at most %d are supported", t->name,
                         t->n_dims, TENSOR_MAX_RANK);
    out->rank = (int)t->n_dims;
    for (int i = 0; i < out->rank; i++)
        out->dim[i] = t->dims[i];
    if (tensor_bytes(out) < 0)
        return error_set(e, FL_MODEL, "tensor '%s' has impossible dims", t->name);
    if (t->has_segment)
        return error_set(e, FL_UNSUPPORTED, "tensor '%s' is stored in segments, which is not supported",
                         t->name);
    return FL_OK;
}

int64_t onnx_tensor_outside_bytes(const Onnx__TensorProto *t)
{
    struct tensor shape;

    return t->data_location != 1 || convert_shape(&shape, t, NULL) ? 0 : tensor_bytes(&shape);
}

void onnx_tensor_drop(Onnx__TensorProto *t)
{
    free(t->raw_data.data);
    t->raw_data.data = NULL;
    t->raw_data.len = 0;
}

int onnx_tensor_convert(struct tensor *out, Onnx__TensorProto *t, struct external_files *files,
                        struct error *e)
{
    int64_t bytes, count;
    size_t typed;
    int code;
    if (!t->name && !(t->name = strdup("")))
        return error_set(e, FL_NOMEM, "out of memory");
    if ((code = convert_shape(out, t, e)))
        return code;
    bytes = tensor_bytes(out);
    count = tensor_count(out);
    if (t->data_location == 1)
        return read_external(out, t, files, e);
    typed = typed_count(t, out->dtype);
    if (t->raw_data.len && (int64_t)t->raw_data.len != bytes)
        return error_set(e, FL_MODEL, "tensor '%s' has %zu bytes of data, its dims ask for %lld", t->name,
                         t->raw_data.len, (long long)bytes);
    if (!t->raw_data.len && (int64_t)typed != count)
        return error_set(e, FL_MODEL, "tensor '%s' has %zu elements of data, its dims ask for %lld", t->name,
                         typed, (long long)count);
    if (tensor_alloc(out))
        return error_set(e, FL_NOMEM, "out of memory for tensor '%s' of %lld bytes", t->name,
                         (long long)bytes);
    if (t->raw_data.len)
        memcpy(out->data, t->raw_data.data, t->raw_data.len);
    else
        copy_typed(out, t, typed);
    return FL_OK;
}

#define TENSOR_FILE_MAX ((int64_t)4 << 30)

int onnx_tensor_read(struct tensor *out, const char *path, struct error *e)
{
    struct file_map map;
    Onnx__TensorProto *t;
    int code = file_map_open(&map, path, TENSOR_FILE_MAX, e);
    memset(out, 0, sizeof *out);
    if (code)
        return code;
    t = onnx__tensor_proto__unpack(NULL, map.size, map.bytes);
    file_map_close(&map);
    if (!t)
        return error_set(e, FL_CORRUPT, "%s: not an ONNX tensor (TensorProto) or cut short", path);
    code = onnx_tensor_convert(out, t, NULL, e);
    onnx__tensor_proto__free_unpacked(t, NULL);
    if (code) {
        tensor_release(out);
        error_wrap(e, (enum fl_code)code, "%s", path);
        code = code == FL_UNSUPPORTED ? FL_DTYPE : code == FL_MODEL ? FL_CORRUPT : code;
        if (e)
            e->code = (enum fl_code)code;
    }
    return code;
}

static int write_all(const char *path, const uint8_t *bytes, size_t size, struct error *e)
{
    FILE *f = fopen(path, "wb");
    bool good = f && fwrite(bytes, 1, size, f) == size;
    if (f && fclose(f))
        good = false;
    return good ? FL_OK : error_set(e, FL_IO, "%s: cannot be written: %s", path, strerror(errno));
}

int onnx_tensor_write(const struct tensor *t, const char *name, const char *path, struct error *e)
{
    Onnx__TensorProto p = ONNX__TENSOR_PROTO__INIT;
    int64_t bytes = tensor_bytes(t), dims[TENSOR_MAX_RANK];
    uint8_t *packed;
    int code;
    if (bytes < 0 || !tensor_dtype_travels(t->dtype))
        return error_set(e, FL_SHAPE, "%s: a tensor without a shape cannot be written", path);
    memcpy(dims, t->dim, sizeof dims);
    p.n_dims = (size_t)t->rank;
    p.dims = dims;
    p.has_data_type = 1;
    p.data_type = (int)t->dtype;
    p.name = (char *)(uintptr_t)name;
    p.has_raw_data = 1;
    p.raw_data.data = t->data;
    p.raw_data.len = (size_t)bytes;
    packed = malloc(onnx__tensor_proto__get_packed_size(&p) + 1);
    if (!packed)
        return error_set(e, FL_NOMEM, "out of memory");
    code = write_all(path, packed, onnx__tensor_proto__pack(&p, packed), e);
    free(packed);
    return code;
}
