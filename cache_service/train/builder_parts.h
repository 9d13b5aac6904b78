/* builder_parts.h - between builder.c and builder_learned.c */
#ifndef FREEZELINE_BUILDER_PARTS_H
#define FREEZELINE_BUILDER_PARTS_H

#include "builder.h"
#include "cache_service/index/cache_body.h"

struct exit_build {
    const struct builder_input *in;
    enum cache_kind kind;
    uint64_t projection_tag, cache_tag;
    struct projection *projection;
    struct cache *cache;
    char phase[96];
    double from, to; /* of the whole, the share that this phase takes */
};

/* WORK_DIR/EXIT.SUFFIX. FL_CONFIG when that is too long. */
int build_path(const struct exit_build *b, char *path, size_t size, const char *suffix, struct error *e);
/* The name of a phase that begins; phases follow one another until `to`, a share of the time that a cache of
 * this kind usually takes. */
const char *build_phase(struct exit_build *b, const char *what, double to);
/* From progress of a phase to that of the whole, in thousandths; `arg` is the struct exit_build. */
int build_progress(void *arg, const char *phase, int64_t done, int64_t total, double number);
/* Whose cache it is, and what it was made from. */
void build_name(const struct exit_build *b, struct cache *c, uint64_t tag);

/* The largest predictor within the budgets of memory and work: `m` with side 0 looks at no map. FL_CONFIG
 * when not even the smallest fits. */
int build_learned_size(const struct builder_input *in, struct map *m, int *nodes, struct error *e);
/* Teaches b->cache. */
int build_learned(struct exit_build *b, struct error *e);
/* Tells how a cache that is there already was taught. */
void build_recall_recipe(const struct exit_build *b);

#endif
