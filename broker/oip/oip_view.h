/* oip_view.h - the pipeline as its broker tells it, ordered for those who look
 *
 * The broker's process has no model: where exits stand, and how far they are, stage workers tell. Pure.
 */
#ifndef FREEZELINE_OIP_VIEW_H
#define FREEZELINE_OIP_VIEW_H

#include "config/pipeline.h"
#include "wire/message.h"

struct view {
    uint32_t layers; /* of the whole model; 0: not told */
    int n_exits;
    struct view_exit {
        char name[EXIT_NAME_BYTES];
        int stage;       /* where it stands; -1: not told */
        uint32_t layers; /* that have run up to there; 0: not told */
    } exit[PIPELINE_MAX_EXITS];
    struct caches_promise promise; /* of the caches that answer; !made: none */
    struct epoch_told told;        /* by the learner at work; EPOCH_NOT: there is none */
};

/* s NULL: nobody tells. */
void view_of(struct view *v, const struct pipeline *p, const struct status_reply *s);

/* "accuracy, at most 1 point lost, certainty 95%"; "" where nothing is promised. `less`: as an answer's
 * loss_promised. Returns buf. */
const char *view_promise(const struct view *v, uint32_t less, char *buf, size_t size);

#endif
