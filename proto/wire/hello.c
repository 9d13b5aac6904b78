/* hello.c - asks the system who this process is */
#include "hello.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"

void hello_init(struct hello *out, enum message_role role, int stage, int replica)
{
    memset(out, 0, sizeof *out);
    out->role = role;
    out->stage = (uint32_t)stage;
    out->replica = (uint32_t)replica;
    out->pid = (uint64_t)getpid();
    if (getrandom(&out->incarnation, sizeof out->incarnation, 0) != sizeof out->incarnation ||
        !out->incarnation)
        out->incarnation = clock_ns() ^ out->pid << 40;
    if (gethostname(out->host, sizeof out->host - 1))
        snprintf(out->host, sizeof out->host, "unknown");
    clock_boot_id(out->boot_id, sizeof out->boot_id);
}

/* One that is too long is not told: those who have it in their file connect all the same. */
static void tell(char to[MESSAGE_NAME_BYTES], const char *endpoint)
{
    snprintf(to, MESSAGE_NAME_BYTES, "%s", endpoint && strlen(endpoint) < MESSAGE_NAME_BYTES ? endpoint : "");
}

void hello_tell_place(struct hello *out, const struct pipeline *p)
{
    const struct replica_config *r = &p->stage[out->stage].replica[out->replica];
    tell(out->endpoint, r->endpoint);
    tell(out->remote, pipeline_also(p, r->endpoint));
    out->asks = p->cache.n_endpoints ? (uint32_t)r->cache + 1 : 0;
}

const char *hello_way(const struct hello *h, const char *host)
{
    return h->remote[0] && strcmp(h->host, host) ? h->remote : h->endpoint;
}
