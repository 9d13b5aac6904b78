/* feedback_text.h - true labels as JSON: {"labels": [{"request": "123", "label": 4}, ..]}. Pure. */
#ifndef FREEZELINE_FEEDBACK_TEXT_H
#define FREEZELINE_FEEDBACK_TEXT_H

#include "wire/message.h"

/* At most MESSAGE_MAX_FEEDBACK of them, in at most 256 bytes each. `request` is the response parameter of
 * that name: a text, as it has 64 bits. FL_PROTOCOL, FL_TOO_LARGE. */
int feedback_read(struct feedback_item item[MESSAGE_MAX_FEEDBACK], int *n, const char *body, size_t size,
                  struct error *e);

#endif
