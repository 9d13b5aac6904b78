/* builder.c - make the cache of one exit: projection, index, threshold
 *
 * In work_dir, per exit: EXIT.checkpoint while the projection is trained, EXIT.projection.cache (a cache
 * without entries) when it is, EXIT.embedded (the training points projected) while an index is made,
 * EXIT.KIND.cache at the end. Each carries a tag, a digest of all that it depends on; what has another tag is
 * made again. Removing work_dir is always safe.
 */
#include "builder_index.h"
#include "builder_learned.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define METHOD_VERSION 6u /* of the algorithms: one more makes every older partial result stale */
#define LOOKUP_BLOCK   32

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
    if (in->calibrate != NULL && in->calibrate->rows < 1)
        return error_set(e, FL_USAGE,
                         "no calibration points: name records with --calibrate that trained nothing");
    if (in->calibrate != NULL && in->calibrate->dim != in->train->dim)
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

/* Digests the tag of the rows instead of the rows: reading them all would take as long as half an epoch. */
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
    XXH3_64bits_update(s, &m, offsetof(struct map, groups)); /* members say how many */
    XXH3_64bits_update(s, &nodes, sizeof nodes);
    XXH3_64bits_update(s, &in->config->members, sizeof in->config->members);
    XXH3_64bits_update(s, &in->config->tune, sizeof in->config->tune);
    XXH3_64bits_update(s, &in->pictures, sizeof in->pictures);
    if (in->train_scores != NULL)
        digest_rows(s, in->train_scores, in->train_labels);
    return FL_OK;
}

/* Teaching takes long and looks at no calibration point, so what was taught stands for others, too: a learned
 * cache that is found again is calibrated again. */
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
    if (b->kind != CACHE_LEARNED && in->calibrate != NULL)
        digest_rows(s, in->calibrate, in->calibrate_labels);
    if (b->kind != CACHE_LEARNED)
        XXH3_64bits_update(s, &budget, sizeof budget);
    else
        rc = digest_learned(s, in, e);
    b->cache_tag = XXH3_64bits_digest(s);
    XXH3_freeState(s);
    return rc;
}

/* --- threshold: the calibration points go the very way that requests will --- */

float threshold_max_wrong(const struct cache_verdict *v, const int32_t *truth, int64_t n)
{
    float threshold = 0;
    int64_t judged = 0;
    for (int64_t i = 0; i < n; i++) {
        if (v[i].label < 0 || truth[i] < 0)
            continue;
        judged++;
        if (v[i].label != truth[i] && v[i].confidence > threshold)
            threshold = v[i].confidence;
    }
    return judged > 0 ? threshold : INFINITY;
}

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
            rc = build_report(b, from + n, m->rows, e);
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
    int rc = b->kind == CACHE_LEARNED ? build_learned(b, e) : build_projection(b, e);
    if (rc == FL_OK && b->kind != CACHE_LEARNED)
        rc = build_index(b, e);
    if (rc == FL_OK && b->in->calibrate != NULL)
        rc = calibrate(b, e);
    else if (rc == FL_OK)
        b->cache->threshold = INFINITY;
    return rc == FL_OK && !b->in->once ? cache_save(b->cache, path, NULL, e) : rc;
}

static int calibrate_again(struct exit_build *b, struct cache **out, struct error *e)
{
    int rc = FL_OK;
    b->cache = *out;
    b->cache->threshold = INFINITY;
    if (b->in->calibrate != NULL)
        rc = calibrate(b, e);
    if (rc != FL_OK) {
        cache_free(*out);
        *out = NULL;
    }
    return rc;
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
    *out = in->once ? NULL : build_load(&b, path, b.cache_tag);
    if (*out != NULL) {
        build_recall_recipe(&b);
        return b.kind == CACHE_LEARNED ? calibrate_again(&b, out, e) : FL_OK;
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
