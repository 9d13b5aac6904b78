/* freezeline_broker.c - main of freezeline-broker: options, pipeline file, new, run, free */
#include <stdio.h>

#include "base/log.h"
#include "system/signals.h"
#include "config/startup.h"
#include "broker.h"
#include "broker/state/settings.h"
#include "broker/http/http_door.h"
#include "broker/trace/trace_door.h"

static const char usage[] =
    "usage: freezeline-broker -c PIPELINE.yaml [--index K] [--set KEY=VALUE]...\n"
    "\n"
    "Admits requests, routes them through the stage workers, answers them. SIGTERM ends it,\n"
    "SIGHUP opens the log again. --index says which one it is where there are several (broker.replicas).\n";

int main(int argc, char **argv)
{
    struct startup start = {.program = "freezeline-broker",
                            .usage = usage,
                            .party = PARTY_BROKER,
                            .number = {{"index", PIPELINE_MAX_BROKERS, 0}}};
    struct pipeline *p = NULL;
    struct broker *b = NULL;
    struct http_door *http = NULL;
    struct trace_door *traces = NULL;
    struct settings settings;
    struct error e = {FL_OK, ""};
    int rc = startup_options(&start, argc, argv), index = start.number[0].value;
    char role[16] = "broker";

    if (rc >= 0)
        return rc;
    if (index)
        snprintf(role, sizeof role, "broker%d", index);
    if ((rc = startup_pipeline(&start, role, &p, &e)) || (rc = pipeline_be_broker(p, index, &e)) ||
        (settings_init(&settings, p), rc = broker_new(&b, p, index, &settings, &e)) ||
        (rc = http_door_open(&http, p, &settings, &e)) || (rc = trace_door_open(&traces, p, &e))) {
        log_error("%s", e.text);
    } else {
        broker_run(b, &signals_stop);
        log_info("stopping");
    }
    broker_free(b); /* answers what is under way, so that HTTP can tell its clients */
    http_door_close(http);
    trace_door_close(traces);
    pipeline_free(p);
    return error_exit_status(rc);
}
