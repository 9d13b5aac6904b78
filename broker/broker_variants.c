/* broker_variants.c - see broker_variants.h */
#include "broker_variants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "broker/choice/figures.h"
#include "config/address.h"
#include "config/endpoint.h"
#include "config/variants.h"
#include "system/limits.h"

#define KEEP_NS (10 * NS_PER_S)

static int64_t wall_s(void)
{
    return (int64_t)(clock_wall_ms() / 1000);
}

static bool is_elsewhere(const char *endpoint)
{
    char host[256], port[16];
    return endpoint_split(endpoint, host, sizeof host, port, sizeof port) && strcmp(host, "localhost") &&
           !address_is_own(host, true);
}

static int meet_others(const struct broker_variants *v, struct dispatch *d, const struct pipeline *p,
                       int broker, struct error *e)
{
    uint32_t elsewhere = 0;
    int rc = FL_OK;

    for (int i = 1; i < p->n_variants && !rc; i++) {
        char *endpoint;
        if ((rc = variant_endpoint(&endpoint, p, i, broker, e)))
            return rc;
        if ((rc = dispatch_add_variant(d, i, p->variant[i].name, endpoint)))
            error_set(e, (enum fl_code)rc, "variant %s cannot be reached at %s", p->variant[i].name,
                      endpoint);
        elsewhere |= (uint32_t)is_elsewhere(endpoint) << i;
        free(endpoint);
    }
    choice_runs_on(v->choice, p->n_hosts ? 0 : limits_cpus(), elsewhere);
    return rc;
}

/* Where this broker was before, it goes on with the hour that it counted. */
static void recall(struct broker_variants *v, const struct pipeline *p, int broker)
{
    struct error e = {FL_OK, ""};
    int rc;

    snprintf(v->path, sizeof v->path, "%.900s/variants", p->state);
    mkdir(v->path, 0700);
    snprintf(v->path, sizeof v->path, "%.900s/variants/hour.%d", p->state, broker);
    rc = choice_recall_hour(v->choice, clock_ns(), wall_s(), v->path, &e);
    if (rc == FL_CORRUPT)
        log_warn("%s; for an hour no request may cost more than the mean is allowed to", e.text);
    else if (rc && rc != FL_NOT_FOUND)
        log_warn("what the last hour has cost is not known: %s", e.text);
}

int broker_variants_meet(struct broker_variants *v, struct dispatch *d, const struct pipeline *p, int broker,
                         uint64_t seed, struct error *e)
{
    struct choice *choice;
    bool unmeasured = false;
    int rc = figures_choice(&choice, p, seed, &unmeasured, e);

    if (rc)
        return rc;
    if ((rc = dispatch_set_variants(d, choice, p->variant[0].name, p->n_variants))) {
        choice_free(choice);
        return error_set(e, (enum fl_code)rc, "no memory for variants");
    }
    v->choice = choice;
    if (unmeasured)
        log_warn("not all variants are measured: `freezeline variants -c %s --data D` does that", p->path);
    recall(v, p, broker);
    return meet_others(v, d, p, broker, e);
}

void broker_variants_keep(struct broker_variants *v, bool last, uint64_t now)
{
    struct error e;
    bool failed;

    if (!v->choice || (!last && now < v->kept_ns + KEEP_NS))
        return;
    v->kept_ns = now;
    failed = choice_keep_hour(v->choice, now, wall_s(), v->path, &e) != FL_OK;
    if (failed && !v->failed)
        log_warn("what this hour costs will be forgotten when the broker starts again: %s", e.text);
    v->failed = failed;
}
