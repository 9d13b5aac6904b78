/* identity.h - one digest of everything that decides an answer
 *
 * The network and its weights, what a pixel becomes before the network sees it, the precision it computes in,
 * and what its classes are called. Caches, evidence, updates and stored activations belong to one identity.
 * Stage workers tell theirs, and look-ups carry it, so that what was learned from one network never answers
 * for another. Pure.
 */
#ifndef FREEZELINE_IDENTITY_H
#define FREEZELINE_IDENTITY_H

#include "base/digest.h"
#include "pipeline.h"

#define IDENTITY_TEXT_BYTES 256

struct identity {
    uint8_t digest[DIGEST_BYTES];         /* of all below */
    uint8_t model[DIGEST_BYTES];          /* graph digest: the file and its weights outside it */
    char input[IDENTITY_TEXT_BYTES];      /* the pipeline file's `input` section: pipeline_section_text */
    char precision[PRECISION_TEXT_BYTES]; /* pipeline.computes: with the digest of its scales */
    uint64_t labels; /* digest of the names of the classes in their order; 0 = none are named */
};

void identity_of(struct identity *out, const uint8_t model[DIGEST_BYTES], const struct pipeline *p);
/* Sets out->digest from the parts, as they are read from a file. */
void identity_seal(struct identity *out);
/* Digest of what decides an activation: all but the names of the classes. */
uint64_t identity_of_activations(const struct identity *id);

#define IDENTITY_DIFFERENCE_BYTES (2 * IDENTITY_TEXT_BYTES + 128)
/* Says in what `made` differs from `now`: "another network", "another `input` (mean 1 then, mean 2 now)". ""
 * where they are the same. Returns buf. */
char *identity_difference(const struct identity *made, const struct identity *now,
                          char buf[IDENTITY_DIFFERENCE_BYTES]);

#endif
