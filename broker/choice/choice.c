/* choice.c - who is asked first, who next, and what is served */
#include "choice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "allowance.h"
#include "bandit.h"
#include "base/clock.h"
#include "numbers/shuffle.h"
#include "config/pipeline.h"
#include "pace.h"
#include "paging.h"
#include "ranking.h"
#include "recollection.h"

#define TIME_SHARE  0.8 /* of a request's time that it may be expected to take */
#define CPU_BURST_S 1.0 /* the processor time of so long may be used at once */

struct counted {
    uint64_t asked, served, failed, late;
    struct allowance hour; /* how many it served; they cost nothing here */
};

struct choice {
    int n;
    struct choice_variant variant[CHOICE_MAX];
    struct choice_budget budget;
    struct shuffle draw;
    struct ranking rank;
    struct allowance loss;
    struct pace pace[CHOICE_MAX];
    struct pressure pressure;
    double between; /* of two levels of quality: carries over what a whole step left */
    double cpu_s;   /* that may be used now */
    uint64_t cpu_ns;
    struct paging paging;
    struct bandit bandit;
    struct counted counted[CHOICE_MAX];
    uint64_t feedback_taken, feedback_unknown;
    struct recollection remembered[RECOLLECTION_MOST];
};

/* --- new --- */

static void begin(struct choice *c, uint64_t seed)
{
    uint64_t bytes[CHOICE_MAX];
    shuffle_seed(&c->draw, seed, 15);
    allowance_init(&c->loss, c->budget.max_accuracy_loss);
    for (int i = 0; i < c->n; i++) {
        bytes[i] = c->variant[i].bytes;
        pace_init(&c->pace[i], c->variant[i].ms * NS_PER_MS);
        allowance_init(&c->counted[i].hour, INFINITY);
    }
    c->pressure.most = c->rank.n_useful - 1;
    paging_init(&c->paging, bytes, c->n, c->budget.memory);
    bandit_init(&c->bandit, c->n);
}

int choice_new(struct choice **out, const struct choice_variant *variants, int n,
               const struct choice_budget *b, uint64_t seed, struct error *e)
{
    struct ranking rank;
    struct choice *c;
    int rc;

    *out = NULL;
    if ((rc = ranking_check(variants, n, e)))
        return rc;
    ranking_make(&rank, variants, n);
    if ((rc = ranking_meets(&rank, variants, n, b, e)))
        return rc;
    if (!(c = calloc(1, sizeof *c)))
        return error_set(e, FL_NOMEM, "no memory for variants");
    c->n = n;
    c->budget = *b;
    c->rank = rank;
    memcpy(c->variant, variants, (size_t)n * sizeof *variants);
    begin(c, seed);
    *out = c;
    return FL_OK;
}

void choice_free(struct choice *c)
{
    free(c);
}

/* --- what a variant would cost --- */

static double expects(const struct choice *c, uint64_t now, int v, const struct choice_load *load)
{
    if (load[v].expects_ns)
        return (double)load[v].expects_ns;
    return pace_expects(&c->pace[v], now, load[v].ahead);
}

static bool in_time(const struct choice *c, uint64_t now, int v, const struct choice_load *load,
                    const struct choice_course *x)
{
    uint64_t end = x->began_ns + x->time_ns;
    return end > now && expects(c, now, v, load) <= TIME_SHARE * (double)(end - now);
}

static double costs(const struct choice *c, int v)
{
    return fmax(0, c->variant[v].loss_upper);
}

/* Accuracy: what the request allows, and what is left of the hour's budget. */
static bool permitted(struct choice *c, uint64_t now, int v, const struct choice_course *x)
{
    if (x->max_loss >= 0 && costs(c, v) > x->max_loss)
        return false;
    return allowance_permits(&c->loss, now, costs(c, v));
}

/* The cheapest one may always be used: it is what there is. */
static bool has_cpu(const struct choice *c, int v)
{
    if (!(c->budget.cpu_seconds_per_second > 0))
        return true;
    for (int i = 0; i < c->n; i++)
        if (c->variant[i].cpu_s < c->variant[v].cpu_s)
            return c->cpu_s >= c->variant[v].cpu_s;
    return true;
}

static void refill(struct choice *c, uint64_t now)
{
    double most = c->budget.cpu_seconds_per_second * CPU_BURST_S;
    double s = now > c->cpu_ns ? (double)(now - c->cpu_ns) / NS_PER_S : 0;
    c->cpu_s = fmin(most, c->cpu_s + c->budget.cpu_seconds_per_second * s);
    c->cpu_ns = now > c->cpu_ns ? now : c->cpu_ns;
}

static uint32_t ready_ones(const struct choice *c, const struct choice_load *load)
{
    uint32_t mask = 0;
    for (int i = 0; i < c->n; i++)
        mask |= (uint32_t)load[i].ready << i;
    return mask;
}

/* --- under a budget --- */

/* How many of the most accurate variants this request passes over: the level, its fraction spread evenly. */
static int passes_over(struct choice *c, uint64_t now)
{
    double level = pressure_level(&c->pressure, now), whole = floor(level);
    c->between += level - whole;
    if (c->between >= 1) {
        c->between -= 1;
        whole += 1;
    }
    return (int)whole;
}

/* Of those of `ready` that are permitted, from rank `from` on: the most accurate one that is in time, else
 * the quickest. Where there is none, the cheapest of those passed over; else the most accurate: accuracy goes
 * first. -1: none is ready. */
static int pick(struct choice *c, uint64_t now, uint32_t ready, const struct choice_load *load,
                const struct choice_course *x, int from)
{
    int fits = -1, quickest = -1, passed = -1, best = -1;
    for (int rank = 0; rank < c->n; rank++) {
        int v = c->rank.by_quality[rank];
        if (!(ready >> v & 1))
            continue;
        best = best < 0 ? v : best;
        if (!permitted(c, now, v, x))
            continue;
        if (rank < from) {
            passed = v;
            continue;
        }
        if (quickest < 0 || expects(c, now, v, load) < expects(c, now, quickest, load))
            quickest = v;
        if (!in_time(c, now, v, load, x))
            continue;
        fits = v;
        if (has_cpu(c, v))
            break;
    }
    return fits >= 0 ? fits : quickest >= 0 ? quickest : passed >= 0 ? passed : best;
}

static uint32_t begin_by_budget(struct choice *c, uint64_t now, const struct choice_load *load,
                                struct choice_course *x)
{
    uint32_t ready = ready_ones(c, load), all = (1u << c->n) - 1;
    int from = passes_over(c, now), v = pick(c, now, ready, load, x, from);
    int wish = ready == all ? v : pick(c, now, all, load, x, from);

    paging_wished(&c->paging, now, 1u << wish);
    if (v < 0)
        return 0;
    if (!in_time(c, now, v, load, x) && now > x->time_ns)
        pressure_felt(&c->pressure, now, now - x->time_ns);
    return 1u << v;
}

/* --- a cascade --- */

static int last_of_cascade(const struct choice *c)
{
    return c->rank.by_quality[0];
}

/* The next one of the cascade, the quickest first, of `mask`. -1: none. */
static int next_of_cascade(const struct choice *c, uint32_t mask)
{
    for (int i = 0; i < c->n; i++) {
        int v = c->rank.by_time[i];
        if ((mask >> v & 1) && v != last_of_cascade(c) && isfinite(c->variant[v].sure))
            return v;
    }
    return mask >> last_of_cascade(c) & 1 ? last_of_cascade(c) : -1;
}

/* Where there is time for the last one, but not for any other before it, it is asked at once. */
static uint32_t begin_cascade(struct choice *c, uint64_t now, const struct choice_load *load,
                              struct choice_course *x)
{
    uint32_t ready = ready_ones(c, load);
    int last = last_of_cascade(c), first = next_of_cascade(c, ready);

    paging_wished(&c->paging, now, (1u << c->n) - 1);
    if (first < 0)
        return 0;
    if ((ready >> last & 1) && in_time(c, now, last, load, x) &&
        expects(c, now, first, load) + expects(c, now, last, load) > (double)x->time_ns)
        first = last;
    return 1u << first;
}

/* --- by feedback --- */

/* Those ready ones that can answer in time; if none can, the quickest. */
static uint32_t timely(const struct choice *c, uint64_t now, const struct choice_load *load,
                       const struct choice_course *x)
{
    uint32_t mask = 0, ready = ready_ones(c, load);
    int quickest = -1;
    for (int i = 0; i < c->n; i++) {
        if (!(ready >> i & 1))
            continue;
        if (in_time(c, now, i, load, x))
            mask |= 1u << i;
        if (quickest < 0 || expects(c, now, i, load) < expects(c, now, quickest, load))
            quickest = i;
    }
    return mask || quickest < 0 ? mask : 1u << quickest;
}

static uint32_t draw(struct choice *c, uint64_t now, uint32_t mask, struct choice_course *x)
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

/* --- a request's course --- */

static struct choice_step step(int what)
{
    return (struct choice_step){.what = what, .variant = -1};
}

static struct choice_step ask(struct choice *c, int v, const struct choice_load *load,
                              struct choice_course *x)
{
    double most = c->budget.cpu_seconds_per_second * CPU_BURST_S;
    x->asked |= 1u << v;
    x->ahead[v] = load[v].ahead;
    c->cpu_s = fmax(-most, c->cpu_s - c->variant[v].cpu_s);
    c->counted[v].asked++;
    return (struct choice_step){.what = CHOICE_ASK, .variant = v};
}

/* What an answer of v costs of the hour's accuracy; 0 where it was not measured: there is nothing to count.
 */
static double charge_for(const struct choice *c, int v)
{
    double cost = c->budget.how == CHOOSE_CASCADE ? c->budget.cascade_loss : costs(c, v);
    return isfinite(cost) ? cost : 0;
}

static void begin_course(const struct choice *c, uint64_t now, const struct choice_request *r,
                         struct choice_course *x)
{
    double most = PIPELINE_WAIT_SHARE * (double)r->left_ns, target = c->budget.latency_ms * NS_PER_MS;
    memset(x, 0, sizeof *x);
    x->id = r->id;
    x->context = r->context;
    x->began_ns = now;
    x->until_ns = now + r->left_ns;
    x->time_ns = (uint64_t)(target > 0 ? fmin(most, target) : most);
    x->max_loss = r->max_loss;
    x->chance = 1;
}

uint32_t choice_begin(struct choice *c, uint64_t now, const struct choice_request *r,
                      const struct choice_load *load, struct choice_course *x)
{
    uint32_t mask = 0;

    begin_course(c, now, r, x);
    refill(c, now);
    switch (c->budget.how) {
    case CHOOSE_BUDGET:
        mask = begin_by_budget(c, now, load, x);
        break;
    case CHOOSE_CASCADE:
        mask = begin_cascade(c, now, load, x);
        break;
    case CHOOSE_EXP3:
        mask = draw(c, now, timely(c, now, load, x), x);
        break;
    case CHOOSE_EXP4:
        mask = timely(c, now, load, x);
        paging_wished(&c->paging, now, (1u << c->n) - 1);
        break;
    }
    for (int i = 0; i < c->n; i++)
        if (mask >> i & 1)
            ask(c, i, load, x);
    if (mask) {
        x->charged = charge_for(c, __builtin_ctz(mask));
        allowance_spend(&c->loss, now, x->charged);
    }
    x->over = !mask;
    return mask;
}

bool choice_without_cache(const struct choice *c, int variant)
{
    return c->budget.how == CHOOSE_CASCADE && variant != last_of_cascade(c);
}

uint64_t choice_patience(const struct choice_course *x)
{
    return x->time_ns;
}

/* --- answers --- */

static struct choice_step serve(struct choice *c, uint64_t now, struct choice_course *x, int v,
                                float confidence, uint32_t voted, double cost)
{
    if (cost != x->charged)
        allowance_correct(&c->loss, now, cost - x->charged);
    x->charged = cost;
    x->over = true;
    c->counted[v].served++;
    allowance_spend(&c->counted[v].hour, now, 0);
    recollection_keep(c->remembered, x, v);
    return (struct choice_step){CHOICE_SERVE, v, confidence, voted};
}

static struct choice_step serve_one(struct choice *c, uint64_t now, struct choice_course *x, int v)
{
    return serve(c, now, x, v, x->confidence[v], 1u << v, charge_for(c, v));
}

/* The best answer of those that a cascade has, though it is unsure of it, where the budget permits that. */
static struct choice_step serve_unsure(struct choice *c, uint64_t now, struct choice_course *x, int otherwise)
{
    for (int i = 0; i < c->n; i++) {
        int v = c->rank.by_quality[i];
        if (!(x->came >> v & 1))
            continue;
        if (!permitted(c, now, v, x))
            break;
        return serve(c, now, x, v, x->confidence[v], 1u << v, costs(c, v));
    }
    return step(otherwise);
}

/* One more that was not asked yet and has time. */
static struct choice_step ask_another(struct choice *c, uint64_t now, struct choice_course *x,
                                      const struct choice_load *load)
{
    uint32_t open = x->asked & ~x->came & ~x->failed, ready = ready_ones(c, load) & ~x->asked;
    bool cascade = c->budget.how == CHOOSE_CASCADE;
    int v;

    if (open)
        return step(CHOICE_WAIT);
    for (int i = 0; i < c->n; i++)
        if ((double)now + expects(c, now, i, load) > (double)x->until_ns)
            ready &= ~(1u << i);
    v = cascade ? next_of_cascade(c, ready) : pick(c, now, ready, load, x, 0);
    if (v < 0)
        return cascade ? serve_unsure(c, now, x, CHOICE_FAIL) : step(CHOICE_FAIL);
    x->chance = 1; /* nothing was drawn */
    return ask(c, v, load, x);
}

/* The heaviest label, as soon as those who are missing cannot change it. */
static struct choice_step vote(struct choice *c, uint64_t now, struct choice_course *x, bool hurry)
{
    uint32_t open = x->asked & ~x->came & ~x->failed;
    struct bandit_vote v;

    if (!x->came)
        return step(open ? CHOICE_WAIT : CHOICE_FAIL);
    v = bandit_count_votes(&c->bandit, x->context, x->asked, x->came, open, x->label);
    if (open && !hurry && !v.settled)
        return step(CHOICE_WAIT);
    return serve(c, now, x, v.speaker, (float)v.share, x->came, charge_for(c, v.speaker));
}

/* What it says about the variant, whatever becomes of the request. */
static void note(struct choice *c, uint64_t now, struct choice_course *x, const struct choice_answer *a)
{
    int v = a->variant;
    struct recollection *r = x->over ? recollection_find(c->remembered, x->id) : NULL;

    if (a->failed) {
        x->failed |= 1u << v;
        c->counted[v].failed++;
        if (c->budget.how == CHOOSE_EXP3)
            bandit_drew(&c->bandit, x->context, v, x->chance, false);
        return;
    }
    x->came |= 1u << v;
    x->label[v] = a->label;
    x->confidence[v] = a->confidence;
    if (r) {
        r->came |= 1u << v;
        r->label[v] = a->label;
    }
    pace_learn(&c->pace[v], now, x->ahead[v], (double)a->took_ns);
    if (now - x->began_ns > TIME_SHARE * (double)x->time_ns) {
        c->counted[v].late += now - x->began_ns > x->time_ns;
        pressure_felt(&c->pressure, now, x->began_ns);
    }
}

struct choice_step choice_answered(struct choice *c, uint64_t now, struct choice_course *x,
                                   const struct choice_answer *a, const struct choice_load *load)
{
    int v = a->variant;

    if (v < 0 || v >= c->n || !((x->asked & ~x->came & ~x->failed) >> v & 1))
        return step(CHOICE_WAIT);
    note(c, now, x, a);
    if (x->over)
        return step(CHOICE_WAIT);
    if (c->budget.how == CHOOSE_EXP4) {
        struct choice_step s = vote(c, now, x, false);
        return s.what == CHOICE_FAIL ? ask_another(c, now, x, load) : s;
    }
    if (a->failed ||
        (c->budget.how == CHOOSE_CASCADE && v != last_of_cascade(c) && !(a->confidence > c->variant[v].sure)))
        return ask_another(c, now, x, load);
    return serve_one(c, now, x, v);
}

struct choice_step choice_hurry(struct choice *c, uint64_t now, struct choice_course *x)
{
    if (x->over)
        return step(CHOICE_WAIT);
    if (c->budget.how == CHOOSE_EXP4)
        return vote(c, now, x, true);
    return c->budget.how == CHOOSE_CASCADE ? serve_unsure(c, now, x, CHOICE_WAIT) : step(CHOICE_WAIT);
}

void choice_end(struct choice *c, struct choice_course *x)
{
    if (!x->over)
        allowance_take_back(&c->loss, x->charged);
    x->over = true;
}

/* --- labels --- */

int choice_feedback(struct choice *c, uint64_t id, int32_t label)
{
    struct recollection *r = recollection_find(c->remembered, id);
    uint32_t wrong = 0;

    if (c->budget.how != CHOOSE_EXP3 && c->budget.how != CHOOSE_EXP4)
        return FL_UNSUPPORTED;
    if (label < 0)
        return FL_VALUE;
    if (!r || r->served < 0) {
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

/* --- the rest --- */

uint32_t choice_wants(struct choice *c, uint64_t now)
{
    return paging_wants(&c->paging, now);
}

/* Which variant of `from` has the name of each of c's; -1: none. */
static void same_names(const struct choice *c, const struct choice *from, int *was)
{
    for (int i = 0; i < c->n; i++) {
        was[i] = -1;
        for (int k = 0; k < from->n; k++)
            if (!strcmp(c->variant[i].name, from->variant[k].name))
                was[i] = k;
    }
}

void choice_take_over(struct choice *c, const struct choice *from)
{
    int was[CHOICE_MAX];
    double per = c->loss.per_request;

    same_names(c, from, was);
    c->loss = from->loss;
    c->loss.per_request = per;
    for (int i = 0; i < c->n; i++)
        if (was[i] >= 0) {
            c->pace[i] = from->pace[was[i]];
            c->counted[i] = from->counted[was[i]];
        }
    bandit_take_over(&c->bandit, &from->bandit, was);
    recollection_take_over(c->remembered, from->remembered, was, c->n);
    c->feedback_taken = from->feedback_taken;
    c->feedback_unknown = from->feedback_unknown;
}

void choice_status(const struct choice *c, uint64_t now, struct choice_status *out)
{
    memset(out, 0, sizeof *out);
    out->n = c->n;
    out->served_hour = allowance_requests(&c->loss, now);
    out->loss_hour = allowance_mean(&c->loss, now);
    out->loss_budget = c->budget.max_accuracy_loss;
    out->level = pressure_level(&c->pressure, now);
    out->cpu_left_s = c->budget.cpu_seconds_per_second > 0 ? c->cpu_s : NAN;
    out->feedback_taken = c->feedback_taken;
    out->feedback_unknown = c->feedback_unknown;
    out->contexts = bandit_contexts(&c->bandit);
    for (int i = 0; i < c->n; i++) {
        const struct counted *k = &c->counted[i];
        uint64_t all = out->served_hour;
        memcpy(out->variant[i].name, c->variant[i].name, CHOICE_NAME_BYTES);
        out->variant[i].asked = k->asked;
        out->variant[i].served = k->served;
        out->variant[i].failed = k->failed;
        out->variant[i].late = k->late;
        out->variant[i].share = all ? (double)allowance_requests(&k->hour, now) / (double)all : 0;
        out->variant[i].weight = c->bandit.all.weight[i];
    }
}
