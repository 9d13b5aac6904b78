/* mend.h - connecting again where libzmq does not
 *
 * libzmq makes a connection again that broke off, but none that it ended because of what came over it; and
 * where the length of a message was changed, it waits for the rest without end. So whoever connects looks now
 * and then whether its socket takes messages and, where the other end always replies, whether something came.
 * If not for a while, a new connection takes the place of the old one. What was queued is lost.
 *
 * Only for tcp: nobody comes between processes of one host.
 */
#ifndef FREEZELINE_MEND_H
#define FREEZELINE_MEND_H

#include "frames.h"

struct mend {
    uint64_t heard_ns; /* the caller's, where silence counts: when something came */
    uint64_t looked_ns, since_ns, wait_ns;
};

/* The decision alone: is a new connection due? `takes`: the socket takes messages. silent_ns: so long nothing
 * may come; 0: silence tells nothing. The waits between two connections grow. */
bool mend_due(struct mend *m, bool takes, uint64_t silent_ns, uint64_t now);

/* Looks, a few times a second at most, and connects again if that is due. `to` and `security` as the socket
 * was made with. The queue of a socket may just be full: the caller knows if that can be. */
void mend_socket(struct mend *m, void *socket, enum party to, const struct security *security,
                 uint64_t silent_ns, uint64_t now);

#endif
