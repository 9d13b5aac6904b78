/* feedback_send.c - see feedback_send.h */
#include "feedback_send.h"

#include <unistd.h>

#include "deploy/tool/interrupt.h"

#define WAIT_MS  5000
#define PAUSE_MS 20
#define PAUSES   500 /* in a row without a label taken */

int feedback_send(struct client *c, const struct feedback_item *item, int n, struct feedback_counts *counts,
                  struct error *e)
{
    struct feedback reply;
    int rc, pauses = 0;
    while (n > 0) {
        int some = n < MESSAGE_MAX_FEEDBACK ? n : MESSAGE_MAX_FEEDBACK, done;
        if (interrupt_seen())
            return error_set(e, FL_CANCELLED, "interrupted");
        if ((rc = client_feedback(c, item, some, WAIT_MS, &reply, e)))
            return rc;
        done = some - (int)(reply.later < (uint32_t)some ? reply.later : (uint32_t)some);
        counts->sent += done;
        counts->taken += reply.taken;
        counts->early += reply.early;
        counts->foreign += reply.foreign;
        counts->wrong += reply.wrong;
        item += done;
        n -= done;
        pauses = done ? 0 : pauses + 1;
        if (pauses == PAUSES)
            return error_set(e, FL_UNAVAILABLE, "the broker has taken no label for %d s",
                             PAUSES * PAUSE_MS / 1000);
        if (reply.later)
            usleep(PAUSE_MS * 1000);
    }
    return FL_OK;
}
