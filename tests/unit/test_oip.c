/* test_oip.c - the Open Inference Protocol's texts: numbers, types, requests, responses, paths */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include <zlib.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "numbers/floats.h"
#include "numbers/shuffle.h"
#include "broker/http/http_call.h"
#include "broker/http/http_counts.h"
#include "broker/oip/json_cut.h"
#include "broker/oip/control_text.h"
#include "broker/oip/feedback_text.h"
#include "broker/oip/oip_numbers.h"
#include "broker/oip/oip_tensor.h"

static struct error e;

/* ---- numbers ---- */

static int numbers(const char *text, enum tensor_dtype dtype, int64_t count, void *to)
{
    return oip_numbers_read(text, strlen(text), dtype, count, to, &e);
}

static void test_floats(void **state)
{
    static const char *const token[] = {"0",
                                        "-0",
                                        "1",
                                        "-1.5",
                                        "3.4028234e38",
                                        "1e-45",
                                        "0.1",
                                        "1E+2",
                                        "12e-1",
                                        "123456789",
                                        "1e0",
                                        "7.0e22",
                                        "1e23",
                                        "9007199254740993",
                                        "16777217",
                                        "0.30000001192092896",
                                        "0.000000000000000000000000000000000000001",
                                        "123456789012345678901234567890e-20",
                                        "2.2250738585072011e-30"};
    char text[128];
    float f;
    double d;
    (void)state;
    for (size_t i = 0; i < sizeof token / sizeof *token; i++) {
        snprintf(text, sizeof text, " [ %s ]", token[i]);
        assert_int_equal(numbers(text + 1, TENSOR_F32, 1, &f), FL_OK);
        assert_true(f == (float)strtod(token[i], NULL));
        assert_int_equal(!!signbit(f), !!signbit(strtod(token[i], NULL)));
        assert_int_equal(numbers(text + 1, TENSOR_F64, 1, &d), FL_OK);
        assert_true(d == strtod(token[i], NULL));
    }
}

/* What any float prints as is read as that float again. */
static void test_all_floats_come_back(void **state)
{
    struct shuffle random;
    (void)state;
    shuffle_seed(&random, 1, 0);
    for (int i = 0; i < 20000; i++) {
        uint32_t bits = shuffle_u32(&random);
        char text[64];
        float f, back;
        memcpy(&f, &bits, sizeof f);
        if (!isfinite(f))
            continue;
        snprintf(text, sizeof text, i % 2 ? "[%.9g]" : "[%.17g]", (double)f);
        assert_int_equal(numbers(text, TENSOR_F32, 1, &back), FL_OK);
        assert_memory_equal(&f, &back, sizeof f);
    }
}

static void test_nested_is_flat(void **state)
{
    float a[6] = {0}, want[6] = {1, 2, 3, 4, 5, 6};
    uint8_t b[2];
    int64_t big[2];
    uint64_t most;
    (void)state;
    assert_int_equal(numbers("[[[1,2],[3,\n4]],[[5],[6]]]", TENSOR_F32, 6, a), FL_OK);
    assert_memory_equal(a, want, sizeof a);
    assert_int_equal(numbers("[true,false]", TENSOR_BOOL, 2, b), FL_OK);
    assert_int_equal(b[0] * 2 + b[1], 2);
    assert_int_equal(numbers("[9223372036854775807,-9223372036854775808]", TENSOR_I64, 2, big), FL_OK);
    assert_true(big[0] == INT64_MAX && big[1] == INT64_MIN);
    assert_int_equal(numbers("[18446744073709551615]", TENSOR_U64, 1, &most), FL_OK);
    assert_true(most == UINT64_MAX);
}

static void test_bad_numbers(void **state)
{
    static const struct {
        const char *text;
        enum tensor_dtype dtype;
        int count;
    } bad[] = {
        {"[1,2,3]", TENSOR_F32, 2},
        {"[1]", TENSOR_F32, 2},
        {"[1,]", TENSOR_F32, 2},
        {"[,1]", TENSOR_F32, 1},
        {"[1 2]", TENSOR_F32, 2},
        {"[01]", TENSOR_F32, 1},
        {"[+1]", TENSOR_F32, 1},
        {"[.5]", TENSOR_F32, 1},
        {"[1.]", TENSOR_F32, 1},
        {"[1e]", TENSOR_F32, 1},
        {"[NaN]", TENSOR_F32, 1},
        {"[1e39]", TENSOR_F32, 1},
        {"[1e999]", TENSOR_F64, 1},
        {"[null]", TENSOR_F32, 1},
        {"[\"1\"]", TENSOR_F32, 1},
        {"[256]", TENSOR_U8, 1},
        {"[-1]", TENSOR_U8, 1},
        {"[1.0]", TENSOR_I32, 1},
        {"[1e2]", TENSOR_I64, 1},
        {"[{}]", TENSOR_F32, 1},
        {"[[1],[2]", TENSOR_F32, 2},
        {"[2147483648]", TENSOR_I32, 1},
        {"[1]", TENSOR_F16, 1},
        {"[1]", TENSOR_BF16, 1},
        {"[tru]", TENSOR_BOOL, 1},
        {"[2]", TENSOR_BOOL, 1},
        {"[-]", TENSOR_F32, 1},
        {"[]", TENSOR_F32, 1},
        {"[9223372036854775808]", TENSOR_I64, 1},
        {"[18446744073709551616]", TENSOR_U64, 1},
        {"[1]]", TENSOR_F32, 1},
        {"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", TENSOR_F32, 1},
    };
    double to[4];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e = (struct error){FL_OK, ""};
        assert_int_not_equal(numbers(bad[i].text, bad[i].dtype, bad[i].count, to), FL_OK);
        assert_int_not_equal(e.text[0], '\0');
    }
}

/* ---- conversions ---- */

static void test_conversions_are_exact(void **state)
{
    const uint8_t u8[2] = {0, 255};
    const int32_t i32[2] = {-16777216, 16777217};
    const int64_t i64[2] = {1ll << 40, INT64_MAX};
    const uint16_t f16[2] = {half_from_float(1.5f), half_from_float(-0.25f)}, bf16[1] = {0x3fc0};
    float to[2];
    (void)state;
    assert_int_equal(oip_convert(TENSOR_U8, u8, TENSOR_F32, to, 2, &e), FL_OK);
    assert_true(to[0] == 0 && to[1] == 255);
    assert_int_equal(oip_convert(TENSOR_I32, i32, TENSOR_F32, to, 1, &e), FL_OK);
    assert_true(to[0] == -16777216);
    assert_int_equal(oip_convert(TENSOR_I32, i32, TENSOR_F32, to, 2, &e), FL_VALUE);
    assert_non_null(strstr(e.text, "element 1"));
    assert_int_equal(oip_convert(TENSOR_I64, i64, TENSOR_F32, to, 1, &e), FL_OK);
    assert_int_equal(oip_convert(TENSOR_I64, i64, TENSOR_F32, to, 2, &e), FL_VALUE);
    assert_int_equal(oip_convert(TENSOR_F16, f16, TENSOR_F32, to, 2, &e), FL_OK);
    assert_true(to[0] == 1.5f && to[1] == -0.25f);
    assert_int_equal(oip_convert(TENSOR_BF16, bf16, TENSOR_F32, to, 1, &e), FL_OK);
    assert_true(to[0] == 1.5f);
    assert_int_equal(oip_convert(TENSOR_F64, i64, TENSOR_F32, to, 1, &e), FL_DTYPE);
    assert_int_equal(oip_convert(TENSOR_F32, u8, TENSOR_U8, to, 1, &e), FL_DTYPE);
    assert_string_equal(e.text, "the input is FP32, the model takes UINT8");
}

/* ---- the cut ---- */

static void test_cut_leaves_a_small_text(void **state)
{
    const char *text =
        "{\"data\":[9],\"inputs\":[{\"name\":\"a\\\"[\",\"data\" : [[1,\"]\"],[2]],\"x\":1},{\"data\":[]}]}";
    struct json_cut cut;
    char rest[200];
    (void)state;
    assert_int_equal(json_cut(&cut, text, strlen(text), rest, sizeof rest, &e), FL_OK);
    rest[cut.size] = '\0';
    assert_string_equal(
        rest, "{\"data\":[9],\"inputs\":[{\"name\":\"a\\\"[\",\"data\" : 0,\"x\":1},{\"data\":1}]}");
    assert_int_equal(cut.n, 2);
    assert_memory_equal(cut.span[0].at, "[[1,\"]\"],[2]]", cut.span[0].size);
    assert_int_equal(cut.span[1].size, 2);
    assert_int_equal(json_cut(&cut, text, strlen(text), rest, 20, &e), FL_TOO_LARGE);
    assert_int_equal(json_cut(&cut, "{\"inputs\":[{\"data\":[1,", 22, rest, sizeof rest, &e), FL_PROTOCOL);
    assert_int_equal(json_cut(&cut, "{\"a\\\"", 5, rest, sizeof rest, &e), FL_PROTOCOL);
}

/* ---- requests ---- */

static const struct oip_model model = {.input = {"x", {TENSOR_F32, 3, {1, 2, 2}, NULL}},
                                       .output = {"y", {TENSOR_F32, 2, {1, 3}, NULL}},
                                       .most_rows = 4};
static struct oip_request request;

static int read_request(const char *json)
{
    e = (struct error){FL_OK, ""};
    return oip_request_read(&request, json, strlen(json), OIP_NO_HEADER, &model, &e);
}

static void test_request(void **state)
{
    const float want[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    (void)state;
    assert_int_equal(
        read_request(
            "{\"id\":\"r1\",\"parameters\":{\"timeout\":1500,\"exits\":false},\"outputs\":[{\"name\":\"y\","
            "\"parameters\":{\"binary_data\":true,\"classification\":2}}],\"inputs\":[{\"data\":[[1,2,3,"
            "4],[5,6,7,8]],\"name\":\"x\",\"shape\":[2,2,2],\"datatype\":\"FP32\"}]}"),
        FL_OK);
    assert_string_equal(request.id, "r1");
    assert_int_equal(request.rows, 2);
    assert_int_equal(request.row_bytes, 16);
    assert_memory_equal(request.data, want, sizeof want);
    assert_int_equal(request.deadline_ms, 2);
    assert_int_equal(request.flags, JOB_NO_CACHE);
    assert_true(request.binary);
    assert_int_equal(request.classes, 2);
    oip_request_release(&request);
    assert_int_equal(
        read_request(
            "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2,2],\"datatype\":\"UINT8\",\"data\":[1,2,3,4]}]}"),
        FL_OK);
    assert_memory_equal(request.data, want, request.row_bytes);
    assert_false(request.binary || request.classes || request.deadline_ms || request.flags || *request.id);
    oip_request_release(&request);
    assert_int_equal(
        read_request("{\"id\":null,\"parameters\":null,\"outputs\":null,\"inputs\":[{\"name\":\"x\","
                     "\"parameters\":null,\"shape\":[1,2,2],\"datatype\":\"FP32\",\"data\":[1,2,3,4]}]}"),
        FL_OK);
    assert_memory_equal(request.data, want, request.row_bytes);
    assert_false(*request.id);
    oip_request_release(&request);
}

static void test_binary_requests(void **state)
{
    static const char head[] =
        "{\"inputs\":[{\"name\":\"x\",\"shape\":[1,2,2],\"datatype\":\"INT32\","
        "\"parameters\":{\"binary_data_size\":16}}],\"parameters\":{\"binary_data_output\":true}}";
    const int32_t in[4] = {1, 2, 3, 4};
    const float want[4] = {1, 2, 3, 4};
    char body[sizeof head + 64], raw[32] = {0};
    json_t *wishes = NULL;
    int64_t n = sizeof head - 1;
    (void)state;
    memcpy(body, head, sizeof head);
    memcpy(body + n, in, sizeof in);
    assert_int_equal(oip_request_read(&request, body, (size_t)n + 16, n, &model, &e), FL_OK);
    assert_memory_equal(request.data, want, sizeof want);
    assert_true(request.binary);
    oip_request_release(&request);
    assert_int_equal(oip_request_read(&request, body, (size_t)n + 15, n, &model, &e), FL_SHAPE);
    assert_int_equal(oip_request_read(&request, body, (size_t)n + 17, n, &model, &e), FL_SHAPE);
    assert_int_equal(oip_request_read(&request, body, (size_t)n + 16, n + 17, &model, &e), FL_PROTOCOL);
    assert_int_equal(oip_request_read(&request, body, (size_t)n, OIP_NO_HEADER, &model, &e), FL_SHAPE);
    /* an array that is no JSON, where nobody reads it */
    n = snprintf(body, sizeof body, "{\"outputs\":[{\"name\":\"y\",\"data\":[}]}],%s", head + 1);
    memcpy(body + n, in, sizeof in);
    assert_int_equal(oip_request_read(&request, body, (size_t)n + 16, n, &model, &e), FL_PROTOCOL);

    assert_int_equal(oip_request_read(&request, raw, 32, 0, &model, &e), FL_OK); /* lies where it is */
    assert_int_equal(request.rows, 2);
    assert_ptr_equal(request.data, raw);
    assert_true(oip_wish_add(&wishes, "exits", "false") && oip_wish_add(&wishes, "id", "7") &&
                oip_wish_add(&wishes, "stream", "8"));
    assert_int_equal(oip_request_wishes(&request, wishes, &e), FL_OK);
    assert_true(request.flags == JOB_NO_CACHE && request.stream && request.binary);
    assert_string_equal(request.id, "7");
    assert_true(oip_wish_add(&wishes, "timeout", "soon"));
    assert_int_equal(oip_request_wishes(&request, wishes, &e), FL_VALUE);
    assert_false(oip_wish_add(&wishes, "context", "\xff"));
    assert_true(oip_wish_add(&wishes, "x", "\xff")); /* not asked of us */
    json_decref(wishes);
    assert_int_equal(oip_request_read(&request, raw, 31, 0, &model, &e), FL_SHAPE);
    assert_int_equal(oip_request_read(&request, raw, 0, 0, &model, &e), FL_SHAPE);
}

static void test_forms(void **state)
{
#define PART "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n\x89PNG\r\n--B\r\n--c"
    static const struct {
        const char *form, *holds; /* NULL: it is refused */
    } form[] = {
        {PART "\r\n--b--\r\n", "\x89PNG\r\n--B\r\n--c"},
        {PART "\r\n--b--", "\x89PNG\r\n--B\r\n--c"},
        {"--b\r\n\r\n\r\n--b--", ""},
        {PART "\r\n--b\r\n\r\n1\r\n--b--", NULL}, /* another part */
        {PART "\r\n--b", NULL},
        {PART "\r\n--b-", NULL},
        {PART, NULL},
        {"--b\r\n\r\n--b--", NULL}, /* no line ends before the last one */
        {"--b--\r\n", NULL},
        {"--\r\n\r\n\r\n----", NULL},
        {"--01234567890123456789012345678901234567890123456789012345678901234567890\r\n\r\n", NULL},
        {"\x89PNG\r\n\x1a\n", NULL},
        {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
        size_t size = strlen(form[i].form);
        char *copy =
            memcpy(malloc(size ? size : 1), form[i].form, size); /* of that size, for the sanitizer */
        const char *body = copy;
        assert_int_equal(oip_form_file(&body, &size, &e), form[i].holds ? FL_OK : FL_PROTOCOL);
        if (form[i].holds) {
            assert_int_equal(size, strlen(form[i].holds));
            assert_memory_equal(body, form[i].holds, size);
        }
        free(copy);
    }
#undef PART
}

static void test_bad_requests(void **state)
{
#define INPUT(more) "{\"inputs\":[{\"name\":\"x\"," more "}]}"
#define WHOLE       "\"shape\":[1,2,2],\"datatype\":\"FP32\",\"data\":[1,2,3,4]"
    static const struct {
        const char *json;
        int code;
        const char *says;
    } bad[] = {
        {"", FL_PROTOCOL, "no JSON"},
        {"\xff\xd8\xff\xe0", FL_PROTOCOL, "send it with 'Content-Type: image/jpeg'"},
        {"\x89PNG\r\n\x1a\n", FL_PROTOCOL, "send it with 'Content-Type: image/png'"},
        {"[]", FL_PROTOCOL, "no JSON object"},
        {"{}", FL_PROTOCOL, "takes one input, 'x'"},
        {"{\"inputs\":[]}", FL_PROTOCOL, "takes one input"},
        {"{\"inputs\":[7]}", FL_VALUE, "unexpected inference input"},
        {"{\"inputs\":[{\"name\":\"z\"," WHOLE "}]}", FL_VALUE, "unexpected inference input 'z'"},
        {INPUT("\"shape\":[1,2,3],\"datatype\":\"FP32\",\"data\":[1,2,3,4,5,6]"), FL_SHAPE, "1x2x3"},
        {INPUT("\"shape\":[2,2],\"datatype\":\"FP32\",\"data\":[1,2,3,4]"), FL_SHAPE, "rows of 1x2x2"},
        {INPUT("\"shape\":[0,2,2],\"datatype\":\"FP32\",\"data\":[]"), FL_SHAPE, "1 to 4 rows"},
        {INPUT("\"shape\":[5,2,2],\"datatype\":\"FP32\",\"data\":[1]"), FL_TOO_LARGE, "1 to 4 rows"},
        {INPUT("\"shape\":[-1,2,2],\"datatype\":\"FP32\",\"data\":[1]"), FL_PROTOCOL, "no size"},
        {INPUT("\"shape\":[9223372036854775807,2,2],\"datatype\":\"FP32\",\"data\":[1]"), FL_TOO_LARGE,
         "rows"},
        {INPUT("\"shape\":[1,1,1,1,1,1,1,1,1],\"datatype\":\"FP32\",\"data\":[1]"), FL_PROTOCOL, "up to 8"},
        {INPUT("\"shape\":{},\"datatype\":\"FP32\",\"data\":[1]"), FL_PROTOCOL, "`shape` is a list"},
        {INPUT("\"shape\":[1,2,2],\"datatype\":\"FP31\",\"data\":[1,2,3,4]"), FL_DTYPE, "as FP32 is"},
        {INPUT("\"shape\":[1,2,2],\"datatype\":\"BYTES\",\"data\":[\"a\"]"), FL_DTYPE, "not BYTES"},
        {INPUT("\"shape\":[1,2,2],\"datatype\":\"FP16\",\"data\":[1,2,3,4]"), FL_DTYPE, "binary data"},
        {INPUT("\"shape\":[1,2,2],\"datatype\":\"FP64\",\"data\":[1,2,3,4]"), FL_DTYPE, "takes FP32"},
        {INPUT("\"shape\":[1,2,2],\"datatype\":\"INT64\",\"data\":[1,2,3,16777217]"), FL_VALUE, "element 3"},
        {INPUT("\"shape\":[1,2,2],\"datatype\":\"FP32\""), FL_PROTOCOL, "neither `data`"},
        {INPUT("\"shape\":[1,2,2],\"datatype\":\"FP32\",\"data\":0"), FL_PROTOCOL, "neither `data`"},
        {INPUT("\"shape\":[1,2,2],\"datatype\":\"FP32\",\"data\":[1,2,3]"), FL_VALUE, "fewer than the 4"},
        {INPUT("\"shape\":[1,2,2],\"datatype\":\"FP32\",\"data\":[1,2,3,4],\"data\":[1,2,3,4]"), FL_PROTOCOL,
         "duplicate"},
        {INPUT(WHOLE ",\"parameters\":{\"shared_memory_region\":\"a\"}"), FL_UNSUPPORTED,
         "shared_memory_region"},
        {INPUT(WHOLE ",\"parameters\":{\"binary_data_size\":16}"), FL_PROTOCOL, "both"},
        {INPUT(WHOLE ",\"parameters\":7"), FL_PROTOCOL, "no object"},
        {"{\"parameters\":{\"max_accuracy_loss\":100.5},\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_VALUE,
         "max_accuracy_loss"},
        {"{\"parameters\":{\"max_accuracy_loss\":\"0\"},\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_VALUE,
         "max_accuracy_loss"},
        {"{\"parameters\":{\"exits\":\"no\"},\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_VALUE, "exits"},
        {"{\"parameters\":{\"binary_data_output\":1},\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_VALUE,
         "binary_data_output"},
        {"{\"inputs\":[{\"name\":\"x\"," WHOLE ",\"data\":null}]}", FL_PROTOCOL, "no JSON"},
        {"{\"parameters\":{\"context\":7},\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_VALUE, "context"},
        {"{\"parameters\":{\"priority\":10},\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_VALUE, "priority"},
        {"{\"parameters\":{\"priority\":-1},\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_VALUE, "priority"},
        {"{\"parameters\":{\"stream\":7},\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_VALUE, "stream"},
        {"{\"parameters\":{\"timeout\":-1},\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_VALUE, "timeout"},
        {"{\"id\":7,\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_VALUE, "`id`"},
        {"{\"outputs\":[{\"name\":\"q\"}],\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_VALUE, "output 'q'"},
        {"{\"outputs\":[{\"name\":\"y\"},{\"name\":\"y\"}],\"inputs\":[{\"name\":\"x\"," WHOLE "}]}",
         FL_VALUE, "one output"},
        {"{\"outputs\":[{}],\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_PROTOCOL, "no `name`"},
        {"{\"outputs\":[{\"name\":\"y\",\"data\":[1]}],\"inputs\":[{\"name\":\"x\"," WHOLE "}]}", FL_PROTOCOL,
         "neither"},
        {"{\"outputs\":[{\"name\":\"y\",\"data\":[1,2,3,4]}],"
         "\"inputs\":[{\"name\":\"x\",\"shape\":[1,2,2],\"datatype\":\"FP32\",\"data\":0}]}",
         FL_PROTOCOL, "neither `data`"},
        {"{\"outputs\":[{\"name\":\"y\",\"data\":[1,2,3,4]}],"
         "\"inputs\":[{\"name\":\"x\",\"shape\":[1,2,2],\"datatype\":\"FP32\",\"d\\u0061ta\":0}]}",
         FL_PROTOCOL, "neither `data`"},
        {"{\"inputs\":[{\"name\":\"x\"," WHOLE "}]", FL_PROTOCOL, "no JSON"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(read_request(bad[i].json), bad[i].code);
        if (!strstr(e.text, bad[i].says))
            fail_msg("%s: \"%s\" and not \"%s\"", bad[i].json, e.text, bad[i].says);
        assert_null(request.owned);
    }
}

/* ---- responses ---- */

static void assert_printed(float f)
{
    struct json_text t = {.at = NULL};
    char wanted[40];
    snprintf(wanted, sizeof wanted, "%.9g", (double)f);
    json_text_float(&t, f);
    json_text_bytes(&t, "", 1);
    assert_string_equal(t.at, wanted);
    json_text_free(&t);
}

/* Whatever the float: nine digits tell it from all others. */
static void test_floats_as_text(void **state)
{
    static const float odd[] = {
        0,      -0.0f,   1,         -1,       0.1f,        0.5f, 1e-4f,       9.9999997e-5f,
        1e-3f,  1e9f,    999999940, 1e-38f,   99999.9999f, 1e6f, 123456.789f, -0.25f,
        1e-45f, FLT_MAX, -FLT_MAX,  16777216, 0.0625f,     1e8f, 9.99999999f, 0.000999999999f};
    uint32_t bits = 1;
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_printed(odd[i]);
    for (int i = 0; i < 200000; i++) {
        float f;
        bits = bits * 1664525 + 1013904223;
        memcpy(&f, &bits, sizeof f);
        if (isfinite(f))
            assert_printed(f);
        assert_printed(ldexpf((float)(bits >> 8), -(int)(bits & 31) - 8));
    }
}

static json_t *parsed(const struct json_text *t, size_t n)
{
    json_error_t why;
    json_t *root = json_loadb(t->at, n, 0, &why);
    if (!root)
        fail_msg("%s in %.*s", why.text, (int)n, t->at);
    return root;
}

static void test_response(void **state)
{
    const float scores[6] = {0.1f, 2, -INFINITY, 3, 0, 0};
    const struct oip_row row[2] = {
        {.label = 1, .exit = -1, .confidence = 0.75f, .total_ns = 1234567, .variant = "float32"},
        {.exit = 2, .confidence = 1, .epoch = 9, .total_ns = 5000, .one_hot = true, .variant = "int8"}};
    char *label[] = {"cat"};
    struct oip_request r = {.id = "a\"\x01\xff", .rows = 2};
    struct oip_answer a = {"m", &r, &model, row, scores, 3, label, 1, NULL};
    struct json_text t = {.at = NULL};
    const char *id, *name, *exit, *time, *text, *variant;
    double first;
    int64_t header;
    int rows, classes, size, one_hot;
    json_t *root, *data;
    (void)state;
    oip_answer_text(&t, &a, &header);
    assert_int_equal(header, -1);
    root = parsed(&t, t.n);
    assert_int_equal(json_unpack(root, "{s:s,s:{s:s,s:s,s:b,s:s},s:[{s:s,s:[i,i],s:o}]}", "id", &id,
                                 "parameters", "exit", &exit, "time_us", &time, "one_hot", &one_hot,
                                 "variant", &variant, "outputs", "name", &name, "shape", &rows, &classes,
                                 "data", &data),
                     0);
    assert_string_equal(id, "a\"\x01?");
    assert_string_equal(exit, "-1,2");
    assert_string_equal(time, "1234,5");
    assert_string_equal(variant, "float32,int8");
    assert_true(one_hot);
    assert_int_equal(rows * 10 + classes, 23);
    assert_int_equal(json_array_size(data), 6);
    assert_float_equal((float)json_real_value(json_array_get(data, 0)), 0.1f, 0);
    json_decref(root);
    json_text_free(&t);

    r = (struct oip_request){.rows = 1, .binary = true};
    oip_answer_text(&t, &a, &header);
    assert_int_equal(t.n, header + 12);
    assert_memory_equal(t.at + header, scores, 12);
    root = parsed(&t, (size_t)header);
    assert_int_equal(json_unpack(root, "{s:{s:f,s:i},s:[{s:{s:i}}]}", "parameters", "confidence", &first,
                                 "exit", &rows, "outputs", "parameters", "binary_data_size", &size),
                     0);
    assert_float_equal(first, 0.75, 0);
    assert_int_equal(size, 12);
    json_decref(root);
    json_text_free(&t);

    r = (struct oip_request){.rows = 1, .classes = 2};
    oip_answer_text(&t, &a, &header);
    root = parsed(&t, t.n);
    assert_int_equal(json_unpack(root, "{s:[{s:[i,i],s:[s,s]}]}", "outputs", "shape", &rows, &classes, "data",
                                 &name, &text),
                     0);
    assert_string_equal(name, "2:1");
    assert_string_equal(text, "0.100000001:0:cat");
    json_decref(root);
    json_text_free(&t);
}

static void test_true_labels(void **state)
{
    static const struct {
        const char *body;
        int n, code;
    } c[] = {
        {"{\"labels\":[{\"request\":\"18446744073709551615\",\"label\":4},{\"request\":\"7\",\"label\":-1}]}",
         2, FL_OK},
        {"{\"labels\":[{\"request\":7,\"label\":4}]}", 0, FL_PROTOCOL},
        {"{\"labels\":[{\"request\":\"7\",\"label\":4.5}]}", 0, FL_PROTOCOL},
        {"{\"labels\":[{\"request\":\"-7\",\"label\":4}]}", 0, FL_PROTOCOL},
        {"{\"labels\":[{\"request\":\"99999999999999999999999\",\"label\":4}]}", 0, FL_PROTOCOL},
        {"{\"labels\":[{\"request\":\"7\",\"label\":99999999999}]}", 0, FL_PROTOCOL},
        {"{\"labels\":[]}", 0, FL_PROTOCOL},
        {"{\"labels\":{}}", 0, FL_PROTOCOL},
        {"[]", 0, FL_PROTOCOL},
        {"", 0, FL_PROTOCOL},
        {"{", 0, FL_PROTOCOL},
    };
    struct feedback_item item[MESSAGE_MAX_FEEDBACK];
    struct json_text many = {.at = NULL};
    int n;
    (void)state;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        assert_int_equal(feedback_read(item, &n, c[i].body, strlen(c[i].body), &e), c[i].code);
        assert_true(c[i].code || n == c[i].n);
    }
    assert_int_equal(feedback_read(item, &n, c[0].body, strlen(c[0].body), &e), FL_OK);
    assert_true(item[0].request == UINT64_MAX && item[0].label == 4 && item[1].label == -1);
    json_text_format(&many, "{\"labels\":[0");
    for (int i = 0; i < MESSAGE_MAX_FEEDBACK; i++)
        json_text_format(&many, ",0");
    json_text_format(&many, "]}");
    assert_int_equal(feedback_read(item, &n, many.at, many.n, &e), FL_TOO_LARGE);
    many.n = 0;
    json_text_format(&many, "{\"labels\":[{\"request\":\"7\",\"label\":4}]");
    while (many.n < 256 * MESSAGE_MAX_FEEDBACK - 1)
        json_text_put(&many, " ");
    json_text_put(&many, "}");
    assert_int_equal(feedback_read(item, &n, many.at, many.n, &e), FL_OK);
    json_text_put(&many, " "); /* not read: a body that is all numbers would take twenty times its size */
    assert_int_equal(feedback_read(item, &n, many.at, many.n, &e), FL_TOO_LARGE);
    json_text_free(&many);
}

static void test_compressed_replies(void **state)
{
    static const struct {
        const char *header;
        enum http_coding coding;
    } c[] = {{NULL, CODING_PLAIN},
             {"", CODING_PLAIN},
             {"identity", CODING_PLAIN},
             {"gzip", CODING_GZIP},
             {"deflate, gzip;q=1.0, *;q=0.5", CODING_GZIP},
             {"gzip;q=0", CODING_PLAIN},
             {"gzip; q=0, Deflate", CODING_DEFLATE},
             {"gzipped", CODING_PLAIN},
             {", ,;", CODING_PLAIN},
             {"*", CODING_GZIP}};
    struct http_reply r = {.header = -1};
    unsigned char back[8192];
    z_stream z = {.avail_out = sizeof back, .next_out = back};
    (void)state;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        assert_int_equal(http_accepts(c[i].header), c[i].coding);
    json_text_format(&r.text, "short");
    http_reply_pack(&r, CODING_GZIP);
    assert_int_equal(r.coding, CODING_PLAIN);
    for (int i = 0; i < 500; i++)
        json_text_format(&r.text, "%d,", i);
    http_reply_pack(&r, CODING_GZIP);
    assert_int_equal(r.coding, CODING_GZIP);
    assert_int_equal(inflateInit2(&z, 15 + 32), Z_OK);
    z.next_in = (unsigned char *)r.text.at;
    z.avail_in = (unsigned)r.text.n;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_memory_equal(back, "short0,1,2,", 11);
    assert_int_equal(z.total_out, 5 + 10 * 2 + 90 * 3 + 400 * 4);
    inflateEnd(&z);
    json_text_free(&r.text);
}

static void test_traces_go_on(void **state)
{
    static const char *const none[] = {NULL,
                                       "",
                                       "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
                                       "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
                                       "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
                                       "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                       "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                       "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                                       "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\r"};
    struct http_call c;
    (void)state;
    http_trace(&c, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 0x12);
    assert_string_equal(c.trace, "00-0af7651916cd43dd8448eb211c80319c-0000000000000012-01");
    assert_true(c.context.high == 0x0af7651916cd43dd && c.context.low == 0x8448eb211c80319c);
    assert_true(c.context.parent == 0xb7ad6b7169203331 && c.context.span == 0x12 && c.context.sampled);
    http_trace(&c, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", 0x12);
    assert_false(c.context.sampled);
    http_trace(&c, "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", 0x12);
    assert_string_equal(c.trace, "00-0af7651916cd43dd8448eb211c80319c-0000000000000012-01");
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        http_trace(&c, none[i], 1);
        assert_string_equal(c.trace, "");
        assert_false(c.context.sampled);
    }
}

static void test_metadata(void **state)
{
    struct json_text t = {.at = NULL};
    const char *name, *type, *left, *file;
    int batch, a, b;
    json_t *root;
    (void)state;
    oip_model_text(&t, "m", &model);
    root = parsed(&t, t.n);
    assert_int_equal(json_unpack(root, "{s:[{s:s,s:s,s:[i,i,i]}]}", "inputs", "name", &name, "datatype",
                                 &type, "shape", &batch, &a, &b),
                     0);
    assert_string_equal(name, "x");
    assert_string_equal(type, "FP32");
    assert_int_equal(batch, -1);
    assert_int_equal(a * 10 + b, 22);
    json_decref(root);
    json_text_free(&t);
    for (int on = 0; on < 2; on++) {
        oip_traces_text(&t, &(struct trace_settings){on, 0.01, 7}, on ? "a\"b" : NULL);
        root = parsed(&t, t.n);
        assert_int_equal(json_unpack(root, "{s:[s],s:s,s:s,s:s}", "trace_level", &type, "trace_rate", &name,
                                     "trace_file", &file, "trace_count", &left),
                         0);
        assert_string_equal(left, "7");
        assert_string_equal(type, on ? "TIMESTAMPS" : "OFF");
        assert_string_equal(name, "100");
        assert_string_equal(file, on ? "a\"b" : "");
        json_decref(root);
        json_text_free(&t);
    }
}

/* ---- a model's repository ---- */

static void test_index_says_why(void **state)
{
    static const struct {
        const char *why_not, *says;
        bool ready_alone;
    } c[] = {
        {NULL, "[{\"name\":\"m\",\"version\":\"1\",\"state\":\"READY\",\"reason\":\"\"}]", false},
        {NULL, "[{\"name\":\"m\",\"version\":\"1\",\"state\":\"READY\",\"reason\":\"\"}]", true},
        {"unloaded", "[{\"name\":\"m\",\"version\":\"1\",\"state\":\"UNAVAILABLE\",\"reason\":\"unloaded\"}]",
         false},
        {"unloaded", "[]", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        struct json_text t = {.at = NULL};
        oip_index_text(&t, "m", c[i].why_not, c[i].ready_alone);
        assert_int_equal(t.n, strlen(c[i].says));
        assert_memory_equal(t.at, c[i].says, t.n);
        json_text_free(&t);
    }
}

static void test_what_is_asked_of_the_repository(void **state)
{
    static const struct {
        const char *body;
        int index, load, unload;
        bool ready;
    } c[] = {
        {"", FL_OK, FL_OK, FL_OK, false},
        {"{}", FL_OK, FL_OK, FL_OK, false},
        {"{\"ready\":true}", FL_OK, FL_OK, FL_OK, true},
        {"{\"ready\":false,\"parameters\":null}", FL_OK, FL_OK, FL_OK, false},
        {"{\"ready\":null}", FL_OK, FL_OK, FL_OK, false},
        {"{\"ready\":1}", FL_PROTOCOL, FL_OK, FL_OK, false},
        {"{\"parameters\":{}}", FL_OK, FL_OK, FL_OK, false},
        {"{\"parameters\":{\"unload_dependents\":true}}", FL_OK, FL_PROTOCOL, FL_OK, false},
        {"{\"parameters\":{\"unload_dependents\":1}}", FL_OK, FL_PROTOCOL, FL_PROTOCOL, false},
        {"{\"parameters\":{\"config\":\"{}\"}}", FL_OK, FL_UNSUPPORTED, FL_PROTOCOL, false},
        {"{\"parameters\":{\"config\":null}}", FL_OK, FL_OK, FL_OK, false},
        {"{\"parameters\":{\"file:1/model.onnx\":\"AA==\"}}", FL_OK, FL_UNSUPPORTED, FL_PROTOCOL, false},
        {"{\"parameters\":{\"color\":1}}", FL_OK, FL_PROTOCOL, FL_PROTOCOL, false},
        {"{\"parameters\":[]}", FL_OK, FL_PROTOCOL, FL_PROTOCOL, false},
        {"[]", FL_PROTOCOL, FL_PROTOCOL, FL_PROTOCOL, false},
        {"{", FL_PROTOCOL, FL_PROTOCOL, FL_PROTOCOL, false},
        {"{\"ready\":true,\"ready\":true}", FL_PROTOCOL, FL_PROTOCOL, FL_PROTOCOL, false},
    };
    static char large[(64 << 10) + 1];
    bool ready;
    (void)state;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        size_t n = strlen(c[i].body);
        assert_int_equal(control_read_index(&ready, c[i].body, n, &e), c[i].index);
        assert_int_equal(ready, c[i].ready);
        assert_int_equal(control_read_load(true, c[i].body, n, &e), c[i].load);
        assert_int_equal(control_read_load(false, c[i].body, n, &e), c[i].unload);
    }
    memset(large, ' ', sizeof large);
    assert_int_equal(control_read_load(true, large, sizeof large, &e), FL_UNSUPPORTED);
    assert_int_equal(control_read_load(false, large, sizeof large, &e), FL_TOO_LARGE);
}

static void test_settings_of_traces(void **state)
{
    static const struct {
        const char *body;
        int rc;
        struct trace_settings is; /* where rc is FL_OK */
    } c[] = {
        {"{}", FL_OK, {true, 0.5, 9}},
        {"{\"trace_level\":[\"OFF\"]}", FL_OK, {false, 0.5, 9}},
        {"{\"trace_level\":\"TIMESTAMPS\"}", FL_OK, {true, 0.5, 9}},
        {"{\"trace_level\":[\"TIMESTAMPS\"],\"trace_rate\":\"1\",\"trace_count\":\"-1\"}",
         FL_OK,
         {true, 1, -1}},
        {"{\"trace_rate\":4,\"trace_count\":0}", FL_OK, {true, 0.25, 0}},
        {"{\"trace_rate\":null,\"trace_count\":null,\"trace_level\":null}", FL_OK, {true, 0, -1}},
        {"{\"trace_level\":[\"TIMESTAMPS\"],\"trace_rate\":null}", FL_OK, {true, 0.001, 9}},
        {"{\"log_frequency\":\"0\",\"trace_mode\":\"opentelemetry\",\"trace_file\":\"a.json\"}",
         FL_OK,
         {true, 0.5, 9}},
        {"{\"trace_file\":null}", FL_OK, {true, 0.5, 9}},
        {"{\"trace_file\":\"/etc/passwd\"}", FL_VALUE, {false, 0, 0}},
        {"{\"trace_mode\":\"triton\"}", FL_VALUE, {false, 0, 0}},
        {"{\"log_frequency\":\"5\"}", FL_VALUE, {false, 0, 0}},
        {"{\"trace_level\":[\"TENSORS\"]}", FL_VALUE, {false, 0, 0}},
        {"{\"trace_level\":[\"TIMESTAMPS\",\"TENSORS\"]}", FL_VALUE, {false, 0, 0}},
        {"{\"trace_level\":[]}", FL_VALUE, {false, 0, 0}},
        {"{\"trace_level\":1}", FL_VALUE, {false, 0, 0}},
        {"{\"trace_rate\":\"0\"}", FL_VALUE, {false, 0, 0}},
        {"{\"trace_rate\":\"1x\"}", FL_VALUE, {false, 0, 0}},
        {"{\"trace_rate\":\"\"}", FL_VALUE, {false, 0, 0}},
        {"{\"trace_rate\":\"99999999999999999999\"}", FL_VALUE, {false, 0, 0}},
        {"{\"trace_rate\":0.5}", FL_VALUE, {false, 0, 0}},
        {"{\"trace_count\":\"-2\"}", FL_VALUE, {false, 0, 0}},
        {"{\"trace_level\":[\"OFF\"],\"color\":\"red\"}", FL_VALUE, {false, 0, 0}},
        {"[]", FL_PROTOCOL, {false, 0, 0}},
    };
    struct pipeline p = {.traces = {.share = 0, .to = (char[]){"a.json"}}},
                    nowhere = {.traces = {.share = 0.01}};
    struct trace_settings t, before = {true, 0.5, 9};
    (void)state;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        t = before;
        if (control_read_traces(&t, &p, c[i].body, strlen(c[i].body), &e) != c[i].rc)
            fail_msg("%s: %s", c[i].body, e.text);
        if (c[i].rc) /* nothing of it holds */
            assert_true(t.on == before.on && t.share == before.share && t.left == before.left);
        else if (t.on != c[i].is.on || t.share != c[i].is.share || t.left != c[i].is.left)
            fail_msg("%s: %d %g %lld", c[i].body, t.on, t.share, (long long)t.left);
    }
    assert_int_equal(control_read_traces(&t, &p, "{\"color\":1}", 11, &e), FL_VALUE);
    assert_non_null(strstr(e.text, "`color`")); /* by its name */
    t = settings_traces_of(&nowhere);
    assert_int_equal(control_read_traces(&t, &nowhere, "{\"trace_level\":\"TIMESTAMPS\"}", 28, &e), FL_VALUE);
    assert_non_null(strstr(e.text, "traces.to"));
    assert_false(t.on);
}

/* ---- paths ---- */

static void test_paths(void **state)
{
    static const struct {
        const char *method, *path;
        int target, status;
    } c[] = {
        {"GET", "/v2", TARGET_SERVER, 0},
        {"GET", "/v2/", TARGET_SERVER, 0},
        {"HEAD", "/v2/health/live", TARGET_LIVE, 0},
        {"GET", "http://any.host:8000/v2/health/live", TARGET_LIVE, 0},
        {"GET", "HTTP://any.host", TARGET_PAGE, 0},
        {"GET", "/v2/health/ready/", TARGET_READY, 0},
        {"GET", "/v2/models/m", TARGET_MODEL, 0},
        {"GET", "/v2/models/m/versions/1", TARGET_MODEL, 0},
        {"GET", "/v2/models/m/versions/1/ready", TARGET_MODEL_READY, 0},
        {"POST", "/v2/models/m/infer", TARGET_INFER, 0},
        {"POST", "/v2/models/m/versions/1/infer/", TARGET_INFER, 0},
        {"POST", "/v2/models/m/versions/2/infer", 0, 404},
        {"POST", "/v2/models/other/infer", 0, 404},
        {"GET", "/v2/models/m/infer", 0, 405},
        {"GET", "/v2/models/m/config", TARGET_CONFIG, 0},
        {"GET", "/v2/models/m/versions/1/stats", TARGET_STATS, 0},
        {"GET", "/v2/models/stats", TARGET_STATS, 0},
        {"GET", "/metrics", TARGET_METRICS, 0},
        {"POST", "/v2/repository/index", TARGET_INDEX, 0},
        {"GET", "/v2/repository/index", 0, 405},
        {"POST", "/v2/repository/models/m/load", TARGET_LOAD, 0},
        {"POST", "/v2/repository/models/m/unload/", TARGET_UNLOAD, 0},
        {"GET", "/v2/repository/models/m/load", 0, 405},
        {"POST", "/v2/repository/models/other/load", 0, 404},
        {"POST", "/v2/repository/models/m", 0, 404},
        {"POST", "/v2/repository/models/m/reload", 0, 404},
        {"POST", "/v2/repository", 0, 404},
        {"GET", "/v2/systemsharedmemory/region/a/status", 0, 501},
        {"GET", "/v2/models/m/trace/setting", TARGET_TRACES, 0},
        {"GET", "/v2/trace/setting", TARGET_TRACES, 0},
        {"POST", "/v2/trace/setting", TARGET_SET_TRACES, 0},
        {"POST", "/v2/models/m/trace/setting", TARGET_SET_TRACES, 0},
        {"PUT", "/v2/trace/setting", 0, 405},
        {"GET", "/v2/logging", 0, 501},
        {"PUT", "/v2", 0, 405},
        {"GET", "/", TARGET_PAGE, 0},
        {"GET", "/live", TARGET_LIVE_STATE, 0},
        {"POST", "/", 0, 405},
        {"GET", "", 0, 404},
        {"GET", "*", 0, 404},
        {"GET", "//v2", 0, 404},
        {"GET", "/v2/models", 0, 404},
        {"GET", "/v2/models/m/versions", 0, 404},
        {"GET", "/a/b/c/d/e/f/g/h/i/j", 0, 404},
    };
    (void)state;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        struct http_route r = http_route(c[i].method, c[i].path, "m");
        assert_int_equal(r.target, c[i].target);
        assert_int_equal(r.status, c[i].status);
        assert_int_equal(r.status != 0, *r.why.text != '\0');
    }
    assert_non_null(strstr(http_route("GET", "/v2/models/cat", "m").why.text, "Request for unknown model"));
    assert_string_equal(http_route("GET", "/v2/models/m/infer", "m").allow, "POST");
}

/* ---- metrics ---- */

static double sample(const struct json_text *t, const char *name)
{
    const char *at = strstr(t->at, name);
    if (!at)
        fail_msg("no %s in %s", name, t->at);
    return strtod(at + strlen(name), NULL);
}

/* Counters add up; what nobody counts is left out when the broker is silent. */
static void test_metrics(void **state)
{
    static struct status_reply s = {.admitted = 10,
                                    .answered = 7,
                                    .hits = 3,
                                    .known = 1,
                                    .failed = 2,
                                    .in_flight = 1,
                                    .overloaded = 15,
                                    .refused_full = 1,
                                    .refused_late = 2,
                                    .refused_rate = 4,
                                    .refused_wrong = 9,
                                    .n_exits = 2,
                                    .exit = {{1}, {2}},
                                    .n_processes = 2,
                                    .ready = true};
    static struct http_counts h = {.connections = 3};
    struct pipeline p = {.name = (char[]){"m"}};
    struct json_text t = {.at = NULL};
    struct oip_row row = {.trace = {.n = 1, .stage = {{.queue_ns = 5, .compute_ns = 7}}}};
    static struct view v;
    struct metrics m = {.pipeline = &p, .http = &h, .status = &s, .view = &v, .own = {.cpu_ms = 1500}};
    struct http_call c = {.request = {.rows = 1}, .row = &row, .reply = {.status = 200}};
    static struct settings settings;
    double early = 0, all;
    json_t *root;
    int fail, queue;
    (void)state;
    s.process[0] = (struct process_status){
        .role = ROLE_STAGE, .host = "a\"b", .state = "ready", .last = {.jobs = 9, .lookups = 8, .hits = 3}};
    s.process[1] = (struct process_status){.role = ROLE_STAGE, .host = "new", .state = "waiting"};
    metrics_count(&h, 200);
    metrics_count(&h, 9999);
    metrics_took(&h, &settings, &c, 2 * NS_PER_MS);
    c.reply.status = 503;
    metrics_took(&h, &settings, &c, 99 * NS_PER_S);
    view_of(&v, &p, &s);
    metrics_text(&t, &m);
    json_text_bytes(&t, "", 1);
    all = sample(&t, "freezeline_requests_answered_total{model=\"m\"} ");
    assert_float_equal(sample(&t, "freezeline_requests_admitted_total{model=\"m\"} "), all + 2 + 1, 0);
    early = sample(&t, "{model=\"m\",exit=\"exit1\"} ") + sample(&t, "{model=\"m\",exit=\"exit2\"} ") +
            sample(&t, "{model=\"m\",exit=\"known\"} ");
    assert_float_equal(sample(&t, "{model=\"m\",exit=\"none\"} ") + early, all, 0);
    assert_float_equal(sample(&t, "nv_inference_count{model=\"m\",version=\"1\"} "), all - 1, 0);
    assert_float_equal(sample(&t, "nv_cache_num_hits_per_model{model=\"m\",version=\"1\"} "), 1, 0);
    assert_float_equal(
        sample(&t, "_jobs_total{model=\"m\",role=\"stage\",stage=\"0\",replica=\"0\",host=\"a\\\"b\"} "), 9,
        0);
    assert_float_equal(
        sample(&t, "_misses_total{model=\"m\",role=\"stage\",stage=\"0\",replica=\"0\",host=\"a\\\"b\"} "), 5,
        0);
    assert_float_equal(
        sample(&t, "_cpu_seconds_total{model=\"m\",role=\"broker\",stage=\"0\",replica=\"0\",host=\"\"} "),
        1.5, 0);
    assert_float_equal(sample(&t, "_refused_total{model=\"m\",reason=\"queue\"} "), 8, 0);
    assert_float_equal(sample(&t, "_refused_total{model=\"m\",reason=\"late\"} "), 2, 0);
    assert_float_equal(sample(&t, "_refused_total{model=\"m\",reason=\"wrong\"} "), 9, 0);
    assert_float_equal(sample(&t, "_seconds_bucket{model=\"m\",le=\"0.001\"} "), 0, 0);
    assert_float_equal(sample(&t, "_seconds_bucket{model=\"m\",le=\"0.0025\"} "), 1, 0);
    assert_float_equal(sample(&t, "_seconds_bucket{model=\"m\",le=\"10\"} "), 1, 0);
    assert_float_equal(sample(&t, "_seconds_bucket{model=\"m\",le=\"+Inf\"} "), 2, 0);
    assert_float_equal(sample(&t, "replies_total{code=\"200\"} "), 1, 0);
    assert_null(strstr(t.at, "host=\"new\""));
    json_text_free(&t);
    m.status = NULL;
    metrics_text(&t, &m);
    json_text_bytes(&t, "", 1);
    assert_float_equal(sample(&t, "freezeline_up{model=\"m\"} "), 0, 0);
    assert_null(strstr(t.at, "admitted"));
    json_text_free(&t);
    metrics_stats_text(&t, &p, &h);
    root = parsed(&t, t.n);
    assert_int_equal(json_unpack(root, "{s:[{s:{s:{s:i},s:{s:i}}}]}", "model_stats", "inference_stats",
                                 "fail", "count", &fail, "queue", "ns", &queue),
                     0);
    assert_int_equal(fail * 10 + queue, 15);
    json_decref(root);
    json_text_free(&t);
}

/* ---- calls ---- */

static void test_bodies_are_bounded(void **state)
{
    struct http_memory memory = {.most = 10000, .most_of_one = 8000};
    struct http_route route = {.target = TARGET_INFER};
    struct http_call a, b;
    char piece[5000] = {0};
    (void)state;
    http_call_begin(&a, &memory, &route);
    http_call_begin(&b, &memory, &route);
    assert_true(http_call_body(&a, piece, 5000));
    assert_false(a.refused);
    assert_true(http_call_body(&b, piece, 3000)); /* together more than there is */
    assert_true(b.refused);
    assert_int_equal(b.error.code, FL_OVERLOADED);
    assert_true(b.retry_after_ms > 0);
    assert_true(http_call_body(&a, piece, 5000));
    assert_true(a.refused);
    assert_int_equal(a.error.code, FL_TOO_LARGE);
    assert_int_equal(memory.used, 0);
    while (a.size + 5000 <= HTTP_WASTE * memory.most_of_one)
        assert_true(http_call_body(&a, piece, 5000));
    assert_false(http_call_body(&a, piece, 5000)); /* whoever sends on and on */
    http_call_free(&a);
    http_call_free(&b);
}

static void test_statuses(void **state)
{
    (void)state;
    assert_int_equal(http_status(FL_SHAPE), 400);
    assert_int_equal(http_status(FL_DEADLINE), 408);
    assert_int_equal(http_status(FL_TOO_LARGE), 413);
    assert_int_equal(http_status(FL_OVERLOADED), 429);
    assert_int_equal(http_status(FL_UNSUPPORTED), 501);
    assert_int_equal(http_status(FL_UNAVAILABLE), 503);
    for (int i = FL_OK + 1; i < FL_CODES; i++)
        assert_in_range(http_status(i), 400, 503);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats_as_text),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_all_floats_come_back),
        cmocka_unit_test(test_nested_is_flat),
        cmocka_unit_test(test_bad_numbers),
        cmocka_unit_test(test_conversions_are_exact),
        cmocka_unit_test(test_cut_leaves_a_small_text),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_binary_requests),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_response),
        cmocka_unit_test(test_true_labels),
        cmocka_unit_test(test_compressed_replies),
        cmocka_unit_test(test_traces_go_on),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_index_says_why),
        cmocka_unit_test(test_what_is_asked_of_the_repository),
        cmocka_unit_test(test_settings_of_traces),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_bodies_are_bounded),
        cmocka_unit_test(test_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
