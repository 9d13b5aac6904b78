/* load.c - the loop that sends, receives and sleeps
 *
 * Ids count up by one per request, so what is in flight lies in a table by id modulo its size. Requests that
 * were due before counting began belong to the warm-up, whenever their answers come.
 */
#include "load.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "deploy/tool/interrupt.h"
#include "inputs.h"
#include "precedence.h"
#include "warmup.h"

#define LOAD_WINDOW      65536 /* requests in flight at most; a power of two */
#define LOAD_GRACE_NS    (3 * NS_PER_S)
#define LOAD_STOP_NS     (2 * NS_PER_S) /* patience after an interrupt */
#define LOAD_BEHIND_NS   (5 * NS_PER_S) /* so late a sender never catches up */
#define LOAD_TICK_NS     (200 * NS_PER_MS)
#define LOAD_NAP_NS      (20 * NS_PER_MS)
#define LOAD_FINE_NS     (200 * NS_PER_US) /* lateness that never matters (LATE_FINE_NS) */
#define LOAD_TOGETHER    16                /* requests that are due, before answers get their turn */
#define LOAD_KNOWN       100               /* answers from which on the latency is known */
#define LOAD_MARGIN_LOW  (20 * NS_PER_US)  /* the clock is watched from so long before a request is due .. */
#define LOAD_MARGIN_HIGH (500 * NS_PER_US) /* .. at most, however late wake-ups come */

struct sent {
    uint64_t id, due_ns;
    int64_t record;
    bool waiting, counts, alone;
};

struct load {
    const struct load_options *o;
    struct tally *tally;
    struct load_outcome *out;
    struct inputs *inputs;
    struct sent *sent; /* by id modulo LOAD_WINDOW */
    struct warmup *warmup;
    int64_t in_flight, counted; /* counted: requests that were sent and count */
    int64_t moves;              /* requests sent and answers taken */
    uint64_t start_ns;          /* of it all */
    uint64_t schedule_ns;       /* the times of arrivals are after this */
    uint64_t begin_ns;          /* of what counts; 0 during the warm-up */
    uint64_t due_ns;            /* of the next request */
    uint64_t heard_ns;          /* the last answer, or when there was last nothing to wait for */
    uint64_t tick_ns, margin_ns, stop_ns;
    /* lateness that does not matter: a hundredth of the median latency; 0 until it is known */
    uint64_t fine_ns;
    uint64_t patience_ns; /* an answer, even an error, comes sooner than that */
    double cpu_s;         /* of this process when counting began */
    int group_left, group_bad;
    int n_held, first_held; /* closed loop: who was told to come back later waits as long */
    uint64_t *held;         /* ring of LOAD_WINDOW times */
    bool over;              /* the schedule is */
};

static double process_cpu_s(void)
{
    struct rusage r;

    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static uint64_t since_begin(const struct load *l, uint64_t now)
{
    return now > l->begin_ns ? now - l->begin_ns : 0;
}

static bool open_loop(const struct load *l)
{
    return l->o->arrivals != NULL;
}

static void schedule_next(struct load *l)
{
    bool warming = l->o->warming && !l->begin_ns;
    uint64_t at;

    if (arrivals_next(warming ? l->o->warming : l->o->arrivals, &at))
        l->due_ns = l->schedule_ns + at;
    else
        l->over = true;
}

static void begin_counting(struct load *l, uint64_t now)
{
    l->begin_ns = now;
    l->cpu_s = process_cpu_s();
    l->out->warmup_s = (double)(now - l->start_ns) / NS_PER_S;
    if (l->o->begun)
        l->o->begun(l->o->arg);
    if (l->o->warming) {
        l->schedule_ns = clock_ns();
        schedule_next(l);
    }
}

static bool sending(const struct load *l)
{
    const struct load_options *o = l->o;

    if (l->stop_ns || l->over || (o->requests > 0 && l->counted >= o->requests))
        return false;
    return o->duration_s <= 0 || !l->begin_ns ||
           l->due_ns < l->begin_ns + (uint64_t)(o->duration_s * NS_PER_S);
}

static void remember(struct load *l, uint64_t id, int64_t record, bool counts)
{
    struct sent *s = &l->sent[id % LOAD_WINDOW];

    if (s->waiting) { /* one that was sent LOAD_WINDOW requests ago never came back */
        if (s->counts)
            tally_error(l->tally, since_begin(l, clock_ns()), FL_OK);
        l->in_flight--;
    }
    if (!l->in_flight)
        l->heard_ns = clock_ns();
    *s = (struct sent){id, l->due_ns, record, true, counts, !l->in_flight};
    if (l->in_flight) /* the request before this one is not alone any more either */
        l->sent[(id - 1) % LOAD_WINDOW].alone = false;
    l->in_flight++;
    l->moves++;
}

/* Sends the request that is due. */
static int submit(struct load *l, struct error *e)
{
    bool counts = l->begin_ns && l->due_ns >= l->begin_ns;
    const struct tensor *input;
    struct traffic_pick pick;
    uint64_t id, now;
    int rc;

    input = inputs_take(l->inputs, &pick);
    rc = target_submit(l->o->target, input, l->o->deadline_ms, &id, e);
    now = clock_ns();
    if (counts) {
        l->counted++;
        l->tally->sending_seconds = (double)since_begin(l, l->due_ns) / NS_PER_S;
        tally_sent(l->tally, since_begin(l, now),
                   open_loop(l) && !target_is_whole(l->o->target) ? now - l->due_ns : 0,
                   traffic_show(l->o->traffic, pick.record));
    } else {
        l->out->warmup_requests++;
    }
    if (rc == FL_UNAVAILABLE || rc == FL_OVERLOADED) { /* the queue to the broker is full */
        if (counts)
            tally_error(l->tally, since_begin(l, now), rc);
        return FL_OK;
    }
    if (!rc)
        remember(l, id, pick.record, counts);
    return rc;
}

/* Kept in the order of arrival, which is nearly that of the times: a later refusal seldom names an earlier
 * time. */
static void hold(struct load *l, uint64_t until_ns)
{
    if (!open_loop(l) && l->n_held < LOAD_WINDOW)
        l->held[(l->first_held + l->n_held++) % LOAD_WINDOW] = until_ns;
}

static int held(struct load *l)
{
    uint64_t now = clock_ns();
    while (l->n_held && l->held[l->first_held] <= now) {
        l->first_held = (l->first_held + 1) % LOAD_WINDOW;
        l->n_held--;
    }
    return l->n_held;
}

/* Closed loop: as many as are missing, or a whole group when the last one is complete. */
static int refill(struct load *l, struct error *e)
{
    int room = l->o->group ? (l->in_flight ? 0 : l->o->group) : l->o->closed - (int)l->in_flight - held(l);
    int rc = FL_OK;

    l->due_ns = clock_ns();
    if (l->o->group && room) {
        l->group_left = room;
        l->group_bad = 0;
    }
    for (; !rc && room > 0 && sending(l); room--) {
        if (!l->o->group)
            l->due_ns = clock_ns();
        rc = submit(l, e);
        if (!rc && !l->in_flight)
            break; /* the queue to the broker is full */
    }
    return rc;
}

static int send_due(struct load *l, struct error *e)
{
    int rc = FL_OK;

    if (!open_loop(l))
        return refill(l, e);
    for (int i = 0; !rc && i < LOAD_TOGETHER && sending(l) && l->due_ns <= clock_ns(); i++) {
        rc = submit(l, e);
        schedule_next(l);
        l->margin_ns -= l->margin_ns / 512; /* so that sleep is tried again where requests follow closely */
    }
    return rc;
}

/* The last answer of a group ends a query. */
static void count_group(struct load *l, const struct sent *s, bool bad, uint64_t now)
{
    l->group_bad += bad;
    if (l->o->group && --l->group_left == 0 && s->counts && !l->group_bad)
        histogram_record(&l->tally->query, now - s->due_ns);
}

static void count_answer(struct load *l, const struct sent *s, const struct answer *a, uint64_t now)
{
    int32_t label = dataset_label(l->o->data, s->record);
    tally_answer(l->tally, since_begin(l, now), a, now - s->due_ns, label);
    if (l->o->labels && label >= 0)
        fprintf(l->o->labels, "%" PRIu64 ",%d\n", a->request, (int)label);
    if (l->o->answered)
        l->o->answered(l->o->arg, a, now - s->due_ns, s->alone);
}

static void take(struct load *l, const struct answer *a)
{
    struct sent *s = &l->sent[a->id % LOAD_WINDOW];
    uint64_t now = clock_ns();

    if (!s->waiting || s->id != a->id)
        return;
    s->waiting = false;
    l->in_flight--;
    l->moves++;
    l->heard_ns = now;
    count_group(l, s, a->error != FL_OK, now);
    if (a->error)
        hold(l, now + a->retry_after_ms * NS_PER_MS);
    if (s->counts && a->error == FL_OVERLOADED)
        tally_refusal(l->tally, since_begin(l, now), now - s->due_ns);
    else if (s->counts && a->error)
        tally_error(l->tally, since_begin(l, now), (int)a->error);
    else if (s->counts)
        count_answer(l, s, a, now);
    else if (!l->begin_ns && !a->error && warmup_note(l->warmup, now, now - s->due_ns))
        begin_counting(l, now);
}

/* Takes the answers that are there, until the next request is due. */
static int take_answers(struct load *l, struct error *e)
{
    struct answer a;

    for (int i = 0; i < 64; i++) {
        int rc = target_receive(l->o->target, &a, e);
        if (rc == FL_PROTOCOL || rc == FL_TOO_LARGE) {
            l->tally->garbage++;
            continue;
        }
        if (rc)
            return rc == FL_AGAIN ? FL_OK : rc;
        take(l, &a);
        if (open_loop(l) && l->due_ns <= l->heard_ns)
            break;
    }
    return FL_OK;
}

/* Sleeps until an answer may be there or shortly before the next request is due. Learns from how late it was
 * woken. All that came has been taken, so the descriptor tells of what comes next, and who sleeps does not
 * take a core from those who compute. */
static void nap(struct load *l)
{
    struct pollfd fd = {.fd = target_fd(l->o->target), .events = POLLIN};
    uint64_t now = clock_ns(), wait = LOAD_NAP_NS, woken;
    struct timespec t = {0, 0};
    bool timed = open_loop(l) && sending(l);
    uint64_t margin_ns = l->margin_ns > l->fine_ns ? l->margin_ns : 0;
    uint64_t until = l->due_ns + (l->fine_ns > LOAD_FINE_NS ? l->fine_ns : 0) - margin_ns;

    if (timed && until < now + wait) {
        if (until <= now)
            return;
        wait = until - now;
    }
    t.tv_nsec = (long)wait;
    if (ppoll(&fd, fd.fd >= 0, &t, NULL) || !timed)
        return;
    woken = clock_ns();
    l->margin_ns -= l->margin_ns / 32;
    if (woken - now > wait && woken - now - wait + LOAD_MARGIN_LOW > l->margin_ns)
        l->margin_ns = woken - now - wait + LOAD_MARGIN_LOW;
    if (l->margin_ns < LOAD_MARGIN_LOW)
        l->margin_ns = LOAD_MARGIN_LOW;
    if (l->margin_ns > LOAD_MARGIN_HIGH)
        l->margin_ns = LOAD_MARGIN_HIGH;
}

/* One more input can be made ready before the next request is due, or has to be. */
static bool time_to_prepare(const struct load *l)
{
    return !inputs_full(l->inputs) && (!inputs_ready(l->inputs) || !open_loop(l) ||
                                       clock_ns() + l->margin_ns + inputs_takes_ns(l->inputs) < l->due_ns);
}

static void idle(struct load *l)
{
    if (sending(l) && time_to_prepare(l))
        inputs_prepare(l->inputs);
    else if (!target_is_whole(l->o->target) || open_loop(l))
        nap(l);
}

static void stop(struct load *l, uint64_t now, const char *why)
{
    if (l->stop_ns)
        return;
    l->stop_ns = now;
    snprintf(l->out->cut_short, sizeof l->out->cut_short, "%s after %.1f s", why,
             (double)(now - l->start_ns) / NS_PER_S);
}

static void give_up(struct load *l, uint64_t now)
{
    if (l->stop_ns)
        return;
    l->out->gone = true;
    stop(l, now, "the server did not answer any more; given up");
}

/* What happens a few times a second: the end of a warm-up that takes too long, a server that is gone. */
static void tick(struct load *l)
{
    uint64_t now = clock_ns();
    bool stood_still = l->tick_ns && now > l->tick_ns + LOAD_BEHIND_NS;

    if (now < l->tick_ns)
        return;
    l->tick_ns = now + LOAD_TICK_NS;
    if (stood_still) /* what the server said meanwhile is still to be read */
        l->heard_ns = now;
    if (l->tally->answered >= LOAD_KNOWN)
        l->fine_ns = histogram_quantile(&l->tally->latency, 0.5) / 100;
    if (!l->begin_ns && now >= l->start_ns + (uint64_t)(l->o->warmup_s * NS_PER_S)) {
        l->out->drifting = warmup_drifts(l->warmup);
        begin_counting(l, now);
    }
    if (l->in_flight && now > l->heard_ns + l->patience_ns)
        give_up(l, now);
    if (open_loop(l) && sending(l) && now > l->due_ns + LOAD_BEHIND_NS)
        stop(l, now,
             stood_still ? "the sender stood still for more than 5 s, as where a machine is paused; given up"
                         : "requests left more than 5 s late, the rate is impossible here; given up");
    if (interrupt_seen() ||
        (l->o->tick && l->o->tick(l->o->arg, l->tally, (double)(now - l->start_ns) / NS_PER_S))) {
        l->out->stopped = true;
        stop(l, now, "interrupted");
    }
}

/* True while answers may still come. */
static bool waiting(const struct load *l)
{
    uint64_t now = clock_ns();

    return l->in_flight && now < l->heard_ns + l->patience_ns &&
           (!l->stop_ns || now < l->stop_ns + LOAD_STOP_NS);
}

static int drive(struct load *l, struct error *e)
{
    int rc = FL_OK;

    l->start_ns = l->schedule_ns = l->due_ns = l->heard_ns = clock_ns();
    if (open_loop(l))
        schedule_next(l);
    if (l->o->warmup_s <= 0)
        begin_counting(l, l->start_ns);
    while (!rc && (sending(l) || waiting(l))) {
        int64_t moves = l->moves;
        rc = send_due(l, e);
        if (!rc)
            rc = take_answers(l, e);
        tick(l);
        if (l->moves == moves) /* there is time; after an answer a closed loop has to send at once */
            idle(l);
    }
    if (!rc && l->in_flight) /* sending may have been over before the server was */
        give_up(l, clock_ns());
    for (int i = 0; i < LOAD_WINDOW; i++)
        if (l->sent[i].waiting && l->sent[i].counts)
            tally_error(l->tally, since_begin(l, clock_ns()), FL_OK);
    if (l->begin_ns) {
        l->out->cpu_s = process_cpu_s() - l->cpu_s;
        l->out->end_s = (double)since_begin(l, clock_ns()) / NS_PER_S;
    }
    if (!l->begin_ns && !rc && !l->stop_ns)
        snprintf(l->out->cut_short, sizeof l->out->cut_short, "all requests went by while warming up");
    return rc;
}

static int make_ready(struct load *l, struct error *e)
{
    l->sent = calloc(LOAD_WINDOW, sizeof *l->sent);
    l->held = calloc(LOAD_WINDOW, sizeof *l->held);
    l->warmup = calloc(1, sizeof *l->warmup);
    if (!l->sent || !l->held || !l->warmup)
        return error_set(e, FL_NOMEM, "no memory for requests");
    return inputs_new(&l->inputs, l->o->data, l->o->traffic, e);
}

int load_run(struct tally *tally, struct load_outcome *out, const struct load_options *o, struct error *e)
{
    struct load l = {.o = o, .tally = tally, .out = out, .margin_ns = 2 * LOAD_MARGIN_LOW};
    int64_t deadline_ms = o->deadline_ms ? (int64_t)o->deadline_ms : target_of(o->target)->broker.deadline_ms;
    int slack = prctl(PR_GET_TIMERSLACK), before = 0, rc;

    memset(out, 0, sizeof *out);
    l.patience_ns = (uint64_t)deadline_ms * NS_PER_MS + LOAD_GRACE_NS;
    tally->deadline_ns = (uint64_t)deadline_ms * NS_PER_MS;
    if (traffic_scene_frames(o->traffic) > 0)
        target_stream(o->target, (uint64_t)getpid()); /* its own video, and the same in every round */
    prctl(PR_SET_TIMERSLACK, 1);                      /* ns: wake up when asked to */
    if (!target_is_whole(o->target))                  /* which would compute with precedence */
        before = precedence_raise();
    if (!(rc = make_ready(&l, e)))
        rc = drive(&l, e);
    if (!target_is_whole(o->target))
        precedence_restore(before);
    prctl(PR_SET_TIMERSLACK, slack > 0 ? slack : 0);
    inputs_free(l.inputs);
    free(l.sent);
    free(l.held);
    free(l.warmup);
    return rc;
}
