/* bandit.c - exponential weights, kept to the sum 1 */
#include "bandit.h"

#include <math.h>
#include <string.h>

#define CHANCE_LEAST 1e-3 /* one bad answer of what is hardly ever drawn does not decide for long */

static void begin(struct bandit_context *x, int n)
{
    for (int i = 0; i < n; i++)
        x->weight[i] = 1.0 / n;
}

void bandit_init(struct bandit *b, int n)
{
    memset(b, 0, sizeof *b);
    b->n = n;
    begin(&b->all, n);
}

static struct bandit_context *find(struct bandit *b, uint64_t hash)
{
    struct bandit_context *set = b->one[hash * 0x9e3779b97f4a7c15u >> 58], *oldest = set;
    if (!hash)
        return &b->all;
    b->count++;
    for (int i = 0; i < BANDIT_WAYS; i++) {
        if (set[i].used && set[i].hash == hash) {
            set[i].used = b->count;
            return &set[i];
        }
        oldest = set[i].used < oldest->used ? &set[i] : oldest;
    }
    *oldest = b->all;
    oldest->hash = hash;
    oldest->used = b->count;
    return oldest;
}

void bandit_chances(struct bandit *b, uint64_t context, uint32_t mask, double chance[BANDIT_MAX])
{
    const double *w = find(b, context)->weight;
    double sum = 0;
    int n = 0;
    for (int i = 0; i < b->n; i++)
        if (mask >> i & 1) {
            sum += w[i];
            n++;
        }
    for (int i = 0; i < b->n; i++)
        chance[i] = mask >> i & 1 ? (1 - BANDIT_EXPLORE) * w[i] / sum + BANDIT_EXPLORE / n : 0;
}

static void settle(struct bandit_context *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x->weight[i];
    for (int i = 0; i < n; i++)
        x->weight[i] = (1 - BANDIT_SHARE) * x->weight[i] / sum + BANDIT_SHARE / n;
}

static void weaken(struct bandit_context *x, int n, uint32_t wrong, double by)
{
    for (int i = 0; i < n; i++)
        if (wrong >> i & 1)
            x->weight[i] *= exp(-by);
    settle(x, n);
}

/* All contexts together learn from each one, too. */
static void learn(struct bandit *b, uint64_t context, uint32_t wrong, double by)
{
    weaken(&b->all, b->n, wrong, by);
    if (context)
        weaken(find(b, context), b->n, wrong, by);
}

void bandit_drew(struct bandit *b, uint64_t context, int variant, double chance, bool right)
{
    learn(b, context, right ? 0 : 1u << variant, BANDIT_RATE / fmax(chance, CHANCE_LEAST));
}

void bandit_voted(struct bandit *b, uint64_t context, uint32_t wrong)
{
    learn(b, context, wrong, BANDIT_VOTERATE);
}

/* The weight of those who gave the label that i gave. */
static double behind(const struct bandit *b, const double *w, int i, uint32_t came, const int32_t *label)
{
    double sum = 0;
    for (int k = 0; k < b->n; k++)
        sum += (came >> k & 1) && label[k] == label[i] ? w[k] : 0;
    return sum;
}

struct bandit_vote bandit_count_votes(struct bandit *b, uint64_t context, uint32_t asked, uint32_t came,
                                      uint32_t open, const int32_t *label)
{
    const double *w = find(b, context)->weight;
    struct bandit_vote v = {.speaker = -1};
    double first = -1, second = 0, all = 0, missing = 0;

    for (int i = 0; i < b->n; i++) {
        double mine = came >> i & 1 ? behind(b, w, i, came, label) : -1;
        all += asked >> i & 1 ? w[i] : 0;
        missing += open >> i & 1 ? w[i] : 0;
        if (mine > first || (mine == first && mine >= 0 && w[i] > w[v.speaker])) {
            first = mine;
            v.speaker = i;
        }
    }
    for (int i = 0; i < b->n; i++)
        if ((came >> i & 1) && label[i] != label[v.speaker])
            second = fmax(second, behind(b, w, i, came, label));
    v.share = first / all;
    v.settled = first > second + missing;
    return v;
}
