/* test_redis_link.c - what listens where Redis should: nobody, something else, one that refuses, a replica */
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/testing.h"
#include "cache_service/store/redis_link.h"

#define ANSWERS 4

/* Answers each thing that it reads with the next text; NULL: ends the connection. */
struct server {
    const char *answer[ANSWERS];
    char asked[ANSWERS][256];
    int listening, n;
    pthread_t thread;
};

static char endpoint[108] = "unix:/tmp/freezeline-redis-link";

static void *serve(void *arg)
{
    struct server *s = arg;
    int fd = accept(s->listening, NULL, NULL);
    ssize_t n;
    while (s->n < ANSWERS && (n = read(fd, s->asked[s->n], sizeof s->asked[0] - 1)) > 0) {
        const char *answer = s->answer[s->n++];
        if (!answer || write(fd, answer, strlen(answer)) < 0)
            break;
    }
    close(fd);
    return NULL;
}

static void begin(struct server *s)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", endpoint + 5);
    unlink(a.sun_path);
    s->listening = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(s->listening >= 0 && !bind(s->listening, (struct sockaddr *)&a, sizeof a) &&
                !listen(s->listening, 4) && !pthread_create(&s->thread, NULL, serve, s));
}

static void end(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->listening);
    unlink(endpoint + 5);
}

static int try(struct server *s, const struct redis_config *c, struct error *e)
{
    struct redis_link *l;
    int rc;
    begin(s);
    assert_int_equal(redis_link_new(&l, c, NULL, e), FL_OK);
    rc = redis_link_open(l, e);
    assert_true(redis_link_up(l) == (rc == FL_OK));
    redis_link_free(l);
    end(s);
    return rc;
}

static void who_is_no_master_is_refused(void **state)
{
    static const struct {
        const char *answer, *says;
    } cases[] = {{NULL, ""},
                 {"HTTP/1.1 400 Bad Request\r\n\r\n", "rotocol error"},
                 {"*3\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n", "no master but a slave"},
                 {"*1\r\n$8\r\nsentinel\r\n", "no master but a sentinel"},
                 {"*1\r\n:7\r\n", "no master but a ?"},
                 {"-NOAUTH Authentication required.\r\n", "FREEZELINE_REDIS_PASSWORD"}};
    const struct redis_config c = {.endpoint = endpoint};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct server s = {.answer = {cases[i].answer}};
        struct error e = {0};
        assert_int_equal(try(&s, &c, &e), FL_UNAVAILABLE);
        assert_non_null(strstr(e.text, cases[i].says));
    }
}

static void nobody_there_is_told(void **state)
{
    const struct redis_config c = {.endpoint = endpoint};
    struct redis_link *l;
    struct error e;
    unlink(endpoint + 5);
    assert_int_equal(redis_link_new(&l, &c, NULL, &e), FL_OK);
    assert_int_equal(redis_link_open(l, &e), FL_UNAVAILABLE);
    redis_link_free(l);
}

static void the_password_goes_to_redis_and_nowhere_else(void **state)
{
    struct server right = {.answer = {"+OK\r\n", "*1\r\n$6\r\nmaster\r\n"}};
    struct server wrong = {.answer = {"-WRONGPASS invalid username-password pair\r\n"}};
    const struct redis_config c = {.endpoint = endpoint, .user = "me"};
    const struct redis_config no_file = {.endpoint = endpoint, .password_file = "/nowhere/password"};
    struct server idle = {0};
    struct error e = {0};
    setenv("FREEZELINE_REDIS_PASSWORD", "se cret", 1);
    assert_int_equal(try(&right, &c, &e), FL_OK);
    assert_string_equal(right.asked[0], "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$7\r\nse cret\r\n");
    assert_int_equal(try(&wrong, &c, &e), FL_UNAVAILABLE);
    assert_non_null(strstr(e.text, "user or password are refused"));
    assert_null(strstr(e.text, "cret"));
    assert_int_equal(try(&idle, &no_file, &e), FL_UNAVAILABLE);
    assert_non_null(strstr(e.text, "/nowhere/password can't be read"));
    unsetenv("FREEZELINE_REDIS_PASSWORD");
}

/* It was the master when the connection was made. */
static void a_master_that_becomes_a_replica_is_left(void **state)
{
    struct server s = {.answer = {"*1\r\n$6\r\nmaster\r\n",
                                  "-LOADING Redis is loading the dataset in memory\r\n",
                                  "-READONLY You can't write against a read only replica.\r\n"}};
    const struct redis_config c = {.endpoint = endpoint};
    struct redis_args a = {0};
    struct redis_link *l;
    redisReply *r;
    struct error e;
    begin(&s);
    assert_int_equal(redis_link_new(&l, &c, NULL, &e), FL_OK);
    assert_int_equal(redis_link_open(l, &e), FL_OK);
    redis_args_text(&a, "PING");
    assert_int_equal(redis_link_call(l, &a, &r, &e), FL_IO);
    assert_true(redis_link_up(l));
    assert_int_equal(redis_link_call(l, &a, &r, &e), FL_UNAVAILABLE);
    assert_false(redis_link_up(l));
    redis_args_free(&a);
    redis_link_free(l);
    end(&s);
}

static void sentinels_that_know_nothing_are_named(void **state)
{
    static const char *const answers[] = {"*-1\r\n", "-ERR unknown command\r\n",
                                          "*2\r\n$1\r\na\r\n$1\r\nx\r\n",
                                          "*2\r\n$9\r\n192.0.2.7\r\n$4\r\n6379\r\n"};
    static const char *const says[] = {"knows no master", "unknown command", "told no address",
                                       "not this host"};
    const struct redis_config c = {
        .endpoint = "sentinel:m", .sentinel = {endpoint}, .n_sentinels = 1, .master = "m"};
    for (int i = 0; i < 4; i++) {
        struct server s = {.answer = {answers[i]}};
        struct error e = {0};
        assert_int_equal(try(&s, &c, &e), FL_UNAVAILABLE);
        assert_non_null(strstr(e.text, says[i]));
    }
}

static void what_can_not_be_is_refused_at_once(void **state)
{
    const struct redis_config bad[] = {{.endpoint = "example.org:6379"},
                                       {.endpoint = "unix:"},
                                       {.endpoint = "host"},
                                       {.endpoint = endpoint, .tls = true},
                                       {.endpoint = "sentinel:?", .sentinel = {endpoint}, .n_sentinels = 1},
                                       {.sentinel = {"example.org:1"}, .n_sentinels = 1, .master = "m"}};
    struct redis_link *l;
    struct error e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(redis_link_new(&l, &bad[i], NULL, &e), FL_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_there_is_told),
        cmocka_unit_test(who_is_no_master_is_refused),
        cmocka_unit_test(the_password_goes_to_redis_and_nowhere_else),
        cmocka_unit_test(a_master_that_becomes_a_replica_is_left),
        cmocka_unit_test(sentinels_that_know_nothing_are_named),
        cmocka_unit_test(what_can_not_be_is_refused_at_once),
    };
    size_t used = strlen(endpoint);
    snprintf(endpoint + used, sizeof endpoint - used, "-%d", (int)getpid());
    return cmocka_run_group_tests(tests, NULL, NULL);
}
