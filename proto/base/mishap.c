/* mishap.c - a count and the time of the next line */
#include "mishap.h"

#include <inttypes.h>

#include "clock.h"

#define BETWEEN_LINES_NS (5 * NS_PER_S)

void mishap(struct mishap *m, enum log_level level, const char *what, const char *text, uint64_t now)
{
    m->count++;
    if (now < m->next_ns)
        return;
    log_at(level, 0, "%s: %s (%" PRIu64 " times since the last such line)", what, text, m->count - m->told);
    m->next_ns = now + BETWEEN_LINES_NS;
    m->told = m->count;
}
