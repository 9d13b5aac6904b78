/* epoch_report.h - what serves and what is being certified, as the learner tells; for people and as JSON */
#ifndef FREEZELINE_EPOCH_REPORT_H
#define FREEZELINE_EPOCH_REPORT_H

#include <stdio.h>

#include <jansson.h>

#include "deploy/model/model_shape.h"
#include "wire/message.h"

/* The learner that is at work; NULL: none is. */
const struct process_status *epoch_learner(const struct status_reply *r);
/* Sentence, losses, and a line for each exit; nothing where no learner is at work. `m` may be NULL. */
void epoch_print(const struct status_reply *r, const struct model_shape *m, FILE *to);
/* null where no learner is at work. */
json_t *epoch_json(const struct status_reply *r, const struct model_shape *m);

#endif
