/* test_near.c - caches that processes share: the block, and where a look-up is answered */
#include "cache_samples.h"

#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "index/cache_set.h"
#include "stages/brain/stage_near.h"

/* --- the block --- */

static struct cache *sample(int which)
{
    static const float points[] = {0, 0, 4, 0, 4, 4};
    static const int32_t labels[] = {0, 1, 1};
    static const uint32_t counts[] = {6, 0, 0, 5, 1, 7};
    return which ? sample_knn(2, 2, 2, points, labels, 3) : sample_kmeans(2, 2, points, counts, 3);
}

/* Caches at exits 0 and 2 of three. */
static int share(struct cache_set *set)
{
    int fd;
    *set = (struct cache_set){.epoch = 7, .n_exits = 3};
    set->exit[0] = (struct cache_set_exit){sample(0), 100};
    set->exit[2] = (struct cache_set_exit){sample(1), 102};
    assert_int_equal(cache_set_share(set, &fd, NULL), FL_OK);
    return fd;
}

static void free_made(struct cache_set *set)
{
    for (int i = 0; i < set->n_exits; i++)
        cache_free(set->exit[i].cache);
}

static void test_shared_caches_answer_as_those_they_were_made_of(void **state)
{
    struct cache_set made, *set;
    int fd = share(&made);
    assert_int_equal(cache_set_map(&set, fd, 5, NULL), FL_OK);
    close(fd); /* the mapping stays */
    assert_int_equal(set->epoch, 7);
    assert_int_equal(set->n_exits, 3);
    assert_null(set->exit[1].cache);
    for (int i = 0; i < 3; i += 2)
        for (float x = -1; x < 5; x += 0.25f) {
            const float at[] = {x, 1 + x / 3};
            struct cache_verdict a = sample_lookup(made.exit[i].cache, at),
                                 b = sample_lookup(set->exit[i].cache, at);
            assert_int_equal(set->exit[i].origin, 100 + i);
            assert_int_equal(a.label, b.label);
            assert_true(a.confidence == b.confidence && a.hit == b.hit);
        }
    cache_set_free(set);
    free_made(&made);
}

/* One that takes more than a large page lies at one. */
static void test_large_blocks_lie_on_large_pages(void **state)
{
    enum { LARGE_DIM = 64, LARGE = 20000 };
    float *points = malloc(sizeof *points * LARGE_DIM * LARGE);
    int32_t *labels = calloc(LARGE, sizeof *labels);
    struct cache_set made = {.n_exits = 1}, *set;
    struct shuffle r;
    int fd;
    shuffle_seed(&r, 3, 0);
    for (int i = 0; i < LARGE_DIM * LARGE; i++)
        points[i] = (float)shuffle_uniform(&r);
    for (int i = 0; i < LARGE; i++)
        labels[i] = i % 2;
    made.exit[0].cache = sample_knn(LARGE_DIM, 2, 3, points, labels, LARGE);
    assert_int_equal(cache_set_share(&made, &fd, NULL), FL_OK);
    assert_int_equal(cache_set_map(&set, fd, 1, NULL), FL_OK);
    assert_int_equal((uintptr_t)set->at % (2 << 20), 0);
    assert_int_equal(set->bytes % (2 << 20), 0);
    for (int i = 0; i < 20; i++) {
        const float *at = points + (size_t)(i * 997 * LARGE_DIM);
        struct cache_verdict a = sample_lookup(made.exit[0].cache, at),
                             b = sample_lookup(set->exit[0].cache, at);
        assert_true(a.label == b.label && a.confidence == b.confidence && a.hit == b.hit);
    }
    cache_set_free(set);
    free_made(&made);
    close(fd);
    free(points);
    free(labels);
}

static void test_only_what_is_wanted_is_looked_at(void **state)
{
    struct cache_set made, *set;
    int fd = share(&made);
    assert_int_equal(cache_set_map(&set, fd, 1, NULL), FL_OK);
    assert_non_null(set->exit[0].cache);
    assert_null(set->exit[2].cache);
    cache_set_free(set);
    close(fd);
    free_made(&made);
}

/* In memory that its maker could still change, nothing that was checked stays true. */
static void test_memory_that_may_change_is_refused(void **state)
{
    static const int seals[] = {0, F_SEAL_SHRINK | F_SEAL_GROW, F_SEAL_WRITE};
    struct cache_set made, *set;
    struct error e;
    int fd = share(&made), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    off_t size = lseek(fd, 0, SEEK_END);
    char *bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    assert_int_equal(ftruncate(fd, 64), -1); /* nor can what was shared */
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    for (size_t i = 0; i < sizeof seals / sizeof *seals; i++) {
        int other = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        assert_int_equal(write(other, bytes, (size_t)size), size);
        assert_int_equal(fcntl(other, F_ADD_SEALS, seals[i]), 0);
        assert_int_equal(cache_set_map(&set, other, 5, &e), FL_CORRUPT);
        assert_non_null(strstr(e.text, "not sealed"));
        close(other);
    }
    assert_int_equal(cache_set_map(&set, null, 5, &e), FL_CORRUPT);
    close(null);
    munmap(bytes, (size_t)size);
    close(fd);
    free_made(&made);
}

static int map_bytes(const void *bytes, size_t size)
{
    struct cache_set *set = NULL;
    struct error e = {0};
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING), rc;
    if (size)
        assert_int_equal(write(fd, bytes, size), size);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
    rc = cache_set_map(&set, fd, 5, &e);
    assert_true(rc == FL_OK || e.text[0]);
    cache_set_free(rc ? NULL : set);
    close(fd);
    return rc;
}

/* All of it is taken, or nothing: no bit of what counts may be another, and no byte may be missing. */
static void test_damaged_blocks_are_refused(void **state)
{
    struct cache_set made;
    int fd = share(&made);
    size_t size = (size_t)lseek(fd, 0, SEEK_END), header = 56 + 24 * PIPELINE_MAX_EXITS;
    uint8_t *bytes = malloc(size);
    assert_int_equal(pread(fd, bytes, size, 0), size);
    assert_int_equal(map_bytes(bytes, size), FL_OK);
    for (size_t i = 0; i < header; i++) {
        bytes[i] ^= 1;
        if (i != 7) /* padding of the magic */
            assert_int_not_equal(map_bytes(bytes, size), FL_OK);
        bytes[i] ^= 1;
    }
    for (size_t i = header + 64; i < size - 64; i += 37) { /* in the packed caches, and not between them */
        int rc;
        bytes[i] ^= 0x80;
        rc = map_bytes(bytes, size);
        assert_true(rc == FL_CORRUPT || rc == FL_UNSUPPORTED || rc == FL_STALE);
        bytes[i] ^= 0x80;
    }
    for (size_t n = 0; n < size; n += 1 + n / 7)
        assert_int_not_equal(map_bytes(bytes, n), FL_OK);
    free(bytes);
    close(fd);
    free_made(&made);
}

/* --- where a look-up is answered --- */

static struct stage_near n;

static void begin(const char *placement)
{
    struct cache_config c = {.placement = (char *)(uintptr_t)placement, .near_keep_ms = 1000};
    memset(&n, 0, sizeof n);
    stage_near_init(&n, &c);
    stage_near_holds(&n, 5, 1, 1);
}

static void verdicts(struct verdict *v, int items, int hits)
{
    memset(v, 0, sizeof *v);
    v->n = items;
    for (int i = 0; i < hits; i++)
        v->item[i].hit = true;
}

/* 40 rounds of look-ups on both ways, of which so many percent hit. */
static void measure(uint64_t near_ns, uint64_t trip_ns, uint64_t ask_ns, int percent)
{
    static struct verdict v;
    for (int i = 0; i < 400; i++) {
        verdicts(&v, 10, percent / 10);
        stage_near_looked(&n, 0, near_ns, &v);
        stage_near_told(&n, 0, trip_ns, &v);
        stage_near_asked(&n, 0, ask_ns);
    }
}

static int of_1024(bool held)
{
    int here = 0;
    for (int i = 0; i < 1024; i++)
        here += stage_near_answers(&n, 0, held);
    return here;
}

static void test_placement_says_who_looks_up(void **state)
{
    begin("service");
    assert_false(stage_near_answers(&n, 0, false));
    begin("near");
    measure(1000000, 10, 10, 10);
    assert_int_equal(of_1024(false), 1024);
    assert_false(stage_near_answers(&n, 1, false)); /* no cache there */
    assert_int_equal(stage_near_exits(&n), 1);
}

static void test_auto_takes_what_is_measured_to_be_quicker(void **state)
{
    begin("auto");
    assert_int_equal(of_1024(false), 768); /* nothing is known: both ways */
    measure(80000, 300000, 20000, 80);     /* most hit: they need not wait for the service */
    assert_int_equal(of_1024(false), 1020);
    assert_int_equal(stage_near_exits(&n), 1);
    begin("auto");
    measure(80000, 300000, 20000, 0); /* none hits: asking costs less than looking */
    assert_int_equal(of_1024(false), 4);
    assert_int_equal(stage_near_exits(&n), 0);
    assert_int_equal(of_1024(true), 1020); /* but waiting for the verdict costs more */
}

static void test_caches_without_a_service_are_used_for_a_while(void **state)
{
    begin("near");
    stage_near_lives(&n, NS_PER_S);
    assert_false(stage_near_expires(&n, 2 * NS_PER_S));
    assert_true(stage_near_has(&n, 0));
    assert_true(stage_near_expires(&n, 2 * NS_PER_S + 1));
    assert_false(stage_near_expires(&n, 3 * NS_PER_S)); /* said once */
    assert_false(stage_near_answers(&n, 0, false));
    assert_int_equal(n.epoch, 0);
    stage_near_lives(&n, 3 * NS_PER_S); /* it was only silent: the same caches are used again */
    assert_true(stage_near_answers(&n, 0, false));
    assert_int_equal(n.epoch, 5);
    assert_int_equal(n.turns, 3);
    assert_true(stage_near_expires(&n, 5 * NS_PER_S));
    stage_near_holds(&n, 6, 1, 6 * NS_PER_S);
    assert_true(stage_near_answers(&n, 0, false));
    assert_int_equal(n.epoch, 6);
}

static struct near_exit measured(double hit_share, double trip_ns, double row_ns)
{
    return (struct near_exit){.hit_share = hit_share, .trip_ns = trip_ns, .row_ns = row_ns};
}

/* 1 ms of layers in ten nodes behind a look-up of 200 us. */
static void test_computing_goes_on_where_that_gains(void **state)
{
    struct near_exit rare = measured(0.1, 200e3, 1e6), most = measured(0.9, 200e3, 1e6),
                     nearly_all = measured(0.99, 200e3, 1e6);
    assert_true(fabs(near_run_on_gain_ns(&rare, 1, 10) - (0.9 * 200e3 - 0.1 * 50e3)) < 1);
    assert_true(near_run_on_gain_ns(&most, 1, 10) < 0);  /* 0.1 * 200 < 0.9 * 50 */
    assert_true(near_run_on_gain_ns(&most, 1, 100) > 0); /* stopped at once, it costs next to nothing */
    assert_true(near_run_on_gain_ns(&nearly_all, 1, 100) < 0);
    /* In a batch, rows that hit are computed along: 4 rows of which 1.6 hit cost more than the wait. */
    assert_true(near_run_on_gain_ns(&(struct near_exit){.hit_share = 0.4, .trip_ns = 200e3, .row_ns = 1e6}, 4,
                                    10) < 0);
    assert_true(near_run_on_gain_ns(&(struct near_exit){.hit_share = 0.01, .trip_ns = 200e3, .row_ns = 1e6},
                                    4, 10) > 0);
    begin("service");
    assert_true(stage_near_runs_on(&n, 0, 1, 10)); /* nothing is known */
    measure(0, 200000, 1000, 90);
    stage_near_computed(&n, 0, 4000000, 4);
    assert_false(stage_near_runs_on(&n, 0, 1, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_caches_answer_as_those_they_were_made_of),
        cmocka_unit_test(test_large_blocks_lie_on_large_pages),
        cmocka_unit_test(test_only_what_is_wanted_is_looked_at),
        cmocka_unit_test(test_memory_that_may_change_is_refused),
        cmocka_unit_test(test_damaged_blocks_are_refused),
        cmocka_unit_test(test_placement_says_who_looks_up),
        cmocka_unit_test(test_auto_takes_what_is_measured_to_be_quicker),
        cmocka_unit_test(test_caches_without_a_service_are_used_for_a_while),
        cmocka_unit_test(test_computing_goes_on_where_that_gains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
