/* test_near_caches.c - stage workers that look up in their cache service's memory, with real processes
 *
 * The caches are made here: whatever comes to their exit gets one answer. So it is plain whose answer it is.
 */
#include "tool_world.h"

#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "cache_service/store/snapshot.h"
#include "index/cache_body.h"
#include "index/cache_set.h"
#include "stages/place/origin.h"
#include "link/lanes.h"

#define PIXELS               (3 * 16 * 16)
#define YAML(CACHE, UPDATES) YAML_WITH(CACHE, UPDATES, "")
#define YAML_WITH(CACHE, UPDATES, BROKER)                                                     \
    "stages:\n  - {last: block1.out}\n  - {}\nexits: auto\nkernels: openblas\ncache: {" CACHE \
    ", wait_us: 200000}\nupdates: {" UPDATES "}\nbroker: {deadline_ms: 20000, heartbeat_ms: 50" BROKER "}\n"
#define NO_UPDATES "sample: 0, audit: 0"
#define AUDITS     12

/* A cache that says `label` of every descriptor of so many floats, and calls that a hit or not. */
static struct cache *parrot(int dim, int32_t label, bool hits, uint64_t epoch)
{
    static const float one = 1;
    struct projection *p;
    struct cache *c;
    assert_int_equal(projection_new(&p, dim, 1), FL_OK);
    assert_int_equal(cache_new(&c, CACHE_KMEANS, p, 10), FL_OK);
    projection_release(p);
    strcpy(c->exit, "exit1");
    c->epoch = epoch;
    c->threshold = hits ? 0 : INFINITY;
    c->kmeans.count = calloc(10, sizeof *c->kmeans.count);
    c->kmeans.count[label] = 5;
    assert_int_equal(points_reserve(&c->kmeans.points, 1, 1), FL_OK);
    points_set(&c->kmeans.points, 0, &one);
    return c;
}

/* The caches of this pipeline: one at exit 0. */
static struct snapshot *make_snapshot(const struct pipeline *p, int32_t label, bool hits, uint64_t epoch)
{
    struct placement *place = calloc(1, sizeof *place);
    struct manifest *m = calloc(1, sizeof *m);
    struct snapshot *s;
    struct graph *g;
    struct origin origin;
    struct tensor cut;
    struct error e;
    if (placement_load(&g, p, &e) || placement_resolve(place, g, p, &e) || manifest_begin_build(m, NULL, &e))
        fail_msg("%s", e.text);
    identity_of(&m->identity, g->digest, p);
    m->n_exits = place->n_exits;
    for (int i = 0; i < m->n_exits; i++) {
        struct manifest_exit *x = &m->exit[i];
        origin_of(&origin, g, &place->exit[i], p);
        snprintf(x->name, sizeof x->name, "%s", place->exit[i].name);
        snprintf(x->kind, sizeof x->kind, "%s", i ? "none" : "kmeans");
        snprintf(x->after, sizeof x->after, "%s", origin.after);
        snprintf(x->layout, sizeof x->layout, "%s", origin.layout);
        x->origin = origin.digest;
    }
    cut = origin_activation(g, &place->exit[0]);
    assert_non_null(s = snapshot_new(m));
    s->cache[0] = parrot(descriptor_dim(&cut, &p->cache.descriptor), label, hits, epoch);
    memcpy(s->cache[0]->identity, m->identity.digest, sizeof s->cache[0]->identity);
    graph_free(g);
    free(place);
    free(m);
    return s;
}

static void build(const struct harness *h, int32_t label, bool hits, uint64_t epoch)
{
    const struct pipeline *p = harness_pipeline(h);
    struct snapshot *s = make_snapshot(p, label, hits, epoch);
    char dir[HARNESS_PATH + 16];
    struct error e;
    mkdir(p->state, 0700);
    snprintf(dir, sizeof dir, "%s/caches", p->state);
    mkdir(dir, 0700);
    if (snapshot_save(s, dir, "manifest", &e))
        fail_msg("%s", e.text);
    snapshot_free(s);
}

static struct answer ask_for(struct client *client, uint32_t flags)
{
    static float data[PIXELS];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
    struct error e = {FL_OK, ""};
    struct answer a;
    int n;
    harness_random(data, PIXELS, 1);
    if (client_infer(client, &in, flags, 0, &a, NULL, 0, &n, &e))
        fail_msg("%s", e.text);
    if (a.error)
        fail_msg("%s: %s", error_name((int)a.error), a.text);
    return a;
}

static struct answer ask(struct client *client)
{
    return ask_for(client, 0);
}

/* --- what is waited for --- */

struct near_world {
    struct harness *h;
    struct client *client;
    int cache;
    int32_t label;
    uint64_t epoch;
};

static struct heartbeat beat_of(struct near_world *w, enum message_role role)
{
    struct status_reply s = harness_status(w->client);
    for (int i = 0; i < s.n_processes; i++)
        if (s.process[i].role == role && !s.process[i].stage && !strcmp(s.process[i].state, "ready"))
            return s.process[i].last;
    return (struct heartbeat){0};
}

static bool stage_has_epoch(void *arg)
{
    struct near_world *w = arg;
    struct heartbeat h = beat_of(w, ROLE_STAGE);
    return h.exits == 1 && h.epoch == w->epoch;
}

static bool stage_has_none(void *arg)
{
    ask(((struct near_world *)arg)->client);
    return !beat_of(arg, ROLE_STAGE).exits;
}

static bool stage_moved_on(void *arg)
{
    struct near_world *w = arg;
    ask(w->client);
    return beat_of(w, ROLE_STAGE).epoch >= w->epoch;
}

static bool service_learned(void *arg)
{
    struct heartbeat h = beat_of(arg, ROLE_CACHE);
    return h.epoch >= ((struct near_world *)arg)->epoch && h.learning.accepted >= 3;
}

static bool service_was_asked(void *arg)
{
    return beat_of(arg, ROLE_CACHE).lookups > 0;
}

static bool answers_with_label(void *arg)
{
    struct near_world *w = arg;
    struct answer a = ask(w->client);
    return a.exit == 0 && a.label == w->label;
}

static bool is_answered_by_the_network(void *arg)
{
    return ask(((struct near_world *)arg)->client).exit < 0;
}

static struct near_world up(const char *yaml, int32_t label, bool hits)
{
    struct near_world w = {.h = harness_new(NULL, yaml), .label = label, .epoch = 1};
    build(w.h, label, hits, 1);
    w.cache = harness_cache(w.h, 0);
    harness_pipeline_up(w.h);
    w.client = harness_client(w.h);
    return w;
}

static void down(struct near_world *w)
{
    client_free(w->client);
    harness_free(w->h);
}

static uint64_t audit_hits(struct near_world *w)
{
    struct learning l = beat_of(w, ROLE_CACHE).learning;
    return l.built.audit_hits + l.learned.audit_hits;
}

static bool audits_are_done(void *arg)
{
    struct near_world *w = arg;
    return harness_status(w->client).audits_done >= AUDITS && audit_hits(w) >= AUDITS;
}

/* The broker has heard of the service's caches, and tells it how audits ended. */
static bool service_is_known(void *arg)
{
    return beat_of(arg, ROLE_CACHE).exits != 0;
}

/* --- the tests --- */

static void is_near(const struct answer *a, int32_t label, uint64_t epoch)
{
    assert_int_equal(a->exit, 0);
    assert_int_equal(a->label, label);
    assert_int_equal(a->epoch, epoch);
    assert_int_equal(a->trace.n, 1);
    assert_int_equal(a->lookup_wire_ns + a->lookup_queue_ns, 0);
    assert_true(a->lookup_ns > 0);
}

/* Also when another build takes the place of the first. */
static void test_stages_answer_from_the_memory_of_their_cache_service(void **state)
{
    struct near_world w = up(YAML("placement: near", NO_UPDATES), 3, true);
    json_t *root, *process, *near = NULL;
    size_t i;
    harness_until(stage_has_epoch, &w, 60, "near caches");
    for (int k = 0; k < 20; k++) {
        struct answer a = ask(w.client);
        is_near(&a, 3, 1);
    }
    assert_int_equal(beat_of(&w, ROLE_CACHE).lookups, 0);
    root = tool_json(w.h, "status", "");
    json_array_foreach(json_object_get(root, "processes"), i, process)
    {
        if (!strcmp(json_string_value(json_object_get(process, "role")), "stage0.0"))
            near = json_object_get(process, "near");
    }
    assert_int_equal(json_integer_value(json_object_get(near, "epoch")), 1);
    assert_int_equal(json_array_size(json_object_get(near, "exits")), 1);
    json_decref(root);
    tool_ok(w.h, "status", "");
    assert_said("stage0.0 looks up in shared memory at exit1, the caches of epoch 1");

    build(w.h, 6, true, 2);
    harness_signal(w.h, w.cache, SIGHUP);
    w.label = 6;
    w.epoch = 2;
    harness_until(answers_with_label, &w, 60, "the answer of the other build");
    for (int k = 0; k < 5; k++) {
        struct answer a = ask(w.client);
        is_near(&a, 6, 2);
    }
    harness_until(stage_has_epoch, &w, 60, "the other epoch in status");
    assert_int_equal(beat_of(&w, ROLE_CACHE).lookups, 0);
    down(&w);
}

/* The service tells the broker of them before the worker has checked them: what it says until then must not
 * stay the answer. Each build's epoch is 1. */
static void test_no_response_of_old_near_caches_stays(void **state)
{
    struct near_world w = up(YAML_WITH("placement: near", NO_UPDATES, ", response_cache_mb: 1"), 3, true);
    harness_until(stage_has_epoch, &w, 60, "near caches");
    for (int k = 0; k < 10; k++) {
        w.label = k;
        build(w.h, k, true, 1);
        harness_signal(w.h, w.cache, SIGHUP);
        harness_until(answers_with_label, &w, 60, "the answer of the newest build");
    }
    down(&w);
}

/* Each is answered at its hit, by near caches or by the service, and what the network says comes afterwards.
 */
static void test_audits_are_answered_at_their_hit(void **state)
{
    static const char *const yaml[] = {YAML("placement: near", "sample: 0, audit: 1"),
                                       YAML("placement: service", "sample: 0, audit: 1")};
    for (int k = 0; k < 2; k++) {
        struct near_world w = up(yaml[k], 3, true);
        struct status_reply s;
        harness_until(service_is_known, &w, 60, "a cache service");
        harness_until(answers_with_label, &w, 60, "a hit");
        for (int i = 0; i < AUDITS; i++)
            assert_int_equal(ask(w.client).exit, 0);
        harness_until(audits_are_done, &w, 60, "the truth about the audits");
        s = harness_status(w.client);
        assert_int_equal(s.audits_dropped, 0);
        assert_int_equal(s.in_flight, 0);
        assert_int_equal(s.answered, s.admitted); /* shadows are no requests */
        assert_true(audit_hits(&w) <= s.audits_drawn);
        down(&w);
    }
}

static void test_a_service_that_is_gone_leaves_its_caches_for_a_while(void **state)
{
    struct near_world w = up(YAML("placement: near, near_keep_ms: 2000", NO_UPDATES), 3, true);
    struct answer a;
    harness_until(stage_has_epoch, &w, 60, "near caches");
    harness_signal(w.h, w.cache, SIGKILL);
    harness_wait(w.h, w.cache);
    a = ask(w.client);
    is_near(&a, 3, 1);
    harness_until(is_answered_by_the_network, &w, 60, "an answer without caches");
    harness_expect(w.h, w.cache + 2, "cache service has been gone for 2000 ms", 1);
    harness_until(stage_has_none, &w, 60, "no near caches in status");
    build(w.h, 4, true, 2);
    w.cache = harness_cache(w.h, 0);
    w.epoch = 2;
    harness_until(stage_has_epoch, &w, 60, "the caches of the service that came back");
    a = ask(w.client);
    is_near(&a, 4, 2);
    down(&w);
}

/* It was stopped, not ended: what it handed out before counts again once it speaks. Also without any time to
 * wait for that. */
static void test_a_service_that_was_silent_has_its_caches_used_again(void **state)
{
    struct near_world w = up(YAML("placement: near, near_keep_ms: 0", NO_UPDATES), 3, true);
    struct answer a;
    harness_until(stage_has_epoch, &w, 60, "near caches");
    harness_signal(w.h, w.cache, SIGSTOP);
    harness_until(stage_has_none, &w, 60, "no near caches while nobody speaks for them");
    harness_signal(w.h, w.cache, SIGCONT);
    harness_until(stage_has_epoch, &w, 60, "the same near caches again");
    a = ask(w.client);
    is_near(&a, 3, 1);
    down(&w);
}

/* The service is kept from making another block, as by a full /dev/shm: it is asked, and the one before
 * counts no more. */
static void test_caches_that_cannot_be_shared_are_asked_for(void **state)
{
    const struct rlimit small = {256, 256};
    struct near_world w;
    signal(SIGXFSZ, SIG_IGN); /* its processes inherit that: what is too large is an error then */
    w = up(YAML("placement: near", NO_UPDATES), 3, true);
    harness_until(stage_has_epoch, &w, 60, "near caches");
    assert_int_equal(prlimit(harness_pid(w.h, w.cache), RLIMIT_FSIZE, &small, NULL), 0);
    w.label = 6;
    build(w.h, 6, true, 2);
    harness_signal(w.h, w.cache, SIGHUP);
    harness_until(answers_with_label, &w, 60, "the answer of the other build");
    harness_until(stage_has_none, &w, 60, "no near caches");
    harness_expect(w.h, w.cache + 2, "shared caches are not used, the cache service is asked", 1);
    signal(SIGXFSZ, SIG_DFL);
    down(&w);
}

/* A service without caches takes the place of one that had some: what that had counts only for a while. */
static void test_the_caches_of_a_service_are_not_those_of_the_next(void **state)
{
    struct near_world w = up(YAML("placement: near, near_keep_ms: 100", NO_UPDATES), 3, true);
    char line[HARNESS_PATH + 32];
    harness_until(stage_has_epoch, &w, 60, "near caches");
    snprintf(line, sizeof line, "rm -r %s/caches", harness_pipeline(w.h)->state);
    assert_int_equal(shell(line), 0);
    harness_signal(w.h, w.cache, SIGKILL);
    harness_wait(w.h, w.cache);
    w.cache = harness_cache(w.h, 0);
    harness_until(stage_has_none, &w, 60, "no near caches");
    assert_int_equal(ask(w.client).exit, -1);
    down(&w);
}

static void test_placement_service_asks_the_service(void **state)
{
    struct near_world w = up(YAML("placement: service", NO_UPDATES), 3, true);
    harness_until(answers_with_label, &w, 60, "a hit");
    for (int i = 0; i < 10; i++)
        assert_int_equal(ask(w.client).exit, 0);
    harness_until(service_was_asked, &w, 60, "look-ups at the service");
    assert_int_equal(beat_of(&w, ROLE_STAGE).exits, 0);
    assert_int_equal(harness_count(w.h, w.cache + 2, "looks up in"), 0);
    down(&w);
}

static void test_auto_answers_either_way(void **state)
{
    struct near_world w = up(YAML("placement: auto", NO_UPDATES), 3, true);
    harness_until(answers_with_label, &w, 60, "a hit");
    harness_expect(w.h, w.cache + 2, "looks up in the cache service's memory", 1);
    for (int i = 0; i < 100; i++) {
        struct answer a = ask(w.client);
        assert_int_equal(a.exit, 0);
        assert_int_equal(a.label, 3);
    }
    down(&w);
}

/* Nothing hits, so everything is a lesson: the service learns, and what it learned comes back. */
static void test_what_is_looked_up_near_is_learned_from(void **state)
{
    struct near_world w = up(
        YAML("kind: kmeans, placement: near", "sample: 1, audit: 0.2, batch: 8, interval_ms: 10"), 3, false);
    struct heartbeat cache;
    harness_until(stage_has_epoch, &w, 60, "near caches");
    w.epoch = 4;
    harness_until(stage_moved_on, &w, 60, "learned epochs");
    harness_until(service_learned, &w, 60, "what the service learned");
    cache = beat_of(&w, ROLE_CACHE);
    assert_int_equal(cache.hits, 0);
    assert_true(cache.learning.built.lookups + cache.learning.learned.lookups > 0);
    down(&w);
}

/* --- a service that lies --- */

/* Hands a block over and waits for what comes of it. */
static void offer(struct lanes *l, struct near_world *w, int fd, bool (*until)(void *arg))
{
    uint64_t end = clock_ns() + 60 * NS_PER_S;
    lanes_offer(l, 0, fd);
    do
        lanes_turn(l, clock_ns());
    while (!until(w) && clock_ns() < end);
    harness_until(until, w, 60, "what comes of a block");
}

static int sealed(const void *bytes, size_t size, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(fd, bytes, size), size);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

/* Whatever is handed over, the worker goes on; what is sound is used, also after what was not. */
static void test_what_is_no_cache_is_refused(void **state)
{
    const int all = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    struct near_world w = {
        .h = harness_new(NULL, YAML("placement: near", NO_UPDATES)), .label = 3, .epoch = 1};
    struct snapshot *s = make_snapshot(harness_pipeline(w.h), 3, true, 1);
    struct lane_options o = {.in_bytes = 1 << 16, .out_bytes = 1 << 16};
    struct lanes *l;
    struct error e = {0};
    char folder[HARNESS_PATH + 16];
    uint8_t *bytes;
    size_t size;
    int bad[4];
    build(w.h, 3, true, 1); /* for its folder */
    snprintf(folder, sizeof folder, "%s/sock", harness_pipeline(w.h)->state);
    mkdir(folder, 0700);
    if (lanes_new(&l, &e) || lanes_listen(l, 0, harness_pipeline(w.h)->cache.endpoint[0], &o, &e) ||
        snapshot_share(s, &e))
        fail_msg("%s", e.text);
    size = (size_t)lseek(s->block, 0, SEEK_END);
    bytes = malloc(size);
    assert_int_equal(pread(s->block, bytes, size, 0), size);
    harness_pipeline_up(w.h);
    w.client = harness_client(w.h);

    bad[0] = sealed("nothing of the kind", 20, all);
    bad[1] = sealed(bytes, size, F_SEAL_SHRINK);
    bad[2] = open("/dev/null", O_RDWR | O_CLOEXEC);
    bytes[size - 70] ^= 4;
    bad[3] = sealed(bytes, size, all);
    for (int i = 0; i < 4; i++) {
        offer(l, &w, s->block, stage_has_epoch);
        assert_int_equal(ask(w.client).exit, 0);
        offer(l, &w, bad[i], stage_has_none);
        assert_int_equal(ask(w.client).exit, -1); /* nor from what came before */
    }
    harness_expect(w.h, 1, "shared caches are not used, the cache service is asked", 1);
    lanes_free(l);
    for (int i = 0; i < 4; i++)
        close(bad[i]);
    free(bytes);
    snapshot_free(s);
    down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages_answer_from_the_memory_of_their_cache_service),
        cmocka_unit_test(test_no_response_of_old_near_caches_stays),
        cmocka_unit_test(test_audits_are_answered_at_their_hit),
        cmocka_unit_test(test_a_service_that_is_gone_leaves_its_caches_for_a_while),
        cmocka_unit_test(test_a_service_that_was_silent_has_its_caches_used_again),
        cmocka_unit_test(test_caches_that_cannot_be_shared_are_asked_for),
        cmocka_unit_test(test_the_caches_of_a_service_are_not_those_of_the_next),
        cmocka_unit_test(test_placement_service_asks_the_service),
        cmocka_unit_test(test_auto_answers_either_way),
        cmocka_unit_test(test_what_is_looked_up_near_is_learned_from),
        cmocka_unit_test(test_what_is_no_cache_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
