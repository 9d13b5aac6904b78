/* oip_request.c - names, types and shapes compared with the model's; rows made of numbers or bytes */
#include "oip_request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "json_cut.h"
#include "oip_numbers.h"
#include "oip_tensor.h"
#include "picture/image.h"

#define US_PER_MS 1000

/* One input, as the request announces it. */
struct announced {
    enum tensor_dtype dtype;
    int64_t count;                /* elements of all rows */
    const struct json_span *data; /* NULL: binary */
    const char *binary;
};

/* Some clients write all keys that the protocol has, and null where they mean none. */
static json_t *member(const json_t *of, const char *key)
{
    json_t *value = json_object_get(of, key);
    return json_is_null(value) ? NULL : value;
}

static int64_t row_count(const struct oip_model *m)
{
    return tensor_count(&m->input.tensor);
}

static int read_rows(struct oip_request *out, const struct oip_model *m, int64_t rows, struct error *e)
{
    if (rows < 1 || rows > m->most_rows)
        return error_set(e, rows < 1 ? FL_SHAPE : FL_TOO_LARGE,
                         "a request has 1 to %d rows (broker.max_requests), not %lld", m->most_rows,
                         (long long)rows);
    out->rows = (int)rows;
    out->row_bytes = (size_t)tensor_bytes(&m->input.tensor);
    return FL_OK;
}

/* ---- parameters ---- */

/* A time in microseconds, as the protocol has it. */
static int read_timeout(struct oip_request *out, const json_t *value, struct error *e)
{
    json_int_t us = json_integer_value(value);
    if (!json_is_integer(value) || us < 0)
        return error_set(e, FL_VALUE, "`timeout` is a whole number of microseconds");
    us = us / US_PER_MS + (us % US_PER_MS > 0);
    out->deadline_ms = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
    return FL_OK;
}

static int read_priority(struct oip_request *out, const json_t *value, struct error *e)
{
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 0 || n > REQUEST_PRIORITIES)
        return error_set(e, FL_VALUE, "`priority` is 1 (first) to %d (last); 0 is %d", REQUEST_PRIORITIES,
                         REQUEST_ORDINARY);
    out->priority = (uint32_t)n;
    return FL_OK;
}

/* In points, as the pipeline file has it. */
static int read_loss(struct oip_request *out, const json_t *value, struct error *e)
{
    double points = json_number_value(value);
    if (!json_is_number(value) || !(points >= 0 && points <= 100))
        return error_set(e, FL_VALUE, "`max_accuracy_loss` is a number of points, 0 to 100");
    out->loss_allowed = 1 + (uint32_t)lround(points / 100 * SHARE_PPM);
    return FL_OK;
}

/* NULL: as it was. */
static int read_truth(bool *out, const char *key, const json_t *value, struct error *e)
{
    if (value && !json_is_boolean(value))
        return error_set(e, FL_VALUE, "`%s` is true or false", key);
    if (value)
        *out = json_is_true(value);
    return FL_OK;
}

static int read_name(uint64_t *out, const char *key, const json_t *value, struct error *e)
{
    const char *text = json_string_value(value);
    if (!text)
        return error_set(e, FL_VALUE, "`%s` is a text: a name of the kind of request, or of the video", key);
    *out = XXH3_64bits(text, json_string_length(value)) | 1; /* 0 stands for none */
    return FL_OK;
}

static bool is_set(const json_t *value)
{
    return value && !json_is_false(value) && !(json_is_integer(value) && !json_integer_value(value));
}

/* Those that would change what an answer is, and that nothing here can heed. */
static int refuse_unknown_wishes(const json_t *p, struct error *e)
{
    static const char *const wish[] = {"sequence_id", "shared_memory_region"};
    for (size_t i = 0; i < sizeof wish / sizeof *wish; i++)
        if (is_set(member(p, wish[i])))
            return error_set(e, FL_UNSUPPORTED, "the parameter `%s` is not supported here", wish[i]);
    return FL_OK;
}

static int check_parameters(const json_t *of, struct error *e)
{
    const json_t *p = member(of, "parameters");
    if (p && !json_is_object(p))
        return error_set(e, FL_PROTOCOL, "`parameters` is no object");
    return refuse_unknown_wishes(p, e);
}

static int read_parameters(struct oip_request *out, const json_t *root, struct error *e)
{
    const json_t *p = member(root, "parameters"), *value;
    bool exits = true;
    int rc = check_parameters(root, e);
    if (!rc && (value = member(p, "timeout")))
        rc = read_timeout(out, value, e);
    if (!rc && (value = member(p, "priority")))
        rc = read_priority(out, value, e);
    if (!rc && (value = member(p, "max_accuracy_loss")))
        rc = read_loss(out, value, e);
    if (!rc && (value = member(p, "context")))
        rc = read_name(&out->context, "context", value, e);
    if (!rc && (value = member(p, "stream")))
        rc = read_name(&out->stream, "stream", value, e);
    if (!rc && !(rc = read_truth(&exits, "exits", member(p, "exits"), e)))
        rc = read_truth(&out->binary, "binary_data_output", member(p, "binary_data_output"), e);
    out->flags |= exits ? 0 : JOB_NO_CACHE;
    return rc;
}

static int read_id(struct oip_request *out, const json_t *root, struct error *e)
{
    const json_t *id = member(root, "id");
    if (!id)
        return FL_OK;
    if (!json_is_string(id) || json_string_length(id) >= sizeof out->id)
        return error_set(e, FL_VALUE, "`id` is a text of up to %d bytes", OIP_ID_BYTES - 1);
    strcpy(out->id, json_string_value(id));
    return FL_OK;
}

static bool is_one_of(const char *const *names, const char *name)
{
    while (*names && strcmp(*names, name))
        names++;
    return *names;
}

/* Numbers and truths are as JSON has them, or no such thing. */
bool oip_wish_add(json_t **wishes, const char *name, const char *value)
{
    static const char *const texts[] = {"id", "stream", "context", NULL}, *const others[] = {
                                                                              "timeout",
                                                                              "priority",
                                                                              "max_accuracy_loss",
                                                                              "exits",
                                                                              "binary_data_output",
                                                                              "sequence_id",
                                                                              "shared_memory_region",
                                                                              NULL};
    bool text = is_one_of(texts, name);
    json_t *root, *to, *v;
    if (!text && !is_one_of(others, name))
        return true;
    root = *wishes ? *wishes : (*wishes = json_pack("{s:{}}", "parameters"));
    to = !strcmp(name, "id") ? root : json_object_get(root, "parameters");
    v = text ? NULL : json_loads(value, JSON_DECODE_ANY, NULL);
    return !json_object_set_new(to, name, v ? v : json_string(value));
}

int oip_request_wishes(struct oip_request *out, const json_t *wishes, struct error *e)
{
    int rc = read_id(out, wishes, e);
    return rc ? rc : read_parameters(out, wishes, e);
}

/* ---- outputs ---- */

static int read_output(struct oip_request *out, const json_t *output, const struct oip_model *m,
                       struct error *e)
{
    const char *name = json_string_value(member(output, "name"));
    const json_t *p = member(output, "parameters"), *classes;
    int rc;
    if (!name)
        return error_set(e, FL_PROTOCOL, "an entry of `outputs` has no `name`");
    if (strcmp(name, m->output.name))
        return error_set(e, FL_VALUE, "unexpected inference output '%.100s': the model gives '%s'", name,
                         m->output.name);
    if ((rc = check_parameters(output, e)) ||
        (rc = read_truth(&out->binary, "binary_data", member(p, "binary_data"), e)))
        return rc;
    classes = member(p, "classification");
    if (classes && (!json_is_integer(classes) || json_integer_value(classes) < 0))
        return error_set(e, FL_VALUE, "`classification` is a number of classes");
    if (classes)
        out->classes = json_integer_value(classes) > INT32_MAX ? INT32_MAX : (int)json_integer_value(classes);
    return FL_OK;
}

static int read_outputs(struct oip_request *out, const json_t *root, const struct oip_model *m,
                        struct error *e)
{
    const json_t *outputs = member(root, "outputs");
    if (!outputs || (json_is_array(outputs) && !json_array_size(outputs)))
        return FL_OK;
    if (!json_is_array(outputs))
        return error_set(e, FL_PROTOCOL, "`outputs` is no list");
    if (json_array_size(outputs) > 1)
        return error_set(e, FL_VALUE, "the model gives one output, '%s'; the request asks for %zu",
                         m->output.name, json_array_size(outputs));
    return read_output(out, json_array_get(outputs, 0), m, e);
}

/* ---- the input ---- */

static int read_shape(struct oip_request *out, const json_t *shape, const struct oip_model *m,
                      struct error *e)
{
    const struct tensor *row = &m->input.tensor;
    struct tensor got = {.dtype = row->dtype, .rank = (int)json_array_size(shape)};
    char is[128], wants[128];
    bool same = json_array_size(shape) == (size_t)row->rank;
    if (!json_is_array(shape) || json_array_size(shape) > TENSOR_MAX_RANK)
        return error_set(e, FL_PROTOCOL, "`shape` is a list of up to %d numbers", TENSOR_MAX_RANK);
    for (int i = 0; i < got.rank; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return error_set(e, FL_PROTOCOL, "`shape` has something that is no size");
        got.dim[i] = json_integer_value(dim);
        same = same && (i == 0 || got.dim[i] == row->dim[i]);
    }
    if (!same)
        return error_set(e, FL_SHAPE, "the input '%s' is %s, the model takes rows of %s", m->input.name,
                         tensor_describe(&got, is, sizeof is), tensor_describe(row, wants, sizeof wants));
    return read_rows(out, m, got.dim[0], e);
}

static int read_type(struct announced *a, const json_t *input, struct error *e)
{
    const char *name = json_string_value(member(input, "datatype"));
    a->dtype = name ? oip_dtype(name) : TENSOR_NONE;
    if (a->dtype == TENSOR_NONE)
        return error_set(e, FL_DTYPE, "`datatype` is none of the protocol's, as FP32 is");
    if (!tensor_dtype_bytes(a->dtype))
        return error_set(e, FL_DTYPE, "the model takes numbers, not %.16s", name);
    return FL_OK;
}

static int count_data_in(json_t *list)
{
    const char *key;
    json_t *item;
    size_t i;
    int n = 0;
    json_array_foreach(list, i, item) n += member(item, "data") != NULL;
    json_object_foreach(list, key, item) n += member(item, "data") != NULL;
    return n;
}

/* How many `data` there are where json_cut may have cut one out. */
static int count_data(json_t *root)
{
    const char *key;
    json_t *list;
    int n = 0;
    json_object_foreach(root, key, list) n += count_data_in(list);
    return n;
}

/* Where the numbers are: in the text, or in what lies behind it. What was cut out is read there alone, so
 * there may be nothing else that was, and no number that only looks like the place of it. */
static int find_data(struct announced *a, json_t *root, const json_t *input, const struct json_cut *cut,
                     const char *behind, size_t behind_size, struct error *e)
{
    const json_t *size = member(member(input, "parameters"), "binary_data_size");
    const json_t *data = member(input, "data");
    int64_t bytes = a->count * (int64_t)tensor_dtype_bytes(a->dtype);
    if (size && data)
        return error_set(e, FL_PROTOCOL, "the input has both `data` and `binary_data_size`");
    if ((!size && !data) || cut->n != (data != NULL) || count_data(root) != cut->n)
        return error_set(e, FL_PROTOCOL,
                         "the input has neither `data`, a list of numbers that stands nowhere else, nor "
                         "`binary_data_size`");
    if (size) {
        if (!json_is_integer(size) || json_integer_value(size) != bytes || behind_size != (size_t)bytes)
            return error_set(
                e, FL_SHAPE,
                "the shape asks for %lld bytes, `binary_data_size` says %lld, %zu are behind the JSON",
                (long long)bytes, (long long)json_integer_value(size), behind_size);
        a->binary = behind;
        return FL_OK;
    }
    if (behind_size)
        return error_set(e, FL_PROTOCOL, "the input has `data`, and %zu bytes are behind the JSON",
                         behind_size);
    a->data = &cut->span[0];
    if (a->count > (int64_t)a->data->size / 2) /* a digit and a comma, at least */
        return error_set(e, FL_VALUE, "`data` has fewer than the %lld elements of `shape`",
                         (long long)a->count);
    return FL_OK;
}

static int only_input(const json_t **out, const json_t *root, const struct oip_model *m, struct error *e)
{
    const json_t *inputs = member(root, "inputs");
    const char *name;
    if (!json_is_array(inputs) || json_array_size(inputs) != 1)
        return error_set(e, FL_PROTOCOL, "the model takes one input, '%s': `inputs` is a list with one entry",
                         m->input.name);
    *out = json_array_get(inputs, 0);
    name = json_string_value(member(*out, "name"));
    if (!name || strcmp(name, m->input.name))
        return error_set(e, FL_VALUE, "unexpected inference input '%.100s': the model takes '%s'",
                         name ? name : "", m->input.name);
    return FL_OK;
}

/* ---- rows ---- */

/* Rows in the model's type out of what was announced; as they lie in the body, where they are that already.
 */
static int make_rows(struct oip_request *out, const struct announced *a, enum tensor_dtype wants,
                     struct error *e)
{
    int64_t bytes = a->count * (int64_t)tensor_dtype_bytes(a->dtype);
    const void *from = a->binary;
    void *numbers = NULL, *rows = NULL;
    int rc = FL_OK;
    if (a->data) {
        if (!(numbers = malloc((size_t)bytes)))
            return error_set(e, FL_NOMEM, "out of memory for the input");
        rc = oip_numbers_read(a->data->at, a->data->size, a->dtype, a->count, numbers, e);
        from = numbers;
    }
    if (!rc && a->dtype != wants) {
        if (!(rows = malloc((size_t)a->count * tensor_dtype_bytes(wants))))
            rc = error_set(e, FL_NOMEM, "out of memory for the input");
        else
            rc = oip_convert(a->dtype, from, wants, rows, a->count, e);
        from = rows;
    }
    out->owned = rows ? rows : numbers;
    if (rows)
        free(numbers);
    out->data = from;
    return rc;
}

static int read_json(struct oip_request *out, json_t *root, const struct json_cut *cut, const char *behind,
                     size_t behind_size, const struct oip_model *m, struct error *e)
{
    struct announced a = {0};
    const json_t *input = NULL;
    int rc;
    if (!json_is_object(root))
        return error_set(e, FL_PROTOCOL, "the body is no JSON object");
    if ((rc = read_id(out, root, e)) || (rc = read_parameters(out, root, e)) ||
        (rc = read_outputs(out, root, m, e)))
        return rc;
    if ((rc = only_input(&input, root, m, e)))
        return rc;
    if ((rc = check_parameters(input, e)) || (rc = read_type(&a, input, e)) ||
        (rc = read_shape(out, member(input, "shape"), m, e)))
        return rc;
    a.count = out->rows * row_count(m);
    if ((rc = find_data(&a, root, input, cut, behind, behind_size, e)))
        return rc;
    return make_rows(out, &a, m->input.tensor.dtype, e);
}

static int read_text(struct oip_request *out, const char *body, size_t text, size_t size,
                     const struct oip_model *m, struct error *e)
{
    size_t room = text < OIP_JSON_BYTES ? text + 1 : OIP_JSON_BYTES;
    char *rest = malloc(room);
    struct json_cut cut;
    json_error_t why;
    json_t *root;
    int rc;
    if (!rest)
        return error_set(e, FL_NOMEM, "out of memory for the request");
    if ((rc = json_cut(&cut, body, text, rest, room, e))) {
        free(rest);
        return rc;
    }
    root = json_loadb(rest, cut.size, JSON_REJECT_DUPLICATES, &why);
    free(rest);
    if (!root)
        return error_set(e, FL_PROTOCOL, "the body is no JSON: %.150s", why.text);
    rc = read_json(out, root, &cut, body + text, size - text, m, e);
    json_decref(root);
    return rc;
}

/* All of the body is the input, which has as many rows as fit; the answer is binary too. */
static int read_raw(struct oip_request *out, const char *body, size_t size, const struct oip_model *m,
                    struct error *e)
{
    size_t row = (size_t)tensor_bytes(&m->input.tensor);
    if (!size || size % row)
        return error_set(e, FL_SHAPE, "%zu bytes of raw input are no whole number of rows of %zu bytes", size,
                         row);
    out->data = body;
    out->binary = true;
    return read_rows(out, m, (int64_t)(size / row), e);
}

int oip_request_read(struct oip_request *out, const char *body, size_t size, int64_t header,
                     const struct oip_model *model, struct error *e)
{
    const char *type = header == OIP_NO_HEADER ? image_type(body, size) : NULL;
    int rc;
    *out = (struct oip_request){.rows = 0};
    if (type)
        return error_set(e, FL_PROTOCOL, "the body is a picture and no JSON: send it with 'Content-Type: %s'",
                         type);
    if (header > 0 && (uint64_t)header > size)
        return error_set(e, FL_PROTOCOL, "Inference-Header-Content-Length is %lld, the body has %zu bytes",
                         (long long)header, size);
    rc = header == 0 ? read_raw(out, body, size, model, e)
                     : read_text(out, body, header == OIP_NO_HEADER ? size : (size_t)header, size, model, e);
    if (rc)
        oip_request_release(out);
    for (char *c = rc && e ? e->text : NULL; c && *c; c++) /* names and tokens of the body are quoted in it */
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    return rc;
}

void oip_request_release(struct oip_request *r)
{
    free(r->owned);
    r->owned = NULL;
    r->data = NULL;
}
