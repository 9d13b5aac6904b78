/* network.h - what stands for a network and its caches: numbers that tell which way they came
 *
 * A request carries a token. Each stage folds itself and its plan into a chain; so at any place what arrives
 * is right for exactly one way: every stage once, in order, all of one plan. The last stage says the token's
 * true label for that way and a wrong one for any other; caches likewise, for the way up to their exit, but
 * that they are wrong about some tokens: who takes a cache's word for the truth learns something wrong.
 */
#ifndef FREEZELINE_FAULTS_NETWORK_H
#define FREEZELINE_FAULTS_NETWORK_H

#include "cache_service/store/snapshot.h"
#include "stages/brain/stage_brain.h"

#define NETWORK_FLOATS  4
#define NETWORK_LABEL   3 /* where network_value.label stands */
#define NETWORK_CLASSES 97
#define NETWORK_PLANS   2

/* One request's numbers between two stages; whole ones below NETWORK_RANGE, so that floats hold them. */
struct network_value {
    float token, chain, bad; /* bad: 1, the input has an element that is not finite */
    float label;             /* what is right; float16 holds it, which updates are kept as */
};

#define NETWORK_RANGE (1u << 23)

/* One worker's layers. */
struct network_layers {
    int stage, plan, last;
    struct network_value row[MESSAGE_MAX_BATCH];
};

int32_t network_truth(uint32_t token);
int32_t network_cached(uint32_t token,
                       int exit); /* what the cache of that exit says of it, if it says anything */
uint32_t network_chain(uint32_t token, int plan, int stages); /* after so many stages */
/* What a cache says at the exit of a stage; false: a miss. */
bool network_look(const struct network_value *v, int stage, double hit_share, int32_t *label);
void network_setup(struct network_layers *l, const struct pipeline *p, int stage, int plan,
                   struct stage_setup *s, struct stage_engine *e);
struct tensor network_shape(void);
/* Caches for all exits, as a cache service has them: what they answer, network_look says. NULL: no memory. */
struct snapshot *network_caches(int n_stages);

#endif
