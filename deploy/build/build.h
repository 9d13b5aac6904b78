/* build.h - what `freezeline build` works on, and its report */
#ifndef FREEZELINE_BUILD_H
#define FREEZELINE_BUILD_H

#include "cache_service/store/manifest.h"
#include "deploy/data/duplicates.h"
#include "kinds.h"
#include "deploy/tool/progress.h"
#include "deploy/model/pays.h"
#include "promised.h"

/* A finished cache, and how it does on the calibration set: what its threshold was chosen on, so a bound and
 * no forecast. */
struct built {
    struct cache_info info;
    double hit_share, agreement, label_agreement; /* agreement: of hits, label_agreement: of all */
};

struct build {
    struct pipeline *pipeline;
    struct graph *graph;
    struct placement place;
    struct dataset *train_data, *calibrate_data;
    struct duplicates duplicates; /* in them */
    struct extracted train, calibrate;
    int32_t
        *lesson; /* [rows of train]: what learned caches are taught to say; NULL: the model's own labels */
    int threads, batch;
    struct progress progress;
    bool compare, wanted[KINDS];                   /* --kinds */
    size_t budget;                                 /* of each exit */
    bool kept[PIPELINE_MAX_EXITS];                 /* exits that get all of the memory .. */
    bool again;                                    /* .. when they are made a second time */
    struct cache *made[KINDS][PIPELINE_MAX_EXITS]; /* candidates */
    struct evidence evidence[KINDS];               /* of them, where kinds are compared */
    struct kinds_contest contest;
    struct cache *cache[PIPELINE_MAX_EXITS]; /* the winners; NULL: none */
    struct promised promised;                /* of the winners: evidence; the rest for threshold: risk */
    struct manifest manifest;
    struct builder_recipe recipe[PIPELINE_MAX_EXITS]; /* of learned caches */
    struct built built[PIPELINE_MAX_EXITS];
};

/* Whether a cache of kind k is to be made for exit i. */
bool build_wants(const struct build *b, int i, int k);
/* Fills b->lesson once b->train is there. FL_NOMEM. */
int build_lesson(struct build *b, struct error *e);
/* Fills b->made from what was extracted, on all of b->threads. FL_CANCELLED, and whatever
 * builder_build says. */
int build_candidates(struct build *b, struct error *e);

/* Writes STATE/caches, the manifest last, then removes what older builds left there. */
int build_write(struct build *b, struct error *e);

/* Whether serving with these caches answers sooner than one process would, by what was measured here. `known`
 * is false where nothing was. FL_IO, FL_NOMEM: messages could not be measured. */
int build_pays(const struct build *b, struct pays *out, bool *known, struct error *e);

int build_print_json(const struct build *b, struct error *e);
int build_print_table(const struct build *b, struct error *e);

#endif
