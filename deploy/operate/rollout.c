/* rollout.c - `freezeline rollout`: the files as they are now are tried beside the pipeline that serves, and
 * taken by it or left
 *
 * A pipeline of the new files comes up whole beside (beside.h). Both are asked the same requests of a data
 * set in turns, and compared (pair_comparison.h); then a growing share of the clients' requests goes there
 * (shift.h). The one that serves stays the door, answers what the new one fails, and changes at the end
 * alone, as `freezeline apply` changes it. So whatever fails, or ends this command, leaves a pipeline that
 * serves, and no request fails.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/client.h"
#include "deploy/data/dataset.h"
#include "deploy/process/claim.h"
#include "deploy/launch/change_hosts.h"
#include "deploy/launch/fleet.h"
#include "deploy/launch/host_side.h"
#include "deploy/process/running.h"
#include "deploy/process/serving.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/progress.h"
#include "deploy/tool/report.h"
#include "apply.h"
#include "beside.h"
#include "comparison_report.h"
#include "shift.h"

#define MOST_BY_ITSELF 1000 /* requests, where the data have more */
#define STATUS_MS      3000
#define WARM_UP        8   /* pairs that do not count: both have everything in memory then */
#define PORTS_FURTHER  512 /* a pipeline has ports up to 288 behind its first one */
#define PORT_MOST      (65535 - PORTS_FURTHER)
#define TIMEOUT_S      120

static const struct usage usage = {
    .command = "rollout",
    .summary = "Tries the files as they are now beside what serves; takes them if they are no worse.",
    .notes =
        "A second pipeline comes up beside, in STATE/rollout: that takes memory and cores for both. Where\n"
        "the pipeline runs on other hosts, it is brought to the same ones, with ports from --port on.\n"
        "With --data, requests from D are asked of both first, one at a time and in turns. Then, step by\n"
        "step, a share of the clients' requests is answered by the new one, and some more are asked of\n"
        "both; what the new one fails, or is late with, the one that serves answers, so no request fails.\n"
        "Compared is how many fail, how many answers are right (without labels: the same), and how long\n"
        "they take. It backs out as soon as the new one is worse beyond doubt, and after the data and\n"
        "after each step when it is worse at all. Else the pipeline beside ends, and the one that serves\n"
        "takes the files as `freezeline apply` does. Requests from D count in the statistics of the\n"
        "pipeline that serves, and its caches may learn from them; the caches beside are as they were\n"
        "built. Ctrl-C backs out; where this command is killed, the pipeline beside ends by itself.\n\n"
        "examples:\n"
        "  freezeline rollout -c P.yaml\n"
        "  freezeline rollout -c P.yaml --data cifar10:test_batch.bin --steps 5,25,100 --step-time 300\n"
        "  freezeline rollout -c P.yaml --data folder:D --requests 300 --tolerance 0.5 --steps "
        "none\n\n" DATASET_LAYOUTS,
};

struct rollout {
    struct pipeline_arguments where;
    const char *data_spec; /* NULL: clients' requests alone */
    const char *steps_text;
    struct shift_steps steps;
    struct shift shift;
    double tolerance, slower;
    int requests, deadline_ms, timeout_s, port;
    bool json, dry_run, skip_bad;

    struct pipeline *running; /* as commands find it */
    struct fleet hosts;       /* that it was started on from here; none: n is 0 */
    struct serving now;       /* what serves */
    struct pipeline *next;    /* the files as they are now */
    struct model_shape *model;
    struct dataset *data;
    struct tensor input;
    struct beside beside;
    struct client *client_now, *client_next;
    struct comparison *comparison;
    struct progress progress;
    uint64_t started_ns;
    bool applied;
    char why[300]; /* it was left */
};

/* --- before anything starts --- */

static int load_next(struct pipeline **out, const struct rollout *r, struct error *e)
{
    struct pipeline_arguments next = {.path = r->where.path, .host = r->where.host};
    int rc;

    if (r->hosts.n)
        return files_for_hosts(NULL, out, r->running, &r->now, e);
    rc = serving_sets(&next.sets, &r->now, r->where.path, e);

    return rc ? rc : arguments_load(out, &next, e);
}

/* On the hosts where it was started from here, or on this one. */
static int find_running(struct rollout *r, struct error *e)
{
    struct process supervisor;
    int rc = running_load(&r->running, &r->where, e);

    if (rc)
        return rc;
    if (fleet_there(r->running)) {
        if ((rc = fleet_load(&r->hosts, r->running, e)))
            return rc;
        r->beside.on = r->hosts.on;
        r->beside.job = r->hosts.job;
    } else if (r->running->n_hosts || claim_look(r->running, &supervisor) != CLAIM_HERE) {
        return error_set(
            e, FL_UNAVAILABLE,
            "it was not started from this machine, or no supervisor tends it: `freezeline up -c %s` first",
            r->running->path);
    }
    return serving_recall(&r->now, r->running, e);
}

/* The pipeline that serves, and what its files are now. */
static int find(struct rollout *r, struct error *e)
{
    bool differs;
    int rc;

    if ((rc = shift_parse(&r->steps, r->steps_text, e)))
        return rc;
    if (!r->data_spec && !r->steps.n)
        return error_set(e, FL_USAGE, "--steps none takes --data: requests to ask of both");
    if ((rc = find_running(r, e)) || (rc = apply_look(&r->where, &differs, e)) ||
        (rc = load_next(&r->next, r, e)))
        return rc;
    return differs ? FL_OK
                   : error_set(e, FL_USAGE, "nothing to do: the pipeline serves what %s describes",
                               r->next->path);
}

static void show_record(struct rollout *r, int64_t i)
{
    dataset_image(r->data, i % dataset_count(r->data), r->input.data);
}

/* Only answers of the same classes can be compared, or be told to the same clients. */
static int check_classes(struct rollout *r, struct error *e)
{
    struct status_reply *s = malloc(sizeof *s);
    int64_t n = r->model->classes;
    int rc = s ? client_status(r->client_now, STATUS_MS, s, e) : error_set(e, FL_NOMEM, "no memory");

    for (int i = 0; !rc && i < s->n_processes; i++)
        if (s->process[i].role == ROLE_STAGE && s->process[i].output.tensor.dtype)
            n = tensor_count(&s->process[i].output.tensor);
    free(s);
    if (rc || n == r->model->classes)
        return rc;
    return error_set(e, FL_SHAPE,
                     "the model %s has %d classes, and what serves has others: clients would get other "
                     "answers; `freezeline down` and `up` change to it",
                     r->next->model, r->model->classes);
}

static int open_data(struct rollout *r, struct error *e)
{
    struct dataset_options o = {.pipeline = r->next,
                                .input = &r->model->input,
                                .classes = r->model->classes,
                                .skip_broken = r->skip_bad,
                                .notes = stderr};
    int rc = r->data_spec ? dataset_open(&r->data, r->data_spec, &o, e) : FL_OK;

    if (rc || !r->data_spec)
        return rc;
    if ((rc = dataset_labels_fit(r->data, r->model->classes, e)))
        return rc;
    if (!dataset_count(r->data))
        return error_set(e, FL_VALUE, "%s has no records", r->data_spec);
    if (!r->requests)
        r->requests = dataset_count(r->data) < MOST_BY_ITSELF ? (int)dataset_count(r->data) : MOST_BY_ITSELF;
    r->input = dataset_shape(r->data);
    r->input.data = malloc((size_t)tensor_bytes(&r->input));
    return r->input.data ? FL_OK : error_set(e, FL_NOMEM, "no memory");
}

static int check(struct rollout *r, struct error *e)
{
    int rc = find(r, e);

    if (rc)
        return rc;
    r->model = calloc(1, sizeof *r->model);
    r->comparison = calloc(1, sizeof *r->comparison);
    if (!r->model || !r->comparison)
        return error_set(e, FL_NOMEM, "no memory");
    r->comparison->limits = r->shift.total.limits =
        (struct comparison_limits){r->tolerance / 100, r->slower / 100};
    if ((rc = host_side_check_cpus(r->next, e)) || (rc = model_shape_load(r->model, r->next, e)) ||
        (rc = open_data(r, e)) || (rc = client_new(&r->client_now, r->now.pipeline, e)))
        return rc;
    return check_classes(r, e);
}

/* --- comparing --- */

static struct observed ask(const struct rollout *r, struct client *c)
{
    uint64_t start = clock_ns();
    struct answer a = {.label = -1, .exit = -1};
    int rc = client_infer(c, &r->input, 0, (uint32_t)r->deadline_ms, &a, NULL, 0, NULL, NULL);

    return (struct observed){.error = rc ? rc : (int)a.error,
                             .label = a.label,
                             .early = a.exit >= 0,
                             .known = a.known,
                             .ns = clock_ns() - start};
}

/* Who is asked first alternates: what the first one leaves warm helps the other one as often. */
static void ask_both(struct rollout *r, int64_t i, bool counts)
{
    int64_t record = (int64_t)((double)i * (double)dataset_count(r->data) / r->requests);
    struct observed now, next;

    record = r->requests > dataset_count(r->data) ? i % dataset_count(r->data) : record;
    show_record(r, record);
    if (i % 2) {
        next = ask(r, r->client_next);
        now = ask(r, r->client_now);
    } else {
        now = ask(r, r->client_now);
        next = ask(r, r->client_next);
    }
    if (counts && !interrupt_seen())
        comparison_add(r->comparison, &now, &next, dataset_label(r->data, record));
}

static bool is_step(int64_t done, int64_t of)
{
    static const int percent[] = {1, 5, 20, 50};
    for (size_t i = 0; i < sizeof percent / sizeof *percent; i++)
        if (done == (of * percent[i] + 99) / 100)
            return true;
    return false;
}

/* Leaves r->why empty when it is no worse. */
static int compare(struct rollout *r, struct error *e)
{
    struct comparison *c = r->comparison;
    bool worse = false;
    int rc;

    if (!r->data)
        return FL_OK;
    if ((rc = client_new(&r->client_next, r->beside.pipeline, e)))
        return rc;
    if (!r->json)
        progress_open(&r->progress, stderr);
    for (int i = 0; i < WARM_UP && !interrupt_seen(); i++)
        ask_both(r, i, false);
    for (int64_t i = 0; i < r->requests && !worse && !interrupt_seen(); i++) {
        int64_t failed = c->failed_next;
        ask_both(r, i, true);
        if (is_step(i + 1, r->requests) || c->failed_next > failed)
            worse = comparison_is_worse(c, false, r->why, sizeof r->why);
        if (!r->json)
            progress_update(&r->progress, "asked of both", i + 1, r->requests, NAN);
    }
    if (!r->json)
        progress_close(&r->progress);
    if (interrupt_seen())
        return error_set(e, FL_CANCELLED, "called off: the pipeline serves what it did");
    if (!worse)
        comparison_is_worse(c, true, r->why, sizeof r->why);
    return FL_OK;
}

/* --- the end --- */

static void count_it(void *arg, const char *key, const char *pattern, const char *from, const char *to)
{
    (void)key;
    (void)pattern;
    (void)from;
    (void)to;
    ++*(int *)arg;
}

/* What was tried is what is taken. */
static int check_unchanged(const struct rollout *r, struct error *e)
{
    struct pipeline *after = NULL;
    struct model_shape *model = calloc(1, sizeof *model);
    int changes = 0, rc = model ? load_next(&after, r, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc && !(rc = model_shape_load(model, after, e)))
        pipeline_differences(r->next, after, count_it, &changes);
    if (!rc && (changes || memcmp(model->plan, r->model->plan, DIGEST_BYTES) ||
                !beside_has_caches_of(&r->beside, after)))
        rc = error_set(
            e, FL_STALE,
            "%s, its model or its caches have changed since they were tried: nothing is taken; run it again",
            after->path);
    pipeline_free(after);
    free(model);
    return rc;
}

static double seconds(const struct rollout *r)
{
    return (double)(clock_ns() - r->started_ns) / NS_PER_S;
}

static int report(const struct rollout *r, struct error *e)
{
    if (r->json) {
        json_t *root = json_pack("{s:b, s:s?, s:o}", "applied", r->applied, "left_because",
                                 r->why[0] ? r->why : NULL, "seconds", report_rounded(seconds(r), 3));
        comparison_report(r->comparison, root);
        if (root && r->steps.n)
            json_object_set_new(
                root, "live",
                json_pack("{s:i, s:I, s:I, s:I, s:o}", "steps", r->shift.done, "handed_on",
                          (json_int_t)r->shift.handed_on, "failed", (json_int_t)r->shift.failed, "compared",
                          (json_int_t)r->shift.total.both, "measures", comparison_measures(&r->shift.total)));
        return report_print(root, e);
    }
    if (r->data)
        comparison_print(r->comparison);
    if (r->steps.n)
        printf(
            "of clients' requests, %lld were handed on to the new one (%lld failed there and were answered "
            "here), %lld were answered by both, %lld of them the same\n",
            (long long)r->shift.handed_on, (long long)r->shift.failed, (long long)r->shift.total.both,
            (long long)r->shift.total.agreed);
    if (r->applied)
        printf("it is no worse, and serves now: done in %.1f s\n", seconds(r));
    else if (!r->why[0])
        puts("it is no worse: `freezeline apply` takes it");
    fflush(stdout);
    return FL_OK;
}

static int shift(struct rollout *r, struct error *e)
{
    int rc = shift_run(&r->shift, &r->steps, r->client_now, r->beside.pipeline->broker.requests, r->json,
                       r->why, sizeof r->why, e);

    if (rc || r->why[0] || r->data || r->shift.total.both)
        return rc;
    return error_set(
        e, FL_UNAVAILABLE,
        "clients have sent no requests that could be compared: wait longer (--step-time), "
        "compare more of them (--mirror), or ask some yourself (--data); the pipeline serves what it "
        "did");
}

/* The pipeline beside, from its beginning to its end. */
static int try_it(struct rollout *r, struct error *e)
{
    struct pipeline *next = NULL;
    int port = r->port                     ? r->port
               : r->next->port > PORT_MOST ? r->next->port - PORTS_FURTHER
                                           : r->next->port + PORTS_FURTHER;
    int rc = load_next(&next, r, e);

    if (!rc && !(rc = beside_prepare(&r->beside, next, port, e)) &&
        (rc = beside_up(&r->beside, r->timeout_s, e)) && rc != FL_CANCELLED)
        error_wrap(e, rc, "the pipeline beside does not come up, what serves goes on");
    pipeline_free(next);
    if (!rc && !(rc = compare(r, e)) && !r->why[0])
        rc = shift(r, e);
    if (!rc && !r->why[0])
        rc = check_unchanged(r, e);
    interrupt_catch(); /* another signal ends the wait for its end */
    client_free(r->client_next);
    r->client_next = NULL;
    beside_down(&r->beside);
    return rc;
}

static int rollout(struct rollout *r, struct error *e)
{
    bool moved;
    int rc;

    interrupt_catch();
    r->started_ns = clock_ns();
    if ((rc = check(r, e)) || (rc = try_it(r, e)))
        return rc;
    if (!r->why[0] && !r->dry_run) {
        if ((rc =
                 r->hosts.n ? apply_hosts(r->running, TIMEOUT_S, true, e) : apply_file(&r->where, &moved, e)))
            return rc;
        r->applied = true;
    }
    if ((rc = report(r, e)) || !r->why[0])
        return rc;
    return error_set(e, FL_VALUE, "backed out: %s; the pipeline serves what it did", r->why);
}

static void release(struct rollout *r)
{
    client_free(r->client_next);
    client_free(r->client_now);
    beside_free(&r->beside);
    dataset_close(r->data);
    free(r->input.data);
    free(r->comparison);
    free(r->model);
    pipeline_free(r->next);
    serving_free(&r->now);
    fleet_close(&r->hosts);
    pipeline_free(r->running);
}

int command_rollout(int argc, char **argv, struct error *e)
{
    struct rollout r = {.tolerance = 1,
                        .slower = 25,
                        .timeout_s = 120,
                        .beside = {.lock = -1, .lease_s = 60},
                        .steps_text = "1,10,50",
                        .steps = {.mirror_percent = 5, .seconds = 60, .enough = 1000}};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE_UP(r.where),
        OPTION_TEXT("data", r.data_spec, "D", "requests to ask of both before"),
        OPTION_TEXT("steps", r.steps_text, "P,..",
                    "shares of the clients' requests, per cent (1,10,50); none"),
        OPTION_INT("step-time", r.steps.seconds, "S", "each step lasts S seconds (60)", 1, 1000000),
        OPTION_INT("step-requests", r.steps.enough, "N",
                   "or until N requests were handed on and N compared (1000)", 1, 1000000000),
        OPTION_NUMBER("mirror", r.steps.mirror_percent, "P",
                      "per cent of the clients' requests that both are asked (5)", 0, 100),
        OPTION_INT("requests", r.requests, "N", "how many of them (all, 1000 at most)", 1, 1000000),
        OPTION_NUMBER("tolerance", r.tolerance, "P",
                      "points of failed requests and of accuracy (or agreement) that it may cost (1)", 0,
                      100),
        OPTION_NUMBER("slower", r.slower, "P",
                      "per cent by which most answers may take longer (25), and half a millisecond", 0,
                      10000),
        OPTION_INT("deadline", r.deadline_ms, "MS", "of each request (the pipeline's default)", 1, 3600000),
        OPTION_INT("timeout", r.timeout_s, "S", "leave it when it is not ready after S seconds (120)", 1,
                   86400),
        OPTION_INT("lease", r.beside.lease_s, "S",
                   "the new pipeline ends by itself when this command has gone for S seconds (60)", 5, 86400),
        OPTION_INT("port", r.port, "N", "first port of the new one on hosts (512 behind the other's)", 1,
                   65000),
        OPTION_FLAG("dry-run", r.dry_run, "compare, and take nothing"),
        ARGUMENTS_SKIP_BAD(r.skip_bad),
        ARGUMENTS_JSON(r.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, e);

    if (!rc)
        rc = rollout(&r, e);
    release(&r);
    return rc;
}
