/* test_keys.c - key files, the list of who is let in, rotation; and that a socket lets in nobody else */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing.h"
#include "tests/scratch.h"
#include "base/clock.h"
#include "base/log.h"
#include "deploy/operate/key_rotation.h"
#include "keys/allow_list.h"
#include "keys/keys.h"
#include "link/link.h"

static void give(struct allow_list *list, enum party role, const char *name, const char *file,
                 int64_t until_s)
{
    struct allowed a = {.role = role, .until_s = until_s};
    struct key_pair k;
    assert_int_equal(key_pair_new(&k, role, name, NULL), FL_OK);
    assert_int_equal(key_file_write(&k, in_folder(file), NULL), FL_OK);
    memcpy(a.key, k.public_key, sizeof a.key);
    snprintf(a.name, sizeof a.name, "%s", name);
    assert_int_equal(allow_list_add(list, &a, NULL), FL_OK);
}

static void give_all(struct allow_list *list)
{
    char file[32];
    for (int p = PARTY_BROKER; p < PARTIES; p++) {
        snprintf(file, sizeof file, "%s.key", party_name((enum party)p));
        give(list, (enum party)p, party_name((enum party)p), file, 0);
    }
    assert_int_equal(allow_list_write(list, folder, NULL), FL_OK);
}

/* ---- files ---- */

static void a_key_is_written_for_its_owner_and_read_again(void **state)
{
    struct key_pair k, again;
    struct stat st;
    struct error e;
    assert_int_equal(key_pair_new(&k, PARTY_CLIENT, "alice", &e), FL_OK);
    memcpy(k.broker[k.n_brokers++], k.public_key, KEY_TEXT_BYTES);
    memcpy(k.broker[k.n_brokers], k.public_key, KEY_TEXT_BYTES);
    strcpy(k.broker_host[k.n_brokers++], "node-1.b");
    assert_int_equal(key_file_write(&k, in_folder("client.key"), &e), FL_OK);
    assert_int_equal(stat(in_folder("client.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(key_file_read(&again, in_folder("client.key"), &e), FL_OK);
    assert_memory_equal(&again, &k, sizeof k);
    chmod(in_folder("client.key"), 0640);
    assert_int_equal(key_file_read(&again, in_folder("client.key"), &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "has mode 640, so others can read it: `chmod 600 "));
    assert_int_equal(key_file_read(&again, in_folder("none.key"), &e), FL_NOT_FOUND);
}

static void bad_key_files_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "role: client\n",
        "role: king\n",
        "role client\n",
        "public: tooshort\n",
        "name: a b\n",
        "name: a b c\n",
        "broker: tooshort host\n",
        "role: client\nname: a\npublic: Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\n"
        "secret: Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\n", /* not a pair */
    };
    char long_line[300];
    struct key_pair k;
    struct error e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(key_file_parse(&k, bad[i], strlen(bad[i]), "f", &e), FL_CONFIG);
    memset(long_line, 'a', sizeof long_line);
    assert_int_equal(key_file_parse(&k, long_line, sizeof long_line, "f", &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "f:1: "));
    assert_int_equal(key_file_parse(&k, "role: \0client\n", 14, "f", &e), FL_CONFIG);
}

static void moments_are_read_and_written(void **state)
{
    static const char *const bad[] = {
        "",           "x",          "2027", "2027-13-01", "2027-02-30", "2027-01-31T12:00", "2027-01-31 ",
        "1969-01-01", "99999-01-01"};
    char text[MOMENT_BYTES];
    int64_t s;
    assert_true(moment_parse(&s, "2027-01-31"));
    assert_string_equal(moment_text(s, text), "2027-01-31T00:00:00Z");
    assert_true(moment_parse(&s, "2027-01-31T12:34:56Z"));
    assert_string_equal(moment_text(s, text), "2027-01-31T12:34:56Z");
    assert_true(moment_parse(&s, "-"));
    assert_string_equal(moment_text(s, text), "-");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(moment_parse(&s, bad[i]));
}

#define KEY_A "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define KEY_B "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"

static void a_list_is_read_or_refused_with_its_line(void **state)
{
    static const char good[] = "# who\n\nclient " KEY_A " alice 2027-01-31\n  worker\t" KEY_B " w@1 -\n#end";
    static const char *const bad[] = {"client " KEY_A " alice",
                                      "client " KEY_A " alice - more",
                                      "client " KEY_A " al/ice -",
                                      "client " KEY_A "x alice -",
                                      "king " KEY_A " alice -",
                                      "client " KEY_A " alice tomorrow",
                                      "client " KEY_A " alice -\nworker " KEY_A " bob -"};
    struct allow_list list = {0};
    struct error e;
    assert_int_equal(allow_list_parse(&list, good, sizeof good - 1, "f", &e), FL_OK);
    assert_int_equal(list.n, 2);
    assert_int_equal(allow_list_find(&list, KEY_A)->role, PARTY_CLIENT);
    assert_true(allowed_at(allow_list_find(&list, KEY_A), 1800000000));
    assert_false(allowed_at(allow_list_find(&list, KEY_A), 1900000000));
    assert_true(allowed_at(allow_list_find(&list, KEY_B), INT64_MAX));
    assert_int_equal(allow_list_write(&list, folder, &e), FL_OK);
    assert_int_equal(allow_list_read(&list, folder, &e), FL_OK);
    assert_int_equal(list.n, 2);
    assert_string_equal(list.entry[1].name, "w@1");
    chmod(in_folder("allowed"), 0666);
    assert_int_equal(allow_list_read(&list, folder, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "chmod go-w"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(allow_list_parse(&list, bad[i], strlen(bad[i]), "f", &e), FL_CONFIG);
        assert_non_null(strstr(e.text, i + 1 < sizeof bad / sizeof *bad ? "f:1: " : "f:2: "));
    }
    allow_list_free(&list);
}

static void what_cannot_serve_is_refused_at_the_start(void **state)
{
    struct allow_list list = {0};
    struct keys *k;
    struct error e;
    assert_int_equal(keys_open(&k, in_folder("nowhere"), PARTY_BROKER, NULL, &e), FL_NOT_FOUND);
    assert_non_null(strstr(e.text, "`freezeline keys make` makes them"));
    assert_int_equal(keys_open(&k, folder, PARTY_BROKER, NULL, &e), FL_NOT_FOUND);
    give(&list, PARTY_WORKER, "worker", "worker.key", 1000);
    give(&list, PARTY_WORKER, "worker2", "broker.key", 0);
    give(&list, PARTY_CACHE, "cache", "cache.key", 0);
    list.n--;
    assert_int_equal(allow_list_write(&list, folder, NULL), FL_OK);
    assert_int_equal(keys_open(&k, folder, PARTY_WORKER, NULL, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "has expired on 1970-01-01T00:16:40Z"));
    assert_int_equal(keys_open(&k, folder, PARTY_BROKER, NULL, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "is the key of a worker, not of a broker"));
    assert_int_equal(keys_open(&k, folder, PARTY_CACHE, NULL, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "cache.key is not in"));
    chmod(folder, 0777);
    assert_int_equal(keys_open(&k, folder, PARTY_CACHE, NULL, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "others can change it"));
    chmod(folder, 0700);
    allow_list_free(&list);
}

/* ---- rotation ---- */

static int keys_of(const struct allow_list *list, enum party role)
{
    int n = 0;
    for (int i = 0; i < list->n; i++)
        n += list->entry[i].role == role;
    return n;
}

static void three_steps_replace_all_keys(void **state)
{
    struct allow_list list = {0};
    struct key_pair before, next, after;
    struct error e;
    char text[400];
    give_all(&list);
    give(&list, PARTY_CLIENT, "alice", "alice.key", 0);
    key_file_read(&before, in_folder("worker.key"), NULL);
    assert_int_equal(key_rotation_step(folder), ROTATION_NONE);
    assert_int_equal(key_rotation_turn(folder, NULL, &list, text, sizeof text, &e), FL_OK);
    assert_int_equal(key_rotation_step(folder), ROTATION_MADE);
    assert_int_equal(list.n, 13);
    assert_int_equal(keys_of(&list, PARTY_BROKER), 2);
    assert_int_equal(key_file_read(&next, in_folder("worker.next.key"), NULL), FL_OK);
    assert_int_equal(key_rotation_turn(folder, NULL, &list, text, sizeof text, &e), FL_OK);
    assert_int_equal(key_rotation_step(folder), ROTATION_CHANGED);
    assert_int_equal(key_file_read(&after, in_folder("worker.key"), NULL), FL_OK);
    assert_string_equal(after.public_key, next.public_key);
    assert_int_equal(list.n, 13);
    assert_int_equal(key_rotation_turn(folder, NULL, &list, text, sizeof text, &e), FL_OK);
    assert_int_equal(key_rotation_step(folder), ROTATION_NONE);
    assert_int_equal(list.n, 7);
    assert_null(allow_list_find(&list, before.public_key));
    assert_string_equal(allow_list_find(&list, next.public_key)->name, "worker");
    assert_int_not_equal(access(in_folder("worker.old.key"), F_OK), 0);
    allow_list_free(&list);
}

static void one_host_has_its_keys_replaced(void **state)
{
    struct allow_list list = {0};
    struct key_pair b, other;
    struct error e;
    char text[400];
    give(&list, PARTY_WORKER, "worker@a", "worker-a.key", 0);
    give(&list, PARTY_WORKER, "worker@b", "worker-b.key", 0);
    give(&list, PARTY_CLIENT, "client@next", "client-next.key", 0);
    key_file_read(&b, in_folder("worker-b.key"), NULL);
    assert_int_equal(key_rotation_turn(folder, "x", &list, text, sizeof text, &e), FL_NOT_FOUND);
    assert_int_equal(key_rotation_turn(folder, "b", &list, text, sizeof text, &e), FL_OK);
    assert_int_equal(list.n, 4);
    assert_string_equal(list.entry[3].name, "worker@b@@next");
    assert_int_equal(key_rotation_turn(folder, "a", &list, text, sizeof text, &e), FL_USAGE);
    assert_int_equal(key_rotation_turn(folder, "b", &list, text, sizeof text, &e), FL_OK);
    assert_int_equal(key_rotation_turn(folder, NULL, &list, text, sizeof text, &e), FL_OK);
    assert_int_equal(list.n, 3);
    assert_null(allow_list_find(&list, b.public_key));
    assert_int_equal(key_file_read(&other, in_folder("worker-b.key"), &e), FL_OK);
    assert_string_equal(allow_list_find(&list, other.public_key)->name, "worker@b");
    assert_int_equal(key_rotation_step(folder), ROTATION_NONE);
    allow_list_free(&list);
}

/* ---- sockets ---- */

/* By which key it takes whoever listens there to prove himself. */
static const char *expected_name(struct keys *k, const struct allow_list *list, const char *endpoint)
{
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_PUSH);
    char key[KEY_TEXT_BYTES];
    size_t size = sizeof key;
    struct error e;
    assert_int_equal(keys_for_connect(k, socket, PARTY_BROKER, endpoint, 0, &e), FL_OK);
    assert_int_equal(zmq_getsockopt(socket, ZMQ_CURVE_SERVERKEY, key, &size), 0);
    zmq_close(socket);
    zmq_ctx_term(context);
    return allow_list_find(list, key)->name;
}

static void who_connects_knows_the_key_of_the_host(void **state)
{
    struct allow_list list = {0};
    struct keys *k;
    struct error e;
    give(&list, PARTY_BROKER, "broker@a", "broker-a.key", 0);
    give(&list, PARTY_BROKER, "broker@b", "broker-b.key", 0);
    give(&list, PARTY_WORKER, "worker@b", "worker-b.key", 0);
    assert_int_equal(allow_list_write(&list, folder, NULL), FL_OK);
    assert_int_equal(keys_open(&k, folder, PARTY_WORKER, "a", &e), FL_NOT_FOUND);
    assert_int_equal(keys_open(&k, folder, PARTY_WORKER, "b", &e), FL_OK);
    assert_int_equal(keys_place(k, "tcp://many:7", "b", &e) + keys_place(k, "10.0.0.1", "a", &e) +
                         keys_place(k, "fd00::2", "b", &e),
                     FL_OK);
    assert_string_equal(expected_name(k, &list, "tcp://10.0.0.1:99"), "broker@a");
    assert_string_equal(expected_name(k, &list, "tcp://[fd00::2]:99"), "broker@b");
    assert_string_equal(expected_name(k, &list, "tcp://many:7"), "broker@b");
    assert_int_equal(keys_servers(k, PARTY_BROKER, "tcp://many:7"), 1);
    assert_int_equal(keys_servers(k, PARTY_BROKER, "tcp://many:8"), 2);
    keys_close(k);
    allow_list_free(&list);
}

struct end {
    void *context;
    struct security security;
    struct link link;
};

static void open_end(struct end *n, enum party self, enum gate gate, enum frames_mode mode,
                     const char *endpoint, enum party to)
{
    struct socket_options o = {.to = to};
    struct error e = {0};
    *n = (struct end){.context = zmq_ctx_new(), .security = {.mode = SECURITY_CURVE}, .link = {.gate = gate}};
    if (keys_open(&n->security.keys, folder, self, NULL, &e) ||
        link_open(&n->link, n->context, mode == FRAMES_BIND ? ZMQ_PULL : ZMQ_PUSH, mode, endpoint, &o, NULL,
                  &n->security, &e))
        fail_msg("%s", e.text);
}

static void close_end(struct end *n)
{
    link_close(&n->link, 0);
    zmq_ctx_term(n->context);
    keys_close(n->security.keys);
}

static struct message message, got;

/* Sends a result; what the receiver makes of it, or FL_AGAIN when nothing came in `ms`. */
static int passes(struct end *from, struct end *to, int ms)
{
    uint64_t until = clock_ns() + (uint64_t)ms * NS_PER_MS;
    zmq_msg_t payload;
    struct error e;
    int rc;
    message = (struct message){.type = MESSAGE_RESULT, .result = {.request = 1, .attempt = 1, .exit = -1}};
    link_send(&from->link, NULL, &message, NULL);
    zmq_msg_init(&payload);
    do {
        zmq_pollitem_t item = {.socket = to->link.socket, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, 20);
        rc = link_receive(&to->link, NULL, &got, &payload, &e);
    } while (rc == FL_AGAIN && clock_ns() < until);
    zmq_msg_close(&payload);
    return rc;
}

static void bound_at(const struct end *n, char *endpoint, size_t size)
{
    assert_int_equal(zmq_getsockopt(n->link.socket, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
}

static void only_who_is_allowed_comes_through(void **state)
{
    struct end broker, worker, client, stranger;
    struct allow_list list = {0};
    char endpoint[64], shadow[64];
    void *plain, *context;
    log_open("test", "error");
    give_all(&list);
    open_end(&broker, PARTY_BROKER, GATE_RESULTS, FRAMES_BIND, "tcp://127.0.0.1:*", 0);
    bound_at(&broker, endpoint, sizeof endpoint);
    open_end(&worker, PARTY_WORKER, GATE_NONE, FRAMES_CONNECT, endpoint, PARTY_BROKER);
    open_end(&client, PARTY_CLIENT, GATE_NONE, FRAMES_CONNECT, endpoint, PARTY_BROKER);
    assert_int_equal(passes(&worker, &broker, 20000), FL_OK);
    assert_int_equal(passes(&client, &broker, 20000), FL_DENIED); /* let in, but not for this */
    close_end(&client);

    /* Who speaks no CURVE, or has a key that nobody knows, is not heard. */
    context = zmq_ctx_new();
    assert_int_equal(frames_socket(&plain, context, ZMQ_PUSH, FRAMES_CONNECT, endpoint, NULL, NULL, NULL),
                     FL_OK);
    assert_int_equal(frames_send(plain, NULL, &message, NULL), FL_OK);
    snprintf(shadow, sizeof shadow, "%s", folder);
    make_folder(NULL);
    give(&list, PARTY_WORKER, "stranger", "worker.key", 0);
    assert_int_equal(allow_list_write(&list, folder, NULL), FL_OK);
    open_end(&stranger, PARTY_WORKER, GATE_NONE, FRAMES_CONNECT, endpoint, PARTY_BROKER);
    remove_folder(NULL);
    snprintf(folder, sizeof folder, "%s", shadow);
    assert_int_equal(passes(&stranger, &broker, 300), FL_AGAIN);
    close_end(&stranger);
    frames_close(plain, 0);
    zmq_ctx_term(context);

    assert_int_equal(passes(&worker, &broker, 20000), FL_OK);
    close_end(&worker);
    close_end(&broker);
    allow_list_free(&list);
}

/* From the next message on after the list is read: a connection that is there does not help. */
static void who_is_revoked_is_refused_on_a_connection_that_is_there(void **state)
{
    struct end broker, worker;
    struct allow_list list = {0};
    char endpoint[64];
    int rc;
    log_open("test", "error");
    give_all(&list);
    open_end(&broker, PARTY_BROKER, GATE_RESULTS, FRAMES_BIND, "tcp://127.0.0.1:*", 0);
    bound_at(&broker, endpoint, sizeof endpoint);
    open_end(&worker, PARTY_WORKER, GATE_NONE, FRAMES_CONNECT, endpoint, PARTY_BROKER);
    assert_int_equal(passes(&worker, &broker, 20000), FL_OK);
    for (int i = 0; i < list.n; i++)
        if (list.entry[i].role == PARTY_WORKER)
            allow_list_remove(&list, i--);
    assert_int_equal(allow_list_write(&list, folder, NULL), FL_OK);
    while ((rc = passes(&worker, &broker, 20000)) == FL_OK)
        usleep(10000);
    assert_int_equal(rc, FL_DENIED);
    close_end(&worker);
    close_end(&broker);
    allow_list_free(&list);
}

/* The same when its time is over. */
static void who_expires_is_refused_on_a_connection_that_is_there(void **state)
{
    struct end broker, worker;
    struct allow_list list = {0};
    char endpoint[64];
    int rc;
    log_open("test", "error");
    give_all(&list);
    for (int i = 0; i < list.n; i++)
        if (list.entry[i].role == PARTY_WORKER)
            list.entry[i].until_s = (int64_t)(clock_wall_ms() / 1000) + 3;
    assert_int_equal(allow_list_write(&list, folder, NULL), FL_OK);
    open_end(&broker, PARTY_BROKER, GATE_RESULTS, FRAMES_BIND, "tcp://127.0.0.1:*", 0);
    bound_at(&broker, endpoint, sizeof endpoint);
    open_end(&worker, PARTY_WORKER, GATE_NONE, FRAMES_CONNECT, endpoint, PARTY_BROKER);
    assert_int_equal(passes(&worker, &broker, 20000), FL_OK);
    while ((rc = passes(&worker, &broker, 20000)) == FL_OK)
        usleep(10000);
    assert_int_equal(rc, FL_DENIED);
    close_end(&worker);
    close_end(&broker);
    allow_list_free(&list);
}

/* While a role has two keys, whoever connects finds the one that the other end has. */
static void either_key_of_a_rotation_is_found(void **state)
{
    struct end broker, worker;
    struct allow_list list = {0};
    char endpoint[64], text[400];
    log_open("test", "error");
    give_all(&list);
    assert_int_equal(key_rotation_turn(folder, NULL, &list, text, sizeof text, NULL), FL_OK);
    for (int turn = 0; turn < 2; turn++) { /* the old key, then the new one */
        open_end(&broker, PARTY_BROKER, GATE_RESULTS, FRAMES_BIND, "tcp://127.0.0.1:*", 0);
        bound_at(&broker, endpoint, sizeof endpoint);
        open_end(&worker, PARTY_WORKER, GATE_NONE, FRAMES_CONNECT, endpoint, PARTY_BROKER);
        while (link_send(&worker.link, NULL, &message, NULL) == FL_AGAIN)
            usleep(1000);
        assert_int_equal(passes(&worker, &broker, 20000), FL_OK);
        close_end(&worker);
        close_end(&broker);
        if (!turn)
            assert_int_equal(key_rotation_turn(folder, NULL, &list, text, sizeof text, NULL), FL_OK);
    }
    allow_list_free(&list);
}

/* ---- rights ---- */

static void each_message_has_its_parties(void **state)
{
    static const struct {
        enum gate at;
        enum message_type type;
        const char *who; /* letters: b(roker) w(orker) c(ache) l(earner) k (client) o(perator) */
    } table[] = {
        {GATE_REQUESTS, MESSAGE_REQUEST, "bko"},  {GATE_REQUESTS, MESSAGE_STATUS, "bko"},
        {GATE_REQUESTS, MESSAGE_FEEDBACK, "bko"}, {GATE_CONTROL, MESSAGE_HEARTBEAT, "wcl"},
        {GATE_CONTROL, MESSAGE_DRAIN, "o"},       {GATE_RESULTS, MESSAGE_RESULT, "wc"},
        {GATE_JOBS, MESSAGE_JOB, "bw"},           {GATE_LOOKUPS, MESSAGE_LOOKUP, "w"},
        {GATE_CONTROL, MESSAGE_REQUEST, ""},      {GATE_RESULTS, MESSAGE_JOB, ""},
        {GATE_REQUESTS, MESSAGE_HELLO, ""},       {GATE_REQUESTS, MESSAGE_DRAIN, ""},
        {GATE_CONTROL, MESSAGE_RELAYS, "o"},      {GATE_REQUESTS, MESSAGE_RELAYS, ""},
        {GATE_CONTROL, MESSAGE_CANCEL, ""},       {GATE_CONTROL, MESSAGE_OUTCOME, ""},
    };
    static const char letters[] = "-bwclko";
    struct message m = {0};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        m.type = table[i].type;
        for (int p = PARTY_NOBODY; p < PARTIES; p++)
            if (rights_may((enum party)p, table[i].at, &m) != (p && strchr(table[i].who, letters[p])))
                fail_msg("row %zu: %s", i, party_name((enum party)p));
        assert_true(rights_may(PARTY_LOCAL, table[i].at, &m));
    }
    m.type = MESSAGE_HELLO;
    for (int p = PARTY_NOBODY; p < PARTIES; p++)
        for (uint32_t role = 0; role < 8; role++) {
            m.hello.role = role;
            assert_int_equal(rights_may((enum party)p, GATE_CONTROL, &m),
                             (p == PARTY_WORKER && role == ROLE_STAGE) ||
                                 (p == PARTY_CACHE && role == ROLE_CACHE) ||
                                 (p == PARTY_LEARNER && role == ROLE_LEARNER));
        }
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_key_is_written_for_its_owner_and_read_again),
        cmocka_unit_test(bad_key_files_are_refused),
        cmocka_unit_test(moments_are_read_and_written),
        IN_FOLDER(a_list_is_read_or_refused_with_its_line),
        IN_FOLDER(what_cannot_serve_is_refused_at_the_start),
        IN_FOLDER(three_steps_replace_all_keys),
        IN_FOLDER(only_who_is_allowed_comes_through),
        IN_FOLDER(who_is_revoked_is_refused_on_a_connection_that_is_there),
        IN_FOLDER(who_expires_is_refused_on_a_connection_that_is_there),
        IN_FOLDER(either_key_of_a_rotation_is_found),
        IN_FOLDER(one_host_has_its_keys_replaced),
        IN_FOLDER(who_connects_knows_the_key_of_the_host),
        cmocka_unit_test(each_message_has_its_parties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
