/* scale.c - `freezeline scale`: more or fewer workers of a stage, while the pipeline serves */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/launch/change_hosts.h"
#include "deploy/launch/fleet.h"
#include "deploy/supervise/order.h"
#include "deploy/process/serving.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/report.h"
#include "steps.h"

static void stage_words(const char *config)
{
    struct pipeline_arguments a = {.path = config};
    struct pipeline *p;

    if (serving_load(&p, &a, NULL))
        return;
    for (int i = 0; i < p->n_stages; i++)
        printf("%d=\n", i);
    pipeline_free(p);
}

static const struct usage usage = {
    .command = "scale",
    .operands = "STAGE=N",
    .summary = "Gives a stage N workers while the pipeline serves, without a failed request.",
    .notes =
        "More workers get requests as soon as they are loaded; of fewer, the last ones finish what they\n"
        "have and end. The number holds until `freezeline down`, also for what starts again; with\n"
        "--save it is written into the pipeline file, too. Where the pipeline runs on several hosts a\n"
        "new worker comes where a slot is free, on the host with the fewest workers.\n\n"
        "example:\n"
        "  freezeline scale -c P.yaml 1=3\n",
    .min_operands = 1,
    .max_operands = 1,
    .words = stage_words,
};

struct scale {
    struct pipeline_arguments where;
    bool save, json;
    int timeout_s, stage, n, before;
    struct pipeline *pipeline;
};

static int read_operand(struct scale *s, const char *text, struct error *e)
{
    char *end, *last;
    long stage = strtol(text, &end, 10), n = *end == '=' ? strtol(end + 1, &last, 10) : 0;

    if (end == text || *end != '=' || end[1] == '\0' || *last)
        return error_set(e, FL_USAGE, "%s: write STAGE=N, as 1=3 for three workers of stage 1", text);
    if (stage < 0 || stage >= s->pipeline->n_stages)
        return error_set(e, FL_USAGE, "%s: the pipeline has stages 0 to %d", text, s->pipeline->n_stages - 1);
    if (n < 1 || n > PIPELINE_MAX_REPLICAS)
        return error_set(e, FL_USAGE, "%s: a stage has 1 to %d workers", text, PIPELINE_MAX_REPLICAS);
    s->stage = (int)stage;
    s->n = (int)n;
    s->before = s->pipeline->stage[stage].n_replicas;
    return FL_OK;
}

/* The file has no --set arguments but the new number. */
static int write_file(const struct scale *s, struct error *e)
{
    char set[48];
    const char *sets[] = {set};
    struct pipeline *p;
    int rc;

    snprintf(set, sizeof set, "stages.%d.replicas=%d", s->stage, s->n);
    if ((rc = pipeline_load(&p, s->pipeline->path, sets, 1, e)))
        return rc;
    rc = pipeline_rewrite(p, s->pipeline->path, e);
    pipeline_free(p);
    return rc;
}

static int scale(struct scale *s, const char *operand, struct error *e)
{
    struct steps steps = {.quiet = s->json};
    uint64_t began = clock_ns();
    double seconds;
    int rc = serving_load(&s->pipeline, &s->where, e);

    if (rc || (rc = read_operand(s, operand, e)))
        return rc;
    rc = fleet_there(s->pipeline)
             ? scale_hosts(s->pipeline, s->stage, s->n, s->timeout_s, s->json, e)
             : order_give(s->pipeline,
                          json_pack("{s:s, s:i, s:i}", "do", "scale", "stage", s->stage, "replicas", s->n),
                          s->timeout_s, steps_heard, &steps, NULL, e);
    steps_end(&steps);
    if (rc || (s->save && (rc = write_file(s, e))))
        return rc;
    seconds = (double)(clock_ns() - began) / NS_PER_S;
    if (s->json)
        return report_print(json_pack("{s:i, s:i, s:i, s:b, s:o}", "stage", s->stage, "before", s->before,
                                      "replicas", s->n, "saved", s->save, "seconds",
                                      report_rounded(seconds, 3)),
                            e);
    printf("stage %d has %d worker%s (before: %d)%s\n", s->stage, s->n, s->n == 1 ? "" : "s", s->before,
           s->save ? "; written into the pipeline file" : "");
    return FL_OK;
}

int command_scale(int argc, char **argv, struct error *e)
{
    struct scale s = {.timeout_s = 600};
    struct argument_list operands;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(s.where),
        OPTION_FLAG("save", s.save, "write the number into the pipeline file"),
        OPTION_INT("timeout", s.timeout_s, "S", "call it off after S seconds (600)", 1, 86400),
        ARGUMENTS_JSON(s.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &operands, e);

    interrupt_catch();
    if (!rc)
        rc = scale(&s, operands.item[0], e);
    pipeline_free(s.pipeline);
    return rc;
}
