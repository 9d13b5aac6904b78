/* learning.c - how a cache service learns, in words and numbers */
#include "learning.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cache_service/store/manifest.h"

static const struct {
    const char *name, *sentence;
    bool see_log;
} states[LEARNING_STATES] = {
    [LEARNING_UNKNOWN] = {"unknown", "", false},
    [LEARNING_NO_CACHES] = {"no-caches", "", false},
    [LEARNING_PROMISED] = {"promised",
                           "learns nothing: caches under a promise learn with Redis and updates.learn alone",
                           false},
    [LEARNING_CERTIFIED] = {"certified",
                            "takes over what the learner certifies, and sends it what to learn from", false},
    [LEARNING_UNTAUGHT] = {"untaught", "learns nothing: its caches are of an older build: build again",
                           false},
    [LEARNING_ALONE] = {"alone", "learns alone (no redis.endpoint)", false},
    [LEARNING_SHARED] = {"shared", "learns through Redis", false},
    [LEARNING_NO_REDIS] = {"no-redis", "learns nothing until Redis answers, updates wait", true},
    [LEARNING_REFUSED] = {"refused", "learns nothing while Redis refuses, updates wait", true},
    [LEARNING_DAMAGED] = {"damaged", "can't use the caches in Redis, its own answer", true},
    [LEARNING_ASIDE] = {"aside", "learns nothing: Redis holds another build than this host", true},
};

static enum learning_state state_of(const struct process_status *service)
{
    uint32_t state = service->role == ROLE_CACHE ? service->last.learning.state : LEARNING_UNKNOWN;
    return state < LEARNING_STATES ? (enum learning_state)state : LEARNING_UNKNOWN;
}

/* What happened to updates; nothing where there were none. */
static void describe_updates(const struct heartbeat *h, char *buf, size_t size)
{
    const struct learning *l = &h->learning;

    buf[0] = '\0';
    if (l->accepted || h->jobs || h->dropped || h->queued || l->rejected)
        snprintf(buf, size,
                 "; updates: %" PRIu64 " accepted, %" PRIu64 " put into caches here, %u waiting, %" PRIu64
                 " dropped, %" PRIu64 " refused",
                 l->accepted, h->jobs, h->queued, h->dropped, l->rejected);
}

static void describe_builds(const struct process_status *p, char *buf, size_t size)
{
    char here[MANIFEST_BUILD_BYTES], there[MANIFEST_BUILD_BYTES];

    buf[0] = '\0';
    if (state_of(p) == LEARNING_ASIDE)
        snprintf(buf, size, " (%s here, %s there)", manifest_build_text(p->caches.build, here),
                 manifest_build_text(p->last.learning.redis_build, there));
}

static double share(uint64_t n, uint64_t of)
{
    return of ? 100.0 * (double)n / (double)of : 0;
}

static int describe_tally(const struct lookup_tally *t, const char *when, char *buf, size_t size)
{
    int n = snprintf(buf, size, "%.1f%% of %" PRIu64 " %s", share(t->hits, t->lookups), t->lookups, when);

    if (t->audit_hits && (size_t)n < size)
        n += snprintf(buf + n, size - (size_t)n, " (audits: %.1f%% of %" PRIu64 " right)",
                      share(t->audit_right, t->audit_hits), t->audit_hits);
    return n;
}

int learning_lines(const struct process_status *service, char line[LEARNING_LINES][LEARNING_LINE_BYTES])
{
    const struct learning *l = &service->last.learning;
    enum learning_state state = state_of(service);
    char updates[160], builds[64], log[48] = "", built[96], learned[96];

    if (!states[state].sentence[0])
        return 0;
    describe_updates(&service->last, updates, sizeof updates);
    describe_builds(service, builds, sizeof builds);
    if (states[state].see_log)
        snprintf(log, sizeof log, " (`freezeline logs cache%u`)", service->replica);
    snprintf(line[0], LEARNING_LINE_BYTES, "cache%u %s%s%s%s", service->replica, states[state].sentence,
             builds, log, updates);
    if (!l->learned.lookups)
        return 1;
    describe_tally(&l->built, "in the caches as built", built, sizeof built);
    describe_tally(&l->learned, "since they learned", learned, sizeof learned);
    snprintf(line[1], LEARNING_LINE_BYTES, "  look-ups that hit: %s%s%s", l->built.lookups ? built : "",
             l->built.lookups ? ", " : "", learned);
    return 2;
}

void learning_print(const struct status_reply *r, FILE *to)
{
    char line[LEARNING_LINES][LEARNING_LINE_BYTES];
    bool first = true;

    for (int i = 0; i < r->n_processes; i++)
        for (int k = 0, n = strcmp(r->process[i].state, "dead") ? learning_lines(&r->process[i], line) : 0;
             k < n; k++) {
            fprintf(to, "%s%s\n", first ? "\n" : "", line[k]);
            first = false;
        }
}

static json_t *tally_json(const struct lookup_tally *t)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "lookups", (json_int_t)t->lookups, "hits", (json_int_t)t->hits,
                     "audit_hits", (json_int_t)t->audit_hits, "audit_right", (json_int_t)t->audit_right);
}

json_t *learning_json(const struct process_status *service)
{
    const struct learning *l = &service->last.learning;
    enum learning_state state = state_of(service);
    char build[DIGEST_TEXT_BYTES];

    if (state == LEARNING_UNKNOWN)
        return json_null();
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "state", states[state].name, "accepted",
                     (json_int_t)l->accepted, "applied", (json_int_t)service->last.jobs, "waiting",
                     (json_int_t)service->last.queued, "dropped", (json_int_t)service->last.dropped,
                     "rejected", (json_int_t)l->rejected, "redis_build",
                     state == LEARNING_ASIDE ? json_string(digest_text(l->redis_build, build)) : json_null(),
                     "as_built", tally_json(&l->built), "learned", tally_json(&l->learned));
}
