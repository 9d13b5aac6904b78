/* changes.c - a table of keys and who reads them */
#include "changes.h"

#include <stdio.h>
#include <string.h>

#define CHANGE_SERVICES (CHANGE_STAGES | CHANGE_CACHES | CHANGE_LEARNER | CHANGE_BROKER)

/* The first row whose words begin the key counts. What has no row takes `down` and `up`. */
static const struct {
    const char *begins;
    unsigned effect;
} readers[] = {
    {"model", CHANGE_TOGETHER},
    {"input.", CHANGE_TOGETHER},
    {"labels", CHANGE_TOGETHER},
    {"precision", CHANGE_TOGETHER},
    {"wire_dtype", CHANGE_TOGETHER},
    {"exits", CHANGE_TOGETHER},
    {"stages.#.last", CHANGE_TOGETHER},
    {"cache.grids", CHANGE_TOGETHER},
    {"cache.flatten", CHANGE_TOGETHER},
    {"kernels", CHANGE_STAGES},
    {"stages.#.threads", CHANGE_STAGES},
    {"stages.#.batch", CHANGE_STAGES},
    {"stages.#.fixed_batch", CHANGE_STAGES},
    {"stages.#.replicas.#.cpus", CHANGE_STAGES},
    {"stages.#.replicas.#.cache", CHANGE_STAGES | CHANGE_BROKER},
    {"stages.#.replicas.#", CHANGE_STOPS},
    {"stages.#.replicas", CHANGE_NUMBER},
    {"cache.endpoints", CHANGE_STOPS},
    {"cache.wait_us", CHANGE_STAGES},
    {"cache.placement", CHANGE_STAGES | CHANGE_CACHES},
    {"cache.near_keep_ms", CHANGE_STAGES},
    {"cache.max_accuracy_loss", CHANGE_BUILD | CHANGE_CACHES | CHANGE_LEARNER},
    {"cache.certainty", CHANGE_BUILD | CHANGE_CACHES | CHANGE_LEARNER},
    {"cache.hosts", CHANGE_STOPS},
    {"cache.", CHANGE_BUILD},
    {"updates.", CHANGE_CACHES | CHANGE_LEARNER | CHANGE_BROKER},
    {"redis.user", CHANGE_CACHES | CHANGE_LEARNER},
    {"redis.password_file", CHANGE_CACHES | CHANGE_LEARNER},
    {"redis.tls", CHANGE_CACHES | CHANGE_LEARNER},
    {"redis.tls_ca", CHANGE_CACHES | CHANGE_LEARNER},
    {"redis.tls_cert", CHANGE_CACHES | CHANGE_LEARNER},
    {"redis.tls_key", CHANGE_CACHES | CHANGE_LEARNER},
    {"broker.heartbeat_ms", CHANGE_SERVICES},
    {"broker.dead_after_ms", CHANGE_SERVICES},
    {"broker.hung_after_ms", CHANGE_STAGES | CHANGE_BROKER},
    {"broker.max_requests", CHANGE_STAGES | CHANGE_BROKER},
    {"broker.requests", CHANGE_STOPS},
    {"broker.control", CHANGE_STOPS},
    {"broker.results", CHANGE_STOPS},
    {"broker.replicas", CHANGE_STOPS},
    {"broker.", CHANGE_BROKER},
    {"choose", CHANGE_BROKER},
    {"budget.", CHANGE_BROKER},
    {"log_level", CHANGE_SERVICES},
    {"logs.", CHANGE_SERVICES},
    {"traces.", CHANGE_BROKER},
};

static unsigned effect_of(const char *pattern)
{
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (!strncmp(pattern, readers[i].begins, strlen(readers[i].begins)))
            return readers[i].effect;
    return CHANGE_STOPS;
}

static void add(void *arg, const char *key, const char *pattern, const char *from, const char *to)
{
    struct changes *c = arg;
    struct change *it = &c->item[c->n];

    c->effect |= effect_of(pattern);
    if (c->n == CHANGES_MOST) {
        c->more = true;
        return;
    }
    snprintf(it->key, sizeof it->key, "%s", key);
    snprintf(it->from, sizeof it->from, "%.63s", from);
    snprintf(it->to, sizeof it->to, "%.63s", to);
    it->effect = effect_of(pattern);
    c->n++;
}

void changes_find(struct changes *out, const struct pipeline *now, const struct pipeline *next)
{
    memset(out, 0, sizeof *out);
    pipeline_differences(now, next, add, out);
}

int changes_check(const struct pipeline *now, const struct pipeline *next, struct error *e)
{
    static struct changes c; /* large */

    changes_find(&c, now, next);
    for (int i = 0; i < c.n; i++)
        if (c.item[i].effect & CHANGE_STOPS)
            return error_set(e, FL_CONFIG,
                             "%s in the pipeline file is another than that of the running pipeline (%s, not "
                             "%s), by which its processes find one another: `freezeline down`, then "
                             "`freezeline up`",
                             c.item[i].key, c.item[i].to[0] ? c.item[i].to : "nothing",
                             c.item[i].from[0] ? c.item[i].from : "nothing");
    return FL_OK;
}

bool changes_concern(unsigned effect, enum role_kind kind)
{
    static const unsigned by_kind[] = {[ROLE_KIND_REDIS] = CHANGE_REDIS,
                                       [ROLE_KIND_BROKER] = CHANGE_BROKER,
                                       [ROLE_KIND_CACHE] = CHANGE_CACHES,
                                       [ROLE_KIND_STAGE] = CHANGE_STAGES,
                                       [ROLE_KIND_LEARNER] = CHANGE_LEARNER};
    return (effect & by_kind[kind]) != 0;
}
