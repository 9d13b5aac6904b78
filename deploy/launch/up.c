/* up.c - `freezeline up` and the supervisor that it starts */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deploy/tool/arguments.h"
#include "config/precision.h"
#include "base/log.h"
#include "config/here.h"
#include "deploy/build/built_exits.h"
#include "deploy/build/cold_start.h"
#include "deploy/build/promised.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "host_side.h"
#include "fleet.h"
#include "deploy/supervise/supervisor_launch.h"
#include "deploy/supervise/supervisor_lease.h"
#include "named_hosts.h"
#include "slurm_up.h"
#include "deploy/hosts/slurm_job.h"
#include "up_hosts.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/report.h"
#include "deploy/process/roles.h"
#include "deploy/process/running.h"
#include "deploy/process/served.h"
#include "deploy/tool/state.h"
#include "deploy/supervise/supervisor.h"

static const struct usage usage = {
    .command = "up",
    .summary =
        "Starts the pipeline, here or on the hosts that its file names, and returns when it is ready: all "
        "stages loaded, one request run through.",
    .notes =
        "A supervisor stays behind on each host and starts again what dies. Logs are in STATE/logs, one\n"
        "file per process. With --on ssh the hosts need sshd and nothing else: programs, libraries,\n"
        "model and caches are copied where they differ. With --on slurm the hosts are the nodes of the\n"
        "allocation; outside of one a job is submitted (launch.slurm.*), and this folder has to be there.\n\n"
        "examples:\n"
        "  freezeline up -c P.yaml\n"
        "  freezeline up -c P.yaml --foreground\n"
        "  freezeline up -c P.yaml --on ssh --hosts HOSTFILE\n",
};

struct up {
    struct pipeline_arguments where;
    const char *on, *host_file;
    char *hosts; /* owned; --set of what the host file says */
    int timeout_s;
    bool foreground, json, elsewhere;
    bool submits; /* a job, in which another `up` does the work */
    bool began;   /* without caches, to learn */
    struct pipeline *pipeline;
    struct model_shape *model;
    char *absolute[ARGUMENTS_MAX_LIST]; /* owned; what `where` has of --set */
};

static bool serves_caches(const struct pipeline *p)
{
    return p->cache.n_endpoints > 0 && strcmp(p->cache.kind, "none") != 0;
}

/* Inside of an allocation its nodes are the hosts; without one a job is to be submitted. */
static int load_for_slurm(struct up *u, struct error *e)
{
    int rc;

    u->submits = !slurm_job_here();
    if (u->submits)
        return u->foreground
                   ? error_set(e, FL_USAGE, "--foreground goes with --on slurm inside of an allocation")
                   : FL_OK;
    if (u->host_file)
        return error_set(e, FL_USAGE, "--hosts does not go with --on slurm: the hosts are the job's nodes");
    pipeline_free(u->pipeline);
    u->pipeline = NULL;
    return (rc = slurm_hosts(&u->where, &u->hosts, e)) ? rc : arguments_load(&u->pipeline, &u->where, e);
}

static int load(struct up *u, struct error *e)
{
    enum transport_kind kind;
    int rc;

    if (u->host_file && (rc = named_hosts(&u->where, u->host_file, &u->hosts, e)))
        return rc;
    if ((rc = arguments_load(&u->pipeline, &u->where, e)))
        return rc;
    u->on = u->on ? u->on : u->pipeline->launch.on;
    if ((rc = transport_kind_from(&kind, u->on, e)))
        return rc;
    u->elsewhere = kind != TRANSPORT_LOCAL;
    if (u->elsewhere && u->where.host)
        return error_set(e, FL_USAGE, "--host says where this machine is: it goes with --on local alone");
    return kind == TRANSPORT_SLURM ? load_for_slurm(u, e) : FL_OK;
}

static int check_here(struct up *u, struct error *e)
{
    int rc = here_settle(u->pipeline, u->where.host, e);

    if (rc || (rc = roles_are_here(u->pipeline, e)) || (rc = roles_check_redis(u->pipeline, e)) ||
        (rc = host_side_check_cpus(u->pipeline, e)))
        return rc;
    if (fleet_there(u->pipeline))
        return error_set(e, FL_UNAVAILABLE,
                         "it was started on other hosts from here: `freezeline down -c %s` first",
                         u->pipeline->path);
    return FL_OK;
}

/* Says here, not in a log, all that can be wrong before a process starts. */
static int check(struct up *u, struct error *e)
{
    int rc;

    if ((rc = load(u, e)) || (!u->elsewhere && (rc = check_here(u, e))))
        return rc;
    u->model = malloc(sizeof *u->model);
    if (!u->model)
        return error_set(e, FL_NOMEM, "no memory");
    arguments_warn_of_units(u->pipeline);
    arguments_warn_of_precision(u->pipeline);
    promise_warn_of_updates(u->pipeline, usage.command);
    rc = model_shape_load(u->model, u->pipeline, e);
    if (rc || !serves_caches(u->pipeline))
        return rc;
    if (cold_start_possible(u->pipeline) && (rc = cold_start(u->pipeline, u->model, &u->began, e)))
        return rc;
    return built_exits_check(u->model, u->pipeline, e);
}

/* Commands that read them later may run in another directory. */
static int make_sets_absolute(struct up *u, struct error *e)
{
    for (int i = 0; i < u->where.sets.n; i++) {
        if (!(u->absolute[i] = pipeline_absolute_set(u->where.sets.item[i], NULL)))
            return error_set(e, FL_NOMEM, "no memory");
        u->where.sets.item[i] = u->absolute[i];
    }
    return FL_OK;
}

static void note_cold_start(const struct pipeline *p)
{
    struct promise_terms terms = promised_terms(p);
    char text[PROMISE_TEXT_BYTES];

    fprintf(stderr,
            "no caches were built: this is a cold start. They are learned from live traffic and answer once "
            "they are certified (%s); until then every request runs to the end\n",
            promise_text(&terms, text));
}

static void note_nothing_built(const struct pipeline *p)
{
    fprintf(stderr,
            "no caches are built yet: every request runs to the end (freezeline build makes them%s)\n",
            p->cache.rule != THRESHOLD_RISK ? ""
            : precision_lower(p) ? ", and in precision below float32 it alone knows what that loses"
                                 : "; with Redis and updates.learn they would be learned from live traffic");
}

static bool none_certified(const struct manifest *m)
{
    for (int i = 0; i < m->n_exits; i++)
        if (m->exit[i].file[0])
            return false;
    return m->cold;
}

static void note_caches(const struct up *u)
{
    const struct pipeline *p = u->pipeline;
    struct manifest *m = malloc(sizeof *m);
    char path[STATE_PATH_BYTES];

    if (m && serves_caches(p) && !state_path(path, p, NULL, "caches/manifest.json")) {
        if (u->began)
            note_cold_start(p);
        else if (access(path, F_OK))
            note_nothing_built(p);
        else if (manifest_load(m, path, NULL))
            ; /* the processes say what is wrong with it */
        else if (none_certified(m))
            fprintf(stderr,
                    "no caches are certified yet: they are learned from live traffic, and until then every "
                    "request runs to the end\n");
        else if (manifest_ahead_s(m))
            fprintf(stderr,
                    "freezeline up: %s says that it was built %llu s from now: the clock here is late, or "
                    "that of the "
                    "builder was ahead; it is used all the same\n",
                    path, (unsigned long long)manifest_ahead_s(m));
    }
    free(m);
}

/* What the processes that were started say they answer from. */
static void note_served(const struct up *u)
{
    struct served served;

    if (serves_caches(u->pipeline) && !served_ask(&served, u->pipeline, u->model, NULL))
        served_warn(&served, u->pipeline, usage.command);
}

static int report(const struct up *u, const struct process *supervisor, struct error *e)
{
    struct role role[ROLES_MAX];
    int n;

    roles_list(u->pipeline, role, &n, NULL);
    if (u->json)
        return report_print(json_pack("{s:b, s:i, s:i, s:i, s:s, s:o}", "ready", true, "processes", n,
                                      "hosts", u->elsewhere ? u->pipeline->n_hosts : 1, "supervisor_pid",
                                      (int)supervisor->pid, "requests", u->pipeline->broker.requests,
                                      "addresses", served_addresses(u->pipeline)),
                            e);
    if (u->elsewhere && u->pipeline->n_hosts)
        printf("%d hosts, ", u->pipeline->n_hosts);
    printf("ready: %d processes, %d stages, %d exits; ", n, u->pipeline->n_stages, u->model->n_exits);
    served_where(u->pipeline, stdout);
    putchar('\n');
    fflush(stdout);
    return FL_OK;
}

/* True when what was started has ended by itself, with why in *rc and *e. A supervisor that was killed gets a
 * successor, which takes over what it left. */
static bool has_ended(const struct up *u, struct process *supervisor, int *rc, struct error *e)
{
    bool ended;
    int status;
    pid_t pid;

    if (u->elsewhere && !fleet_there(u->pipeline)) {
        *rc = FL_OK; /* a `down` from somewhere */
        return true;
    }
    if (u->elsewhere && (strcmp(u->on, "slurm") || !slurm_steps_over()))
        return false;
    if (u->elsewhere) {
        *rc = error_set(e, FL_UNAVAILABLE, "all supervisors have ended; see %s/logs/slurm.log",
                        u->pipeline->state);
        return true;
    }
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0 && pid != supervisor->pid)
        continue; /* as process 1 of a container it has others' orphans, too */
    if (pid <= 0)
        return false;
    if (WIFSIGNALED(status) &&
        (!launch_up(u->pipeline, &u->where, u->timeout_s, supervisor, e) || interrupt_seen()))
        return false;
    launch_down(u->pipeline, &(struct launch_end){0}, &ended, NULL); /* what it left when it was killed */
    *rc =
        error_set(e, FL_UNAVAILABLE, "the supervisor ended; see %s/logs/supervisor.log", u->pipeline->state);
    return true;
}

/* Stays until Ctrl-C, a terminal that closes, or the supervisor's end. */
static int stay(const struct up *u, struct process *supervisor, struct error *e)
{
    const struct launch_end how = {.drain_s = 5};
    bool ended;
    int rc;

    for (; !interrupt_seen(); usleep(100000))
        if (has_ended(u, supervisor, &rc, e))
            return rc;
    interrupt_catch(); /* the next signal ends the wait for requests in flight */
    if (!u->elsewhere) {
        rc = launch_down(u->pipeline, &how, &ended, e);
        waitpid(supervisor->pid, NULL, 0);
        return rc;
    }
    rc = down_hosts(u->pipeline, &how, &ended, e);
    if (rc && !strcmp(u->on, "slurm") && slurm_wait_for_steps()) { /* Slurm ended them: scancel, a requeue */
        fleet_forget(u->pipeline);
        rc = FL_OK;
    }
    return rc;
}

/* Another `up` does the work, in a job; what it placed is remembered in the state directory. */
static int up_as_job(struct up *u, struct error *e)
{
    int rc = slurm_up(u->pipeline, &u->where, u->timeout_s, e);

    if (rc)
        return rc;
    pipeline_free(u->pipeline);
    u->pipeline = NULL;
    return running_load(&u->pipeline, &u->where, e);
}

static int start(struct up *u, struct process *supervisor, struct error *e)
{
    const struct up_hosts hosts = {u->pipeline, &u->where, u->on, NULL, u->timeout_s, 0};

    if (!u->submits)
        slurm_say_unready(u->pipeline);
    return u->submits     ? up_as_job(u, e)
           : u->elsewhere ? up_hosts(&hosts, e)
                          : launch_up(u->pipeline, &u->where, u->timeout_s, supervisor, e);
}

static int up(struct up *u, struct error *e)
{
    struct process supervisor = {.pid = 0};
    int rc = check(u, e);

    if (rc)
        return rc;
    interrupt_catch();
    note_caches(u);
    if ((rc = make_sets_absolute(u, e)) || (rc = start(u, &supervisor, e)) ||
        (rc = report(u, &supervisor, e)))
        return rc;
    slurm_say_ready(u->pipeline);
    note_served(u);
    if (!u->foreground)
        return FL_OK;
    rc = stay(u, &supervisor, e);
    slurm_say_unready(u->pipeline);
    return rc;
}

int command_up(int argc, char **argv, struct error *e)
{
    struct up u = {.timeout_s = 120};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(u.where),
        OPTION_TEXT("on", u.on, "WAY", "how the hosts are reached: local, ssh, slurm (default: launch.on)"),
        OPTION_TEXT("hosts", u.host_file, "FILE",
                    "machines beside the file's `hosts`, a line each: HOST slots=N"),
        OPTION_INT("timeout", u.timeout_s, "S", "give up when not ready after S seconds (120)", 1, 86400),
        OPTION_FLAG("foreground", u.foreground,
                    "stay until Ctrl-C or until the terminal closes, then stop everything"),
        ARGUMENTS_JSON(u.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, e);

    if (!rc)
        rc = up(&u, e);
    for (int i = 0; i < u.where.sets.n; i++)
        free(u.absolute[i]);
    free(u.hosts);
    free(u.model);
    pipeline_free(u.pipeline);
    return rc;
}

int command_supervise(int argc, char **argv, struct error *e)
{
    static const struct usage own = {
        .command = "supervise",
        .summary = "What `up` starts: tends the pipeline's processes until SIGTERM.",
    };
    struct pipeline_arguments where = {0};
    struct pipeline *p = NULL;
    const char *log = NULL;
    int lock = -1, watch = -1, drain_s = 0, lease_s = 0;
    bool check = false;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(where),
        OPTION_TEXT("log", log, "FILE", "log there (bounded), not to stderr"),
        OPTION_INT("lock", lock, "FD", "STATE/run/lock, open and locked; default: it is taken", 0, 65535),
        OPTION_INT("drain", drain_s, "S", "at its end wait up to S seconds for requests in flight (0)", 0,
                   3600),
        OPTION_INT("lease", lease_s, "S", "end when STATE/run/lease is not touched for S seconds", 1, 86400),
        OPTION_FLAG("check", check, "only see whether this host could run its processes"),
        OPTION_INT("watch", watch, "S", "only wait up to S seconds for the one that starts here", 0, 86400),
        {0},
    };
    int rc = arguments_parse(&own, table, argc, argv, NULL, e);

    if (rc)
        return rc;
    if (check || watch >= 0) {
        interrupt_catch();
        if (!(rc = arguments_load(&p, &where, e)) && !(rc = here_settle(p, where.host, e)))
            rc = check ? host_side_check(p, e) : host_side_watch(p, watch, e);
        pipeline_free(p);
        return rc;
    }
    log_open("supervisor", "info");
    log_threshold = LOG_LEVEL_INFO;
    if (!(rc = arguments_load(&p, &where, e)))
        log_as_json(!strcmp(p->logs.format, "json"));
    if (!rc && !(rc = here_settle(p, where.host, e)) &&
        (!lease_s || !(rc = supervisor_lease_grant(p, lease_s, e))) &&
        (!log || !(rc = log_to(log, p->logs.max_mb, p->logs.keep, e))))
        rc = supervisor_run(p, &where, lock, drain_s, e);
    pipeline_free(p);
    return rc;
}
