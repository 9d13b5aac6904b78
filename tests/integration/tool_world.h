/* tool_world.h - the operator's tool on a pipeline file, for tests of what it starts, stops and says */
#ifndef FREEZELINE_TOOL_WORLD_H
#define FREEZELINE_TOOL_WORLD_H

#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "deploy/process/process.h"

static char output[65536]; /* of the last command, stdout and stderr */

static inline const char *tool_folder(void)
{
    const char *env = getenv("FREEZELINE_BUILD");
    return env ? env : "build/release";
}

/* Runs a shell line; returns its exit status. */
static inline int shell(const char *line)
{
    size_t n = 0, got;
    FILE *f = popen(line, "r");
    int status;

    assert_non_null(f);
    while (n < sizeof output - 1 && (got = fread(output + n, 1, sizeof output - 1 - n, f)) > 0)
        n += got;
    output[n] = 0;
    status = pclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A test that fails leaves what it started: when the program ends it says how that is, and stops it. */
#define LEFT_MAX 64
static char left_up[LEFT_MAX][HARNESS_PATH]; /* pipeline files */
static int n_left;

static void stop_left(void)
{
    char line[4 * HARNESS_PATH];

    for (int i = 0; i < n_left; i++) {
        const char *config = left_up[i];
        if (access(config, F_OK))
            continue;
        snprintf(line, sizeof line,
                 "exec >&2; %.400s/freezeline status -c %.400s; cd $(dirname %.400s); "
                 "tail -n 5 state/logs/*.log; true",
                 tool_folder(), config, config);
        if (system(line))
            fprintf(stderr, "no shell\n");
        snprintf(line, sizeof line, "%.400s/freezeline down -c %.400s >/dev/null 2>&1", tool_folder(),
                 config);
        if (system(line))
            fprintf(stderr, "what %s started is not stopped\n", config);
    }
}

static inline void note_left(const char *config)
{
    if (!n_left)
        atexit(stop_left);
    if (n_left < LEFT_MAX && (!n_left || strcmp(left_up[n_left - 1], config)))
        snprintf(left_up[n_left++], HARNESS_PATH, "%s", config);
}

/* Runs `freezeline COMMAND -c pipeline.yaml ARGS`; returns its exit status. */
static inline int tool(struct harness *h, const char *command, const char *arguments)
{
    char line[2048];

    note_left(harness_config(h));
    snprintf(line, sizeof line, "%s/freezeline %s -c %s %s%s", tool_folder(), command, harness_config(h),
             arguments, strstr(arguments, "2>") ? "" : " 2>&1");
    return shell(line);
}

static inline void tool_ok(struct harness *h, const char *command, const char *arguments)
{
    int rc = tool(h, command, arguments);
    if (rc)
        fail_msg("freezeline %s %s ended with %d:\n%s", command, arguments, rc, output);
}

static inline void assert_said(const char *text)
{
    if (!strstr(output, text))
        fail_msg("\"%s\" is not in\n%s", text, output);
}

static inline json_t *tool_json(struct harness *h, const char *command, const char *arguments)
{
    char with[1024];
    json_error_t problem;
    json_t *root;

    snprintf(with, sizeof with, "%s --json 2>/dev/null", arguments);
    tool_ok(h, command, with);
    root = json_loads(output, 0, &problem);
    if (!root)
        fail_msg("%s: %s in\n%s", command, problem.text, output);
    return root;
}

/* Replaces the first `from` in the pipeline file. */
static inline void edit(struct harness *h, const char *from, const char *to)
{
    char text[4096];
    FILE *f = fopen(harness_config(h), "r");
    const char *at;

    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_non_null(at = strstr(text, from));
    assert_non_null(f = fopen(harness_config(h), "w"));
    fprintf(f, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    assert_int_equal(fclose(f), 0);
}

/* The pid that status reports for a role that is ready; 0 when it is not there. */
static inline pid_t pid_of(struct harness *h, const char *role)
{
    json_t *root, *process;
    pid_t pid = 0;
    size_t i;

    tool(h, "status", "--json 2>/dev/null"); /* its exit status is 1 while the broker is not there */
    root = json_loads(output, 0, NULL);
    json_array_foreach(json_object_get(root, "processes"), i, process)
    {
        if (!strcmp(json_string_value(json_object_get(process, "role")), role) &&
            !strcmp(json_string_value(json_object_get(process, "state")), "ready"))
            pid = (pid_t)json_integer_value(json_object_get(process, "pid"));
    }
    json_decref(root);
    return pid;
}

struct replaced {
    struct harness *h;
    const char *role;
    pid_t old;
};

/* For harness_until: another process is ready in this role. */
static inline bool is_replaced(void *arg)
{
    struct replaced *r = arg;
    pid_t now = pid_of(r->h, r->role);
    return now && now != r->old;
}

/* For harness_until: a process has ended. */
static inline bool is_gone(void *arg)
{
    return !process_alive(arg);
}

static inline bool file_exists(struct harness *h, const char *name)
{
    char path[HARNESS_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", harness_pipeline(h)->state, name);
    return !access(path, F_OK);
}

/* The process of STATE/run/NAME.pid. */
static inline struct process process_of(struct harness *h, const char *name)
{
    char path[HARNESS_PATH + 64];
    struct process p;

    snprintf(path, sizeof path, "%s/run/%s.pid", harness_pipeline(h)->state, name);
    if (process_load(&p, path))
        fail_msg("no pid file of %s", name);
    return p;
}

/* The processes that `up` started log below the state directory, where the harness does not look; so do those
 * of variants and of a rollout. */
static inline void finish(struct harness *h)
{
    char line[HARNESS_PATH + 128];
    snprintf(line, sizeof line,
             "grep -rhE --include='*.log' --include='*.out' -A 20 'Sanitizer|runtime error' %s 2>/dev/null",
             harness_pipeline(h)->state);
    if (!shell(line))
        fail_msg("a sanitizer says:\n%s", output);
    harness_free(h);
}

#endif
