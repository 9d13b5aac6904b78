/* mischief.c - signals, too many requests, and the table of all faults: what is done to whom, what must hold
 */
#include "mischief.h"

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

bool mischief_is_of(const char *name, const char *beginnings)
{
    char words[128], *rest = words;

    snprintf(words, sizeof words, "%s", beginnings);
    for (char *word; (word = strsep(&rest, " "));)
        if (!strncmp(name, word, strlen(word)))
            return true;
    return false;
}

/* Draws t->name[i] among living members of those names, none twice. */
int mischief_draw(struct siege *s, struct trial *t, const char *beginnings, int count, struct error *e)
{
    struct town_member *member, *fit[TOWN_MOST];
    int n = town_members(s->town, &member), fits = 0;

    for (int i = 0; i < n; i++)
        if (mischief_is_of(member[i].name, beginnings))
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

int mischief_signal(struct siege *s, struct trial *t, struct error *e)
{
    int rc = mischief_draw(s, t, t->fault->victims, t->fault->count, e);

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

/* Anew for each trial: other work on the machine changes it. */
static void measure_capacity(struct siege *s)
{
    const struct account *a;
    uint64_t from;
    double p50, p99, seconds = s->quick ? 1.5 : MEASURE_S;

    steady_load_pace(siege_load(s), 0, CLOSED);
    siege_wait(s, 0.5, NULL);
    from = clock_ns();
    siege_wait(s, seconds, NULL);
    a = steady_load_lock(siege_load(s));
    s->capacity = (double)account_calm(a, from, clock_ns(), &p50, &p99) / seconds;
    steady_load_unlock(siege_load(s));
}

int mischief_overload(struct siege *s, struct trial *t, struct error *e)
{
    measure_capacity(s);
    if (s->capacity <= 0)
        return error_set(e, FL_UNAVAILABLE, "nothing is answered before the overload");
    snprintf(t->victim, sizeof t->victim, "%.0f/s where %.0f/s are answered", OVERLOAD * s->capacity,
             s->capacity);
    t->begun_ns = clock_ns(); /* measuring is no part of it */
    steady_load_pace(siege_load(s), OVERLOAD * s->capacity, 0);
    return FL_OK;
}

void mischief_steady(struct siege *s, struct trial *t)
{
    (void)t;
    steady_load_pace(siege_load(s), s->rate, 0);
}

static bool overload_holds(struct siege *s, struct trial *t)
{
    double seconds = (double)(t->ended_ns - t->begun_ns) / (double)NS_PER_S, before = (double)t->rss_before;
    struct account_sum during;
    struct process broker;
    int64_t grown = 0;

    account_sum(steady_load_lock(siege_load(s)), t->begun_ns, t->ended_ns, t->calm_p50_ms, t->calm_p99_ms, 0,
                clock_ns(), &during);
    steady_load_unlock(siege_load(s));
    t->figure = (double)during.right / seconds / s->capacity;
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

/* Serving needs no supervisor; `up` starts one that takes over what serves. */
static void up_again(struct siege *s, struct trial *t)
{
    char line[1200];

    snprintf(line, sizeof line, "%s/freezeline up -c %s >/dev/null 2>&1", s->bin,
             town_pipeline(s->town)->path);
    if (system(line))
        snprintf(t->why, sizeof t->why, "`up` failed after the supervisor's death");
}

/* ---- the table ---- */

#define NOBODY_THERE (ALLOW_DEADLINE | ALLOW_UNAVAILABLE | ALLOW_OVERLOADED)
#define ANY_TWO      "stage cache redis learner"
/* Name, what it is, whose names begin so, how many of them. */
#define KILL(n, w, who, number_of)                                                                      \
    .name = n, .what = w, .hold_s = 0.5, .quick_hold_s = 0.5, .begin = mischief_signal, .victims = who, \
    .count = number_of, .number = SIGKILL
#define STOP(n, w, who, number_of)                                                                   \
    .name = n, .what = w, .hold_s = 10, .quick_hold_s = 2.5, .begin = mischief_signal, .end = go_on, \
    .victims = who, .count = number_of, .number = SIGSTOP
#define LINK(n, w, seconds, to_begin, to_end)                                                              \
    .name = n, .what = w, .ground = GROUND_THREE, .hold_s = seconds, .quick_hold_s = 3, .begin = to_begin, \
    .end = to_end
#define LIE(n, w, who)                                                                                   \
    .name = n, .what = w, .ground = GROUND_LIARS, .hold_s = 6, .quick_hold_s = 2, .begin = mischief_lie, \
    .end = mischief_truth, .victims = who, .count = 1
#define LIMIT(n, w, seconds, to_begin, to_end)                                                              \
    .name = n, .what = w, .ground = GROUND_LIMITS, .hold_s = seconds, .quick_hold_s = 2, .begin = to_begin, \
    .end = to_end, .victims = "stage", .count = 1

const struct fault siege_faults[] = {
    {KILL("kill-worker", "kill -9 of a stage worker", "stage", 1), .quick = true, .bound_ms = HEARTBEATS_MS},
    {STOP("stop-worker", "SIGSTOP of a stage worker", "stage", 1), .quick = true},
    {KILL("kill-cache", "kill -9 of a cache service", "cache", 1), .quick = true},
    {STOP("stop-cache", "SIGSTOP of a cache service", "cache", 1)},
    {KILL("kill-redis", "kill -9 of Redis", "redis", 1), .quick = true},
    {STOP("stop-redis", "SIGSTOP of Redis", "redis", 1)},
    {KILL("kill-two", "kill -9 of any two", ANY_TWO, 2), .quick = true, .allow = NOBODY_THERE},
    {STOP("stop-two", "SIGSTOP of any two", ANY_TWO, 2), .allow = NOBODY_THERE},
    {KILL("kill-broker", "kill -9 of the one broker", "broker", 1), .quick = true,
     .allow = NOBODY_THERE | ALLOW_LOST},
    {STOP("stop-broker", "SIGSTOP of the one broker", "broker", 1),
     .allow = NOBODY_THERE | ALLOW_LOST | ALLOW_OVERLOADED | ALLOW_LATE},
    {KILL("kill-supervisor", "kill -9 of the supervisor, then `up` again", "supervisor", 1), .quick = true,
     .end = up_again},
    {KILL("kill-one-broker", "kill -9 of one of two brokers", "broker", 1), .ground = GROUND_BROKERS,
     .quick = true, .bound_ms = 1000},
    {KILL("kill-any-two", "kill -9 of any two, one of two brokers among them or both", ANY_TWO " broker", 2),
     .ground = GROUND_BROKERS, .allow = NOBODY_THERE | ALLOW_LOST},
    {STOP("stop-any-two", "SIGSTOP of any two, brokers too", ANY_TWO " broker", 2), .ground = GROUND_BROKERS,
     .allow = NOBODY_THERE | ALLOW_LOST | ALLOW_LATE},
    {STOP("stop-one-broker", "SIGSTOP of one of two brokers", "broker", 1), .ground = GROUND_BROKERS},
    {.name = "overload",
     .what = "three times more than can be answered",
     .ground = GROUND_ONE,
     .quick = true,
     .hold_s = 60,
     .quick_hold_s = 4,
     .allow = ALLOW_OVERLOADED | ALLOW_DEADLINE,
     .begin = mischief_overload,
     .end = mischief_steady,
     .holds = overload_holds},
    {.name = "soak",
     .what = "steady load for long",
     .ground = GROUND_ONE,
     .hold_s = -1,
     .begin = mischief_soak,
     .watch = mischief_soak_look,
     .holds = mischief_soak_holds},
    {LINK("cut", "a link is cut", 30, mischief_cut, mischief_mend), .quick = true,
     .holds = mischief_well_soon},
    {.name = "cut-brokers",
     .what = "the link between the hosts of two brokers is cut",
     .ground = GROUND_APART,
     .hold_s = 30,
     .quick_hold_s = 3,
     .begin = mischief_cut_brokers,
     .end = mischief_mend,
     .holds = mischief_well_soon},
    {.name = "kill-broker-host",
     .what = "a host with one of two brokers is gone",
     .ground = GROUND_APART,
     .hold_s = 5,
     .quick_hold_s = 3,
     .begin = mischief_kill_host,
     .end = mischief_boot_host},
    {LINK("one-way", "a link carries one way only", 30, mischief_cut, mischief_mend), .number = 1,
     .holds = mischief_well_soon},
    {LINK("delay", "a link that takes 50 ms each way", 10, mischief_delay, mischief_mend)},
    {LINK("slow", "a host behind a slow link", 10, mischief_slow, mischief_quick_again),
     .allow = ALLOW_OVERLOADED | ALLOW_DEADLINE},
    {LINK("half-open", "workers die behind a cut link", 3, mischief_half_open, mischief_boot_host)},
    {LINK("kill-host", "a whole host is gone", 5, mischief_kill_host, mischief_boot_host)},
    {LIE("lie-shape", "scores or activations of another shape", "stage"), .quick = true,
     .holds = mischief_is_named, .until_holds = true},
    {LIE("lie-label", "a label that the network does not have", "stage"), .holds = mischief_is_named,
     .until_holds = true},
    {LIE("lie-late", "answers that come after the request was tried again", "stage1")},
    {LIE("lie-foreign", "answers to requests that were answered", "stage1"), .holds = mischief_is_named,
     .until_holds = true},
    {LIE("lie-fail", "an error at once for everything", "stage"), .quick = true, .holds = mischief_is_named,
     .until_holds = true},
    {LIE("lie-crash", "a worker that crashes at every start", "stage"), .quick = true, .number = SIGKILL,
     .holds = mischief_crash_is_told, .until_holds = true},
    {LIE("lie-slow", "one of two replicas is ten times slower", "stage1"),
     .holds = mischief_slow_hardly_shows},
    {LIMIT("disk-full", "the state directory's disk is full, and a worker dies", 10, mischief_fill_disk,
           mischief_empty_disk),
     .disk_mb = 96},
    {LIMIT("shm-full", "/dev/shm is full, and a worker dies", 2, mischief_signal, NULL), .number = SIGKILL,
     .full_shm = true},
    {LIMIT("few-files", "more connections than files may be open", 5, mischief_connect_many,
           mischief_disconnect),
     .under = "prlimit --nofile=512:512", .holds = mischief_refusals_are_told},
    {LIMIT("little-memory", "no process may have more memory, under three times the load", 5,
           mischief_limit_memory, mischief_unlimit_memory),
     .allow = ALLOW_NO_MEMORY | NOBODY_THERE | ALLOW_LOST},
    {.name = "full-group",
     .what = "the control group of a process has no memory left",
     .ground = GROUND_ONE,
     .hold_s = 2,
     .quick_hold_s = 2,
     .begin = mischief_fill_group,
     .end = mischief_remove_group,
     .holds = mischief_want_is_told,
     .until_holds = true,
     .victims = "stage cache"},
    {LIMIT("clock-forward", "the clock of the day goes forward by an hour", 3, mischief_step_clock,
           mischief_step_back),
     .under = CLOCK_STEP, .number = 3600},
    {LIMIT("clock-back", "the clock of the day goes back by an hour", 3, mischief_step_clock,
           mischief_step_back),
     .under = CLOCK_STEP, .number = -3600},
};
const int siege_n_faults = sizeof siege_faults / sizeof *siege_faults;
