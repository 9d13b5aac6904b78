/* lease.c - the learner's lease: what to ask and when, what to believe */
#include "lease.h"

void lease_init(struct lease *l, uint64_t duration_ns)
{
    *l = (struct lease){.duration_ns = duration_ns};
}

uint64_t lease_due(const struct lease *l, bool wanted)
{
    return wanted ? l->next_ns : l->fence ? 0 : UINT64_MAX;
}

enum lease_action lease_next(struct lease *l, bool wanted, uint64_t now_ns, uint64_t early_ns)
{
    if (l->fence && now_ns >= l->valid_ns) {
        l->fence = 0;
        l->next_ns = now_ns;
    }
    if (!wanted)
        return l->fence ? LEASE_RELEASE : LEASE_IDLE;
    if (now_ns + early_ns < l->next_ns)
        return LEASE_IDLE;
    return l->fence ? LEASE_RENEW : LEASE_ACQUIRE;
}

static void believe(struct lease *l, uint64_t sent_ns)
{
    l->valid_ns = sent_ns + l->duration_ns;
    l->next_ns = sent_ns + l->duration_ns / 3;
}

void lease_acquired(struct lease *l, uint64_t fence, uint64_t sent_ns)
{
    l->fence = fence;
    if (fence)
        believe(l, sent_ns);
    else
        l->next_ns = sent_ns + l->duration_ns / 3;
}

void lease_renewed(struct lease *l, bool ok, uint64_t sent_ns)
{
    if (ok && l->fence)
        believe(l, sent_ns);
    else
        lease_lost(l, sent_ns);
}

void lease_lost(struct lease *l, uint64_t now_ns)
{
    l->fence = 0;
    l->next_ns = now_ns + l->duration_ns / 3;
}

bool lease_held(const struct lease *l, uint64_t now_ns)
{
    return l->fence && now_ns < l->valid_ns;
}
