/* build.c - `freezeline build`: every cache of a pipeline, from data */
#include "build.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/model/model_shape.h"
#include "deploy/extract/extract.h"
#include "plausibility.h"
#include "promise_record.h"
#include "deploy/tool/interrupt.h"
#include "stages/exec/exec.h"
#include "deploy/tool/state.h"

static const struct usage usage = {
    .command = "build",
    .summary = "Runs data through the model, builds the cache of every exit, chooses thresholds, writes the "
               "artifacts.",
    .notes =
        "--train makes the caches; --calibrate sets the thresholds, and should be data that the\n"
        "network was not trained on. The few pictures that are in both are left out of it; more than\n"
        "1% are refused. Caches learn the model's own answers. Labels are used by cache.threshold: risk\n"
        "alone, to promise accuracy: learned caches learn those of --train too, unless the model hardly\n"
        "ever agrees with them; those of --calibrate must be classes of the model. Ctrl-C stops; the same\n"
        "command goes on where it was. --kinds builds each of these kinds for every exit (but those whose\n"
        "kind the file names), judges them on the same calibration data, and\n"
        "keeps the one with which the pipeline is fastest.\n\n" DATASET_LAYOUTS "\n"
        "example:\n"
        "  freezeline build -c P.yaml --train cifar10:data_batch_1.bin --calibrate "
        "cifar10:data_batch_5.bin#5000-9999\n",
};

struct options {
    struct pipeline_arguments where;
    const char *train, *calibrate, *kinds;
    bool json, skip_broken;
};

static int on_progress(void *arg, const char *phase, int64_t done, int64_t total, double number)
{
    struct build *b = arg;
    progress_update(&b->progress, phase, done, total, number);
    return interrupt_seen();
}

static int extract_one(struct build *b, struct extracted *out, const struct dataset *data, const char *name,
                       int copies, struct error *e)
{
    char directory[STATE_PATH_BYTES], phase[64];
    struct extraction x = {b->pipeline, b->graph, &b->place,  data,
                           directory,   phase,    b->threads, b->graph->free_batch ? b->batch : 1,
                           on_progress, b,        copies};
    int rc = state_path(directory, b->pipeline, e, "build/%s", name);

    snprintf(phase, sizeof phase, "run %s", name);
    if (!rc)
        rc = state_make(directory, e);
    return rc ? rc : extract(out, &x, e);
}

/* --- winners --- */

static int evidence_path(char path[STATE_PATH_BYTES], const struct build *b, int k, struct error *e)
{
    return state_path(path, b->pipeline, e, "build/" PROMISED_EVIDENCE "-%s", kinds_name[k]);
}

/* What the candidates of one kind say about the calibration set; kept, for `eval --frontier`. */
static int gather_kind(struct build *b, int k, struct error *e)
{
    struct promising in = {b->pipeline, b->graph, &b->place, b->calibrate_data, &b->calibrate, b->made[k]};
    char path[STATE_PATH_BYTES];
    int column = 0, rc;

    if ((rc = evidence_path(path, b, k, e)) || (rc = promised_gather(&b->evidence[k], &in, false, e)))
        return rc;
    for (int i = 0; i < b->place.n_exits; i++) {
        struct kinds_entry *x = &b->contest.entry[i][k];
        if (!b->made[k][i])
            continue;
        x->evidence = &b->evidence[k];
        x->column = column++;
        x->threshold = cache_info(b->made[k][i]).threshold;
        x->bytes = cache_info(b->made[k][i]).total_bytes;
    }
    return column ? evidence_save(&b->evidence[k], path, e) : FL_OK;
}

static void take_winner(struct build *b, int i, int k)
{
    b->cache[i] = b->made[k][i];
    b->made[k][i] = NULL;
    snprintf(b->place.exit[i].kind, sizeof b->place.exit[i].kind, "%s", kinds_name[k]);
}

static int compare_kinds(struct build *b, struct error *e)
{
    int rc = FL_OK;

    b->contest.promised = b->pipeline->cache.rule == THRESHOLD_RISK;
    b->contest.terms = promised_terms(b->pipeline);
    b->contest.may_drop = b->pipeline->exits_auto;
    b->contest.n_exits = b->place.n_exits;
    for (int k = 0; !rc && k < KINDS; k++) {
        progress_update(&b->progress, "compare kinds", k, KINDS, NAN);
        rc = gather_kind(b, k, e);
    }
    if (!rc)
        rc = kinds_compare(&b->contest, e);
    if (!rc)
        rc = kinds_evidence(&b->promised.evidence, &b->contest, e);
    for (int i = 0; !rc && i < b->place.n_exits; i++)
        for (int k = 0; k < KINDS; k++)
            if (b->contest.entry[i][k].won)
                take_winner(b, i, k);
    return rc;
}

static int take_only(struct build *b, struct error *e)
{
    struct promising in = {b->pipeline, b->graph, &b->place, b->calibrate_data, &b->calibrate, b->cache};
    char path[STATE_PATH_BYTES];
    int rc = FL_OK;

    for (int k = 0; !rc && k < KINDS; k++) {
        for (int i = 0; i < b->place.n_exits; i++)
            if (b->made[k][i])
                take_winner(b, i, k);
        if (!(rc = evidence_path(path, b, k, e)))
            unlink(path); /* of caches that may be no more */
    }
    return rc ? rc : promised_gather(&b->promised.evidence, &in, false, e);
}

/* Thresholds of all exits together; exits that do not pay lose their cache. Without a promise caches have
 * theirs. */
static int set_thresholds(struct build *b, struct error *e)
{
    struct promising in = {b->pipeline, b->graph, &b->place, b->calibrate_data, &b->calibrate, b->cache};
    char path[STATE_PATH_BYTES];
    int rc;

    progress_update(&b->progress, "choose thresholds", 0, 1, NAN);
    if (b->pipeline->cache.rule == THRESHOLD_RISK)
        return promised_make(&b->promised, &in, e);
    rc = state_path(path, b->pipeline, e, "build/" PROMISED_EVIDENCE);
    return rc ? rc : evidence_save(&b->promised.evidence, path, e);
}

/* --- the whole --- */

/* M is divided evenly, first among all candidates. */
static int divide_budget(struct build *b, struct error *e)
{
    int n = 0;

    for (int i = 0; i < b->place.n_exits; i++)
        n += placed_has_cache(&b->place.exit[i]);
    if (!n)
        return error_set(e, FL_CONFIG, "%s: no exit has a cache (cache.kind is none, or there are no exits)",
                         b->pipeline->path);
    b->budget = (size_t)(b->pipeline->cache.memory_mb * 1e6 / n);
    return FL_OK;
}

/* Makes the caches of the exits that are kept once more, within b->budget, and asks all of them again. */
static int make_again(struct build *b, struct error *e)
{
    struct promising in = {b->pipeline, b->graph, &b->place, b->calibrate_data, &b->calibrate, b->cache};
    int rc;

    b->again = true;
    if ((rc = build_candidates(b, e)))
        return rc;
    for (int i = 0; i < b->place.n_exits; i++) {
        if (!b->kept[i])
            continue;
        cache_free(b->cache[i]);
        take_winner(b, i, kinds_index(b->place.exit[i].kind));
    }
    evidence_release(&b->promised.evidence);
    return promised_gather(&b->promised.evidence, &in, false, e);
}

/* M belongs to the exits that stand: those that the plan keeps are made again with all of it. Nothing but
 * planning points is looked at. */
static int divide_among_kept(struct build *b, struct error *e)
{
    struct promise_terms terms = promised_terms(b->pipeline);
    bool kept[PIPELINE_MAX_EXITS];
    int n = 0, exits = b->promised.evidence.n_exits, rc;

    if (!b->pipeline->exits_auto || b->pipeline->cache.rule != THRESHOLD_RISK)
        return FL_OK;
    if ((rc = promise_foresee(&b->promised.first, &b->promised.evidence, &terms, true, e)))
        return rc;
    memcpy(kept, b->promised.first.placed, sizeof kept);
    for (int i = 0, k = 0; i < b->place.n_exits; i++)
        if (b->cache[i])
            n += b->kept[i] = kept[k++];
    if (!n || n == exits)
        return FL_OK;
    b->budget = (size_t)(b->pipeline->cache.memory_mb * 1e6 / n);
    if ((rc = make_again(b, e)))
        return rc;
    for (int k = 0; k < exits; k++)
        b->promised.evidence.exit[k].ruled_out = !kept[k];
    return FL_OK;
}

/* Copies of each training record: none where nothing learns from them. */
static int copies(const struct build *b)
{
    for (int i = 0; i < b->place.n_exits; i++)
        if (build_wants(b, i, kinds_index("learned")))
            return b->pipeline->cache.augment;
    return 0;
}

/* Before the caches are built, which can take hours. */
static void warn_where_implausible(struct build *b)
{
    struct plausibility a = {0};

    for (int64_t i = 0; i < b->calibrate.records; i++)
        plausibility_add(&a, dataset_label(b->calibrate_data, i), b->calibrate.label[i]);
    progress_close(&b->progress);
    plausibility_warn(&a, b->pipeline, b->calibrate_data, stderr);
}

static int build_all(struct build *b, struct error *e)
{
    int rc = extract_one(b, &b->train, b->train_data, "train", copies(b), e);

    if (!rc)
        rc = extract_one(b, &b->calibrate, b->calibrate_data, "calibrate", 0, e);
    if (!rc)
        rc = extract_float32(&b->calibrate, b->graph, b->pipeline, b->calibrate_data, b->threads,
                             &b->progress, e);
    if (!rc)
        warn_where_implausible(b);
    if (!rc)
        rc = build_lesson(b, e);
    if (!rc)
        rc = build_candidates(b, e);
    if (!rc)
        rc = b->compare ? compare_kinds(b, e) : take_only(b, e);
    if (!rc)
        rc = divide_among_kept(b, e);
    if (!rc)
        rc = set_thresholds(b, e);
    progress_close(&b->progress);
    return rc ? rc : build_write(b, e);
}

/* Labels that are no classes of the model would make every answer look the same: wrong. */
static int open_data(struct build *b, const struct options *o, struct error *e)
{
    struct tensor input = value_shape(&b->graph->values[b->graph->inputs[0]], 1);
    struct dataset_options d = {.pipeline = b->pipeline,
                                .input = &input,
                                .skip_broken = o->skip_broken,
                                .progress = &b->progress,
                                .notes = stderr};
    int rc = model_classes(b->graph, &d.classes, e);

    if (rc || (rc = dataset_open(&b->train_data, o->train, &d, e)) ||
        (rc = dataset_open(&b->calibrate_data, o->calibrate, &d, e)))
        return rc;
    progress_close(&b->progress);
    return dataset_labels_fit(b->calibrate_data, d.classes, e);
}

/* A public data set may show a few pictures twice; more than that is a mistake. */
#define MOST_SHARED 0.01

/* Pictures that fitted the caches cannot judge them: takes them out of the calibration data. */
static int leave_out_shared(struct build *b, struct error *e)
{
    const struct duplicates *d = &b->duplicates;
    const struct dataset *calibrate = b->calibrate_data;
    char record[DATASET_RECORD_NAME], other[DATASET_RECORD_NAME];
    int64_t n = dataset_count(calibrate);

    dataset_record_name(calibrate, d->shared_with, record, sizeof record);
    dataset_record_name(b->train_data, d->shared_train, other, sizeof other);
    if ((double)d->shared > MOST_SHARED * (double)n)
        return error_set(
            e, FL_VALUE,
            "%lld of the %lld calibration records are training records too, the first is %s, the "
            "same as %s: what fitted the caches cannot judge them; give other records",
            (long long)d->shared, (long long)n, record, other);
    fprintf(stderr,
            "warning: %lld of the %lld calibration records are training records too (%s is the same as %s) "
            "and are left out\n",
            (long long)d->shared, (long long)n, record, other);
    return dataset_leave_out(b->calibrate_data, d->is_shared, e);
}

static void warn_of_repeats(const struct build *b)
{
    const struct duplicates *d = &b->duplicates;
    const struct dataset *calibrate = b->calibrate_data;
    char record[DATASET_RECORD_NAME], other[DATASET_RECORD_NAME];

    fprintf(stderr,
            "warning: only %lld of the %lld calibration records are different pictures (%s is the same as "
            "%s): thresholds are surer of themselves than they should be\n",
            (long long)d->distinct, (long long)(dataset_count(calibrate) - d->shared),
            dataset_record_name(calibrate, d->repeat, record, sizeof record),
            dataset_record_name(calibrate, d->repeated, other, sizeof other));
}

static int check_duplicates(struct build *b, struct error *e)
{
    const struct duplicates *d = &b->duplicates;
    int rc = duplicates_find(&b->duplicates, b->train_data, b->calibrate_data, e);

    if (!rc && d->distinct < dataset_count(b->calibrate_data) - d->shared)
        warn_of_repeats(b);
    if (!rc && d->shared)
        rc = leave_out_shared(b, e);
    if (!rc && b->pipeline->cache.rule == THRESHOLD_RISK)
        rc = promised_possible(b->pipeline, b->calibrate_data, d->distinct, e);
    return rc;
}

static int prepare(struct build *b, const struct options *o, int *lock, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc;

    if (!o->train || !o->calibrate)
        return error_set(e, FL_USAGE, "--train and --calibrate are both needed");
    b->compare = o->kinds != NULL;
    if (o->kinds && (rc = kinds_parse(b->wanted, o->kinds, e)))
        return rc;
    if ((rc = arguments_load(&b->pipeline, &o->where, e)) ||
        (rc = placement_load(&b->graph, b->pipeline, e)) ||
        (rc = placement_resolve(&b->place, b->graph, b->pipeline, e)) || (rc = divide_budget(b, e)) ||
        (rc = open_data(b, o, e)) || (rc = check_duplicates(b, e)))
        return rc;
    arguments_warn_of_units(b->pipeline);
    arguments_warn_of_precision(b->pipeline);
    promise_warn_of_updates(b->pipeline, usage.command);
    if ((rc = state_path(path, b->pipeline, e, "caches")) || (rc = state_make(path, e)) ||
        (rc = state_path(path, b->pipeline, e, "build")) || (rc = state_make(path, e)) ||
        (rc = state_path(path, b->pipeline, e, "build/lock")))
        return rc;
    return state_lock(lock, path, "building caches", e);
}

static void release(struct build *b)
{
    promised_release(&b->promised);
    for (int k = 0; k < KINDS; k++) {
        evidence_release(&b->evidence[k]);
        for (int i = 0; i < b->place.n_exits; i++)
            cache_free(b->made[k][i]);
    }
    for (int i = 0; i < b->place.n_exits; i++)
        cache_free(b->cache[i]);
    free(b->lesson);
    extracted_release(&b->train);
    extracted_release(&b->calibrate);
    duplicates_release(&b->duplicates);
    dataset_close(b->train_data);
    dataset_close(b->calibrate_data);
    graph_free(b->graph);
    pipeline_free(b->pipeline);
    free(b);
}

int command_build(int argc, char **argv, struct error *e)
{
    struct build *b = calloc(1, sizeof *b);
    struct options o = {0};
    int rc, lock = -1;

    if (!b)
        return error_set(e, FL_NOMEM, "no memory");
    b->threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    b->batch = 32;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(o.where),
        OPTION_TEXT("train", o.train, "D", "data that the caches are made of"),
        OPTION_TEXT("calibrate", o.calibrate, "D", "data that the thresholds are set on"),
        ARGUMENTS_SKIP_BAD(o.skip_broken),
        OPTION_TEXT("kinds", o.kinds, "all|KIND,...", "build all of these for every exit, keep the best"),
        OPTION_INT("threads", b->threads, "N", "threads (all)", 1, 256),
        OPTION_INT("batch", b->batch, "B", "records run at once (32)", 1, 1024),
        ARGUMENTS_JSON(o.json),
        {0},
    };
    rc = arguments_parse(&usage, table, argc, argv, NULL, e);
    interrupt_catch();
    progress_open(&b->progress, stderr);
    if (!rc && !(rc = prepare(b, &o, &lock, e))) {
        rc = build_all(b, e);
        if (!rc)
            rc = o.json ? build_print_json(b, e) : build_print_table(b, e);
    }
    if (lock >= 0)
        close(lock);
    release(b);
    return rc;
}
