/* learning_lab.c - caches that learn from traffic, without processes: what is answered early, what is lost,
 * when
 *
 * usage: learning_lab -c P.yaml --work DIR --requests N [options]
 *
 * The pipeline's network answers drawn pictures (or those of a CIFAR-10 file) once; descriptors are kept in
 * DIR. Then the traffic is played through the learner's brain, its teaching and look-ups. Prints a line per
 * window of requests, events behind '#', and a summary. tests/bench/learning.sh compares with builds on the
 * same requests.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache_service/store/snapshot.h"
#include "deploy/build/blank_manifest.h"
#include "deploy/build/promised.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/state.h"
#include "lab_traffic.h"
#include "lab_world.h"

struct options {
    struct pipeline_arguments where;
    const char *work, *from, *corrupt, *start;
    int requests, skip, seed, window, at, slow, back, few;
    double strength, rate, speed, audit, audit_most, sample, feedback;
};

struct parts {
    struct pipeline *pipeline;
    struct graph *graph;
    struct placement place;
    struct dataset *data;
    struct extracted traffic;
    struct manifest manifest;
    struct cache *built[PIPELINE_MAX_EXITS];
    struct textbook book;
    bool has_book;
    int32_t *truth;
};

static const struct usage usage = {.command = "learning_lab",
                                   .summary = "Plays traffic through the learner."};

static int make_traffic(struct parts *p, const struct options *o, struct error *e)
{
    static const char *const name[] = {"clean", "noise", "dark", "blur"};
    struct lab_change c = {LAB_CLEAN, o->strength, o->at, o->slow, o->back, o->few};
    struct tensor input;
    char path[STATE_PATH_BYTES + 16], spec[STATE_PATH_BYTES + 32], directory[STATE_PATH_BYTES];
    struct dataset_options d = {.pipeline = p->pipeline, .input = &input};
    struct extraction x = {.pipeline = p->pipeline,
                           .graph = p->graph,
                           .placement = &p->place,
                           .phase = "run",
                           .directory = directory,
                           .threads = 2,
                           .batch = 16};
    int rc;
    for (int i = 0; o->corrupt != NULL && i < 4; i++)
        c.corruption = strcmp(o->corrupt, name[i]) == 0 ? (enum lab_corruption)i : c.corruption;
    snprintf(directory, sizeof directory, "%s/%s-%g-%d-%d-%d-%d-%d-%d", o->work, name[c.corruption],
             o->strength, o->at, o->slow, o->back, o->few, o->seed, o->requests);
    snprintf(path, sizeof path, "%s/traffic.bin", directory);
    snprintf(spec, sizeof spec, "cifar10:%s", path);
    if ((rc = state_make(directory, e)) != FL_OK ||
        (rc = lab_traffic(path, o->from, (uint64_t)o->seed, o->requests, &c, e)) != FL_OK)
        return rc;
    input = value_shape(&p->graph->values[p->graph->inputs[0]], 1);
    if ((rc = dataset_open(&p->data, spec, &d, e)) != FL_OK)
        return rc;
    x.data = p->data;
    if ((rc = extract(&p->traffic, &x, e)) != FL_OK)
        return rc;
    p->truth = malloc(sizeof *p->truth * (size_t)p->traffic.rows);
    for (int64_t i = 0; i < p->traffic.rows && p->truth != NULL; i++)
        p->truth[i] = dataset_label(p->data, i);
    return p->truth != NULL ? FL_OK : error_set(e, FL_NOMEM, "no memory");
}

/* What a build made, with its times; without one, a blank manifest. */
static int load_start(struct parts *p, const struct options *o, struct error *e)
{
    char path[STATE_PATH_BYTES], dir[STATE_PATH_BYTES];
    double share = p->pipeline->cache.memory_mb * 1e6;
    int n = 0, rc = blank_manifest(&p->manifest, p->graph, &p->place, p->pipeline, e);
    for (int k = 0; k < p->manifest.n_exits; k++)
        n += p->manifest.exit[k].dim > 0;
    for (int k = 0; k < p->manifest.n_exits; k++)
        p->manifest.exit[k].budget_bytes = (uint64_t)(share / n);
    p->manifest.promised = true;
    if (rc != FL_OK || strcmp(o->start, "cold") == 0)
        return rc;
    if ((rc = state_path(path, p->pipeline, e, "caches/manifest.json")) != FL_OK ||
        (rc = state_path(dir, p->pipeline, e, "caches")) != FL_OK ||
        (rc = manifest_load(&p->manifest, path, e)) != FL_OK)
        return rc;
    for (int k = 0; k < p->manifest.n_exits && rc == FL_OK; k++) {
        if (p->manifest.exit[k].file[0] != 0)
            rc = snapshot_load_cache(&p->built[k], &p->manifest, k, dir, e);
    }
    p->has_book = rc == FL_OK && textbook_open(&p->book, &p->manifest, p->pipeline->state);
    return rc;
}

static double percent(int64_t part, int64_t of)
{
    return of > 0 ? 100 * (double)part / (double)of : 0;
}

static void print_result(const struct lab_result *r, const struct lab_setup *s)
{
    const struct lab_window *a = &r->all;
    printf("\nearly %.2f%%, by half %.2f%%, lost %.3f points, differ %.3f%%, worst window %.3f points, "
           "budget %.3f\n"
           "audits %lld of %lld (%.1f%%), candidates %d, commits %d, alarms %d, teaching %.1f s CPU\n",
           percent(a->early, a->n), percent(a->by_half, a->n), percent(a->lost - a->won, a->n),
           percent(a->differ, a->n), 100 * r->worst, 100 * s->terms.budget, (long long)a->audits,
           (long long)a->n, percent(a->audits, a->n), r->candidates, r->commits, r->alarms, r->teaching_s);
}

static int play(struct parts *p, const struct options *o, struct error *e)
{
    struct lab_setup s = {.pipeline = p->pipeline,
                          .manifest = &p->manifest,
                          .built = strcmp(o->start, "cold") == 0 ? NULL : p->built,
                          .book = p->has_book ? &p->book : NULL,
                          .traffic = &p->traffic,
                          .truth = p->truth,
                          .feedback = o->feedback,
                          .work = o->work,
                          .terms = promised_terms(p->pipeline),
                          .rate = o->rate,
                          .speed = o->speed,
                          .audit = o->audit,
                          .audit_most = o->audit_most,
                          .sample = o->sample,
                          .skip = o->skip,
                          .window = o->window,
                          .lines = stdout};
    struct lab_result r;
    int rc = lab_play(&r, &s, e);
    if (rc == FL_OK)
        print_result(&r, &s);
    free(r.window);
    return rc;
}

static int run(const struct options *o, struct error *e)
{
    struct parts *p = calloc(1, sizeof *p);
    int rc = p != NULL ? arguments_load(&p->pipeline, &o->where, e) : FL_NOMEM;
    if (rc == FL_OK)
        rc = state_make(o->work, e);
    if (rc == FL_OK)
        rc = placement_load(&p->graph, p->pipeline, e);
    if (rc == FL_OK)
        rc = placement_resolve(&p->place, p->graph, p->pipeline, e);
    if (rc == FL_OK)
        rc = make_traffic(p, o, e);
    if (rc == FL_OK)
        rc = load_start(p, o, e);
    if (rc == FL_OK)
        rc = play(p, o, e);
    return rc;
}

int main(int argc, char **argv)
{
    struct options o = {.start = "cold",
                        .requests = 20000,
                        .seed = 11,
                        .window = 2000,
                        .strength = 2,
                        .rate = 300,
                        .speed = 1,
                        .audit = 0.02,
                        .audit_most = 0.25,
                        .sample = 0.1};
    struct error e = {0};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(o.where),
        OPTION_TEXT("work", o.work, "DIR", "keeps descriptors"),
        OPTION_TEXT("from", o.from, "FILE", "a CIFAR-10 file instead of drawn pictures"),
        OPTION_TEXT("start", o.start, "HOW", "cold | build: the caches in STATE"),
        OPTION_TEXT("corrupt", o.corrupt, "HOW", "noise | dark | blur"),
        OPTION_NUMBER("strength", o.strength, "X", "of it", 0, 10),
        OPTION_INT("at", o.at, "N", "it begins there", 0, 1e9),
        OPTION_INT("slow", o.slow, "N", "over so many requests", 0, 1e9),
        OPTION_INT("back", o.back, "N", "it ends there", 0, 1e9),
        OPTION_INT("few", o.few, "N", "until there, half of the classes", 0, 1e9),
        OPTION_INT("requests", o.requests, "N", "in all", 1, 1e9),
        OPTION_INT("skip", o.skip, "N", "of them are left out: a build learned from them, say", 0, 1e9),
        OPTION_INT("seed", o.seed, "N", "of drawn pictures", 0, 1e9),
        OPTION_INT("window", o.window, "N", "requests of a line", 1, 1e9),
        OPTION_NUMBER("rate", o.rate, "X", "requests a second", 1, 1e6),
        OPTION_NUMBER("speed", o.speed, "X", "CPU seconds for teaching each second; 0: no time", 0, 100),
        OPTION_NUMBER("audit", o.audit, "X", "updates.audit", 0, 1),
        OPTION_NUMBER("audit-most", o.audit_most, "X", "updates.audit_most", 0, 1),
        OPTION_NUMBER("sample", o.sample, "X", "updates.sample", 0, 1),
        OPTION_NUMBER("feedback", o.feedback, "X", "share of audits whose truth comes", 0, 1),
        {ARGUMENT_END, NULL, 0, NULL, NULL, NULL, 0, 0},
    };
    int rc;
    setvbuf(stdout, NULL, _IOLBF, 0);
    rc = arguments_parse(&usage, table, argc, argv, NULL, &e);
    if (rc == FL_OK && o.work == NULL)
        rc = error_set(&e, FL_USAGE, "--work is missing");
    if (rc == FL_OK)
        rc = run(&o, &e);
    if (rc > 0)
        fprintf(stderr, "learning_lab: %s\n", e.text);
    return rc > 0 ? error_exit_status(rc) : 0;
}
