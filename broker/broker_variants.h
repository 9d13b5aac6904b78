/* broker_variants.h - the body of the choice among variants: figures, connections, the hour's file
 */
#ifndef FREEZELINE_BROKER_VARIANTS_H
#define FREEZELINE_BROKER_VARIANTS_H

#include "broker/choice/choice.h"
#include "dispatch.h"

struct broker_variants {
    struct choice *choice; /* the dispatch's; NULL: the pipeline has no variants */
    char path[1024];       /* of the hour's file */
    uint64_t kept_ns;
    bool failed; /* to write it, and that was said */
};

/* The other variants are pipelines of their own, to whose brokers this one hands requests on. `broker`: which
 * one of the pipeline's this is. FL_CONFIG and others with the reason. */
int broker_variants_meet(struct broker_variants *v, struct dispatch *d, const struct pipeline *p, int broker,
                         uint64_t seed, struct error *e);
/* Writes the hour's file now and then, and at the end (`last`). */
void broker_variants_keep(struct broker_variants *v, bool last, uint64_t now);

#endif
