/* feedback_send.h - hands true labels to the broker, many at a time, as fast as it takes them */
#ifndef FREEZELINE_FEEDBACK_SEND_H
#define FREEZELINE_FEEDBACK_SEND_H

#include "client/client.h"

/* What became of all that was sent. */
struct feedback_counts {
    int64_t sent, taken, early, foreign, wrong;
};

/* Sends n labels and counts. Errors as client_feedback; FL_UNAVAILABLE too when the broker takes none for
 * seconds; FL_CANCELLED after Ctrl-C. */
int feedback_send(struct client *c, const struct feedback_item *item, int n, struct feedback_counts *counts,
                  struct error *e);

#endif
