/* fuzz_oip.c - any bytes as a path, as headers, and as a body of an inference request: rows that the model
 * takes, or one line of error
 *
 * The first byte chooses what the model is and how the body comes. What was read as JSON is JSON for a parser
 * that reads all of it. It is answered, and the answer is JSON; what was not read gets a 4xx, or 501.
 */
#include <jansson.h>
#include <strings.h>

#include "broker/http/http_access.h"
#include "broker/http/http_call.h"
#include "fuzz_input.h"

#define MOST_BYTES (1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct oip_model models[] = {
    {{"x", {TENSOR_F32, 2, {1, 2}, NULL}}, {"y", {TENSOR_F32, 2, {1, 3}, NULL}}, 8},
    {{"x", {TENSOR_U8, 4, {1, 1, 2, 2}, NULL}}, {"y", {TENSOR_F32, 2, {1, 1}, NULL}}, 1},
    {{"x", {TENSOR_I64, 1, {1}, NULL}}, {"y", {TENSOR_F32, 2, {1, 2}, NULL}}, 64},
};

static void check_json(const char *text, size_t size)
{
    json_error_t why;
    json_t *root = json_loadb(text, size, JSON_DECODE_INT_AS_REAL, &why); /* of 64 bits and no sign, too */
    FUZZ_CHECK(json_is_object(root));
    json_decref(root);
}

/* Each row is answered, with scores or without. */
static void answer(struct http_call *c, struct fuzz_input *in)
{
    const float scores[3] = {0.5f, 1e30f, -2};
    int rows = c->request.rows;
    volatile char last;
    for (size_t i = 0; i < (size_t)rows * c->request.row_bytes; i++)
        last = c->request.data[i]; /* all of it is there */
    (void)last;
    c->first_id = UINT64_MAX - 1;
    c->sent = c->left = rows;
    for (int i = 0; i < rows; i++) {
        struct answer a = {.id = c->first_id + (uint64_t)i,
                           .label = (int32_t)fuzz_below(in, 5) - 1,
                           .exit = -1,
                           .confidence = 0.5f};
        a.error = fuzz_below(in, 32) == 1 ? FL_OVERLOADED : FL_OK;
        http_call_answer(c, &a, scores, fuzz_below(in, 2) ? c->classes : 0);
    }
    FUZZ_CHECK(c->left == 0);
}

static void check_reply(const struct http_call *c)
{
    const struct http_reply *r = &c->reply;
    FUZZ_CHECK(r->status == 200
                   ? !c->error.code
                   : ((r->status >= 400 && r->status < 500) || r->status == 501) && c->error.text[0]);
    FUZZ_CHECK(r->status == 200 || r->header < 0);
    FUZZ_CHECK(!strchr(c->error.text, '\n') && !r->text.failed);
    FUZZ_CHECK(r->header <= (int64_t)r->text.n);
    check_json(r->text.at, r->header < 0 ? r->text.n : (size_t)r->header);
}

/* Nobody is let in by chance. */
static void check_headers(const char *text)
{
    static struct http_access a = {.on = true};
    static struct allowed one = {.role = PARTY_OPERATOR, .name = "opa"};
    if (!a.tokens.n) {
        http_token_hash(one.key, "fz_", 3);
        a.tokens = (struct allow_list){.n = 1, .entry = &one};
    }
    FUZZ_CHECK(http_access_guest(&a, text, NULL, 1).party == PARTY_NOBODY || strstr(text, "fz_") ||
               !strncasecmp(text, "Basic", 5));
    http_accepts(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, data + size};
    struct http_memory memory = {.most = 2 * MOST_BYTES, .most_of_one = MOST_BYTES};
    struct http_route route = {.target = TARGET_INFER};
    static struct pipeline p;
    static const struct view view = {.layers = 3, .promise = {.made = true}};
    struct http_call c;
    uint8_t how = fuzz_byte(&in);

    p.name = (char[]){"m"};
    http_call_begin(&c, &memory, &route);
    if (how & 1)
        c.header = how & 2 ? 0 : (int64_t)fuzz_byte(&in);
    c.deflated = (how & 12) == 12;
    c.picture = (how & 12) == 8;
    c.form = c.picture && how & 1;
    http_call_body(&c, (const char *)in.at, (size_t)(in.end - in.at) / 2);
    http_call_body(&c, (const char *)in.at + (in.end - in.at) / 2, (size_t)(in.end - in.at + 1) / 2);
    if (!http_call_read(&c, &models[(how >> 4) % 3], &p)) {
        if (!c.picture && c.header)
            check_json(c.body, c.header < 0 ? c.size : (size_t)c.header);
        answer(&c, &in);
    }
    http_call_finish(&c, &p, how & 1 ? &view : NULL);
    check_reply(&c);
    http_call_free(&c);
    FUZZ_CHECK(memory.used == 0);

    {
        char path[256];
        size_t n = size < sizeof path - 1 ? size : sizeof path - 1;
        memcpy(path, data, n);
        path[n] = '\0';
        check_headers(path);
        route = http_route("GET", path, "m");
        FUZZ_CHECK((route.target == TARGET_NONE) == (route.status != 0));
    }
    return 0;
}
