/* control.c - when to say what to the broker */
#include "control.h"

#include "base/clock.h"

void control_init(struct control *c, const struct pipeline *p)
{
    *c = (struct control){.beat_ns = (uint64_t)p->broker.heartbeat_ms * NS_PER_MS,
                          .dead_after_ns = (uint64_t)p->broker.dead_after_ms * NS_PER_MS};
}

int control_next(struct control *c, uint64_t now_ns)
{
    if (now_ns < c->next_ns)
        return 0;
    c->next_ns = now_ns + c->beat_ns;
    if (c->heard_ns && now_ns - c->heard_ns > c->dead_after_ns)
        c->heard_ns = 0;
    return c->heard_ns ? MESSAGE_HEARTBEAT : MESSAGE_HELLO;
}

void control_welcome(struct control *c, const struct hello *h, const char *boot_id, uint64_t now_ns)
{
    c->heard_ns = now_ns;
    c->same_clock = clock_is_shared(h->boot_id, boot_id);
    c->offset = (struct offset){0};
}

void control_echo(struct control *c, const struct heartbeat *h, uint64_t now_ns)
{
    if (!h->incarnation) {
        c->heard_ns = 0;
        c->next_ns = now_ns;
        return;
    }
    c->heard_ns = now_ns;
    if (!c->same_clock && h->worker_ns && h->worker_ns <= now_ns && h->broker_ns)
        offset_add(&c->offset, h->worker_ns, h->broker_ns, now_ns);
}

uint64_t control_broker_ns(const struct control *c, uint64_t now_ns)
{
    return now_ns + (uint64_t)offset_ns(&c->offset);
}
