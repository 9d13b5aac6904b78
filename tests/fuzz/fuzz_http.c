/* fuzz_http.c - a connection to the HTTP door: any bytes, and requests made of sound and of wrong parts
 *
 * The door is the real one: libmicrohttpd, a socket, all of broker/http but the broker's client, in whose
 * place (http_backend.h) one stands that answers at once. Of a request that was put together here it is known
 * what is wrong with it: then it gets the status that goes with that, a 4xx (501: what is not had), and else
 * its answer; and what follows on the same connection is understood. Of any bytes: each reply has a status
 * that is known, no 500 among them, and what is answered with 200 was JSON, or had no JSON. After each input
 * nothing is left of its connection.
 *
 * Included and not linked: the door's own thread sleeps, here its turns come one after the other.
 */
#include "broker/http/http_door.c"

#include <jansson.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <zlib.h>

#include "fuzz_input.h"

#define MOST_WIRE  (64 << 10)
#define MOST_TURNS 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is wrong: of a request several may be, and each of their statuses is right then. */
enum {
    SOUND = 0,
    WRONG = 1 << 0,   /* 400 */
    UNKNOWN = 1 << 1, /* 404 */
    METHOD = 1 << 2,  /* 405 */
    LARGE = 1 << 3,   /* 413, 414, 431 */
    NOT_HAD = 1 << 4, /* 501, 505 */
    CUT_OFF = 1 << 5, /* no reply, the end of the connection */
};

static struct {
    struct fuzz_input in;
    struct http_door door;
    struct http_call *answers, *asks; /* waits for answers; for what the broker tells */
    bool moved;                       /* something went on in this turn */
    bool fails, absent, knows_nothing;
    uint64_t ids;
    int wrong;
    bool any;    /* bytes that nothing is known of */
    bool closes; /* the connection, behind this request */
    char wire[MOST_WIRE], back[MOST_WIRE];
    size_t n, came;
} f;

/* ---- the broker that stands behind it ---- */

struct http_backend {
    char nothing;
};

static const struct oip_model the_model = {
    {"x", {TENSOR_F32, 2, {1, 2}, NULL}}, {"y", {TENSOR_F32, 2, {1, 3}, NULL}}, 8};

int http_backend_new(struct http_backend **out, const struct pipeline *p, struct settings *settings,
                     struct error *e)
{
    static struct http_backend one;
    (void)p, (void)settings, (void)e;
    *out = &one;
    return FL_OK;
}

void http_backend_free(struct http_backend *b)
{
    (void)b;
}

bool http_backend_has(struct http_backend *b, enum http_need need, uint64_t since_ns)
{
    (void)b;
    return need == NEED_NOTHING || since_ns || !f.knows_nothing;
}

void http_backend_await(struct http_backend *b, struct http_call *c)
{
    (void)b;
    FUZZ_CHECK(!f.asks);
    c->asked_ns = 1;
    f.asks = c;
    f.moved = true;
}

const struct status_reply *http_backend_status(const struct http_backend *b)
{
    static const struct status_reply told = {.ready = true};
    (void)b;
    return f.absent ? NULL : &told;
}

const struct times *http_backend_times(const struct http_backend *b)
{
    static const struct times none;
    (void)b;
    return &none;
}

const struct view *http_backend_view(const struct http_backend *b)
{
    static const struct view view = {.layers = 3, .promise = {.made = true}};
    (void)b;
    return &view;
}

int http_backend_model(const struct http_backend *b, struct oip_model *out, struct error *e)
{
    (void)b;
    *out = the_model;
    return f.absent ? error_set(e, FL_UNAVAILABLE, "the broker does not reply") : FL_OK;
}

/* What is JSON for us is JSON for a parser that reads all of it. */
static void check_json(const char *text, size_t size)
{
    json_error_t why;
    json_t *root = json_loadb(text, size, JSON_DECODE_INT_AS_REAL, &why);
    FUZZ_CHECK(json_is_object(root));
    json_decref(root);
}

void http_backend_send(struct http_backend *b, struct http_call *c)
{
    size_t bytes = (size_t)c->request.rows * c->request.row_bytes;
    volatile char last;
    (void)b;
    FUZZ_CHECK(!f.answers && c->request.rows > 0 && c->request.rows <= the_model.most_rows && bytes);
    for (size_t i = 0; i < bytes; i++)
        last = c->request.data[i]; /* all of it is there */
    (void)last;
    if (!c->picture && c->header)
        check_json(c->body, c->header < 0 ? c->size : (size_t)c->header);
    if (f.fails) {
        error_set(&c->error, FL_OVERLOADED, "too many requests");
        return;
    }
    c->first_id = f.ids;
    f.ids += (uint64_t)c->request.rows;
    c->sent = c->left = c->request.rows;
    f.answers = c;
}

static void leave_labels(struct http_call *c)
{
    free(c->labels);
    c->labels = NULL;
}

static void leave_loading(struct http_call *c)
{
    free(c->loading);
    c->loading = NULL;
}

void http_backend_forget(struct http_backend *b, struct http_call *c)
{
    (void)b;
    f.answers = f.answers == c ? NULL : f.answers;
    f.asks = f.asks == c ? NULL : f.asks;
    leave_labels(c);
    leave_loading(c);
    c->sent = c->left = 0;
}

int http_backend_tell(struct http_backend *b, struct http_call *c, const struct feedback_item *item, int n)
{
    FUZZ_CHECK(n > 0 && n <= MESSAGE_MAX_FEEDBACK && item);
    if (!(c->labels = calloc(1, sizeof *c->labels)))
        return error_set(&c->error, FL_NOMEM, "out of memory for true labels");
    c->labels->reply.taken = (uint32_t)n;
    http_backend_await(b, c);
    return FL_OK;
}

int http_backend_load(struct http_backend *b, struct http_call *c, bool loads)
{
    if (f.fails)
        return error_set(&c->error, FL_OVERLOADED, "8 others wait already to load or unload");
    if (!(c->loading = calloc(1, sizeof *c->loading)))
        return error_set(&c->error, FL_NOMEM, "out of memory");
    c->loading->loads = loads;
    if (f.absent)
        c->loading->rc = error_set(&c->loading->error, FL_UNAVAILABLE, "failed to load 'm'");
    atomic_store(&f.door.server.settings->unloaded, !loads);
    http_backend_await(b, c);
    return FL_OK;
}

void http_backend_collect(struct http_backend *b, void (*done)(void *arg, struct http_call *c), void *arg)
{
    static const float scores[3] = {0.5f, 1e30f, -2};
    struct http_call *c = f.answers;
    if (!c)
        return;
    for (int i = 0, n = c->sent; i < n; i++)
        http_call_answer(
            c, &(struct answer){.id = c->first_id + (uint64_t)i, .label = 1, .exit = -1, .confidence = 0.5f},
            scores, c->classes);
    http_backend_forget(b, c);
    f.moved = true;
    done(arg, c);
}

void http_backend_hear(struct http_backend *b, void (*done)(void *arg, struct http_call *c), void *arg)
{
    struct http_call *c = f.asks;
    (void)b;
    f.asks = NULL;
    f.moved = f.moved || c;
    if (c)
        done(arg, c);
}

void http_backend_abandon(struct http_backend *b, void (*done)(void *arg, struct http_call *c), void *arg)
{
    (void)b, (void)done, (void)arg;
}

int http_backend_fd(const struct http_backend *b)
{
    (void)b;
    return -1;
}

int http_backend_asker_fd(const struct http_backend *b)
{
    (void)b;
    return f.door.wake_fd; /* readable for good: no turn sleeps */
}

static void open_door(void)
{
    static const char yaml[] =
        "model: tiny.onnx\nname: m\n"
        "broker: {http: '127.0.0.1:0', max_request_mb: 0.02, max_memory_mb: 1, model_control: true}\n";
    static struct settings settings;
    struct pipeline *p;
    struct error e;
    char where[160];
    int listener;
    log_threshold = LOG_LEVEL_ERROR + 1;
    if (pipeline_parse(&p, yaml, sizeof yaml - 1, "fuzz.yaml", NULL, 0, &e)) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    settings_init(&settings, p);
    f.door.pipeline = p;
    rates_init(&f.door.rates, 0);
    f.door.wake_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (f.door.wake_fd < 0 || http_callers_open(&f.door.callers, &e) ||
        http_server_open(&f.door.server, p, &settings, &e) ||
        http_listen(&listener, p, where, sizeof where, &e) || start_daemon(&f.door, listener, &e))
        abort();
}

/* ---- requests ---- */

static void put_bytes(const void *bytes, size_t n)
{
    n = n < MOST_WIRE - f.n ? n : MOST_WIRE - f.n;
    if (n)
        memcpy(f.wire + f.n, bytes, n);
    f.n += n;
}

static void put(const char *text)
{
    put_bytes(text, strlen(text));
}

static void put_number(const char *format, unsigned long long n)
{
    char text[64];
    snprintf(text, sizeof text, format, n);
    put(text);
}

/* A part, and what is wrong with it. */
struct part {
    const char *text;
    int wrong;
};

/* The first one mostly. Returns its place. */
#define CHOOSE(parts) choose(parts, sizeof(parts) / sizeof *(parts))
static size_t choose(const struct part *parts, size_t n)
{
    uint8_t b = fuzz_byte(&f.in);
    size_t i = b < 128 ? 0 : b % n;
    f.wrong |= parts[i].wrong;
    put(parts[i].text);
    return i;
}

static void put_line(void)
{
    static const struct part methods[] = {{"POST", SOUND},    {"GET", METHOD},     {"PUT", METHOD},
                                          {"DELETE", METHOD}, {"OPTIONS", METHOD}, {"post", METHOD},
                                          {"A", METHOD}};
    static const struct part paths[] = {{" /v2/models/m/infer", SOUND},
                                        {" /v2/models/m/infer/", SOUND},
                                        {" /v2/models/m/versions/1/infer", SOUND},
                                        {" /v2/models/m/infer?a=b&c", SOUND},
                                        {" /v2/models/m/infer?", SOUND},
                                        {" /v2/models/m/infer?%zz=%&&==%00", SOUND},
                                        {" /v2/models/%6d/infer", SOUND},
                                        {" /v2/models/m/versions/2/infer", UNKNOWN},
                                        {" /v2/models/n/infer", UNKNOWN},
                                        {" /v2/models/m/infer//", UNKNOWN},
                                        {" //v2/models/m/infer", UNKNOWN},
                                        {" /v2/models/m%00/infer/a/b/c/d/e/f", UNKNOWN},
                                        {" /v2/models/m/infer%00", UNKNOWN},
                                        {" /v2/a?/models/m/infer", UNKNOWN},
                                        {" /v2/models/m/infer?exits=false&id=a&stream=b&x=%ff", SOUND},
                                        {" http://a/v2/models/m/infer", SOUND},
                                        /* from here on what bodies mean is not known here */
                                        {" /v2/repository/models/m/load", SOUND},
                                        {" /v2/repository/models/m/unload", SOUND},
                                        {" /v2/trace/setting", SOUND},
                                        {" /v2/repository/index", SOUND}};
    static const size_t of_infer = sizeof paths / sizeof *paths - 4;
    static const struct part versions[] = {{" HTTP/1.1\r\n", SOUND},
                                           {" HTTP/1.0\r\n", SOUND},
                                           {" HTTP/1.2\r\n", SOUND},
                                           {" HTTP/9.9\r\n", NOT_HAD}};
    CHOOSE(methods);
    f.any = CHOOSE(paths) >= of_infer || f.any;
    f.closes = CHOOSE(versions) == 1;
}

static void put_headers(void)
{
    static const struct part hosts[] = {{"Host: a\r\n", SOUND},
                                        {"host:a:80\r\n", SOUND},
                                        {"HOST: \r\n", SOUND},
                                        {"Host: a\r\nHost: b\r\n", SOUND}};
    static const struct part others[] = {
        {"", SOUND},
        {"Accept-Encoding: gzip, deflate;q=0\r\n", SOUND},
        {"Accept-Encoding: ,;q=,*;q=x\r\n", SOUND},
        {"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n", SOUND},
        {"traceparent: 00-0\r\nCookie: a=b; ;=;\"\r\n", SOUND},
        {"Accept: application/openmetrics-text\r\nX:\r\n", SOUND},
        {"Authorization: Bearer \r\n", SOUND},
        {"Content-Type: image\r\n", SOUND}};
    CHOOSE(hosts);
    CHOOSE(others);
}

#define BODY_MOST 4096

struct body {
    uint8_t at[BODY_MOST];
    size_t n, json; /* json: how much of it is JSON; 0: none */
    bool raw;       /* none of it */
};

static void add(struct body *b, const void *bytes, size_t n)
{
    n = n < BODY_MOST - b->n ? n : BODY_MOST - b->n;
    if (n)
        memcpy(b->at + b->n, bytes, n);
    b->n += n;
}

/* A body, sound or not, or any text. */
static void make_body(struct body *b)
{
#define HEAD "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":"
    static const struct part texts[] = {
        {HEAD "[1,2],\"data\":[1,-2.5e3]}]}", SOUND},
        {HEAD "[2,2],\"data\":[[1,2],[3,4]]}],\"id\":\"a\"}", SOUND},
        {HEAD "[1,2],\"data\":[1,2]}],\"outputs\":[{\"name\":\"y\",\"parameters\":{\"binary_data\":true}}]}",
         SOUND},
        {HEAD "[1,2],\"data\":[1,2]}],\"parameters\":{\"timeout\":1000,\"priority\":9,\"exits\":false}}",
         SOUND},
        {HEAD "[1,2],\"data\":[1,2]}]", WRONG},
        {HEAD "[1,2],\"data\":[1,2}]}", WRONG},
        {HEAD "[1,2],\"data\":[1,02]}]}", WRONG},
        {HEAD "[1,2],\"data\":[1,2]}]}}", WRONG},
        {HEAD "[1,2],\"data\":[1,1e39]}]}", WRONG},
        {HEAD "[1,2],\"data\":[1,NaN]}]}", WRONG},
        {HEAD "[1,2],\"data\":[1,2],\"name\":\"x\"}]}", WRONG},
        {HEAD "[1,2],\"data\":[1]}]}", WRONG},
        {HEAD "[1,2],\"data\":\"a\"}]}", WRONG},
        {HEAD "[1,2],\"data\":[1,2]}],\"parameters\":{\"priority\":10}}", WRONG},
        {HEAD "[-1,2],\"data\":[1,2]}]}", WRONG},
        {HEAD "[4611686018427387904,2],\"data\":[1,2]}]}", LARGE},
        {HEAD "[9,2],\"data\":[1,2]}]}", LARGE},
        {HEAD "[1,3],\"data\":[1,2,3]}]}", WRONG},
        {HEAD "[1,2],\"parameters\":{\"binary_data_size\":8}}]}", WRONG},
        {"{\"inputs\":[]}", WRONG},
        {"[]", WRONG},
        {"\"", WRONG},
        {"", WRONG},
        {"{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,2],\"data\":[1,2]}],"
         "\"parameters\":{\"sequence_id\":1}}",
         NOT_HAD}};
    static const char binary[] = HEAD "[1,2],\"parameters\":{\"binary_data_size\":8}}]}";
    uint8_t how = fuzz_byte(&f.in), which = fuzz_byte(&f.in);
    if (how < 100) {
        const struct part *p = &texts[which % (sizeof texts / sizeof *texts)];
        add(b, p->text, strlen(p->text));
        b->json = b->n;
        f.wrong |= p->wrong;
    } else if (how < 150) {
        add(b, binary, sizeof binary - 1);
        b->json = b->n;
        add(b, "\0\0\200\77\0\0\200\177\1", which & 1 ? 7 + which % 3 : 8);
        f.wrong |= b->n - b->json == 8 ? SOUND : WRONG;
    } else if (how < 180) {
        b->raw = true;
        b->n = which & 1 ? which : which % 9 * 8;
        f.wrong |= !b->n || b->n % 8 ? WRONG : SOUND;
    } else {
        add(b, f.in.at, (size_t)(f.in.end - f.in.at));
        b->json = b->n;
        f.any = true;
    }
#undef HEAD
}

/* How much of the body is JSON, by its header. */
static void put_length_of_json(const struct body *b)
{
    static const struct part wrong[] = {
        {"", WRONG},   {"-1", WRONG},  {"+8", WRONG},  {"0x8", WRONG},
        {"8x", WRONG}, {"8,8", WRONG}, {"1e1", WRONG}, {"9223372036854775808", WRONG}};
    bool none = b->json == b->n && !b->raw;
    uint8_t how = fuzz_byte(&f.in);
    if (none && how < 200)
        return;
    put("Inference-Header-Content-Length: ");
    if (how > 230)
        CHOOSE(wrong);
    else if (how > 225)
        put_number("%llu", b->n + 1), f.wrong |= WRONG;
    else
        put_number(how & 1 ? "%llu" : "%05llu", b->raw ? 0 : b->json);
    /* of no body nothing is JSON, and nothing is raw: "0" alone is said of it */
    put("\r\n");
    if (!b->json && !b->raw)
        f.any = true;
}

/* As gzip writes what it does not compress. */
static void pack(struct body *b)
{
    static uint8_t from[BODY_MOST];
    uint8_t head[15] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1}, tail[8];
    size_t n = b->n < BODY_MOST - 64 ? b->n : BODY_MOST - 64;
    uint32_t sum = (uint32_t)crc32(0, b->at, (uInt)n);
    uint16_t length = (uint16_t)n, other = (uint16_t)~length;
    if (n < b->n)
        f.any = true;
    memcpy(from, b->at, n);
    memcpy(head + 11, &length, 2);
    memcpy(head + 13, &other, 2);
    memcpy(tail, &sum, 4);
    memcpy(tail + 4, &(uint32_t){(uint32_t)n}, 4);
    b->n = 0;
    add(b, head, sizeof head);
    add(b, from, n);
    add(b, tail, sizeof tail);
}

static void damage(struct body *b)
{
    uint8_t at = fuzz_byte(&f.in), how = fuzz_byte(&f.in);
    if (how < 64) {
        b->n = b->n > at ? b->n - 1 - at : 0; /* cut off */
    } else if (how < 128) {
        add(b, "x", 1);
    } else if (b->n > 8) {
        b->at[b->n - 1 - at % 8] ^= (uint8_t)(1 + (how & 0x7f)); /* sum or length is another */
    }
    f.wrong |= WRONG;
}

static void put_coding(struct body *b)
{
    uint8_t how = fuzz_byte(&f.in);
    if (how < 150)
        return;
    if (how < 220) {
        put(how & 1 ? "Content-Encoding: gzip\r\n" : "content-encoding: X-GZIP\r\n");
        pack(b);
        if (how > 200)
            damage(b);
    } else if (how < 230) {
        put("Content-Encoding: identity\r\n");
    } else if (how < 240) {
        put("Content-Encoding: br\r\n");
        f.wrong |= NOT_HAD;
    } else {
        put("Content-Encoding: deflate\r\n");
        f.wrong |= WRONG; /* no body here is that */
        f.any = b->n > 2 && (b->at[0] & 15) == 8 ? true : f.any;
    }
}

static void put_chunks(const struct body *b)
{
    static const struct part sizes[] = {{"x", WRONG | CUT_OFF},
                                        {"-1", WRONG | CUT_OFF},
                                        {"", WRONG | CUT_OFF},
                                        {"ffffffffffffffffff", WRONG | LARGE | CUT_OFF},
                                        {"0x5", WRONG | CUT_OFF}};
    size_t at = 0, step = 1 + (size_t)fuzz_byte(&f.in);
    if (step > 250) { /* what a proxy may believe instead */
        put("Content-Length: 5\r\n");
        f.wrong |= WRONG | CUT_OFF;
    }
    put("Transfer-Encoding: chunked\r\n\r\n");
    for (; at < b->n; at += step) {
        size_t n = b->n - at < step ? b->n - at : step;
        uint8_t how = fuzz_byte(&f.in);
        if (how > 250) {
            CHOOSE(sizes);
            put("\r\n");
            f.any = true;
        } else {
            put_number(how & 1 ? "%llx" : "%04llX", n);
            put(how & 2 && how > 128 ? ";a=b\r\n" : "\r\n");
        }
        put_bytes(b->at + at, n);
        put("\r\n");
    }
    put(fuzz_byte(&f.in) > 200 ? "0\r\nX-Trailer: a\r\n\r\n" : "0\r\n\r\n");
}

static void put_whole(const struct body *b)
{
    static const struct part lengths[] = {{"x", WRONG | CUT_OFF},
                                          {"-1", WRONG | CUT_OFF},
                                          {"99999999999999999999", LARGE | WRONG | CUT_OFF},
                                          {"1000000", LARGE}};
    uint8_t how = fuzz_byte(&f.in);
    put("Content-Length: ");
    if (how > 250) {
        /* of what is not had here the body comes first */
        if (CHOOSE(lengths) == 3 && f.wrong & (METHOD | UNKNOWN | NOT_HAD))
            f.wrong |= CUT_OFF;
    } else if (how > 245) {
        put_number("%llu", b->n + 1); /* what follows is taken for the rest */
        f.wrong |= WRONG | CUT_OFF;
        f.any |= b->n != b->json; /* of numbers it may be the rest */
    } else {
        put_number("%llu", b->n);
        if (how > 240) {
            put_number("\r\nContent-Length: %llu", b->n + 1);
            f.wrong |= WRONG | CUT_OFF;
        }
    }
    put("\r\n\r\n");
    put_bytes(b->at, b->n);
}

static void put_request(void)
{
    static struct body b;
    b.n = b.json = 0;
    b.raw = false;
    memset(b.at, 0, 256);
    put_line();
    put_headers();
    make_body(&b);
    put_length_of_json(&b);
    put_coding(&b);
    if (fuzz_byte(&f.in) > 180)
        put_chunks(&b);
    else
        put_whole(&b);
}

/* ---- the connection ---- */

static void receive(int fd)
{
    ssize_t n;
    while (f.came < sizeof f.back - 1 && (n = recv(fd, f.back + f.came, sizeof f.back - 1 - f.came, 0)) > 0)
        f.came += (size_t)n;
}

/* Until nothing comes back any more. */
static void let_turn(int fd)
{
    for (int i = 0, quiet = 0; i < MOST_TURNS && quiet < 2; i++) {
        size_t came = f.came;
        f.moved = false;
        turn(&f.door);
        receive(fd);
        quiet = came == f.came && !f.moved && !f.door.reading ? quiet + 1 : 0;
    }
}

static void talk(size_t first)
{
    static const struct sockaddr_un from = {.sun_family = AF_UNIX};
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) ||
        MHD_add_connection(f.door.daemon, pair[0], (const struct sockaddr *)&from, sizeof from) != MHD_YES)
        abort();
    if (first && send(pair[1], f.wire, first, MSG_NOSIGNAL) == (ssize_t)first)
        let_turn(pair[1]);
    if (send(pair[1], f.wire + first, f.n - first, MSG_NOSIGNAL) >= 0)
        let_turn(pair[1]);
    close(pair[1]);
    for (int i = 0; i < MOST_TURNS && f.door.server.counts.connections; i++) {
        f.door.server.told_ns = 0; /* who watches is told, so that it is seen who has gone */
        turn(&f.door);
    }
    FUZZ_CHECK(!f.door.server.counts.connections && !f.door.callers.list);
    FUZZ_CHECK(!f.answers && !f.asks && !f.door.server.memory.used);
}

/* ---- replies ---- */

#define SAID_CHECK(condition)                                                                                \
    do {                                                                                                     \
        bool as_it_should = (condition);                                                                     \
        if (!as_it_should)                                                                                   \
            fprintf(stderr, "%.*s\n--- %s; but\n%.*s\n", (int)f.n, f.wire, #condition, (int)f.came, f.back); \
        FUZZ_CHECK(as_it_should);                                                                            \
    } while (0)

static bool is_known(int status)
{
    static const int known[] = {200, 400, 403, 404, 405, 411, 413, 414, 429, 431, 501, 503, 505};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (status == known[i])
            return true;
    return false;
}

/* The status of the reply at *at, which goes on to the next one; 0: there is none. */
static int read_reply(char **at)
{
    char *end = f.back + f.came, *head = *at, *body, *length;
    int status;
    if (head == end || (f.came == sizeof f.back - 1 && !strstr(head, "\r\n\r\n"))) /* too long for us */
        return 0;
    SAID_CHECK(!strncmp(head, "HTTP/1.", 7) && (body = strstr(head, "\r\n\r\n")));
    status = atoi(head + 9);
    *body = '\0';
    body += 4;
    if (status == 100) {
        *at = body;
        return read_reply(at);
    }
    SAID_CHECK(is_known(status));
    length = strcasestr(head, "\r\nContent-Length: ");
    *at = !length ? end : strncmp(body, "HTTP/1.", 7) ? body + atol(length + 18) : body;
    if (*at > end)
        *at = end; /* it was too long for us, or of a HEAD */
    if (status >= 400 && strcasestr(head, "application/json") &&
        !strcasestr(head, "\r\nContent-Encoding: ") && body < *at)
        SAID_CHECK(!strncmp(body, "{\"error\":\"", 10));
    return status;
}

static bool goes_with(int status, int wrong)
{
    switch (status) {
    case 400:
        return wrong & WRONG;
    case 404:
        return wrong & UNKNOWN;
    case 405:
        return wrong & METHOD;
    case 413:
    case 414:
    case 431:
        return wrong & LARGE;
    case 501:
    case 505:
        return wrong & NOT_HAD;
    default:
        return false;
    }
}

static void check_replies(bool followed)
{
    char *at = f.back;
    int status;
    f.back[f.came] = '\0';
    if (f.any) {
        while (read_reply(&at))
            ;
        return;
    }
    status = read_reply(&at);
    if (!status && f.wrong & CUT_OFF)
        return;
    if (f.wrong)
        SAID_CHECK(goes_with(status, f.wrong) ||
                   (f.absent && status == 503 && f.wrong & ~(UNKNOWN | METHOD)));
    else
        SAID_CHECK(status == (f.absent ? 503 : f.fails ? 429 : 200));
    if (status == 200 && followed && !f.closes)
        SAID_CHECK(read_reply(&at) == 200);
    if (status == 200)
        SAID_CHECK(!read_reply(&at));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char next[] = "GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n";
    uint8_t how, first;
    bool followed;
    if (!f.door.pipeline)
        open_door();
    f.in = (struct fuzz_input){data, data + size};
    f.n = f.came = 0;
    f.wrong = SOUND;
    how = fuzz_byte(&f.in);
    first = fuzz_byte(&f.in);
    f.any = how & 1;
    f.absent = (how & 14) == 14;
    f.fails = (how & 14) == 12;
    f.knows_nothing = (how & 14) == 10;
    followed = !f.any && how & 16;
    if (f.any)
        put_bytes(f.in.at, (size_t)(f.in.end - f.in.at));
    else
        put_request();
    if (followed)
        put(next);
    atomic_store(&f.door.server.settings->unloaded, false);
    talk(how & 32 && f.n ? (size_t)first * f.n / 256 : 0);
    check_replies(followed);
    return 0;
}
