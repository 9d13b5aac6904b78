/* fuzz_cache.c - the cache service's brain under hostile, well-formed and damaged messages, and moments in
 * time
 *
 * Look-ups and outcomes against snapshots that come and go; the table of descriptors that wait for an outcome
 * against a plain list; the conversation with the broker. Checked: a verdict answers its look-up item by
 * item, a hit ends only what may end, each kept descriptor is learned from once and with the label that was
 * told, and all is bounded.
 */
#include "index/cache_body.h"
#include "index/half.h"
#include "cache_service/service/cache_brain.h"
#include "fuzz_input.h"

#include <math.h>

#include "base/clock.h"
#include "base/log.h"

#define EVENTS  300
#define EXITS   3
#define CLASSES 4
#define DIM     2
#define SLOTS   6 /* of the small table */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What waits for an outcome, as a list: the oldest first. */
struct waiting {
    uint64_t request, born_ns;
    int exit, mark;
};

struct world {
    struct fuzz_input in;
    uint64_t now;
    struct cache_brain *brain;
    struct cache_scratch *scratch;
    struct pending *pending;
    const struct lookup *asked; /* the look-up that is being answered, NULL: none */
    uint64_t hits;              /* of it, that the broker was told */
    struct waiting list[SLOTS];
    int n_list, marks;
    int32_t told;  /* the label of the outcome that is being told */
    uint64_t of;   /* and its request */
    int learned;   /* from it so far */
    uint64_t kept; /* descriptors that look-ups may have kept: at most so many are learned from */
};

static struct world w;

/* --- snapshots --- */

static struct projection *identity_map(void)
{
    struct projection *p;
    if (projection_new(&p, DIM, DIM))
        abort();
    for (int i = 0; i < DIM; i++) {
        p->scale[i] = 1;
        p->weights[i * DIM + i] = half_from_float(1);
    }
    return p;
}

static struct cache *small_cache(void)
{
    static const float at[CLASSES][DIM] = {{0, 0}, {4, 0}, {0, 4}, {4, 4}};
    struct projection *p = identity_map();
    struct cache *c;
    if (cache_new(&c, CACHE_KMEANS, p, CLASSES) || points_reserve(&c->kmeans.points, DIM, CLASSES) ||
        !(c->kmeans.count = calloc(CLASSES * CLASSES, sizeof *c->kmeans.count)))
        abort();
    projection_release(p);
    c->threshold = 0.5f;
    for (int i = 0; i < CLASSES; i++) {
        points_set(&c->kmeans.points, i, at[i]);
        c->kmeans.count[i * CLASSES + i] = 5;
    }
    return c;
}

static void new_snapshot(void)
{
    struct manifest m = {.n_exits = (int)fuzz_below(&w.in, EXITS + 1), .classes = CLASSES};
    uint8_t which = fuzz_byte(&w.in);
    struct snapshot *s;
    m.promised = which & 0x80;
    for (int i = 0; i < m.n_exits; i++) {
        snprintf(m.exit[i].name, sizeof m.exit[i].name, "exit%d", i);
        m.exit[i].origin = 77 + (uint64_t)i;
    }
    if (!(s = snapshot_new(&m)))
        abort();
    for (int i = 0; i < m.n_exits; i++)
        if (which >> i & 1)
            s->cache[i] = small_cache();
    snapshot_free(cache_brain_swap(w.brain, s));
}

/* --- look-ups and outcomes --- */

static int on_result(void *arg, const struct message *m)
{
    const struct lookup *in = w.asked;
    int i = 0;
    (void)arg;
    fuzz_check_sent(m);
    FUZZ_CHECK(in);
    while (i < in->n && in->item[i].request != m->result.request)
        i++;
    FUZZ_CHECK(i < in->n && m->result.label >= 0 && in->dim == DIM);
    if (fuzz_byte(&w.in) > 250)
        return FL_AGAIN;
    w.hits++;
    return FL_OK;
}

static int on_verdict(void *arg, const struct peer *to, const struct message *m)
{
    const struct lookup *in = w.asked;
    const struct verdict *v = &m->verdict;
    (void)arg;
    (void)to;
    fuzz_check_sent(m);
    FUZZ_CHECK(in && v->n == in->n && v->exit == in->exit && v->sequence == in->sequence);
    for (int i = 0; i < v->n; i++) {
        const struct verdict_item *x = &v->item[i];
        FUZZ_CHECK(x->request == in->item[i].request && x->attempt == in->item[i].attempt);
        FUZZ_CHECK(x->label >= -1 && x->label < CLASSES && isfinite(x->confidence));
        FUZZ_CHECK(!x->hit || !(in->item[i].flags & (JOB_AUDIT | JOB_NO_CACHE)));
        FUZZ_CHECK(!x->hit ||
                   cache_brain_broker_ns(w.brain, in->item[0].request, w.now) < in->item[i].deadline_ns);
        w.hits -= x->hit;
    }
    FUZZ_CHECK(w.hits == 0);
    w.asked = NULL;
    return FL_OK;
}

static int on_control(void *arg, int broker, const struct message *m)
{
    (void)arg;
    (void)broker;
    fuzz_check_sent(m);
    return fuzz_byte(&w.in) > 250 ? FL_AGAIN : FL_OK;
}

static int look(void *arg, const struct snapshot *s, const struct lookup *in, const float *descriptors,
                struct cache_verdict *found)
{
    (void)arg;
    return descriptors ? cache_lookup(s->cache[in->exit], w.scratch, descriptors, in->n, found) : FL_VALUE;
}

static void on_update(void *arg, struct update *u)
{
    (void)arg;
    FUZZ_CHECK(u->n >= 0 && u->n <= EXITS && w.kept >= (unsigned)u->n);
    if (u->flags & UPDATE_LOST)
        FUZZ_CHECK(u->n == 0 && u->request == w.of && u->label == -1 && u->truth == -1 && w.told == -1);
    else if (u->n == 0)
        FUZZ_CHECK(u->label == -1 && u->truth >= 0 && u->truth < CLASSES);
    else
        FUZZ_CHECK(u->request == w.of && u->label == w.told && u->label >= 0 && ++w.learned == 1);
    w.kept -= (unsigned)u->n;
    for (int i = 0; i < u->n; i++)
        FUZZ_CHECK(half_all_finite(u->exit[i].half, u->exit[i].dim));
    update_free(u);
}

static void on_reload(void *arg)
{
    (void)arg;
}

static void on_keeper(void *arg, struct heartbeat *h)
{
    (void)arg;
    (void)h;
}

static uint64_t moment(void *arg)
{
    (void)arg;
    return w.now;
}

static void ask(const struct message *m)
{
    static float numbers[MESSAGE_MAX_BATCH * DIM * 2];
    const struct lookup *in = &m->lookup;
    struct cache_arrival came = {fuzz_number(&w.in), fuzz_number(&w.in)};
    static const struct peer from = {.size = 1};
    if (m->type == MESSAGE_LOOKUP) {
        if ((int64_t)in->n * in->dim > MESSAGE_MAX_BATCH * DIM * 2)
            return;
        for (int i = 0; i < in->n * (int)in->dim; i++)
            numbers[i] = fuzz_byte(&w.in) > 250 ? (float)NAN : (float)fuzz_byte(&w.in) / 32;
        for (int i = 0; i < in->n; i++)
            w.kept += (in->item[i].flags & (JOB_SAMPLED | JOB_AUDIT)) != 0;
        w.asked = in->told ? NULL : in; /* it has its verdict already */
    }
    w.hits = 0;
    cache_brain_lookup(w.brain, &from, m, fuzz_byte(&w.in) > 250 ? NULL : numbers, &came, w.now);
    FUZZ_CHECK(!w.asked); /* answered */
}

static void tell(const struct message *m)
{
    const struct outcome *o = &m->outcome;
    w.of = o->original ? o->original : o->request;
    w.told = o->label;
    w.learned = 0;
    cache_brain_control(w.brain, 0, m, w.now);
    w.learned = 0;
    cache_brain_control(w.brain, 0, m, w.now); /* told twice: nothing is left */
    FUZZ_CHECK(w.learned == 0);
}

static void fill_lookup(struct lookup *l)
{
    uint8_t how = fuzz_byte(&w.in);
    l->exit = how & 1 ? fuzz_below(&w.in, EXITS) : (uint32_t)fuzz_number(&w.in);
    l->sequence = fuzz_number(&w.in);
    l->sent_ns = fuzz_number(&w.in);
    l->told = (how & 0xe0) == 0xe0;
    l->dim = how & 6 ? DIM : (uint32_t)fuzz_number(&w.in);
    l->origin = how & 8 ? 77 + (uint64_t)l->exit : fuzz_number(&w.in);
    l->n = (int)fuzz_below(&w.in, how & 16 ? 4 : MESSAGE_MAX_BATCH + 1);
    for (int i = 0; i < l->n; i++) {
        struct lookup_item *item = &l->item[i];
        *item = (struct lookup_item){.request = fuzz_number(&w.in),
                                     .attempt = 1,
                                     .flags = (uint32_t)fuzz_number(&w.in),
                                     .deadline_ns = how & 32 ? UINT64_MAX : fuzz_number(&w.in)};
        item->stream = item->request & 3;
        if (how & 64)
            fuzz_trace(&w.in, &item->trace);
    }
}

/* --- what waits for an outcome --- */

static struct update *update_of(uint64_t request, int mark)
{
    struct update *u = update_new(1, &(uint32_t){DIM});
    if (!u)
        abort();
    u->request = request;
    update_fill(u, 0, (uint64_t)mark, (float[DIM]){0});
    return u;
}

static void leave_list(int i)
{
    memmove(&w.list[i], &w.list[i + 1], (size_t)(--w.n_list - i) * sizeof *w.list);
}

static void leave_request(uint64_t request)
{
    for (int i = 0; i < w.n_list; i++)
        if (w.list[i].request == request)
            leave_list(i--);
}

static void keep(void)
{
    struct waiting x = {fuzz_below(&w.in, 8), w.now, (int)fuzz_below(&w.in, EXITS), ++w.marks};
    pending_add(w.pending, update_of(x.request, x.mark), (struct pending_note){.exit = x.exit}, w.now);
    for (int i = 0; i < w.n_list; i++)
        if (w.list[i].request == x.request && w.list[i].exit == x.exit)
            leave_list(i--);
    if (w.n_list == SLOTS)
        leave_request(w.list[0].request);
    w.list[w.n_list++] = x;
}

static void on_outcome(void *arg, struct update *u, const struct pending_note *notes, int n)
{
    (void)arg;
    FUZZ_CHECK(u->n == n + 1 && u->exit[n].origin == UPDATE_SCORES);
    for (int k = 0; k < n; k++) {
        int i = 0;
        while (i < w.n_list && (w.list[i].request != u->request || w.list[i].exit != notes[k].exit))
            i++;
        FUZZ_CHECK(i < w.n_list && u->exit[k].origin == (uint64_t)w.list[i].mark);
        FUZZ_CHECK(!k || notes[k].exit > notes[k - 1].exit);
        leave_list(i);
    }
    update_free(u);
}

static void end(void)
{
    static const uint16_t scores[] = {0x3c00, 0};
    uint64_t request = fuzz_below(&w.in, 8);
    bool full = fuzz_byte(&w.in) & 1;
    int there = 0, n;
    for (int i = 0; i < w.n_list; i++)
        there += w.list[i].request == request;
    n = pending_outcome(w.pending, request, scores, 2, full ? on_outcome : NULL, NULL);
    FUZZ_CHECK(n == there);
    if (!full)
        leave_request(request);
}

static void expire(void)
{
    pending_expire(w.pending, w.now);
    while (w.n_list && w.now - w.list[0].born_ns >= NS_PER_S)
        leave_request(w.list[0].request);
}

/* --- the broker --- */

static void speak(void)
{
    uint64_t next = cache_brain_tick(w.brain, w.now);
    FUZZ_CHECK(next > w.now && next <= w.now + 20 * NS_PER_MS);
}

static bool fill(struct message *m)
{
    memset(m, 0, FUZZ_CLEARED_BYTES);
    switch (fuzz_below(&w.in, 9)) {
    case 0:
    case 1:
    case 2:
        m->type = MESSAGE_LOOKUP;
        fill_lookup(&m->lookup);
        break;
    case 3:
    case 4:
        m->type = MESSAGE_OUTCOME;
        m->outcome = (struct outcome){fuzz_number(&w.in),
                                      (int32_t)fuzz_below(&w.in, CLASSES + 1) - 1,
                                      (int32_t)fuzz_below(&w.in, 5) - 1,
                                      fuzz_byte(&w.in) & 1,
                                      fuzz_byte(&w.in) & 1 ? fuzz_number(&w.in) : 0,
                                      0,
                                      {0}};
        break;
    case 5:
        m->type = MESSAGE_HEARTBEAT;
        m->heartbeat = (struct heartbeat){.incarnation = fuzz_number(&w.in),
                                          .worker_ns = fuzz_number(&w.in),
                                          .broker_ns = fuzz_number(&w.in)};
        break;
    case 6:
        m->type = MESSAGE_HELLO;
        m->hello = (struct hello){.role = ROLE_BROKER, .incarnation = fuzz_number(&w.in), .ready = true};
        m->hello.boot_id[0] = fuzz_byte(&w.in) & 1 ? 'B' : 'X';
        break;
    case 7:
        m->type = MESSAGE_FEEDBACK;
        m->feedback.n = 1 + (int)fuzz_below(&w.in, 3);
        for (int i = 0; i < m->feedback.n; i++) {
            m->feedback.item[i].request = fuzz_number(&w.in);
            m->feedback.item[i].label = (int32_t)fuzz_below(&w.in, CLASSES + 2) - 1;
        }
        break;
    default:
        return fuzz_raw(&w.in, m);
    }
    return fuzz_travel(&w.in, m);
}

static void event(void)
{
    static struct message m;
    struct cache_counters c;
    uint8_t what = fuzz_byte(&w.in);
    if (what < 140) {
        if (!fill(&m))
            return;
        if (m.type == MESSAGE_LOOKUP || what < 10)
            ask(&m);
        else if (m.type == MESSAGE_OUTCOME)
            tell(&m);
        else
            cache_brain_control(w.brain, 0, &m, w.now);
    } else if (what < 170) {
        keep();
    } else if (what < 190) {
        end();
    } else if (what < 200) {
        new_snapshot();
    } else if (what < 210) {
        speak();
    } else {
        w.now += (uint64_t)(what - 210) * (what - 210) * NS_PER_MS;
        expire();
    }
    FUZZ_CHECK(pending_count(w.pending) == w.n_list);
    c = cache_brain_counters(w.brain);
    FUZZ_CHECK(c.lookups.hits <= c.lookups.items && c.pending <= SLOTS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pipeline p = {.broker = {.heartbeat_ms = 20, .dead_after_ms = 100}};
    static const struct cache_io io = {NULL,      on_verdict, on_result, on_control, look,
                                       on_update, on_reload,  on_keeper, moment};
    static struct cache_scratch *scratch;
    const struct pending_limits limits = {.count = SLOTS, .bytes = 1 << 20, .age_ns = NS_PER_S};
    struct cache_setup setup = {.pipeline = &p, .pending = limits, .spans = SLOTS};
    log_threshold = LOG_LEVEL_ERROR + 1;
    memset(&w, 0, sizeof w);
    w.in = (struct fuzz_input){data, data + size};
    w.now = 1000 * NS_PER_S;
    setup.hello = (struct hello){.role = ROLE_CACHE, .incarnation = 1, .boot_id = "B", .ready = true};
    if ((!scratch && cache_scratch_new(&scratch, MESSAGE_MAX_BATCH)) || pending_new(&w.pending, &limits) ||
        cache_brain_new(&w.brain, &setup, &io, NULL))
        abort();
    w.scratch = scratch;
    for (int i = 0; i < EVENTS && w.in.at < w.in.end; i++)
        event();
    pending_free(w.pending);
    cache_brain_free(w.brain);
    return 0;
}
