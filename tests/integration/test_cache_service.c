/* test_cache_service.c - the real freezeline-cache between a broker and stages played by the test, with a
 * real Redis
 *
 * The knn cache of exit 0 has no budget here, so each update that is applied is one more point: counting
 * points counts how often updates were applied.
 */
#include "cache_world.h"

#include <math.h>

/* The cache of exit1 as Redis has it now. */
static struct cache_info in_redis(struct world *w)
{
    redisContext *c = redis_open(w);
    redisReply *r = c ? redisCommand(c, "GET freezeline:{test}:exit:exit1") : NULL;
    struct cache *cache;
    struct cache_info info = {.entries = -1};
    if (r && r->type == REDIS_REPLY_STRING && !cache_unpack(&cache, r->str, r->len, NULL, NULL)) {
        info = cache_info(cache);
        cache_free(cache);
    }
    if (r)
        freeReplyObject(r);
    if (c)
        redisFree(c);
    return info;
}

static int64_t built_points(struct world *w)
{
    char path[128];
    struct cache *c;
    int64_t n;
    in_dir(w, path, sizeof path, "state/caches/exit1.cache");
    assert_int_equal(cache_load(&c, path, NULL, NULL), FL_OK);
    n = cache_info(c).entries;
    cache_free(c);
    return n;
}

/* --- look-ups --- */

static void hits_go_to_the_broker_and_verdicts_to_the_stage(void **state)
{
    struct world *w = world_new(false);
    struct identity known = {0};
    float x[64 * DIM];
    int hits = 0;
    start_service(w, 0);
    memset(known.model, 0x5a, sizeof known.model);
    identity_seal(&known);
    assert_memory_equal(w->service[0].hello.identity, known.digest, 16);
    assert_true(w->service[0].hello.caches.built == EXITS && w->service[0].hello.caches.loaded == EXITS);
    for (int i = 0; i < 64; i++)
        draw(w, i % 2, x + (size_t)i * DIM);
    struct verdict v = look_up(w, 0, 1, x, 64, DIM, 0, clock_ns() + 60 * NS_PER_S);
    assert_int_equal(v.n, 64);
    assert_int_equal(v.exit, 1);
    assert_true(v.lookup_ns > 0);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(v.item[i].request, w->request - 63 + (uint64_t)i);
        hits += v.item[i].hit;
    }
    assert_true(hits > 10);
    wait_for(w, w->results_seen == (uint64_t)hits);
    assert_int_equal(w->last_result.exit, 1);
    assert_int_equal(w->last_result.error, FL_OK);
    assert_int_equal(w->last_result.epoch, v.epoch);
    /* None of these may end a request, whatever the caches say. */
    for (uint32_t flags = JOB_NO_CACHE; flags <= JOB_AUDIT; flags++) {
        v = look_up(w, 0, 1, x, 64, DIM, flags, clock_ns() + 60 * NS_PER_S);
        for (int i = 0; i < 64; i++)
            assert_false(v.item[i].hit);
    }
    v = look_up(w, 0, 1, x, 64, DIM, 0, clock_ns() - 1);
    for (int i = 0; i < 64; i++)
        assert_false(v.item[i].hit);
    wait_for(w, w->service[0].beat.lookups == 64 * 4);
    assert_int_equal(w->results_seen, hits);
    assert_int_equal(w->service[0].beat.hits, hits);
    world_free(w);
}

static void what_does_not_fit_is_a_miss(void **state)
{
    struct world *w = world_new(false);
    float x[64] = {0};
    start_service(w, 0);
    assert_false(look_up(w, 0, 0, x, 1, DIM + 1, 0, UINT64_MAX).item[0].hit);
    assert_false(look_up(w, 0, 7, x, 1, DIM, 0, UINT64_MAX).item[0].hit);
    x[3] = NAN;
    assert_false(look_up(w, 0, 0, x, 1, DIM, JOB_SAMPLED, UINT64_MAX).item[0].hit);
    wait_for(w, log_has(w, 0, "build it again"));
    world_free(w);
}

static int hits_at(struct world *w, uint32_t exit)
{
    int hits = 0;
    for (int i = 0; i < 40; i++)
        hits += look_up_one(w, 0, exit, i % 2, 0).item[0].hit;
    return hits;
}

/* One of two caches is refused. Without a promise the other answers, with one nothing does, nor what an older
 * build left; not even after it is read again. */
static void a_promise_is_kept_by_all_caches_or_none(void **state)
{
    struct world *w = world_new(false);
    char path[128], command[300];
    struct manifest before, m;
    in_dir(w, path, sizeof path, "state/caches/manifest.json");
    assert_int_equal(manifest_load(&before, path, NULL), FL_OK);
    in_dir(w, command, sizeof command, "state/caches/exit1.cache");
    assert_int_equal(truncate(command, 1000), 0);
    start_service(w, 0);
    assert_true(hits_at(w, 1) > 5);
    wait_for(w, w->service[0].beat.caches == 1);
    m = before;
    m.promised = true;
    assert_int_equal(manifest_begin_build(&m, &before, NULL), FL_OK);
    assert_int_equal(manifest_save(&m, path, NULL), FL_OK);
    kill(w->service[0].pid, SIGHUP);
    wait_for(w, w->service[0].beat.caches == 0);
    assert_int_equal(hits_at(w, 1), 0);
    assert_true(log_has(w, 0, "all caches together"));
    kill(w->service[0].pid, SIGHUP);
    wait_for(w, w->service[0].beats > 40);
    assert_int_equal(hits_at(w, 1), 0);
    world_free(w);
}

static void garbage_is_ignored(void **state)
{
    struct world *w = world_new(false);
    unsigned char bytes[300];
    start_service(w, 0);
    for (int round = 0; round < 500; round++) {
        int frames = 1 + round % 4;
        for (int f = 0; f < frames; f++) {
            size_t n = shuffle_below(&w->random, sizeof bytes);
            for (size_t i = 0; i < n; i++)
                bytes[i] = (unsigned char)shuffle_u32(&w->random);
            zmq_send(w->stage[0], bytes, n, f + 1 < frames ? ZMQ_SNDMORE : 0);
            if (f == 0)
                zmq_send(w->control, w->service[0].peer.id, w->service[0].peer.size, ZMQ_SNDMORE);
            zmq_send(w->control, bytes, n, f + 1 < frames ? ZMQ_SNDMORE : 0);
        }
    }
    /* Messages that are well made but belong elsewhere. */
    w->out.type = MESSAGE_STATUS;
    frames_send(w->stage[0], NULL, &w->out, NULL);
    frames_send(w->control, &w->service[0].peer, &w->out, NULL);
    tell_outcome(w, 12345, 1 << 30, -1);
    assert_true(count_label(w, 0, 0, 1, 10) > 5);
    wait_for(w, log_has(w, 0, "look-up socket"));
    world_free(w);
}

/* --- learning --- */

static void a_missing_class_is_learned(struct world *w)
{
    int64_t before = built_points(w);
    start_service(w, 0);
    assert_int_equal(count_label(w, 0, 0, MISSING, 50), 0);
    for (int i = 0; i < 100; i++) {
        float x[DIM];
        uint64_t request;
        draw(w, MISSING, x);
        look_up(w, 0, 0, x, 1, DIM, JOB_SAMPLED | JOB_AUDIT, UINT64_MAX);
        request = w->request--; /* the same request at the next exit */
        look_up(w, 0, 1, x, 1, DIM, JOB_SAMPLED | JOB_AUDIT, UINT64_MAX);
        assert_int_equal(w->request, request);
        tell_outcome(w, request, MISSING, -1);
    }
    wait_for(w, w->service[0].beat.jobs == 100);
    wait_for(w, look_up_one(w, 0, 0, MISSING, 0).epoch > 1);
    for (uint32_t exit = 0; exit < EXITS; exit++) {
        int right = count_label(w, 0, exit, MISSING, 100);
        if (right < 80)
            fail_msg("exit %u: only %d of 100 of the new class are known", exit, right);
    }
    if (w->redis)
        assert_int_equal(in_redis(w).entries, before + 100);
}

static void a_missing_class_is_learned_with_redis(void **state)
{
    struct world *w = world_new(true);
    a_missing_class_is_learned(w);
    assert_true(w->service[0].beat.redis_up);
    /* Another service knows it from Redis alone. */
    start_service(w, 1);
    assert_true(count_label(w, 1, 0, MISSING, 100) > 80);
    world_free(w);
}

static void a_missing_class_is_learned_without_redis(void **state)
{
    struct world *w = world_new(false);
    a_missing_class_is_learned(w);
    /* What was learned outlives the process, and a new build takes its place. */
    assert_int_equal(end_process(&w->service[0].pid, SIGTERM), 0);
    start_service(w, 0);
    assert_true(count_label(w, 0, 0, MISSING, 100) > 80);
    build_caches(w, 0, 2);
    kill(w->service[0].pid, SIGHUP);
    wait_for(w, look_up_one(w, 0, 0, 1, 0).epoch <= 1);
    assert_int_equal(count_label(w, 0, 0, 0, 50), 0);
    world_free(w);
}

static void outcomes_without_truth_teach_nothing(void **state)
{
    struct world *w = world_new(true);
    start_service(w, 0);
    for (int i = 0; i < 20; i++) {
        look_up_one(w, 0, 0, MISSING, i % 2 ? JOB_SAMPLED | JOB_AUDIT : 0);
        tell_outcome(w, w->request, i % 4 == 1 ? -1 : MISSING, i % 4 == 3 ? 1 : -1);
    }
    teach_to(w, 0, MISSING, 1, 1);
    assert_int_equal(in_redis(w).entries, built_points(w) + 1);
    world_free(w);
}

/* --- death and return --- */

static void redis_dies_and_nobody_notices(void **state)
{
    struct world *w = world_new(true);
    int64_t before = built_points(w);
    start_service(w, 0);
    for (int round = 0; round < 3; round++) {
        teach(w, 0, MISSING, 40); /* some accepted, some applied, some on their way */
        end_process(&w->redis, SIGKILL);
        w->slowest_ns = 0;
        teach(w, 0, MISSING, 40);
        wait_for(w, !w->service[0].beat.redis_up);
        teach(w, 0, MISSING, 20);
        assert_true(w->slowest_ns < NS_PER_S); /* a look-up that waited for Redis would take 3 */
        start_redis(w);
        wait_for(w, w->service[0].beat.redis_up);
    }
    wait_for(w, in_redis(w).entries >= before + 300);
    wait_for(w, !strcmp(redis_ask(w, "XLEN %s", "freezeline:{test}:updates"), "0"));
    assert_int_equal(in_redis(w).entries, before + 300);
    assert_int_equal(w->service[0].beat.dropped, 0);
    world_free(w);
}

/* A Redis that accepts and never answers: stopped by SIGSTOP. */
static void redis_hangs_and_nobody_notices(void **state)
{
    struct world *w = world_new(true);
    int64_t before = built_points(w);
    start_service(w, 0);
    kill(w->redis, SIGSTOP);
    w->slowest_ns = 0;
    teach(w, 0, MISSING, 50);
    wait_for(w, !w->service[0].beat.redis_up);
    assert_true(w->slowest_ns < NS_PER_S);
    kill(w->redis, SIGCONT);
    wait_for(w, in_redis(w).entries >= before + 50);
    wait_for(w, !strcmp(redis_ask(w, "XLEN %s", "freezeline:{test}:updates"), "0"));
    assert_int_equal(in_redis(w).entries, before + 50);
    world_free(w);
}

static void an_empty_redis_is_filled_again(void **state)
{
    struct world *w = world_new(true);
    int64_t before = built_points(w);
    start_service(w, 0);
    teach(w, 0, MISSING, 30);
    wait_for(w, in_redis(w).entries == before + 30);
    redis_ask(w, "FLUSHALL", NULL);
    wait_for(w, in_redis(w).entries == before + 30);
    teach(w, 0, MISSING, 30);
    wait_for(w, in_redis(w).entries == before + 60);
    world_free(w);
}

/* Which service holds the lease; -1 none. */
static int learner(struct world *w)
{
    const char *token = strchr(redis_ask(w, "GET %s", "freezeline:{test}:lease"), ':');
    for (int i = 0; i < SERVICES; i++) {
        char id[17];
        snprintf(id, sizeof id, "%016llx", (unsigned long long)w->service[i].hello.incarnation);
        if (token && !strcmp(token + 1, id))
            return i;
    }
    return -1;
}

static void another_learner_takes_over(void **state)
{
    struct world *w = world_new(true);
    int64_t before = built_points(w);
    int first, other;
    start_service(w, 0);
    start_service(w, 1);
    wait_for(w, (first = learner(w)) >= 0);
    other = 1 - first;
    teach(w, other, MISSING, 50);
    wait_for(w, in_redis(w).entries == before + 50);
    assert_int_equal(learner(w), first);
    assert_int_equal(w->service[other].beat.jobs, 0);
    wait_for(w, w->service[first].beat.epoch == w->service[other].beat.epoch);
    teach(w, other, MISSING, 100);
    end_process(&w->service[first].pid, SIGKILL); /* with updates read and not committed, if luck will */
    teach(w, other, MISSING, 50);
    wait_for(w, learner(w) == other);
    wait_for(w, in_redis(w).entries >= before + 200);
    wait_for(w, !strcmp(redis_ask(w, "XLEN %s", "freezeline:{test}:updates"), "0"));
    assert_int_equal(in_redis(w).entries, before + 200);
    /* The first comes back, to the state that the other made. */
    start_service(w, first);
    wait_for(w, w->service[first].beat.epoch == w->service[other].beat.epoch);
    assert_true(count_label(w, first, 0, MISSING, 50) > 40);
    assert_int_equal(learner(w), other);
    world_free(w);
}

static void a_damaged_cache_in_redis_is_refused_and_repaired(void **state)
{
    struct world *w = world_new(true);
    start_service(w, 0);
    teach_to(w, 0, MISSING, 30, 30);
    assert_int_equal(end_process(&w->service[0].pid, SIGTERM), 0);
    redis_ask(w, "SET %s not-a-cache", "freezeline:{test}:exit:exit1");
    redis_ask(w, "DEL %s", "freezeline:{test}:exit:exit2");
    assert_int_equal(in_redis(w).entries, -1);
    /* It has the files of the same build, and puts them in the place of what is damaged. */
    start_service(w, 1);
    assert_true(log_has(w, 1, "freezeline:{test}:exit:exit1 refused"));
    assert_true(log_has(w, 1, "freezeline:{test}:exit:exit2 refused"));
    assert_true(count_label(w, 1, 0, 1, 50) > 40);
    wait_for(w, in_redis(w).entries > 0);
    world_free(w);
}

/* Under a promise: what is damaged here comes whole from Redis; what is damaged in both places is not used,
 * nor is the rest. */
static void a_promise_is_kept_with_redis_too(void **state)
{
    struct world *w = world_new(true);
    char path[128], file[128];
    struct manifest m;
    in_dir(w, path, sizeof path, "state/caches/manifest.json");
    in_dir(w, file, sizeof file, "state/caches/exit1.cache");
    assert_int_equal(manifest_load(&m, path, NULL), FL_OK);
    m.promised = true;
    assert_int_equal(manifest_save(&m, path, NULL), FL_OK);
    start_service(w, 0);
    wait_for(w, w->service[0].beat.caches == 2 && in_redis(w).entries > 0);
    assert_int_equal(end_process(&w->service[0].pid, SIGTERM), 0);
    assert_int_equal(truncate(file, 1000), 0);
    start_service(w, 1);
    wait_for(w, w->service[1].beat.caches == 2);
    assert_int_equal(end_process(&w->service[1].pid, SIGTERM), 0);
    redis_ask(w, "SET %s not-a-cache", "freezeline:{test}:exit:exit1");
    start_service(w, 0);
    assert_true(log_has(w, 0, "freezeline:{test}:exit:exit1 refused"));
    wait_for(w, w->service[0].beats > 20);
    assert_int_equal(w->service[0].beat.caches, 0);
    assert_int_equal(hits_at(w, 1), 0);
    assert_int_equal(in_redis(w).entries, -1);
    world_free(w);
}

static void hostile_redis_content_is_survived(void **state)
{
    struct world *w = world_new(true);
    int64_t before = built_points(w);
    start_service(w, 0);
    teach(w, 0, MISSING, 10);
    wait_for(w, in_redis(w).entries == before + 10);
    /* Entries that nobody can apply go away and stop nothing. */
    for (int i = 0; i < 20; i++)
        redis_ask(w, i % 2 ? "XADD %s * u FLU1garbage" : "XADD %s * a b c d", "freezeline:{test}:updates");
    teach(w, 0, MISSING, 10);
    wait_for(w, in_redis(w).entries == before + 20);
    wait_for(w, !strcmp(redis_ask(w, "XLEN %s", "freezeline:{test}:updates"), "0"));
    /* A head that is none, keys of wrong types: said, and look-ups go on. */
    redis_ask(w, "SET %s rubbish", "freezeline:{test}:epoch");
    wait_for(w, log_has(w, 0, "no head of caches"));
    assert_true(count_label(w, 0, 0, 1, 20) > 10);
    redis_ask(w, "DEL %s", "freezeline:{test}:epoch");
    redis_ask(w, "DEL %s", "freezeline:{test}:updates");
    redis_ask(w, "LPUSH %s 1", "freezeline:{test}:updates");
    wait_for(w, log_has(w, 0, "WRONGTYPE"));
    redis_ask(w, "DEL %s", "freezeline:{test}:updates");
    teach(w, 0, MISSING, 10);
    wait_for(w, in_redis(w).entries == before + 30);
    world_free(w);
}

static void bad_starts_say_why(void **state)
{
    struct world *w = world_new(false);
    char program[1100], config[128], log[128];
    pid_t pid;
    int status;
    snprintf(program, sizeof program, "%s/freezeline-cache", bin_dir);
    in_dir(w, config, sizeof config, "p.yaml");
    in_dir(w, log, sizeof log, "bad.log");
    start_service(w, 0);
    pid = launch((char *[]){program, "-c", config, "--index", "0", NULL}, log);
    waitpid(pid, &status, 0);
    assert_int_not_equal(WEXITSTATUS(status), 0);
    assert_true(file_has(log, "c0.sock"));
    pid = launch((char *[]){program, "-c", config, "--index", "7", NULL}, log);
    waitpid(pid, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 2);
    pid = launch((char *[]){program, "-c", "/nonexistent.yaml", NULL}, log);
    waitpid(pid, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_true(file_has(log, "/nonexistent.yaml"));
    pid = launch((char *[]){program, "-c", config, "--set", "redis.endpoint=example.org:6379", NULL}, log);
    waitpid(pid, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 2);
    world_free(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hits_go_to_the_broker_and_verdicts_to_the_stage),
        cmocka_unit_test(what_does_not_fit_is_a_miss),
        cmocka_unit_test(a_promise_is_kept_by_all_caches_or_none),
        cmocka_unit_test(garbage_is_ignored),
        cmocka_unit_test(a_missing_class_is_learned_with_redis),
        cmocka_unit_test(a_missing_class_is_learned_without_redis),
        cmocka_unit_test(outcomes_without_truth_teach_nothing),
        cmocka_unit_test(redis_dies_and_nobody_notices),
        cmocka_unit_test(redis_hangs_and_nobody_notices),
        cmocka_unit_test(an_empty_redis_is_filled_again),
        cmocka_unit_test(another_learner_takes_over),
        cmocka_unit_test(a_damaged_cache_in_redis_is_refused_and_repaired),
        cmocka_unit_test(a_promise_is_kept_with_redis_too),
        cmocka_unit_test(hostile_redis_content_is_survived),
        cmocka_unit_test(bad_starts_say_why),
    };
    char self[1024];
    (void)argc;
    /* build/VARIANT/tests/integration/test_X -> build/VARIANT */
    snprintf(self, sizeof self, "%s", argv[0]);
    snprintf(bin_dir, sizeof bin_dir, "%s/../..", dirname(self));
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
