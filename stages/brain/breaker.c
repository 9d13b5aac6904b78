/* breaker.c - closed, open, probing */
#include "breaker.h"

bool breaker_allows(struct breaker *b, uint64_t now)
{
    if (!b->closed_at)
        return true;
    if (b->probing || now < b->closed_at)
        return false;
    b->probing = true;
    return true;
}

void breaker_answered(struct breaker *b)
{
    *b = (struct breaker){0, 0, 0, false};
}

void breaker_late(struct breaker *b, uint64_t now)
{
    b->probing = false;
    if (++b->failures < BREAKER_FAILURES)
        return;
    if (!b->while_ns)
        b->while_ns = BREAKER_FIRST_NS;
    b->closed_at = now + b->while_ns;
    b->while_ns = b->while_ns * 2 < BREAKER_LAST_NS ? b->while_ns * 2 : BREAKER_LAST_NS;
}

void breaker_forget_probe(struct breaker *b)
{
    b->probing = false;
}

bool breaker_is_open(const struct breaker *b)
{
    return b->closed_at != 0;
}
