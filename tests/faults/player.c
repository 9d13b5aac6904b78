/* player.c - what happens in a story happens in a world */
#include "player.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "checks.h"
#include "client/failover.h"
#include "hostile.h"
#include "network.h"
#include "retell.h"

#define RESTART_MS     30    /* a supervisor's patience where the story names none */
#define RECOVERY_MS    500   /* from the end of all trouble until everything has to work, at most */
#define MOVING_MS      2500  /* where plans differ: SUCCESSION_GRACE_NS, and a restart or two */
#define LONG_MOVING_MS 80000 /* .. and the broker does not know who was there: SUCCESSION_EVERY_NS */
#define FOUND_MS       150   /* after which a new broker is found, and a stopped one has caught up */
#define LOOK_MS        10    /* between two looks whether it does */
#define LAST_TIME_MS   8     /* .. times the default deadline, for requests that must work */
#define STEPS_MAX      400000
#define PROCESSES_MAX  64
#define CHECK_EVERY    8    /* of the broker's turns */
#define PROMPT_MS      1000 /* with a second broker, what the first one had is answered by it within this time */
#define GRACE_MS       300 /* a client of several brokers says itself that none has answered: then, at most */

enum { ITEM, RESTART, ADMIT_AGAIN, LAST, LOOK_AFTER };

/* A client of several brokers has the real client's brain; others just ask. */
struct asker {
    struct player *player;
    struct failover *failover; /* NULL: there is one broker */
    bool awake;                /* it is called again */
};

struct player {
    struct asker asker[WORLD_MAX_CLIENTS];
    const struct story *story;
    struct pipeline pipeline;
    struct world_host host[STORY_HOSTS];
    struct world_spec spec;
    struct world *world;
    struct ledger ledger;
    struct hostile hostile;
    struct shuffle random;
    int file;                            /* plan that the pipeline file has now */
    int plan_of[PROCESSES_MAX];          /* that a process was started with */
    uint64_t start_of[PROCESSES_MAX];    /* the later one of a place is the heir */
    uint64_t fails_until[PROCESSES_MAX]; /* whatever it computes */
    uint32_t restart_ms[PROCESSES_MAX];  /* what its supervisor waits for */
    struct network_layers layers[PROCESSES_MAX];
    struct snapshot *caches[PIPELINE_MAX_STAGES]; /* by the number of stages */
    uint64_t slow_until;
    double slow;
    bool honest; /* no stranger has a say */
    bool tells;  /* prints every message that is read */
    bool disturbed_broker;
    uint64_t settled_ns; /* not before all have found one another again */
    unsigned turns;
    struct player_counts counts;
};

static uint64_t now(const struct player *p)
{
    return world_now(p->world);
}

static double uniform(struct player *p)
{
    return shuffle_uniform(&p->random);
}

/* ---- what the world asks ---- */

static uint64_t delay(void *arg, const struct world_process *from, const struct world_process *to)
{
    struct player *p = arg;
    const struct setting *s = &p->story->setting;
    uint32_t most = shuffle_below(&p->random, 64) ? s->delay_us : s->spike_us;
    (void)from, (void)to;
    return (uint64_t)(uniform(p) * most * NS_PER_US) + 5000;
}

static uint64_t beside(void *arg, const struct world_process *from, const struct world_process *to)
{
    struct player *p = arg;
    (void)from, (void)to;
    return shuffle_below(&p->random, 16)
               ? 0
               : 1 + (uint64_t)(uniform(p) * p->story->setting.beside_us * NS_PER_US);
}

static void set_up_stage(void *arg, const struct world_process *who, struct stage_setup *s,
                         struct stage_engine *e)
{
    struct player *p = arg;
    network_setup(&p->layers[who->index], &p->pipeline, who->stage, p->plan_of[who->index], s, e);
}

static double compute(void *arg, const struct world_process *who, int segment, int rows, int *rc)
{
    struct player *p = arg;
    double us = p->story->setting.compute_us * (0.3 + uniform(p)) * (0.6 + 0.4 * rows);
    if (now(p) < p->fails_until[who->index]) {
        *rc = FL_NOMEM;
        return 1000;
    }
    if (now(p) < p->slow_until)
        us *= p->slow;
    return (segment ? 0.3 : 0.7) * us * 1000;
}

static void set_up_cache(void *arg, const struct world_process *who, struct cache_setup *s,
                         struct snapshot **first)
{
    struct player *p = arg;
    (void)who;
    s->pending = (struct pending_limits){.count = 64, .bytes = 1 << 20, .age_ns = NS_PER_S};
    s->spans = 64;
    *first = snapshot_retain(p->caches[p->pipeline.n_stages]);
}

static int look(void *arg, const struct world_process *who, const struct snapshot *s, const struct lookup *in,
                const float *descriptors, struct cache_verdict *found)
{
    struct player *p = arg;
    (void)who, (void)s;
    for (int i = 0; i < in->n; i++) {
        struct network_value v;
        memcpy(&v, descriptors + (size_t)i * NETWORK_FLOATS, sizeof v);
        found[i].hit = network_look(&v, (int)in->exit, p->story->setting.hit_share, &found[i].label);
        found[i].confidence = 1;
    }
    return FL_OK;
}

static void on_update(void *arg, const struct world_process *who, struct update *u)
{
    struct player *p = arg;
    ledger_update(&p->ledger, who, u, now(p));
    p->counts.updates++;
    update_free(u);
}

static uint64_t client_clock(const struct player *p, int client)
{
    return world_clock(p->world, world_process(p->world, world_client(p->world, client))->host, now(p));
}

static int send_to(void *arg, int broker, const struct message *m, zmq_msg_t *payload)
{
    const struct asker *a = arg;
    int client = (int)(a - a->player->asker);
    return world_send(a->player->world, client, WORLD_CLIENTS, 0, broker, m, payload);
}

static bool connected(void *arg, int broker)
{
    const struct asker *a = arg;
    return world_takes(a->player->world, (int)(a - a->player->asker), WORLD_CLIENTS, 0, broker);
}

/* As proto/client/client.c does between messages. */
static void look_after(struct player *p, int client)
{
    struct asker *a = &p->asker[client];
    uint64_t time = client_clock(p, client), due = failover_tick(a->failover, time);
    struct answer gone;
    while (failover_expired(a->failover, time, &gone))
        ledger_answer(&p->ledger, client, &gone, now(p));
    if ((a->awake = due != UINT64_MAX))
        world_at(p->world, now(p) + (due - time), LOOK_AFTER, (uint32_t)client);
}

static void on_answer(void *arg, int client, int broker, const struct message *m, zmq_msg_t *payload)
{
    struct player *p = arg;
    struct failover *f = client == WORLD_NOBODY ? NULL : p->asker[client].failover;
    (void)payload;
    if (f)
        failover_heard(f, broker, client_clock(p, client));
    if (f && m->type == MESSAGE_STATUS_REPLY)
        failover_started(f, broker, m->status_reply.started_ns, client_clock(p, client));
    if (m->type == MESSAGE_ANSWER && (!f || failover_answer(f, broker, &m->answer, client_clock(p, client))))
        ledger_answer(&p->ledger, client, &m->answer, now(p));
}

static int make_askers(struct player *p)
{
    int brokers = pipeline_brokers(&p->pipeline), rc = FL_OK;
    for (int i = 0; i < WORLD_MAX_CLIENTS; i++) {
        struct asker *a = &p->asker[i];
        const struct failover_io io = {a, send_to, connected};
        failover_free(a->failover);
        *a = (struct asker){.player = p};
        if (!rc && brokers > 1 && i < p->story->setting.n_clients)
            rc = failover_new(&a->failover, brokers, p->story->seed + (uint64_t)i, &io);
    }
    return rc;
}

static bool on_read(void *arg, const struct world_process *who, struct message *m)
{
    struct player *p = arg;
    struct error e;
    if (p->tells)
        retell(now(p), who, m);
    if (m->type == MESSAGE_OUTCOME && who->role == ROLE_CACHE) /* a stranger may have the place of several */
        ledger_outcome(&p->ledger, who, &m->outcome, now(p));
    if (!p->story->setting.codec || hostile_recode(&p->hostile, m, &e))
        return true;
    ledger_finds(&p->ledger, now(p), "a message that can't be read", "type %d: %s", m->type, e.text);
    return false;
}

static void on_sent(void *arg, const struct world_process *who, enum world_port port, int stage, int replica,
                    const struct message *m, zmq_msg_t *payload)
{
    struct player *p = arg;
    (void)who;
    hostile_note(&p->hostile, port, stage, replica, m, payload);
}

static struct checks checks(struct player *p)
{
    return (struct checks){&p->ledger, p->world, &p->pipeline, p->story, p->honest, now(p) > p->settled_ns};
}

static void settled(void *arg, int process)
{
    struct player *p = arg;
    const struct checks c = checks(p);
    const struct world_process *who = world_process(p->world, process);
    if (who->role == ROLE_BROKER && p->turns++ % CHECK_EVERY == 0)
        checks_broker(&c, who->replica);
}

/* ---- supervisors ---- */

/* The place's other process. */
static int twin(const struct player *p, int process)
{
    const struct world_process *w = world_process(p->world, process);
    if (w->role == ROLE_STAGE)
        return 2 * world_stage(p->world, w->stage, w->replica, 0) + 1 - process;
    if (w->role == ROLE_CACHE)
        return 2 * world_cache(p->world, w->replica, 0) + 1 - process;
    return process;
}

static void start(struct player *p, int process)
{
    struct error e;
    p->plan_of[process] = p->file;
    if (world_start(p->world, process, &e))
        ledger_finds(&p->ledger, now(p), "a process can't start", "%s", e.text);
    p->start_of[process] = ++p->counts.starts;
    if (world_process(p->world, process)->role == ROLE_BROKER)
        p->settled_ns = now(p) + FOUND_MS * NS_PER_MS;
}

static void ended(void *arg, const struct world_process *who)
{
    struct player *p = arg;
    if (who->role == ROLE_CLIENT ||
        (world_process(p->world, twin(p, who->index))->lives && who->role != ROLE_BROKER))
        return;
    world_at(p->world, now(p) + p->restart_ms[who->index] * NS_PER_MS, RESTART, (uint32_t)who->index);
    p->restart_ms[who->index] = RESTART_MS;
    if (who->role == ROLE_BROKER && !p->asker[0].failover)
        ledger_trouble(&p->ledger, now(p), now(p) + 60 * NS_PER_S); /* until another has started */
}

static void restart(struct player *p, int process)
{
    if (world_process(p->world, process)->lives || world_process(p->world, twin(p, process))->lives)
        return;
    start(p, process);
    for (int i = 0; world_process(p->world, process)->role == ROLE_BROKER && i < p->ledger.n_troubles; i++)
        if (p->ledger.trouble[i].until_ns > now(p) + 300 * NS_PER_MS)
            p->ledger.trouble[i].until_ns = now(p) + 300 * NS_PER_MS; /* workers find it and say hello */
}

/* ---- what happens ---- */

static int living(const struct player *p, const struct happening *h)
{
    int a = h->role == ROLE_BROKER  ? world_broker(p->world, h->replica)
            : h->role == ROLE_CACHE ? world_cache(p->world, h->replica, 0)
                                    : world_stage(p->world, h->stage, h->replica, 0);
    int b = twin(p, a);
    return world_process(p->world, a)->lives ? a : b;
}

static void ask(struct player *p, const struct happening *h, bool must_work)
{
    struct message m;
    uint32_t inputs = p->story->setting.inputs ? (uint32_t)p->story->setting.inputs : NETWORK_RANGE;
    uint32_t token = shuffle_below(&p->random, inputs);
    struct network_value v = {.token = (float)token, .bad = h->b == 1, .label = (float)network_truth(token)};
    uint64_t ms = h->y ? h->y : (uint64_t)p->pipeline.broker.deadline_ms;
    int client = world_client(p->world, h->a), host = world_process(p->world, client)->host;
    char boot_id[MESSAGE_NAME_BYTES];
    zmq_msg_t payload;
    memset(&m, 0, sizeof m.type + sizeof m.request + 8);
    m.type = MESSAGE_REQUEST;
    m.request = (struct request){.deadline_ms = h->y, .flags = h->x, .input = network_shape()};
    m.request.id = ledger_ask(&p->ledger, h, token, ms * NS_PER_MS, now(p));
    p->ledger.asked[m.request.id - 1].must_work = must_work;
    m.request.sent_ns = world_clock(p->world, host, now(p));
    m.request.clock = clock_id(world_boot_id(p->world, host, boot_id, sizeof boot_id));
    if (h->b == 2)
        m.request.input = (struct tensor){.dtype = TENSOR_F32, .rank = 3, .dim = {1, 2, 2}};
    zmq_msg_init_size(&payload, sizeof v);
    memcpy(zmq_msg_data(&payload), &v, sizeof v);
    p->counts.requests++;
    if (p->asker[h->a].failover) { /* nothing is an excuse */
        failover_submit(p->asker[h->a].failover, &m.request, &payload, ms * NS_PER_MS, client_clock(p, h->a));
        zmq_msg_close(&payload);
        if (!p->asker[h->a].awake)
            look_after(p, h->a);
        return;
    }
    if (world_send(p->world, h->a, WORLD_CLIENTS, 0, 0, &m, &payload)) {
        zmq_msg_close(&payload);
        p->ledger.asked[m.request.id - 1].excused = true; /* its client's socket is full: it knows at once */
    }
    if (!world_dispatch(p->world, 0)) /* a dying socket may take it along */
        p->ledger.asked[m.request.id - 1].excused = true;
}

static void drain(struct player *p, uint32_t ms, bool undo)
{
    struct message m;
    m.type = MESSAGE_DRAIN;
    m.drain = (struct drain){.lease_ms = ms, .undo = undo};
    for (int i = 0; i < pipeline_brokers(&p->pipeline); i++)
        world_send(p->world, 0, WORLD_CONTROL, 0, i, &m, NULL);
}

static void drain_until(struct player *p, uint64_t until, bool undo)
{
    uint64_t ns = until - now(p);
    drain(p, (uint32_t)(ns / NS_PER_MS) + 1, false);
    if (undo)
        world_at(p->world, now(p) + ns / 2, ADMIT_AGAIN, 0);
}

/* An order ends what waits to take over by one before it (deploy/supervise/conduct.c). */
static void start_heir(struct player *p, int a, int b)
{
    bool both = world_process(p->world, a)->lives && world_process(p->world, b)->lives;
    int heir = both ? (p->start_of[a] > p->start_of[b] ? a : b) : world_process(p->world, a)->lives ? b : a;
    if (both)
        world_kill(p->world, heir);
    start(p, heir);
}

static void reload(struct player *p)
{
    p->file = 1;
    for (int s = 0; s < p->pipeline.n_stages; s++)
        for (int i = 0; i < p->pipeline.stage[s].n_replicas; i++)
            start_heir(p, world_stage(p->world, s, i, 0), world_stage(p->world, s, i, 1));
}

static unsigned clients_on(const struct player *p, int host)
{
    unsigned mask = 0;
    for (int i = 0; i < p->story->setting.n_clients; i++)
        if (p->story->setting.host_of_client[i] == host)
            mask |= 1u << i;
    return mask;
}

/* Links between the broker and clients are concerned. */
static void link_trouble(struct player *p, const struct happening *h, uint64_t until)
{
    int broker = p->story->setting.host_of_broker[0];
    unsigned mask = p->asker[0].failover ? 0
                    : h->a == broker     ? clients_on(p, h->b)
                    : h->b == broker     ? clients_on(p, h->a)
                                         : 0;
    if (!mask)
        return;
    ledger_trouble(&p->ledger, now(p), until + 150 * NS_PER_MS);
    if (h->kind == BREAK)
        ledger_excuse(&p->ledger, mask);
}

static void end_process(struct player *p, const struct happening *h, int process)
{
    p->restart_ms[process] = h->x;
    if (h->role == ROLE_BROKER) {
        if (!p->asker[0].failover)
            ledger_excuse(&p->ledger, ~0u);
        p->disturbed_broker = true;
    }
    if (h->kind == KILL)
        world_kill(p->world, process);
    else
        world_end(p->world, process);
}

static void happen(struct player *p, const struct happening *h)
{
    uint64_t until = now(p) + h->x * NS_PER_MS;
    int process = living(p, h);
    bool lives = world_process(p->world, process)->lives;

    until = until < p->story->calm_ns ? until : p->story->calm_ns;
    switch (h->kind) {
    case ASK:
        ask(p, h, false);
        break;
    case KILL:
    case END:
        if (lives)
            end_process(p, h, process);
        break;
    case STALL:
        if (lives)
            world_stall(p->world, process, until);
        if (h->role == ROLE_BROKER && until + FOUND_MS * NS_PER_MS > p->settled_ns)
            p->settled_ns = until + FOUND_MS * NS_PER_MS;
        if (h->role == ROLE_BROKER && !p->asker[0].failover)
            ledger_trouble(&p->ledger, now(p), until + 150 * NS_PER_MS);
        break;
    case REPLACE:
        if (h->role == ROLE_STAGE && lives)
            start(p, twin(p, process));
        break;
    case HOLD:
        world_hold(p->world, h->a, h->b, until);
        link_trouble(p, h, until);
        break;
    case BREAK:
        world_break(p->world, h->a, h->b, until);
        link_trouble(p, h, until);
        break;
    case FAIL:
        p->fails_until[process] = until;
        break;
    case SLOW:
        p->slow_until = until;
        p->slow = h->y;
        break;
    case DRAIN:
        drain_until(p, until, h->y);
        break;
    case RELOAD:
        reload(p);
        break;
    case EDIT:
        p->file = 1;
        break;
    case REPLAY:
    case DAMAGE:
    case FORGE:
        hostile_act(&p->hostile, p->world, h);
        break;
    case KINDS:
        break;
    }
}

static void on_event(void *arg, int what, uint32_t value)
{
    struct player *p = arg;
    struct happening last = {.kind = ASK, .a = (int)value};
    switch (what) {
    case ITEM:
        happen(p, &p->story->item[value]);
        break;
    case RESTART:
        restart(p, (int)value);
        break;
    case ADMIT_AGAIN:
        drain(p, 0, true);
        break;
    case LOOK_AFTER:
        look_after(p, (int)value);
        break;
    case LAST:
        last.y = (uint32_t)p->pipeline.broker.deadline_ms * LAST_TIME_MS;
        ask(p, &last, true);
        break;
    }
}

/* ---- a story ---- */

static void set_pipeline(struct player *p)
{
    const struct setting *s = &p->story->setting;
    struct pipeline *c = &p->pipeline;
    c->n_stages = s->n_stages;
    for (int k = 0; k < s->n_stages; k++) {
        c->stage[k] =
            (struct stage_config){.threads = 1, .max_batch = s->max_batch, .n_replicas = s->n_replicas[k]};
        for (int i = 0; i < s->n_replicas[k]; i++)
            c->stage[k].replica[i].cache = s->n_caches ? (k + i) % s->n_caches : 0;
    }
    c->cache.n_endpoints = s->n_caches;
    c->cache.wait_us = s->wait_us;
    c->cache.placement = s->near ? "auto" : "service";
    c->cache.near_keep_ms = s->keep_ms;
    c->path = "pipeline.yaml";
    c->shared_memory = s->beside_us > 0;
    c->broker = (struct broker_config){.max_requests = s->max_requests,
                                       .max_memory_mb = 1,
                                       .response_cache_mb = s->inputs ? 0.002 : 0,
                                       .deadline_ms = s->deadline_ms,
                                       .latency_target_ms = s->target_ms,
                                       .retries = s->retries,
                                       .heartbeat_ms = s->heartbeat_ms,
                                       .dead_after_ms = s->dead_after_ms,
                                       .n_replicas = s->n_brokers};
    c->updates = (struct updates_config){.sample = s->sample, .audit = s->audit};
}

static void set_world(struct player *p)
{
    const struct setting *s = &p->story->setting;
    for (int i = 0; i < s->n_hosts; i++)
        p->host[i] = (struct world_host){.speed = 1, .all_busy = 1, .clock_ns = s->clock_ns[i]};
    p->spec = (struct world_spec){.pipeline = &p->pipeline,
                                  .n_hosts = s->n_hosts,
                                  .host = p->host,
                                  .broker_host = {s->host_of_broker[0], s->host_of_broker[1]},
                                  .n_clients = s->n_clients,
                                  .near = s->near,
                                  .seed = p->story->seed,
                                  .max_steps = STEPS_MAX,
                                  .user = {.arg = p,
                                           .event = on_event,
                                           .answer = on_answer,
                                           .delay = delay,
                                           .beside = beside,
                                           .stage = set_up_stage,
                                           .compute = compute,
                                           .cache = set_up_cache,
                                           .look = look,
                                           .update = on_update,
                                           .sent = p->honest ? NULL : on_sent,
                                           .read = on_read,
                                           .ended = ended,
                                           .settled = settled}};
    for (int i = 0; i < s->n_clients; i++)
        p->spec.client_host[i] = s->host_of_client[i];
    for (int k = 0; k < s->n_stages; k++)
        for (int i = 0; i < s->n_replicas[k]; i++)
            p->spec.stage_host[k][i] = s->host_of_stage[k][i];
    for (int i = 0; i < s->n_caches; i++)
        p->spec.cache_host[i] = s->host_of_cache[i];
}

static bool has(const struct story *s, uint32_t kinds)
{
    for (int i = 0; i < s->n; i++)
        if (kinds >> s->item[i].kind & 1)
            return true;
    return false;
}

static bool new_broker(const struct story *s)
{
    for (int i = 0; i < s->n; i++)
        if (s->item[i].role == ROLE_BROKER && (s->item[i].kind == KILL || s->item[i].kind == END))
            return true;
    return false;
}

static int begin(struct player *p, const struct story *s)
{
    struct error e;
    int rc;
    p->story = s;
    p->honest = !has(s, 1u << REPLAY | 1u << FORGE | 1u << DAMAGE);
    p->file = 0;
    p->slow_until = 0;
    p->disturbed_broker = false;
    p->turns = 0;
    p->settled_ns = 0;
    memset(p->fails_until, 0, sizeof p->fails_until);
    for (int i = 0; i < PROCESSES_MAX; i++)
        p->restart_ms[i] = RESTART_MS;
    shuffle_seed(&p->random, s->seed, 2);
    hostile_begin(&p->hostile, s);
    ledger_begin(&p->ledger, 5 * NS_PER_MS + 4ull * (s->setting.spike_us + s->setting.beside_us) * NS_PER_US);
    p->ledger.gentle = s->gentle;
    set_pipeline(p);
    set_world(p);
    if (s->setting.n_brokers > 1) {
        p->ledger.slack_ns += GRACE_MS * NS_PER_MS;
        p->ledger.prompt_ns = PROMPT_MS * NS_PER_MS;
        p->ledger.lossy = true; /* what two brokers answer, a client takes once */
    }
    rc = p->world ? world_reset(p->world, &p->spec, &e) : world_new(&p->world, &p->spec, &e);
    if (!rc)
        rc = make_askers(p);
    if (rc)
        ledger_finds(&p->ledger, 0, "the world can't be made", "%s", e.text);
    return rc;
}

static void start_all(struct player *p)
{
    for (int i = 0; i < pipeline_brokers(&p->pipeline); i++)
        start(p, world_broker(p->world, i));
    for (int k = 0; k < p->pipeline.n_stages; k++)
        for (int i = 0; i < p->pipeline.stage[k].n_replicas; i++)
            start(p, world_stage(p->world, k, i, 0));
    for (int i = 0; i < p->pipeline.cache.n_endpoints; i++)
        start(p, world_cache(p->world, i, 0));
}

static void run(struct player *p, uint64_t until)
{
    while (now(p) < until && !p->ledger.finding.what) {
        uint64_t to = now(p) + 50 * NS_PER_MS;
        if (world_run(p->world, to < until ? to : until))
            continue;
        if (world_steps(p->world) >= STEPS_MAX)
            ledger_finds(&p->ledger, now(p), "it never rests", "%d steps", STEPS_MAX);
        else
            ledger_finds(&p->ledger, now(p), "out of memory", "at %.3f ms", (double)now(p) / 1e6);
    }
}

static void finish(struct player *p)
{
    const struct checks c = checks(p);
    ledger_end(&p->ledger, now(p));
    for (int i = 0; i < pipeline_brokers(&p->pipeline); i++) {
        const struct dispatch *d = world_dispatch(p->world, i);
        if (!d) {
            ledger_finds(&p->ledger, now(p), "it does not work again", "broker %d does not live", i);
            return;
        }
        checks_end(&c, i);
        if (!p->disturbed_broker)
            ledger_audit(&p->ledger, d, now(p));
        p->counts.retried += d->counters.retried;
    }
}

static bool all_answered(const struct player *p)
{
    for (int i = 0; i < p->ledger.n; i++)
        if (!p->ledger.asked[i].answers && !p->ledger.asked[i].excused)
            return false;
    return true;
}

/* Every place has a process, each broker knows it, and nothing is left from before. */
static bool stands(const struct player *p)
{
    for (int i = 0; i < world_processes(p->world); i++) {
        const struct world_process *w = world_process(p->world, i);
        if (!w->lives && (w->role == ROLE_STAGE || w->role == ROLE_CACHE) &&
            !world_process(p->world, twin(p, i))->lives)
            return false;
    }
    for (int i = 0; i < pipeline_brokers(&p->pipeline); i++) {
        const struct dispatch *d = world_dispatch(p->world, i);
        if (!d || !d->was_ready || d->drain_until_ns || requests_count(d->requests) ||
            requests_first(d->requests, REQUESTS_SHADOWS)) /* an audit waits until it can run */
            return false;
    }
    return now(p) > p->settled_ns;
}

/* All trouble is over: it has to work again before long, for each client. */
static void see_it_work(struct player *p, uint64_t most_ms)
{
    uint64_t end = now(p) + most_ms * NS_PER_MS;
    if (has(p->story, STORY_ALL & ~(1u << ASK)))
        p->settled_ns = now(p) + FOUND_MS * NS_PER_MS;
    while (now(p) < end && !p->ledger.finding.what && !stands(p))
        run(p, now(p) + LOOK_MS * NS_PER_MS);
    for (int i = 0; i < p->story->setting.n_clients; i++) {
        world_at(p->world, now(p), LAST, (uint32_t)i);
        end = now(p) + (uint64_t)p->pipeline.broker.deadline_ms * LAST_TIME_MS * NS_PER_MS + NS_PER_S;
        do
            run(p, now(p) + LOOK_MS * NS_PER_MS);
        while (now(p) < end && !all_answered(p) && !p->ledger.finding.what);
    }
}

const struct finding *player_play(struct player *p, const struct story *s)
{
    bool moves = has(s, 1u << RELOAD | 1u << EDIT | 1u << DAMAGE | 1u << FORGE);

    if (!begin(p, s)) {
        start_all(p);
        for (int i = 0; i < s->n; i++)
            world_at(p->world, s->item[i].at_ns, ITEM, (uint32_t)i);
        run(p, s->calm_ns);
        see_it_work(p, !moves                                ? RECOVERY_MS
                       : has(s, 1u << EDIT) || new_broker(s) ? LONG_MOVING_MS
                                                             : MOVING_MS);
        finish(p);
        p->counts.steps += world_steps(p->world);
    }
    p->counts.stories++;
    p->counts.right += p->ledger.right;
    p->counts.hits += p->ledger.hits;
    p->counts.errors += p->ledger.errors;
    for (int i = 0; i < p->ledger.n; i++)
        p->counts.excused += p->ledger.asked[i].excused;
    return p->ledger.finding.what ? &p->ledger.finding : NULL;
}

void player_tells(struct player *p, bool yes)
{
    p->tells = yes;
}

struct player_counts player_counts(const struct player *p)
{
    return p->counts;
}

int player_new(struct player **out)
{
    struct player *p = *out = calloc(1, sizeof **out);
    for (int i = 2; p && i <= 3; i++)
        if (!(p->caches[i] = network_caches(i))) {
            player_free(p);
            return FL_NOMEM;
        }
    return p ? FL_OK : FL_NOMEM;
}

void player_free(struct player *p)
{
    if (!p)
        return;
    world_free(p->world);
    for (int i = 0; i < WORLD_MAX_CLIENTS; i++)
        failover_free(p->asker[i].failover);
    for (int i = 0; i < PIPELINE_MAX_STAGES; i++)
        snapshot_free(p->caches[i]);
    hostile_end(&p->hostile);
    free(p);
}
