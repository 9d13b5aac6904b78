/* retry.h - when to try again what failed, and whether to say so; pure
 *
 * One for each thing that can fail by itself. A failure puts the next attempt off by a while that doubles
 * from `first` to `last` with each failure in a row; only this thing's own success ends that, whatever else
 * works meanwhile. What is news is said: the first failure, one of another kind, and that it works again.
 */
#ifndef FREEZELINE_RETRY_H
#define FREEZELINE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

struct retry {
    uint64_t first_ns, last_ns;
    uint64_t while_ns; /* how long the next failure puts it off; 0 = first_ns */
    uint64_t next_ns;  /* not before then */
    uint64_t said;     /* the failure that was said last; 0 = none since it worked */
    bool failing;
};

void retry_init(struct retry *r, uint64_t first_ns, uint64_t last_ns);
bool retry_due(const struct retry *r, uint64_t now_ns);
/* `why` tells failures apart. Whether this is news. */
bool retry_failed(struct retry *r, const char *why, uint64_t now_ns);
/* Whether this is news: it failed before. */
bool retry_worked(struct retry *r);
/* There is nothing to do any more: it fails no longer, but what comes next is put off as if it did. */
void retry_idle(struct retry *r);

#endif
