/* down.c - `freezeline down` */
#include <stdio.h>

#include "deploy/tool/arguments.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/command.h"
#include "launch.h"
#include "deploy/tool/report.h"

static const struct usage usage = {"down",
                                   "",
                                   "Stops the pipeline: drains it, ends its processes, removes its sockets.",
                                   "Only processes that `up` started are ended, known by pid and start time. "
                                   "Caches, logs and Redis data stay.\n\n"
                                   "example:\n  freezeline down -c P.yaml\n",
                                   0,
                                   0};

int command_down(int argc, char **argv, struct error *e)
{
    struct pipeline_arguments where = {0};
    struct pipeline *p = NULL;
    struct argument_list operands;
    struct launch_end how = {.drain_s = 10, .call_off = true};
    bool helped, json = false, ended = false;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(where),
        {ARGUMENT_INT, "drain", 0, &how.drain_s, "S", "wait up to S seconds for requests in flight (10)", 0,
         3600},
        {ARGUMENT_FLAG, "json", 0, &json, NULL, "machine-readable output", 0, 0},
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &operands, &helped, e);

    if (rc || helped)
        return rc;
    interrupt_catch();
    if (!(rc = arguments_load(&p, &where, e)))
        rc = launch_down(p, &how, &ended, e);
    pipeline_free(p);
    if (rc)
        return rc;
    if (json)
        return report_print(json_pack("{s:b}", "stopped", ended), e);
    puts(ended ? "stopped" : "nothing was running");
    return FL_OK;
}
