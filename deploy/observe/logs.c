/* logs.c - `freezeline logs`: the last lines of each process's log, and what follows */
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/process/claim.h"
#include "deploy/launch/fleet.h"
#include "host_logs.h"
#include "deploy/process/failure.h"
#include "deploy/process/roles.h"
#include "deploy/process/running.h"
#include "deploy/process/serving.h"
#include "deploy/tool/report.h"
#include "deploy/tool/state.h"

#define LOGS_MAX 128

static const struct usage usage = {
    .command = "logs",
    .operands = "[ROLE]",
    .summary = "Shows the last log lines of every process, or of one.",
    .notes = "Roles are broker, cache0, stage1.0 (stage 1, replica 0), learner0, redis, supervisor.\n\n"
             "examples:\n"
             "  freezeline logs -c P.yaml\n"
             "  freezeline logs -c P.yaml stage1.0 -f\n",
    .max_operands = 1,
    .words = serving_words,
};

struct logs {
    struct pipeline_arguments where;
    int lines;
    bool follow, json;
    struct pipeline *pipeline;
    int n;
    char *name[LOGS_MAX]; /* roles, owned */
    long at[LOGS_MAX];    /* bytes shown so far, when following */
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list(struct logs *l, struct error *e)
{
    char path[STATE_PATH_BYTES];
    struct dirent *entry;
    DIR *d;
    int rc = state_path(path, l->pipeline, e, "logs");

    if (rc)
        return rc;
    d = opendir(path);
    if (!d)
        return error_set(e, FL_NOT_FOUND,
                         "%s: no logs there: `freezeline up` has not run here; what was started "
                         "elsewhere, or by hand, logs there",
                         path);
    while ((entry = readdir(d)) && l->n < LOGS_MAX) {
        size_t n = strlen(entry->d_name);
        if (n > 4 && !strcmp(entry->d_name + n - 4, ".log") &&
            (l->name[l->n] = strndup(entry->d_name, n - 4)))
            l->n++;
    }
    closedir(d);
    qsort(l->name, (size_t)l->n, sizeof l->name[0], by_name);
    return FL_OK;
}

/* Keeps only the role asked for. */
static int choose(struct logs *l, const char *role, struct error *e)
{
    for (int i = 0; i < l->n; i++) {
        if (!strcmp(l->name[i], role)) {
            char *mine = l->name[i];
            l->name[i] = l->name[0];
            l->name[0] = mine;
            while (l->n > 1)
                free(l->name[--l->n]);
            return FL_OK;
        }
    }
    return host_logs_unknown(role, (const char *const *)l->name, l->n, e);
}

static long size_of(const char *path)
{
    FILE *f = fopen(path, "re");
    long n = 0;
    if (!f)
        return 0;
    if (!fseek(f, 0, SEEK_END))
        n = ftell(f);
    fclose(f);
    return n;
}

/* Prints what was added to a log since the last time; a log that became shorter is a new one. */
static void show_new(struct logs *l, int i)
{
    char path[STATE_PATH_BYTES], line[2048];
    FILE *f;

    if (state_path(path, l->pipeline, NULL, "logs/%s.log", l->name[i]))
        return;
    if (size_of(path) < l->at[i])
        l->at[i] = 0;
    f = fopen(path, "re");
    if (!f)
        return;
    fseek(f, l->at[i], SEEK_SET);
    while (fgets(line, sizeof line, f) && (strchr(line, '\n') || strlen(line) == sizeof line - 1)) {
        l->at[i] = ftell(f);
        printf("%s%s%s", l->n > 1 ? l->name[i] : "", l->n > 1 ? ": " : "", line);
    }
    fclose(f);
}

/* Whoever reads a pipe may be gone long before there is a line to write, as when a connection to this host
 * ends.
 */
static bool reader_is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    return poll(&out, 1, 0) > 0 && out.revents & (POLLERR | POLLHUP | POLLNVAL);
}

static void follow(struct logs *l)
{
    interrupt_catch();
    while (!interrupt_seen() && !ferror(stdout) && !reader_is_gone()) {
        for (int i = 0; i < l->n; i++)
            show_new(l, i);
        fflush(stdout);
        usleep(200000);
    }
}

static int print_json(const struct logs *l, struct error *e)
{
    json_t *a = json_array();
    char path[STATE_PATH_BYTES];

    for (int i = 0; i < l->n; i++)
        if (!state_path(path, l->pipeline, NULL, "logs/%s.log", l->name[i]))
            json_array_append_new(a, json_pack("{s:s, s:s, s:I}", "role", l->name[i], "path", path, "bytes",
                                               (json_int_t)size_of(path)));
    return report_print(json_pack("{s:o}", "logs", a), e);
}

/* Logs are on the machine where a process was started: here there may be none, or those of an earlier run. */
static void say_whose(const struct logs *l)
{
    struct role role[ROLES_MAX];
    struct process who;
    enum claim_holder holder = claim_look(l->pipeline, &who);
    int n;

    if (holder == CLAIM_GONE)
        fprintf(stderr, "logs: the supervisor (pid %d on %s) is gone; what it started goes on writing here\n",
                (int)who.pid, who.host);
    if (holder == CLAIM_NOBODY)
        fprintf(stderr,
                "logs: nothing that `freezeline up` started runs on this machine: these are the logs of the "
                "last run here\n");
    if (roles_list(l->pipeline, role, &n, NULL))
        return;
    for (int i = 0; i < n; i++)
        if (role[i].host)
            fprintf(stderr, "logs: %s runs on %s: its log is where it was started there\n", role[i].name,
                    role[i].host);
}

static int show(struct logs *l, struct error *e)
{
    char path[STATE_PATH_BYTES], prefix[300];

    if (l->json)
        return print_json(l, e);
    if (l->pipeline->here < 0)
        say_whose(l);
    for (int i = 0; i < l->n; i++) {
        int rc = state_path(path, l->pipeline, e, "logs/%s.log", l->name[i]);
        if (rc)
            return rc;
        l->at[i] = size_of(path);
        snprintf(prefix, sizeof prefix, "%s: ", l->name[i]);
        if (l->lines > 0)
            failure_tail(path, l->lines, l->n > 1 ? prefix : "", stdout);
    }
    if (l->follow)
        follow(l);
    return FL_OK;
}

int command_logs(int argc, char **argv, struct error *e)
{
    struct logs l = {.lines = 10};
    struct argument_list operands;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(l.where),
        {ARGUMENT_INT, "lines", 'n', &l.lines, "N", "lines of each log (10)", 0, 10000},
        {ARGUMENT_FLAG, "follow", 'f', &l.follow, NULL, "go on with what is added, until Ctrl-C", 0, 0},
        OPTION_FLAG("json", l.json, "list the log files instead"),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &operands, e);

    if (rc)
        return rc;
    if (!(rc = running_load(&l.pipeline, &l.where, e)) && fleet_there(l.pipeline) && !l.json) {
        interrupt_catch();
        rc = host_logs_show(l.pipeline,
                            &(struct host_logs){operands.n ? operands.item[0] : NULL, l.lines, l.follow}, e);
        pipeline_free(l.pipeline);
        return rc;
    }
    if (!rc)
        rc = list(&l, e);
    if (!rc && operands.n)
        rc = choose(&l, operands.item[0], e);
    if (!rc)
        rc = show(&l, e);
    for (int i = 0; i < l.n; i++)
        free(l.name[i]);
    pipeline_free(l.pipeline);
    return rc;
}
