/* stage_lookups.c - look-ups from being sent to being answered, or late */
#include "stage_lookups.h"

#include "base/clock.h"

#define ABSENT_NS (1 * NS_PER_S) /* a cache may be built meanwhile */

void stage_lookups_begin(struct stage_lookups *l)
{
    l->hidden_ns = l->hidden_until_ns = 0;
}

bool stage_lookups_allow(struct stage_lookups *l, int exit, uint64_t now)
{
    return l->n_pending < PIPELINE_MAX_EXITS && now >= l->absent_until_ns[exit] &&
           breaker_allows(&l->breaker, now);
}

void stage_lookups_sent(struct stage_lookups *l, int exit, uint64_t now)
{
    l->pending[l->n_pending++] = (struct pending_lookup){l->sequence, now, exit, false, false};
}

/* The look-up was on its way until now while layers were computed. What two of them share counts once. */
static void note_hidden(struct stage_lookups *l, const struct pending_lookup *p, uint64_t now)
{
    uint64_t from = p->sent_ns > l->hidden_until_ns ? p->sent_ns : l->hidden_until_ns;
    if (p->over || now <= from)
        return;
    l->hidden_ns += now - from;
    l->hidden_until_ns = now;
}

const struct pending_lookup *stage_lookups_answered(struct stage_lookups *l, const struct verdict *v,
                                                    uint64_t now)
{
    struct pending_lookup *p = NULL;
    for (int i = 0; i < l->n_pending; i++)
        if (l->pending[i].sequence == v->sequence)
            p = &l->pending[i];
    if (!p || p->answered)
        return NULL;
    p->answered = true;
    note_hidden(l, p, now);
    breaker_answered(&l->breaker);
    if (v->absent)
        l->absent_until_ns[p->exit] = now + ABSENT_NS;
    return p;
}

bool stage_lookups_unanswered(const struct stage_lookups *l)
{
    for (int i = 0; i < l->n_pending; i++)
        if (!l->pending[i].answered && !l->pending[i].over)
            return true;
    return false;
}

void stage_lookups_end_hiding(struct stage_lookups *l, uint64_t now)
{
    for (int i = 0; i < l->n_pending; i++)
        if (!l->pending[i].answered)
            note_hidden(l, &l->pending[i], now);
    l->hidden_until_ns = UINT64_MAX;
}

void stage_lookups_hide_again(struct stage_lookups *l, uint64_t now)
{
    l->hidden_until_ns = now;
}

void stage_lookups_settle(struct stage_lookups *l, uint64_t now)
{
    int kept = 0;
    for (int i = 0; i < l->n_pending; i++) {
        struct pending_lookup p = l->pending[i];
        if (p.answered)
            continue;
        p.over = true;
        if (now - p.sent_ns >= l->patience_ns)
            breaker_late(&l->breaker, now);
        else
            l->pending[kept++] = p;
    }
    l->n_pending = kept;
}
