/* builder_index.c - the cache kinds of the paper: a projection, then points (knn) or centroids (kmeans) */
#include "builder_index.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "numbers/shuffle.h"
#include "index/half.h"
#include "kmeans_train.h"
#include "net_train.h"

#define BLOCK             256
#define DEFAULT_CENTROIDS 4096 /* at most, where no budget says how many; and 1 for 8 points at most */

/* For distances: smoothing draws the points of a class together, and with a small start and strong decay the
 * directions that nothing was learned about stay small. */
static const struct recipe published = {
    .rate = 3e-3f, .decay = 0.3f, .start = 0.1, .smoothing = 0.3f, .loss = {.distil = 0, .temperature = 1}};

/* --- projection --- */

static int save_projection(const struct exit_build *b, const char *path, struct error *e)
{
    struct cache *c;
    int rc = cache_new(&c, CACHE_KMEANS, b->projection, b->in->classes);
    if (rc != FL_OK)
        return error_set(e, rc, "no memory");
    build_name(b, c, b->projection_tag);
    rc = cache_save(c, path, NULL, e);
    cache_free(c);
    return rc;
}

int build_projection(struct exit_build *b, struct error *e)
{
    const struct builder_input *in = b->in;
    char done[4096], checkpoint[4096];
    struct cache *c;
    int rc;
    struct trained learned;
    struct net_training t = {.rows = in->train,
                             .labels = in->train_labels,
                             .classes = in->classes,
                             .nodes = in->config->nodes,
                             .recipe = published,
                             .seed = in->config->seed,
                             .tag = b->projection_tag,
                             .checkpoint = checkpoint,
                             .progress = build_progress,
                             .progress_arg = b};
    t.recipe.epochs = build_epochs(in, in->config->train_epochs);
    if (in->warm != NULL && in->warm->kind == b->kind && in->warm->projection->dim == in->train->dim &&
        in->warm->projection->nodes == in->config->nodes) {
        b->projection = projection_retain(in->warm->projection);
        return FL_OK;
    }
    if ((rc = build_path(b, done, sizeof done, "projection.cache", e)) != FL_OK ||
        (rc = build_path(b, checkpoint, sizeof checkpoint, "checkpoint", e)) != FL_OK)
        return rc;
    c = in->once ? NULL : build_load(b, done, b->projection_tag);
    if (c != NULL) {
        b->projection = projection_retain(c->projection);
        cache_free(c);
        return FL_OK;
    }
    t.phase = build_phase(b, "project", 0.7);
    t.checkpoint = in->once ? NULL : checkpoint;
    rc = net_train(&learned, &t, e);
    if (rc == FL_OK) {
        b->projection = projection_retain(learned.projection);
        trained_release(&learned);
        rc = in->once ? FL_OK : save_projection(b, done, e);
    }
    if (rc == FL_OK)
        unlink(checkpoint);
    return rc;
}

/* --- the training points, embedded --- */

static int embed_rows(struct exit_build *b, struct matrix_writer *w, int64_t from, struct error *e)
{
    const struct projection *p = b->projection;
    const struct matrix_file *m = b->in->train;
    size_t weights = (size_t)p->nodes * (size_t)p->dim;
    float *decoded = malloc(weights * sizeof *decoded);
    float *z = malloc(BLOCK * (size_t)p->dim * sizeof *z), *h = malloc(BLOCK * (size_t)p->nodes * sizeof *h);
    int rc = FL_OK;
    if (decoded == NULL || z == NULL || h == NULL)
        rc = error_set(e, FL_NOMEM, "no memory to embed %lld points", (long long)m->rows);
    else
        half_decode(p->weights, decoded, weights);
    for (; from < m->rows && rc == FL_OK; from += BLOCK) {
        int n = m->rows - from < BLOCK ? (int)(m->rows - from) : BLOCK;
        projection_apply_many(p, decoded, m->data + from * m->dim, n, z, h);
        rc = matrix_writer_append(w, h, n, e);
        if (rc == FL_OK)
            rc = build_report(b, from + n, m->rows, e);
    }
    free(decoded);
    free(z);
    free(h);
    return rc;
}

static int embed(struct exit_build *b, const char *path, struct matrix_file *out, struct error *e)
{
    struct matrix_writer *w;
    int64_t have;
    int rc, closed;
    build_phase(b, "embed", 0.8);
    rc = matrix_writer_open(&w, path, b->projection->nodes, b->projection_tag, &have, NULL);
    if (rc == FL_STALE || rc == FL_CORRUPT) {
        unlink(path);
        rc = matrix_writer_open(&w, path, b->projection->nodes, b->projection_tag, &have, e);
    }
    if (rc != FL_OK)
        return error_set(e, rc, "%s cannot be written: %s", path, strerror(errno));
    rc = embed_rows(b, w, have, e);
    closed = matrix_writer_close(w, rc == FL_OK ? e : NULL);
    if (rc == FL_OK)
        rc = closed;
    return rc == FL_OK ? matrix_open(out, path, e) : rc;
}

/* --- indexes --- */

static int64_t budget_entries(const struct exit_build *b, int64_t otherwise)
{
    int64_t n;
    if (b->in->budget_bytes == 0)
        return otherwise;
    n = (int64_t)(b->in->budget_bytes / cache_entry_bytes(b->cache));
    return n < otherwise ? n : otherwise;
}

static bool usable(const struct exit_build *b, const struct matrix_file *embedded, int64_t row)
{
    int32_t label = b->in->train_labels[row];
    return label >= 0 && label < b->in->classes && isfinite(embedded->data[row * embedded->dim]);
}

/* Of the usable rows `keep`, as many of each class as of any other where the class has them. Marks them in
 * `kept`. */
static int choose_balanced(const struct exit_build *b, const struct matrix_file *embedded, int64_t keep,
                           bool *kept)
{
    int64_t rows = embedded->rows, *taken = calloc((size_t)b->in->classes, sizeof *taken), n = 0, left = 0;
    int32_t *order = malloc((size_t)rows * sizeof *order);
    struct shuffle s;
    if (taken == NULL || order == NULL) {
        free(taken);
        free(order);
        return FL_NOMEM;
    }
    for (int64_t r = 0; r < rows; r++) {
        if (usable(b, embedded, r))
            order[left++] = (int32_t)r;
    }
    shuffle_seed(&s, b->in->config->seed, 2000);
    shuffle_order(&s, order, left);
    while (n < keep &&
           left > 0) { /* each round takes at most one share of each class; what is left goes to the next */
        int64_t share = (keep - n) / b->in->classes + 1, still = 0;
        memset(taken, 0, (size_t)b->in->classes * sizeof *taken);
        for (int64_t i = 0; i < left; i++) {
            int32_t label = b->in->train_labels[order[i]];
            if (n < keep && taken[label] < share) {
                taken[label]++;
                kept[order[i]] = true;
                n++;
            } else {
                order[still++] = order[i];
            }
        }
        left = still;
    }
    free(taken);
    free(order);
    return FL_OK;
}

static int make_knn(struct exit_build *b, const struct matrix_file *embedded, struct error *e)
{
    struct knn *m = &b->cache->knn;
    int64_t keep = budget_entries(b, embedded->rows);
    bool *kept = calloc((size_t)embedded->rows, sizeof *kept);
    int rc = kept == NULL ? FL_NOMEM : points_reserve(&m->points, embedded->dim, keep);
    m->k = b->in->config->k;
    m->label = malloc(((size_t)keep + 1) * sizeof *m->label);
    if (rc == FL_OK && m->label != NULL)
        rc = choose_balanced(b, embedded, keep, kept);
    if (rc != FL_OK || m->label == NULL) {
        free(kept);
        return error_set(e, FL_NOMEM, "no memory for %lld points", (long long)keep);
    }
    for (int64_t r = 0; r < embedded->rows; r++) {
        if (!kept[r])
            continue;
        m->label[m->points.n] = b->in->train_labels[r];
        points_set(&m->points, m->points.n, embedded->data + r * embedded->dim);
    }
    free(kept);
    return FL_OK;
}

static int make_kmeans(struct exit_build *b, const struct matrix_file *embedded, struct error *e)
{
    const struct builder_input *in = b->in;
    int64_t unlimited = embedded->rows / 8 < DEFAULT_CENTROIDS ? embedded->rows / 8 + 1 : DEFAULT_CENTROIDS;
    struct kmeans_training t = {.rows = embedded,
                                .labels = in->train_labels,
                                .classes = in->classes,
                                .centroids =
                                    in->budget_bytes == 0 ? unlimited : budget_entries(b, embedded->rows),
                                .seed = in->config->seed,
                                .phase = build_phase(b, "centroids", 0.97),
                                .progress = build_progress,
                                .progress_arg = b};
    return kmeans_train(&b->cache->kmeans, &t, e);
}

int build_index(struct exit_build *b, struct error *e)
{
    char path[4096];
    struct matrix_file embedded = {0};
    int rc = cache_new(&b->cache, b->kind, b->projection, b->in->classes);
    if (rc != FL_OK)
        return error_set(e, rc, "no memory for the cache of %s", b->in->exit_name);
    build_name(b, b->cache, b->cache_tag);
    if (b->in->budget_bytes > 0 && b->in->budget_bytes < cache_entry_bytes(b->cache))
        return error_set(
            e, FL_CONFIG,
            "%s: %zu bytes hold no entry of %zu bytes: raise cache.memory_mb or lower cache.nodes",
            b->in->exit_name, b->in->budget_bytes, cache_entry_bytes(b->cache));
    rc = build_path(b, path, sizeof path, "embedded", e);
    if (rc == FL_OK)
        rc = embed(b, path, &embedded, e);
    if (rc == FL_OK)
        rc = b->kind == CACHE_KNN ? make_knn(b, &embedded, e) : make_kmeans(b, &embedded, e);
    matrix_close(&embedded);
    if (rc == FL_OK)
        unlink(path);
    return rc;
}
