/* test_net.c - gradients against finite differences, maps against their definition, and what is stored
 * against what was learned */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "index/half.h"
#include "cache_service/train/members.h"
#include "cache_service/train/net_parts.h"
#include "cache_service/train/net_store.h"

#define ROWS    6
#define CLASSES 3

static void fill(struct shuffle *s, float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] = (float)shuffle_normal(s);
}

static void random_probabilities(struct shuffle *s, float *p)
{
    for (int i = 0; i < ROWS; i++) {
        float sum = 0;
        for (int c = 0; c < CLASSES; c++)
            sum += p[i * CLASSES + c] = (float)shuffle_uniform(s) + 0.1f;
        for (int c = 0; c < CLASSES; c++)
            p[i * CLASSES + c] /= sum;
    }
}

static void prepare(struct net_batch *b, const struct net_shape *shape, struct shuffle *s)
{
    assert_int_equal(net_batch_new(b, ROWS, shape), FL_OK);
    fill(s, b->z, (size_t)ROWS * (size_t)shape->dim);
    random_probabilities(s, b->hard);
    random_probabilities(s, b->soft);
}

/* The mean loss of a step of training without dropping; out becomes the gradient. */
static double loss_at(const struct net *m, const struct net_batch *b)
{
    static const struct net_loss l = {.distil = 0.4f, .temperature = 2};
    struct shuffle s;
    shuffle_seed(&s, 1, 1);
    net_forward(m, b, ROWS, 0, &s);
    return net_loss(b, ROWS, CLASSES, &l) / ROWS;
}

/* All gradients at the places of their parameters. */
static void all_gradients(const struct net *m, const struct net_batch *b, const float *floats,
                          float *gradient)
{
    float *piece = malloc(net_largest_piece(&m->shape) * sizeof *piece);
    assert_non_null(piece);
    loss_at(m, b);
    net_backward(m, b, ROWS, 0);
    for (int i = 0; i < net_pieces(m); i++) {
        float *at;
        size_t n = net_gradient(m, b, ROWS, i, &at, piece);
        assert_true(n <= net_largest_piece(&m->shape));
        memcpy(gradient + (at - floats), piece, n * sizeof *piece);
    }
    free(piece);
}

/* Of all floats that have a gradient; relu's corners may fall between the two losses of a few. */
static void check_gradients(const struct net_shape *shape)
{
    size_t all = net_floats(shape), far = 0, learned = 0;
    float *floats = malloc(all * sizeof *floats), *gradient = malloc(all * sizeof *gradient);
    struct net m = net_over(floats, shape);
    struct net_batch b;
    struct shuffle s;
    assert_true(floats && gradient);
    shuffle_seed(&s, 4, 2);
    net_initialise(&m, 1, &s);
    prepare(&b, shape, &s);
    for (size_t i = 0; i < all; i++)
        gradient[i] = NAN;
    all_gradients(&m, &b, floats, gradient);
    for (size_t i = 0; i < all; i++) {
        float keep = floats[i], step = 4e-3f;
        double up, down;
        if (isnan(gradient[i]))
            continue;
        learned++;
        floats[i] = keep + step;
        up = loss_at(&m, &b);
        floats[i] = keep - step;
        down = loss_at(&m, &b);
        floats[i] = keep;
        far += fabs((up - down) / (2 * (double)step) - (double)gradient[i]) > 4e-3;
    }
    assert_true(far <= learned / 10);
    net_batch_free(&b);
    free(floats);
    free(gradient);
}

static void test_gradients_of_a_dense_net(void **state)
{
    struct net_shape shape = {.dim = 300, .nodes = 6, .classes = CLASSES}; /* more rows than a piece has */
    assert_int_equal(net_floats(&shape), 300 * 6 + 6 + 6 * CLASSES + CLASSES);
    check_gradients(&shape);
}

static void check_map(int side)
{
    struct net_shape shape = {.dim = side * side * 3, .classes = CLASSES, .map = {side, 3, 4, 1}};
    shape.nodes = map_nodes(&shape.map);
    check_gradients(&shape);
}

static void test_gradients_of_maps(void **state)
{
    for (int side = 3; side <= 9; side++)
        check_map(side);
}

/* The second convolution's parameters lie behind the first one's running means. */
static void test_running_means_have_no_gradient(void **state)
{
    struct net_shape shape = {.dim = 8 * 8 * 2, .nodes = 4 * 4, .classes = CLASSES, .map = {8, 2, 4}};
    size_t all = net_floats(&shape);
    float *floats = malloc(all * sizeof *floats), *gradient = malloc(all * sizeof *gradient);
    struct net m = net_over(floats, &shape);
    struct net_batch b;
    struct shuffle s;
    assert_true(floats && gradient);
    for (size_t i = 0; i < all; i++)
        gradient[i] = NAN;
    shuffle_seed(&s, 5, 2);
    net_initialise(&m, 1, &s);
    prepare(&b, &shape, &s);
    all_gradients(&m, &b, floats, gradient);
    for (size_t i = 0; i < all; i++) {
        bool running = false;
        for (int k = 0; k < 2; k++)
            running =
                running || (floats + i >= m.convolution[k].mean && floats + i < m.convolution[k].mean + 8);
        assert_int_equal(isnan(gradient[i]), running);
    }
    net_batch_free(&b);
    free(floats);
    free(gradient);
}

static void test_patches_by_hand(void **state)
{
    struct map m = {5, 1, 1, 1};
    float in[25], first[9 * 9], middle[9], second[9], sum[9];
    for (int i = 0; i < 25; i++)
        in[i] = (float)(i + 1);
    assert_int_equal(map_middle(&m), 3);
    assert_int_equal(map_last(&m), 1);
    map_first_patches(&m, in, first);
    { /* the corner: nothing above and left of it */
        const float corner[9] = {0, 0, 0, 0, 1, 2, 0, 6, 7}, centre[9] = {7, 8, 9, 12, 13, 14, 17, 18, 19};
        assert_memory_equal(first, corner, sizeof corner);
        assert_memory_equal(first + 4 * 9, centre, sizeof centre);
    }
    for (int i = 0; i < 9; i++)
        middle[i] = (float)i;
    map_second_patches(&m, middle, second);
    assert_memory_equal(second, middle, sizeof middle);
    map_sum_second_patches(&m, second, sum);
    assert_memory_equal(sum, middle, sizeof middle);
    assert_int_equal(map_multiply_adds(&m), 9 * (9 + 1));
}

static void test_maps_that_are_none(void **state)
{
    assert_false(map_valid(&(struct map){2, 4, 4, 1}));
    assert_false(map_valid(&(struct map){65, 4, 4, 1}));
    assert_false(map_valid(&(struct map){8, 0, 4, 1}));
    assert_false(map_valid(&(struct map){8, 4, 0, 1}));
    assert_false(map_valid(&(struct map){8, 4, 4, 3}));
    assert_false(map_valid(&(struct map){8, 4, 4, -1}));
    assert_true(map_valid(&(struct map){8, 4, 4, 2}));
    assert_true(map_valid(&(struct map){3, 1, 1, 1}));
    assert_int_equal(map_last(&(struct map){3, 1, 1, 1}), 1);
}

/* Teaching may go on from what is stored: it begins with the same scores. */
static void check_recalled(const struct projection *p, const struct net_shape *shape,
                           const struct net_batch *b)
{
    float *floats = malloc(net_floats(shape) * sizeof *floats);
    float was[ROWS * 4 * 8], weights[CLASSES * 4 * 8], bias[CLASSES] = {0};
    struct predictor head = {.nodes = shape->nodes, .classes = CLASSES, .weights = weights, .bias = bias};
    struct net m = net_over(floats, shape);
    struct shuffle s;
    assert_non_null(floats);
    shuffle_seed(&s, 8, 2);
    fill(&s, weights, sizeof weights / sizeof *weights);
    memcpy(was, b->h, sizeof was);
    assert_int_equal(net_recall(&m, p, &head), FL_OK);
    net_map_settle(&m, b, ROWS);
    for (int training = 0; training < 2; training++) {
        net_forward(&m, b, ROWS, 0, training ? &s : NULL);
        for (int i = 0; i < ROWS * shape->nodes; i++)
            assert_true(fabsf(b->h[i] - was[i]) < 0.01f);
    }
    assert_true(m.w2[CLASSES + 1] == weights[shape->nodes + 1]);
    free(floats);
}

/* What is stored judges as what was learned: normalisation is folded, weights are halves. */
static void test_stored_is_what_was_learned(void **state)
{
    struct net_shape shape = {.dim = 8 * 8 * 3, .nodes = 4 * 8, .classes = CLASSES, .map = {8, 3, 8, 1}};
    size_t all = net_floats(&shape);
    float *floats = malloc(all * sizeof *floats), *room, h[ROWS][4 * 8];
    struct net m = net_over(floats, &shape);
    struct projection *p;
    struct net_batch b;
    struct shuffle s;
    assert_non_null(floats);
    shuffle_seed(&s, 6, 2);
    net_initialise(&m, 1, &s);
    prepare(&b, &shape, &s);
    for (int i = 0; i < 20; i++) /* running means move */
        loss_at(&m, &b);
    m.convolution[0].gain[2] = -0.7f;
    m.convolution[1].shift[1] = 0.3f;
    net_forward(&m, &b, ROWS, 0, NULL);
    assert_int_equal(projection_new_map(&p, &shape.map), FL_OK);
    assert_int_equal(p->dim, shape.dim);
    assert_int_equal(p->nodes, shape.nodes);
    net_store(&m, p);
    room = malloc(projection_room(p) * sizeof *room);
    assert_non_null(room);
    projection_apply(p, b.z, ROWS, &h[0][0], room);
    for (int i = 0; i < ROWS * shape.nodes; i++)
        assert_true(fabsf((&h[0][0])[i] - b.h[i]) < 0.01f);
    check_recalled(p, &shape, &b);
    free(room);
    projection_release(p);
    net_batch_free(&b);
    free(floats);
}

static void random_member(struct trained *t, int side, struct shuffle *s)
{
    const struct map map = {side, 2, 4, 1};
    struct projection *p;
    int nodes = side > 0 ? map_nodes(&map) : 5, dim = side > 0 ? side * side * map.channels : 7;
    assert_int_equal(side > 0 ? projection_new_map(&p, &map) : projection_new(&p, dim, nodes), FL_OK);
    for (size_t i = 0; i < projection_weights(p); i++)
        p->weights[i] = half_from_float((float)shuffle_normal(s));
    fill(s, p->bias, projection_biases(p));
    for (int i = 0; i < projection_features(p); i++)
        p->scale[i] = 1;
    assert_int_equal(predictor_new(&t->head, nodes, CLASSES), FL_OK);
    fill(s, t->head.weights, (size_t)nodes * CLASSES);
    fill(s, t->head.bias, CLASSES);
    t->projection = p;
}

static void scores_of(const struct trained *t, const float *z, float *scores)
{
    float *h = malloc((size_t)t->projection->nodes * sizeof *h),
          *room = malloc((projection_room(t->projection) + 1) * sizeof *room);
    assert_true(h != NULL && room != NULL);
    projection_apply(t->projection, z, 1, h, room);
    predictor_scores(&t->head, h, scores, NULL);
    free(h);
    free(room);
}

/* Predictors that were taught apart, as one: its scores are the means of theirs. */
static void test_members_answer_together(void **state)
{
    static const int sides[] = {0, 3, 5, 8};
    for (int k = 0; k < 4; k++) {
        struct trained member[3] = {0}, all;
        float z[8 * 8 * 2], mean[CLASSES] = {0}, one[CLASSES], together[CLASSES];
        struct shuffle s;
        shuffle_seed(&s, 5, (uint64_t)k);
        for (int i = 0; i < 3; i++)
            random_member(&member[i], sides[k], &s);
        assert_int_equal(members_join(&all, member, 3), FL_OK);
        fill(&s, z, sizeof z / sizeof *z);
        for (int i = 0; i < 3; i++) {
            scores_of(&member[i], z, one);
            for (int c = 0; c < CLASSES; c++)
                mean[c] += one[c] / 3;
            trained_release(&member[i]);
        }
        scores_of(&all, z, together);
        for (int c = 0; c < CLASSES; c++)
            assert_true(fabsf(together[c] - mean[c]) <= 1e-4f * (1 + fabsf(mean[c])));
        trained_release(&all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_of_a_dense_net),
        cmocka_unit_test(test_gradients_of_maps),
        cmocka_unit_test(test_running_means_have_no_gradient),
        cmocka_unit_test(test_patches_by_hand),
        cmocka_unit_test(test_maps_that_are_none),
        cmocka_unit_test(test_stored_is_what_was_learned),
        cmocka_unit_test(test_members_answer_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
