/* freezeline.c - the operator's tool: finds the command and turns its error into a line and an exit status */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "system/limits.h"
#include "base/log.h"
#include "arguments.h"
#include "command.h"
#include "help.h"
#include "base/nearest_word.h"
#include "base/version.h"
#include "stages/exec/exec.h"

static const struct command {
    const char *name, *summary;
    command_function run;
} commands[] = {
    {"inspect", "layers of a model: op, shape, FLOPs, parameters, possible exits", command_inspect},
    {"run", "run a model in one process, on .npy or TensorProto files", command_run},
    {"profile", "time a model, layer by layer", command_profile},
    {"plan", "cut a model into stages of equal time, written into the pipeline file", command_plan},
    {"quantize", "choose scales for int8 from data; what each precision loses and takes", command_quantize},
    {"compress", "fewer channels and thinner layers, fitted to data; what that loses and saves",
     command_compress},
    {"build", "make the caches from data and choose thresholds", command_build},
    {"eval", "accuracy and latency with and without the caches", command_eval},
    {"variants", "accuracy, latency and memory of the variants of a model, and a cascade of them",
     command_variants},
    {"verify-promise", "how often a build's promise is broken on resampled data", command_verify_promise},
    {"up", "start the pipeline", command_up},
    {"apply", "take the pipeline file, model and build as they are now into the running pipeline",
     command_apply},
    {"reload", NULL, command_apply}, /* its older name */
    {"rollout", "try the files as they are now beside what serves, then take them or leave them",
     command_rollout},
    {"scale", "more or fewer workers of a stage, without a failed request", command_scale},
    {"restart", "processes start again one after another, without a failed request", command_restart},
    {"status", "processes of the pipeline and what they have done", command_status},
    {"logs", "the processes' logs", command_logs},
    {"down", "stop the pipeline", command_down},
    {"export", "write what another launcher takes", command_export},
    {"infer", "one request to the running pipeline", command_infer},
    {"bench", "load the running pipeline, report latency", command_bench},
    {"simulate", "predict latency and throughput on hosts that need not exist", command_simulate},
    {"compare", "what changed between two runs of bench, beyond noise", command_compare},
    {"report", "a page with plots from what bench saved", command_report},
    {"feedback", "true labels of requests that were answered", command_feedback},
    {"cache", "what the caches learned and when; stop learning, go back", command_cache},
    {"keys", "who may come in: make, list, give away, revoke and rotate keys", command_keys},
    {"top", "live view of the running pipeline", command_top},
    {"generate", "write pictures for the demo", command_generate},
    {"supervise", NULL, command_supervise},
    {"objects", NULL, command_objects},
};
#define N_COMMANDS ((int)(sizeof commands / sizeof commands[0]))

static void print_help(const char *way)
{
    struct help_command told[N_COMMANDS];

    for (int i = 0; i < N_COMMANDS; i++)
        told[i] = (struct help_command){commands[i].name, commands[i].summary};
    help_print_tool(
        "Serves a deep network as a pipeline of stage workers with caches between the layers.",
        "'freezeline COMMAND --help' explains one, --version says which Freezeline this is. Exit status: 0 "
        "done, "
        "1 failed, 2 wrong usage or pipeline file.\n",
        told, N_COMMANDS, way);
}

/* What other tools call it: `stop` is no slip of `top`. NULL: nothing that we know. */
static const char *same_elsewhere(const char *word)
{
    static const char *const words[][2] = {{"start", "up"},      {"serve", "up"},  {"stop", "down"},
                                           {"predict", "infer"}, {"ps", "status"}, {"train", "build"}};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(word, words[i][0]))
            return words[i][1];
    return NULL;
}

static int unknown_command(const char *word)
{
    const char *name[N_COMMANDS], *near = same_elsewhere(word);

    for (int i = 0; i < N_COMMANDS; i++)
        name[i] = commands[i].name;
    if (!near)
        near = nearest_word(word, name, N_COMMANDS);
    if (near)
        fprintf(stderr, "freezeline: unknown command '%s'; did you mean '%s'?\n", word, near);
    else
        fprintf(stderr, "freezeline: unknown command '%s'; 'freezeline --help' lists them\n", word);
    return 2;
}

/* Fails where not all that was printed has arrived: nobody must take a cut off table for a whole one. */
static int flush_output(struct error *e)
{
    errno = 0;
    if (!fflush(stdout) && !ferror(stdout))
        return FL_OK;
    return error_set(e, FL_IO, "cannot write to standard output%s%s", errno ? ": " : "",
                     errno ? strerror(errno) : "");
}

/* The exit status. `who` is the command, with a blank in front. */
static int finish(const char *who, int rc, struct error *e)
{
    if (!rc || rc == ARGUMENTS_HELPED)
        rc = flush_output(e);
    if (rc)
        fprintf(stderr, "freezeline%s: %s\n", who, e->text[0] ? e->text : error_sentence(rc));
    return error_exit_status(rc);
}

static int run_command(const struct command *c, int argc, char **argv)
{
    struct error e = {0};
    char who[32];
    int rc = command_each_variant(c->name, c->run, argc, argv, &e);

    snprintf(who, sizeof who, " %s", c->name);
    return finish(who, rc, &e);
}

int main(int argc, char **argv)
{
    static char help[] = "--help";
    struct error e = {0};

    engine_start(argv);
    limits_raise();
    log_open("freezeline", "warn");
    if (argc < 2) {
        fprintf(stderr, "freezeline: which command? 'freezeline --help' lists them\n");
        return 2;
    }
    if (!strcmp(argv[1], "help")) { /* `help up` is `up --help` */
        argv[1] = argc > 2 ? argv[2] : help;
        argv[2] = argc > 2 ? help : NULL;
        argc = argc > 2 ? 3 : 2;
    }
    if (help_asked(argv[1])) {
        print_help(help_asked(argv[1]));
        return finish("", FL_OK, &e);
    }
    if (!strcmp(argv[1], "--version")) {
        version_print("freezeline");
        return finish("", FL_OK, &e);
    }
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name))
            return run_command(&commands[i], argc - 1, argv + 1);
    return unknown_command(argv[1]);
}
