/* control.h - the cache service's conversation with the broker: when to say what, and what its clock shows;
 * pure
 *
 * HELLO is said until the broker says hello back, and again when it does not know this process, when echoes
 * stop coming for dead_after, and when what it tells has changed: then at once. Heartbeats are echoed with
 * the broker's clock; from the fastest echo comes the offset of the clocks. A broker of the same boot has the
 * same clock.
 */
#ifndef FREEZELINE_CONTROL_H
#define FREEZELINE_CONTROL_H

#include "base/offset.h"
#include "cache_service/store/snapshot.h"
#include "wire/message.h"

struct control {
    uint64_t beat_ns, dead_after_ns; /* intervals */
    uint64_t next_ns;                /* of the next beat */
    uint64_t heard_ns;               /* when the broker was last heard; 0 = it does not know us */
    struct offset offset;            /* of the broker's clock from ours */
    bool same_clock;
    uint64_t broker; /* incarnation of the one that was heard */
    bool changed;    /* what hello says is another than what the broker has answered .. */
    bool urgent;     /* .. and was not said yet */
};

void control_init(struct control *c, const struct pipeline *p);
/* What to send at now_ns: MESSAGE_HELLO, MESSAGE_HEARTBEAT, or 0 for nothing yet. */
int control_next(struct control *c, uint64_t now_ns);
/* Hello tells something else from now on: it is to be said again at once. */
void control_changed(struct control *c);
/* What hello says of the caches in s (NULL: none). True when that is not what it said before. */
bool control_tell(struct hello *h, const struct snapshot *s);
/* The broker said hello; `boot_id` is our own. */
void control_welcome(struct control *c, const struct hello *h, const char *boot_id, uint64_t now_ns);
/* The echo of a heartbeat; incarnation 0 in it means that the broker does not know us. */
void control_echo(struct control *c, const struct heartbeat *h, uint64_t now_ns);
uint64_t control_broker_ns(const struct control *c, uint64_t now_ns);

#endif
