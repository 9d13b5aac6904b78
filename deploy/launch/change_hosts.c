/* change_hosts.c - apply, scale and keys on several hosts */
#include "change_hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deploy/process/serving.h"
#include "deploy/tool/state.h"
#include "fleet.h"
#include "fleet_files.h"

#define SLACK_MS 30000 /* beyond the time that a host gives itself */

struct change {
    struct fleet fleet;
    int lock;
    int timeout_s;
    char said[PIPELINE_MAX_HOSTS][200];
    char away[PIPELINE_MAX_HOSTS][300]; /* why a host was not reached; "": it was */
};

static void end(struct change *c)
{
    fleet_close(&c->fleet);
    if (c->lock >= 0)
        close(c->lock);
}

/* On the hosts that it was started on, or on those of them that can be reached. `end` has to follow. */
static int begin(struct change *c, const struct pipeline *p, bool some, struct error *e)
{
    int rc = fleet_load(&c->fleet, p, e);

    c->lock = -1;
    for (int i = 0; !rc && i < p->n_hosts; i++)
        if (fleet_host(&c->fleet, p->host[i].name) != i || p->n_hosts != c->fleet.n)
            rc = error_set(
                e, FL_CONFIG,
                "%s names other hosts than it was started on: that takes `freezeline down` and `up`",
                p->path);
    if (!rc && !(rc = fleet_lock(&c->lock, p, e)))
        rc = (some ? fleet_open_some : fleet_open)(&c->fleet, e);
    return rc;
}

static int apply(struct transport *t, int host, void *arg, struct error *e)
{
    struct change *c = arg;
    char seconds[16];
    const char *words[] = {"apply", "--timeout", seconds, NULL};

    (void)t;
    snprintf(seconds, sizeof seconds, "%d", c->timeout_s);
    return fleet_ask(&c->fleet, host, words, c->timeout_s * 1000 + SLACK_MS, c->said[host], sizeof c->said[0],
                     e);
}

/* ---- apply ---- */

#define PIN_BYTES 96

/* The file, with workers that it places nowhere where `was` has them. */
static int load_placed(struct pipeline **out, const char *file, const struct argument_list *sets,
                       const struct pipeline *was, struct error *e)
{
    struct pipeline_arguments a = {.path = file, .sets = *sets};
    static char pin[ARGUMENTS_MAX_LIST][PIN_BYTES];
    struct pipeline *p;
    int rc = arguments_load(&p, &a, e);

    for (int s = 0; !rc && s < p->n_stages && s < was->n_stages; s++)
        for (int r = 0; r < p->stage[s].n_replicas && r < was->stage[s].n_replicas; r++) {
            const char *host = was->stage[s].replica[r].host;
            int n = a.sets.n;
            if (!p->stage[s].replica[r].placed || pipeline_host(p, host) < 0 || n == ARGUMENTS_MAX_LIST)
                continue;
            snprintf(pin[n], sizeof pin[n], "stages.%d.replicas.%d.host=%.60s", s, r, host);
            a.sets.item[a.sets.n++] = pin[n];
        }
    if (rc)
        return rc;
    pipeline_free(p);
    return arguments_load(out, &a, e);
}

static int placed(struct pipeline **out, const struct pipeline *p, const struct argument_list *sets,
                  struct error *e)
{
    char path[STATE_PATH_BYTES];
    struct pipeline_arguments a = {.path = path, .sets = *sets};
    int rc = state_path(path, p, e, "run/" SERVING_PLACED);
    return rc ? rc : arguments_load(out, &a, e);
}

/* It serves from now on. */
static int keep(const struct pipeline *p, const char *file, const struct argument_list *sets, struct error *e)
{
    struct serving copy;
    int rc = serving_take(&copy, p, file, sets, e);

    if (!rc && !(rc = serving_commit(&copy, e)))
        rc = fleet_note_placed(p, e);
    serving_free(&copy);
    return rc;
}

/* `sets` are those of `now` that hold on. */
static int load_both(struct pipeline **was, struct pipeline **next, struct argument_list *sets,
                     const struct pipeline *p, const struct serving *now, struct error *e)
{
    static const struct argument_list none;
    int rc = serving_sets(sets, now, p->path, e);

    *was = *next = NULL;
    if (!rc && !(rc = placed(was, p, &none, e)))
        rc = load_placed(next, p->path, sets, *was, e);
    return rc;
}

int files_for_hosts(struct pipeline **was, struct pipeline **next, const struct pipeline *p,
                    const struct serving *now, struct error *e)
{
    struct argument_list sets;
    struct pipeline *serves;
    int rc = load_both(&serves, next, &sets, p, now, e);

    if (was)
        *was = serves;
    else
        pipeline_free(serves);
    return rc;
}

int apply_hosts(const struct pipeline *p, int timeout_s, bool quiet, struct error *e)
{
    struct pipeline *was = NULL, *next = NULL;
    struct change c = {.timeout_s = timeout_s, .lock = -1};
    struct argument_list sets;
    struct serving now;
    int rc = serving_recall(&now, p, e);

    if (!rc && !(rc = load_both(&was, &next, &sets, p, &now, e)) && !(rc = begin(&c, next, false, e)) &&
        !(rc = fleet_ship(&c.fleet, next, FLEET_ALL, NULL, e)) &&
        !(rc = transport_each(c.fleet.transport, apply, &c, e)))
        rc = keep(next, p->path, &sets, e);
    for (int i = 0; !rc && !quiet && i < c.fleet.n; i++)
        printf("%s: %s\n", c.fleet.host[i].name, c.said[i]);
    end(&c);
    pipeline_free(was);
    pipeline_free(next);
    serving_free(&now);
    return rc;
}

/* ---- scale ---- */

/* Does a worker start or end there? */
static bool changes(const struct pipeline *was, const struct pipeline *next, int stage, const char *host)
{
    const struct stage_config *a = &was->stage[stage], *b = &next->stage[stage];
    const struct stage_config *more = a->n_replicas > b->n_replicas ? a : b, *less = more == a ? b : a;

    for (int r = less->n_replicas; r < more->n_replicas; r++)
        if (!strcmp(more->replica[r].host, host))
            return true;
    return false;
}

/* The host in reach with the fewest workers and a free slot; NULL: none. */
static const char *free_host(const struct change *c, const struct pipeline *p)
{
    int workers[PIPELINE_MAX_HOSTS] = {0}, best = -1;

    for (int s = 0; s < p->n_stages; s++)
        for (int r = 0; r < p->stage[s].n_replicas; r++)
            workers[pipeline_host(p, p->stage[s].replica[r].host)]++;
    for (int i = 0; i < p->n_hosts; i++)
        if (!c->away[i][0] && (!p->host[i].slots || workers[i] < p->host[i].slots) &&
            (best < 0 || workers[i] < workers[best]))
            best = i;
    return best < 0 ? NULL : p->host[best].name;
}

/* New workers that a host out of reach would get come elsewhere; *sets is what *next came from. */
static int place_in_reach(struct change *c, const struct pipeline *was, struct pipeline **next, int stage,
                          struct argument_list *sets, struct error *e)
{
    static char pin[PIPELINE_MAX_REPLICAS][PIN_BYTES];
    int rc = FL_OK;

    for (int r = was->stage[stage].n_replicas; !rc && r < (*next)->stage[stage].n_replicas; r++) {
        const char *host = (*next)->stage[stage].replica[r].host;
        if (!c->away[pipeline_host(*next, host)][0] || !(host = free_host(c, *next)) ||
            sets->n == ARGUMENTS_MAX_LIST)
            continue;
        snprintf(pin[r], sizeof pin[r], "stages.%d.replicas.%d.host=%.60s", stage, r, host);
        sets->item[sets->n++] = pin[r];
        pipeline_free(*next);
        *next = NULL;
        if (!(rc = placed(next, was, sets, e)))
            rc = fleet_ship(&c->fleet, *next, FLEET_FILE, c->away, e);
    }
    return rc;
}

/* Of those out of reach none has to start or end a worker. */
static int check_away(const struct change *c, const struct pipeline *was, const struct pipeline *next,
                      int stage, struct error *e)
{
    for (int i = 0; i < c->fleet.n; i++)
        if (c->away[i][0] && changes(was, next, stage, c->fleet.host[i].name))
            return error_set(e, FL_UNAVAILABLE, "a worker of it would start or end there: %s", c->away[i]);
    return FL_OK;
}

/* One host after another, those first where something may fail. *done: those that have it. */
static int apply_in_turn(struct change *c, const struct pipeline *was, const struct pipeline *next, int stage,
                         bool done[PIPELINE_MAX_HOSTS], struct error *e)
{
    int rc = FL_OK;

    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; !rc && i < c->fleet.n; i++)
            if (!c->away[i][0] && changes(was, next, stage, c->fleet.host[i].name) == !pass &&
                !(rc = apply(c->fleet.transport, i, c, e)))
                done[i] = true;
    return rc;
}

/* All hosts in reach have the old file again, and those that had taken the new one take it. */
static int take_back(struct change *c, const struct pipeline *was, const bool done[PIPELINE_MAX_HOSTS],
                     int rc, struct error *e)
{
    struct error why;
    int back = fleet_ship(&c->fleet, was, FLEET_FILE, c->away, &why);

    for (int i = 0; i < c->fleet.n; i++)
        if (!back && done[i])
            back = apply(c->fleet.transport, i, c, &why);
    return back ? error_wrap(e, (enum fl_code)rc, "not everything could be taken back (%s)", why.text)
                : error_wrap(e, (enum fl_code)rc, "all is as it was");
}

static void tell(const struct pipeline *was, const struct pipeline *next, int stage)
{
    const struct stage_config *a = &was->stage[stage], *b = &next->stage[stage];

    for (int r = a->n_replicas; r < b->n_replicas; r++)
        printf("stage%d.%d has started on %s\n", stage, r, b->replica[r].host);
    for (int r = b->n_replicas; r < a->n_replicas; r++)
        printf("stage%d.%d has ended on %s\n", stage, r, a->replica[r].host);
}

static void tell_left_out(const struct change *c, const char *file)
{
    fflush(stdout);
    for (int i = 0; i < c->fleet.n; i++)
        if (c->away[i][0])
            fprintf(stderr, "left out: %s; when it is back, `freezeline apply -c %s` brings it the change\n",
                    c->away[i], file);
}

int scale_hosts(const struct pipeline *p, int stage, int n, int timeout_s, bool quiet, struct error *e)
{
    static const struct argument_list none;
    struct pipeline *was = NULL, *next = NULL;
    struct change c = {.timeout_s = timeout_s, .lock = -1};
    bool done[PIPELINE_MAX_HOSTS] = {false};
    struct argument_list sets, one;
    char text[48], set[48];
    struct serving now;
    int rc = serving_recall(&now, p, e);

    if (!rc && !(rc = serving_scaled(&one, &none, stage, n, text, e)) &&
        !(rc = serving_scaled(&sets, &now.arguments.sets, stage, n, set, e)) &&
        !(rc = placed(&was, p, &none, e)) && !(rc = placed(&next, p, &one, e)) &&
        !(rc = begin(&c, next, true, e)) && !(rc = fleet_ship(&c.fleet, next, FLEET_FILE, c.away, e))) {
        if ((rc = place_in_reach(&c, was, &next, stage, &one, e)) ||
            (rc = check_away(&c, was, next, stage, e)) || (rc = apply_in_turn(&c, was, next, stage, done, e)))
            take_back(&c, was, done, rc, e);
        else
            rc = keep(next, now.arguments.path, &sets, e);
    }
    if (!rc && !quiet)
        tell(was, next, stage);
    if (!rc)
        tell_left_out(&c, p->path);
    end(&c);
    pipeline_free(next);
    pipeline_free(was);
    serving_free(&now);
    return rc;
}

/* ---- keys ---- */

int keys_to_hosts(const struct pipeline *p, char *left, size_t size, struct error *e)
{
    static char why[PIPELINE_MAX_HOSTS][300];
    struct change c;
    size_t used = 0;
    int rc = begin(&c, p, true, e);

    left[0] = '\0';
    if (!rc)
        rc = fleet_ship(&c.fleet, p, FLEET_KEYS, why, e);
    for (int i = 0; !rc && i < c.fleet.n && used < size; i++)
        if (why[i][0])
            used += (size_t)snprintf(left + used, size - used, "%s%s", used ? "; " : "", why[i]);
    end(&c);
    return rc;
}
