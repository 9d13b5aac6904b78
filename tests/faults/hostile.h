/* hostile.h - strangers who send what no honest process would: old messages, damaged ones, made-up ones
 *
 * What they may reach is bounded by what CURVE keys and sockets leave them: they can't take a message away,
 * and what they make up of living requests is of a kind that a receiver can tell (an attempt that was not
 * sent, a stage that is not there). A liar with a good key who gives a plausible answer is not looked for
 * here.
 */
#ifndef FREEZELINE_FAULTS_HOSTILE_H
#define FREEZELINE_FAULTS_HOSTILE_H

#include "story.h"

#define HOSTILE_KEPT 16 /* messages of each port */

struct kept {
    size_t size;
    uint8_t *encoded; /* [MESSAGE_MAX_ENCODED] where it is not NULL */
    size_t capacity, payload_size;
    uint8_t payload[64];
    int stage, replica;
};

struct hostile {
    struct shuffle random;
    unsigned n[WORLD_PORTS];
    int to_come[WORLD_PORTS]; /* happenings that will want what was sent there */
    struct kept kept[WORLD_PORTS][HOSTILE_KEPT];
    uint8_t *buffer; /* [MESSAGE_MAX_ENCODED] */
    struct message m;
};

void hostile_begin(struct hostile *h, const struct story *s);
void hostile_end(struct hostile *h); /* frees what is in it */
void hostile_note(struct hostile *h, enum world_port port, int stage, int replica, const struct message *m,
                  zmq_msg_t *payload);
/* REPLAY, DAMAGE or FORGE. */
void hostile_act(struct hostile *h, struct world *w, const struct happening *what);
/* m as it comes out of the wire's encoding. False: it can't be read. */
bool hostile_recode(struct hostile *h, struct message *m, struct error *e);

#endif
