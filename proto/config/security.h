/* security.h - what protects the traffic of a process, as its pipeline file says
 *
 * Sockets over tcp are made with it; ipc and lanes stay within a user of one host and are never encrypted.
 */
#ifndef FREEZELINE_SECURITY_H
#define FREEZELINE_SECURITY_H

enum security_mode {                    /* in the order of the key's choices */
                     SECURITY_LOOPBACK, /* addresses other than loopback are refused */
                     SECURITY_NONE      /* they are allowed, and nothing protects them */
};

/* NULL stands for SECURITY_LOOPBACK wherever one is taken. */
struct security {
    enum security_mode mode;
};

/* Is it any use to try an address that is not loopback? */
static inline int security_beyond_loopback(const struct security *s)
{
    return s && s->mode != SECURITY_LOOPBACK;
}

#endif
