/* test_reservoir.c - what the learner keeps: once, bounded, balanced, and still there after a kill */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "cache_service/teach/reservoir_disk.h"
#include "numbers/floats.h"
#include "cache_service/store/update.h"

enum { DIM0 = 8, DIM1 = 5, CLASSES = 4 };

struct world {
    char path[64];
    struct reservoir_setup setup;
    struct reservoir *r;
    uint64_t id;
};

static void open_it(struct world *w)
{
    struct error e;
    if (reservoir_open(&w->r, &w->setup, &e) != FL_OK)
        fail_msg("%s", e.text);
}

static void reopen(struct world *w)
{
    reservoir_close(w->r);
    open_it(w);
}

static struct world *world_new(size_t bytes)
{
    struct world *w = calloc(1, sizeof *w);
    int fd;
    strcpy(w->path, "/tmp/freezeline-reservoir-XXXXXX");
    assert_true((fd = mkstemp(w->path)) >= 0);
    close(fd);
    w->setup =
        (struct reservoir_setup){.path = w->path, .classes = CLASSES, .n_exits = 3, .most_bytes = bytes};
    w->setup.exit[0].origin = 100;
    w->setup.exit[0].dim = DIM0;
    w->setup.exit[2].origin = 102; /* exit 1 has no cache */
    w->setup.exit[2].dim = DIM1;
    open_it(w);
    return w;
}

static void world_free(struct world *w)
{
    reservoir_close(w->r);
    unlink(w->path);
    free(w);
}

static float value_of(uint64_t request, int exit, int i)
{
    return (float)(request % 1000) + (float)exit * 0.5f + (float)i;
}

/* Bits of the exits that it has: 1 and 4. */
static struct update *record(uint64_t request, int32_t label, int exits, bool audit)
{
    uint32_t dim[2] = {0};
    int of[2], n = 0;
    struct update *u;
    for (int k = 0; k < 3; k += 2) {
        if ((exits & 1 << k) == 0)
            continue;
        of[n] = k;
        dim[n++] = k == 0 ? DIM0 : DIM1;
    }
    u = update_new(n, dim);
    u->request = request;
    u->moment_ms = request;
    u->label = label;
    u->flags = audit ? UPDATE_AUDIT : 0;
    for (int j = 0; j < n; j++) {
        float x[DIM0];
        for (int i = 0; i < DIM0; i++)
            x[i] = value_of(request, of[j], i);
        assert_int_equal(update_fill(u, j, 100 + (uint64_t)of[j], x), FL_OK);
    }
    return u;
}

static enum reservoir_what add(struct world *w, struct update *u, struct reservoir_row *row)
{
    char id[32];
    enum reservoir_what what;
    struct reservoir_row none;
    snprintf(id, sizeof id, "5-%llu", (unsigned long long)++w->id);
    assert_int_equal(reservoir_add(w->r, u, id, &what, row != NULL ? row : &none, NULL), FL_OK);
    update_free(u);
    return what;
}

static struct update *truth(uint64_t request, int32_t label)
{
    struct update *u = update_new(0, NULL);
    u->request = request;
    u->label = -1;
    u->truth = label;
    return u;
}

/* A request of that half from `from` on. */
static uint64_t request_of(bool certifies, uint64_t from)
{
    while (update_certifies(from) != certifies)
        from++;
    return from;
}

static void check_row(struct world *w, const struct reservoir_row *row)
{
    float x[DIM0];
    for (int k = 0; k < 3; k += 2) {
        assert_true(reservoir_read(w->r, row, k, x));
        for (int i = 0; i < (k == 0 ? DIM0 : DIM1); i++)
            assert_true(x[i] == value_of(row->request, k, i));
    }
}

static int64_t list(struct world *w, bool certifying, uint64_t since, struct reservoir_row **rows)
{
    int64_t n;
    assert_int_equal(reservoir_list(w->r, certifying, since, rows, &n), FL_OK);
    return n;
}

static void test_joins_what_several_services_know(void **state)
{
    struct world *w = world_new(65536);
    struct reservoir_row row;
    assert_int_equal(add(w, record(7, 2, 1, true), &row), RESERVOIR_KEPT);
    assert_false(row.whole);
    assert_int_equal(add(w, record(7, 2, 1, true), NULL), RESERVOIR_TWICE);
    assert_int_equal(add(w, record(7, 2, 4, true), &row), RESERVOIR_WHOLE);
    assert_true(row.whole && row.audit && row.label == 2 && row.truth == -1);
    check_row(w, &row);
    assert_int_equal(add(w, record(7, 2, 5, true), NULL), RESERVOIR_TWICE);
    assert_int_equal(reservoir_sync(w->r, NULL), FL_OK);
    reopen(w);
    assert_int_equal(reservoir_counts(w->r).teaching + reservoir_counts(w->r).certifying, 1);
    check_row(w, &row);
    world_free(w);
}

static void test_takes_truth_once(void **state)
{
    struct world *w = world_new(65536);
    struct reservoir_row row;
    add(w, record(7, 2, 5, true), NULL);
    assert_int_equal(add(w, truth(8, 1), NULL), RESERVOIR_UNKNOWN);
    assert_int_equal(add(w, truth(7, CLASSES), NULL), RESERVOIR_REFUSED);
    assert_int_equal(add(w, truth(7, 3), &row), RESERVOIR_TRUTH);
    assert_true(row.truth == 3 && row.label == 2);
    assert_int_equal(add(w, truth(7, 1), NULL), RESERVOIR_TWICE);
    assert_int_equal(reservoir_sync(w->r, NULL), FL_OK);
    reopen(w);
    assert_int_equal(add(w, truth(7, 1), NULL), RESERVOIR_TWICE);
    assert_int_equal(reservoir_counts(w->r).truths, 0);
    world_free(w);
}

static void test_what_is_lost_is_told_and_not_kept(void **state)
{
    struct world *w = world_new(65536);
    struct update *u = truth(9, -1);
    struct reservoir_row row;
    float room[64];
    u->flags = UPDATE_AUDIT | UPDATE_LOST;
    assert_int_equal(add(w, u, &row), RESERVOIR_LOST);
    assert_true(row.request == 9 && row.audit && row.slot < 0);
    assert_false(reservoir_read(w->r, &row, 0, room));
    assert_int_equal(add(w, truth(9, 1), NULL), RESERVOIR_UNKNOWN);
    assert_int_equal(add(w, truth(9, -1), NULL), RESERVOIR_REFUSED);
    assert_int_equal(reservoir_counts(w->r).teaching + reservoir_counts(w->r).certifying, 0);
    world_free(w);
}

static void test_refuses_what_is_not_its_own(void **state)
{
    struct world *w = world_new(65536);
    struct update *u = record(1, 1, 5, false);
    enum reservoir_what what;
    struct reservoir_row row;
    u->identity[3] = 1;
    assert_int_equal(add(w, u, NULL), RESERVOIR_REFUSED);
    assert_int_equal(add(w, record(2, CLASSES, 5, false), NULL), RESERVOIR_REFUSED);
    u = record(3, 1, 5, false);
    u->exit[0].origin = u->exit[1].origin = 999;
    assert_int_equal(add(w, u, NULL), RESERVOIR_REFUSED);
    u = record(4, 1, 5, false);
    u->exit[0].origin = 102; /* the other exit's, which has another dimension */
    u->exit[1].origin = 100;
    assert_int_equal(add(w, u, NULL), RESERVOIR_REFUSED);
    u = record(5, 1, 5, false);
    assert_int_equal(reservoir_add(w->r, u, "7", &what, &row, NULL), FL_VALUE);
    assert_int_equal(reservoir_add(w->r, u, "7-1x", &what, &row, NULL), FL_VALUE);
    assert_int_equal(reservoir_add(w->r, u, "4-1", &what, &row, NULL), FL_OK); /* before the last */
    assert_int_equal(what, RESERVOIR_TWICE);
    update_free(u);
    assert_int_equal(reservoir_counts(w->r).refused, 4);
    assert_int_equal(reservoir_counts(w->r).teaching, 0);
    world_free(w);
}

/* What no sync covered is as if it had never come; what one covered is there. */
static void test_survives_a_kill(void **state)
{
    struct world *w = world_new(65536);
    struct update *again = record(40, 1, 5, false);
    enum reservoir_what what;
    struct reservoir_row row, *rows;
    uint64_t kept;
    for (uint64_t i = 1; i <= 40; i++)
        add(w, record(i, 1, 5, false), NULL);
    reservoir_set_candidate(w->r, 6);
    assert_int_equal(reservoir_sync(w->r, NULL), FL_OK);
    kept = w->id;
    for (uint64_t i = 41; i <= 60; i++)
        add(w, record(i, 1, 5, false), NULL);
    reopen(w);
    assert_int_equal(reservoir_add(w->r, again, "5-40", &what, &row, NULL), FL_OK);
    assert_int_equal(what, RESERVOIR_TWICE); /* the last that a sync covered */
    update_free(again);
    assert_int_equal(reservoir_candidate(w->r), 6);
    assert_int_equal(list(w, false, 0, &rows), 40);
    for (int64_t i = 0; i < 40; i++) {
        assert_int_equal(rows[i].request, i + 1);
        check_row(w, &rows[i]);
    }
    free(rows);
    w->id = kept; /* they come again */
    for (uint64_t i = 41; i <= 60; i++)
        assert_int_equal(add(w, record(i, 1, 5, false), NULL), RESERVOIR_WHOLE);
    world_free(w);
}

static void damage(const struct world *w, long at)
{
    FILE *f = fopen(w->path, "r+b");
    int c;
    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
}

static void test_a_torn_slot_is_none(void **state)
{
    struct world *w = world_new(65536);
    for (uint64_t i = 1; i <= 10; i++)
        add(w, record(i, 1, 5, false), NULL);
    assert_int_equal(reservoir_sync(w->r, NULL), FL_OK);
    damage(w, 4096 + 70); /* a number of the first slot */
    reopen(w);
    assert_int_equal(reservoir_counts(w->r).teaching, 9);
    damage(w, 20); /* the newer header: the one before it counts, which knew of nothing */
    reopen(w);
    assert_int_equal(reservoir_counts(w->r).teaching, 0);
    world_free(w);
}

static void test_other_exits_start_anew(void **state)
{
    struct world *w = world_new(65536);
    add(w, record(1, 1, 5, false), NULL);
    assert_int_equal(reservoir_sync(w->r, NULL), FL_OK);
    w->setup.exit[2].origin++;
    reopen(w);
    assert_int_equal(reservoir_counts(w->r).teaching, 0);
    w->setup.most_bytes = 4096 + 63 * 96;
    reservoir_close(w->r);
    assert_int_equal(reservoir_open(&w->r, &w->setup, NULL), FL_CONFIG);
    w->r = NULL;
    world_free(w);
}

/* One class is nearly all of the traffic: the others stay as long as they are fewer. */
static void test_teaching_is_balanced(void **state)
{
    struct world *w = world_new(4096 + 96 * (16 + 80));
    struct reservoir_row *rows;
    int64_t n, of[CLASSES] = {0};
    for (uint64_t i = 1; i <= 1000; i++)
        add(w, record(i, i <= 8 ? 3 : i % 20 == 0 ? 2 : 1, 5, false), NULL);
    n = list(w, false, 0, &rows);
    assert_int_equal(n, 60);
    for (int64_t i = 0; i < n; i++)
        of[rows[i].label]++;
    assert_int_equal(of[3], 8);
    assert_true(of[1] + of[2] == 52 && llabs(of[1] - of[2]) <= 2);
    assert_int_equal(rows[n - 1].request, 1000);
    free(rows);
    assert_int_equal(list(w, false, 990, &rows), 11);
    free(rows);
    world_free(w);
}

static void test_certifying_is_the_newest(void **state)
{
    struct world *w = world_new(4096 + 96 * (16 + 80));
    struct reservoir_row *rows;
    uint64_t request = 0;
    for (int i = 0; i < 100; i++) {
        request = request_of(true, request + 1);
        add(w, record(request, i < 90 ? 1 : 2, 5, true), NULL);
    }
    assert_int_equal(list(w, true, 0, &rows), 20);
    assert_int_equal(rows[19].request, request);
    assert_int_equal(rows[9].label, 1);
    assert_true(rows[0].certifies);
    free(rows);
    world_free(w);
}

/* What planned once teaches, and never plans again, whatever is restarted. */
static void test_older_audits_teach(void **state)
{
    struct world *w = world_new(4096 + 96 * (16 + 80));
    struct reservoir_row *rows;
    uint64_t request = 0;
    for (int i = 0; i < 50; i++) {
        request = request_of(true, request + 1);
        add(w, record(request, 1, 5, true), NULL);
    }
    for (int again = 0; again < 2; again++) {
        uint64_t last;
        assert_int_equal(list(w, false, 0, &rows), 30);
        assert_false(rows[29].certifies);
        last = rows[29].request;
        free(rows);
        assert_int_equal(list(w, true, 0, &rows), 20);
        assert_true(rows[0].request > last && rows[0].certifies);
        free(rows);
        assert_int_equal(reservoir_sync(w->r, NULL), FL_OK);
        reopen(w);
    }
    world_free(w);
}

/* They are kept where they are wanted and come. */
static void test_scores_of_the_network(void **state)
{
    struct world *w = world_new(65536);
    struct reservoir_row row;
    const float scores[CLASSES] = {3, -1.5f};
    float read[CLASSES];
    reservoir_close(w->r);
    w->setup.scores = true;
    open_it(w);
    for (int scored = 0; scored < 2; scored++) {
        struct update *part = record(7 + (uint64_t)scored, 0, 1, false), *u;
        uint16_t half[CLASSES];
        for (int c = 0; c < CLASSES; c++)
            half[c] = half_from_float(scores[c]);
        u = update_join(&part, 1, half, scored ? CLASSES : 0);
        u->label = 0;
        assert_int_equal(add(w, u, &row), RESERVOIR_KEPT);
        assert_int_equal(row.scored, scored);
        assert_int_equal(add(w, record(7 + (uint64_t)scored, 0, 4, false), &row), RESERVOIR_WHOLE);
        update_free(part);
        assert_int_equal(reservoir_sync(w->r, NULL), FL_OK);
        reopen(w);
        assert_int_equal(reservoir_read(w->r, &row, RESERVOIR_SCORES, read), scored);
    }
    assert_memory_equal(read, scores, sizeof read);
    world_free(w);
}

/* Joins move a request to another slot; the file is full of them, and nothing is lost or there twice. */
static void test_joins_when_full(void **state)
{
    struct world *w = world_new(4096 + 96 * (16 + 80));
    struct reservoir_row *rows;
    int64_t n;
    for (uint64_t i = 1; i <= 500; i++) {
        add(w, record(i, (int32_t)(i % CLASSES), 1, false), NULL);
        assert_int_equal(add(w, record(i, (int32_t)(i % CLASSES), 4, false), NULL), RESERVOIR_WHOLE);
    }
    assert_int_equal(reservoir_sync(w->r, NULL), FL_OK);
    for (int again = 0; again < 2; again++) {
        n = list(w, false, 0, &rows);
        assert_int_equal(n, 60);
        for (int64_t i = 0; i < n; i++) {
            check_row(w, &rows[i]);
            assert_int_equal(rows[i].request, 441 + i);
        }
        free(rows);
        reopen(w);
    }
    world_free(w);
}

/* An update makes an audit of a request whose other exits teach, with both parts full: the room that this
 * takes among those that teach may be the request's own. */
static void test_one_that_makes_room_for_itself(void **state)
{
    struct world *w = world_new(4096 + 96 * (16 + 80));
    uint64_t first = request_of(true, 1), request = first;
    struct reservoir_row row, *rows;
    add(w, record(first, 1, 1, false), NULL);
    for (int i = 0; i < 59; i++)
        add(w, record(request = request_of(false, request + 1), 1, 5, false), NULL);
    for (int i = 0; i < 20; i++)
        add(w, record(request = request_of(true, request + 1), 2, 5, true), NULL);
    assert_int_equal(add(w, record(first, 1, 4, true), &row), RESERVOIR_WHOLE);
    assert_true(row.request == first && row.certifies);
    for (int again = 0; again < 2; again++) {
        check_row(w, &row);
        assert_int_equal(reservoir_counts(w->r).certifying, 20);
        assert_int_equal(reservoir_counts(w->r).teaching, 60);
        assert_int_equal(list(w, true, 0, &rows), 20);
        assert_int_equal(rows[19].request, first);
        free(rows);
        assert_int_equal(reservoir_sync(w->r, NULL), FL_OK);
        reopen(w);
    }
    add(w, record(request_of(false, request + 1), 1, 5, false), NULL);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joins_what_several_services_know),
        cmocka_unit_test(test_takes_truth_once),
        cmocka_unit_test(test_what_is_lost_is_told_and_not_kept),
        cmocka_unit_test(test_refuses_what_is_not_its_own),
        cmocka_unit_test(test_survives_a_kill),
        cmocka_unit_test(test_a_torn_slot_is_none),
        cmocka_unit_test(test_other_exits_start_anew),
        cmocka_unit_test(test_teaching_is_balanced),
        cmocka_unit_test(test_certifying_is_the_newest),
        cmocka_unit_test(test_older_audits_teach),
        cmocka_unit_test(test_scores_of_the_network),
        cmocka_unit_test(test_joins_when_full),
        cmocka_unit_test(test_one_that_makes_room_for_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
