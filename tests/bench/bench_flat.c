/* bench_flat.c - k-NN and k-means look-ups against FAISS's IndexFlatL2, interleaved in one run
 *
 * usage: bench_flat [--rounds N] [--d D] [--points N >= 50] [--k K] [--batch M]     default: all cases
 *
 * Both get the same points: clusters behind a relu, of values that a half holds, as float32 for FAISS. FAISS
 * searches; ours searches, takes the neighbours' distances anew and says label and confidence. k = 1 is a
 * look-up of a k-means cache, more is k-NN. Prints the medians of both and of the rounds' ratios with their
 * quartiles; `same`: the share of neighbours that both name. At the end, what a `learned` look-up costs, its
 * convolutions included. One thread; times are the processor's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cblas.h>

#include "base/samples.h"
#include "base/shuffle.h"
#include "cache_service/index/cache_body.h"
#include "cache_service/index/half.h"
#include "stages/kernels/engine.h"

#define CLASSES     10
#define CLUSTERS    50
#define MAX_BATCH   32
#define MAX_K       50
#define MAX_ROUNDS  1000
#define MIN_TURN_US 200 /* short look-ups are repeated for as long */

void *flat_new(int d, int64_t n, const float *points);
void flat_search(const void *index, int m, const float *x, int k, float *d2, int64_t *found);
void flat_free(void *index);

struct flat {
    int d, rounds;
    int64_t n;
    struct cache *cache[2]; /* k-means, k-NN */
    void *faiss;
    float *points, *x; /* [n][d], [MAX_BATCH][d] */
    struct lookup_room room;
    struct cache_verdict verdict[MAX_BATCH];
    float faiss_d2[MAX_BATCH * MAX_K];
    int64_t faiss_found[MAX_BATCH * MAX_K];
};

/* Of this thread: other processes on the machine do not count. */
static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void *need(void *p)
{
    if (p)
        return p;
    fprintf(stderr, "bench_flat: no memory\n");
    exit(1);
}

static void check(int rc)
{
    if (rc)
        need(NULL);
}

/* Rows around random centres, none negative. */
static void fill(float *rows, int64_t n, int d, const float *centre, struct shuffle *s)
{
    for (int64_t i = 0; i < n; i++) {
        const float *c = centre + (size_t)shuffle_below(s, CLUSTERS) * (size_t)d;
        for (int j = 0; j < d; j++) {
            float v = c[j] + 0.5f * (float)shuffle_normal(s);
            rows[i * d + j] = half_to_float(half_from_float(v > 0 ? v : 0));
        }
    }
}

static struct cache *new_cache(enum cache_kind kind, const struct flat *f)
{
    struct projection *p;
    struct cache *c;
    check(projection_new(&p, 1, f->d)); /* look-ups are asked behind it */
    check(cache_new(&c, kind, p, CLASSES));
    projection_release(p);
    check(points_reserve(cache_points(c), f->d, f->n));
    for (int64_t i = 0; i < f->n; i++)
        points_set(cache_points(c), i, f->points + i * f->d);
    if (kind == CACHE_KNN) {
        c->knn.label = need(malloc((size_t)f->n * sizeof *c->knn.label));
        for (int64_t i = 0; i < f->n; i++)
            c->knn.label[i] = (int32_t)(i % CLASSES);
        return c;
    }
    c->kmeans.count = need(calloc((size_t)f->n * CLASSES, sizeof *c->kmeans.count));
    for (int64_t i = 0; i < f->n; i++)
        c->kmeans.count[i * CLASSES + i % CLASSES] = 3;
    return c;
}

static void flat_open(struct flat *f, int d, int64_t n)
{
    struct shuffle s;
    float *centre = need(malloc(CLUSTERS * (size_t)d * sizeof *centre));
    f->d = d;
    f->n = n;
    f->points = need(malloc((size_t)(n * d) * sizeof *f->points));
    f->x = need(malloc(MAX_BATCH * (size_t)d * sizeof *f->x));
    shuffle_seed(&s, 11, (uint64_t)(n * d));
    for (int i = 0; i < CLUSTERS * d; i++)
        centre[i] = (float)shuffle_normal(&s);
    fill(f->points, n, d, centre, &s);
    fill(f->x, MAX_BATCH, d, centre, &s);
    free(centre);
    f->cache[0] = new_cache(CACHE_KMEANS, f);
    f->cache[1] = new_cache(CACHE_KNN, f);
    f->faiss = flat_new(d, n, f->points);
    f->cache[1]->knn.k = MAX_K;
    check(lookup_room_fit(&f->room, f->cache[1], MAX_BATCH));
}

static void flat_close(struct flat *f)
{
    cache_free(f->cache[0]);
    cache_free(f->cache[1]);
    flat_free(f->faiss);
    lookup_room_release(&f->room);
    memset(&f->room, 0, sizeof f->room);
    free(f->points);
    free(f->x);
}

static void ours(struct flat *f, int k, int m)
{
    struct cache *c = f->cache[k > 1];
    if (k > 1)
        c->knn.k = k;
    cache_judge(c, f->x, m, &f->room, f->verdict);
}

static double turn(struct flat *f, int k, int m, int times, bool mine)
{
    double start = cpu_us();
    for (int t = 0; t < times; t++) {
        if (mine)
            ours(f, k, m);
        else
            flat_search(f->faiss, m, f->x, k, f->faiss_d2, f->faiss_found);
    }
    return (cpu_us() - start) / times;
}

static double same_share(const struct flat *f, int k, int m)
{
    int same = 0;
    for (int i = 0; i < m; i++) {
        for (int a = 0; a < k; a++) {
            for (int b = 0; b < k; b++)
                same += f->room.near[i * k + a].index == f->faiss_found[i * k + b];
        }
    }
    return (double)same / (k * m);
}

static void measure(struct flat *f, int k, int m)
{
    static double us[2][MAX_ROUNDS], ratio[MAX_ROUNDS];
    double first = turn(f, k, m, 1, true);
    int times = (int)(MIN_TURN_US / (first + 0.1)) + 1;
    turn(f, k, m, 1, false);
    for (int r = 0; r < f->rounds; r++) {
        for (int side = 0; side < 2; side++)
            us[(side + r) % 2][r] = turn(f, k, m, times, (side + r) % 2 == 0);
        ratio[r] = us[0][r] / us[1][r];
    }
    samples_sort(ratio, f->rounds);
    printf("%5d %6lld %3d %5d %10.1f %10.1f %7.2f [%.2f .. %.2f] %7.3f\n", f->d, (long long)f->n, k, m,
           samples_median(us[0], f->rounds), samples_median(us[1], f->rounds),
           samples_quantile(ratio, f->rounds, 0.5), samples_quantile(ratio, f->rounds, 0.25),
           samples_quantile(ratio, f->rounds, 0.75), same_share(f, k, m));
    fflush(stdout);
}

/* A learned cache over a map of 8 x 8 cells, as large as the builder makes them. */
static void measure_learned(int channels, int rounds)
{
    static double us[MAX_ROUNDS];
    static float x[MAX_BATCH * 8 * 8 * 128];
    const struct map map = {8, channels, 128};
    struct cache_scratch *scratch;
    struct cache_verdict verdict[MAX_BATCH];
    struct projection *p;
    struct cache *c;
    check(projection_new_map(&p, &map));
    for (size_t i = 0; i < projection_weights(p); i++)
        p->weights[i] = half_from_float(0.01f);
    check(cache_new(&c, CACHE_LEARNED, p, CLASSES));
    check(predictor_new(&c->learned, p->nodes, CLASSES));
    check(cache_scratch_new(&scratch, MAX_BATCH));
    for (int m = 1; m <= MAX_BATCH; m *= m == 1 ? 4 : 8) {
        for (int r = -1; r < rounds; r++) {
            double start = cpu_us();
            check(cache_lookup(c, scratch, x, m, verdict));
            us[r < 0 ? 0 : r] = cpu_us() - start;
        }
        printf("learned, 8x8x%d, width 128, batch %d: %.1f us\n", channels, m, samples_median(us, rounds));
    }
    cache_scratch_free(scratch);
    cache_free(c);
    projection_release(p);
}

/* The cases of one number: the usual ones, or the one that was asked for. */
struct range {
    const char *option;
    int most, n, value[3];
};

static bool asked(struct range *r, const char *option, int value)
{
    if (strcmp(option, r->option) != 0 || value < 1 || value > r->most)
        return false;
    r->n = 1;
    r->value[0] = value;
    return true;
}

static void measure_points(struct flat *f, int d, int n, const struct range *k, const struct range *m)
{
    flat_open(f, d, n);
    for (int a = 0; a < k->n; a++) {
        for (int b = 0; b < m->n; b++)
            measure(f, k->value[a], m->value[b]);
    }
    flat_close(f);
}

int main(int argc, char **argv)
{
    static struct flat f = {.rounds = 15};
    struct range d = {"--d", 1 << 14, 3, {64, 256, 1024}}, n = {"--points", 1 << 20, 3, {200, 2000, 35000}};
    struct range k = {"--k", MAX_K, 3, {1, 10, 50}}, m = {"--batch", MAX_BATCH, 3, {1, 4, 32}};
    struct range rounds = {"--rounds", MAX_ROUNDS, 1, {15}};
    bool ok = argc % 2 == 1;
    engine_start(argv);
    for (int i = 1; ok && i < argc; i += 2) {
        int value = atoi(argv[i + 1]);
        ok = asked(&d, argv[i], value) || asked(&n, argv[i], value) || asked(&k, argv[i], value) ||
             asked(&m, argv[i], value) || asked(&rounds, argv[i], value);
    }
    if (!ok || (n.n == 1 && n.value[0] < MAX_K)) {
        fprintf(stderr, "usage: bench_flat [--rounds N] [--d D] [--points N >= %d] [--k K] [--batch M]\n",
                MAX_K);
        return 2;
    }
    f.rounds = rounds.value[0];
    openblas_set_num_threads(1);
    printf("OpenBLAS core: %s\n%5s %6s %3s %5s %10s %10s %7s %16s %7s\n", engine_blas_core(), "d", "points",
           "k", "batch", "ours us", "FAISS us", "ratio", "quartiles", "same");
    for (int a = 0; a < d.n; a++) {
        for (int b = 0; b < n.n; b++)
            measure_points(&f, d.value[a], n.value[b], &k, &m);
    }
    if (d.n * n.n * k.n * m.n > 1) {
        measure_learned(64, f.rounds);
        measure_learned(128, f.rounds);
    }
    return 0;
}
