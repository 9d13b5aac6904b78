/* story.c - drawing a story, and telling it */
#include "story.h"

#include <string.h>

#include "base/clock.h"
#include "wire/message.h"

#define START_MS  60  /* all are connected and ready */
#define FAULTS_MS 300 /* of trouble */

static uint32_t between(struct shuffle *r, uint32_t low, uint32_t high)
{
    return low + shuffle_below(r, high - low + 1);
}

static bool chance(struct shuffle *r, double p)
{
    return shuffle_uniform(r) < p;
}

static void draw_hosts(struct setting *s, struct shuffle *r)
{
    s->n_hosts = chance(r, 0.5) ? 1 : (int)between(r, 2, STORY_HOSTS);
    for (int i = 1; i < s->n_hosts; i++) /* some of them: other machines with the same clock, as containers */
        s->clock_ns[i] = chance(r, 0.8) ? (uint64_t)between(r, 1, 1000000) * NS_PER_S / 100 : s->clock_ns[0];
    s->host_of_client[0] = (int)shuffle_below(r, (uint32_t)s->n_hosts);
    s->host_of_client[1] = (int)shuffle_below(r, (uint32_t)s->n_hosts);
    for (int k = 0; k < s->n_stages; k++)
        for (int i = 0; i < s->n_replicas[k]; i++)
            s->host_of_stage[k][i] = (int)shuffle_below(r, (uint32_t)s->n_hosts);
    for (int i = 0; i < s->n_caches; i++)
        s->host_of_cache[i] = (int)shuffle_below(r, (uint32_t)s->n_hosts);
}

static void draw_setting(struct setting *s, struct shuffle *r)
{
    static const uint64_t clocks[] = {NS_PER_S, 1000 * NS_PER_S, 77777 * NS_PER_S};
    s->n_stages = (int)between(r, 2, 3);
    for (int k = 0; k < s->n_stages; k++)
        s->n_replicas[k] = (int)between(r, 1, 2);
    s->n_caches = (int)shuffle_below(r, 3);
    s->n_clients = (int)between(r, 1, 2);
    s->clock_ns[0] = clocks[shuffle_below(r, 3)];
    draw_hosts(s, r);
    s->max_batch = chance(r, 0.3) ? 1 : (int)between(r, 2, 4);
    s->max_requests = (int)between(r, 8, 32);
    s->deadline_ms = (int)between(r, 40, 200);
    s->retries = (int)shuffle_below(r, 4);
    s->heartbeat_ms = 30;
    s->dead_after_ms = (int)between(r, 80, 140);
    s->wait_us = chance(r, 0.3) ? 0 : (int)between(r, 100, 4000);
    s->target_ms = chance(r, 0.5) ? 0 : (int)between(r, 10, 100);
    s->sample = chance(r, 0.5) ? 0.5 : 0;
    s->audit = chance(r, 0.3) ? 0.3 : 0;
    s->hit_share = shuffle_uniform(r) * 0.7;
    s->delay_us = chance(r, 0.5) ? 50 : between(r, 50, 1500);
    s->spike_us = chance(r, 0.7) ? s->delay_us : between(r, 1000, 12000);
    s->compute_us = between(r, 50, 4000);
    s->codec = chance(r, 0.05);
}

/* From numbers of their own: all else of a story stays what it was without them. */
static void draw_near(struct setting *s, uint64_t seed)
{
    struct shuffle r;
    shuffle_seed(&r, seed, 2);
    s->near = chance(&r, 0.5);
    s->keep_ms = chance(&r, 0.3) ? 0 : (int)between(&r, 1, 100);
}

static void draw_worker(struct happening *h, const struct setting *s, struct shuffle *r)
{
    uint32_t who = shuffle_below(r, 8);
    h->role = ROLE_STAGE;
    h->stage = (int)shuffle_below(r, (uint32_t)s->n_stages);
    h->replica = (int)shuffle_below(r, (uint32_t)s->n_replicas[h->stage]);
    if (who < 2 && s->n_caches) {
        h->role = ROLE_CACHE;
        h->stage = 0;
        h->replica = (int)shuffle_below(r, (uint32_t)s->n_caches);
    }
}

static void draw_ask(struct happening *h, const struct setting *s, struct shuffle *r)
{
    h->kind = ASK;
    h->a = (int)shuffle_below(r, (uint32_t)s->n_clients);
    h->x = chance(r, 0.1) ? JOB_NO_CACHE : chance(r, 0.1) ? JOB_AUDIT : chance(r, 0.1) ? JOB_TRACE : 0;
    h->y = chance(r, 0.7) ? 0 : between(r, 1, 300);
    h->b = chance(r, 0.04) ? 1 : chance(r, 0.04) ? 2 : 0; /* an input that is not finite; of another shape */
}

static void draw_bad(struct happening *h, enum kind kind, const struct setting *s, struct shuffle *r)
{
    h->kind = kind;
    h->x = between(r, 1, 120);
    h->y = shuffle_u32(r);
    draw_worker(h, s, r);
    if ((kind == KILL || kind == STALL || kind == END) && chance(r, 0.1)) {
        h->role = ROLE_BROKER;
        h->stage = h->replica = 0;
    }
    switch (kind) {
    case STALL:
        h->x = between(r, 1, 220);
        break;
    case HOLD:
    case BREAK:
        if (s->n_hosts == 1)
            h->kind = STALL; /* there is no link */
        h->a = (int)shuffle_below(r, (uint32_t)s->n_hosts);
        h->b = (h->a + 1 + (int)shuffle_below(r, (uint32_t)s->n_hosts)) % s->n_hosts;
        if (h->a == h->b)
            h->b = (h->a + 1) % s->n_hosts;
        break;
    case FAIL:
        h->role = ROLE_STAGE;
        h->stage %= s->n_stages;
        h->replica %= s->n_replicas[h->stage];
        break;
    case SLOW:
        h->y = between(r, 2, 12);
        break;
    case DRAIN:
        h->y = chance(r, 0.5);
        break;
    case REPLAY:
    case DAMAGE:
        h->a = (int)shuffle_below(r, WORLD_PORTS);
        break;
    case FORGE:
        h->a = (int)shuffle_u32(r) & 0xff;
        break;
    default:
        break;
    }
}

/* One story has few kinds of trouble: many at once hide one another. */
static uint32_t draw_kinds(struct shuffle *r, uint32_t allowed)
{
    uint32_t kinds = 0;
    int n = (int)between(r, 1, 3);
    for (int i = 0; i < n; i++)
        kinds |= 1u << between(r, ASK + 1, KINDS - 1);
    return chance(r, 0.1) ? allowed : kinds & allowed;
}

static void add(struct story *s, struct happening h)
{
    int i = s->n;
    if (s->n == STORY_MAX)
        return;
    for (; i > 0 && s->item[i - 1].at_ns > h.at_ns; i--)
        s->item[i] = s->item[i - 1];
    s->item[i] = h;
    s->n++;
}

static uint64_t moment(struct shuffle *r, uint64_t from_ms)
{
    return from_ms * NS_PER_MS +
           (uint64_t)(shuffle_uniform(r) * (double)((START_MS + FAULTS_MS - from_ms) * NS_PER_MS));
}

static void add_asks(struct story *s, struct shuffle *r, int n)
{
    for (int i = 0; i < n; i++) {
        struct happening h = {.at_ns = moment(r, START_MS)};
        draw_ask(&h, &s->setting, r);
        h.y = s->gentle ? 0 : h.y;
        add(s, h);
    }
}

static void add_burst(struct story *s, struct shuffle *r)
{
    uint64_t at = moment(r, START_MS);
    for (int k = (int)between(r, 5, 30); k > 0; k--) {
        struct happening h = {.at_ns = at + shuffle_below(r, 3000000)};
        draw_ask(&h, &s->setting, r);
        add(s, h);
    }
}

/* Some requests, one after the other, within so many ms. */
static void add_train(struct story *s, struct shuffle *r, uint64_t at_ns, uint32_t ms)
{
    for (int i = 0; i < 10; i++) {
        struct happening h = {.at_ns = at_ns + (uint64_t)i * ms * NS_PER_MS / 10};
        draw_ask(&h, &s->setting, r);
        h.x = h.y = 0;
        if (h.at_ns < s->calm_ns)
            add(s, h);
    }
}

/* Two replicas of every stage, one on each of two hosts; light load, long deadlines. */
static void draw_gentle(struct story *s, struct shuffle *r, uint32_t allowed)
{
    static const enum kind kinds[] = {FAIL, KILL, STALL, END, BREAK, HOLD, REPLACE};
    struct setting *t = &s->setting;
    struct happening h = {.at_ns = moment(r, START_MS)};
    enum kind kind = kinds[shuffle_below(r, sizeof kinds / sizeof *kinds)];
    for (int i = 0; i < 64 && !(allowed >> kind & 1); i++)
        kind = kinds[shuffle_below(r, sizeof kinds / sizeof *kinds)];

    t->n_hosts = STORY_HOSTS;
    t->clock_ns[1] = (uint64_t)between(r, 1, 1000000) * NS_PER_S / 100;
    t->clock_ns[2] = (uint64_t)between(r, 1, 1000000) * NS_PER_S / 100;
    t->host_of_client[0] = t->host_of_client[1] = 0;
    for (int k = 0; k < t->n_stages; k++) {
        t->n_replicas[k] = 2;
        t->host_of_stage[k][0] = 1 + k % 2; /* the way that is taken first goes from host to host */
        t->host_of_stage[k][1] = 2 - k % 2;
    }
    for (int i = 0; i < t->n_caches; i++)
        t->host_of_cache[i] = i + 1;
    t->deadline_ms = 600;
    t->target_ms = 0;
    t->max_requests = 64;
    t->delay_us = t->spike_us = chance(r, 0.5) ? 50 : between(r, 50, 4000);
    t->compute_us = between(r, 50, 1000);
    add_asks(s, r, (int)between(r, 6, 20));
    if (!(allowed >> kind & 1))
        return;
    draw_bad(&h, kind, t, r);
    if (h.role == ROLE_BROKER)
        h.role = ROLE_STAGE;
    h.a = 1;
    h.b = 2;
    if (h.role == ROLE_CACHE && h.kind == KILL) { /* while hits are on their way */
        t->retries = 0;
        t->hit_share = 0.9;
        t->delay_us = t->spike_us = 1500;
        add_train(s, r, h.at_ns - 5 * NS_PER_MS, 5);
    } else if (h.kind == BREAK) { /* before those at its ends have told of it */
        add_train(s, r, h.at_ns + NS_PER_MS, 10 * FAULTS_MS);
        h.x += 50;
    } else if (h.kind == END || h.kind == KILL) { /* as soon as the next one is there */
        add_train(s, r, h.at_ns + h.x * NS_PER_MS, 3);
    }
    if ((h.role == ROLE_STAGE || h.kind == BREAK) && h.kind != END && !t->retries)
        t->retries = 1; /* what a worker had is lost */
    add(s, h);
}

static void draw_lanes(struct setting *s, uint64_t seed)
{
    struct shuffle r;
    shuffle_seed(&r, seed, 3);
    s->beside_us = chance(&r, 0.5) ? between(&r, 20, 3000) : 0;
}

static bool of_broker(const struct happening *h)
{
    return h->role == ROLE_BROKER && (h->kind == KILL || h->kind == END || h->kind == STALL);
}

/* A second broker in some stories; mostly one of the two dies or stalls. Gentle stories: then that is the one
 * thing that goes wrong. From numbers of their own. */
static void draw_brokers(struct story *s, uint64_t seed, uint32_t allowed)
{
    static const enum kind kinds[] = {KILL, KILL, END, STALL};
    struct setting *t = &s->setting;
    struct happening h = {.role = ROLE_BROKER};
    struct shuffle r;
    shuffle_seed(&r, seed, 5);
    if (!chance(&r, 0.25))
        return;
    t->n_brokers = 2;
    t->host_of_broker[1] = (int)shuffle_below(&r, (uint32_t)t->n_hosts);
    for (int i = 0; i < s->n; i++)
        if (of_broker(&s->item[i]))
            s->item[i].replica = (int)shuffle_below(&r, 2);
    h.kind = kinds[shuffle_below(&r, 4)];
    h.replica = (int)shuffle_below(&r, 2);
    h.x = between(&r, 1, 300);
    h.at_ns = moment(&r, START_MS);
    if (!(allowed >> h.kind & 1) || chance(&r, 0.2))
        return;
    for (int i = 0, n = s->n; s->gentle && i < n; i++) {
        struct happening one = s->item[i];
        if (!i)
            s->n = 0;
        if (one.kind == ASK)
            s->item[s->n++] = one;
    }
    if (s->gentle)
        t->deadline_ms = 3000;
    add_train(s, &r, h.at_ns - 3 * NS_PER_MS, 6); /* some are under way */
    add(s, h);
}

/* A short break just when successors take their places, which loses what they say then: too short for the
 * broker to miss a heartbeat, so nothing else reminds it of them. From numbers of their own. */
static void draw_lost_words(struct story *s, uint64_t seed, uint32_t allowed)
{
    const struct setting *t = &s->setting;
    struct shuffle r;
    shuffle_seed(&r, seed, 6);
    for (int i = 0, n = s->n; i < n; i++) {
        struct happening h = {.at_ns = s->item[i].at_ns + between(&r, 0, 25000) * NS_PER_US, .kind = BREAK};
        if (s->item[i].kind != RELOAD || !(allowed >> BREAK & 1) || t->n_hosts == 1 || chance(&r, 0.3))
            continue;
        h.a = t->host_of_broker[0];
        h.b = (h.a + 1 + (int)shuffle_below(&r, (uint32_t)t->n_hosts - 1)) % t->n_hosts;
        h.x = between(&r, 1, (uint32_t)t->heartbeat_ms);
        add(s, h);
    }
}

static void draw_inputs(struct setting *s, uint64_t seed)
{
    struct shuffle r;
    shuffle_seed(&r, seed, 4);
    s->inputs = chance(&r, 0.3) ? (int)between(&r, 1, 8) : 0;
}

static void draw_all_else(struct story *s, uint64_t seed, uint32_t allowed)
{
    struct shuffle r;
    uint32_t kinds;

    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->calm_ns = (START_MS + FAULTS_MS) * NS_PER_MS;
    draw_lanes(&s->setting, seed);
    draw_inputs(&s->setting, seed);
    shuffle_seed(&r, seed, 1);
    draw_setting(&s->setting, &r);
    draw_near(&s->setting, seed);
    if ((s->gentle = chance(&r, 0.25))) {
        draw_gentle(s, &r, allowed);
        return;
    }
    kinds = draw_kinds(&r, allowed & ~(1u << ASK));
    add_asks(s, &r, (int)between(&r, 8, 28));
    for (int i = chance(&r, 0.2) ? (int)between(&r, 1, 2) : 0; i > 0; i--)
        add_burst(s, &r);
    for (int i = kinds ? (int)between(&r, 1, 6) : 0; i > 0;) {
        struct happening h = {.at_ns = moment(&r, 10)};
        enum kind kind = (enum kind)between(&r, ASK + 1, KINDS - 1);
        if (!(kinds >> kind & 1))
            continue;
        draw_bad(&h, kind, &s->setting, &r);
        add(s, h);
        i--;
    }
}

void story_draw(struct story *s, uint64_t seed, uint32_t kinds)
{
    draw_all_else(s, seed, kinds);
    draw_brokers(s, seed, kinds);
    draw_lost_words(s, seed, kinds);
}

/* ---- in plain words ---- */

static const char *const names[KINDS] = {"ask",    "kill",  "end",    "stall", "replace",
                                         "hold",   "break", "fail",   "slow",  "drain",
                                         "reload", "edit",  "replay", "forge", "damage"};

const char *story_kind(enum kind k)
{
    return names[k];
}

static const char *who(const struct happening *h, char *buf, size_t size)
{
    if (h->role == ROLE_BROKER)
        snprintf(buf, size, "broker %d", h->replica);
    else if (h->role == ROLE_CACHE)
        snprintf(buf, size, "cache service %d", h->replica);
    else
        snprintf(buf, size, "stage %d replica %d", h->stage, h->replica);
    return buf;
}

static void tell_ask(const struct happening *h, FILE *to)
{
    fprintf(to, "client %d asks%s%s%s", h->a, h->b == 1 ? " with an input that is not finite" : "",
            h->b == 2 ? " with an input of another shape" : "",
            h->x == JOB_NO_CACHE ? " for the full answer"
            : h->x == JOB_AUDIT  ? " (an audit)"
                                 : "");
    if (h->y)
        fprintf(to, ", within %u ms", h->y);
}

static void tell(const struct happening *h, FILE *to)
{
    static const char *const ports[] = {"request", "control message", "result", "job", "look-up"};
    char name[64];
    who(h, name, sizeof name);
    fprintf(to, "  %8.3f ms  ", (double)h->at_ns / 1e6);
    switch (h->kind) {
    case ASK:
        tell_ask(h, to);
        break;
    case KILL:
        fprintf(to, "%s is killed; its supervisor starts another after %u ms", name, h->x);
        break;
    case END:
        fprintf(to, "%s is asked to end; another starts %u ms after it has", name, h->x);
        break;
    case STALL:
        fprintf(to, "%s is stopped for %u ms", name, h->x);
        break;
    case REPLACE:
        fprintf(to, "a second process comes for %s", name);
        break;
    case HOLD:
        fprintf(to, "nothing passes between host %d and host %d for %u ms", h->a, h->b, h->x);
        break;
    case BREAK:
        fprintf(to, "the connections between host %d and host %d break for %u ms", h->a, h->b, h->x);
        break;
    case FAIL:
        fprintf(to, "whatever %s computes fails, for %u ms", name, h->x);
        break;
    case SLOW:
        fprintf(to, "computing takes %u times as long, for %u ms", h->y, h->x);
        break;
    case DRAIN:
        fprintf(to, "an operator drains for %u ms%s", h->x,
                h->y ? ", and takes it back after half of that" : "");
        break;
    case RELOAD:
        fprintf(to, "the pipeline is reloaded with other cuts");
        break;
    case EDIT:
        fprintf(to, "the file gets other cuts, and nobody reloads");
        break;
    case REPLAY:
        fprintf(to, "a stranger repeats an old %s", ports[h->a]);
        break;
    case FORGE:
        fprintf(to, "a stranger sends what no honest process would (%d, %u)", h->a, h->y);
        break;
    case DAMAGE:
        fprintf(to, "a stranger repeats an old %s with some bits changed", ports[h->a]);
        break;
    case KINDS:
        break;
    }
    fprintf(to, "\n");
}

void story_print(const struct story *s, FILE *to)
{
    const struct setting *t = &s->setting;
    fprintf(to, "%d stages (replicas:", t->n_stages);
    for (int k = 0; k < t->n_stages; k++)
        fprintf(to, " %d", t->n_replicas[k]);
    fprintf(
        to,
        "), %d cache services, %d clients, %d hosts; batches up to %d, %d requests at a time, deadline %d "
        "ms, %d retries, dead after %d ms, verdicts are waited for %d us%s%s\n",
        t->n_caches, t->n_clients, t->n_hosts, t->max_batch, t->max_requests, t->deadline_ms, t->retries,
        t->dead_after_ms, t->wait_us, t->codec ? "; through the codec" : "", t->near ? "; near caches" : "");
    if (s->gentle)
        fprintf(
            to,
            "  one thing at a time goes wrong, and another way is open: every request is to be answered\n");
    if (t->n_brokers > 1)
        fprintf(to, "  a second broker on host %d\n", t->host_of_broker[1]);
    fprintf(to, "  broker on host %d, clients on %d %d, stages on", t->host_of_broker[0],
            t->host_of_client[0], t->host_of_client[1]);
    for (int k = 0; k < t->n_stages; k++)
        for (int i = 0; i < t->n_replicas[k]; i++)
            fprintf(to, " %d", t->host_of_stage[k][i]);
    fprintf(to, "; a message takes up to %u us, a batch about %u us\n", t->delay_us, t->compute_us);
    if (t->beside_us)
        fprintf(to, "  lanes within a host; beside one a message takes up to %u us more\n", t->beside_us);
    for (int i = 0; i < s->n; i++)
        tell(&s->item[i], to);
}
