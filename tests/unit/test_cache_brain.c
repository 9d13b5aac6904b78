/* test_cache_brain.c - look-ups, outcomes and the broker's messages in, verdicts, hits and updates out: no
 * socket, a clock of our own */
#include "cache_samples.h"

#include "base/clock.h"
#include "cache_service/service/cache_brain.h"

enum { DIM = 2, MOST = 64 };

/* What went out, in its order. */
struct world {
    struct cache_brain *brain;
    uint64_t now;
    enum message_type sent[MOST];
    int n_sent;
    struct verdict verdict;
    struct result result;
    struct hello hello;
    struct heartbeat beat;
    struct spans spans;
    uint64_t learned[MOST]; /* requests */
    int n_learned, reloads;
    bool results_full, control_full;
};

static struct world w;

static int note(const struct message *m)
{
    assert_true(w.n_sent < MOST);
    w.sent[w.n_sent++] = m->type;
    return FL_OK;
}

static int on_verdict(void *arg, const struct peer *to, const struct message *m)
{
    (void)arg;
    assert_int_equal(to->id[0], 's');
    w.verdict = m->verdict;
    return note(m);
}

static int on_result(void *arg, const struct message *m)
{
    (void)arg;
    w.result = m->result;
    return w.results_full ? FL_AGAIN : note(m);
}

static int on_control(void *arg, int broker, const struct message *m)
{
    (void)arg;
    (void)broker;
    if (w.control_full)
        return FL_AGAIN;
    if (m->type == MESSAGE_HELLO)
        w.hello = m->hello;
    else if (m->type == MESSAGE_HEARTBEAT)
        w.beat = m->heartbeat;
    else
        w.spans = m->spans;
    return note(m);
}

static void on_update(void *arg, struct update *u)
{
    (void)arg;
    assert_true(w.n_learned < MOST);
    w.learned[w.n_learned++] = u->request;
    update_free(u);
}

static void on_reload(void *arg)
{
    (void)arg;
    w.reloads++;
}

static void on_keeper(void *arg, struct heartbeat *h)
{
    (void)arg;
    h->epoch = 77;
}

/* Looking up takes 5 us here. */
static uint64_t moment(void *arg)
{
    (void)arg;
    return w.now += 5 * NS_PER_US;
}

static const struct pipeline pipeline = {.broker = {.heartbeat_ms = 100, .dead_after_ms = 1000}};

static void begin(const struct pending_limits *limits)
{
    const struct cache_io io = {NULL,      on_verdict, on_result, on_control, sample_look,
                                on_update, on_reload,  on_keeper, moment};
    struct cache_setup setup = {.pipeline = &pipeline, .spans = 4};
    struct error e;
    memset(&w, 0, sizeof w);
    w.now = 100 * NS_PER_S;
    setup.hello.incarnation = 5;
    strcpy(setup.hello.boot_id, "a");
    if (limits)
        setup.pending = *limits;
    assert_int_equal(cache_brain_new(&w.brain, &setup, &io, &e), FL_OK);
}

static struct snapshot *caches(uint8_t build, uint64_t generation)
{
    static const float centroids[] = {0, 0, 4, 0};
    static const uint32_t counts[] = {6, 0, 0, 5};
    struct manifest m = {.n_exits = 1, .generation = generation, .identity.digest = {9}};
    struct snapshot *s = snapshot_new(&m);
    assert_non_null(s);
    memset(s->manifest.build, build, sizeof s->manifest.build);
    s->cache[0] = sample_kmeans(DIM, 2, centroids, counts, 2);
    return s;
}

/* A look-up of two that are near a centroid, requests `first` and the one after. */
static void look_as(uint64_t first, uint32_t flags, uint64_t deadline_ns, bool told)
{
    static const float near[] = {4, 0.1f, 0, 0.1f};
    static struct message m;
    struct cache_arrival came = {w.now - NS_PER_US, w.now - NS_PER_US};
    m.type = MESSAGE_LOOKUP;
    m.lookup = (struct lookup){.sequence = 3, .dim = DIM, .n = 2, .sent_ns = w.now - 3 * NS_PER_US};
    if (told)
        m.lookup.told = true, m.lookup.answered = 50, m.lookup.hits = 40;
    for (int i = 0; i < 2; i++)
        m.lookup.item[i] = (struct lookup_item){
            .request = first + (unsigned)i, .attempt = 1, .flags = flags, .deadline_ns = deadline_ns};
    cache_brain_lookup(w.brain, &(struct peer){.size = 1, .id = "s"}, &m, near, &came, w.now);
}

static void look(uint64_t first, uint32_t flags, uint64_t deadline_ns)
{
    look_as(first, flags, deadline_ns, false);
}

static void tell(const struct message *m)
{
    cache_brain_control(w.brain, 0, m, w.now);
}

static void tell_outcome(uint64_t request, int32_t label, int32_t hit_exit)
{
    static struct message m = {.type = MESSAGE_OUTCOME};
    m.outcome = (struct outcome){.request = request, .label = label, .hit_exit = hit_exit};
    tell(&m);
}

static void tell_audit(uint64_t request, int32_t label)
{
    static struct message m = {.type = MESSAGE_OUTCOME};
    m.outcome = (struct outcome){.request = request, .label = label, .hit_exit = -1, .audit = true};
    tell(&m);
}

static void welcome(uint8_t stages)
{
    static struct message m = {.type = MESSAGE_HELLO, .hello = {.incarnation = 1, .boot_id = "a"}};
    memset(m.hello.identity, stages, sizeof m.hello.identity);
    tell(&m);
}

static void end(void)
{
    cache_brain_free(w.brain);
}

static void a_hit_is_told_to_the_broker_before_the_stage(void **state)
{
    begin(NULL);
    assert_null(cache_brain_swap(w.brain, caches(1, 0)));
    look(10, 0, UINT64_MAX);
    assert_int_equal(w.n_sent, 3);
    assert_true(w.sent[0] == MESSAGE_RESULT && w.sent[1] == MESSAGE_RESULT && w.sent[2] == MESSAGE_VERDICT);
    assert_true(w.verdict.item[0].hit && w.verdict.item[0].label == 1 && w.verdict.item[1].label == 0);
    assert_int_equal(w.verdict.lookup_ns, 6 * NS_PER_US); /* decoding and looking up */
    assert_true(w.result.request == 11 && w.result.lookup_ns == 6 * NS_PER_US);
    assert_int_equal(w.result.lookup_wire_ns, 2 * NS_PER_US);
    end();
}

static void a_hit_that_cannot_be_told_is_a_miss(void **state)
{
    struct cache_counters c;
    begin(NULL);
    cache_brain_swap(w.brain, caches(1, 0));
    w.results_full = true;
    look(10, 0, UINT64_MAX);
    c = cache_brain_counters(w.brain);
    assert_false(w.verdict.item[0].hit || w.verdict.item[1].hit);
    assert_true(c.lookups.hits == 0 && c.lookups.built.hits == 0 && c.undelivered == 2);
    end();
}

static void some_requests_are_never_ended_here(void **state)
{
    static const uint32_t flags[] = {JOB_AUDIT, JOB_NO_CACHE, 0};
    begin(NULL);
    cache_brain_swap(w.brain, caches(1, 0));
    for (int i = 0; i < 3; i++) {
        look(10, flags[i], flags[i] ? UINT64_MAX : w.now);
        assert_false(w.verdict.item[0].hit);
        assert_int_equal(w.verdict.item[0].label, 1);
    }
    for (int i = 0; i < w.n_sent; i++)
        assert_int_equal(w.sent[i], MESSAGE_VERDICT);
    end();
}

static void a_descriptor_is_learned_once_and_only_with_a_full_answer(void **state)
{
    begin(NULL);
    cache_brain_swap(w.brain, caches(1, 0));
    for (uint64_t r = 10; r < 16; r += 2)
        look(r, JOB_SAMPLED | JOB_NO_CACHE, UINT64_MAX);
    tell_outcome(10, 1, -1);
    tell_outcome(10, 1, -1); /* told twice */
    tell_outcome(11, -1, -1);
    tell_outcome(12, 1, 0); /* another exit's hit ended it */
    tell_outcome(99, 1, -1);
    assert_true(w.n_learned == 1 && w.learned[0] == 10);
    assert_int_equal(cache_brain_counters(w.brain).pending, 3);
    w.now += 61 * NS_PER_S;
    cache_brain_tick(w.brain, w.now);
    tell_outcome(13, 1, -1);
    assert_int_equal(w.n_learned, 1);
    end();
}

/* What a stage worker has looked up itself: learned from, but not answered again, though it would hit here.
 */
static void what_was_looked_up_near_is_learned_from(void **state)
{
    struct cache_counters c;
    begin(NULL);
    cache_brain_swap(w.brain, caches(1, 0));
    look_as(10, JOB_SAMPLED, UINT64_MAX, true);
    look_as(12, JOB_AUDIT, UINT64_MAX, true);
    assert_int_equal(w.n_sent, 0);
    tell_outcome(10, 1, -1);
    tell_audit(12, 1);
    assert_true(w.n_learned == 2 && w.learned[0] == 10 && w.learned[1] == 12);
    c = cache_brain_counters(w.brain);
    assert_true(c.lookups.hits == 0 && c.lookups.built.lookups == 100 && c.lookups.built.hits == 80);
    assert_true(c.lookups.built.audit_hits == 1 && c.lookups.built.audit_right == 1);
    end();
}

/* What is lost is told by a record without exits; without `audit` another service tells it. */
static void a_lost_audit_is_told(void **state)
{
    static struct message m = {.type = MESSAGE_OUTCOME};
    begin(NULL);
    m.outcome = (struct outcome){.request = 12, .original = 10, .label = -1, .hit_exit = -1};
    tell(&m); /* there are no caches */
    cache_brain_swap(w.brain, caches(1, 0));
    look_as(12, JOB_AUDIT, UINT64_MAX, true);
    tell(&m);
    assert_int_equal(w.n_learned, 0);
    m.outcome.audit = true;
    tell(&m);
    assert_true(w.n_learned == 1 && w.learned[0] == 10);
    end();
}

static void what_waits_is_bounded(void **state)
{
    const struct pending_limits few = {.count = 3, .bytes = 1 << 20, .age_ns = NS_PER_S};
    begin(&few);
    cache_brain_swap(w.brain, caches(1, 0));
    look(10, JOB_SAMPLED | JOB_NO_CACHE, UINT64_MAX);
    look(12, JOB_SAMPLED | JOB_NO_CACHE, UINT64_MAX);
    assert_int_equal(cache_brain_counters(w.brain).pending, 3);
    for (uint64_t r = 10; r < 14; r++)
        tell_outcome(r, 1, -1);
    assert_true(w.n_learned == 3 && w.learned[0] == 11); /* the oldest went */
    end();
}

static void hello_until_it_is_heard_and_when_other_caches_are_in_use(void **state)
{
    begin(NULL);
    cache_brain_tick(w.brain, w.now);
    assert_true(w.n_sent == 1 && w.hello.caches.loaded == 0);
    welcome(0);
    w.now += 100 * NS_PER_MS;
    assert_int_equal(cache_brain_tick(w.brain, w.now), w.now + 100 * NS_PER_MS);
    assert_true(w.sent[1] == MESSAGE_HEARTBEAT && w.beat.epoch == 77 && w.beat.caches == 0);
    snapshot_free(cache_brain_swap(w.brain, caches(1, 0)));
    cache_brain_tick(w.brain, w.now); /* at once */
    assert_true(w.sent[2] == MESSAGE_HELLO && w.hello.caches.loaded == 1);
    welcome(0);
    snapshot_free(cache_brain_swap(w.brain, caches(1, 1))); /* it only learned */
    cache_brain_tick(w.brain, w.now);
    assert_int_equal(w.n_sent, 3);
    w.now += 100 * NS_PER_MS;
    cache_brain_tick(w.brain, w.now);
    assert_true(w.sent[3] == MESSAGE_HEARTBEAT && w.beat.caches == 1 && w.beat.exits == 1);
    end();
}

static void stages_of_another_model_have_the_caches_read_again_once(void **state)
{
    begin(NULL);
    cache_brain_swap(w.brain, caches(1, 0));
    welcome(0);
    assert_int_equal(w.reloads, 0);
    welcome(3);
    welcome(3);
    assert_int_equal(w.reloads, 1);
    welcome(4);
    assert_int_equal(w.reloads, 2);
    end();
}

static void who_is_sent_away_says_no_goodbye(void **state)
{
    static const struct message drain = {.type = MESSAGE_DRAIN};
    begin(NULL);
    cache_brain_goodbye(w.brain);
    assert_true(w.n_sent == 1 && !w.hello.ready);
    assert_false(cache_brain_sent_away(w.brain));
    tell(&drain);
    assert_true(cache_brain_sent_away(w.brain));
    cache_brain_goodbye(w.brain);
    assert_int_equal(w.n_sent, 1);
    end();
}

static void what_does_not_belong_there_is_counted(void **state)
{
    static const struct message job = {.type = MESSAGE_JOB};
    struct cache_arrival came = {0};
    begin(NULL);
    tell(&job);
    cache_brain_lookup(w.brain, &(struct peer){.size = 1, .id = "s"}, &job, NULL, &came, w.now);
    cache_brain_garbage(w.brain, true, "noise", w.now);
    look(1, 0, UINT64_MAX); /* nothing to look up in yet */
    assert_int_equal(cache_brain_counters(w.brain).garbage, 3);
    assert_true(w.n_sent == 1 && !w.verdict.item[0].hit && !w.verdict.absent);
    end();
}

static void labels_become_updates_without_exits(void **state)
{
    struct message m = {.type = MESSAGE_FEEDBACK};
    struct snapshot *s = caches(1, 0);
    begin(NULL);
    m.feedback.n = 3;
    m.feedback.item[0] = (struct feedback_item){11, 1};
    m.feedback.item[1] = (struct feedback_item){12, 2}; /* no such class */
    m.feedback.item[2] = (struct feedback_item){13, -1};
    tell(&m); /* no caches yet: nobody knows of which network it is */
    assert_int_equal(w.n_learned, 0);
    s->manifest.classes = 2;
    cache_brain_swap(w.brain, s);
    tell(&m);
    assert_true(w.n_learned == 1 && w.learned[0] == 11);
    assert_true(cache_brain_counters(w.brain).lookups.truths_refused == 5);
    end();
}

static void spans_go_before_the_heartbeat_and_lost_ones_are_counted(void **state)
{
    begin(NULL);
    cache_brain_swap(w.brain, caches(1, 0));
    welcome(0);
    look(10, JOB_TRACE, UINT64_MAX); /* six spans, room for four */
    w.n_sent = 0;
    cache_brain_tick(w.brain, w.now); /* says what it has first */
    assert_true(w.n_sent == 1 && w.sent[0] == MESSAGE_HELLO);
    welcome(0);
    w.now += 100 * NS_PER_MS;
    w.control_full = true;
    cache_brain_tick(w.brain, w.now);
    w.control_full = false;
    w.now += 100 * NS_PER_MS;
    look(20, JOB_TRACE, UINT64_MAX);
    w.n_sent = 0;
    cache_brain_tick(w.brain, w.now);
    assert_true(w.n_sent == 2 && w.sent[0] == MESSAGE_SPANS && w.sent[1] == MESSAGE_HEARTBEAT);
    assert_true(w.spans.n == 4 && w.spans.lost == 2 + 4 + 2);
    assert_true(w.spans.span[0].kind == SPAN_WIRE && w.spans.span[2].kind == SPAN_HIT);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_is_told_to_the_broker_before_the_stage),
        cmocka_unit_test(a_hit_that_cannot_be_told_is_a_miss),
        cmocka_unit_test(some_requests_are_never_ended_here),
        cmocka_unit_test(a_descriptor_is_learned_once_and_only_with_a_full_answer),
        cmocka_unit_test(what_was_looked_up_near_is_learned_from),
        cmocka_unit_test(a_lost_audit_is_told),
        cmocka_unit_test(what_waits_is_bounded),
        cmocka_unit_test(hello_until_it_is_heard_and_when_other_caches_are_in_use),
        cmocka_unit_test(stages_of_another_model_have_the_caches_read_again_once),
        cmocka_unit_test(who_is_sent_away_says_no_goodbye),
        cmocka_unit_test(what_does_not_belong_there_is_counted),
        cmocka_unit_test(labels_become_updates_without_exits),
        cmocka_unit_test(spans_go_before_the_heartbeat_and_lost_ones_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
