/* learning_picture.h - a pipeline becoming fast, over time: who answers early, and what that loses
 *
 * Fed with what the broker says every now and then; drawn in characters for a terminal, or as an SVG. Of a
 * long time every second point is left out, so memory is bounded. Pure but for the file that it writes.
 */
#ifndef FREEZELINE_LEARNING_PICTURE_H
#define FREEZELINE_LEARNING_PICTURE_H

#include <stdio.h>

#include "wire/message.h"

struct learning_picture;

int learning_picture_new(struct learning_picture **out); /* FL_NOMEM */
void learning_picture_free(struct learning_picture *p);  /* NULL is fine */
void learning_picture_add(struct learning_picture *p, const struct status_reply *r);
/* Two charts, early share and audited loss beside the budget; nothing before there are two points. */
void learning_picture_print(const struct learning_picture *p, FILE *to);
/* FL_VALUE: nothing to draw yet; FL_IO. */
int learning_picture_save(const struct learning_picture *p, const char *path, struct error *e);

#endif
