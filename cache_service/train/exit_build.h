/* exit_build.h - one exit's build: names of its files, how far it is, what it has made before */
#ifndef FREEZELINE_EXIT_BUILD_H
#define FREEZELINE_EXIT_BUILD_H

#include "builder.h"
#include "index/cache_body.h"

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
/* Says that the phase is `done` of `total`. FL_CANCELLED when it is to stop. */
int build_report(struct exit_build *b, int64_t done, int64_t total, struct error *e);
/* As many epochs as are asked for, or fewer where in->most_steps allows no more batches; 1 at least. */
int build_epochs(const struct builder_input *in, int epochs);
/* Whose cache it is, and what it was made from. */
void build_name(const struct exit_build *b, struct cache *c, uint64_t tag);
/* The cache at path, or NULL when there is none with that tag. */
struct cache *build_load(const struct exit_build *b, const char *path, uint64_t tag);

#endif
