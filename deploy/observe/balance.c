/* balance.c - who waits for whom, by heartbeats */
#include "balance.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ALWAYS    0.9  /* busy: the rest goes into reading and sending */
#define A_QUEUE   1.0  /* requests that wait on average */
#define A_CORE    0.5  /* that idles */
#define MUCH_LESS 0.75 /* a stage that is busy this much of another's time could take work from it */

struct stage_sum {
    int workers;
    double busy, waiting, idle; /* idle: the most of any */
};

static int sum_up(const struct status_reply *r, struct stage_sum *stage)
{
    int n = 0;
    for (int i = 0; i < r->n_processes; i++) {
        const struct process_status *p = &r->process[i];
        struct stage_sum *s;
        if (p->role != ROLE_STAGE || p->stage >= PIPELINE_MAX_STAGES || strcmp(p->state, "ready"))
            continue;
        s = &stage[p->stage];
        s->workers++;
        s->busy += p->last.busy / 1e3;
        s->waiting += p->last.waiting / 1e3;
        s->idle = fmax(s->idle, p->last.idle / 1e3);
        n = (int)p->stage >= n ? (int)p->stage + 1 : n;
    }
    return n;
}

void balance_look(struct balance *out, const struct status_reply *r)
{
    struct stage_sum stage[PIPELINE_MAX_STAGES] = {{0}};
    int n = sum_up(r, stage);

    *out = (struct balance){.stage = -1, .least = -1};
    for (int s = 0; s < n; s++) {
        double busy = stage[s].workers ? stage[s].busy / stage[s].workers : 0;
        if (busy >= ALWAYS && stage[s].idle >= A_CORE && stage[s].waiting >= A_QUEUE &&
            stage[s].waiting > out->waiting)
            *out = (struct balance){s, busy, stage[s].waiting, stage[s].idle, -1, MUCH_LESS * busy};
    }
    for (int s = 0; s < n && out->stage >= 0; s++) {
        double busy = stage[s].workers ? stage[s].busy / stage[s].workers : 1;
        if (busy < out->least_busy) {
            out->least = s;
            out->least_busy = busy;
        }
    }
}

char *balance_text(const struct balance *b, const char *config, char *buf, size_t size)
{
    int n;

    *buf = '\0';
    if (b->stage < 0)
        return buf;
    n = snprintf(
        buf, size,
        "the others wait for stage %d: it computes %.0f%% of the time and %.1f requests wait for it, "
        "while %.1f cores idle",
        b->stage, 100 * b->busy, b->waiting, b->idle);
    if (b->least >= 0)
        snprintf(
            buf + n, size - (size_t)n,
            " and stage %d computes %.0f%%: `freezeline plan -c %.200s --apply` cuts by what is measured",
            b->least, 100 * b->least_busy, config);
    else
        snprintf(buf + n, size - (size_t)n,
                 ": give it more replicas (`freezeline plan -c %.200s --cores N`), then `freezeline down` "
                 "and `up`",
                 config);
    return buf;
}
