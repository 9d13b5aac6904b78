/* operation.c - steps and their phases */
#include "operation.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define LOAD_NS (600 * NS_PER_S) /* for large models; who gave the order has a limit of its own */
#define END_NS  (10 * NS_PER_S)  /* a stage worker leaves for 4 s at most */

int operation_add(struct operation *o, enum step_kind kind, const char *role)
{
    struct step *s = &o->step[o->n];
    if (o->n == OPERATION_STEPS)
        return FL_TOO_LARGE;
    s->kind = kind;
    snprintf(s->role, sizeof s->role, "%s", role);
    o->n++;
    return FL_OK;
}

void operation_call_off(struct operation *o)
{
    o->called_off = true;
}

static void enter(struct operation *o, enum phase phase)
{
    o->phase = phase;
    o->since_ns = 0;
    o->asked = false;
}

static struct deed deed(enum act act, int child)
{
    return (struct deed){.act = act, .child = child};
}

static struct deed next_step(struct operation *o)
{
    o->at++;
    memset(o->heirs, 0, sizeof o->heirs);
    enter(o, PHASE_BEGIN);
    return deed(ACT_WAIT, -1);
}

static struct deed fail(const char *who, const char *text)
{
    struct deed d = {.act = ACT_FAIL, .child = -1};
    snprintf(d.who, sizeof d.who, "%s", who);
    snprintf(d.text, sizeof d.text, "%s", text);
    return d;
}

static struct deed lost(const struct sight *s)
{
    struct deed d = fail(s->role->name, "");
    snprintf(d.text, sizeof d.text, "its successor %.160s before it could take over", s->heir_lost);
    return d;
}

/* Asked once; killed when it does not end. Then it is waited for: it has ended once it is reaped. */
static struct deed make_end(struct operation *o, int child, uint64_t now)
{
    if (o->asked && now - o->since_ns <= END_NS)
        return deed(ACT_WAIT, child);
    if (o->asked) {
        o->since_ns = now;
        return deed(ACT_KILL, child);
    }
    o->asked = true;
    o->since_ns = now;
    return deed(ACT_ASK, child);
}

static struct deed wait_ready(struct operation *o, const struct sight *s, uint64_t now)
{
    if (s->ready)
        return next_step(o);
    if (!s->running)
        return fail(s->role->name, "it ended before it was ready");
    return now - o->since_ns > LOAD_NS ? fail(s->role->name, "it does not become ready") : deed(ACT_WAIT, 0);
}

static struct deed restart_stage(struct operation *o, const struct sight *s, int child, uint64_t now)
{
    switch (o->phase) {
    case PHASE_BEGIN:
        enter(o, s->running ? PHASE_HEIR : PHASE_READY);
        return deed(s->running ? ACT_HEIR : ACT_START, child);
    case PHASE_HEIR:
        if (s->heir_lost)
            return lost(s);
        if (o->called_off)
            return fail("", "called off");
        if (now - o->since_ns > LOAD_NS)
            return fail(s->role->name, "its successor does not come");
        if (s->heir && !s->heir_waits)
            return deed(ACT_WAIT, child);
        enter(o, s->heir ? PHASE_END : PHASE_READY); /* no heir: it has taken over, the one before died */
        return deed(ACT_WAIT, child);
    case PHASE_END:
        if (s->heir_lost)
            return lost(s);
        if (s->heir)
            return make_end(o, child, now);
        enter(o, PHASE_READY);
        return deed(ACT_WAIT, child);
    default:
        return wait_ready(o, s, now);
    }
}

static struct deed restart_other(struct operation *o, const struct sight *s, int child, uint64_t now)
{
    if (o->phase == PHASE_BEGIN)
        enter(o, PHASE_END);
    if (o->phase == PHASE_READY)
        return wait_ready(o, s, now);
    if (s->running)
        return make_end(o, child, now);
    enter(o, PHASE_READY);
    return deed(ACT_START, child);
}

static struct deed end(struct operation *o, const struct sight *s, int child, uint64_t now)
{
    if (s->running)
        return make_end(o, child, now);
    if (o->phase == PHASE_END)
        return next_step(o);
    enter(o, PHASE_END);
    return deed(ACT_FORGET, child);
}

static struct deed start(struct operation *o, const struct sight *s, int child, uint64_t now)
{
    if (o->phase == PHASE_READY)
        return wait_ready(o, s, now);
    enter(o, PHASE_READY);
    return deed(s->running ? ACT_WAIT : ACT_START, child);
}

/* Has some heir taken over? Then the pipeline has moved on, or is about to. */
static bool has_moved(const struct operation *o, const struct sight *s, int n)
{
    for (int i = 0; i < n; i++)
        if ((o->heirs[i] & 1) && !s[i].heir && !s[i].heir_lost)
            return true;
    return false;
}

/* Heirs for all stage workers that run; the broker moves on by itself when all have come. One that had the
 * new plan already, and waited, has joined with the heirs of the others: it makes way for its own. */
static struct deed together(struct operation *o, const struct sight *s, int n, uint64_t now)
{
    bool heirs = false, ready = true, moved = has_moved(o, s, n);

    for (int i = 0; i < n; i++) {
        if (s[i].role->kind != ROLE_KIND_STAGE || (s[i].held && !s[i].running && !o->heirs[i]))
            continue; /* the second starts by a step of its own */
        if (s[i].heir_lost)
            return lost(&s[i]);
        if (s[i].running && !o->heirs[i]) {
            o->heirs[i] = 1;
            return deed(ACT_HEIR, i);
        }
        if (moved && s[i].ready && s[i].heir_waits && !(o->heirs[i] & 2)) {
            o->heirs[i] |= 2;
            return deed(ACT_ASK, i);
        }
        heirs = heirs || s[i].heir;
        ready = ready && s[i].ready;
    }
    if (!heirs && ready)
        return next_step(o);
    if (o->called_off && !moved)
        return fail("", "called off");
    if (now - o->since_ns > LOAD_NS)
        return fail("", "the successors did not all come, or what serves did not end");
    return deed(ACT_WAIT, 0);
}

static int find(const struct sight *s, int n, const char *role)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(s[i].role->name, role))
            return i;
    return -1;
}

static struct deed turn(struct operation *o, const struct sight *s, int n, uint64_t now)
{
    const struct step *step = &o->step[o->at];
    int child = find(s, n, step->role);

    if (step->kind == STEP_TOGETHER)
        return together(o, s, n, now);
    if (child < 0 && step->kind == STEP_END)
        return next_step(o);
    if (child < 0)
        return fail("", "a process is not there any more");
    if (step->kind == STEP_END)
        return end(o, &s[child], child, now);
    if (step->kind == STEP_START)
        return start(o, &s[child], child, now);
    return s[child].role->kind == ROLE_KIND_STAGE ? restart_stage(o, &s[child], child, now)
                                                  : restart_other(o, &s[child], child, now);
}

struct deed operation_turn(struct operation *o, const struct sight *s, int n, uint64_t now)
{
    struct deed d = deed(ACT_WAIT, -1);
    enum phase phase;
    int at;

    do {
        at = o->at;
        phase = o->phase;
        if (o->at >= o->n)
            return deed(ACT_DONE, -1);
        if (o->called_off && o->phase == PHASE_BEGIN && o->step[o->at].kind != STEP_TOGETHER)
            return fail("", "called off");
        if (!o->since_ns)
            o->since_ns = now;
        d = turn(o, s, n, now);
    } while (d.act == ACT_WAIT && (o->at != at || o->phase != phase));
    return d;
}
