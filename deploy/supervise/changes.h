/* changes.h - what differs between the pipeline file that serves and another, and what taking it means
 *
 * Each key of the table has processes that read it; those are restarted. Some keys cannot change while the
 * pipeline is up, since processes that stay would no longer find one another. Pure.
 */
#ifndef FREEZELINE_CHANGES_H
#define FREEZELINE_CHANGES_H

#include "config/pipeline.h"
#include "deploy/process/roles.h"

enum change_effect {
    CHANGE_STOPS = 1,    /* takes `down` and `up` */
    CHANGE_TOGETHER = 2, /* all stage workers at once: the plan becomes another */
    CHANGE_NUMBER = 4,   /* processes start or end */
    CHANGE_STAGES = 8,   /* these start again, one after another */
    CHANGE_CACHES = 16,
    CHANGE_LEARNER = 32,
    CHANGE_BROKER = 64,
    CHANGE_REDIS = 128,
    CHANGE_BUILD = 256, /* `freezeline build` reads it */
    CHANGE_ALL = CHANGE_STAGES | CHANGE_CACHES | CHANGE_LEARNER | CHANGE_BROKER | CHANGE_REDIS,
};

struct change {
    char key[64], from[64], to[64]; /* values are cut */
    unsigned effect;
};

#define CHANGES_MOST 64
struct changes {
    int n;
    bool more; /* than there is room for */
    struct change item[CHANGES_MOST];
    unsigned effect; /* of all */
};

void changes_find(struct changes *out, const struct pipeline *now, const struct pipeline *next);
/* FL_CONFIG: with the first key that takes `down` and `up`. */
int changes_check(const struct pipeline *now, const struct pipeline *next, struct error *e);
/* Do processes of this kind start again? */
bool changes_concern(unsigned effect, enum role_kind kind);

#endif
