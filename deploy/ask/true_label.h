/* true_label.h - one line that says what a request should have been answered; pure */
#ifndef FREEZELINE_TRUE_LABEL_H
#define FREEZELINE_TRUE_LABEL_H

#include "wire/message.h"

#define TRUE_LABEL_LINE 4096 /* bytes of a line, at most */

/* `line`, without its end: REQUEST,LABEL (or ; or a tab between them) or a JSON object with "request" and
 * "truth" (or "label"). A label is a number below `classes` or one of the pipeline file's names. FL_AGAIN:
 * nothing to take (blank, or a heading). FL_CORRUPT, FL_VALUE; *e says what is wrong, without the line's
 * number. The line is changed. */
int true_label_parse(struct feedback_item *out, char *line, const struct pipeline *p, int classes,
                     struct error *e);

#endif
