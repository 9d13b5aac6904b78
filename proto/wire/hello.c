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
