/* origin.c - an exit's cut and layout as text and digest */
#include "origin.h"

#include <string.h>
#include <xxhash.h>

#include "config/identity.h"

struct tensor origin_activation(const struct graph *g, const struct placed_exit *x)
{
    struct tensor logical = value_shape(&g->values[x->cut.value], 1), physical = logical;
    if (logical.rank == 4) { /* NHWC */
        physical.dim[1] = logical.dim[2];
        physical.dim[2] = logical.dim[3];
        physical.dim[3] = logical.dim[1];
    }
    physical.data = NULL;
    return physical;
}

void origin_of(struct origin *out, const struct graph *g, const struct placed_exit *x,
               const struct pipeline *p)
{
    struct identity identity;
    struct tensor activation = origin_activation(g, x);
    size_t n = 0;
    descriptor_layout(&activation, &p->cache.descriptor, out->layout);
    for (const char *s = x->cut.name; *s && n < sizeof out->after - 1; s++)
        out->after[n++] = *s >= ' ' && *s <= '~' ? *s : '?';
    out->after[n] = '\0';
    out->digest =
        XXH3_64bits_withSeed(x->cut.name, strlen(x->cut.name), XXH3_64bits(out->layout, strlen(out->layout)));
    identity_of(&identity, g->digest, p);
    out->digest = XXH3_64bits_withSeed(identity.digest, sizeof identity.digest, out->digest);
    out->digest += !out->digest;
}

void plan_digest(uint8_t out[DIGEST_BYTES], const struct graph *g, const struct placement *place,
                 const struct pipeline *p)
{
    struct identity identity;
    identity_of(&identity, g->digest, p);
    memcpy(out, identity.digest, DIGEST_BYTES);
    for (int s = 0; s < place->n_stages; s++) {
        int32_t last = place->stage[s].last;
        digest_add(out, &last, sizeof last);
    }
    for (int i = 0; i < place->n_exits; i++) {
        struct origin origin;
        origin_of(&origin, g, &place->exit[i], p);
        digest_add(out, place->exit[i].name, strlen(place->exit[i].name));
        digest_add(out, &origin.digest, sizeof origin.digest);
    }
}
