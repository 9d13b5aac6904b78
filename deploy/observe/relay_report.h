/* relay_report.h - other pipelines that a part of the requests is handed on to, for people and for programs
 */
#ifndef FREEZELINE_RELAY_REPORT_H
#define FREEZELINE_RELAY_REPORT_H

#include <jansson.h>

#include "wire/message.h"

/* A line for each; nothing where there is none. */
void relay_print(const struct status_reply *s);
/* Owned. */
json_t *relay_json(const struct status_reply *s);
/* Variants: who answers, at what loss; NULL where there are none. Owned. */
json_t *variant_shares_json(const struct status_reply *s);

#endif
