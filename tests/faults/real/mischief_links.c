/* mischief_links.c - links between hosts, and whole hosts */
#include "mischief.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define SLOW_LINK "rate 2mbit burst 16kb latency 200ms"
#define DELAY_NS  (50 * NS_PER_MS)

static const char host_name[] = "abc";

/* Two of the three hosts, in any order. */
static void draw_link(struct siege *s, struct trial *t)
{
    t->host[0] = (int)siege_draw(s, 3);
    t->host[1] = (t->host[0] + 1 + (int)siege_draw(s, 2)) % 3;
}

int mischief_cut(struct siege *s, struct trial *t, struct error *e)
{
    const struct crossing_way closed = {.cut = true};

    (void)e;
    draw_link(s, t);
    crossing_set(town_crossing(s->town), t->host[0], t->host[1], closed);
    if (t->fault->number != 1) /* both ways */
        crossing_set(town_crossing(s->town), t->host[1], t->host[0], closed);
    snprintf(t->victim, sizeof t->victim, "%c %s %c", host_name[t->host[0]],
             t->fault->number == 1 ? "->" : "--", host_name[t->host[1]]);
    return FL_OK;
}

int mischief_cut_brokers(struct siege *s, struct trial *t, struct error *e)
{
    const struct crossing_way closed = {.cut = true};

    (void)e;
    crossing_set(town_crossing(s->town), 1, 2, closed);
    crossing_set(town_crossing(s->town), 2, 1, closed);
    snprintf(t->victim, sizeof t->victim, "b -- c");
    return FL_OK;
}

int mischief_delay(struct siege *s, struct trial *t, struct error *e)
{
    const struct crossing_way late = {.delay_ns = DELAY_NS};

    (void)e;
    draw_link(s, t);
    crossing_set(town_crossing(s->town), t->host[0], t->host[1], late);
    crossing_set(town_crossing(s->town), t->host[1], t->host[0], late);
    snprintf(t->victim, sizeof t->victim, "%c -- %c, %llu ms each way", host_name[t->host[0]],
             host_name[t->host[1]], DELAY_NS / NS_PER_MS);
    return FL_OK;
}

void mischief_mend(struct siege *s, struct trial *t)
{
    (void)t;
    crossing_mend(town_crossing(s->town));
}

/* Left to itself tcp would try a link that was cut for half a minute again half a minute after it was mended.
 */
#define WELL_AFTER_NS (12 * NS_PER_S)

bool mischief_well_soon(struct siege *s, struct trial *t)
{
    double after = (double)(t->whole_ns - t->ended_ns) / (double)NS_PER_S;

    (void)s;
    if (t->whole_ns - t->ended_ns < WELL_AFTER_NS)
        return true;
    snprintf(t->why, sizeof t->why, "well only %.1f s after the link was mended", after);
    return false;
}

/* What leaves a host, through a token bucket. */
static int shape(struct siege *s, int host, const char *how, struct error *e)
{
    struct crossing *c = town_crossing(s->town);
    char line[256];
    int rc = crossing_enter(c, host, e);

    snprintf(line, sizeof line, "tc qdisc %s", how);
    if (!rc && system(line))
        rc = error_set(e, FL_UNSUPPORTED, "`%s` does not work here", line);
    crossing_enter(c, 0, NULL);
    return rc;
}

int mischief_slow(struct siege *s, struct trial *t, struct error *e)
{
    t->host[0] = 1 + (int)siege_draw(s, 2);
    snprintf(t->victim, sizeof t->victim, "from %c, %s", host_name[t->host[0]], SLOW_LINK);
    return shape(s, t->host[0], "replace dev eth0 root tbf " SLOW_LINK, e);
}

void mischief_quick_again(struct siege *s, struct trial *t)
{
    shape(s, t->host[0], "delete dev eth0 root", NULL);
}

static void kill_members(struct siege *s, int host, const char *beginnings)
{
    struct town_member *member;
    int n = town_members(s->town, &member);
    struct process p;

    for (int i = 0; i < n; i++)
        if (member[i].host == host && mischief_is_of(member[i].name, beginnings) &&
            town_find(s->town, member[i].name, &p))
            process_signal(&p, SIGKILL);
}

int mischief_kill_host(struct siege *s, struct trial *t, struct error *e)
{
    (void)e;
    t->host[0] = 1 + (int)siege_draw(s, 2);
    snprintf(t->victim, sizeof t->victim, "%c, and all that was there", host_name[t->host[0]]);
    town_host_down(s->town, t->host[0], true);
    for (int i = 0; i < 3; i++) { /* without power it says goodbye to nobody */
        crossing_set(town_crossing(s->town), i, t->host[0], (struct crossing_way){.cut = true});
        crossing_set(town_crossing(s->town), t->host[0], i, (struct crossing_way){.cut = true});
    }
    kill_members(s, t->host[0], "stage cache broker");
    return FL_OK;
}

void mischief_boot_host(struct siege *s, struct trial *t)
{
    crossing_mend(town_crossing(s->town));
    town_host_down(s->town, t->host[0], false);
}

/* Its workers die while nothing comes through: their peers keep connections that have no other end. */
int mischief_half_open(struct siege *s, struct trial *t, struct error *e)
{
    mischief_kill_host(s, t, e);
    town_host_down(s->town, t->host[0], false);
    snprintf(t->victim, sizeof t->victim, "to %c", host_name[t->host[0]]);
    return FL_OK;
}
