/* apply.c - `freezeline apply`: the running pipeline takes what the pipeline file, the model and STATE/caches
 * are now
 *
 * What differs from the copy that serves (serving.h) is said first; then the supervisor does that and no more
 * (orders.h). Stages of another plan are replaced together, other processes that read what has changed one
 * after another. Then each cache service reads the build again. Nothing that serves ends before what follows
 * it is loaded, so whatever fails, or ends this command, leaves a pipeline that serves.
 */
#include "apply.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "deploy/build/built_exits.h"
#include "deploy/launch/fleet.h"
#include "deploy/launch/change_hosts.h"
#include "deploy/supervise/changes.h"
#include "deploy/process/claim.h"
#include "deploy/supervise/order.h"
#include "deploy/process/running.h"
#include "deploy/process/served.h"
#include "deploy/process/serving.h"
#include "deploy/process/word.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/report.h"
#include "steps.h"

#define POLL_US   50000
#define ASK_MS    3000
#define TIMEOUT_S 120

static const struct usage usage = {
    .command = "apply",
    .summary = "Takes what the pipeline file, the model and the built caches are now into the running "
               "pipeline.",
    .notes =
        "Says what has changed since it was taken last and what follows from it, then does that and no\n"
        "more; no request fails. Where the stages' plan changes (another model, `input`, cuts, exits),\n"
        "new workers load beside those that serve, which takes memory for both, and take over together.\n"
        "Other processes that read what has changed start again one after another, and the cache\n"
        "services read STATE/caches. Names and endpoints by which processes find one another need\n"
        "`freezeline down` and `freezeline up`.\n\n"
        "examples:\n"
        "  freezeline apply -c P.yaml --dry-run\n"
        "  freezeline build -c P.yaml --train D --calibrate D && freezeline apply -c P.yaml\n",
};

struct apply {
    struct pipeline_arguments where;
    bool json, without_caches, dry_run;
    int timeout_s;
    uint64_t started_ns, until_ns;
    struct pipeline *pipeline; /* the file as it is now */
    struct serving now;        /* what serves; its pipeline is NULL where no supervisor keeps it */
    struct model_shape *model;
    struct served served;
    struct changes changes;
    bool moved, read; /* what there was to do */
};

static int ask(struct apply *a, struct error *e)
{
    return served_ask(&a->served, a->pipeline, a->model, e);
}

static int seconds_left(const struct apply *a)
{
    uint64_t now = clock_ns();
    return a->until_ns > now ? (int)((a->until_ns - now) / NS_PER_S) + 1 : 1;
}

/* --- what is to be done --- */

static bool is_together(const struct apply *a)
{
    return a->served.file != SERVED_SAME;
}

/* Stages that are replaced together need not start again. */
static unsigned effect_of(const struct apply *a)
{
    return is_together(a) ? a->changes.effect & ~(unsigned)CHANGE_STAGES : a->changes.effect;
}

static bool reads_caches(const struct apply *a)
{
    return !a->without_caches && a->served.built.known && a->served.fits && a->served.unserved;
}

/* Without the learner where there is none. */
static unsigned told_of(const struct apply *a, unsigned effect)
{
    bool learns = pipeline_learns(a->pipeline) || (a->now.pipeline && pipeline_learns(a->now.pipeline));
    return learns ? effect : effect & ~(unsigned)CHANGE_LEARNER;
}

static const char *follows(unsigned effect, bool together, char *buf, size_t size)
{
    static const struct {
        unsigned effect;
        const char *text;
    } parts[] = {
        {CHANGE_STOPS, "takes `freezeline down` and `up`"}, {CHANGE_NUMBER, "workers start or end"},
        {CHANGE_STAGES, "the stage workers start again"},   {CHANGE_CACHES, "the cache services start again"},
        {CHANGE_LEARNER, "the learner starts again"},       {CHANGE_BROKER, "the broker starts again"},
        {CHANGE_BUILD, "`freezeline build` reads it"}};
    size_t n = 0;

    buf[0] = '\0';
    if (effect & CHANGE_TOGETHER)
        return together ? "the stage workers are replaced together" : "nothing: the stages' plan is the same";
    for (size_t i = 0; i < sizeof parts / sizeof *parts && n < size; i++)
        if (effect & parts[i].effect)
            n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "", parts[i].text);
    return buf;
}

static void print_plan(const struct apply *a)
{
    char text[256];

    for (int i = 0; i < a->changes.n; i++) {
        const struct change *c = &a->changes.item[i];
        printf("%s: %s -> %s: %s\n", c->key, c->from[0] ? c->from : "(none)", c->to[0] ? c->to : "(none)",
               follows(told_of(a, c->effect), is_together(a), text, sizeof text));
    }
    if (is_together(a) && !(a->changes.effect & CHANGE_TOGETHER))
        puts(
            "the stages serve another plan than the files describe: the stage workers are replaced together");
    if (reads_caches(a))
        puts("another build is in the state directory: the cache services read it");
    fflush(stdout);
}

static json_t *plan_json(const struct apply *a)
{
    json_t *list = json_array();
    char text[256];

    for (int i = 0; i < a->changes.n; i++) {
        const struct change *c = &a->changes.item[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s}", "key", c->key, "from", c->from, "to", c->to, "follows",
                            follows(told_of(a, c->effect), is_together(a), text, sizeof text)));
    }
    return list;
}

/* --- the processes --- */

/* Nobody here can start the successors: says what to start where. */
static int by_hand(const struct apply *a, struct error *e)
{
    struct status_reply *s = calloc(1, sizeof *s);
    bool told = s && !running_ask(a->pipeline, ASK_MS, s, NULL);

    if (told)
        fprintf(stderr,
                "no supervisor of this host tends this pipeline: start a successor of each stage worker "
                "where it runs; the\npipeline moves on when all have come:\n");
    for (int i = 0; told && i < s->n_processes; i++) {
        const struct process_status *p = &s->process[i];
        if (p->role == ROLE_STAGE && strcmp(p->state, "dead") && strcmp(p->state, "waiting"))
            fprintf(stderr, "  on %s: freezeline-stage -c %s --stage %u --replica %u --after %llu\n", p->host,
                    a->pipeline->path, p->stage, p->replica, (unsigned long long)p->pid);
    }
    free(s);
    return error_set(e, FL_UNAVAILABLE,
                     "the stages serve something else than %s describes, and are not tended by a "
                     "supervisor of this host: start their successors by hand",
                     a->pipeline->path);
}

/* Those that the file asks for anew start anyway. */
static json_t *who_restarts(const struct apply *a)
{
    struct role now[ROLES_MAX], next[ROLES_MAX], both[ROLES_MAX];
    int n_now = 0, n_next = 0, n = 0;

    if (a->now.pipeline)
        roles_list(a->now.pipeline, now, &n_now, NULL);
    (a->pipeline->here < 0 ? roles_list : roles_list_here)(a->pipeline, next, &n_next, NULL);
    for (int i = 0; i < n_next; i++)
        for (int k = 0; k < n_now; k++)
            if (!strcmp(next[i].name, now[k].name))
                both[n++] = next[i];
    return order_rolling(both, n, effect_of(a));
}

static int change_processes(struct apply *a, struct error *e)
{
    struct process supervisor;
    struct steps steps = {.quiet = a->json};
    int rc;

    if (!is_together(a) && !a->changes.n)
        return FL_OK;
    if (claim_look(a->pipeline, &supervisor) == CLAIM_NOBODY)
        return by_hand(a, e);
    a->moved = is_together(a);
    rc = order_give(a->pipeline,
                    json_pack("{s:s, s:b, s:o}", "do", "take", "together", a->moved, "who", who_restarts(a)),
                    seconds_left(a), steps_heard, &steps, NULL, e);
    steps_end(&steps);
    return rc ? rc : ask(a, e);
}

/* --- the caches --- */

static bool is_served(const struct apply *a, const struct served_service *c)
{
    return !memcmp(c->told.build, a->served.built.build, DIGEST_BYTES);
}

/* SIGHUP to those of this host that answer from something else; the others are named. */
static void ask_to_read(struct apply *a)
{
    struct process p;
    char role[32];

    for (int i = 0; i < a->served.n_services; i++) {
        const struct served_service *c = &a->served.service[i];
        if (is_served(a, c))
            continue;
        a->read = true;
        snprintf(role, sizeof role, "cache%u", c->index);
        if ((pid_file_load(a->pipeline, role, &p) || !process_signal(&p, SIGHUP)) && a->pipeline->here < 0)
            fprintf(stderr,
                    "freezeline apply: cache%u is no process of this host's supervisor: send it a SIGHUP "
                    "where it runs (`freezeline status -c %s` has host and pid)\n",
                    c->index, a->pipeline->path);
    }
}

static int wait_for_caches(struct apply *a, struct error *e)
{
    for (; !interrupt_seen() && clock_ns() < a->until_ns; usleep(POLL_US)) {
        int rc = ask(a, e), left = 0;
        if (rc)
            return rc;
        for (int i = 0; i < a->served.n_services; i++)
            left += !is_served(a, &a->served.service[i]);
        if (!left)
            return FL_OK;
    }
    return error_set(e, interrupt_seen() ? FL_CANCELLED : FL_DEADLINE,
                     "%s: a cache service does not take the build in STATE/caches; see `freezeline logs`",
                     interrupt_seen() ? "called off" : "not done in time");
}

static int read_caches(struct apply *a, struct error *e)
{
    if (a->without_caches || !a->served.built.known || !a->served.fits || !a->served.n_services)
        return FL_OK;
    ask_to_read(a);
    return wait_for_caches(a, e);
}

/* --- the command --- */

/* The same where it runs on other hosts: workers have places there that the file may leave open. */
static int load_for_hosts(struct apply *a, struct error *e)
{
    struct pipeline *was, *next;
    int rc = files_for_hosts(&was, &next, a->pipeline, &a->now, e);

    if (rc) {
        pipeline_free(was);
        pipeline_free(next);
        return rc;
    }
    pipeline_free(a->now.pipeline);
    a->now.pipeline = was;
    pipeline_free(a->pipeline);
    a->pipeline = next;
    changes_find(&a->changes, was, next);
    return FL_OK;
}

/* The file as it is now, with what `up` was given and the numbers that were scaled since. */
static int load(struct apply *a, struct error *e)
{
    struct pipeline_arguments next = {.path = a->where.path, .host = a->where.host};
    struct argument_list sets;
    struct pipeline *p;
    int rc = running_load(&a->pipeline, &a->where, e);

    if (rc || serving_recall(&a->now, a->pipeline, NULL))
        return rc;
    if ((rc = serving_check_sets(&a->now, &a->where.sets, a->pipeline->path, e)))
        return rc;
    if (fleet_there(a->pipeline))
        return load_for_hosts(a, e);
    if ((rc = serving_sets(&sets, &a->now, a->pipeline->path, e)))
        return rc;
    next.sets = sets;
    if ((rc = arguments_load(&p, &next, e)))
        return rc;
    pipeline_free(a->pipeline);
    a->pipeline = p;
    changes_find(&a->changes, a->now.pipeline, p);
    return FL_OK;
}

/* Finds all that can be wrong with the new files while nothing has changed yet. */
static int check(struct apply *a, struct error *e)
{
    bool caches;
    int rc;

    if ((rc = load(a, e)))
        return rc;
    caches = a->pipeline->cache.n_endpoints > 0 && strcmp(a->pipeline->cache.kind, "none") != 0;
    a->model = calloc(1, sizeof *a->model);
    if (!a->model)
        return error_set(e, FL_NOMEM, "no memory");
    if ((rc = model_shape_load(a->model, a->pipeline, e)) ||
        (caches && !a->without_caches && (rc = built_exits_check(a->model, a->pipeline, e))))
        return rc;
    return ask(a, e);
}

static int report(const struct apply *a, struct error *e)
{
    const struct promise_record *r = &a->served.answers;
    char plan[DIGEST_TEXT_BYTES], build[DIGEST_TEXT_BYTES], text[PROMISE_TEXT_BYTES];
    double seconds = (double)(clock_ns() - a->started_ns) / NS_PER_S;
    json_t *root;

    digest_text(a->served.plan, plan);
    digest_text(r->build, build);
    if (a->json) {
        root = json_pack("{s:b, s:o, s:b, s:b, s:b, s:o}", "dry_run", a->dry_run, "changes", plan_json(a),
                         "stages_moved", a->dry_run ? is_together(a) : a->moved, "caches_read",
                         a->dry_run ? reads_caches(a) : a->read, "more_changes", a->changes.more, "seconds",
                         report_rounded(seconds, 3));
        served_report(&a->served, a->pipeline, root);
        return report_print(root, e);
    }
    if (!a->changes.n && !is_together(a) && !reads_caches(a) && !a->moved && !a->read)
        printf("nothing to do: the pipeline serves what %s describes\n", a->pipeline->path);
    if (a->dry_run)
        return FL_OK;
    if (a->moved)
        printf("the stages have moved on to plan %.12s (model %s)\n", plan, a->pipeline->model);
    if (r->known)
        printf("the caches answer from build %.12s: %d of them, %s\n", build, r->n_caches,
               r->promised ? promise_text(&r->promise.terms, text) : "without a promise");
    if (a->moved || a->read || a->changes.n)
        printf("done in %.1f s\n", seconds);
    fflush(stdout);
    served_warn(&a->served, a->pipeline, "apply");
    return FL_OK;
}

/* Where it runs on other hosts, each of them applies what is brought to it. What would be done is looked at
 * from here: bringing the new files would change what a worker there starts again from. */
static int run_on_hosts(struct apply *a, bool *done, struct error *e)
{
    struct pipeline *p;
    bool differs;
    int rc;

    if ((rc = running_load(&p, &a->where, e)))
        return rc;
    *done = fleet_there(p) && !a->dry_run;
    if (*done && !(rc = apply_look(&a->where, &differs, e))) /* or files that no host takes would lie there */
        rc = apply_hosts(p, a->timeout_s, false, e);
    pipeline_free(p);
    return rc;
}

static int run(struct apply *a, bool says, struct error *e)
{
    int rc;

    interrupt_catch();
    a->started_ns = clock_ns();
    a->until_ns = a->started_ns + (uint64_t)a->timeout_s * NS_PER_S;
    if ((rc = check(a, e)))
        return rc;
    if (says && !a->json)
        print_plan(a);
    if (a->now.pipeline && (rc = changes_check(a->now.pipeline, a->pipeline, e)))
        return rc;
    if (!a->dry_run && !(rc = change_processes(a, e)))
        rc = read_caches(a, e);
    return rc;
}

static void release(struct apply *a)
{
    free(a->model);
    serving_free(&a->now);
    pipeline_free(a->pipeline);
}

int apply_file(const struct pipeline_arguments *where, bool *moved, struct error *e)
{
    struct apply a = {.where = *where, .timeout_s = TIMEOUT_S};
    int rc = run(&a, false, e);

    *moved = a.moved;
    release(&a);
    return rc;
}

int apply_look(const struct pipeline_arguments *where, bool *differs, struct error *e)
{
    struct apply a = {.where = *where, .timeout_s = TIMEOUT_S, .dry_run = true};
    int rc = run(&a, false, e);

    *differs = !rc && (is_together(&a) || a.changes.n || reads_caches(&a));
    release(&a);
    return rc;
}

int command_apply(int argc, char **argv, struct error *e)
{
    struct apply a = {.timeout_s = TIMEOUT_S};
    bool elsewhere = false;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE_UP(a.where),
        OPTION_FLAG("dry-run", a.dry_run, "say what would be done, and do nothing"),
        OPTION_FLAG("without-caches", a.without_caches,
                    "move the stages on though the built caches are not theirs: every look-up misses"),
        OPTION_INT("timeout", a.timeout_s, "S", "call it off after S seconds (120)", 1, 86400),
        ARGUMENTS_JSON(a.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, e);

    if (!rc && !(rc = run_on_hosts(&a, &elsewhere, e)) && !elsewhere && !(rc = run(&a, true, e)))
        rc = report(&a, e);
    release(&a);
    return rc;
}
