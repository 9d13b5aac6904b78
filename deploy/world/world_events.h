/* world_events.h - what happens next: a queue by time; at the same moment, first come, first served */
#ifndef FREEZELINE_WORLD_EVENTS_H
#define FREEZELINE_WORLD_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

struct event {
    uint64_t at, order; /* ties go by order */
    int kind, what;
    uint32_t version; /* of what it is about: an older one means nothing any more */
};

struct events {
    struct event *heap; /* a binary heap */
    int n, capacity;
    uint64_t order;
};

int events_push(struct events *q, uint64_t at, int kind, int what, uint32_t version); /* FL_NOMEM */
bool events_pop(struct events *q, struct event *out);                                 /* false: none left */

#endif
