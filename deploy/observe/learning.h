/* learning.h - what a cache service tells of how it learns, and whether that helps; for people and as JSON
 *
 * Whether it helps is shown by counts alone: of look-ups in the caches as they were built and since they
 * learned, how many hit, and of audits how many of such hits were right. The traffic of the two times may
 * differ, and nothing is made of that.
 */
#ifndef FREEZELINE_LEARNING_H
#define FREEZELINE_LEARNING_H

#include <stdio.h>

#include <jansson.h>

#include "wire/message.h"

#define LEARNING_LINES      2
#define LEARNING_LINE_BYTES 320

/* Returns how many lines there are: none where it tells nothing. Pure. */
int learning_lines(const struct process_status *service, char line[LEARNING_LINES][LEARNING_LINE_BYTES]);
/* Of all cache services that live. */
void learning_print(const struct status_reply *r, FILE *to);
/* `state`, counts, `as_built`, `learned`; null where it tells nothing. */
json_t *learning_json(const struct process_status *service);

#endif
