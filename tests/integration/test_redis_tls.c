/* test_redis_tls.c - a real Redis that speaks TLS alone: who is believed, who is let in, and hints over it */
#include "certificates.h"
#include "harness.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "cache_service/store/redis_link.h"

struct tls_redis {
    char folder[64], endpoint[64];
    pid_t pid;
};

static char *path(const struct tls_redis *r, const char *name)
{
    static char paths[8][128];
    static int next;
    char *to = paths[next++ % 8];
    snprintf(to, sizeof paths[0], "%s/%s", r->folder, name);
    return to;
}

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_false(bind(fd, (struct sockaddr *)&a, size) || getsockname(fd, (struct sockaddr *)&a, &size));
    close(fd);
    return ntohs(a.sin_port);
}

/* ca.crt signs redis and client; strange.crt signs itself. */
static void certificates(const struct tls_redis *r)
{
    gnutls_x509_crt_t ca, crt;
    gnutls_x509_privkey_t ca_key, key;
    static const char *const name[] = {"redis", "client", "strange"};
    make_certificate(r->folder, "ca", "authority", NULL, NULL, &ca, &ca_key);
    for (int i = 0; i < 3; i++) {
        make_certificate(r->folder, name[i], "server", i < 2 ? ca : NULL, i < 2 ? ca_key : NULL, &crt, &key);
        gnutls_x509_crt_deinit(crt);
        gnutls_x509_privkey_deinit(key);
    }
    gnutls_x509_crt_deinit(ca);
    gnutls_x509_privkey_deinit(ca_key);
}

static int set_up(void **state)
{
    static struct tls_redis r = {.folder = "/tmp/freezeline-redis-tls-XXXXXX"};
    char port[16];
    assert_non_null(mkdtemp(r.folder));
    certificates(&r);
    snprintf(port, sizeof port, "%d", free_port());
    snprintf(r.endpoint, sizeof r.endpoint, "127.0.0.1:%s", port);
    if (!(r.pid = fork())) {
        assert_non_null(freopen(path(&r, "log"), "w", stdout));
        execlp("redis-server", "redis-server", "--port", "0", "--tls-port", port, "--bind", "127.0.0.1",
               "--save", "", "--dir", r.folder, "--tls-cert-file", path(&r, "redis.crt"), "--tls-key-file",
               path(&r, "redis.key"), "--tls-ca-cert-file", path(&r, "ca.crt"), "--tls-auth-clients", "yes",
               (char *)NULL);
        _exit(127);
    }
    *state = &r;
    return r.pid < 0;
}

static int tear_down(void **state)
{
    struct tls_redis *r = *state;
    char command[128];
    kill(r->pid, SIGKILL);
    waitpid(r->pid, NULL, 0);
    snprintf(command, sizeof command, "rm -r %s", r->folder);
    return system(command);
}

static int open_link(struct redis_link **l, const struct redis_config *c, struct error *e)
{
    int rc = redis_link_new(l, c, NULL, e);
    return rc ? rc : redis_link_open(*l, e);
}

static struct redis_config good(struct tls_redis *r)
{
    return (struct redis_config){.endpoint = r->endpoint,
                                 .tls = true,
                                 .tls_ca = path(r, "ca.crt"),
                                 .tls_cert = path(r, "client.crt"),
                                 .tls_key = path(r, "client.key")};
}

static int call(struct redis_link *l, const char *const *words, redisReply **reply, struct error *e)
{
    struct redis_args a = {0};
    int rc;
    for (; *words; words++)
        redis_args_text(&a, *words);
    rc = redis_link_call(l, &a, reply, e);
    redis_args_free(&a);
    return rc;
}

static void heard(void *arg, const char *text, size_t size)
{
    snprintf(arg, 16, "%.*s", (int)size, text);
}

/* Values of more than one TLS record, and hints, go through. */
static void calls_and_hints_go_through(void **state)
{
    struct redis_config c = good(*state);
    struct redis_link *l, *ear;
    struct error e;
    redisReply *reply;
    static char big[100001];
    char hint[16] = "";
    for (int i = 0; i < 100 && open_link(&l, &c, &e); i++, usleep(100000)) /* it has just been started */
        redis_link_free(l);
    assert_true(redis_link_up(l));
    assert_int_equal(open_link(&ear, &c, &e), FL_OK);
    assert_int_equal(redis_link_listen(ear, "c", &e), FL_OK);
    memset(big, 'x', sizeof big - 1);
    assert_int_equal(call(l, (const char *[]){"SET", "k", big, NULL}, &reply, &e), FL_OK);
    freeReplyObject(reply);
    assert_int_equal(call(l, (const char *[]){"GET", "k", NULL}, &reply, &e), FL_OK);
    assert_string_equal(reply->str, big);
    freeReplyObject(reply);
    assert_int_equal(call(l, (const char *[]){"PUBLISH", "c", "news", NULL}, &reply, &e), FL_OK);
    freeReplyObject(reply);
    for (int i = 0; i < 100 && !*hint; i++, usleep(50000))
        assert_int_equal(redis_link_hear(ear, heard, hint, &e), FL_OK);
    assert_string_equal(hint, "news");
    redis_link_free(ear);
    redis_link_free(l);
}

static void refused(const struct redis_config *c, const char *says)
{
    struct redis_link *l;
    struct error e;
    assert_int_equal(open_link(&l, c, &e), FL_UNAVAILABLE);
    if (!strstr(e.text, says))
        fail_msg("'%s' does not say '%s'", e.text, says);
    redis_link_free(l);
}

static void strangers_are_refused(void **state)
{
    struct redis_config c = good(*state);
    c.tls_ca = path(*state, "strange.crt"); /* it did not sign this Redis */
    refused(&c, "TLS with Redis");
    c = good(*state);
    c.tls_cert = path(*state, "strange.crt"); /* Redis does not believe us */
    c.tls_key = path(*state, "strange.key");
    refused(&c, "");
    c.tls_cert = c.tls_key = NULL;
    refused(&c, "");
    c.tls_ca = path(*state, "nothing.crt");
    refused(&c, "redis.tls_ca");
}

static void keys_that_do_not_go_together(void **state)
{
    struct redis_config c = good(*state);
    struct redis_link *l;
    struct error e;
    c.tls_key = NULL;
    assert_int_equal(redis_link_new(&l, &c, NULL, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "redis.tls_key"));
    c = good(*state);
    c.tls_ca = NULL;
    assert_int_equal(redis_link_new(&l, &c, NULL, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "redis.tls_ca"));
}

#ifndef FREEZELINE_REDIS_TLS
static void without_tls_a_tunnel_is_named(void **state)
{
    struct redis_config c = {.endpoint = (char *)"127.0.0.1:1", .tls = true, .tls_ca = (char *)"ca.crt"};
    struct redis_link *l;
    struct error e;
    assert_int_equal(redis_link_new(&l, &c, NULL, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "stunnel"));
}
#endif

int main(void)
{
    const struct CMUnitTest with[] = {
        cmocka_unit_test(calls_and_hints_go_through),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(keys_that_do_not_go_together),
    };
#ifndef FREEZELINE_REDIS_TLS
    const struct CMUnitTest without[] = {cmocka_unit_test(without_tls_a_tunnel_is_named)};
    (void)with, (void)set_up, (void)tear_down;
    return cmocka_run_group_tests(without, NULL, NULL);
#else
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(with, set_up, tear_down);
#endif
}
