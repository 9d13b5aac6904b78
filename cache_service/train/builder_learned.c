/* builder_learned.c - a learned cache: how large, taught how, teaching
 *
 * In work_dir: EXIT.recipe when it is chosen, EXIT.learnedI.checkpoint of member I while they are taught.
 */
#include "builder_learned.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "members.h"
#include "tune.h"

#define LEARNED_NODES 512  /* of the dense layer, or what its budget allows */
#define LEARNED_WIDTH 128  /* of the convolutions, likewise */
#define TUNE_SHARE    0.2  /* of the time, for progress */
#define SHIFTED       0.5f /* of the maps are moved by a cell, where there are no copies of pictures .. */
#define SHIFTED_SIDE  8    /* .. and a cell is an eighth of the picture's side at most, as copies move by */
#define WARM_SHARE    3    /* of the epochs, where teaching starts at an earlier cache */

/* Where tuning starts. Two points are mixed and some of everything is dropped: 35,000 points are few for so
 * many weights. A higher temperature or more of the teacher makes scores worse at telling which answers can
 * be trusted. */
static const struct recipe imitating = {.epochs = 20,
                                        .rate = 6e-3f,
                                        .decay = 0.05f,
                                        .start = 1,
                                        .drop_input = 0.15f,
                                        .drop = 0.15f,
                                        .mixup = 0.4f,
                                        .loss = {.distil = 0.5f, .temperature = 2},
                                        .held_out = 0.05f};

/* Of maps: convolutions share their weights between places, so they need less to keep them from learning
 * points by heart. */
static const struct recipe convolving = {.epochs = 4,
                                         .rate = 9e-3f,
                                         .decay = 0.05f,
                                         .start = 1,
                                         .drop = 0.1f,
                                         .loss = {.distil = 0.7f, .temperature = 2},
                                         .held_out = 0.05f};

/* The map that descriptors are, without a width; side 0 when they are none, or too small for convolutions. */
static struct map learned_map(const struct builder_input *in)
{
    int side = in->map_side;
    struct map m = {side, side > 0 ? in->train->dim / (side * side) : 0, LEARNED_WIDTH, 1};
    if (!map_valid(&m) || map_last(&m) < 1 || side * side * m.channels != in->train->dim)
        m = (struct map){0, 0, 0, 0};
    return m;
}

static size_t rows_bytes(int groups, int rows, int cols)
{
    return int8_all_bytes(&(struct int8_rows){.groups = groups, .rows = rows, .cols = cols});
}

/* Bytes of the weights, as they are stored. */
static size_t weight_bytes(const struct builder_input *in, const struct map *m, int nodes)
{
    int width = map_group(m).width;
    if (projection_may_round(m))
        return rows_bytes(1, m->width, MAP_TAPS * m->channels) +
               rows_bytes(m->width / width, width, MAP_TAPS * width) + rows_bytes(1, in->classes, nodes);
    return (m->side > 0 ? MAP_TAPS * (size_t)(m->channels + width) * (size_t)m->width
                        : (size_t)in->train->dim * (size_t)nodes) *
               sizeof(uint16_t) +
           (size_t)nodes * (size_t)in->classes * sizeof(float);
}

/* Bytes of a learned cache without its struct. */
static size_t learned_bytes(const struct builder_input *in, const struct map *m, int nodes)
{
    size_t dim = (size_t)(m->side > 0 ? m->channels : in->train->dim);
    size_t biases = m->side > 0 ? 2 * (size_t)m->width : (size_t)nodes;
    return (2 * dim + biases + (size_t)in->classes) * sizeof(float) + weight_bytes(in, m, nodes);
}

static int n_members(const struct builder_input *in)
{
    return in->config->members > 1 ? in->config->members : 1;
}

/* The limit of work is each member's; the memory is that of all together. */
static size_t bytes_of_all(const struct builder_input *in, const struct map *m, int nodes)
{
    struct map wide = *m;
    wide.width *= n_members(in);
    wide.groups = n_members(in);
    return learned_bytes(in, &wide, nodes * n_members(in));
}

static bool learned_fits(const struct builder_input *in, const struct map *m, int nodes)
{
    int64_t work = m->side > 0 ? map_multiply_adds(m) : (int64_t)in->train->dim * nodes;
    return (in->budget_bytes == 0 || bytes_of_all(in, m, nodes) <= in->budget_bytes) &&
           (in->most_work == 0 || work <= in->most_work);
}

int build_learned_size(const struct builder_input *in, struct map *m, int *nodes, struct error *e)
{
    *m = learned_map(in);
    *nodes = LEARNED_NODES;
    while (m->side > 0 && m->width > 16 && !learned_fits(in, m, map_nodes(m)))
        m->width -= 16;
    if (m->side > 0)
        *nodes = map_nodes(m);
    while (m->side == 0 && *nodes > 4 && !learned_fits(in, m, *nodes))
        *nodes -= 4;
    if (in->budget_bytes > 0 && bytes_of_all(in, m, *nodes) > in->budget_bytes)
        return error_set(
            e, FL_CONFIG,
            "%s: %zu bytes hold no predictor of %d features: raise cache.memory_mb or take smaller grids",
            in->exit_name, in->budget_bytes, in->train->dim);
    return FL_OK;
}

/* Few points need more epochs to make as many steps. */
static int learned_epochs(const struct recipe *how, int64_t rows)
{
    int64_t epochs = 1500 * TRAIN_BATCH / rows;
    return (int)(epochs < how->epochs ? how->epochs : epochs > 100 ? 100 : epochs);
}

/* ---- which recipe: kept on disk, as the training that follows it may be interrupted ---- */

static bool recipe_load(const char *path, uint64_t tag, struct recipe *r, int *tried)
{
    FILE *f = fopen(path, "re");
    unsigned long long of = 0;
    struct recipe read = *r;
    int n = 0;
    bool ok;
    if (f == NULL)
        return false;
    ok = fscanf(f, "recipe %llx tried %d rate %g drop %g input %g", &of, &n, &read.rate, &read.drop,
                &read.drop_input) == 5 &&
         of == tag;
    fclose(f);
    if (ok) {
        *r = read;
        *tried = n;
    }
    return ok;
}

static int recipe_save(const char *path, uint64_t tag, const struct recipe *r, int tried, struct error *e)
{
    FILE *f = fopen(path, "we");
    bool ok;
    if (f == NULL)
        return error_set(e, FL_IO, "%s: %s", path, strerror(errno));
    ok = fprintf(f, "recipe %llx tried %d rate %.9g drop %.9g input %.9g\n", (unsigned long long)tag, tried,
                 (double)r->rate, (double)r->drop, (double)r->drop_input) > 0;
    ok = fclose(f) == 0 && ok;
    return ok ? FL_OK : error_set(e, FL_IO, "%s: %s", path, strerror(errno));
}

static void tell_recipe(const struct exit_build *b, const struct recipe *r, int tried)
{
    if (b->in->recipe != NULL)
        *b->in->recipe = (struct builder_recipe){tried, (double)r->rate, (double)r->drop};
}

void build_recall_recipe(const struct exit_build *b)
{
    struct recipe r = convolving;
    char path[4096];
    int tried;
    if (build_path(b, path, sizeof path, "recipe", NULL) == FL_OK &&
        recipe_load(path, b->cache_tag, &r, &tried))
        tell_recipe(b, &r, tried);
}

static int choose_recipe(struct exit_build *b, struct net_training *t, struct error *e)
{
    const struct builder_input *in = b->in;
    char path[4096];
    int tried, rc;
    t->recipe = t->map.side > 0 ? convolving : imitating;
    t->recipe.epochs = learned_epochs(&t->recipe, in->train->rows);
    t->recipe.epochs = build_epochs(in, t->recipe.epochs);
    if (in->train_scores == NULL)
        t->recipe.loss.distil = 0;
    if (in->once) {
        t->recipe.shift = t->map.side >= SHIFTED_SIDE ? SHIFTED : 0;
        return FL_OK;
    }
    if ((rc = build_path(b, path, sizeof path, "recipe", e)) != FL_OK)
        return rc;
    if (!recipe_load(path, b->cache_tag, &t->recipe, &tried)) {
        t->phase = build_phase(b, "tune", TUNE_SHARE);
        rc = tune(&t->recipe, &tried, t, in->config->tune, e);
        if (rc == FL_OK)
            rc = recipe_save(path, b->cache_tag, &t->recipe, tried, e);
    }
    if (rc == FL_OK)
        tell_recipe(b, &t->recipe, tried);
    return rc;
}

/* Fewer steps from where an earlier cache of the same shape stands. */
static void start_warm(const struct builder_input *in, struct net_training *t)
{
    const struct cache *w = in->warm;
    if (w == NULL || w->kind != CACHE_LEARNED || w->projection->map.side != t->map.side ||
        w->projection->map.width != t->map.width || w->projection->map.groups > 1 ||
        w->projection->dim != in->train->dim || w->projection->nodes != t->nodes ||
        w->learned.classes != in->classes)
        return;
    t->warm = w->projection;
    t->warm_head = &w->learned;
    t->recipe.epochs = (t->recipe.epochs + WARM_SHARE - 1) / WARM_SHARE;
}

/* WORK_DIR/EXIT.learnedI.checkpoint: that of a member who has been taught stays until all have. */
static int checkpoint_path(const struct exit_build *b, char *path, size_t size, int i, struct error *e)
{
    char suffix[32];
    snprintf(suffix, sizeof suffix, "learned%d.checkpoint", i);
    return build_path(b, path, size, suffix, e);
}

/* Teaches all members, one after the other; *learned is what they are together. */
static int teach_members(struct exit_build *b, struct net_training *t, struct trained *learned,
                         struct error *e)
{
    const struct builder_input *in = b->in;
    struct trained member[PIPELINE_MAX_MEMBERS];
    char checkpoint[4096];
    int n = n_members(in), taught = 0, rc = FL_OK;
    t->checkpoint = in->once ? NULL : checkpoint;
    for (; taught < n && rc == FL_OK; taught += rc == FL_OK) {
        t->seed = in->config->seed + (uint64_t)taught;
        t->tag = b->cache_tag + (uint64_t)taught;
        t->phase = build_phase(b, "imitate", 0.99 * (taught + 1) / n);
        if ((rc = checkpoint_path(b, checkpoint, sizeof checkpoint, taught, e)) == FL_OK)
            rc = net_train(&member[taught], t, e);
    }
    if (rc == FL_OK && (rc = members_join(learned, member, n)) != FL_OK)
        error_set(e, rc, "no memory for the cache of %s", in->exit_name);
    for (int i = 0; i < taught; i++) {
        trained_release(&member[i]);
        if (rc == FL_OK && !in->once && checkpoint_path(b, checkpoint, sizeof checkpoint, i, e) == FL_OK)
            unlink(checkpoint);
    }
    return rc;
}

int build_learned(struct exit_build *b, struct error *e)
{
    const struct builder_input *in = b->in;
    struct trained learned;
    struct net_training t = {.rows = in->train,
                             .labels = in->train_labels,
                             .scores = in->train_scores,
                             .pictures = in->pictures,
                             .classes = in->classes,
                             .seed = in->config->seed,
                             .tag = b->cache_tag,
                             .progress = build_progress,
                             .progress_arg = b};
    int rc = build_learned_size(in, &t.map, &t.nodes, e);
    if (rc == FL_OK)
        rc = choose_recipe(b, &t, e);
    if (rc == FL_OK)
        start_warm(in, &t);
    if (rc == FL_OK)
        rc = teach_members(b, &t, &learned, e);
    if (rc != FL_OK)
        return rc;
    rc = cache_new(&b->cache, CACHE_LEARNED, learned.projection, in->classes);
    if (rc == FL_OK) { /* the cache takes the second layer */
        build_name(b, b->cache, b->cache_tag);
        b->cache->learned = learned.head;
        learned.head = (struct predictor){0};
    }
    trained_release(&learned);
    if (rc == FL_OK)
        rc = cache_round(b->cache);
    return rc == FL_OK ? rc : error_set(e, rc, "no memory for the cache of %s", in->exit_name);
}
