/* fuzz_cache.c - the cache service's brain under hostile, well-formed and damaged messages, and moments in
 * time
 *
 * Look-ups and outcomes against snapshots that come and go; the table of descriptors that wait for an outcome
 * against a plain list; the conversation with the broker. Checked: a verdict answers its look-up item by
 * item, a hit ends only what may end, each kept descriptor is learned from once and with the label that was
 * told, and all is bounded.
 */
#include "cache_service/index/cache_body.h"
#include "cache_service/index/half.h"
#include "cache_service/service/control.h"
#include "cache_service/service/lookups.h"
#include "fuzz_input.h"

#include <math.h>

#include "base/clock.h"

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
    struct lookups *lookups;
    struct pending *pending;
    struct control control;
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
    struct manifest m = {.n_exits = (int)fuzz_below(&w.in, EXITS + 1)};
    uint8_t which = fuzz_byte(&w.in);
    struct snapshot *s;
    m.promised = which & 0x80;
    for (int i = 0; i < m.n_exits; i++) {
        snprintf(m.exit[i].name, sizeof m.exit[i].name, "exit%d", i);
        m.exit[i].origin = 77;
    }
    if (!(s = snapshot_new(&m)))
        abort();
    for (int i = 0; i < m.n_exits; i++)
        if (which >> i & 1)
            s->cache[i] = small_cache();
    snapshot_free(lookups_swap(w.lookups, s));
}

/* --- look-ups and outcomes --- */

static void check_verdict(const struct lookup *in, const struct verdict *v, uint64_t broker_now)
{
    static struct message m;
    FUZZ_CHECK(v->n == in->n && v->exit == in->exit && v->sequence == in->sequence);
    m.type = MESSAGE_VERDICT;
    m.verdict = *v;
    fuzz_check_sent(&m);
    for (int i = 0; i < v->n; i++) {
        const struct verdict_item *x = &v->item[i];
        FUZZ_CHECK(x->request == in->item[i].request && x->attempt == in->item[i].attempt);
        FUZZ_CHECK(x->label >= -1 && x->label < CLASSES && isfinite(x->confidence));
        if (!x->hit)
            continue;
        FUZZ_CHECK(x->label >= 0 && !(in->item[i].flags & (JOB_AUDIT | JOB_NO_CACHE)));
        FUZZ_CHECK(broker_now < in->item[i].deadline_ns && in->dim == DIM);
        m.type = MESSAGE_RESULT;
        lookups_result(&in->item[i], v, i, broker_now, &m.result);
        fuzz_check_sent(&m);
        if (fuzz_byte(&w.in) > 250)
            lookups_undo_hit(w.lookups);
    }
}

static void ask(const struct lookup *in)
{
    static struct verdict v;
    static float numbers[MESSAGE_MAX_BATCH * DIM * 2 + 1];
    uint64_t broker_now = fuzz_byte(&w.in) & 1 ? w.now : fuzz_number(&w.in);
    int odd = (int)fuzz_below(&w.in, 4); /* frames may lie at any address */
    struct error e = {FL_OK, ""};
    char *at = (char *)numbers + odd;
    if ((int64_t)in->n * in->dim > MESSAGE_MAX_BATCH * DIM * 2)
        return;
    for (int i = 0; i < in->n * (int)in->dim; i++) {
        float x = fuzz_byte(&w.in) > 250 ? (float)NAN : (float)fuzz_byte(&w.in) / 32;
        memcpy(at + (size_t)i * sizeof x, &x, sizeof x);
    }
    for (int i = 0; i < in->n; i++)
        w.kept += (in->item[i].flags & (JOB_SAMPLED | JOB_AUDIT)) != 0;
    if (lookups_answer(w.lookups, in, (const float *)(const void *)at, w.now, broker_now, &v, &e))
        FUZZ_CHECK(e.text[0]);
    check_verdict(in, &v, broker_now);
}

static void learn(void *arg, struct update *u)
{
    (void)arg;
    FUZZ_CHECK(u->request == w.of && u->label == w.told && u->label >= 0 && u->dim == DIM);
    FUZZ_CHECK(++w.learned <= EXITS && w.kept-- > 0);
    for (uint32_t i = 0; i < u->dim; i++)
        FUZZ_CHECK(isfinite(u->descriptor[i]));
    update_free(u);
}

static void tell(const struct outcome *o)
{
    w.of = o->request;
    w.told = o->label;
    w.learned = 0;
    lookups_outcome(w.lookups, o, learn, NULL);
    w.learned = 0;
    lookups_outcome(w.lookups, o, learn, NULL); /* told twice: nothing is left */
    FUZZ_CHECK(w.learned == 0);
}

static void fill_lookup(struct lookup *l)
{
    uint8_t how = fuzz_byte(&w.in);
    l->exit = how & 1 ? fuzz_below(&w.in, EXITS) : (uint32_t)fuzz_number(&w.in);
    l->sequence = fuzz_number(&w.in);
    l->sent_ns = fuzz_number(&w.in);
    l->dim = how & 6 ? DIM : (uint32_t)fuzz_number(&w.in);
    l->origin = how & 8 ? 77 : fuzz_number(&w.in);
    l->n = (int)fuzz_below(&w.in, how & 16 ? 4 : MESSAGE_MAX_BATCH + 1);
    for (int i = 0; i < l->n; i++) {
        struct lookup_item *item = &l->item[i];
        *item = (struct lookup_item){.request = fuzz_number(&w.in),
                                     .attempt = 1,
                                     .flags = (uint32_t)fuzz_number(&w.in),
                                     .deadline_ns = how & 32 ? UINT64_MAX : fuzz_number(&w.in)};
        if (how & 64)
            fuzz_trace(&w.in, &item->trace);
    }
}

/* --- what waits for an outcome --- */

static struct update *update_of(uint64_t request, int mark)
{
    struct update *u = update_new(DIM);
    if (!u)
        abort();
    u->request = request;
    u->descriptor[0] = (float)mark;
    return u;
}

static void leave_list(int i)
{
    memmove(&w.list[i], &w.list[i + 1], (size_t)(--w.n_list - i) * sizeof *w.list);
}

static void keep(void)
{
    struct waiting x = {fuzz_below(&w.in, 8), w.now, (int)fuzz_below(&w.in, EXITS), ++w.marks};
    pending_add(w.pending, update_of(x.request, x.mark), (struct pending_note){.exit = x.exit}, w.now);
    for (int i = 0; i < w.n_list; i++)
        if (w.list[i].request == x.request && w.list[i].exit == x.exit)
            leave_list(i--);
    if (w.n_list == SLOTS)
        leave_list(0);
    w.list[w.n_list++] = x;
}

static void on_outcome(void *arg, struct update *u, const struct pending_note *note)
{
    int i = 0;
    (void)arg;
    while (i < w.n_list && (w.list[i].request != u->request || w.list[i].exit != note->exit))
        i++;
    FUZZ_CHECK(i < w.n_list && u->descriptor[0] == (float)w.list[i].mark && u->label == w.told);
    leave_list(i);
    update_free(u);
}

static void end(void)
{
    uint64_t request = fuzz_below(&w.in, 8);
    bool full = fuzz_byte(&w.in) & 1;
    int there = 0, n;
    for (int i = 0; i < w.n_list; i++)
        there += w.list[i].request == request;
    w.told = (int32_t)fuzz_below(&w.in, CLASSES);
    n = pending_outcome(w.pending, request, w.told, full, on_outcome, NULL);
    FUZZ_CHECK(n == there);
    for (int i = 0; !full && i < w.n_list; i++)
        if (w.list[i].request == request)
            leave_list(i--);
}

static void expire(void)
{
    pending_expire(w.pending, w.now);
    while (w.n_list && w.now - w.list[0].born_ns >= NS_PER_S)
        leave_list(0);
    lookups_expire(w.lookups, w.now);
}

/* --- the broker --- */

static void hear(const struct message *m)
{
    if (m->type == MESSAGE_HELLO)
        control_welcome(&w.control, &m->hello, "B", w.now);
    else if (m->type == MESSAGE_HEARTBEAT)
        control_echo(&w.control, &m->heartbeat, w.now);
    else if (m->type == MESSAGE_OUTCOME)
        tell(&m->outcome);
}

static void speak(void)
{
    int type = control_next(&w.control, w.now);
    FUZZ_CHECK(type == 0 || type == MESSAGE_HELLO || type == MESSAGE_HEARTBEAT);
    FUZZ_CHECK(w.control.next_ns > w.now && w.control.next_ns <= w.now + w.control.beat_ns);
    control_broker_ns(&w.control, w.now);
}

static bool fill(struct message *m)
{
    memset(m, 0, FUZZ_CLEARED_BYTES);
    switch (fuzz_below(&w.in, 8)) {
    case 0:
    case 1:
    case 2:
        m->type = MESSAGE_LOOKUP;
        fill_lookup(&m->lookup);
        break;
    case 3:
    case 4:
        m->type = MESSAGE_OUTCOME;
        m->outcome = (struct outcome){fuzz_number(&w.in), (int32_t)fuzz_below(&w.in, CLASSES + 1) - 1,
                                      (int32_t)fuzz_below(&w.in, 5) - 1};
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
    default:
        return fuzz_raw(&w.in, m);
    }
    return fuzz_travel(&w.in, m);
}

static void event(void)
{
    static struct message m;
    uint8_t what = fuzz_byte(&w.in);
    if (what < 140) {
        if (!fill(&m))
            return;
        if (m.type == MESSAGE_LOOKUP)
            ask(&m.lookup);
        else
            hear(&m);
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
    FUZZ_CHECK(lookups_counters(w.lookups).hits <= lookups_counters(w.lookups).items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pipeline p = {.broker = {.heartbeat_ms = 20, .dead_after_ms = 100}};
    const struct pending_limits limits = {.count = SLOTS, .bytes = 1 << 20, .age_ns = NS_PER_S};
    static struct lookups *lookups;
    memset(&w, 0, sizeof w);
    w.in = (struct fuzz_input){data, data + size};
    w.now = 1000 * NS_PER_S;
    control_init(&w.control, &p);
    if ((!lookups && lookups_new(&lookups, NULL)) || pending_new(&w.pending, &limits))
        abort();
    w.lookups = lookups;
    for (int i = 0; i < EVENTS && w.in.at < w.in.end; i++)
        event();
    pending_free(w.pending);
    snapshot_free(lookups_swap(lookups, NULL)); /* as new, without the cost of making a large one each time */
    lookups_expire(lookups, UINT64_MAX);
    return 0;
}
