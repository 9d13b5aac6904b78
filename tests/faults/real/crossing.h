/* crossing.h - hosts of one's own: network namespaces, each with one interface, and what joins them
 *
 * Host k (0..) has the address 10.78.0.(k + 1) on its interface eth0, a TAP whose other end is here: a thread
 * carries each frame to whom it is for, so each direction of each link can be cut or delayed at any moment.
 * Needs root and /dev/net/tun. Namespaces end with the program and what it started.
 */
#ifndef FREEZELINE_TEST_CROSSING_H
#define FREEZELINE_TEST_CROSSING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define CROSSING_MOST 4

struct crossing;

/* FL_UNSUPPORTED with the reason where namespaces or TAPs cannot be made here. */
int crossing_new(struct crossing **out, int hosts, struct error *e);
void crossing_free(struct crossing *c);

/* What this thread makes from now on (sockets, processes) is on that host; -1: where it was before. */
int crossing_enter(struct crossing *c, int host, struct error *e);

struct crossing_way {
    bool cut;
    uint64_t delay_ns;
};
void crossing_set(struct crossing *c, int from, int to, struct crossing_way way);
/* All ways open and quick again. */
void crossing_mend(struct crossing *c);
uint64_t crossing_frames(const struct crossing *c); /* carried so far */

#endif
