/* conduct.c - from an order to steps, from deeds to processes, and back to an answer */
#include "conduct.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "changes.h"
#include "loading.h"

static const char *const names[] = {"state", "restart", "scale",  "reload",
                                    "load",  "unload",  "cancel", "stop"};

bool conduct_busy(const struct conduct *c)
{
    return c->operation.n > 0;
}

/* ---- answers ---- */

static void refuse(struct conduct *c, int to, const struct error *e)
{
    orders_say(c->orders, to, json_pack("{s:i, s:s, s:s}", "error", e->code, "text", e->text, "who", ""));
}

static json_t *processes(const struct conduct *c, const struct status_reply *said)
{
    struct sight s[ROLES_MAX];
    json_t *list = json_array();

    crew_look(c->crew, said, s);
    for (int i = 0; i < c->crew->n; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:b, s:b, s:I}", "who", s[i].role->name, "pid",
                                        (json_int_t)(s[i].running ? s[i].pid : 0), "running", s[i].running,
                                        "ready", s[i].ready, "successor", (json_int_t)s[i].heir));
    return list;
}

static void say_state(const struct conduct *c, int to, const struct status_reply *said)
{
    orders_say(c->orders, to,
               json_pack("{s:b, s:b, s:s, s:o}", "done", true, "ready", c->crew->ready, "under_way",
                         conduct_busy(c) ? names[c->kind] : "", "processes", processes(c, said)));
}

/* ---- from an order to steps ---- */

static int child_named(const struct crew *crew, const char *name)
{
    for (int i = 0; i < crew->n; i++)
        if (!strcmp(crew->child[i].role.name, name))
            return i;
    return -1;
}

static int unknown(const struct crew *crew, const char *name, struct error *e)
{
    char known[300] = "";

    for (int i = 0; i < crew->n; i++) {
        size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", crew->child[i].role.name);
    }
    return error_set(e, FL_USAGE, "there is no process `%s`; there are %s", name, known);
}

static int plan_restarts(struct conduct *c, const struct order *o, struct error *e)
{
    int rc = FL_OK;

    for (int i = 0; !rc && i < o->n; i++) {
        if (child_named(c->crew, o->who[i]) < 0 && !c->next.pipeline)
            return unknown(c->crew, o->who[i], e);
        if ((rc = operation_add(&c->operation, STEP_RESTART, o->who[i])))
            error_set(e, rc, "too many steps");
    }
    return rc;
}

/* Processes that the file has no more end, those that it has now start. */
static int plan_numbers(struct conduct *c, const struct order *o, struct error *e)
{
    struct role role[ROLES_MAX];
    int n, rc = roles_list_here(c->next.pipeline, role, &n, e);

    for (int i = c->crew->n - 1; !rc && i >= 0; i--) {
        bool stays = false;
        for (int k = 0; k < n; k++)
            stays = stays || !strcmp(role[k].name, c->crew->child[i].role.name);
        if (!stays)
            rc = operation_add(&c->operation, STEP_END, c->crew->child[i].role.name);
    }
    if (!rc && o->together)
        rc = operation_add(&c->operation, STEP_TOGETHER, "");
    for (int k = 0; !rc && k < n; k++)
        if (child_named(c->crew, role[k].name) < 0 && !(rc = crew_add(c->crew, &role[k], e))) {
            c->crew->child[c->crew->n - 1].held = true; /* until its step */
            rc = operation_add(&c->operation, STEP_START, role[k].name);
        }
    return rc;
}

/* The file as it is now becomes `next`, with the --set arguments that still hold. */
static int take_file(struct conduct *c, struct error *e)
{
    const struct pipeline *now = c->serving->pipeline;
    struct argument_list sets;
    int rc = serving_sets(&sets, c->serving, now->path, e);

    if (!rc)
        rc = serving_take(&c->next, now, now->path, &sets, e);
    return rc ? rc : changes_check(now, c->next.pipeline, e);
}

static int plan_scale(struct conduct *c, const struct order *o, struct error *e)
{
    const struct pipeline *now = c->serving->pipeline;
    struct argument_list sets = c->serving->arguments.sets;
    char text[48];
    int rc;

    if (o->stage >= now->n_stages)
        return error_set(e, FL_USAGE, "there is no stage %d; the pipeline has stages 0 to %d", o->stage,
                         now->n_stages - 1);
    if ((rc = serving_scaled(&sets, &c->serving->arguments.sets, o->stage, o->replicas, text, e)) ||
        (rc = serving_take(&c->next, now, c->serving->arguments.path, &sets, e)))
        return rc;
    return changes_check(now, c->next.pipeline, e);
}

static bool is_stage(const struct crew *crew, int i)
{
    return crew->child[i].role.kind == ROLE_KIND_STAGE;
}

/* Stage workers that are there are replaced: together, or one after another; those that are not start. */
static int plan_load(struct conduct *c, struct order *o, const struct status_reply *said, struct error *e)
{
    struct role role[ROLES_MAX];
    struct loading l = {.serve = false};
    int n, rc;

    for (int i = 0; i < c->crew->n; i++)
        l.serve = l.serve || (is_stage(c->crew, i) && c->crew->child[i].running);
    if ((rc = loading_look(&l, c->serving->pipeline, c->next.pipeline, said, e)) ||
        (rc = roles_list_here(c->next.pipeline, role, &n, e)))
        return rc;
    c->reads_caches = l.reads_caches;
    o->together = l.together;
    o->n = 0;
    for (int i = 0; !o->together && i < n; i++)
        if (role[i].kind == ROLE_KIND_STAGE && child_named(c->crew, role[i].name) >= 0)
            snprintf(o->who[o->n++], sizeof o->who[0], "%s", role[i].name);
    return FL_OK;
}

static int plan_unload(struct conduct *c, struct error *e)
{
    int rc = loading_here(c->serving->pipeline, e);

    for (int i = 0; !rc && i < c->crew->n; i++)
        if (is_stage(c->crew, i))
            rc = operation_add(&c->operation, STEP_END, c->crew->child[i].role.name);
    return rc;
}

static int plan_change(struct conduct *c, struct order *o, const struct status_reply *said, struct error *e)
{
    int rc = o->kind == ORDER_SCALE ? plan_scale(c, o, e) : take_file(c, e);

    if (!rc && o->kind == ORDER_LOAD)
        rc = plan_load(c, o, said, e);
    return rc ? rc : plan_numbers(c, o, e);
}

static int plan(struct conduct *c, struct order *o, const struct status_reply *said, struct error *e)
{
    int rc = FL_OK;

    if (!c->crew->ready)
        return error_set(e, FL_UNAVAILABLE, "the pipeline is not ready yet");
    if (o->kind == ORDER_UNLOAD)
        return plan_unload(c, e);
    if (o->kind != ORDER_RESTART)
        rc = plan_change(c, o, said, e);
    return rc ? rc : plan_restarts(c, o, e);
}

/* ---- its end ---- */

static bool is_listed(const struct role *role, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(role[i].name, name))
            return true;
    return false;
}

/* Those that are to run by what serves. */
static int list_serving(const struct conduct *c, struct role role[ROLES_MAX])
{
    int n = 0, kept = 0;

    roles_list_here(c->serving->pipeline, role, &n, NULL);
    for (int i = 0; i < n; i++)
        if (!c->unloaded || role[i].kind != ROLE_KIND_STAGE)
            role[kept++] = role[i];
    return kept;
}

/* Back to the processes of what serves: those that were added end, those that have ended start by themselves.
 */
static void plan_back(struct conduct *c)
{
    struct role role[ROLES_MAX];
    int n = list_serving(c, role);

    memset(&c->operation, 0, sizeof c->operation);
    crew_end_heirs(c->crew, 0);
    crew_release(c->crew);
    for (int i = c->crew->n - 1; i >= 0; i--)
        if (!is_listed(role, n, c->crew->child[i].role.name)) {
            c->crew->child[i].held = true;
            if (c->crew->child[i].running)
                operation_add(&c->operation, STEP_END, c->crew->child[i].role.name);
            else
                crew_forget(c->crew, i);
        }
    for (int k = 0; k < n; k++)
        if (child_named(c->crew, role[k].name) < 0)
            crew_add(c->crew, &role[k], NULL);
}

/* `next` serves from now on. */
static void commit(struct conduct *c)
{
    struct role role[ROLES_MAX];
    struct error e;
    int n = 0;

    if (!c->next.pipeline)
        return;
    if (serving_commit(&c->next, &e))
        log_error("%s", e.text);
    roles_list_here(c->next.pipeline, role, &n, NULL);
    for (int k = 0; k < n; k++) {
        int i = child_named(c->crew, role[k].name);
        if (i >= 0)
            c->crew->child[i].role = role[k]; /* its texts are the pipeline's */
    }
    serving_free(c->serving);
    *c->serving = c->next;
    memset(&c->next, 0, sizeof c->next);
    c->changed = true;
}

static void finish(struct conduct *c)
{
    crew_end_heirs(c->crew, 0);
    crew_release(c->crew);
    c->crew->serving = c->serving;
    if (c->next.pipeline)
        unlink(c->next.arguments.path);
    serving_free(&c->next);
    memset(&c->operation, 0, sizeof c->operation);
    memset(&c->failure, 0, sizeof c->failure);
    c->reads_caches = false;
}

static void done(struct conduct *c)
{
    commit(c);
    if (c->failure.act == ACT_FAIL) {
        log_info("%s: failed: %s%s%s", names[c->kind], c->failure.who, c->failure.who[0] ? ": " : "",
                 c->failure.text);
        orders_say(c->orders, c->by,
                   json_pack("{s:i, s:s, s:s}", "error", FL_UNAVAILABLE, "text", c->failure.text, "who",
                             c->failure.who));
    } else {
        log_info("%s: done", names[c->kind]);
        if (c->kind != ORDER_RESTART)
            c->unloaded = c->kind == ORDER_UNLOAD;
        if (c->reads_caches)
            crew_signal(c->crew, SIGHUP);
        orders_say(c->orders, c->by, json_pack("{s:b}", "done", true));
    }
    finish(c);
}

/* Has a process been replaced that will not be replaced back? */
static bool is_too_late(const struct operation *o)
{
    for (int i = 0; i < o->at; i++)
        if (o->step[i].kind == STEP_TOGETHER || o->step[i].kind == STEP_RESTART)
            return true;
    return false;
}

static void failed(struct conduct *c, const struct deed *d)
{
    struct operation *o = &c->operation;
    bool stays = is_too_late(o);
    size_t n;

    c->failure = *d;
    n = strlen(c->failure.text);
    if (stays)
        snprintf(c->failure.text + n, sizeof c->failure.text - n, "; %d of %d steps are done and stay", o->at,
                 o->n);
    else
        snprintf(c->failure.text + n, sizeof c->failure.text - n, "; what served goes on");
    if (!stays) {
        if (c->next.pipeline)
            unlink(c->next.arguments.path);
        serving_free(&c->next);
        c->crew->serving = c->serving;
        plan_back(c);
    }
    if (stays || !c->operation.n)
        done(c);
}

/* ---- from deeds to processes ---- */

static int act(struct conduct *c, const struct deed *d, struct error *e)
{
    switch (d->act) {
    case ACT_START:
        return crew_start(c->crew, d->child, e);
    case ACT_HEIR:
        return crew_start_heir(c->crew, d->child, e);
    case ACT_ASK:
        crew_ask(c->crew, d->child);
        return FL_OK;
    case ACT_KILL:
        log_warn("%s does not end and is killed", c->crew->child[d->child].role.name);
        process_signal(&c->crew->child[d->child].process, SIGKILL);
        return FL_OK;
    case ACT_FORGET:
        crew_forget(c->crew, d->child);
        return FL_OK;
    default:
        return FL_OK;
    }
}

static void tell_step(struct conduct *c)
{
    const struct operation *o = &c->operation;

    if (c->failure.act == ACT_FAIL || o->at == c->told || o->at >= o->n)
        return;
    c->told = o->at;
    orders_say(c->orders, c->by,
               json_pack("{s:i, s:i, s:s}", "step", o->at + 1, "of", o->n, "who",
                         o->step[o->at].kind == STEP_TOGETHER ? "stages" : o->step[o->at].role));
}

void conduct_turn(struct conduct *c, const struct status_reply *said, uint64_t now)
{
    struct sight s[ROLES_MAX];
    struct deed d = {.act = ACT_WAIT};
    struct error e;

    while (conduct_busy(c)) {
        crew_look(c->crew, said, s);
        tell_step(c);
        d = operation_turn(&c->operation, s, c->crew->n, now);
        if (d.act == ACT_WAIT)
            return;
        if (d.act == ACT_DONE) {
            done(c);
        } else if (d.act == ACT_FAIL) {
            failed(c, &d);
        } else if (act(c, &d, &e)) {
            d = (struct deed){.act = ACT_FAIL, .child = -1};
            snprintf(d.text, sizeof d.text, "%.200s", e.text);
            failed(c, &d);
        }
    }
}

static void begin(struct conduct *c, const struct order *o, int from, const struct status_reply *said)
{
    struct order order = *o;
    struct error e = {FL_OK, ""};

    c->kind = o->kind;
    c->by = from;
    c->told = -1;
    log_info("%s: ordered", names[o->kind]);
    if (plan(c, &order, said, &e)) {
        log_info("%s: refused: %s", names[o->kind], e.text);
        refuse(c, from, &e);
        plan_back(c);
        finish(c);
        return;
    }
    if (c->next.pipeline)
        c->crew->serving = &c->next;
    if (!c->operation.n)
        done(c); /* nothing to do but to take the file */
    conduct_turn(c, said, clock_ns());
}

void conduct_order(struct conduct *c, const struct order *o, int from, const struct status_reply *said)
{
    struct error e;

    if (o->kind == ORDER_STATE) {
        say_state(c, from, said);
    } else if (o->kind == ORDER_CANCEL) {
        if (conduct_busy(c) && c->by == from)
            operation_call_off(&c->operation);
    } else if (conduct_busy(c)) {
        error_set(&e, FL_UNAVAILABLE, "another order (%s) is being carried out: wait for its end",
                  names[c->kind]);
        refuse(c, from, &e);
    } else {
        begin(c, o, from, said);
    }
}

void conduct_end(struct conduct *c)
{
    struct deed d = {.act = ACT_FAIL, .text = "the pipeline is being stopped"};

    if (!conduct_busy(c))
        return;
    c->failure = d;
    crew_end_heirs(c->crew, 0);
    done(c);
}
