/* story.h - what happens to one pipeline: drawn from a seed, told in plain words
 *
 * A story is a setting (which processes, on which hosts, with which limits) and things that happen at certain
 * moments. The same story in the same setting gives the same run. Dropping things that happen gives a shorter
 * story: search.c does so while it still fails.
 */
#ifndef FREEZELINE_STORY_H
#define FREEZELINE_STORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "config/pipeline.h"
#include "numbers/shuffle.h"
#include "deploy/world/world.h"

#define STORY_MAX   160
#define STORY_HOSTS 3

/* Each stands for something that happens to real processes and links. */
enum kind {
    ASK,     /* a client sends a request: x flags, y deadline in ms (0: the default), a client */
    KILL,    /* SIGKILL, or a crash: who; its supervisor starts another after x ms */
    END,     /* SIGTERM, as in a rolling restart */
    STALL,   /* SIGSTOP, a page fault, a busy host: who does nothing for x ms */
    REPLACE, /* a second process for a place that is held (an overlapping rollout) */
    HOLD,  /* a link between hosts a and b passes nothing for x ms: a switch that restarts, TCP sends again */
    BREAK, /* it breaks: what was on its way last is lost (TCP loses the end, never the middle); x ms */
    FAIL,  /* a worker's computing fails for x ms: out of memory, a bad library */
    SLOW,  /* computing takes y times as long for x ms: another tenant */
    DRAIN, /* an operator asks to admit nothing for x ms; y: and then takes it back */
    RELOAD, /* `freezeline apply`: the file has another plan; each place gets a successor that waits */
    EDIT,   /* the file has another plan, and nobody reloads: whoever starts from now on has it */
    REPLAY, /* a message of port a that was sent before comes once more, from a stranger: number x of the last
             */
    FORGE,  /* a stranger sends what no honest process would: kind a, drawn from x */
    DAMAGE, /* as REPLAY, after bits of it were changed; only what the decoder lets pass arrives */
    KINDS
};

struct happening {
    uint64_t at_ns;
    enum kind kind;
    int role, stage, replica; /* of whom: enum message_role */
    int a, b;
    uint32_t x, y;
};

struct setting {
    int n_stages, n_replicas[PIPELINE_MAX_STAGES], n_caches, n_hosts, n_clients;
    int n_brokers, host_of_broker[2], host_of_client[2], host_of_stage[4][4], host_of_cache[2];
    uint64_t clock_ns[STORY_HOSTS];
    int max_batch, max_requests, deadline_ms, retries, heartbeat_ms, dead_after_ms, wait_us, target_ms;
    double sample, audit, hit_share;
    uint32_t delay_us, spike_us; /* of a message: up to; one in 64 takes up to spike */
    uint32_t beside_us; /* within a host one in 16 goes beside its lane and takes up to so much longer; 0: no
                           lanes */
    uint32_t compute_us;
    int inputs;  /* that requests are about, while the broker keeps answers; 0: it keeps none, all are
                    different */
    bool codec;  /* every message passes through the wire's encoding */
    bool near;   /* stage workers look up themselves where their cache service is on their host .. */
    int keep_ms; /* .. and so long after it is gone */
};

struct story {
    uint64_t seed;
    struct setting setting;
    int n;
    struct happening item[STORY_MAX];
    uint64_t calm_ns; /* nothing bad happens from then on */
    bool
        gentle; /* one thing at a time goes wrong, and another way is open: every request is to be answered */
};

/* Which kinds may be drawn: a bit for each; ASK is always. */
#define STORY_ALL ((1u << KINDS) - 1)

void story_draw(struct story *s, uint64_t seed, uint32_t kinds);
const char *story_kind(enum kind k);
void story_print(const struct story *s, FILE *to);

#endif
