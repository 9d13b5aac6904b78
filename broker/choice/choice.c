/* choice.c - who is asked first, who next, and what is served */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "choice_inside.h"
#include "hour_file.h"

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
    choice_runs_on(c, 0, 0);
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

void choice_runs_on(struct choice *c, double cpus, uint32_t elsewhere)
{
    double cpu_s[CHOICE_MAX];
    c->elsewhere = elsewhere;
    for (int rank = 0; rank < c->rank.n_useful; rank++)
        cpu_s[rank] = choice_cpu_of(c, c->rank.by_quality[rank]);
    processors_init(&c->processors, cpu_s, c->rank.n_useful, cpus);
}

void choice_free(struct choice *c)
{
    free(c);
}

/* --- a request's course --- */

static struct choice_step step(int what)
{
    return (struct choice_step){.what = what, .variant = -1};
}

/* What an answer of v costs of the hour's accuracy; 0 where it was not measured: there is nothing to count.
 */
static double charge_for(const struct choice *c, int v)
{
    double cost = c->budget.how == CHOOSE_CASCADE ? c->budget.cascade_loss : choice_costs(c, v);
    return isfinite(cost) ? cost : 0;
}

static void charge(struct choice *c, uint64_t now, struct choice_course *x, double cost)
{
    if (x->charged < 0)
        allowance_spend(&c->loss, now, cost);
    else if (cost != x->charged)
        allowance_correct(&c->loss, now, cost - x->charged);
    x->charged = cost;
}

/* An answer that costs more than the mean may be counts as soon as it is asked for, any other once it is
 * there: so the mean is within its bound whichever of them come. */
static struct choice_step ask(struct choice *c, uint64_t now, int v, const struct choice_load *load,
                              struct choice_course *x)
{
    double cost = charge_for(c, v);
    x->asked |= 1u << v;
    x->ahead[v] = load[v].ahead;
    if (cost > c->budget.max_accuracy_loss && cost > x->charged)
        charge(c, now, x, cost);
    choice_cpu_goes(c, now, v);
    c->counted[v].asked++;
    return (struct choice_step){.what = CHOICE_ASK, .variant = v};
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
    x->charged = -1;
    x->chance = 1;
}

uint32_t choice_begin(struct choice *c, uint64_t now, const struct choice_request *r,
                      const struct choice_load *load, struct choice_course *x)
{
    uint32_t mask = 0;

    begin_course(c, now, r, x);
    choice_cpu_comes(c, now);
    processors_came(&c->processors, now);
    switch (c->budget.how) {
    case CHOOSE_BUDGET:
        mask = choice_begin_by_budget(c, now, load, x);
        break;
    case CHOOSE_CASCADE:
        mask = choice_begin_cascade(c, now, load, x);
        break;
    case CHOOSE_EXP3:
        mask = choice_draw(c, now, choice_timely(c, now, load, x), x);
        break;
    case CHOOSE_EXP4:
        mask = choice_timely(c, now, load, x);
        paging_wished(&c->paging, now, (1u << c->n) - 1);
        break;
    }
    for (int i = 0; i < c->n; i++)
        if (mask >> i & 1)
            ask(c, now, i, load, x);
    x->over = !mask;
    return mask;
}

uint64_t choice_patience(const struct choice_course *x)
{
    return x->time_ns;
}

/* --- answers --- */

static struct choice_step serve(struct choice *c, uint64_t now, struct choice_course *x, int v,
                                float confidence, uint32_t voted, double cost)
{
    charge(c, now, x, cost);
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

/* What a cascade has, though it is unsure of it. */
static struct choice_step serve_unsure(struct choice *c, uint64_t now, struct choice_course *x, int otherwise)
{
    int v = choice_unsure(c, now, x);
    return v < 0 ? step(otherwise) : serve(c, now, x, v, x->confidence[v], 1u << v, choice_costs(c, v));
}

/* One more that was not asked yet and has time. Where one failed because of the load, only one that the
 * processors have room for: a dearer one would be late, and make others late. */
static struct choice_step ask_another(struct choice *c, uint64_t now, struct choice_course *x,
                                      const struct choice_load *load, bool crowded)
{
    int from = crowded ? (int)ceil(processors_level(&c->processors, now)) : 0;
    uint32_t open = x->asked & ~x->came & ~x->failed, ready = choice_ready(c, load) & ~x->asked;
    bool cascade = c->budget.how == CHOOSE_CASCADE;
    int v;

    if (open)
        return step(CHOICE_WAIT);
    for (int i = 0; i < c->n; i++)
        if ((double)now + choice_expects(c, now, i, load) > (double)x->until_ns)
            ready &= ~(1u << i);
    v = cascade ? choice_next_of_cascade(c, ready) : choice_pick(c, now, ready, load, x, from, !crowded);
    if (v < 0)
        return cascade ? serve_unsure(c, now, x, CHOICE_FAIL) : step(CHOICE_FAIL);
    x->chance = 1; /* nothing was drawn */
    return ask(c, now, v, load, x);
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
        if (a->crowded)
            processors_did(&c->processors, now, true);
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
    c->counted[v].late += now - x->began_ns > x->time_ns;
    processors_did(&c->processors, now, choice_strained(c, v, x, (double)a->took_ns));
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
        return s.what == CHOICE_FAIL ? ask_another(c, now, x, load, a->crowded) : s;
    }
    if (a->failed || (c->budget.how == CHOOSE_CASCADE && v != choice_last_of_cascade(c) &&
                      !(a->confidence > c->variant[v].sure)))
        return ask_another(c, now, x, load, a->crowded);
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
    if (!x->over && x->charged >= 0)
        allowance_take_back(&c->loss, x->charged);
    x->over = true;
}

/* --- the rest --- */

uint32_t choice_wants(struct choice *c, uint64_t now, uint32_t loaded)
{
    return paging_wants(&c->paging, now, loaded);
}

int choice_keep_hour(const struct choice *c, uint64_t now, int64_t wall_s, const char *path, struct error *e)
{
    return hour_file_write(&c->loss, now, wall_s, path, e);
}

int choice_recall_hour(struct choice *c, uint64_t now, int64_t wall_s, const char *path, struct error *e)
{
    return hour_file_read(&c->loss, now, wall_s, path, e);
}

void choice_status(const struct choice *c, uint64_t now, struct choice_status *out)
{
    memset(out, 0, sizeof *out);
    out->n = c->n;
    out->served_hour = allowance_requests(&c->loss, now);
    out->loss_hour = allowance_mean(&c->loss, now);
    out->loss_budget = c->budget.max_accuracy_loss;
    out->level = processors_level(&c->processors, now);
    out->feedback_taken = c->feedback_taken;
    out->feedback_unknown = c->feedback_unknown;
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
