/* stage_near.c - means of what look-ups take, and what follows from them */
#include "stage_near.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"

#define MEMORY    64  /* look-ups that a mean remembers */
#define KNOWN     32  /* items after which a share of hits counts */
#define OTHER_WAY 256 /* of so many look-ups, one goes where it is not quicker: that may change */
#define MARGIN    0.8 /* the service must be quicker than this: it costs more of the CPU */

void stage_near_init(struct stage_near *n, const struct cache_config *c)
{
    const char *where = c->placement ? c->placement : "auto";
    n->may = strcmp(where, "service") != 0;
    n->must = !strcmp(where, "near");
    n->keep_ns = (uint64_t)c->near_keep_ms * NS_PER_MS;
}

static void use(struct stage_near *n, uint32_t exits)
{
    n->exits = exits;
    n->epoch = exits ? n->held_epoch : 0;
    n->turns++;
}

void stage_near_holds(struct stage_near *n, uint64_t epoch, uint32_t exits, uint64_t now)
{
    n->held = n->may ? exits : 0;
    n->held_epoch = epoch;
    n->lives_ns = now;
    use(n, n->held);
}

void stage_near_lives(struct stage_near *n, uint64_t now)
{
    n->lives_ns = now;
    if (n->exits != n->held)
        use(n, n->held);
}

bool stage_near_expires(struct stage_near *n, uint64_t now)
{
    if (!n->exits || now < n->lives_ns || now - n->lives_ns <= n->keep_ns)
        return false;
    use(n, 0);
    return true;
}

bool stage_near_has(const struct stage_near *n, int exit)
{
    return n->exits >> exit & 1;
}

uint32_t stage_near_exits(const struct stage_near *n)
{
    return n->exits & ~n->elsewhere;
}

/* A request's mean time in a look-up at the service: a hit waits for the whole way, a miss for what it costs
 * to ask, or, where it is held back, for the verdict. */
static double near_service_ns(const struct near_exit *x, bool held)
{
    return x->hit_share * x->trip_ns + (1 - x->hit_share) * (held ? x->trip_ns : x->ask_ns);
}

bool stage_near_answers(struct stage_near *n, int exit, bool held)
{
    struct near_exit *x = &n->exit[exit];
    bool known = x->near_ns > 0 && x->trip_ns > 0 && x->items >= KNOWN, elsewhere;
    if (!stage_near_has(n, exit))
        return false;
    if (n->must)
        return true;
    if (!known) /* both ways, until both are */
        return x->turn++ % 4 != 3;
    elsewhere = x->near_ns * MARGIN > near_service_ns(x, held);
    n->elsewhere = (n->elsewhere & ~(1u << exit)) | (uint32_t)elsewhere << exit;
    return elsewhere == (++x->turn % OTHER_WAY == 0);
}

/* --- measuring --- */

static void learn(double *mean, double ns)
{
    *mean += *mean > 0 ? (ns - *mean) / MEMORY : ns;
}

static void count(struct near_exit *x, const struct verdict *v)
{
    for (int i = 0; i < v->n; i++) {
        x->items += x->items < MEMORY;
        x->hit_share += ((double)v->item[i].hit - x->hit_share) / x->items;
    }
}

void stage_near_looked(struct stage_near *n, int exit, uint64_t ns, const struct verdict *v)
{
    learn(&n->exit[exit].near_ns, (double)ns);
    count(&n->exit[exit], v);
}

void stage_near_asked(struct stage_near *n, int exit, uint64_t ns)
{
    learn(&n->exit[exit].ask_ns, (double)ns);
}

void stage_near_told(struct stage_near *n, int exit, uint64_t trip_ns, const struct verdict *v)
{
    learn(&n->exit[exit].trip_ns, (double)trip_ns);
    count(&n->exit[exit], v);
}

void stage_near_computed(struct stage_near *n, int exit, uint64_t ns, int rows)
{
    if (rows > 0)
        learn(&n->exit[exit].row_ns, (double)ns / rows);
}

/* --- what pays --- */

double near_run_on_gain_ns(const struct near_exit *x, int n, int nodes)
{
    double all_hit = pow(x->hit_share, n), some_miss = 1 - all_hit;
    double hits = some_miss > 0 ? n - n * (1 - x->hit_share) / some_miss : 0; /* beside at least one miss */
    double behind_ns = n * x->row_ns, saved = fmin(x->trip_ns, behind_ns);
    double rest_ns = nodes > 0 ? behind_ns / nodes / 2 : 0;
    return some_miss * (saved - hits * x->row_ns) - all_hit * rest_ns;
}

bool stage_near_runs_on(const struct stage_near *n, int exit, int rows, int nodes)
{
    const struct near_exit *x = &n->exit[exit];
    return x->items < KNOWN || x->trip_ns <= 0 || x->row_ns <= 0 || near_run_on_gain_ns(x, rows, nodes) > 0;
}
