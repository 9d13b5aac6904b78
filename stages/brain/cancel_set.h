/* cancel_set.h - the requests that need no more work
 *
 * Bounded: a newer id may displace an older one of the same set, which costs wasted work and nothing else.
 * Ids are never 0.
 */
#ifndef FREEZELINE_CANCEL_SET_H
#define FREEZELINE_CANCEL_SET_H

#include <stdbool.h>
#include <stdint.h>

#define CANCEL_SETS 1024
#define CANCEL_WAYS 4

struct cancel_set {
    bool used; /* false: it is empty, and what follows is not cleared yet */
    uint8_t oldest[CANCEL_SETS];
    uint64_t id[CANCEL_SETS][CANCEL_WAYS];
};

void cancel_set_add(struct cancel_set *s, uint64_t id);
bool cancel_set_has(const struct cancel_set *s, uint64_t id);

#endif
