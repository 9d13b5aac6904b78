/* reload.c - `freezeline reload`: the running pipeline takes what the pipeline file, the model and
 * STATE/caches are now
 *
 * Stages first, where they serve something else: the supervisor starts a successor beside each (heirs.h), and
 * the broker moves on when all have come. Then the caches: each service reads the build again. Nothing that
 * serves ends before what follows it is loaded, so whatever fails, or ends this command, leaves a pipeline
 * that serves.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "claim.h"
#include "deploy/build/built_exits.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/report.h"
#include "deploy/tool/state.h"
#include "failure.h"
#include "heirs.h"
#include "reload.h"
#include "running.h"
#include "served.h"
#include "word.h"

#define POLL_US   50000
#define ASK_MS    3000
#define TIMEOUT_S 120

static const struct usage usage = {
    .command = "reload",
    .summary =
        "Takes what the pipeline file, the model and the built caches are now into the running pipeline.",
    .notes = "No request fails. Where stages change (another model, `input`, cuts, exits), new workers are\n"
             "loaded beside those that serve, which takes memory for both, and take over together;\n"
             "requests wait for that moment. If one cannot be loaded, nothing changes. Then the cache\n"
             "services read STATE/caches again. Other numbers of stages or replicas, endpoints and the\n"
             "broker's own settings need `freezeline down` and `freezeline up`.\n\n"
             "examples:\n"
             "  freezeline build -c P.yaml --train D --calibrate D && freezeline reload -c P.yaml\n"
             "  freezeline plan -c P.yaml && freezeline reload -c P.yaml\n",
};

struct reload {
    struct pipeline_arguments where;
    bool json, without_caches;
    int timeout_s;
    uint64_t started_ns, until_ns;
    struct pipeline *pipeline;
    struct model_shape *model;
    struct served served;
    struct status_reply *reply;
    int lock;
    bool moved, read; /* what there was to do */
    char ignored[128];
};

static int ask(struct reload *r, struct error *e)
{
    return served_ask(&r->served, r->pipeline, r->model, e);
}

static bool over(const struct reload *r)
{
    return interrupt_seen() || clock_ns() > r->until_ns;
}

static int too_late(const struct reload *r, const char *what, struct error *e)
{
    if (interrupt_seen())
        return error_set(e, FL_CANCELLED, "called off: %s", what);
    return error_set(e, FL_DEADLINE, "not done in %d s: %s", r->timeout_s, what);
}

/* --- the stages --- */

/* Nobody here can start the successors: says what to start where. */
static int by_hand(const struct reload *r, struct error *e)
{
    bool told = !running_ask(r->pipeline, ASK_MS, r->reply, NULL);

    if (told)
        fprintf(stderr,
                "no supervisor of this host tends this pipeline: start a successor of each stage worker "
                "where it runs; the\npipeline moves on when all have come:\n");
    for (int i = 0; told && i < r->reply->n_processes; i++) {
        const struct process_status *p = &r->reply->process[i];
        if (p->role == ROLE_STAGE && strcmp(p->state, "dead") && strcmp(p->state, "waiting"))
            fprintf(stderr, "  on %s: freezeline-stage -c %s --stage %u --replica %u --after %llu\n", p->host,
                    r->pipeline->path, p->stage, p->replica, (unsigned long long)p->pid);
    }
    return error_set(e, FL_UNAVAILABLE,
                     "the stages serve something else than %s describes, and are not tended by a "
                     "supervisor of this host: start their successors by hand",
                     r->pipeline->path);
}

/* "failed WHO TEXT" */
static int explain(const struct reload *r, const char *word, struct error *e)
{
    char who[32] = "-", reason[300] = "";
    int at = 0;

    sscanf(word, "failed %31s %n", who, &at);
    if (strcmp(who, "-"))
        failure_reason(r->pipeline, who, reason, sizeof reason);
    return error_set(e, FL_UNAVAILABLE, "%s%s%s%s%s; what served goes on", strcmp(who, "-") ? who : "",
                     strcmp(who, "-") ? ": " : "", word + at, reason[0] ? ": " : "", reason);
}

static int wait_for_stages(struct reload *r, const struct process *supervisor, struct error *e)
{
    char word[ERROR_TEXT_BYTES + 64];
    int rc;

    for (; !over(r); usleep(POLL_US)) {
        if (!process_alive(supervisor))
            return error_set(e, FL_UNAVAILABLE, "the supervisor (pid %d) is gone", (int)supervisor->pid);
        if (!word_read(r->pipeline, HEIRS_WORD, word, sizeof word))
            continue;
        if (!strncmp(word, "failed ", 7))
            return explain(r, word, e);
        if (strncmp(word, "done", 4))
            continue;
        snprintf(r->ignored, sizeof r->ignored, "%.120s", word[4] ? word + 5 : "");
        if ((rc = ask(r, e)) || (r->served.file == SERVED_SAME && r->served.ready))
            return rc;
    }
    process_signal(supervisor, SIGUSR2);
    return too_late(r, "what served goes on", e);
}

static int move_stages(struct reload *r, struct error *e)
{
    struct process supervisor;

    if (r->served.file == SERVED_SAME)
        return FL_OK;
    if (claim_look(r->pipeline, &supervisor) != CLAIM_HERE)
        return by_hand(r, e);
    word_remove(r->pipeline, HEIRS_WORD);
    if (!process_signal(&supervisor, SIGUSR1))
        return error_set(e, FL_UNAVAILABLE, "the supervisor (pid %d) cannot be signalled",
                         (int)supervisor.pid);
    r->moved = true;
    return wait_for_stages(r, &supervisor, e);
}

/* --- the caches --- */

static bool is_served(const struct reload *r, const struct served_service *c)
{
    return !memcmp(c->told.build, r->served.built.build, DIGEST_BYTES);
}

/* SIGHUP to those of this host that answer from something else; the others are named. */
static void ask_to_read(struct reload *r)
{
    struct process p;
    char role[32];

    for (int i = 0; i < r->served.n_services; i++) {
        const struct served_service *c = &r->served.service[i];
        if (is_served(r, c))
            continue;
        r->read = true;
        snprintf(role, sizeof role, "cache%u", c->index);
        if (pid_file_load(r->pipeline, role, &p) || !process_signal(&p, SIGHUP))
            fprintf(stderr,
                    "freezeline reload: cache%u is no process of this host's supervisor: send it a SIGHUP "
                    "where it "
                    "runs (`freezeline status -c %s` has host and pid)\n",
                    c->index, r->pipeline->path);
    }
}

static int wait_for_caches(struct reload *r, struct error *e)
{
    for (; !over(r); usleep(POLL_US)) {
        int rc = ask(r, e), left = 0;
        if (rc)
            return rc;
        for (int i = 0; i < r->served.n_services; i++)
            left += !is_served(r, &r->served.service[i]);
        if (!left)
            return FL_OK;
    }
    return too_late(r, "a cache service does not take the build in STATE/caches; see `freezeline logs`", e);
}

static int read_caches(struct reload *r, struct error *e)
{
    if (r->without_caches || !r->served.built.known || !r->served.fits || !r->served.n_services)
        return FL_OK;
    ask_to_read(r);
    return wait_for_caches(r, e);
}

/* --- the command --- */

/* Finds all that can be wrong with the new files while nothing has changed yet. */
static int check(struct reload *r, struct error *e)
{
    char path[STATE_PATH_BYTES];
    struct process supervisor;
    bool caches;
    int rc;

    if (r->where.sets.n)
        return error_set(e, FL_USAGE,
                         "--set: the --set arguments of `up` stay; write what is to change into the file");
    if ((rc = running_load(&r->pipeline, &r->where, e)))
        return rc;
    caches = r->pipeline->cache.n_endpoints > 0 && strcmp(r->pipeline->cache.kind, "none") != 0;
    r->model = calloc(1, sizeof *r->model);
    r->reply = calloc(1, sizeof *r->reply);
    if (!r->model || !r->reply)
        return error_set(e, FL_NOMEM, "no memory");
    if ((rc = model_shape_load(r->model, r->pipeline, e)) ||
        (caches && !r->without_caches && (rc = built_exits_check(r->model, r->pipeline, e))))
        return rc;
    if (claim_look(r->pipeline, &supervisor) == CLAIM_HERE &&
        ((rc = state_path(path, r->pipeline, e, "run/reload.lock")) ||
         (rc = state_lock(&r->lock, path, "reloading the pipeline", e))))
        return rc;
    return ask(r, e);
}

static int report(const struct reload *r, struct error *e)
{
    const struct promise_record *a = &r->served.answers;
    char plan[DIGEST_TEXT_BYTES], build[DIGEST_TEXT_BYTES], text[PROMISE_TEXT_BYTES];
    double seconds = (double)(clock_ns() - r->started_ns) / NS_PER_S;
    json_t *root;

    digest_text(r->served.plan, plan);
    digest_text(a->build, build);
    if (r->json) {
        root = json_pack("{s:b, s:b, s:o, s:s}", "stages_moved", r->moved, "caches_read", r->read, "seconds",
                         report_rounded(seconds, 3), "ignored", r->ignored);
        served_report(&r->served, r->pipeline, root);
        return report_print(root, e);
    }
    if (!r->moved && !r->read)
        printf("nothing to do: the pipeline serves what %s describes\n", r->pipeline->path);
    if (r->moved)
        printf("the stages have moved on to plan %.12s (model %s)\n", plan, r->pipeline->model);
    if (a->known)
        printf("the caches answer from build %.12s: %d of them, %s\n", build, a->n_caches,
               a->promised ? promise_text(&a->promise.terms, text) : "without a promise");
    if (r->ignored[0])
        printf("changes in %s are taken at the next `freezeline up`\n", r->ignored);
    if (r->moved || r->read)
        printf("done in %.1f s\n", seconds);
    return FL_OK;
}

static int run(struct reload *r, struct error *e)
{
    int rc;

    interrupt_catch();
    r->started_ns = clock_ns();
    r->until_ns = r->started_ns + (uint64_t)r->timeout_s * NS_PER_S;
    if (!(rc = check(r, e)) && !(rc = move_stages(r, e)))
        rc = read_caches(r, e);
    return rc;
}

static void release(struct reload *r)
{
    if (r->lock >= 0)
        close(r->lock);
    free(r->model);
    free(r->reply);
    pipeline_free(r->pipeline);
}

int reload_pipeline(const struct pipeline_arguments *where, bool *moved, struct error *e)
{
    struct reload r = {.where = *where, .timeout_s = TIMEOUT_S, .lock = -1};
    int rc = run(&r, e);

    *moved = r.moved;
    release(&r);
    return rc;
}

int command_reload(int argc, char **argv, struct error *e)
{
    struct reload r = {.timeout_s = TIMEOUT_S, .lock = -1};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(r.where),
        OPTION_FLAG("without-caches", r.without_caches,
                    "move the stages on though the built caches are not theirs: every look-up misses"),
        OPTION_INT("timeout", r.timeout_s, "S", "call it off after S seconds (120)", 1, 86400),
        ARGUMENTS_JSON(r.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, e);

    if (!rc && !(rc = run(&r, e)))
        rc = report(&r, e);
    release(&r);
    return rc;
}
