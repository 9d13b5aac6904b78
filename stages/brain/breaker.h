/* breaker.h - stop asking a cache service that does not answer in time
 *
 * Closed: look-ups are sent. After BREAKER_FAILURES late ones in a row it opens: look-ups are bypassed for a
 * while, which doubles from BREAKER_FIRST_NS up to BREAKER_LAST_NS with each failure in a row. Then one probe
 * is let through: an answer in time closes it, a late one opens it again. So a cache that is gone costs at
 * most the wait of one probe per while. Pure.
 */
#ifndef FREEZELINE_BREAKER_H
#define FREEZELINE_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_FAILURES 5
#define BREAKER_FIRST_NS (50ull * 1000 * 1000)
#define BREAKER_LAST_NS  (5ull * 1000 * 1000 * 1000)

struct breaker {
    int failures;       /* in a row */
    uint64_t while_ns;  /* how long it opens next time; 0 = BREAKER_FIRST_NS */
    uint64_t closed_at; /* open until then; 0 = closed */
    bool probing;       /* a probe is on its way */
};

/* May a look-up be sent now? Call once per look-up that would be sent. */
bool breaker_allows(struct breaker *b, uint64_t now);
void breaker_answered(struct breaker *b);
void breaker_late(struct breaker *b, uint64_t now);
/* The probe was neither answered nor late (it could not be sent, or nobody waited for it): the next look-up
 * probes. */
void breaker_forget_probe(struct breaker *b);
bool breaker_is_open(const struct breaker *b);

#endif
