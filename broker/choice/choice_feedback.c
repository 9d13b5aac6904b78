/* choice_feedback.c - variants drawn by what true labels said of them, and what a label says */
#include "choice_inside.h"

uint32_t choice_timely(const struct choice *c, uint64_t now, const struct choice_load *load,
                       const struct choice_course *x)
{
    uint32_t mask = 0, ready = choice_ready(c, load);
    int quickest = -1;
    for (int i = 0; i < c->n; i++) {
        if (!(ready >> i & 1))
            continue;
        if (choice_in_time(c, now, i, load, x))
            mask |= 1u << i;
        if (quickest < 0 || choice_expects(c, now, i, load) < choice_expects(c, now, quickest, load))
            quickest = i;
    }
    return mask || quickest < 0 ? mask : 1u << quickest;
}

uint32_t choice_draw(struct choice *c, uint64_t now, uint32_t mask, struct choice_course *x)
{
    double chance[CHOICE_MAX], u = shuffle_uniform(&c->draw);
    int v = -1;
    if (!mask)
        return 0;
    bandit_chances(&c->bandit, x->context, mask, chance);
    for (int i = 0; i < c->n && (v < 0 || u >= 0); i++)
        if (mask >> i & 1) {
            v = i;
            u -= chance[i];
        }
    x->chance = chance[v];
    paging_wished(&c->paging, now, 1u << v);
    return 1u << v;
}

int choice_feedback(struct choice *c, uint64_t id, int32_t label)
{
    struct recollection *r = recollection_find(c->remembered, id);
    uint32_t wrong = 0;

    if (c->budget.how != CHOOSE_EXP3 && c->budget.how != CHOOSE_EXP4)
        return FL_UNSUPPORTED;
    if (label < 0)
        return FL_VALUE;
    if (!r) {
        c->feedback_unknown++;
        return FL_NOT_FOUND;
    }
    for (int i = 0; i < c->n; i++)
        wrong |= (r->came >> i & 1) && r->label[i] != label ? 1u << i : 0;
    if (c->budget.how == CHOOSE_EXP4)
        bandit_voted(&c->bandit, r->context, wrong);
    else
        bandit_drew(&c->bandit, r->context, r->served, r->chance, !(wrong >> r->served & 1));
    c->feedback_taken++;
    r->id = 0;
    return FL_OK;
}
