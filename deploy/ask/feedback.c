/* feedback.c - `freezeline feedback`: true labels of requests that were answered */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/process/running.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/progress.h"
#include "deploy/tool/report.h"
#include "feedback_send.h"
#include "true_label.h"

static const struct usage usage = {
    .command = "feedback",
    .summary = "Tells the running pipeline what requests should have been answered, so that its caches can "
               "promise accuracy.",
    .notes =
        "LABELS has a line for each request: REQUEST,LABEL, or a JSON object with \"request\" and\n"
        "\"truth\". REQUEST is the number that `infer --json` gives (Answer.request); LABEL is a class's\n"
        "number or its name in the pipeline file. Only requests that were drawn as audits teach\n"
        "anything, so all of them, or a fair sample, should be told: the first label of each counts.\n"
        "Refused are numbers that this broker, since it started, has not given out.\n\n"
        "examples:\n"
        "  freezeline feedback -c P.yaml --input labels.csv\n"
        "  tail -f labels.jsonl | freezeline feedback -c P.yaml --input -\n",
};

struct feedback_command {
    struct pipeline_arguments where;
    const char *input;
    bool json, skip_bad;
    struct pipeline *pipeline;
    struct model_shape model;
    struct client *client;
    struct progress progress;
    int64_t line, bad;
    int n;
    struct feedback_item item[MESSAGE_MAX_FEEDBACK]; /* not sent yet */
    struct feedback_counts counts;
};

static int flush_labels(struct feedback_command *f, struct error *e)
{
    int rc = f->n ? feedback_send(f->client, f->item, f->n, &f->counts, e) : FL_OK;
    f->n = 0;
    progress_update(&f->progress, "labels", f->counts.sent, 0, NAN);
    return rc;
}

static int take_line(struct feedback_command *f, char *line, struct error *e)
{
    int rc = true_label_parse(&f->item[f->n], line, f->pipeline, f->model.classes, e);
    if (rc == FL_AGAIN)
        return FL_OK;
    if (rc && !f->skip_bad)
        return error_wrap(e, (enum fl_code)rc, "%s:%lld (--skip-bad leaves such lines out)", f->input,
                          (long long)f->line);
    if (rc) {
        f->bad++;
        return FL_OK;
    }
    return ++f->n == MESSAGE_MAX_FEEDBACK ? flush_labels(f, e) : FL_OK;
}

/* Each line in turn; one that is too long is as bad as any other. */
static int read_labels(struct feedback_command *f, FILE *from, struct error *e)
{
    static char line[TRUE_LABEL_LINE + 2];
    int rc = FL_OK;
    while (!rc && !interrupt_seen() && fgets(line, sizeof line, from)) {
        bool whole = strchr(line, '\n') || feof(from);
        f->line++;
        for (int c = 0; !whole && c != '\n' && c != EOF;)
            c = getc(from);
        rc = take_line(f, whole ? line : (char[]){"?"}, e);
    }
    if (!rc && ferror(from) && !interrupt_seen())
        rc = error_set(e, FL_IO, "reading %s failed: %s", f->input, strerror(errno));
    return rc ? rc : flush_labels(f, e);
}

static int print_counts(const struct feedback_command *f, struct error *e)
{
    const struct feedback_counts *c = &f->counts;
    if (f->json)
        return report_print(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "sent", (json_int_t)c->sent, "taken",
                                      (json_int_t)c->taken, "early", (json_int_t)c->early, "foreign",
                                      (json_int_t)c->foreign, "wrong", (json_int_t)c->wrong, "bad_lines",
                                      (json_int_t)f->bad),
                            e);
    printf("%lld labels sent, %lld taken\n", (long long)c->sent, (long long)c->taken);
    if (c->early)
        printf("%lld refused: not answered yet, or numbers that the broker has yet to give out\n",
               (long long)c->early);
    if (c->foreign)
        printf("%lld refused: of another broker, or from before it started again\n", (long long)c->foreign);
    if (c->wrong)
        printf("%lld refused: no label\n", (long long)c->wrong);
    if (f->bad)
        printf("%lld lines left out: not to be read\n", (long long)f->bad);
    return FL_OK;
}

static int feedback(struct feedback_command *f, struct error *e)
{
    FILE *from = stdin;
    int rc;
    if (!f->input)
        return error_set(e, FL_USAGE, "--input is missing: a file of labels, or - for standard input");
    if ((rc = running_load(&f->pipeline, &f->where, e)) ||
        (rc = model_shape_load(&f->model, f->pipeline, e)) || (rc = client_new(&f->client, f->pipeline, e)))
        return rc;
    if (strcmp(f->input, "-") && !(from = fopen(f->input, "re")))
        return error_set(e, errno == ENOENT ? FL_NOT_FOUND : FL_IO, "cannot read %s: %s", f->input,
                         strerror(errno));
    interrupt_catch();
    progress_open(&f->progress, stderr);
    rc = read_labels(f, from, e);
    progress_close(&f->progress);
    if (from != stdin)
        fclose(from);
    if (!rc)
        rc = print_counts(f, e);
    if (!rc && f->counts.sent && !f->counts.taken)
        rc = error_set(e, FL_VALUE, "none of the labels was taken");
    return rc;
}

int command_feedback(int argc, char **argv, struct error *e)
{
    struct feedback_command *f = calloc(1, sizeof *f);
    int rc;
    if (!f)
        return error_set(e, FL_NOMEM, "no memory");
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(f->where),
        OPTION_TEXT("input", f->input, "LABELS",
                    "a file of lines REQUEST,LABEL or JSON objects; -: standard input"),
        OPTION_FLAG("skip-bad", f->skip_bad, "leave out lines that cannot be read"),
        ARGUMENTS_JSON(f->json),
        {0},
    };
    rc = arguments_parse(&usage, table, argc, argv, NULL, e);
    if (!rc)
        rc = feedback(f, e);
    client_free(f->client);
    pipeline_free(f->pipeline);
    free(f);
    return rc;
}
