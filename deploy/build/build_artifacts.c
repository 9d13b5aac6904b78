/* build_artifacts.c - what a build leaves in STATE/caches: caches, evidence of a promise, and the manifest
 *
 * Files are named after the build and the manifest comes last: whenever this ends early, the files of the
 * build before are all there and are those that count.
 */
#include "build.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blank_manifest.h"
#include "deploy/tool/state.h"

/* Exit i's evidence, or as many as there are. */
static int evidence_of(const struct build *b, int i)
{
    const struct evidence *ev = &b->promised.evidence;
    int k = 0;

    while (k < ev->n_exits && strcmp(ev->exit[k].name, b->place.exit[i].name))
        k++;
    return k;
}

static void measure(struct build *b, int i)
{
    const struct evidence *ev = &b->promised.evidence;
    struct built *out = &b->built[i];
    int64_t hits = 0, agree = 0, same = 0;
    int k = evidence_of(b, i);

    out->info = cache_info(b->cache[i]);
    for (int64_t p = 0; k < ev->n_exits && p < ev->points; p++) {
        const struct evidence_exit *x = &ev->exit[k];
        bool hit = x->label[p] >= 0 && x->confidence[p] > out->info.threshold;
        hits += hit;
        agree += hit && x->label[p] == ev->full[p];
        same += x->label[p] == ev->full[p];
    }
    out->hit_share = (double)hits / (double)ev->points;
    out->agreement = hits ? (double)agree / (double)hits : NAN;
    out->label_agreement = (double)same / (double)ev->points;
}

static double share_that_differs(const struct promise_result *r)
{
    int64_t differ = 0;
    for (int k = 0; k < PIPELINE_MAX_EXITS; k++)
        differ += r->exit[k].answered - r->exit[k].agreed;
    return r->points ? (double)differ / (double)r->points : 0;
}

static void describe_promise(struct build *b)
{
    const struct promise_choice *c = &b->promised.choice;

    b->manifest.promised = true;
    b->manifest.promise = (struct manifest_promise){
        .terms = b->promised.terms,
        .live = promise_left_by_precision(&b->promised.evidence, &b->promised.terms),
        .planning_points = c->planned_on,
        .certifying_points = c->certified.points,
        .loss = c->certified.loss,
        .upper = c->upper,
        .differ = share_that_differs(&c->certified),
        .n_levels = c->n_levels};
    for (int i = 0; i < c->n_levels; i++) {
        const struct promise_level *l = &c->level[i];
        b->manifest.promise.level[i] = (struct manifest_level){
            promise_level(i) * b->promised.terms.budget, l->certified.loss, l->upper, l->certified.share};
    }
}

/* A name of its own, and whose place it takes: no clock says so. */
static int begin(struct build *b, const char *path, struct error *e)
{
    struct manifest *before = malloc(sizeof *before);
    struct timespec now;
    int rc;

    if (!before)
        return error_set(e, FL_NOMEM, "no memory");
    rc = manifest_begin_build(&b->manifest, manifest_load(before, path, NULL) ? NULL : before, e);
    free(before);
    clock_gettime(CLOCK_REALTIME, &now);
    b->manifest.built_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    return rc;
}

static int describe(struct build *b, struct error *e)
{
    const struct evidence *ev = &b->promised.evidence;
    struct manifest *m = &b->manifest;
    char build[MANIFEST_BUILD_BYTES];
    int rc = blank_manifest(m, b->graph, &b->place, b->pipeline, e);

    m->compared = b->compare;
    if (b->pipeline->cache.rule == THRESHOLD_RISK)
        describe_promise(b);
    for (int i = 0; i < m->n_exits; i++) {
        struct manifest_exit *to = &m->exit[i];
        int k = evidence_of(b, i);
        if (b->cache[i])
            snprintf(to->file, sizeof to->file, "%s-%s.cache", to->name,
                     manifest_build_text(m->build, build));
        to->budget_bytes = b->budget;
        if (k < ev->n_exits) {
            to->before = ev->exit[k].before;
            to->lookup = ev->exit[k].lookup;
        }
    }
    return rc;
}

static int write_caches(struct build *b, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc = FL_OK;

    for (int i = 0; !rc && i < b->place.n_exits; i++) {
        struct manifest_exit *to = &b->manifest.exit[i];
        if (!b->cache[i])
            continue;
        measure(b, i);
        rc = state_path(path, b->pipeline, e, "caches/%s", to->file);
        if (!rc)
            rc = cache_save(b->cache[i], path, &to->digest, e);
    }
    return rc;
}

/* What a promise rests on stays with the caches that it is about: the next build may end early. */
static int write_evidence(struct build *b, struct error *e)
{
    char path[STATE_PATH_BYTES], build[MANIFEST_BUILD_BYTES];
    int rc;

    if (!b->manifest.promised)
        return FL_OK;
    if ((rc = evidence_digest(&b->promised.evidence, &b->manifest.promise.evidence)))
        return error_set(e, (enum fl_code)rc, "no memory for the evidence");
    rc = state_path(path, b->pipeline, e, "caches/" MANIFEST_EVIDENCE,
                    manifest_build_text(b->manifest.build, build));
    return rc ? rc : evidence_save(&b->promised.evidence, path, e);
}

/* A build's, of whatever version and however far it came; those of services are named live-*. */
static bool of_a_build(const char *file)
{
    return strncmp(file, "live-", 5) && (strstr(file, ".cache") || !strncmp(file, "evidence-", 9));
}

static bool counts(const struct manifest *m, const char *file)
{
    char evidence[64], build[MANIFEST_BUILD_BYTES];

    snprintf(evidence, sizeof evidence, MANIFEST_EVIDENCE, manifest_build_text(m->build, build));
    if (m->promised && !strcmp(file, evidence))
        return true;
    for (int i = 0; i < m->n_exits; i++)
        if (!strcmp(file, m->exit[i].file))
            return true;
    return false;
}

static void remove_older(const struct build *b)
{
    char path[STATE_PATH_BYTES];
    DIR *d = state_path(path, b->pipeline, NULL, "caches") ? NULL : opendir(path);
    struct dirent *entry;

    while (d && (entry = readdir(d)))
        if (of_a_build(entry->d_name) && !counts(&b->manifest, entry->d_name) &&
            !state_path(path, b->pipeline, NULL, "caches/%s", entry->d_name))
            unlink(path);
    if (d)
        closedir(d);
}

int build_write(struct build *b, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc = state_path(path, b->pipeline, e, "caches/manifest.json");

    if (rc || (rc = begin(b, path, e)))
        return rc;
    if ((rc = describe(b, e)) || (rc = write_caches(b, e)) || (rc = write_evidence(b, e)) ||
        (rc = manifest_save(&b->manifest, path, e)))
        return rc;
    remove_older(b);
    return FL_OK;
}
