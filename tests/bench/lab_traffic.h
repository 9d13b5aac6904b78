/* lab_traffic.h - a row of pictures whose world changes: other classes, noise, darkness, blur */
#ifndef FREEZELINE_LAB_TRAFFIC_H
#define FREEZELINE_LAB_TRAFFIC_H

#include <stdint.h>

#include "base/error.h"

enum lab_corruption { LAB_CLEAN, LAB_NOISE, LAB_DARK, LAB_BLUR };

/* Positions are requests from the start of the traffic. */
struct lab_change {
    enum lab_corruption corruption;
    double strength;  /* 1 is mild, 3 is strong */
    int64_t at, slow; /* begins there, grows over so many requests */
    int64_t back;     /* ends there; 0: never */
    int64_t few; /* until there, pictures of the first half of the classes alone; 0: all from the start */
};

/* Writes `count` CIFAR-10 records to `to`: those of file `from` (again from its start where it has fewer), or
 * with NULL the demo's drawn pictures of `seed`. FL_IO, FL_NOMEM. */
int lab_traffic(const char *to, const char *from, uint64_t seed, int64_t count,
                const struct lab_change *change, struct error *e);

#endif
