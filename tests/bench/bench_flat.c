/* bench_flat.c - k-NN and k-means look-ups against FAISS's IndexFlatL2
 *
 * usage: bench_flat [D]                                                      (64, 256 and 1024)
 *
 * A part of table.py (rounds.h): a round looks up in 27 cases per D, with both in turn. Both get the same
 * points: clusters behind a relu, of values that a half holds, as float32 for FAISS. FAISS searches; ours
 * searches, takes the neighbours' distances anew and says label and confidence. k = 1 is a look-up of a
 * k-means cache, more is k-NN. `same`: the share of neighbours that both name. One thread; times are the
 * processor's, in us.
 */
#include <string.h>

#include <cblas.h>

#include "base/clock.h"
#include "numbers/samples.h"
#include "numbers/shuffle.h"
#include "index/cache_body.h"
#include "index/half.h"
#include "rounds.h"
#include "stages/kernels/engine.h"

#define CLASSES     10
#define CLUSTERS    50
#define MAX_BATCH   32
#define MAX_K       50
#define MIN_TURN_US 200 /* short look-ups are repeated for as long */

void *flat_new(int d, int64_t n, const float *points);
void flat_search(const void *index, int m, const float *x, int k, float *d2, int64_t *found);
void flat_free(void *index);

struct flat {
    int d;
    int64_t n;
    struct cache *cache[2]; /* k-means, k-NN */
    void *faiss;
    float *points, *x; /* [n][d], [MAX_BATCH][d] */
    struct lookup_room room;
    struct cache_verdict verdict[MAX_BATCH];
    float faiss_d2[MAX_BATCH * MAX_K];
    int64_t faiss_found[MAX_BATCH * MAX_K];
};

static const int dims[] = {64, 256, 1024}, counts[] = {200, 2000, 35000}, ks[] = {1, 10, MAX_K},
                 batches[] = {1, 4, MAX_BATCH};

#define N(array) (int)(sizeof(array) / sizeof *(array))

static void *need(void *p)
{
    rounds_need(p != NULL, "bench_flat");
    return p;
}

static void check(int rc)
{
    rounds_need(!rc, "bench_flat");
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
    free(f->points); /* both have copies */
}

static void flat_close(struct flat *f)
{
    cache_free(f->cache[0]);
    cache_free(f->cache[1]);
    flat_free(f->faiss);
    lookup_room_release(&f->room);
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
    double start = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID);
    for (int t = 0; t < times; t++) {
        if (mine)
            ours(f, k, m);
        else
            flat_search(f->faiss, m, f->x, k, f->faiss_d2, f->faiss_found);
    }
    return (clock_cpu_us(CLOCK_THREAD_CPUTIME_ID) - start) / times;
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

static void measure(struct flat *f, int k, int m, bool mine_first)
{
    double us[2], first = turn(f, k, m, 1, mine_first);
    int times = (int)(MIN_TURN_US / (first + 0.1)) + 1;
    us[mine_first] = turn(f, k, m, times, mine_first);
    turn(f, k, m, 1, !mine_first);
    us[!mine_first] = turn(f, k, m, times, !mine_first);
    printf("{\"d\": %d, \"points\": %lld, \"k\": %d, \"batch\": %d, \"ours\": %.2f, \"faiss\": %.2f, "
           "\"same\": %.4f}",
           f->d, (long long)f->n, k, m, us[true], us[false], same_share(f, k, m));
}

static void round_of(struct flat *f, int n, int round)
{
    for (int i = 0; i < n; i++)
        for (int a = 0; a < N(ks); a++)
            for (int b = 0; b < N(batches); b++) {
                printf("%s", i + a + b ? ", " : "{\"cases\": [");
                measure(&f[i], ks[a], batches[b], round % 2);
            }
    printf("]}\n");
}

int main(int argc, char **argv)
{
    static struct flat f[N(dims) * N(counts)];
    int only = argc > 1 ? atoi(argv[1]) : 0, n = 0;
    engine_start(argv);
    openblas_set_num_threads(1);
    for (int a = 0; a < N(dims); a++)
        for (int b = 0; b < N(counts) && (!only || only == dims[a]); b++)
            flat_open(&f[n++], dims[a], counts[b]);
    if (!n) {
        fprintf(stderr, "usage: bench_flat [64|256|1024]\n");
        return 2;
    }
    printf("{\"engine\": \"%s\"}\n", engine_blas_core());
    for (int round = 0; rounds_next(); round++)
        round_of(f, n, round);
    while (n)
        flat_close(&f[--n]);
    return 0;
}
