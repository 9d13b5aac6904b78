/* fuzz_broker.c - the broker's brain under hostile, well-formed and damaged messages, and moments in time
 *
 * The bytes choose a pipeline, then one event after the other. After each the brain's promises are checked:
 * every admitted request gets exactly one answer, by its deadline; what is outstanding is what is in flight;
 * every audit that was drawn is under way, done or given up, and only done once; all is bounded; only workers
 * that are there get jobs; and what it says can be read by those it says it to.
 */
#include "broker/dispatch_inside.h"
#include "broker/state/trust.h"
#include "fuzz_input.h"

#include <math.h>

#include "base/clock.h"
#include "base/log.h"

#define EVENTS   400
#define REQUESTS 1024 /* at most so many are tracked */
#define JOBS     32
#define WORKERS  8
#define ASKED    8
#define STAGES   3
#define SPANS    16 /* few, so that there is no room for some */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct fuzz_input in;
    struct dispatch *d;
    uint64_t now;
    uint8_t deaf; /* which of the ways out fail: 1 jobs, 2 clients, 4 control */
    uint64_t admitted[REQUESTS];
    bool answered[REQUESTS];
    int n_admitted;
    uint64_t asked, refused; /* requests that came; answers to some that were not admitted */
    uint64_t audits, lost;   /* outcomes of such; two cache services may hear each */
    struct job job[JOBS];    /* the latest ones */
    unsigned n_jobs;
    uint64_t relayed[JOBS]; /* the latest that were handed on */
    unsigned n_relayed;
    uint64_t incarnation[WORKERS]; /* of those that said hello lately */
    unsigned n_hellos;
    struct {
        uint8_t from;
        uint64_t id;
    } sent[ASKED]; /* the latest requests */
    unsigned n_sent;
};

static struct world w;
static struct pipeline pipeline; /* every input sets all that any sets */

/* --- what the brain says --- */

static int on_job(void *arg, int replica, const struct message *m, zmq_msg_t *payload)
{
    const struct job *j = &m->job;
    (void)arg;
    FUZZ_CHECK(m->type == MESSAGE_JOB && j->n_route == pipeline.n_stages && j->route[0] == replica);
    if (w.deaf & 1)
        return FL_AGAIN;
    for (int s = 0; s < j->n_route; s++) {
        FUZZ_CHECK(j->route[s] < registry_replicas(w.d->registry, s));
        FUZZ_CHECK(member_ready(registry_worker(w.d->registry, s, j->route[s])));
        FUZZ_CHECK(s == 0 ||
                   member_reaches(registry_worker(w.d->registry, s - 1, j->route[s - 1])) >> j->route[s] & 1);
    }
    FUZZ_CHECK(j->deadline_ns > w.now && j->attempt > 0 && j->trace.n == 0);
    fuzz_check_sent(m);
    w.job[w.n_jobs++ % JOBS] = *j;
    zmq_msg_close(payload);
    return FL_OK;
}

static void on_answer(const struct answer *a)
{
    int i = 0;
    if (!a->request) {
        w.refused++;
        FUZZ_CHECK(a->error);
        return;
    }
    while (i < w.n_admitted && w.admitted[i] != a->request)
        i++;
    if (i == w.n_admitted && (a->known || a->error)) /* answered in the step that admitted it */
        w.admitted[w.n_admitted++] = a->request;
    FUZZ_CHECK(i < w.n_admitted && !w.answered[i]);
    FUZZ_CHECK(a->broker_ns <= a->total_ns);
    w.answered[i] = true;
}

static int on_client(void *arg, const struct peer *to, const struct message *m, zmq_msg_t *payload)
{
    (void)arg, (void)to, (void)payload;
    fuzz_check_sent(m);
    if (m->type == MESSAGE_ANSWER)
        on_answer(&m->answer);
    return w.deaf & 2 ? FL_UNAVAILABLE : FL_OK;
}

static int on_control(void *arg, const struct peer *to, const struct message *m)
{
    (void)arg, (void)to;
    fuzz_check_sent(m);
    FUZZ_CHECK(m->type != MESSAGE_OUTCOME || !m->outcome.original || m->outcome.hit_exit == -1);
    w.audits += m->type == MESSAGE_OUTCOME && m->outcome.audit && m->outcome.label >= 0;
    w.lost += m->type == MESSAGE_OUTCOME && m->outcome.audit && m->outcome.label < 0;
    return w.deaf & 4 ? FL_UNAVAILABLE : FL_OK;
}

static void on_reset(void *arg, int replica)
{
    (void)arg;
    FUZZ_CHECK(replica < registry_replicas(w.d->registry, 0));
}

static int on_relay(void *arg, int place, const struct message *m, zmq_msg_t *payload)
{
    (void)arg;
    FUZZ_CHECK(w.d->relays.place[place].told.name[0]);
    FUZZ_CHECK(!w.d->relays.place[place].away);
    fuzz_check_sent(m);
    if (m->type == MESSAGE_CANCEL)
        return FL_OK;
    FUZZ_CHECK(m->type == MESSAGE_REQUEST && m->request.deadline_ms);
    if (w.deaf & 1)
        return FL_AGAIN;
    w.relayed[w.n_relayed++ % JOBS] = m->request.id;
    zmq_msg_close(payload);
    return FL_OK;
}

static int on_aim(void *arg, int place, const char *endpoint)
{
    (void)arg;
    FUZZ_CHECK(place >= 0 && place < MESSAGE_MAX_RELAYS);
    return endpoint && w.deaf & 4 ? FL_CONFIG : FL_OK;
}

/* --- what must hold --- */

/* What was admitted since: found in the table, so that its answer can be waited for. */
static void note_admitted(void)
{
    for (int i = 0; i < requests_slots(w.d->requests); i++) {
        const struct request_entry *e = requests_slot(w.d->requests, i);
        int k = w.n_admitted - 1;
        while (e && k >= 0 && w.admitted[k] != e->id)
            k--;
        if (e && !e->original && k < 0)
            w.admitted[w.n_admitted++] = e->id;
    }
}

static void check_worker(const struct member *x, uint32_t through, bool on_trial)
{
    FUZZ_CHECK(x->outstanding == through);
    FUZZ_CHECK(!x->trial || on_trial);
    if (!x->known)
        return; /* the rest is of nobody */
    FUZZ_CHECK(x->cancel.n >= 0 && x->cancel.n <= MESSAGE_MAX_BATCH);
    FUZZ_CHECK(x->cancel.n_ask >= 0 && x->cancel.n_ask <= MESSAGE_MAX_BATCH);
}

static void check_workers(void)
{
    uint32_t through[STAGES][PIPELINE_MAX_REPLICAS] = {{0}};
    bool on_trial[STAGES][PIPELINE_MAX_REPLICAS] = {{false}};
    for (int i = 0; i < requests_slots(w.d->requests); i++) {
        const struct request_entry *e = requests_slot(w.d->requests, i);
        for (int s = 0; e && s < e->n_route; s++) {
            int r = e->route[s];
            FUZZ_CHECK(s < pipeline.n_stages && r < registry_replicas(w.d->registry, s));
            through[s][r]++;
            on_trial[s][r] |= e->id == registry_worker(w.d->registry, s, r)->trial;
        }
    }
    for (int s = 0; s < pipeline.n_stages; s++)
        for (int r = 0; r < registry_replicas(w.d->registry, s); r++)
            check_worker(registry_worker(w.d->registry, s, r), through[s][r], on_trial[s][r]);
}

static void check_estimates(const struct admission *a)
{
    const double figure[] = {a->gap_ns, a->tight_ns, a->quick_ns, a->trust};
    for (size_t i = 0; i < sizeof figure / sizeof *figure; i++)
        FUZZ_CHECK(isfinite(figure[i]) && figure[i] >= 0);
    for (int s = 0; s < pipeline.n_stages; s++)
        FUZZ_CHECK(isfinite(a->rest_ns[s]) && isfinite(a->work_ns[s]));
}

static void check_entry(const struct request_entry *e)
{
    bool follows = e->list == REQUESTS_FOLLOWING;
    bool waits = e->list == REQUESTS_WAITING || e->list == REQUESTS_SHADOWS;
    bool relayed = e->list == REQUESTS_RELAYED, course = dispatch_course(w.d, e);
    FUZZ_CHECK((waits || follows || relayed) == (e->n_route == 0) && (relayed || !e->away || course));
    FUZZ_CHECK(!relayed || e->away || course);
    FUZZ_CHECK(!e->original || (e->audit && (!waits || e->list == REQUESTS_SHADOWS)));
    FUZZ_CHECK(follows == (e->follows != 0));
    FUZZ_CHECK(!follows || (!e->followers && requests_find(w.d->requests, e->follows)));
}

static void check_relays(void)
{
    uint32_t relayed = 0;
    for (int i = 0; i < MESSAGE_MAX_RELAYS; i++) {
        const struct relay_status *s = &w.d->relays.place[i].done;
        relayed += s->outstanding;
        FUZZ_CHECK(s->pairs >= s->both + s->failed_now + s->failed_next && s->agreed <= s->both);
        FUZZ_CHECK(s->failed <= s->sent && s->failed_both <= s->failed + s->turned);
    }
    for (int i = 0; i < requests_slots(w.d->requests); i++) {
        const struct request_entry *e = requests_slot(w.d->requests, i);
        relayed -= e ? (uint32_t)__builtin_popcount(e->away) : 0;
    }
    FUZZ_CHECK(relayed == 0);
}

static void check(void)
{
    const struct counters *c = &w.d->counters;
    int in_flight = requests_count(w.d->requests), open = 0, followers = 0, audits = 0, open_audits = 0,
        sent = 0;
    uint64_t over;
    check_workers();
    for (int i = 0; i < requests_slots(w.d->requests); i++) {
        const struct request_entry *e = requests_slot(w.d->requests, i);
        if (e)
            check_entry(e);
        followers += e ? e->followers : 0;
        audits += e && e->audit;
        sent += e && e->original && e->n_route;
    }
    for (uint64_t i = w.d->line.first; i < w.d->line.next; i++)
        open_audits += !w.d->line.place[i % AUDIT_LINE_MOST].over;
    FUZZ_CHECK(audits == open_audits && requests_shadows(w.d->requests) <= audits);
    FUZZ_CHECK(audit_line_length(&w.d->line) <= w.d->most_audits);
    FUZZ_CHECK(sent == __builtin_popcount(w.d->shadowed));
    over = c->audits_drawn - (uint64_t)audit_line_length(&w.d->line);
    FUZZ_CHECK(over <= c->audits_drawn && c->audits_done <= over && w.audits <= 2 * c->audits_done &&
               w.lost <= 2 * (over - c->audits_done));
    FUZZ_CHECK(followers == requests_listed(w.d->requests, REQUESTS_FOLLOWING));
    for (int i = 0; i < w.n_admitted; i++)
        open += !w.answered[i];
    FUZZ_CHECK(open == in_flight);
    FUZZ_CHECK(c->admitted == (uint64_t)w.n_admitted);
    FUZZ_CHECK(c->admitted == c->answered + c->failed + (uint64_t)in_flight);
    FUZZ_CHECK(w.asked == c->admitted + w.refused);
    check_estimates(&w.d->admission);
    check_relays();
    FUZZ_CHECK(in_flight <= pipeline.broker.max_requests);
    FUZZ_CHECK(requests_bytes(w.d->requests) <= (size_t)(pipeline.broker.max_memory_mb * (1 << 20)));
}

static void tick(void)
{
    uint64_t next = dispatch_tick(w.d, w.now);
    FUZZ_CHECK(next > w.now && next <= w.now + NS_PER_S);
    for (int i = 0; i < requests_slots(w.d->requests); i++) {
        const struct request_entry *e = requests_slot(w.d->requests, i);
        FUZZ_CHECK(!e || e->deadline_ns > w.now);
    }
}

/* --- what it is told --- */

static struct peer peer_of(uint64_t n)
{
    struct peer p = {.size = 8};
    memcpy(p.id, &n, sizeof n);
    return p;
}

static uint64_t known_incarnation(void)
{
    uint32_t i = fuzz_below(&w.in, WORKERS + 2);
    return i < WORKERS ? w.incarnation[i] : fuzz_number(&w.in);
}

static uint64_t known_request(void)
{
    uint32_t i = fuzz_below(&w.in, JOBS + 4);
    return i < JOBS ? w.job[i].request : fuzz_number(&w.in);
}

static void fill_request(struct request *r)
{
    *r = (struct request){
        .id = fuzz_number(&w.in), .deadline_ms = fuzz_byte(&w.in), .flags = (uint32_t)fuzz_number(&w.in)};
    r->priority = r->flags >> 8 & 7;
    r->loss_allowed = r->flags >> 12 & 1;
    fuzz_tensor(&w.in, &r->input);
}

static void fill_cancel(struct cancel *c)
{
    c->n = 1 + (int)fuzz_below(&w.in, 3);
    for (int i = 0; i < c->n; i++)
        c->request[i] = w.sent[fuzz_below(&w.in, ASKED)].id;
}

/* Mostly of the pipeline, mostly new, mostly ready. */
static void fill_hello(struct hello *h)
{
    uint8_t how = fuzz_byte(&w.in);
    h->role = how & 1 ? ROLE_STAGE : how & 2 ? ROLE_CACHE : (uint32_t)fuzz_below(&w.in, 7);
    if (how & 4) {
        h->stage = fuzz_below(&w.in, (uint32_t)pipeline.n_stages);
        h->replica = fuzz_below(&w.in, 2);
    } else {
        h->stage = (uint32_t)fuzz_number(&w.in);
        h->replica = (uint32_t)fuzz_number(&w.in);
        h->endpoint[0] = 'e'; /* one that the file need not have */
        h->asks = h->stage % (PIPELINE_MAX_CACHES + 1);
    }
    h->incarnation = how & 8 ? 1000 + w.n_hellos : known_incarnation();
    h->ready = how & 0x30;
    h->leaving = (how & 0xc0) == 0xc0;
    h->model[0] = h->identity[0] = h->plan[0] = fuzz_byte(&w.in) > 250;
    h->boot_id[0] = fuzz_byte(&w.in) > 200 ? 'X' : 'B';
    h->reaches = how & 0x40 ? 0 : REACHES_TOLD | fuzz_byte(&w.in);
    if (how & 8)
        w.incarnation[w.n_hellos++ % WORKERS] = h->incarnation;
}

static void fill_heartbeat(struct heartbeat *h)
{
    h->incarnation = known_incarnation();
    h->worker_ns = fuzz_number(&w.in);
    h->clock_error_ns = fuzz_number(&w.in);
    h->taken = known_request();
    h->batch = (uint32_t)fuzz_number(&w.in);
    h->reaches = fuzz_byte(&w.in) & 1 ? 0 : REACHES_TOLD | fuzz_byte(&w.in);
    h->exits = (uint32_t)fuzz_number(&w.in);
    h->exits_told = fuzz_byte(&w.in) & 1;
    h->learns = h->exits;
    h->audit_ppm = h->exits % (SHARE_PPM + 1);
}

/* An honest one: the job's way so far. */
static void fill_way(struct result *r, const struct job *j)
{
    r->trace.n = (int)fuzz_below(&w.in, (uint32_t)j->n_route + 1);
    for (int s = 0; s < r->trace.n; s++)
        r->trace.stage[s] = (struct stage_time){.stage = (uint32_t)s, .replica = j->route[s], .batch = 1};
}

static void fill_result(struct result *r)
{
    static const uint32_t codes[] = {FL_OK,       FL_OK,       FL_OK,         FL_UNAVAILABLE, FL_UNAVAILABLE,
                                     FL_INTERNAL, FL_DEADLINE, FL_OVERLOADED, FL_VALUE,       FL_NOMEM};
    const struct job *j = &w.job[fuzz_below(&w.in, JOBS)];
    uint8_t how = fuzz_byte(&w.in);
    r->request = how & 0xf0 ? j->request : known_request();
    r->attempt = how & 0xe0 ? j->attempt : (uint32_t)fuzz_number(&w.in);
    r->error = codes[fuzz_below(&w.in, 10)];
    r->exit = how & 1 ? -1 : (int32_t)fuzz_below(&w.in, PIPELINE_MAX_EXITS);
    r->label = how & 2 ? 3 : (int32_t)fuzz_number(&w.in);
    r->lookup_wire_ns = how & 4 ? 0 : fuzz_number(&w.in);
    r->sent_ns = how & 8 ? w.now : fuzz_number(&w.in);
    if (how & 0xc0)
        fill_way(r, j);
    else
        fuzz_trace(&w.in, &r->trace);
}

static void fill_spans(struct spans *s)
{
    s->n = (int)fuzz_below(&w.in, 5);
    s->lost = fuzz_number(&w.in);
    for (int i = 0; i < s->n; i++)
        s->span[i] = (struct span){
            .request = known_request(), .kind = (uint32_t)fuzz_number(&w.in), .role = 2, .exit = -1};
}

static void fill_relays(struct relays *r)
{
    r->n = (int)fuzz_below(&w.in, 3);
    for (int i = 0; i < r->n; i++) {
        r->relay[i] = (struct relay){.name = {(char)('a' + i + (int)fuzz_below(&w.in, 2))},
                                     .endpoint = "x",
                                     .share_ppm = fuzz_below(&w.in, 4) * SHARE_PPM / 3,
                                     .mirror_ppm = fuzz_below(&w.in, 4) * SHARE_PPM / 3};
    }
    r->lease_ms = fuzz_byte(&w.in) * 10u;
}

static void fill_answer(struct answer *a)
{
    a->id = fuzz_byte(&w.in) & 3 ? w.relayed[fuzz_below(&w.in, JOBS)] : known_request();
    a->error = fuzz_byte(&w.in) & 1 ? 0 : (uint32_t)fuzz_below(&w.in, FL_CODES);
    a->label = (int32_t)fuzz_byte(&w.in) - 1;
    a->exit = (int32_t)fuzz_below(&w.in, 4) - 1;
    a->confidence = (float)fuzz_below(&w.in, 11) / 10;
    a->total_ns = fuzz_number(&w.in);
    a->broker_ns = fuzz_number(&w.in);
    if (fuzz_byte(&w.in) & 1)
        a->scores = (struct tensor){.dtype = TENSOR_F32, .rank = 1, .dim = {1 + fuzz_below(&w.in, 3)}};
}

static bool fill(struct message *m)
{
    memset(m, 0, FUZZ_CLEARED_BYTES);
    switch (fuzz_below(&w.in, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        m->type = MESSAGE_REQUEST;
        fill_request(&m->request);
        break;
    case 4:
    case 5:
    case 6:
        m->type = MESSAGE_HELLO;
        fill_hello(&m->hello);
        break;
    case 7:
    case 8:
        m->type = MESSAGE_HEARTBEAT;
        fill_heartbeat(&m->heartbeat);
        break;
    case 9:
    case 10:
    case 11:
    case 12:
        m->type = MESSAGE_RESULT;
        fill_result(&m->result);
        break;
    case 13:
        m->type = MESSAGE_SPANS;
        fill_spans(&m->spans);
        break;
    case 14:
        m->type = (enum message_type[]){MESSAGE_STATUS, MESSAGE_DRAIN, MESSAGE_RELAYS, MESSAGE_ANSWER,
                                        MESSAGE_CANCEL}[fuzz_below(&w.in, 5)];
        if (m->type == MESSAGE_RELAYS)
            fill_relays(&m->relays);
        else if (m->type == MESSAGE_ANSWER)
            fill_answer(&m->answer);
        else if (m->type == MESSAGE_CANCEL)
            fill_cancel(&m->cancel);
        else if (m->type == MESSAGE_DRAIN)
            m->drain = (struct drain){(uint32_t)fuzz_number(&w.in), fuzz_byte(&w.in) & 1};
        break;
    default:
        return fuzz_raw(&w.in, m);
    }
    return fuzz_travel(&w.in, m);
}

/* As broker.c: by the door that it belongs to. */
static void deliver(struct message *m)
{
    uint8_t client = fuzz_byte(&w.in);
    struct peer from;
    zmq_msg_t payload;
    struct error e;
    if (m->type == MESSAGE_CANCEL)
        client = w.sent[client % ASKED].from;
    from = peer_of(m->type == MESSAGE_HELLO ? m->hello.incarnation : client);
    if (!fuzz_payload(m, &payload))
        return;
    if (m->type == MESSAGE_REQUEST) {
        w.sent[w.n_sent % ASKED].from = client;
        w.sent[w.n_sent++ % ASKED].id = m->request.id;
    }
    if (m->type == MESSAGE_REQUEST || m->type == MESSAGE_CANCEL || m->type == MESSAGE_STATUS ||
        (m->type == MESSAGE_SPANS && fuzz_byte(&w.in) & 1)) {
        w.asked += m->type == MESSAGE_REQUEST;
        dispatch_client(w.d, &from, m, &payload, w.now);
        note_admitted();
    } else if (m->type == MESSAGE_RESULT) {
        if (dispatch_result(w.d, &m->result, &payload, w.now - fuzz_byte(&w.in), w.now, &e))
            FUZZ_CHECK(e.text[0]);
    } else if (m->type == MESSAGE_HELLO || m->type == MESSAGE_HEARTBEAT || m->type == MESSAGE_SPANS ||
               m->type == MESSAGE_DRAIN || m->type == MESSAGE_RELAYS) {
        dispatch_control(w.d, &from, m, w.now);
    } else if (m->type == MESSAGE_ANSWER) {
        dispatch_answered(w.d, (int)fuzz_below(&w.in, MESSAGE_MAX_RELAYS), &m->answer, &payload, w.now);
    }
    zmq_msg_close(&payload);
}

static void event(void)
{
    static struct message m;
    uint8_t what = fuzz_byte(&w.in);
    if (what < 200) {
        if (fill(&m))
            deliver(&m);
    } else if (what < 240) {
        w.now += (uint64_t)(what - 200) * (what - 200) * NS_PER_MS / 2;
    } else {
        w.deaf = fuzz_byte(&w.in) & 7;
        dispatch_away(w.d, (int)(w.deaf & 1), w.deaf & 2, w.now);
    }
    if (what & 3)
        tick();
    check();
}

static void choose_pipeline(void)
{
    struct pipeline *p = &pipeline;
    p->n_stages = 1 + (int)fuzz_below(&w.in, STAGES);
    for (int s = 0; s < p->n_stages; s++) {
        p->stage[s].n_replicas = 1 + (int)fuzz_below(&w.in, 3);
        p->stage[s].max_batch = 1 + (int)fuzz_below(&w.in, 4);
        p->stage[s].replica[0].cache = (int)fuzz_below(&w.in, 2);
    }
    p->cache.n_endpoints = 2;
    p->cache.wait_us = 2000;
    p->updates.sample = p->updates.audit = fuzz_below(&w.in, 4) * 0.3;
    p->broker = (struct broker_config){.max_requests = 1 + (int)fuzz_below(&w.in, 12),
                                       .max_memory_mb = 1.0 / 32, /* fewer than twelve large inputs */
                                       .deadline_ms = 1 + (int)fuzz_byte(&w.in) * 4,
                                       .retries = (int)fuzz_below(&w.in, 4),
                                       .heartbeat_ms = 20,
                                       .dead_after_ms = 100};
    p->broker.response_cache_mb = p->broker.max_requests % 2 ? 0.01 : 0;
}

/* Some pipelines have two or three variants. */
static void choose_variants(void)
{
    static const struct choice_variant three[] = {{"a", 0, 0, 8, 0.008, 50, INFINITY},
                                                  {"b", 0.1, 0.4, 3, 0.003, 14, 0.5},
                                                  {"c", 2, 3, 1, 0.001, 5, 0.8}};
    int most = pipeline.broker.max_requests, n = 2 + most % 2;
    struct choice_budget b = {
        .how = (enum choose_rule)(most / 3 % 4), .max_accuracy_loss = 5, .cascade_loss = 1};
    struct choice *choice;
    struct error e;

    pipeline.choose = b.how;
    if (most % 3)
        return;
    if (choice_new(&choice, three, n, &b, 7, &e) || dispatch_set_variants(w.d, choice, "a", n))
        abort();
    for (int i = 1; i < n; i++) {
        dispatch_add_variant(w.d, i, three[i].name, "x");
        dispatch_away(w.d, i - 1, false, w.now);
    }
    w.d->admission.learned = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dispatch_io io = {NULL, on_job, on_client, on_control, on_reset, NULL, on_relay, on_aim};
    struct hello self = {.role = ROLE_BROKER, .boot_id = "B"};
    log_threshold = LOG_LEVEL_ERROR + 1;
    memset(&w, 0, sizeof w);
    w.in = (struct fuzz_input){data, data + size};
    w.now = 1000 * NS_PER_S;
    choose_pipeline();
    self.incarnation = fuzz_number(&w.in);
    if (dispatch_new(&w.d, &pipeline, &io, &self, w.now))
        abort();
    span_log_init(&w.d->spans, SPANS, ROLE_BROKER, 0, 0); /* it has no memory yet */
    choose_variants();
    for (int i = 0; i < EVENTS && w.in.at < w.in.end && w.n_admitted < REQUESTS; i++)
        event();
    w.deaf = 0;
    dispatch_abandon(w.d, w.now);
    check();
    FUZZ_CHECK(requests_count(w.d->requests) == 0 && requests_shadows(w.d->requests) == 0);
    dispatch_free(w.d);
    return 0;
}
