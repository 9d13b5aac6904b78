/* host_report.h - the hosts of a running pipeline on a few lines: their supervisors, clocks and links */
#ifndef FREEZELINE_HOST_REPORT_H
#define FREEZELINE_HOST_REPORT_H

#include <jansson.h>

#include "config/pipeline.h"
#include "wire/message.h"

struct host_report {
    const struct pipeline *p;
    const struct status_reply *said;          /* all zero: the broker did not answer */
    char supervisor[PIPELINE_MAX_HOSTS][160]; /* "ready", "waiting: ..", or why it can't be asked */
};

/* Asks the supervisors, where the pipeline was started from here on hosts that can be reached. Borrows both.
 */
void host_report_ask(struct host_report *r, const struct pipeline *p, const struct status_reply *said);
/* Nothing where the file names no hosts. */
void host_report_print(const struct host_report *r);
/* "hosts" and "links". */
void host_report_json(const struct host_report *r, json_t *root);

#endif
