/* audit_line.c - a ring of ends */
#include "audit_line.h"

#include <string.h>

int audit_line_length(const struct audit_line *l)
{
    return (int)(l->next - l->first);
}

uint64_t audit_line_join(struct audit_line *l)
{
    memset(&l->place[l->next % AUDIT_LINE_MOST], 0, sizeof l->place[0]);
    return l->next++;
}

void audit_line_over(struct audit_line *l, uint64_t ticket, const struct outcome *outcome)
{
    l->place[ticket % AUDIT_LINE_MOST].over = true;
    if (outcome)
        l->place[ticket % AUDIT_LINE_MOST].outcome = *outcome;
}

void audit_line_give_up(struct audit_line *l)
{
    for (uint64_t t = l->first + 1; t < l->next; t++)
        l->place[t % AUDIT_LINE_MOST].given_up = true;
}

bool audit_line_given_up(const struct audit_line *l, uint64_t ticket)
{
    return l->place[ticket % AUDIT_LINE_MOST].given_up;
}

bool audit_line_leave(struct audit_line *l, struct outcome *out, bool *told)
{
    const uint64_t i = l->first % AUDIT_LINE_MOST;
    if (l->first == l->next || !l->place[i].over)
        return false;
    *out = l->place[i].outcome;
    out->audit &= !l->place[i].given_up;
    *told = out->request != 0;
    l->first++;
    return true;
}
