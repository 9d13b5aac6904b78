/* host_side.c - before and after a supervisor is started on this host from another machine */
#include "host_side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "system/limits.h"
#include "deploy/process/claim.h"
#include "config/address.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/state.h"
#include "deploy/process/failure.h"
#include "deploy/supervise/supervisor_launch.h"
#include "deploy/process/leftovers.h"
#include "deploy/process/word.h"

#define LOCK_MS 500
#define LOOK_NS NS_PER_S /* a supervisor that is there is not waited for longer at a time */
#define POLL_US 20000

int host_side_check_cpus(const struct pipeline *p, struct error *e)
{
    for (int s = 0; s < p->n_stages; s++)
        for (int r = 0; r < p->stage[s].n_replicas; r++) {
            const struct replica_config *c = &p->stage[s].replica[r];
            if (p->n_hosts && pipeline_host(p, c->host) != p->here)
                continue;
            if (limits_check_cpus(c->cpu, c->n_cpus, e))
                return error_wrap(e, FL_CONFIG, "stages.%d.replicas.%d", s, r);
        }
    return FL_OK;
}

/* Who connects takes the first address that the name service gives, so each has to be this machine's. */
static int check_address(const struct pipeline *p, struct error *e)
{
    const struct host_config *h = &p->host[p->here];
    char foreign[64], own[64];

    if (!p->n_hosts || p->here < 0 || !address_mixed(h->address, own, foreign, sizeof own))
        return FL_OK;
    return error_set(
        e, FL_CONFIG,
        "`%s` has several addresses, and %s is not one of this machine's: give it an `address` that "
        "is, such as %s",
        h->address, foreign, own);
}

/* All that processes of this host will bind for others. Redis has its port without a scheme. */
static int check_ports(const struct pipeline *p, struct error *e)
{
    char endpoint[300];
    int rc = FL_OK;

    for (int i = 0; !rc && i < p->n_ways; i++) {
        const char *remote = p->way[i].remote;
        if (p->way[i].host != p->here)
            continue;
        snprintf(endpoint, sizeof endpoint, "%s%s", strncmp(remote, "tcp:", 4) ? "tcp://" : "", remote);
        rc = address_free(endpoint, p->bind, p->n_hosts > 1, e);
    }
    return rc;
}

static bool in_path(const char *program)
{
    char list[4096], path[4400], *rest = list, *folder;

    snprintf(list, sizeof list, "%s", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
    while ((folder = strsep(&rest, ":"))) {
        snprintf(path, sizeof path, "%s/%s", folder, program);
        if (!access(path, X_OK))
            return true;
    }
    return false;
}

int host_side_check(const struct pipeline *p, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc, lock, left;

    if ((rc = state_path(path, p, e, "logs")) || (rc = state_make(path, e)) ||
        (rc = state_path(path, p, e, "run")) || (rc = state_make(path, e)) ||
        (rc = host_side_check_cpus(p, e)))
        return rc;
    if ((rc = claim_take(&lock, p, LOCK_MS, e)) == FL_UNAVAILABLE)
        return launch_say_holder(p, e);
    if (rc)
        return rc;
    rc = leftovers_end(p, &left, e);
    close(lock);
    if (rc || (rc = check_address(p, e)) || (rc = check_ports(p, e)))
        return rc;
    if (p->redis.managed && p->n_hosts && pipeline_host(p, p->redis.host) == p->here &&
        !in_path("redis-server"))
        return error_set(e, FL_CONFIG,
                         "redis.managed: there is no redis-server in PATH: install it (apt-get install "
                         "redis-server), or name a Redis in redis.endpoint");
    return FL_OK;
}

int host_side_watch(const struct pipeline *p, int wait_s, struct error *e)
{
    uint64_t began = clock_ns(), wait_ns = (uint64_t)wait_s * NS_PER_S;
    char missing[280] = "", said[16];
    bool seen = false;

    for (;;) {
        struct process who;
        enum claim_holder holder = claim_look(p, &who);
        uint64_t waited_ns = clock_ns() - began;
        seen = seen || holder == CLAIM_HERE;
        if (holder == CLAIM_HERE && word_read(p, "ready", said, sizeof said) && atoi(said) == (int)who.pid) {
            puts("ready");
            return FL_OK;
        }
        if (holder == CLAIM_GONE && !wait_s) {
            printf(claim_anyone_alive(p) ? HOST_SIDE_GONE ": pid %d died, " HOST_SIDE_SERVES
                                                          "; `freezeline up` starts another\n"
                                         : HOST_SIDE_GONE
                       ": pid %d died, nothing of it runs here; `freezeline up` starts it anew\n",
                   (int)who.pid);
            return FL_OK;
        }
        if ((holder == CLAIM_NOBODY || holder == CLAIM_GONE) &&
            (seen || word_there(p, "failed") || waited_ns >= wait_ns))
            return failure_explain(p, e);
        if (interrupt_seen() || waited_ns >= wait_ns || (seen && waited_ns >= LOOK_NS))
            break;
        usleep(POLL_US);
    }
    failure_name_missing(p, missing, sizeof missing);
    printf("waiting: %s\n", missing[0] ? missing : "no request has run through");
    return FL_OK;
}
