/* infer.c - `freezeline infer`: one request with where its time went, or many in a table */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "answer_report.h"
#include "base/clock.h"
#include "config/address.h"
#include "deploy/data/picture_list.h"
#include "deploy/data/input_file.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/progress.h"
#include "deploy/tool/report.h"
#include "deploy/build/built_exits.h"
#include "deploy/process/running.h"
#include "deploy/process/served.h"

#define WIDEST   48   /* columns of a file's name */
#define REACH_MS 2000 /* for a connection to the broker */
#define PIPED    "-"  /* what comes from standard input, .. */
#define PIPED_MB 256  /* .. at most */

static const struct usage usage = {
    .command = "infer",
    .operands = "[X...]",
    .summary = "Sends pictures to the running pipeline: shows one answer and where its time went, or a row "
               "for each.",
    .notes = "X is a PNG or JPEG picture (resized, cut and normalised as `input` in the pipeline file\n"
             "says), an .npy file with one picture (bytes are pixels, floats are fed as they are) or with\n"
             "what the model takes, a directory: all of these in it, or -: such a file from standard input.\n"
             "With --json there is one line for each of several, and on a terminal how far it has come.\n"
             "A confidence is of the cache that answered: of the kind `learned` log odds against the\n"
             "runner-up (0 is even, 2.2 is nine to one), of kmeans and knn a share of points by their\n"
             "distance; the exit's threshold is in the same unit. A file that cannot be read ends the\n"
             "command unless --skip-bad leaves it out.\n\n"
             "examples:\n"
             "  freezeline infer -c P.yaml --input cat.png\n"
             "  freezeline infer -c P.yaml --input pictures/ --json >answers.jsonl\n"
             "  convert cat.webp png:- | freezeline infer -c P.yaml --input -\n",
    .max_operands = ARGUMENTS_MAX_LIST,
};

struct infer {
    struct pipeline_arguments where;
    struct argument_list inputs;
    bool no_cache, json, skip_broken;
    int deadline_ms, priority;
    const char *stream;
    double max_loss; /* points; negative: what the pipeline promises */
    struct pipeline *pipeline;
    struct model_shape model;
    struct manifest built;
    struct client *client;
    struct asked asked;
    char **file; /* all inputs, directories replaced by what is in them */
    int n, width;
    bool many; /* several, or what is in a directory: a row or a line each */
    int broken;
    char piped[32]; /* where the bytes of standard input are; "": nobody asked for them */
    struct progress progress;
};

/* ---- which files ---- */

static bool readable(const char *name)
{
    const char *dot = strrchr(name, '.');
    return picture_list_is_picture(name) || (dot && !strcasecmp(dot, ".npy"));
}

static int take(struct infer *f, char *path, struct error *e)
{
    char **more = path ? realloc(f->file, sizeof *more * (size_t)(f->n + 1)) : NULL;

    if (!more) {
        free(path);
        return error_set(e, FL_NOMEM, "no memory for a list of files");
    }
    f->file = more;
    f->file[f->n++] = path;
    f->many |= f->n > 1;
    f->width = (int)strlen(path) > f->width ? (int)strlen(path) : f->width;
    f->width = f->width > WIDEST ? WIDEST : f->width;
    return FL_OK;
}

static int seen(const struct dirent *d)
{
    return d->d_name[0] != '.' && readable(d->d_name);
}

static int take_directory(struct infer *f, const char *path, struct error *e)
{
    struct dirent **names;
    int n = scandir(path, &names, seen, alphasort), rc = FL_OK;
    size_t length = strlen(path);

    if (n < 0)
        return error_set(e, FL_IO, "cannot list %s: %s", path, strerror(errno));
    f->many = true;
    for (int i = 0; i < n; i++) {
        char *file;
        if (!rc && asprintf(&file, "%s%s%s", path, length && path[length - 1] == '/' ? "" : "/",
                            names[i]->d_name) < 0)
            file = NULL;
        if (!rc)
            rc = take(f, file, e);
        free(names[i]);
    }
    free(names);
    if (!rc && !n)
        rc = error_set(e, FL_NOT_FOUND,
                       "%s has no pictures (.png, .jpg, .jpeg, .npy); a folder for each class is asked with "
                       "`freezeline eval --data "
                       "folder:%s`",
                       path, path);
    return rc;
}

/* A descriptor of memory is a file to all who read it. */
static int take_piped(struct infer *f, struct error *e)
{
    static char piece[65536];
    size_t n, all = 0;
    int fd;

    if (!*f->piped) {
        if ((fd = memfd_create("freezeline-input", MFD_CLOEXEC)) < 0)
            return error_set(e, FL_IO, "no memory for standard input: %s", strerror(errno));
        snprintf(f->piped, sizeof f->piped, "/proc/self/fd/%d", fd); /* open until the end */
        while ((n = fread(piece, 1, sizeof piece, stdin)) > 0) {
            if ((all += n) > (size_t)PIPED_MB << 20)
                return error_set(e, FL_TOO_LARGE, "standard input has more than %d MB", PIPED_MB);
            if (write(fd, piece, n) != (ssize_t)n)
                return error_set(e, FL_IO, "cannot keep standard input: %s", strerror(errno));
        }
        if (ferror(stdin) || !all)
            return error_set(e, FL_IO, "standard input %s", all ? "cannot be read" : "is empty");
    }
    return take(f, strdup(PIPED), e);
}

static int take_input(struct infer *f, const char *path, struct error *e)
{
    struct stat st;
    if (!strcmp(path, PIPED))
        return take_piped(f, e);
    return !stat(path, &st) && S_ISDIR(st.st_mode) ? take_directory(f, path, e) : take(f, strdup(path), e);
}

static int list_files(struct infer *f, struct error *e)
{
    int rc = FL_OK;

    if (!f->inputs.n)
        return error_set(e, FL_USAGE, "--input is missing: a PNG, JPEG or .npy file, or a directory of them");
    for (int i = 0; !rc && i < f->inputs.n; i++)
        rc = take_input(f, f->inputs.item[i], e);
    return rc;
}

/* ---- asking ---- */

static int ask(struct infer *f, const struct tensor *input, struct error *e)
{
    struct asked *a = &f->asked;
    uint64_t start = clock_ns();
    struct client_request r = {.input = *input,
                               .flags = f->no_cache ? JOB_NO_CACHE : 0,
                               .deadline_ms = (uint32_t)f->deadline_ms,
                               .priority = (uint32_t)f->priority};
    int rc;

    if (f->stream)
        r.stream = XXH3_64bits(f->stream, strlen(f->stream)) | 1;
    if (f->max_loss >= 0)
        r.loss_allowed = 1 + (uint32_t)lround(f->max_loss / 100 * SHARE_PPM);
    rc = client_ask(f->client, &r, &a->answer, a->scores, f->model.classes, &a->n_scores, e);

    a->total_ms = (double)(clock_ns() - start) / NS_PER_MS;
    if (!rc && a->answer.error)
        rc = error_set(e, (enum fl_code)a->answer.error, "%s",
                       a->answer.text[0] ? a->answer.text : error_sentence((int)a->answer.error));
    if (rc && a->answer.retry_after_ms)
        rc = error_set(e, (enum fl_code)rc, "%s (try again in %u ms)", a->answer.text,
                       a->answer.retry_after_ms);
    return rc;
}

static int show(const struct infer *f, struct error *e)
{
    json_t *o;
    int rc = FL_OK;

    if (!f->json && !f->many)
        answer_print(&f->asked);
    else if (!f->json)
        answer_print_row(&f->asked, f->width);
    if (!f->json)
        return FL_OK;
    o = answer_json(&f->asked);
    if (!f->many)
        return report_print(o, e);
    if (!o || json_dumpf(o, stdout, JSON_COMPACT))
        rc = error_set(e, o ? FL_IO : FL_NOMEM, "cannot print an answer");
    putchar('\n');
    json_decref(o);
    return rc;
}

/* Reads, asks, shows. --skip-bad passes over files that cannot be read, but not over failed requests. */
static int ask_file(struct infer *f, int i, struct error *e)
{
    struct tensor input = {0};
    bool piped = !strcmp(f->file[i], PIPED);
    int rc = input_file_read(&input, piped ? f->piped : f->file[i], &f->model.input, f->pipeline, e);

    if (rc && piped)
        error_wrap(e, rc, "standard input");

    if (rc && rc != FL_NOMEM && f->skip_broken) {
        fprintf(stderr, "broken: %s\n", e->text);
        f->broken++;
        return FL_OK;
    }
    if (rc && f->many)
        return error_wrap(e, rc, "after %d of %d inputs (--skip-bad leaves out what cannot be read)", i,
                          f->n);
    if (rc)
        return rc;
    f->asked.input = f->file[i];
    rc = ask(f, &input, e);
    tensor_release(&input);
    if (rc && f->many)
        return error_wrap(e, rc, "%s", f->file[i]);
    return rc ? rc : show(f, e);
}

/* Fails where the only broker is not up, so that nobody waits for a request's deadline to hear that. Warns
 * where what answers is not what the files here describe: names and thresholds are read from them. */
static int look_who_serves(const struct infer *f, struct error *e)
{
    struct served served;
    struct error why;

    if (pipeline_brokers(f->pipeline) == 1 && address_reach(f->pipeline->broker.requests, REACH_MS, &why))
        return error_set(e, FL_UNAVAILABLE, "the broker does not reply: %.400s", why.text);
    if (!served_ask(&served, f->pipeline, &f->model, NULL))
        served_warn(&served, f->pipeline, usage.command);
    return FL_OK;
}

/* How far it has come is shown to who sees nothing of the answers. */
static int ask_all(struct infer *f, struct error *e)
{
    bool shows = f->many && isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO);
    int rc = FL_OK;

    if (f->many && !f->json)
        answer_print_head(f->width);
    if (shows)
        progress_open(&f->progress, stderr);
    for (int i = 0; !rc && i < f->n && !interrupt_seen(); i++) {
        if (!(rc = ask_file(f, i, e)) && shows)
            progress_update(&f->progress, "answer", i + 1, f->n, NAN);
    }
    if (shows)
        progress_close(&f->progress);
    return rc;
}

static int infer(struct infer *f, struct error *e)
{
    int rc;

    if ((rc = list_files(f, e)) || (rc = running_load(&f->pipeline, &f->where, e)) ||
        (rc = model_shape_load(&f->model, f->pipeline, e)) || (rc = client_new(&f->client, f->pipeline, e)))
        return rc;
    arguments_warn_of_units(f->pipeline);
    f->asked.pipeline = f->pipeline;
    f->asked.model = &f->model;
    if (!built_manifest(&f->built, f->pipeline, NULL))
        f->asked.built = &f->built;
    if (!(f->asked.scores = calloc((size_t)f->model.classes, sizeof *f->asked.scores)))
        return error_set(e, FL_NOMEM, "no memory");
    if ((rc = look_who_serves(f, e)))
        return rc;
    interrupt_catch();
    rc = ask_all(f, e);
    if (!rc && f->broken)
        fprintf(stderr, "warning: %d of %d inputs cannot be read and are left out\n", f->broken, f->n);
    if (!rc && f->broken == f->n)
        rc = error_set(e, FL_CORRUPT, "none of the inputs can be read");
    return rc;
}

static void release(struct infer *f)
{
    for (int i = 0; i < f->n; i++)
        free(f->file[i]);
    free(f->file);
    free(f->asked.scores);
    client_free(f->client);
    pipeline_free(f->pipeline);
    free(f);
}

int command_infer(int argc, char **argv, struct error *e)
{
    struct infer *f = calloc(1, sizeof *f);
    int rc;

    if (!f)
        return error_set(e, FL_NOMEM, "no memory");
    f->max_loss = -1;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(f->where),
        OPTION_LIST("input", f->inputs, "X",
                    "PNG, JPEG or .npy file, a directory of them, or - (may be repeated)"),
        OPTION_FLAG("skip-bad", f->skip_broken, "leave out files that cannot be read"),
        OPTION_FLAG("no-cache", f->no_cache, "no look-ups: the whole network's answer"),
        OPTION_INT("deadline", f->deadline_ms, "MS", "give up after MS milliseconds (the pipeline's default)",
                   1, 3600000),
        OPTION_INT("priority", f->priority, "P", "1 goes first, 9 last, where requests wait (5)", 1,
                   REQUEST_PRIORITIES),
        OPTION_NUMBER("max-accuracy-loss", f->max_loss, "POINTS",
                      "early answers by what is certified to lose no more, or none", 0, 100),
        OPTION_TEXT("stream", f->stream, "NAME", "the inputs are frames of that video, in order"),
        ARGUMENTS_JSON(f->json),
        {0},
    };
    rc = arguments_parse(&usage, table, argc, argv, &f->inputs, e);
    if (!rc)
        rc = infer(f, e);
    release(f);
    return rc;
}
