/* restart.c - `freezeline restart`: processes start again, one after another, while the pipeline serves */
#include <stdio.h>
#include <string.h>

#include "deploy/launch/fleet.h"
#include "deploy/supervise/order.h"
#include "deploy/process/serving.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/report.h"
#include "base/clock.h"
#include "steps.h"

static const struct usage usage = {
    .command = "restart",
    .operands = "[WHO...]",
    .summary = "Starts processes of the running pipeline again, one after another, without a failed request.",
    .notes = "A stage worker's successor loads beside it and takes over; look-ups wait for no cache service\n"
             "that is away; clients wait for the broker within their deadlines. WHO is a name as\n"
             "`freezeline status` has it: stage1.0, cache0, broker, redis, learner0.\n\n"
             "examples:\n"
             "  freezeline restart -c P.yaml stage1.0\n"
             "  freezeline restart -c P.yaml --rolling\n",
    .max_operands = ARGUMENTS_MAX_LIST,
    .words = serving_words,
};

struct restart {
    struct pipeline_arguments where;
    struct argument_list who;
    bool rolling, json;
    int timeout_s;
    struct pipeline *pipeline;
};

static json_t *names_of(const struct restart *r)
{
    struct role role[ROLES_MAX];
    json_t *who = json_array();
    int n = 0;

    if (r->rolling) {
        json_decref(who);
        roles_list(r->pipeline, role, &n, NULL);
        return order_rolling(role, n, CHANGE_ALL);
    }
    for (int i = 0; i < r->who.n; i++)
        json_array_append_new(who, json_string(r->who.item[i]));
    return who;
}

/* Each where it runs, one after another. */
static int restart_on_hosts(const struct restart *r, const json_t *who, struct error *e)
{
    struct role role[ROLES_MAX];
    struct fleet f;
    char said[200], seconds[16];
    int n, rc = roles_list(r->pipeline, role, &n, e);

    if (rc || (rc = fleet_load(&f, r->pipeline, e)))
        return rc;
    snprintf(seconds, sizeof seconds, "%d", r->timeout_s);
    rc = fleet_open_some(&f, e);
    for (size_t i = 0; !rc && i < json_array_size(who); i++) {
        const char *name = json_string_value(json_array_get(who, i));
        int host = -1;
        for (int k = 0; k < n; k++)
            if (!strcmp(role[k].name, name))
                host = fleet_host(&f, role[k].host);
        if (host < 0)
            rc = error_set(e, FL_USAGE, "there is no process `%s`; `freezeline status -c %s` lists them",
                           name, r->pipeline->path);
        else if (!(rc = fleet_ask(&f, host, (const char *[]){"restart", name, "--timeout", seconds, NULL},
                                  (r->timeout_s + 30) * 1000, said, sizeof said, e)) &&
                 !r->json)
            printf("%s on %s: %s\n", name, f.host[host].name, said);
    }
    fleet_close(&f);
    return rc;
}

static int restart(struct restart *r, struct error *e)
{
    struct steps steps = {.quiet = r->json};
    uint64_t began = clock_ns();
    json_t *who;
    double seconds;
    int rc;

    if (r->rolling == (r->who.n > 0))
        return error_set(e, FL_USAGE, "name the processes, or write --rolling for all of them");
    if ((rc = serving_load(&r->pipeline, &r->where, e)))
        return rc;
    who = names_of(r);
    rc = fleet_there(r->pipeline)
             ? restart_on_hosts(r, who, e)
             : order_give(r->pipeline, json_pack("{s:s, s:O}", "do", "restart", "who", who), r->timeout_s,
                          steps_heard, &steps, NULL, e);
    steps_end(&steps);
    seconds = (double)(clock_ns() - began) / NS_PER_S;
    if (!rc && r->json)
        rc =
            report_print(json_pack("{s:O, s:o}", "restarted", who, "seconds", report_rounded(seconds, 3)), e);
    else if (!rc)
        printf("%d process%s started again in %.1f s\n", (int)json_array_size(who),
               json_array_size(who) == 1 ? "" : "es", seconds);
    json_decref(who);
    return rc;
}

int command_restart(int argc, char **argv, struct error *e)
{
    struct restart r = {.timeout_s = 600};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(r.where),
        OPTION_FLAG("rolling", r.rolling, "all processes: stages, cache services, learner, Redis, broker"),
        OPTION_INT("timeout", r.timeout_s, "S", "call it off after S seconds (600)", 1, 86400),
        ARGUMENTS_JSON(r.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &r.who, e);

    interrupt_catch();
    if (!rc)
        rc = restart(&r, e);
    pipeline_free(r.pipeline);
    return rc;
}
