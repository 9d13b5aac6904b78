/* mend.c - when to connect again */
#include "mend.h"

#include "base/clock.h"
#include "base/log.h"

#define LOOK_NS  (250 * NS_PER_MS)
#define FIRST_NS (2 * NS_PER_S) /* longer than libzmq takes for a connection that it makes again */
#define MOST_NS  (8 * NS_PER_S)

bool mend_due(struct mend *m, bool takes, uint64_t silent_ns, uint64_t now)
{
    m->heard_ns = m->heard_ns ? m->heard_ns : now;
    if (takes && (!silent_ns || now <= m->heard_ns + silent_ns)) {
        m->since_ns = m->wait_ns = 0;
        return false;
    }
    if (!m->since_ns) {
        m->since_ns = now;
        m->wait_ns = FIRST_NS;
    }
    if (now < m->since_ns + m->wait_ns)
        return false;
    m->since_ns = now;
    m->wait_ns = 2 * m->wait_ns < MOST_NS ? 2 * m->wait_ns : MOST_NS;
    return true;
}

void mend_socket(struct mend *m, void *socket, enum party to, const struct security *security,
                 uint64_t silent_ns, uint64_t now)
{
    struct error e;

    if (!socket || now < m->looked_ns + LOOK_NS)
        return;
    m->looked_ns = now;
    if (mend_due(m, frames_takes(socket), silent_ns, now) && frames_connect_again(socket, to, security, &e))
        log_warn("%s", e.text);
}
