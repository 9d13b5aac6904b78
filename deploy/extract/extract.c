/* extract.c - batches through executors, descriptors into files
 *
 * Each core has an executor of its own that runs a share of the batch on one thread: layers of a few images
 * are too small to be cut into pieces, and two executors do nearly twice the work of one, two threads of one
 * hardly more.
 */
#include "extract.h"

#include "deploy/model/model_shape.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "deploy/data/augment.h"
#include "executors.h"
#include "judging.h"
#include "deploy/tool/state.h"
#include "stages/exec/scores.h"
#include "stages/place/descriptor.h"
#include "stages/place/precision_options.h"

#define MOST_ROOM ((size_t)1 << 28) /* bytes of what a batch makes */

struct extractor {
    const struct extraction *of;
    struct executors executors;
    int share; /* rows of a batch that one executor runs, at most */
    int rc[EXECUTORS_MAX];
    struct error problem[EXECUTORS_MAX];
    int classes, dim[PIPELINE_MAX_EXITS], side[PIPELINE_MAX_EXITS];
    struct matrix_writer *writer[PIPELINE_MAX_EXITS], *scores;
    int64_t have[PIPELINE_MAX_EXITS], have_scores; /* rows on disk */
    int64_t at;                                    /* next row to run: the least of them */
    int n;                                         /* rows of this batch */
    float *made[PIPELINE_MAX_EXITS],
        *made_scores; /* by this batch: [executors x batch][dim], [..][classes] */
};

static int64_t row_count(const struct extraction *x)
{
    return dataset_count(x->data) * (1 + x->copies);
}

static int file_path(char *buf, const struct extraction *x, const char *name, struct error *e)
{
    int n = snprintf(buf, STATE_PATH_BYTES, "%s/%s.f32", x->directory, name);
    return n < STATE_PATH_BYTES ? FL_OK
                                : error_set(e, FL_CONFIG, "the path of the state directory is too long");
}

/* What a file of rows was made from: another network, preprocessing, data, place or descriptor gives
 * another tag. */
static uint64_t tag_of(const struct extraction *x, const struct placed_exit *exit)
{
    const struct pipeline *p = x->pipeline;
    const struct descriptor_config *c = &p->cache.descriptor;
    uint64_t h = dataset_identity(x->data), activations;
    struct identity identity;

    identity_of(&identity, x->graph->digest, p);
    activations = identity_of_activations(&identity);
    h = XXH3_64bits_withSeed(&activations, sizeof activations, h);
    if (x->copies > 0)
        h = XXH3_64bits_withSeed(&p->cache.seed, sizeof p->cache.seed, h);
    if (!exit)
        return h;
    h = XXH3_64bits_withSeed(exit->cut.name, strlen(exit->cut.name), h);
    if (!c->flatten)
        return XXH3_64bits_withSeed(c->grid, sizeof c->grid[0] * (size_t)c->n_grids, h);
    return h;
}

/* Opens for append; what another run left behind for other inputs is removed first. */
static int open_writer(struct matrix_writer **out, const struct extraction *x, const char *name, int dim,
                       uint64_t tag, int64_t *rows, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc = file_path(path, x, name, e);

    if (rc)
        return rc;
    rc = matrix_writer_open(out, path, dim, tag, rows, e);
    if (rc == FL_STALE || rc == FL_CORRUPT) {
        if (unlink(path))
            return error_set(e, FL_IO, "cannot remove %s: %s", path, strerror(errno));
        rc = matrix_writer_open(out, path, dim, tag, rows, e);
    }
    return rc;
}

static int open_writers(struct extractor *s, struct error *e)
{
    const struct placement *place = s->of->placement;
    int64_t count = row_count(s->of);
    int rc = open_writer(&s->scores, s->of, "+scores", s->classes, tag_of(s->of, NULL), &s->have_scores, e);

    s->at = s->have_scores;
    for (int i = 0; !rc && i < place->n_exits; i++) {
        if (!placed_has_cache(&place->exit[i]))
            continue;
        rc = open_writer(&s->writer[i], s->of, place->exit[i].name, s->dim[i], tag_of(s->of, &place->exit[i]),
                         &s->have[i], e);
        if (s->have[i] < s->at)
            s->at = s->have[i];
    }
    if (!rc && s->at > count)
        s->at = count;
    return rc;
}

static int check_disk(const struct extractor *s, struct error *e)
{
    struct statvfs fs;
    double need = 0, left = (double)(row_count(s->of) - s->at);

    for (int i = 0; i < s->of->placement->n_exits; i++)
        need += 4.0 * left * s->dim[i];
    if (statvfs(s->of->directory, &fs))
        return FL_OK;
    if (need > 0.95 * (double)fs.f_bavail * (double)fs.f_frsize)
        return error_set(
            e, FL_IO,
            "%s: %.1f GB of descriptors do not fit, %.1f GB are free; name fewer `exits`, take smaller "
            "cache.grids or fewer copies (cache.augment), or another directory (--set state=DIR)",
            s->of->directory, need / 1e9, (double)fs.f_bavail * (double)fs.f_frsize / 1e9);
    return FL_OK;
}

/* Descriptor sizes need a shape of each cut; one request of zeros run up to there tells it. */
static int measure(struct extractor *s, struct error *e)
{
    const struct placement *place = s->of->placement;
    struct exec *exec = s->executors.one[0].exec;
    struct tensor input = exec_input_shape(exec, 0, 1), cut;
    int from = 0, rc = FL_OK;

    memset(exec_input_buffer(exec, 0), 0, (size_t)tensor_bytes(&input));
    for (int i = 0; !rc && i < place->n_exits; i++) {
        int node = place->exit[i].cut.node;
        if ((rc = exec_run(exec, from, node, 1, NULL, NULL, e)) || (rc = exec_cut(exec, node, 1, &cut, e)))
            return rc;
        from = node + 1;
        if (!placed_has_cache(&place->exit[i]))
            continue;
        s->dim[i] = descriptor_dim(&cut, &s->of->pipeline->cache.descriptor);
        s->side[i] = descriptor_side(&cut, &s->of->pipeline->cache.descriptor);
        if (s->dim[i] <= 0)
            return error_set(e, FL_SHAPE, "exit %s: its activation is neither an image nor a vector",
                             place->exit[i].name);
    }
    return rc;
}

/* Room for what a batch makes; where whole activations are descriptors, fewer rows of them. */
static int make_room(struct extractor *s, struct error *e)
{
    size_t row = (size_t)s->classes, rows;

    for (int i = 0; i < PIPELINE_MAX_EXITS; i++)
        row += (size_t)s->dim[i];
    for (s->share = s->executors.batch; s->share > 1; s->share--)
        if (sizeof(float) * row * (size_t)s->share * (size_t)s->executors.n <= MOST_ROOM)
            break;
    rows = (size_t)s->share * (size_t)s->executors.n;
    s->made_scores = malloc(sizeof(float) * rows * (size_t)s->classes);
    for (int i = 0; i < PIPELINE_MAX_EXITS; i++)
        if (s->dim[i] && !(s->made[i] = malloc(sizeof(float) * rows * (size_t)s->dim[i])))
            return error_set(e, FL_NOMEM, "no memory for descriptors");
    return s->made_scores ? FL_OK : error_set(e, FL_NOMEM, "no memory for scores");
}

/* Appends those of `n` rows that begin at record `at` which the file does not have yet. */
static int append_new(struct matrix_writer *w, int64_t *have, const float *rows, int dim, int64_t at, int n,
                      struct error *e)
{
    int skip = *have > at ? (int)(*have - at) : 0, rc;

    if (skip >= n)
        return FL_OK;
    rc = matrix_writer_append(w, rows + (size_t)skip * (size_t)dim, n - skip, e);
    if (!rc)
        *have += n - skip;
    return rc;
}

/* Row i as the network's input. */
static void row_image(const struct extraction *x, int64_t i, float *room, void *out)
{
    struct picture p = dataset_picture(x->data);
    float *copy = room + 2 * (int64_t)p.channels * p.height * p.width;
    const struct augmentation a = {x->data, x->pipeline->cache.seed, room};
    int64_t records = dataset_count(x->data);

    if (i < records) {
        dataset_image(x->data, i, out);
        return;
    }
    augment_planes(&a, i % records, (int)(i / records), copy);
    dataset_put(x->data, copy, out);
}

/* Rows from .. from + n - 1 of the batch. */
static int run_share(struct extractor *s, struct executor *by, int from, int n, struct error *e)
{
    const struct extraction *x = s->of;
    struct tensor t = exec_input_shape(by->exec, 0, 1);
    int64_t size = tensor_bytes(&t);
    char *input = exec_input_buffer(by->exec, 0);
    int node = 0, rc;

    for (int i = 0; i < n; i++)
        row_image(x, s->at + from + i, by->room, input + i * size);
    for (int i = 0; i < x->placement->n_exits; i++) {
        int last = x->placement->exit[i].cut.node;
        if ((rc = exec_run(by->exec, node, last, n, NULL, NULL, e)) ||
            (rc = exec_cut(by->exec, last, n, &t, e)))
            return rc;
        node = last + 1;
        if (s->writer[i] && s->have[i] < s->at + s->n)
            descriptor_compute(&t, &x->pipeline->cache.descriptor,
                               s->made[i] + (size_t)from * (size_t)s->dim[i]);
    }
    if ((rc = exec_run(by->exec, node, x->graph->n_nodes - 1, n, NULL, NULL, e)))
        return rc;
    t = exec_output(by->exec, 0, n);
    memcpy(s->made_scores + (size_t)from * (size_t)s->classes, t.data,
           sizeof(float) * (size_t)n * (size_t)s->classes);
    return FL_OK;
}

static void run_executor(void *arg, int i, int thread)
{
    struct extractor *s = arg;
    int from = s->n * i / s->executors.n, to = s->n * (i + 1) / s->executors.n;

    (void)thread;
    s->rc[i] = to > from ? run_share(s, &s->executors.one[i], from, to - from, &s->problem[i]) : FL_OK;
}

static int run_batch(struct extractor *s, struct error *e)
{
    int rc = FL_OK;

    team_run(s->executors.team, run_executor, s, s->executors.n);
    for (int i = 0; i < s->executors.n; i++)
        if (s->rc[i]) {
            *e = s->problem[i];
            return s->rc[i];
        }
    for (int i = 0; !rc && i < s->of->placement->n_exits; i++)
        if (s->writer[i])
            rc = append_new(s->writer[i], &s->have[i], s->made[i], s->dim[i], s->at, s->n, e);
    return rc ? rc : append_new(s->scores, &s->have_scores, s->made_scores, s->classes, s->at, s->n, e);
}

static int run_all(struct extractor *s, struct error *e)
{
    int64_t count = row_count(s->of), most = (int64_t)s->executors.n * s->share;
    int rc = FL_OK;

    while (!rc && s->at < count) {
        s->n = (int)(count - s->at < most ? count - s->at : most);
        if (s->of->progress && s->of->progress(s->of->progress_arg, s->of->phase, s->at, count, NAN))
            return error_set(e, FL_CANCELLED, "stopped; the same command goes on from record %lld",
                             (long long)s->at);
        rc = run_batch(s, e);
        s->at += s->n;
    }
    if (!rc && s->of->progress)
        s->of->progress(s->of->progress_arg, s->of->phase, count, count, NAN);
    return rc;
}

static int close_writers(struct extractor *s, int rc, struct error *e)
{
    for (int i = 0; i <= s->of->placement->n_exits; i++) {
        struct matrix_writer *w = i < s->of->placement->n_exits ? s->writer[i] : s->scores;
        int closed = w ? matrix_writer_close(w, rc ? NULL : e) : FL_OK;
        rc = rc ? rc : closed;
    }
    return rc;
}

static void release(struct extractor *s)
{
    for (int i = 0; i < PIPELINE_MAX_EXITS; i++)
        free(s->made[i]);
    free(s->made_scores);
    executors_close(&s->executors);
    free(s);
}

static int open_executors(struct extractor *s, struct error *e)
{
    const struct extraction *x = s->of;
    struct exec_options o = {.max_batch = x->batch, .last = -1};
    struct quantization q;
    int rc = precision_options(&o, &q, x->graph, x->pipeline, e);

    if (!rc)
        rc = executors_open(&s->executors, x->graph, &o, x->threads, e);
    quantization_release(&q);
    return rc;
}

static int write_files(struct extracted *out, const struct extraction *x, struct error *e)
{
    struct extractor *s = calloc(1, sizeof *s);
    int rc;

    if (!s)
        return error_set(e, FL_NOMEM, "no memory");
    s->of = x;
    s->classes = out->classes;
    rc = open_executors(s, e);
    if (!rc)
        rc = measure(s, e);
    if (!rc)
        rc = make_room(s, e);
    if (!rc)
        rc = open_writers(s, e);
    if (!rc)
        rc = check_disk(s, e);
    if (!rc)
        rc = run_all(s, e);
    rc = close_writers(s, rc, e);
    memcpy(out->side, s->side, sizeof out->side);
    release(s);
    return rc;
}

static int open_matrix(struct matrix_file *m, const struct extraction *x, const char *name, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc = file_path(path, x, name, e);

    if (!rc)
        rc = matrix_open(m, path, e);
    if (!rc && m->rows > row_count(x))
        m->rows = row_count(x); /* another build made more copies */
    if (!rc && m->rows < row_count(x))
        rc = error_set(e, FL_CORRUPT, "%s has %lld rows, %lld are needed; remove it and build again", path,
                       (long long)m->rows, (long long)row_count(x));
    return rc;
}

static int label_rows(struct extracted *out, struct error *e)
{
    out->label = malloc(sizeof *out->label * (size_t)out->rows);
    if (!out->label)
        return error_set(e, FL_NOMEM, "no memory for labels");
    for (int64_t i = 0; i < out->rows; i++) {
        out->label[i] = scores_label(out->scores.data + i * out->classes, out->classes, NULL);
        if (out->label[i] < 0)
            return error_set(e, FL_VALUE, "the model's scores for record %lld are not numbers", (long long)i);
    }
    return FL_OK;
}

int extract(struct extracted *out, const struct extraction *x, struct error *e)
{
    int rc;

    memset(out, 0, sizeof *out);
    out->records = dataset_count(x->data);
    out->rows = row_count(x);
    out->n_exits = x->placement->n_exits;
    if ((rc = model_classes(x->graph, &out->classes, e)) || (rc = write_files(out, x, e)))
        return rc;
    rc = open_matrix(&out->scores, x, "+scores", e);
    for (int i = 0; !rc && i < out->n_exits; i++)
        if (placed_has_cache(&x->placement->exit[i]))
            rc = open_matrix(&out->descriptor[i], x, x->placement->exit[i].name, e);
    if (!rc)
        rc = label_rows(out, e);
    if (rc)
        extracted_release(out);
    return rc;
}

void extracted_release(struct extracted *d)
{
    for (int i = 0; i < d->n_exits; i++)
        if (d->descriptor[i].data)
            matrix_close(&d->descriptor[i]);
    if (d->scores.data)
        matrix_close(&d->scores);
    free(d->label);
    free(d->float32);
    memset(d, 0, sizeof *d);
}

int extract_float32(struct extracted *d, const struct graph *g, const struct pipeline *p,
                    const struct dataset *data, int threads, struct progress *progress, struct error *e)
{
    struct judging j = {g, data, d->records, threads, d->classes, "judge in float32", progress};
    struct exec_options o = {.max_batch = g->free_batch ? 16 : 1, .last = -1};
    int rc = engine_parse_kernels(p->kernels, &o.kernels, e);

    if (rc || !strcmp(p->computes, engine_precision_name(PRECISION_FLOAT32)))
        return rc;
    d->float32 = malloc((size_t)d->records * sizeof *d->float32 + 1);
    return d->float32 ? judge(d->float32, &j, &o, e) : error_set(e, FL_NOMEM, "no memory for labels");
}
