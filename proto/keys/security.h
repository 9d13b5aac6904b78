/* security.h - what protects the traffic of a process, as its pipeline file says, and the parties that have
 * keys
 *
 * Sockets over tcp are made with it; ipc and lanes stay within a user of one host and are never encrypted.
 */
#ifndef FREEZELINE_SECURITY_H
#define FREEZELINE_SECURITY_H

#include <stdbool.h>

enum security_mode {                    /* in the order of the key's choices */
                     SECURITY_LOOPBACK, /* addresses other than loopback are refused */
                     SECURITY_CURVE, /* every tcp connection is encrypted, and both ends prove who they are */
                     SECURITY_NONE   /* other addresses are allowed, and nothing protects them */
};

/* Whom a key makes of its owner. */
enum party {
    PARTY_NOBODY, /* a key that is not allowed, or no longer */
    PARTY_BROKER,
    PARTY_WORKER, /* of a stage */
    PARTY_CACHE,
    PARTY_LEARNER,
    PARTY_CLIENT,
    PARTY_OPERATOR,
    PARTIES,
    PARTY_LOCAL = PARTIES /* no key: the same user of the same host, or nothing is protected */
};

/* "broker", "worker", ...; the party of such a word, or PARTY_NOBODY. */
const char *party_name(enum party p);
enum party party_of(const char *name);

struct keys;

/* NULL stands for SECURITY_LOOPBACK wherever one is taken. */
struct security {
    enum security_mode mode;
    struct keys *keys; /* borrowed; with SECURITY_CURVE: this process's own, and whom it lets in */
};

/* Is it any use to try an address that is not loopback? */
static inline bool security_beyond_loopback(const struct security *s)
{
    return s && s->mode != SECURITY_LOOPBACK;
}

#endif
