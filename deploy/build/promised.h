/* promised.h - the thresholds of a build under a promise: gather evidence, choose, report
 */
#ifndef FREEZELINE_PROMISED_H
#define FREEZELINE_PROMISED_H

#include <jansson.h>

#include "cache_service/promise/promise.h"
#include "deploy/extract/exit_times.h"

#define PROMISED_EVIDENCE "evidence" /* in STATE/build: of the caches that the build placed */

struct promised {
    struct promise_terms terms;
    char computes[PRECISION_TEXT_BYTES]; /* as the pipeline's */
    struct evidence evidence;
    struct promise_forecast first; /* where exits were ruled out: the plan that did */
    struct promise_choice choice;
};

struct promising {
    const struct pipeline *pipeline;
    const struct graph *graph;
    const struct placement *place;
    const struct dataset *data;        /* the calibration set */
    const struct extracted *extracted; /* its descriptors */
    struct cache **cache;              /* by exit of the placement; NULL: none */
};

/* What the pipeline file promises. */
struct promise_terms promised_terms(const struct pipeline *p);
/* Whether a promise can be chosen from these data at all, `distinct` of which are different pictures: said
 * before hours of work. */
int promised_possible(const struct pipeline *p, const struct dataset *data, int64_t distinct,
                      struct error *e);
/* What the caches say about the calibration set, in a random order that is the same for all caches, and their
 * times: those in STATE/build/times where they were measured with the very same verdicts on such a machine;
 * measured otherwise, and kept there at once, so that a build that is repeated or resumed gives the same
 * thresholds. `anew`: measured in any case, and not kept. Release with evidence_release in any case. */
int promised_gather(struct evidence *out, const struct promising *in, bool anew, struct error *e);
/* From out->evidence, which the caller has gathered: thresholds into the caches (each is replaced by one with
 * its threshold, or freed, NULL, where it is not placed), and the evidence into STATE/build/evidence. */
int promised_make(struct promised *out, const struct promising *in, struct error *e);
void promised_release(struct promised *p);

int promised_print(const struct promised *p, struct error *e);
json_t *promised_json(const struct promised *p);

#endif
