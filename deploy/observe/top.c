/* top.c - `freezeline top`: the pipeline at work, drawn again twice a second */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "deploy/tool/arguments.h"
#include "base/clock.h"
#include "client/client.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/keypress.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/report.h"
#include "epoch_report.h"
#include "history_report.h"
#include "learning.h"
#include "learning_picture.h"
#include "deploy/process/roles.h"
#include "deploy/process/running.h"
#include "deploy/process/served.h"
#include "deploy/tool/table.h"

#define BAR_CELLS   40
#define TOP_WAIT_MS 1000
#define STEP_MS     50
#define LAST_EVENTS 5 /* of the caches' history */

static const struct usage usage = {
    .command = "top",
    .summary = "Shows the running pipeline: rates, who answers, queues, cache epochs. q or Ctrl-C ends it.",
    .notes = "Rates and shares are over the last interval. Without a terminal, or with --once or --json,\n"
             "it shows one interval and ends.\n\n"
             "example:\n"
             "  freezeline top -c P.yaml\n",
};

struct top {
    struct pipeline_arguments where;
    bool once, json, learning;
    bool over; /* the user has asked for it */
    const char *plot;
    struct learning_picture *picture;
    double interval_s, duration_s;
    struct pipeline *pipeline;
    struct model_shape *model;
    struct client *client;
    struct status_reply *now, *before;
};

/* What happened between two replies. */
struct change {
    double seconds;
    uint64_t admitted, answered, hits, known, failed, network;
    uint64_t exit[PIPELINE_MAX_EXITS];
};

static uint64_t more(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0; /* less: the broker is a new one */
}

static void change_of(const struct top *t, struct change *c)
{
    const struct status_reply *a = t->before, *b = t->now;

    memset(c, 0, sizeof *c);
    c->seconds = (double)more(b->now_ns, a->now_ns) / NS_PER_S;
    if (c->seconds <= 0)
        c->seconds = 1;
    c->admitted = more(b->admitted, a->admitted);
    c->answered = more(b->answered, a->answered);
    c->failed = more(b->failed + b->expired + b->overloaded, a->failed + a->expired + a->overloaded);
    for (int i = 0; i < b->n_exits; i++) {
        c->exit[i] = more(b->exit[i].answered, a->exit[i].answered);
        c->hits += c->exit[i];
    }
    c->known = more(b->known, a->known);
    c->network = more(c->answered, c->hits + c->known);
}

static void print_exit(FILE *to, const char *name, int depth, int of, uint64_t n, uint64_t all)
{
    double share = all ? (double)n / (double)all : 0;
    int full = (int)(share * BAR_CELLS + 0.5);

    fprintf(to, "  %-12.12s layer %3d of %-3d ", name, depth, of);
    for (int i = 0; i < BAR_CELLS; i++)
        fputc(i < full ? '#' : '.', to);
    fprintf(to, " %5.1f%%\n", 100 * share);
}

static void print_exits(FILE *to, const struct top *t, const struct change *c)
{
    const struct model_shape *m = t->model;

    fputs("who answered\n", to);
    for (int i = 0; i < t->now->n_exits && i < m->n_exits; i++)
        print_exit(to, m->exit[i].name, m->exit[i].depth, m->depth, c->exit[i], c->answered);
    print_exit(to, "network", m->depth, m->depth, c->network, c->answered);
    if (t->pipeline->broker.response_cache_mb > 0)
        print_exit(to, "known before", 0, m->depth, c->known, c->answered);
}

static const struct process_status *same_process(const struct status_reply *r, const struct process_status *p)
{
    for (int i = 0; i < r->n_processes; i++)
        if (r->process[i].incarnation == p->incarnation)
            return &r->process[i];
    return NULL;
}

static void print_process(FILE *to, const struct top *t, const struct process_status *p, double seconds)
{
    const struct process_status *old = same_process(t->before, p);
    uint64_t jobs = old ? more(p->last.jobs, old->last.jobs) : 0,
             batches = old ? more(p->last.batches, old->last.batches) : 0;
    uint64_t lookups = old ? more(p->last.lookups, old->last.lookups) : 0;
    char name[32], memory[32];

    fprintf(to, "  %-10s %-9s %8.1f jobs/s  batch %4.1f  queue %3u  out %3u  %8.1f look-ups/s  %9s",
            roles_name(p, name, sizeof name), p->state, (double)jobs / seconds,
            batches ? (double)jobs / (double)batches : 0, p->last.queued, p->outstanding,
            (double)lookups / seconds, table_bytes((double)p->last.resident_bytes, memory, sizeof memory));
    if (p->role == ROLE_CACHE)
        fprintf(to, "  %u caches  epoch %llu%s", p->caches.loaded, (unsigned long long)p->last.epoch,
                t->pipeline->redis.endpoint && !p->last.redis_up ? "  Redis is gone" : "");
    if (p->role == ROLE_STAGE && p->last.exits)
        fprintf(to, "  looks up in shared memory at %d exit%s  epoch %llu", __builtin_popcount(p->last.exits),
                p->last.exits & (p->last.exits - 1) ? "s" : "", (unsigned long long)p->last.epoch);
    fputc('\n', to);
}

/* How the caches come to be, instead of processes. */
static void print_learning(FILE *to, const struct top *t)
{
    struct change c;

    change_of(t, &c);
    fprintf(to, "freezeline %s: %.1f requests/s, %.1f%% answered by caches\n", t->pipeline->name,
            (double)c.admitted / c.seconds, c.answered ? 100 * (double)c.hits / (double)c.answered : 0);
    epoch_print(t->now, t->model, to);
    learning_picture_print(t->picture, to);
    history_print_last(t->pipeline, LAST_EVENTS, to);
}

static void print_picture(FILE *to, const struct top *t)
{
    if (t->learning) {
        print_learning(to, t);
        return;
    }
    struct promise_record built;
    struct served served;
    struct change c;

    change_of(t, &c);
    fprintf(to, "freezeline %s: %s%s%s\n\n", t->pipeline->name, t->now->ready ? "ready" : "not ready",
            t->now->draining ? ", draining" : "", t->now->unloaded ? ", unloaded over HTTP" : "");
    fprintf(to, "%8.1f requests/s  %8.1f answers/s  %5.1f%% by caches  %llu in flight  %llu failed\n\n",
            (double)c.admitted / c.seconds, (double)c.answered / c.seconds,
            c.answered ? 100 * (double)c.hits / (double)c.answered : 0, (unsigned long long)t->now->in_flight,
            (unsigned long long)c.failed);
    print_exits(to, t, &c);
    fputs("\nprocesses\n", to);
    for (int i = 0; i < t->now->n_processes; i++)
        print_process(to, t, &t->now->process[i], c.seconds);
    promise_record_load(&built, t->pipeline);
    served_take(&served, t->now, t->model, &built, t->pipeline);
    served_print(&served, t->pipeline, to);
    learning_print(t->now, to);
    epoch_print(t->now, t->model, to);
    history_print_last(t->pipeline, LAST_EVENTS, to);
}

/* Over the last picture: each line ends by clearing what that one left behind it. */
static int redraw(const struct top *t, struct error *e)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);

    if (to)
        print_picture(to, t);
    if (!to || fclose(to)) {
        free(text);
        return error_set(e, FL_NOMEM, "no memory for a picture");
    }
    fputs("\033[H", stdout);
    for (const char *c = text; *c; c++)
        fputs(*c == '\n' ? "\033[K\n" : (char[]){*c, 0}, stdout);
    fputs("\033[J", stdout);
    free(text);
    return FL_OK;
}

static int print_json(const struct top *t, struct error *e)
{
    struct change c;
    json_t *exits = json_array(), *processes = json_array();
    char name[32];

    change_of(t, &c);
    for (int i = 0; i < t->now->n_exits; i++)
        json_array_append_new(
            exits, json_pack("{s:s, s:o}", "name", model_shape_exit(t->model, i), "share",
                             report_rounded(c.answered ? (double)c.exit[i] / (double)c.answered : 0, 6)));
    for (int i = 0; i < t->now->n_processes; i++) {
        const struct process_status *p = &t->now->process[i];
        json_t *o = json_pack("{s:s, s:s, s:i, s:i, s:I}", "role", roles_name(p, name, sizeof name), "state",
                              p->state, "queued", (int)p->last.queued, "outstanding", (int)p->outstanding,
                              "epoch", (json_int_t)p->last.epoch);
        if (p->role == ROLE_CACHE)
            json_object_set_new(o, "learning", learning_json(p));
        if (p->role == ROLE_STAGE)
            json_object_set_new(o, "near_exits", json_integer(p->last.exits));
        json_array_append_new(processes, o);
    }
    return report_print(json_pack("{s:b, s:o, s:o, s:I, s:I, s:o, s:o, s:o}", "ready", t->now->ready,
                                  "requests_per_s", report_rounded((double)c.admitted / c.seconds, 3),
                                  "answers_per_s", report_rounded((double)c.answered / c.seconds, 3),
                                  "in_flight", (json_int_t)t->now->in_flight, "known", (json_int_t)c.known,
                                  "exits", exits, "processes", processes, "learner",
                                  epoch_json(t->now, t->model)),
                        e);
}

/* The next reply, one interval after the last. */
static int next(struct top *t, struct error *e)
{
    struct status_reply *old = t->before;
    int rc;

    for (int i = 0; i < (int)(t->interval_s * 1e3 / STEP_MS) && !t->over; i++)
        t->over = keypress_wait(STEP_MS) == 'q' || interrupt_seen();
    t->before = t->now;
    t->now = old;
    if (!(rc = client_status(t->client, TOP_WAIT_MS, t->now, e)))
        learning_picture_add(t->picture, t->now);
    return rc;
}

static int watch(struct top *t, struct error *e)
{
    uint64_t end = clock_ns() + (uint64_t)(t->duration_s * NS_PER_S);
    int rc = FL_OK;

    keypress_begin();
    printf("\033[?25l\033[2J");
    while (!rc && !t->over && (t->duration_s <= 0 || clock_ns() < end)) {
        if (!(rc = next(t, e)))
            rc = redraw(t, e);
        fflush(stdout);
    }
    printf("\033[?25h");
    fflush(stdout);
    keypress_end();
    return rc;
}

static int top(struct top *t, struct error *e)
{
    uint64_t end = clock_ns() + (uint64_t)(t->duration_s * NS_PER_S);
    int rc;

    t->now = calloc(1, sizeof *t->now);
    t->before = calloc(1, sizeof *t->before);
    t->model = calloc(1, sizeof *t->model);
    if (!t->now || !t->before || !t->model)
        return error_set(e, FL_NOMEM, "no memory");
    if ((rc = running_load(&t->pipeline, &t->where, e)) ||
        (rc = model_shape_load(t->model, t->pipeline, e)) || (rc = client_new(&t->client, t->pipeline, e)) ||
        (rc = client_status(t->client, TOP_WAIT_MS, t->now, e)))
        return rc;
    interrupt_catch();
    if (!t->once && !t->json && isatty(STDOUT_FILENO))
        return watch(t, e);
    do
        if ((rc = next(t, e)))
            return rc;
    while (t->learning && !t->once && !t->over && clock_ns() < end);
    if (t->json)
        return print_json(t, e);
    print_picture(stdout, t);
    return FL_OK;
}

int command_top(int argc, char **argv, struct error *e)
{
    struct top t = {.interval_s = 0.5};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(t.where),
        OPTION_NUMBER("interval", t.interval_s, "S", "seconds between two pictures (0.5)", 0.1, 3600),
        OPTION_NUMBER("duration", t.duration_s, "S", "end after S seconds", 0.1, 1e7),
        OPTION_FLAG("once", t.once, "one picture"),
        OPTION_FLAG("learning", t.learning, "how caches are learned: early share and audited loss over time"),
        OPTION_TEXT("plot", t.plot, "FILE.svg", "write that as a plot in the end"),
        OPTION_FLAG("json", t.json, "machine-readable output, once"),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, e);

    if (!rc && !(rc = learning_picture_new(&t.picture)))
        rc = top(&t, e);
    if (!rc && t.plot)
        rc = learning_picture_save(t.picture, t.plot, e);
    learning_picture_free(t.picture);
    client_free(t.client);
    free(t.now);
    free(t.before);
    free(t.model);
    pipeline_free(t.pipeline);
    return rc;
}
