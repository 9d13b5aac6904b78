/* hop.h - activations from this process to itself, sent and received as workers do, to see what that costs
 *
 * Two ends with a ZeroMQ context each, as in two processes, joined by a lane (lanes.h) or by a socket. One
 * thread may send while another receives.
 */
#ifndef FREEZELINE_HOP_H
#define FREEZELINE_HOP_H

#include "config/pipeline.h"

/* Two sizes tell what any message costs from what each byte adds. */
#define HOP_SMALL_BYTES 4096
#define HOP_LARGE_BYTES 262144
#define HOP_BURST       8     /* messages that may be on their way */
#define HOP_WAIT_MS     30000 /* a message that takes longer is lost: other work may keep all cores busy */

struct hop;

/* As the pipeline's `security` says; its state is not touched. FL_IO, FL_NOMEM, and as frames_socket. */
int hop_open(struct hop **out, const struct pipeline *p, bool lanes, struct error *e);
void hop_close(struct hop *h); /* NULL is fine */

/* So many bytes, copied out of a batch. Errors as link_send. */
int hop_send(struct hop *h, size_t bytes);
/* Copied into a batch. FL_AGAIN: nothing has come. */
int hop_receive(struct hop *h);
/* Sleeps until something may have come, at most so long. */
void hop_sleep(struct hop *h, int most_ms);

#endif
