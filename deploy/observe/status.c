/* status.c - `freezeline status`: processes of the pipeline, as the pid files and the broker know them */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deploy/tool/arguments.h"
#include "config/address.h"
#include "base/clock.h"
#include "base/digest.h"
#include "deploy/tool/command.h"
#include "balance.h"
#include "epoch_report.h"
#include "history_report.h"
#include "host_report.h"
#include "deploy/launch/fleet.h"
#include "deploy/supervise/changes.h"
#include "deploy/process/claim.h"
#include "learning.h"
#include "relay_report.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/report.h"
#include "deploy/process/roles.h"
#include "deploy/process/running.h"
#include "deploy/process/served.h"
#include "deploy/process/serving.h"
#include "deploy/process/word.h"
#include "deploy/tool/table.h"

#define STATUS_WAIT_MS 2000
#define LAST_EVENTS    3 /* of the caches' history */

static const struct usage usage = {
    .command = "status",
    .summary = "Shows the pipeline's processes and what they have done.",
    .notes = "The exit status is 1 when the broker does not answer.\n\n"
             "example:\n"
             "  freezeline status -c P.yaml\n",
};

struct status {
    struct pipeline_arguments where;
    bool json;
    struct pipeline *pipeline, *file; /* what serves; what its file says by now */
    struct model_shape *model;
    struct status_reply *reply;
    struct served served;
    char balance[512]; /* a fault of the plan, and what to do; "": none */
    struct process supervisor;
    struct host_report hosts;
    enum claim_holder held;
    struct error silence; /* why the broker did not answer */
    bool answered, ready;
};

struct status_row {
    char role[32], host[MESSAGE_NAME_BYTES], state[32];
    int64_t pid;
    const struct process_status *told; /* by the broker; NULL when it did not */
};

/* Local processes by their pid files, with the broker's word on their state. */
static void fill_row(const struct status *s, const struct role *role, struct status_row *row)
{
    struct process process = {0};
    const char *state;
    bool alive;

    memset(row, 0, sizeof *row);
    snprintf(row->role, sizeof row->role, "%s", role->name);
    if (role->host)
        snprintf(row->host, sizeof row->host, "%s", role->host);
    else if (s->pipeline->here >= 0)
        snprintf(row->host, sizeof row->host, "%s", s->pipeline->host[s->pipeline->here].name);
    else
        gethostname(row->host, sizeof row->host - 1);
    alive = !role->host && !pid_file_load(s->pipeline, role->name, &process) && process_alive(&process);
    row->pid = alive ? process.pid : 0;
    row->told = s->answered ? roles_told(s->reply, role->name) : NULL;
    if (row->told) {
        if (!s->pipeline->n_hosts)
            snprintf(row->host, sizeof row->host, "%s", row->told->host);
        row->pid = (int64_t)row->told->pid;
    } else if (role->kind == ROLE_KIND_BROKER && s->answered && pipeline_brokers(s->pipeline) == 1 &&
               s->reply->pid) {
        if (!s->pipeline->n_hosts)
            snprintf(row->host, sizeof row->host, "%s", s->reply->host);
        row->pid = (int64_t)s->reply->pid;
    }
    state = s->answered ? roles_state(s->reply, s->pipeline, role) : NULL;
    if (!state || (alive && role->kind == ROLE_KIND_REDIS))
        state = alive ? "running" : role->host ? "not heard of" : "not running";
    snprintf(row->state, sizeof row->state, "%s", state);
}

static int rows_of(const struct status *s, struct status_row row[ROLES_MAX], int *n, struct error *e)
{
    struct role role[ROLES_MAX];
    int rc = roles_list(s->pipeline, role, n, e);

    for (int i = 0; !rc && i < *n; i++)
        fill_row(s, &role[i], &row[i]);
    return rc;
}

/* Where a stage worker looks up in its cache service's memory rather than asking. */
static json_t *near_json(const struct status *s, const struct heartbeat *h)
{
    json_t *exits = json_array();

    for (int i = 0; i < s->reply->n_exits; i++)
        if (h->exits >> i & 1)
            json_array_append_new(exits, json_string(s->model ? model_shape_exit(s->model, i) : ""));
    return json_pack("{s:I, s:o}", "epoch", (json_int_t)h->epoch, "exits", exits);
}

static json_t *row_json(const struct status *s, const struct status_row *row)
{
    json_t *o = json_pack("{s:s, s:s, s:I, s:s}", "role", row->role, "host", row->host, "pid",
                          (json_int_t)row->pid, "state", row->state);
    const struct process_status *t = row->told;
    char digest[DIGEST_TEXT_BYTES];

    if (!o || !t)
        return o;
    json_object_set_new(o, "engine", json_string(t->engine));
    json_object_set_new(o, "model", json_string(digest_text(t->model, digest)));
    json_object_set_new(o, "identity", json_string(digest_text(t->identity, digest)));
    json_object_set_new(o, "plan", json_string(digest_text(t->plan, digest)));
    json_object_set_new(o, "outstanding", json_integer(t->outstanding));
    json_object_set_new(o, "queued", json_integer(t->last.queued));
    json_object_set_new(o, "jobs", json_integer((json_int_t)t->last.jobs));
    json_object_set_new(o, "batches", json_integer((json_int_t)t->last.batches));
    json_object_set_new(o, "lookups", json_integer((json_int_t)t->last.lookups));
    json_object_set_new(o, "hits", json_integer((json_int_t)t->last.hits));
    json_object_set_new(o, "dropped", json_integer((json_int_t)t->last.dropped));
    if (t->role == ROLE_STAGE) {
        json_object_set_new(o, "batch", json_integer(t->last.batch));
        json_object_set_new(o, "busy", report_rounded(t->last.busy / 1e3, 3));
        json_object_set_new(o, "waiting", report_rounded(t->last.waiting / 1e3, 3));
        json_object_set_new(o, "idle_cores", report_rounded(t->last.idle / 1e3, 3));
    }
    json_object_set_new(o, "resident_bytes", json_integer((json_int_t)t->last.resident_bytes));
    json_object_set_new(o, "clock_error_us",
                        t->last.clock_error_ns == UINT64_MAX
                            ? json_null()
                            : report_rounded((double)t->last.clock_error_ns / NS_PER_US, 3));
    if (t->role == ROLE_STAGE && t->last.exits_told)
        json_object_set_new(o, "near", near_json(s, &t->last));
    if (t->role == ROLE_CACHE) {
        json_object_set_new(o, "epoch", json_integer((json_int_t)t->last.epoch));
        json_object_set_new(o, "build", json_string(digest_text(t->caches.build, digest)));
        json_object_set_new(o, "built", json_integer(t->caches.built));
        json_object_set_new(o, "caches", json_integer(t->caches.loaded));
        json_object_set_new(o, "redis_up", json_boolean(t->last.redis_up));
        json_object_set_new(o, "learning", learning_json(t));
    }
    return o;
}

static json_t *exits_json(const struct status *s)
{
    json_t *a = json_array();

    for (int i = 0; s->answered && i < s->reply->n_exits; i++)
        json_array_append_new(a,
                              json_pack("{s:s, s:I}", "name", s->model ? model_shape_exit(s->model, i) : "",
                                        "answered", (json_int_t)s->reply->exit[i].answered));
    return a;
}

static json_t *supervisor_json(const struct status *s)
{
    static const char *const states[] = {[CLAIM_GONE] = "gone",
                                         [CLAIM_HERE] = "running",
                                         [CLAIM_ELSEWHERE] = "running elsewhere",
                                         [CLAIM_STARTING] = "starting or stopping"};

    if (s->held == CLAIM_NOBODY)
        return json_null();
    return json_pack("{s:s, s:I, s:s}", "state", states[s->held], "pid", (json_int_t)s->supervisor.pid,
                     "host", s->supervisor.host);
}

static int print_json(const struct status *s, const struct status_row *row, int n, struct error *e)
{
    const struct status_reply *r = s->reply;
    json_t *processes = json_array(), *root;

    for (int i = 0; i < n; i++)
        json_array_append_new(processes, row_json(s, &row[i]));
    root = json_pack("{s:b, s:o, s:o}", "ready", s->ready, "processes", processes, "exits", exits_json(s));
    served_report(&s->served, s->file, root);
    if (root && s->balance[0])
        json_array_append_new(json_object_get(root, "notes"), json_string(s->balance));
    if (root) {
        json_object_set_new(root, "endpoint", json_string(s->pipeline->broker.requests));
        json_object_set_new(root, "addresses", served_addresses(s->pipeline));
        json_object_set_new(root, "supervisor", supervisor_json(s));
    }
    if (root && s->answered) {
        json_object_set_new(root, "requests",
                            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "admitted",
                                      (json_int_t)r->admitted, "answered", (json_int_t)r->answered, "hits",
                                      (json_int_t)r->hits, "failed", (json_int_t)r->failed, "overloaded",
                                      (json_int_t)r->overloaded, "expired", (json_int_t)r->expired, "retried",
                                      (json_int_t)r->retried, "in_flight", (json_int_t)r->in_flight, "known",
                                      (json_int_t)r->known, "response_bytes", (json_int_t)r->response_bytes));
        json_object_set_new(json_object_get(root, "requests"), "repeated",
                            json_integer((json_int_t)r->repeated));
        json_object_set_new(json_object_get(root, "requests"), "cancelled",
                            json_integer((json_int_t)r->cancelled));
        json_object_set_new(root, "audits",
                            json_pack("{s:I, s:I, s:I}", "drawn", (json_int_t)r->audits_drawn, "done",
                                      (json_int_t)r->audits_done, "dropped", (json_int_t)r->audits_dropped));
        json_object_set_new(root, "load",
                            json_pack("{s:I, s:I, s:o}", "waiting", (json_int_t)r->waiting, "room",
                                      (json_int_t)r->room, "capacity_rps",
                                      r->gap_ns ? report_rounded(1e9 / (double)r->gap_ns, 3) : json_null()));
        json_object_set_new(root, "relays", relay_json(r));
        if (r->n_variants)
            json_object_set_new(root, "variants", variant_shares_json(r));
        json_object_set_new(root, "draining", json_boolean(r->draining));
        json_object_set_new(root, "unloaded", json_boolean(r->unloaded));
        json_object_set_new(root, "learner", epoch_json(r, s->model));
        json_object_set_new(root, "events", history_last_json(s->pipeline, LAST_EVENTS));
        json_object_set_new(root, "feedback",
                            json_pack("{s:I, s:I}", "taken", (json_int_t)r->feedback_taken, "refused",
                                      (json_int_t)r->feedback_refused));
    }
    host_report_json(&s->hosts, root);
    return report_print(root, e);
}

static void table_row(struct table *t, const struct status_row *row)
{
    const struct process_status *told = row->told;
    char text[32];

    table_cells(t, "%s|%s", row->role, row->host);
    if (row->pid)
        table_cells(t, "%lld", (long long)row->pid);
    else
        table_cells(t, "-");
    table_cells(t, "%s|%llu|%llu|%u|%s|%.90s", row->state, told ? (unsigned long long)told->last.jobs : 0ull,
                told ? (unsigned long long)told->last.lookups : 0ull, told ? told->outstanding : 0u,
                told && told->last.resident_bytes
                    ? table_bytes((double)told->last.resident_bytes, text, sizeof text)
                    : "-",
                told ? told->engine : "");
}

static void print_requests(const struct status *s)
{
    const struct status_reply *r = s->reply;
    unsigned long long answered = r->answered;
    char text[32];

    printf("\nrequests: %llu admitted, %llu answered (%llu by caches), %llu in flight, %llu failed, %llu "
           "overloaded, %llu expired, "
           "%llu retried\n",
           (unsigned long long)r->admitted, answered, (unsigned long long)r->hits,
           (unsigned long long)r->in_flight, (unsigned long long)r->failed, (unsigned long long)r->overloaded,
           (unsigned long long)r->expired, (unsigned long long)r->retried);
    printf("load: %llu wait in the broker, at most %llu are sent and unanswered",
           (unsigned long long)r->waiting, (unsigned long long)r->room);
    if (r->gap_ns)
        printf("; %.1f/s were answered when there was more to do", 1e9 / (double)r->gap_ns);
    printf("\n");
    relay_print(r);
    if (r->audits_drawn)
        printf("audits: %llu drawn, %llu done, %llu dropped\n", (unsigned long long)r->audits_drawn,
               (unsigned long long)r->audits_done, (unsigned long long)r->audits_dropped);
    if (s->pipeline->broker.response_cache_mb > 0)
        printf("  %-12s %llu (%.1f%%), answers kept in %s\n", "known before", (unsigned long long)r->known,
               answered ? 100.0 * (double)r->known / (double)answered : 0,
               table_bytes((double)r->response_bytes, text, sizeof text));
    for (int i = 0; i < r->n_exits && answered; i++)
        printf("  %-12s %llu (%.1f%%)\n", s->model ? model_shape_exit(s->model, i) : "exit",
               (unsigned long long)r->exit[i].answered,
               100.0 * (double)r->exit[i].answered / (double)answered);
}

/* Another plan or build is said by served_print. */
static void print_changes(const struct status *s)
{
    struct changes changes;

    changes_find(&changes, s->pipeline, s->file);
    if (changes.n && s->served.file == SERVED_SAME)
        printf("\n%s says something else than what serves: `freezeline apply --dry-run -c %s` says what, "
               "without "
               "--dry-run takes it\n",
               s->file->path, s->file->path);
}

/* While nothing answers: what lies on disk. */
static void print_built(const struct promise_record *built)
{
    char text[PROMISE_TEXT_BYTES];

    if (!built->n_caches) /* none, or those of a cold start */
        return;
    if (built->promised)
        printf("\nthe caches that were built promise: %s\n", promise_text(&built->promise.terms, text));
    if (built->asked[0])
        printf("the pipeline file asks for %s: build again\n", built->asked);
}

static void print_near(const struct status *s, const struct status_row *row, int n)
{
    for (int i = 0; i < n; i++) {
        const struct process_status *t = row[i].told;
        if (!t || t->role != ROLE_STAGE || !t->last.exits)
            continue;
        printf("%s looks up in shared memory", row[i].role);
        for (int k = 0, first = 1; k < s->reply->n_exits; k++)
            if (t->last.exits >> k & 1) {
                printf("%s%s", first ? " at " : ", ", s->model ? model_shape_exit(s->model, k) : "an exit");
                first = 0;
            }
        printf(", the caches of epoch %llu\n", (unsigned long long)t->last.epoch);
    }
}

/* Without a supervisor a process that dies is not started again. */
static void print_supervisor(const struct status *s)
{
    if (s->held == CLAIM_GONE)
        printf("\nnobody supervises: the supervisor (pid %d on %s) is gone, what dies stays dead; "
               "`freezeline up -c "
               "%s` starts another, which takes over what runs\n",
               (int)s->supervisor.pid, s->supervisor.host, s->pipeline->path);
    else if (s->held == CLAIM_ELSEWHERE)
        printf("\nsupervised by pid %d of another container or host (%s)\n", (int)s->supervisor.pid,
               s->supervisor.host);
}

static int print_table(const struct status *s, const struct status_row *row, int n, struct error *e)
{
    struct table *t;
    int rc;

    t = table_new("role|host|pid|state|jobs|look-ups|outstanding|memory|engine", "llrlrrrrl");
    for (int i = 0; i < n; i++)
        table_row(t, &row[i]);
    printf("%s: %s%s%s", s->pipeline->name,
           !s->answered ? (s->held == CLAIM_NOBODY ? "down" : "does not answer")
           : s->ready   ? "ready"
                        : "not ready",
           s->answered && s->reply->draining ? ", draining" : "",
           s->answered && s->reply->unloaded ? ", unloaded over HTTP" : "");
    if (s->answered) {
        fputs("; ", stdout);
        served_where(s->pipeline, stdout);
    }
    puts("\n");
    rc = table_end(t, e);
    print_supervisor(s);
    host_report_print(&s->hosts);
    if (!s->answered) {
        print_built(&s->served.built);
        return rc;
    }
    served_print(&s->served, s->file, stdout);
    print_changes(s);
    if (s->balance[0])
        printf("\n%s\n", s->balance);
    learning_print(s->reply, stdout);
    epoch_print(s->reply, s->model, stdout);
    history_print_last(s->pipeline, LAST_EVENTS, stdout);
    print_near(s, row, n);
    print_requests(s);
    return rc;
}

/* A supervisor has seen a request run through; without one, the broker's word is all there is. */
static bool warmed_up(const struct status *s)
{
    return s->held == CLAIM_NOBODY || s->held == CLAIM_GONE || word_there(s->pipeline, "ready");
}

static void ask(struct status *s)
{
    /* Where nobody listens there is nothing to wait for. */
    s->answered = (pipeline_brokers(s->pipeline) > 1 ||
                   !address_reach(s->pipeline->broker.requests, STATUS_WAIT_MS, &s->silence)) &&
                  !running_ask(s->pipeline, STATUS_WAIT_MS, s->reply, &s->silence);
    s->held = claim_look(s->pipeline, &s->supervisor);
    s->ready = s->answered && s->reply->ready && warmed_up(s);
}

/* From here, or the text says already that it was not. */
static bool was_started(const struct status *s)
{
    return s->held != CLAIM_NOBODY || fleet_there(s->pipeline) || strstr(s->silence.text, "freezeline up");
}

static int status(struct status *s, struct error *e)
{
    struct status_row row[ROLES_MAX];
    struct promise_record built;
    struct balance balance;
    int n, rc = serving_load(&s->pipeline, &s->where, e);

    if (rc || (rc = running_load(&s->file, &s->where, e)))
        return rc;
    s->reply = calloc(1, sizeof *s->reply);
    s->model = calloc(1, sizeof *s->model);
    if (!s->reply || !s->model)
        return error_set(e, FL_NOMEM, "no memory");
    ask(s);
    host_report_ask(&s->hosts, s->pipeline, s->reply);
    if (model_shape_load(s->model, s->file, NULL)) {
        free(s->model); /* a status without names is still a status */
        s->model = NULL;
    }
    promise_record_load(&built, s->file);
    served_take(&s->served, s->reply, s->model, &built, s->file);
    balance_look(&balance, s->reply);
    balance_text(&balance, s->pipeline->path, s->balance, sizeof s->balance);
    if ((rc = rows_of(s, row, &n, e)) ||
        (rc = s->json ? print_json(s, row, n, e) : print_table(s, row, n, e)))
        return rc;
    fflush(stdout);
    return s->answered
               ? FL_OK
               : error_set(e, FL_UNAVAILABLE, "the broker does not answer: %.350s%s", s->silence.text,
                           was_started(s) ? "" : "; nothing of it was started from here (`freezeline up`)");
}

int command_status(int argc, char **argv, struct error *e)
{
    struct status s = {.json = false};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(s.where),
        ARGUMENTS_JSON(s.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, e);

    if (!rc)
        rc = status(&s, e);
    free(s.reply);
    free(s.model);
    pipeline_free(s.file);
    pipeline_free(s.pipeline);
    return rc;
}
