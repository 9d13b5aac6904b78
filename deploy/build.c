/* build.c - `freezeline build`: every cache of a pipeline, from data */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"
#include "cache_service/manifest.h"
#include "command.h"
#include "extract.h"
#include "interrupt.h"
#include "progress.h"
#include "promised.h"
#include "report.h"
#include "stages/exec.h"
#include "state.h"
#include "table.h"

static const struct usage usage = {
    "build",
    "",
    "Runs data through the model, builds the cache of every exit, chooses thresholds, writes the artifacts.",
    "--train makes the caches; --calibrate sets the thresholds, and should be data that the network was not "
    "trained on.\n"
    "Data are cifar10:FILE[,FILE...] or npy:IMAGES.npy,LABELS.npy, with #from-to for a range. Caches learn "
    "the model's own\n"
    "answers; labels in the data are used by cache.threshold: risk alone, to promise accuracy. Ctrl-C stops; "
    "the same command goes\n"
    "on where it was.\n\n"
    "example:\n"
    "  freezeline build -c P.yaml --train cifar10:data_batch_1.bin --calibrate "
    "cifar10:data_batch_5.bin#5000-9999\n",
    0,
    0};

struct build {
    struct pipeline_arguments where;
    const char *train_spec, *calibrate_spec;
    int threads, batch;
    bool json;
    struct pipeline *pipeline;
    struct graph *graph;
    struct placement place;
    struct dataset *train_data, *calibrate_data;
    struct extracted train, calibrate;
    struct progress progress;
    size_t budget; /* of each exit */
    struct cache *cache[PIPELINE_MAX_EXITS];
    struct promised promised; /* for threshold: risk */
    struct manifest manifest;
    struct built {
        struct cache_info info;
        double hit_share, agreement,
            label_agreement; /* on the calibration set; agreement: of hits, label_agreement: of all */
    } built[PIPELINE_MAX_EXITS];
};

static int on_progress(void *arg, const char *phase, int64_t done, int64_t total, double number)
{
    struct build *b = arg;
    progress_update(&b->progress, phase, done, total, number);
    return interrupt_seen();
}

static bool has_cache(const struct placed_exit *exit)
{
    return strcmp(exit->kind, "none") != 0;
}

static int extract_one(struct build *b, struct extracted *out, const struct dataset *data, const char *name,
                       struct error *e)
{
    char directory[STATE_PATH_BYTES], phase[64];
    struct extraction x = {b->pipeline, b->graph, &b->place,  data,
                           directory,   phase,    b->threads, b->graph->free_batch ? b->batch : 1,
                           on_progress, b};
    int rc = state_path(directory, b->pipeline, e, "build/%s", name);

    snprintf(phase, sizeof phase, "run %s", name);
    if (!rc)
        rc = state_make(directory, e);
    return rc ? rc : extract(out, &x, e);
}

/* How the finished cache does on the calibration set: what its threshold was chosen on, so a bound and no
 * forecast. */
static int measure(struct build *b, int i, const struct cache *cache, struct error *e)
{
    const struct matrix_file *m = &b->calibrate.descriptor[i];
    struct cache_verdict verdict[64];
    struct cache_scratch *scratch;
    int64_t hits = 0, agree = 0, same = 0;

    if (cache_scratch_new(&scratch, 64))
        return error_set(e, FL_NOMEM, "no memory for look-ups");
    for (int64_t at = 0; at < b->calibrate.rows; at += 64) {
        int n = b->calibrate.rows - at < 64 ? (int)(b->calibrate.rows - at) : 64;
        int rc = cache_lookup(cache, scratch, m->data + at * m->dim, n, verdict);
        if (rc) {
            cache_scratch_free(scratch);
            return error_set(e, (enum fl_code)rc, "a look-up failed");
        }
        for (int k = 0; k < n; k++) {
            bool right = verdict[k].label == b->calibrate.label[at + k];
            hits += verdict[k].hit;
            agree += verdict[k].hit && right;
            same += right;
        }
    }
    cache_scratch_free(scratch);
    b->built[i].info = cache_info(cache);
    b->built[i].hit_share = (double)hits / (double)b->calibrate.rows;
    b->built[i].agreement = hits ? (double)agree / (double)hits : NAN;
    b->built[i].label_agreement = (double)same / (double)b->calibrate.rows;
    return FL_OK;
}

static int build_exit(struct build *b, int i, struct error *e)
{
    const struct placed_exit *exit = &b->place.exit[i];
    char work[STATE_PATH_BYTES];
    struct builder_input in = {
        .exit_name = exit->name,
        .kind = exit->kind,
        .classes = b->train.classes,
        .train = &b->train.descriptor[i],
        .train_labels = b->train.label,
        .train_scores = &b->train.scores,
        .calibrate = &b->calibrate.descriptor[i],
        .calibrate_labels = b->calibrate.label,
        .config = &b->pipeline->cache,
        .budget_bytes = b->budget,
        .work_dir = work,
        .progress = on_progress,
        .progress_arg = b,
    };
    int rc;

    memcpy(in.model, b->graph->digest, sizeof in.model);
    if ((rc = state_path(work, b->pipeline, e, "build/exits/%s", exit->name)) || (rc = state_make(work, e)))
        return rc;
    if ((rc = builder_build(&b->cache[i], &in, e)))
        return error_wrap(e, (enum fl_code)rc, "exit %s", exit->name);
    return FL_OK;
}

/* Thresholds of all exits together; exits that do not pay lose their cache. */
static int keep_promise(struct build *b, struct error *e)
{
    struct promising in = {b->pipeline, b->graph, &b->place, b->calibrate_data, &b->calibrate, b->cache};

    progress_update(&b->progress, "choose thresholds", 0, 1, NAN);
    return promised_make(&b->promised, &in, e);
}

static int write_cache(struct build *b, int i, struct error *e)
{
    char file[STATE_PATH_BYTES];
    int rc = state_path(file, b->pipeline, e, "caches/%s.cache", b->place.exit[i].name);

    if (!rc)
        rc = measure(b, i, b->cache[i], e);
    return rc ? rc : cache_save(b->cache[i], file, e);
}

static int write_manifest(struct build *b, struct error *e)
{
    struct manifest *m = &b->manifest;
    char path[STATE_PATH_BYTES];
    struct timespec now;
    int rc = state_path(path, b->pipeline, e, "caches/manifest.json");

    clock_gettime(CLOCK_REALTIME, &now);
    memcpy(m->model, b->graph->digest, sizeof m->model);
    m->built_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    m->n_exits = b->place.n_exits;
    m->promised = b->pipeline->cache.rule == THRESHOLD_RISK;
    for (int i = 0; i < b->place.n_exits; i++) {
        const struct placed_exit *exit = &b->place.exit[i];
        struct manifest_exit *to = &m->exit[i];
        snprintf(to->name, sizeof to->name, "%s", exit->name);
        snprintf(to->kind, sizeof to->kind, "%s", b->cache[i] ? exit->kind : "none");
        if (b->cache[i])
            snprintf(to->file, sizeof to->file, "%s.cache", exit->name);
        to->budget_bytes = b->budget;
    }
    return rc ? rc : manifest_save(m, path, e);
}

/* M is divided evenly among the exits that have a cache. */
static int divide_budget(struct build *b, struct error *e)
{
    int n = 0;

    for (int i = 0; i < b->place.n_exits; i++)
        n += has_cache(&b->place.exit[i]);
    if (!n)
        return error_set(e, FL_CONFIG, "%s: no exit has a cache (cache.kind is none, or there are no exits)",
                         b->pipeline->path);
    b->budget = (size_t)(b->pipeline->cache.memory_mb * 1e6 / n);
    return FL_OK;
}

static int build_all(struct build *b, struct error *e)
{
    int rc = extract_one(b, &b->train, b->train_data, "train", e);

    if (!rc)
        rc = extract_one(b, &b->calibrate, b->calibrate_data, "calibrate", e);
    for (int i = 0; !rc && i < b->place.n_exits; i++)
        if (has_cache(&b->place.exit[i]))
            rc = build_exit(b, i, e);
    if (!rc && b->pipeline->cache.rule == THRESHOLD_RISK)
        rc = keep_promise(b, e);
    for (int i = 0; !rc && i < b->place.n_exits; i++)
        if (b->cache[i])
            rc = write_cache(b, i, e);
    progress_close(&b->progress);
    return rc ? rc : write_manifest(b, e);
}

static int print_json(const struct build *b, struct error *e)
{
    json_t *exits = json_array(), *root;
    size_t total = 0;

    for (int i = 0; i < b->place.n_exits; i++) {
        const struct built *o = &b->built[i];
        if (!b->cache[i])
            continue;
        total += o->info.total_bytes;
        json_array_append_new(
            exits,
            json_pack("{s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "name",
                      b->place.exit[i].name, "kind", o->info.kind, "dim", o->info.dim, "nodes", o->info.nodes,
                      "entries", (json_int_t)o->info.entries, "projection_bytes",
                      (json_int_t)o->info.projection_bytes, "index_bytes", (json_int_t)o->info.index_bytes,
                      "bytes", (json_int_t)o->info.total_bytes, "threshold", report_number(o->info.threshold),
                      "calibration_hit_share", report_rounded(o->hit_share, 6), "calibration_agreement",
                      report_rounded(o->agreement, 6), "calibration_label_agreement",
                      report_rounded(o->label_agreement, 6)));
    }
    root = json_pack("{s:s, s:I, s:I, s:I, s:o}", "model", b->pipeline->model, "train",
                     (json_int_t)b->train.rows, "calibrate", (json_int_t)b->calibrate.rows, "cache_bytes",
                     (json_int_t)total, "exits", exits);
    if (root && b->pipeline->cache.rule == THRESHOLD_RISK)
        json_object_set_new(root, "promise", promised_json(&b->promised));
    if (root)
        report_engine(root, b->threads);
    return report_print(root, e);
}

static void table_exit(struct table *t, const struct placed_exit *exit, const struct built *o)
{
    char text[32];

    table_cell(t, "%s", exit->name);
    table_cell(t, "%s", o->info.kind);
    table_cell(t, "%d", o->info.dim);
    table_cell(t, "%lld", (long long)o->info.entries);
    table_cell(t, "%s", table_bytes((double)o->info.projection_bytes, text, sizeof text));
    table_cell(t, "%s", table_bytes((double)o->info.index_bytes, text, sizeof text));
    table_cell(t, "%.4g", o->info.threshold);
    table_cell(t, "%.1f%%", 100 * o->label_agreement);
    table_cell(t, "%.1f%%", 100 * o->hit_share);
    if (isnan(o->agreement))
        table_cell(t, "%s", "-");
    else
        table_cell(t, "%.2f%%", 100 * o->agreement);
}

static int print_table(const struct build *b, struct error *e)
{
    struct table *t;
    int rc;

    if (table_new(&t, "exit|kind|dim|entries|projection|index|threshold|labels agree|hits|hits agree",
                  "llrrrrrrrr"))
        return error_set(e, FL_NOMEM, "no memory for a table");
    for (int i = 0; i < b->place.n_exits; i++)
        if (b->cache[i])
            table_exit(t, &b->place.exit[i], &b->built[i]);
    rc = table_print(t, stdout, 0, e);
    table_free(t);
    printf(
        "\nbuilt from %lld records; thresholds (and the last three columns) from %lld others; in %s/caches\n",
        (long long)b->train.rows, (long long)b->calibrate.rows, b->pipeline->state);
    if (!rc && b->pipeline->cache.rule == THRESHOLD_RISK)
        rc = promised_print(&b->promised, e);
    return rc;
}

static int prepare(struct build *b, int *lock, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc;

    if (!b->train_spec || !b->calibrate_spec)
        return error_set(e, FL_USAGE, "--train and --calibrate are both needed");
    if ((rc = arguments_load(&b->pipeline, &b->where, e)) ||
        (rc = dataset_open(&b->train_data, b->train_spec, e)) ||
        (rc = dataset_open(&b->calibrate_data, b->calibrate_spec, e)) ||
        (rc = graph_load(&b->graph, b->pipeline->model, NULL, e)) ||
        (rc = placement_resolve(&b->place, b->graph, b->pipeline, e)) || (rc = divide_budget(b, e)))
        return rc;
    if (b->pipeline->cache.rule == THRESHOLD_RISK &&
        (rc = promised_possible(b->pipeline, b->calibrate_data, e)))
        return rc;
    if ((rc = state_path(path, b->pipeline, e, "caches")) || (rc = state_make(path, e)) ||
        (rc = state_path(path, b->pipeline, e, "build")) || (rc = state_make(path, e)) ||
        (rc = state_path(path, b->pipeline, e, "build/lock")))
        return rc;
    return state_lock(lock, path, "building caches", e);
}

static void release(struct build *b)
{
    promised_release(&b->promised);
    for (int i = 0; i < b->place.n_exits; i++)
        cache_free(b->cache[i]);
    extracted_release(&b->train);
    extracted_release(&b->calibrate);
    dataset_close(b->train_data);
    dataset_close(b->calibrate_data);
    graph_free(b->graph);
    pipeline_free(b->pipeline);
    free(b);
}

int command_build(int argc, char **argv, struct error *e)
{
    struct build *b = calloc(1, sizeof *b);
    struct argument_list operands;
    bool helped;
    int rc, lock = -1;

    if (!b)
        return error_set(e, FL_NOMEM, "no memory");
    b->threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    b->batch = 32;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(b->where),
        {ARGUMENT_TEXT, "train", 0, &b->train_spec, "D", "data that the caches are made of", 0, 0},
        {ARGUMENT_TEXT, "calibrate", 0, &b->calibrate_spec, "D", "data that the thresholds are set on", 0, 0},
        {ARGUMENT_INT, "threads", 0, &b->threads, "N", "threads (all)", 1, 256},
        {ARGUMENT_INT, "batch", 0, &b->batch, "B", "records run at once (32)", 1, 1024},
        {ARGUMENT_FLAG, "json", 0, &b->json, NULL, "machine-readable output", 0, 0},
        {0},
    };
    rc = arguments_parse(&usage, table, argc, argv, &operands, &helped, e);
    if (!rc && !helped && !(rc = prepare(b, &lock, e))) {
        interrupt_catch();
        progress_open(&b->progress, stderr);
        rc = build_all(b, e);
        if (!rc)
            rc = b->json ? print_json(b, e) : print_table(b, e);
    }
    if (lock >= 0)
        close(lock);
    release(b);
    return rc;
}
