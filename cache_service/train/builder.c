/* builder.c - make the cache of one exit: projection, index, threshold
 *
 * In work_dir, per exit: EXIT.checkpoint while the projection is trained, EXIT.projection.cache (a cache
 * without entries) when it is, EXIT.embedded (the training points projected) while an index is made,
 * EXIT.KIND.cache at the end. Each carries a tag, a digest of all that it depends on; what has another tag is
 * made again. Removing work_dir is always safe.
 */
#include "builder_parts.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "cache_service/index/cache_body.h"
#include "cache_service/index/half.h"
#include "kmeans_train.h"
#include "net_train.h"
#include "base/shuffle.h"
#include "threshold.h"

#define METHOD_VERSION    4u /* of the algorithms: one more makes every older partial result stale */
#define BLOCK             256
#define LOOKUP_BLOCK      32
#define DEFAULT_CENTROIDS 4096 /* at most, where no budget says how many; and 1 for 8 points at most */

/* For distances: smoothing draws the points of a class together, and with a small start and strong decay the
 * directions that nothing was learned about stay small. */
static const struct recipe published = {
    .rate = 3e-3f, .decay = 0.3f, .start = 0.1, .smoothing = 0.3f, .loss = {.distil = 0, .temperature = 1}};

int build_path(const struct exit_build *b, char *path, size_t size, const char *suffix, struct error *e)
{
    if (snprintf(path, size, "%s/%s.%s", b->in->work_dir, b->in->exit_name, suffix) >= (int)size)
        return error_set(e, FL_CONFIG, "%.200s...: the folder's path is too long", b->in->work_dir);
    return FL_OK;
}

const char *build_phase(struct exit_build *b, const char *what, double to)
{
    snprintf(b->phase, sizeof b->phase, "%s: %s", b->in->exit_name, what);
    b->from = b->to;
    b->to = to;
    return b->phase;
}

int build_progress(void *arg, const char *name, int64_t done, int64_t total, double number)
{
    const struct exit_build *b = arg;
    double share = total > 0 ? (double)done / (double)total : 1;
    if (b->in->progress == NULL)
        return 0;
    return b->in->progress(b->in->progress_arg, name, (int64_t)(1000 * (b->from + (b->to - b->from) * share)),
                           1000, number);
}

static int report(struct exit_build *b, int64_t done, int64_t total, struct error *e)
{
    if (build_progress(b, b->phase, done, total, NAN) != 0)
        return error_set(e, FL_CANCELLED, "stopped in '%s'", b->phase);
    return FL_OK;
}

static int check_input(const struct builder_input *in, enum cache_kind *kind, struct error *e)
{
    const struct cache_config *c = in->config;
    if (cache_kind_parse(in->kind, kind) != FL_OK)
        return error_set(e, FL_USAGE, "there is no kind of cache '%s': knn, kmeans and learned are",
                         in->kind);
    if (strlen(in->exit_name) >= sizeof((struct cache *)0)->exit || strchr(in->exit_name, '/') != NULL ||
        in->exit_name[0] == 0)
        return error_set(e, FL_CONFIG, "'%s' cannot be the name of an exit: 1 to 63 characters without '/'",
                         in->exit_name);
    if (in->classes < 1 || in->classes > CACHE_MAX_CLASSES)
        return error_set(e, FL_UNSUPPORTED, "%d classes: 1 to %d are possible", in->classes,
                         CACHE_MAX_CLASSES);
    if (c->nodes < 1 || c->nodes > PROJECTION_MAX_NODES || c->k < 1 || c->k > KNN_MAX_K ||
        c->train_epochs < 1)
        return error_set(e, FL_CONFIG,
                         "cache.nodes must be 1 to %d, cache.k 1 to %d, cache.train_epochs 1 or more",
                         PROJECTION_MAX_NODES, KNN_MAX_K);
    if (in->train->rows < 1 || in->train->rows > INT32_MAX)
        return error_set(e, FL_USAGE, "%lld training points: 1 to %d are possible",
                         (long long)in->train->rows, INT32_MAX);
    if (in->calibrate->rows < 1)
        return error_set(e, FL_USAGE,
                         "no calibration points: name records with --calibrate that trained nothing");
    if (in->calibrate->dim != in->train->dim)
        return error_set(e, FL_SHAPE, "%s: training descriptors have %d features, calibration descriptors %d",
                         in->exit_name, in->train->dim, in->calibrate->dim);
    if (in->train_scores != NULL &&
        (in->train_scores->rows != in->train->rows || in->train_scores->dim != in->classes))
        return error_set(e, FL_SHAPE,
                         "%s: scores of %lld points and %d classes stand beside %lld points and %d classes",
                         in->exit_name, (long long)in->train_scores->rows, in->train_scores->dim,
                         (long long)in->train->rows, in->classes);
    return FL_OK;
}

/* --- tags --- */

/* The rows' own tag stands for them: reading them all would take as long as half an epoch. */
static void digest_rows(XXH3_state_t *s, const struct matrix_file *m, const int32_t *labels)
{
    XXH3_64bits_update(s, &m->tag, sizeof m->tag);
    XXH3_64bits_update(s, &m->rows, sizeof m->rows);
    XXH3_64bits_update(s, &m->dim, sizeof m->dim);
    XXH3_64bits_update(s, labels, (size_t)m->rows * sizeof *labels);
}

/* Not the budgets, but what they come to: more memory than it takes changes nothing. */
static int digest_learned(XXH3_state_t *s, const struct builder_input *in, struct error *e)
{
    struct map m;
    int nodes, rc = build_learned_size(in, &m, &nodes, e);
    if (rc != FL_OK)
        return rc;
    XXH3_64bits_update(s, &m, sizeof m);
    XXH3_64bits_update(s, &nodes, sizeof nodes);
    XXH3_64bits_update(s, &in->config->tune, sizeof in->config->tune);
    XXH3_64bits_update(s, &in->pictures, sizeof in->pictures);
    if (in->train_scores != NULL)
        digest_rows(s, in->train_scores, in->train_labels);
    return FL_OK;
}

static int make_tags(struct exit_build *b, struct error *e)
{
    const struct builder_input *in = b->in;
    const struct cache_config *c = in->config;
    uint32_t version = METHOD_VERSION;
    uint64_t budget = in->budget_bytes;
    XXH3_state_t *s = XXH3_createState();
    int rc = FL_OK;
    if (s == NULL)
        return error_set(e, FL_NOMEM, "no memory");
    XXH3_64bits_reset(s);
    XXH3_64bits_update(s, &version, sizeof version);
    XXH3_64bits_update(s, in->exit_name, strlen(in->exit_name));
    XXH3_64bits_update(s, in->identity, sizeof in->identity);
    XXH3_64bits_update(s, &in->classes, sizeof in->classes);
    XXH3_64bits_update(s, &c->nodes, sizeof c->nodes);
    XXH3_64bits_update(s, &c->train_epochs, sizeof c->train_epochs);
    XXH3_64bits_update(s, &c->seed, sizeof c->seed);
    digest_rows(s, in->train, in->train_labels);
    b->projection_tag = XXH3_64bits_digest(s);
    XXH3_64bits_update(s, in->kind, strlen(in->kind));
    XXH3_64bits_update(s, &c->k, sizeof c->k);
    digest_rows(s, in->calibrate, in->calibrate_labels);
    if (b->kind != CACHE_LEARNED)
        XXH3_64bits_update(s, &budget, sizeof budget);
    else
        rc = digest_learned(s, in, e);
    b->cache_tag = XXH3_64bits_digest(s);
    XXH3_freeState(s);
    return rc;
}

/* --- projection --- */

void build_name(const struct exit_build *b, struct cache *c, uint64_t tag)
{
    strcpy(c->exit, b->in->exit_name);
    memcpy(c->identity, b->in->identity, sizeof c->identity);
    c->tag = tag;
}

/* A cache from work_dir, or NULL when there is none with that tag. */
static struct cache *load_tagged(const char *path, const struct exit_build *b, uint64_t tag)
{
    struct cache *c;
    if (cache_load(&c, path, b->in->identity, NULL) != FL_OK)
        return NULL;
    if (c->tag == tag)
        return c;
    cache_free(c);
    return NULL;
}

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

static int make_projection(struct exit_build *b, struct error *e)
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
    t.recipe.epochs = in->config->train_epochs;
    if ((rc = build_path(b, done, sizeof done, "projection.cache", e)) != FL_OK ||
        (rc = build_path(b, checkpoint, sizeof checkpoint, "checkpoint", e)) != FL_OK)
        return rc;
    c = load_tagged(done, b, b->projection_tag);
    if (c != NULL) {
        b->projection = projection_retain(c->projection);
        cache_free(c);
        return FL_OK;
    }
    t.phase = build_phase(b, "project", 0.7);
    rc = net_train(&learned, &t, e);
    if (rc == FL_OK) {
        b->projection = projection_retain(learned.projection);
        trained_release(&learned);
        rc = save_projection(b, done, e);
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
            rc = report(b, from + n, m->rows, e);
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

static int make_index(struct exit_build *b, struct error *e)
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

/* --- threshold: the calibration points go the very way that requests will --- */

static int calibrate(struct exit_build *b, struct error *e)
{
    const struct matrix_file *m = b->in->calibrate;
    struct cache_verdict *v = malloc((size_t)m->rows * sizeof *v);
    struct cache_scratch *s = NULL;
    int rc = v == NULL ? FL_NOMEM : cache_scratch_new(&s, LOOKUP_BLOCK);
    build_phase(b, "calibrate", 1);
    for (int64_t from = 0; from < m->rows && rc == FL_OK; from += LOOKUP_BLOCK) {
        int n = m->rows - from < LOOKUP_BLOCK ? (int)(m->rows - from) : LOOKUP_BLOCK;
        rc = cache_lookup(b->cache, s, m->data + from * m->dim, n, v + from);
        if (rc == FL_OK)
            rc = report(b, from + n, m->rows, e);
    }
    if (rc == FL_OK)
        b->cache->threshold = threshold_max_wrong(v, b->in->calibrate_labels, m->rows);
    else if (rc != FL_CANCELLED)
        error_set(e, rc, "no memory to calibrate %s", b->in->exit_name);
    cache_scratch_free(s);
    free(v);
    return rc;
}

static int build(struct exit_build *b, const char *path, struct error *e)
{
    int rc = b->kind == CACHE_LEARNED ? build_learned(b, e) : make_projection(b, e);
    if (rc == FL_OK && b->kind != CACHE_LEARNED)
        rc = make_index(b, e);
    if (rc == FL_OK)
        rc = calibrate(b, e);
    return rc == FL_OK ? cache_save(b->cache, path, NULL, e) : rc;
}

int builder_build(struct cache **out, const struct builder_input *in, struct error *e)
{
    struct exit_build b = {.in = in};
    char path[4096], suffix[32];
    int rc = check_input(in, &b.kind, e);
    if (rc == FL_OK)
        rc = make_tags(&b, e);
    snprintf(suffix, sizeof suffix, "%s.cache", rc == FL_OK ? in->kind : "");
    if (rc == FL_OK)
        rc = build_path(&b, path, sizeof path, suffix, e);
    if (rc != FL_OK)
        return rc;
    *out = load_tagged(path, &b, b.cache_tag);
    if (*out != NULL) {
        build_recall_recipe(&b);
        return FL_OK;
    }
    rc = build(&b, path, e);
    projection_release(b.projection);
    if (rc != FL_OK) {
        cache_free(b.cache);
        return rc;
    }
    *out = b.cache;
    return FL_OK;
}
