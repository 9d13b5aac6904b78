/* mischief.c - the faults: what is done to whom, and what must hold meanwhile */
#include "siege.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define OVERLOAD       3
#define GOODPUT_WANTED 0.9
#define REFUSAL_MS     5
#define BROKER_GROWTH  (64 << 20) /* max_requests inputs and answers, and libzmq's buffers */
#define HEARTBEATS_MS  400        /* two of them */
#define MEASURE_S      3
#define CLOSED         48

/* ---- signals ---- */

static bool is_of(const char *name, const char *beginnings)
{
    char words[128], *rest = words;

    snprintf(words, sizeof words, "%s", beginnings);
    for (char *word; (word = strsep(&rest, " "));)
        if (!strncmp(name, word, strlen(word)))
            return true;
    return false;
}

/* Draws t->name[i] among living members of those names, none twice. */
static int draw_victims(struct siege *s, struct trial *t, const char *beginnings, int count, struct error *e)
{
    struct town_member *member, *fit[TOWN_MOST];
    int n = town_members(s->town, &member), fits = 0;

    for (int i = 0; i < n; i++)
        if (is_of(member[i].name, beginnings))
            fit[fits++] = &member[i];
    for (int i = 0; i < count && fits; i++) {
        unsigned k = siege_draw(s, (unsigned)fits);
        snprintf(t->name[i], sizeof t->name[i], "%s", fit[k]->name);
        if (!town_find(s->town, fit[k]->name, &t->process[i]))
            return error_set(e, FL_NOT_FOUND, "%s does not run", fit[k]->name);
        snprintf(t->victim + strlen(t->victim), sizeof t->victim - strlen(t->victim), "%s%s", i ? ", " : "",
                 fit[k]->name);
        fit[k] = fit[--fits];
    }
    return t->name[0][0] ? FL_OK : error_set(e, FL_NOT_FOUND, "there is no %s", beginnings);
}

static int signal_some(struct siege *s, struct trial *t, struct error *e)
{
    int rc = draw_victims(s, t, t->fault->victims, t->fault->count, e);

    for (int i = 0; !rc && i < t->fault->count; i++)
        if (!process_signal(&t->process[i], t->fault->number))
            rc = error_set(e, FL_NOT_FOUND, "%s cannot be signalled", t->name[i]);
    return rc;
}

static void go_on(struct siege *s, struct trial *t)
{
    (void)s;
    for (int i = 0; i < t->fault->count; i++)
        process_signal(&t->process[i], SIGCONT);
}

/* ---- too many requests ---- */

static void measure_capacity(struct siege *s)
{
    const struct account *a;
    uint64_t from;
    double p50, p99;

    if (s->capacity > 0)
        return;
    steady_load_pace(siege_load(s), 0, CLOSED);
    siege_wait(s, 1, NULL);
    from = clock_ns();
    siege_wait(s, MEASURE_S, NULL);
    a = steady_load_lock(siege_load(s));
    s->capacity = (double)account_calm(a, from, clock_ns(), &p50, &p99) / MEASURE_S;
    steady_load_unlock(siege_load(s));
}

static int overload(struct siege *s, struct trial *t, struct error *e)
{
    (void)e;
    measure_capacity(s);
    snprintf(t->victim, sizeof t->victim, "%.0f/s where %.0f/s are answered", OVERLOAD * s->capacity,
             s->capacity);
    t->begun_ns = clock_ns(); /* measuring is no part of it */
    steady_load_pace(siege_load(s), OVERLOAD * s->capacity, 0);
    return FL_OK;
}

static void back_to_steady(struct siege *s, struct trial *t)
{
    (void)t;
    steady_load_pace(siege_load(s), s->rate, 0);
}

static bool overload_holds(struct siege *s, struct trial *t)
{
    double seconds = (double)(t->ended_ns - t->begun_ns) / (double)NS_PER_S, before = (double)t->rss_before;
    struct process broker;
    int64_t grown = 0;

    t->figure = (double)t->sum.right / seconds / s->capacity;
    if (town_find(s->town, "broker", &broker))
        grown = town_rss(broker.pid) - (int64_t)before;
    snprintf(t->note, sizeof t->note,
             "goodput %.0f%% of what is answered otherwise; refusals p99 %.1f ms; broker's memory %+.1f MB",
             100 * t->figure, t->sum.refusal_p99_ms, (double)grown / 1e6);
    t->missed = t->figure < GOODPUT_WANTED || t->sum.refusal_p99_ms > REFUSAL_MS;
    if (grown > BROKER_GROWTH)
        snprintf(t->why, sizeof t->why, "the broker's memory grew by %.1f MB", (double)grown / 1e6);
    return !t->why[0];
}

/* ---- the supervisor ---- */

/* Serving needs no supervisor; a new `up` takes care again. */
static void up_again(struct siege *s, struct trial *t)
{
    char line[1200];

    snprintf(line, sizeof line, "%s/freezeline up -c %s >/dev/null 2>&1", s->bin,
             town_pipeline(s->town)->path);
    if (system(line))
        snprintf(t->why, sizeof t->why, "`up` failed after the supervisor's death");
}

/* ---- links and hosts ---- */

#define SLOW_LINK "rate 2mbit burst 16kb latency 200ms"
#define DELAY_NS  (50 * NS_PER_MS)

static const char host_name[] = "abc";

/* Two of the three hosts, in any order. */
static void draw_link(struct siege *s, struct trial *t)
{
    t->host[0] = (int)siege_draw(s, 3);
    t->host[1] = (t->host[0] + 1 + (int)siege_draw(s, 2)) % 3;
}

static int cut(struct siege *s, struct trial *t, struct error *e)
{
    const struct crossing_way closed = {.cut = true};

    (void)e;
    draw_link(s, t);
    crossing_set(town_crossing(s->town), t->host[0], t->host[1], closed);
    if (t->fault->number != 1) /* both ways */
        crossing_set(town_crossing(s->town), t->host[1], t->host[0], closed);
    snprintf(t->victim, sizeof t->victim, "%c %s %c", host_name[t->host[0]],
             t->fault->number == 1 ? "->" : "--", host_name[t->host[1]]);
    return FL_OK;
}

static int delay(struct siege *s, struct trial *t, struct error *e)
{
    const struct crossing_way late = {.delay_ns = DELAY_NS};

    (void)e;
    draw_link(s, t);
    crossing_set(town_crossing(s->town), t->host[0], t->host[1], late);
    crossing_set(town_crossing(s->town), t->host[1], t->host[0], late);
    snprintf(t->victim, sizeof t->victim, "%c -- %c, %llu ms each way", host_name[t->host[0]],
             host_name[t->host[1]], DELAY_NS / NS_PER_MS);
    return FL_OK;
}

static void mend(struct siege *s, struct trial *t)
{
    (void)t;
    crossing_mend(town_crossing(s->town));
}

/* What leaves a host, through a token bucket. */
static int shape(struct siege *s, int host, const char *how, struct error *e)
{
    struct crossing *c = town_crossing(s->town);
    char line[256];
    int rc = crossing_enter(c, host, e);

    snprintf(line, sizeof line, "tc qdisc %s", how);
    if (!rc && system(line))
        rc = error_set(e, FL_UNSUPPORTED, "`%s` does not work here", line);
    crossing_enter(c, 0, NULL);
    return rc;
}

static int slow(struct siege *s, struct trial *t, struct error *e)
{
    t->host[0] = 1 + (int)siege_draw(s, 2);
    snprintf(t->victim, sizeof t->victim, "from %c, %s", host_name[t->host[0]], SLOW_LINK);
    return shape(s, t->host[0], "replace dev eth0 root tbf " SLOW_LINK, e);
}

static void quick_again(struct siege *s, struct trial *t)
{
    shape(s, t->host[0], "delete dev eth0 root", NULL);
}

static void kill_members(struct siege *s, int host, const char *beginnings)
{
    struct town_member *member;
    int n = town_members(s->town, &member);
    struct process p;

    for (int i = 0; i < n; i++)
        if (member[i].host == host && is_of(member[i].name, beginnings) &&
            town_find(s->town, member[i].name, &p))
            process_signal(&p, SIGKILL);
}

static int kill_host(struct siege *s, struct trial *t, struct error *e)
{
    (void)e;
    t->host[0] = 1 + (int)siege_draw(s, 2);
    snprintf(t->victim, sizeof t->victim, "%c, and all that was there", host_name[t->host[0]]);
    town_host_down(s->town, t->host[0], true);
    for (int i = 0; i < 3; i++) { /* without power it says goodbye to nobody */
        crossing_set(town_crossing(s->town), i, t->host[0], (struct crossing_way){.cut = true});
        crossing_set(town_crossing(s->town), t->host[0], i, (struct crossing_way){.cut = true});
    }
    kill_members(s, t->host[0], "stage cache");
    return FL_OK;
}

static void boot_host(struct siege *s, struct trial *t)
{
    crossing_mend(town_crossing(s->town));
    town_host_down(s->town, t->host[0], false);
}

/* Its workers die while nothing comes through: their peers keep connections that have no other end. */
static int half_open(struct siege *s, struct trial *t, struct error *e)
{
    kill_host(s, t, e);
    town_host_down(s->town, t->host[0], false);
    snprintf(t->victim, sizeof t->victim, "to %c", host_name[t->host[0]]);
    return FL_OK;
}

/* ---- liars ---- */

/* A worker of the last stage, or of any, lies from now on: what it sends passes through liar.c. */
static int lie(struct siege *s, struct trial *t, struct error *e)
{
    int rc = draw_victims(s, t, t->fault->victims, 1, e);
    FILE *f = rc ? NULL : fopen(s->lies, "we");

    if (rc)
        return rc;
    if (!f)
        return error_set(e, FL_IO, "cannot write %s", s->lies);
    fprintf(f, "%s %s\n", t->name[0] + strlen("stage"), t->fault->name + strlen("lie-"));
    fclose(f);
    if (t->fault->number)
        process_signal(&t->process[0], t->fault->number);
    return FL_OK;
}

static void tell_the_truth(struct siege *s, struct trial *t)
{
    (void)t;
    remove(s->lies);
}

/* Least outstanding gives a slow worker less to do: what the others take must hardly show. */
#define SLOWER_WANTED 1.5

static bool slow_hardly_shows(struct siege *s, struct trial *t)
{
    (void)s;
    t->figure = t->sum.p99_ms / t->calm_p99_ms;
    t->missed = t->figure > SLOWER_WANTED;
    snprintf(t->note, sizeof t->note, "p99 %.1f ms, %.2f times the calm's", t->sum.p99_ms, t->figure);
    return true;
}

/* Its supervisor says how it ends, and waits longer each time. */
static bool crash_is_told(struct siege *s, struct trial *t)
{
    int said = town_said(s->town, "supervisor", t->name[0], "ended with status 3; starts again in");

    snprintf(t->note, sizeof t->note, "started again %d times", said);
    if (said >= 2)
        return true;
    snprintf(t->why, sizeof t->why, "the supervisor has told of %d ends of %s", said, t->name[0]);
    return false;
}

/* The broker put it aside, and its log says whom. */
static bool is_named(struct siege *s, struct trial *t)
{
    char who[64];
    int said;

    snprintf(who, sizeof who, "stage %c replica %c", t->name[0][5], t->name[0][7]);
    said = town_said(s->town, "broker", who, "is put aside");
    snprintf(t->note, sizeof t->note, "put aside %d times", said - t->said);
    t->said = said;
    if (said)
        return true;
    snprintf(t->why, sizeof t->why, "%s was not put aside", who);
    return false;
}

/* ---- the table ---- */

#define KILL(name, what, victims, count, quick, allow, bound)                                             \
    {                                                                                                     \
        name, what, GROUND_ONE, quick, 0.5, 0.5, allow, signal_some, NULL, NULL, victims, SIGKILL, count, \
            NULL, NULL, bound                                                                             \
    }
#define STOP(name, what, victims, count, quick, allow)                                                    \
    {                                                                                                     \
        name, what, GROUND_ONE, quick, 10, 2.5, allow, signal_some, go_on, NULL, victims, SIGSTOP, count, \
            NULL, NULL, 0                                                                                 \
    }
#define LINK(name, what, hold_s, quick, allow, begin, end, number)                                          \
    {                                                                                                       \
        name, what, GROUND_THREE, quick, hold_s, 3, allow, begin, end, NULL, NULL, number, 0, NULL, NULL, 0 \
    }
#define LIE(name, what, victims, number, quick, allow, holds)                                               \
    {                                                                                                       \
        name, what, GROUND_LIARS, quick, 6, 2, allow, lie, tell_the_truth, holds, victims, number, 1, NULL, \
            NULL, 0                                                                                         \
    }
#define ANY_TWO "stage cache redis learner"

const struct fault siege_faults[] = {
    KILL("kill-worker", "kill -9 of a stage worker", "stage", 1, true, 0, HEARTBEATS_MS),
    STOP("stop-worker", "SIGSTOP of a stage worker", "stage", 1, true, 0),
    KILL("kill-cache", "kill -9 of a cache service", "cache", 1, true, 0, 0),
    STOP("stop-cache", "SIGSTOP of a cache service", "cache", 1, false, 0),
    KILL("kill-redis", "kill -9 of Redis", "redis", 1, true, 0, 0),
    STOP("stop-redis", "SIGSTOP of Redis", "redis", 1, false, 0),
    KILL("kill-two", "kill -9 of any two", ANY_TWO, 2, true, ALLOW_DEADLINE | ALLOW_UNAVAILABLE, 0),
    STOP("stop-two", "SIGSTOP of any two", ANY_TWO, 2, false, ALLOW_DEADLINE | ALLOW_UNAVAILABLE),
    KILL("kill-broker", "kill -9 of the one broker", "broker", 1, true,
         ALLOW_DEADLINE | ALLOW_UNAVAILABLE | ALLOW_LOST, 0),
    STOP("stop-broker", "SIGSTOP of the one broker", "broker", 1, false,
         ALLOW_DEADLINE | ALLOW_UNAVAILABLE | ALLOW_LOST | ALLOW_OVERLOADED),
    {"kill-supervisor", "kill -9 of the supervisor, then `up` again", GROUND_ONE, false, 3, 1,
     ALLOW_DEADLINE | ALLOW_UNAVAILABLE | ALLOW_LOST, signal_some, up_again, NULL, "supervisor", SIGKILL, 1,
     NULL, NULL, 0},
    LINK("cut", "a link is cut", 30, true, 0, cut, mend, 0),
    LINK("one-way", "a link carries one way only", 30, false, 0, cut, mend, 1),
    LINK("delay", "a link that takes 50 ms each way", 10, false, 0, delay, mend, 0),
    LINK("slow", "a host behind a slow link", 10, false, ALLOW_OVERLOADED | ALLOW_DEADLINE, slow, quick_again,
         0),
    LINK("half-open", "workers die behind a cut link", 3, false, 0, half_open, boot_host, 0),
    LINK("kill-host", "a whole host is gone", 5, false, 0, kill_host, boot_host, 0),
    LIE("lie-shape", "scores or activations of another shape", "stage", 0, true, 0, is_named),
    LIE("lie-label", "a label that the network does not have", "stage", 0, false, 0, is_named),
    LIE("lie-late", "answers that come after the request was tried again", "stage1", 0, false, 0, NULL),
    LIE("lie-foreign", "answers to requests that it was not given", "stage1", 0, true, 0, is_named),
    LIE("lie-fail", "an error at once for everything", "stage", 0, true, 0, is_named),
    LIE("lie-crash", "a worker that crashes at every start", "stage", SIGKILL, true, 0, crash_is_told),
    LIE("lie-slow", "one of two replicas is ten times slower", "stage1", 0, false, 0, slow_hardly_shows),
    {"overload", "three times more than can be answered", GROUND_ONE, true, 60, 4,
     ALLOW_OVERLOADED | ALLOW_DEADLINE, overload, back_to_steady, overload_holds, NULL, 0, 0, NULL, NULL, 0},
};
const int siege_n_faults = sizeof siege_faults / sizeof *siege_faults;
