/* origin.h - where the descriptors of an exit come from: of which network, after which layer, in which layout
 *
 * Descriptors of the same width are still no substitute for one another: those of another layer, or with
 * their grids in another order, look up nonsense; those of a network with other weights look like right ones.
 * A cache is told the origin of what it was built from, and each look-up says its own.
 */
#ifndef FREEZELINE_ORIGIN_H
#define FREEZELINE_ORIGIN_H

#include "base/digest.h"
#include "descriptor.h"
#include "placement.h"

#define ORIGIN_AFTER_BYTES 256

struct origin {
    char after[ORIGIN_AFTER_BYTES]; /* the cut's name, for people: printable, cut short where it is long */
    char layout[DESCRIPTOR_LAYOUT_BYTES];
    uint64_t digest; /* of both in full and of the identity (config/identity.h); never 0 */
};

void origin_of(struct origin *out, const struct graph *g, const struct placed_exit *x,
               const struct pipeline *p);
/* Digest of all that the stages of a pipeline must agree on, or answers are silently wrong: the identity,
 * where each stage ends, how many replicas it has (routes name them), and which exits there are with their
 * origins. */
void plan_digest(uint8_t out[DIGEST_BYTES], const struct graph *g, const struct placement *place,
                 const struct pipeline *p);
/* The activation at an exit as the kernels leave it, NHWC or [n,d], of one request; no data. */
struct tensor origin_activation(const struct graph *g, const struct placed_exit *x);

#endif
