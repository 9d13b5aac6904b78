/* mischief_soak.c - under steady load memory, open files and queues stay flat */
#include "mischief.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/tool/statistics.h"

#define EVERY_NS     (2 * NS_PER_S)
#define MOST_LOOKS   4096
#define GROWTH       0.05 /* of memory, from the second quarter to the last, .. */
#define GROWTH_BYTES (8 << 20)
#define MORE_FILES   4

static struct {
    uint64_t looked_ns;
    int looks;
    struct {
        pid_t pid; /* 0 once it was another process: no leak can be told then */
        double rss[MOST_LOOKS], files[MOST_LOOKS];
    } of[TOWN_MOST];
    double in_flight[MOST_LOOKS];
} soak;

int mischief_soak(struct siege *s, struct trial *t, struct error *e)
{
    struct town_member *member;
    int n = town_members(s->town, &member);
    struct process p;

    (void)e;
    memset(&soak, 0, sizeof soak);
    for (int i = 0; i < n; i++)
        if (mischief_is_of(member[i].name, "stage cache broker supervisor") &&
            town_find(s->town, member[i].name, &p))
            soak.of[i].pid = p.pid;
    snprintf(t->victim, sizeof t->victim, "%.0f s at %.0f/s", s->soak_s, s->rate);
    return FL_OK;
}

bool mischief_soak_look(struct siege *s)
{
    static struct status_reply status;
    uint64_t now = clock_ns();

    if (now - soak.looked_ns < EVERY_NS || soak.looks == MOST_LOOKS)
        return false;
    soak.looked_ns = now;
    town_status(s->town, &status);
    for (int i = 0; i < TOWN_MOST; i++) {
        int64_t rss = soak.of[i].pid ? town_rss(soak.of[i].pid) : 0;
        soak.of[i].pid = rss ? soak.of[i].pid : 0;
        soak.of[i].rss[soak.looks] = (double)rss;
        soak.of[i].files[soak.looks] = rss ? town_files(soak.of[i].pid) : 0;
    }
    soak.in_flight[soak.looks++] = (double)status.in_flight;
    return false;
}

/* Median of a quarter (0 .. 3) of the looks. */
static double quarter(double *of, int which)
{
    int n = soak.looks / 4;
    return statistics_summary(of + which * n, n).p50;
}

bool mischief_soak_holds(struct siege *s, struct trial *t)
{
    struct town_member *member;
    int n = town_members(s->town, &member);
    double most = 0, before, after;

    if (soak.looks < 8)
        return true;
    for (int i = 0; i < n; i++) {
        if (!soak.of[i].pid)
            continue;
        before = quarter(soak.of[i].rss, 1);
        after = quarter(soak.of[i].rss, 3);
        most = after - before > most ? after - before : most;
        if (after > before * (1 + GROWTH) + GROWTH_BYTES)
            snprintf(t->why, sizeof t->why, "%s grew from %.1f to %.1f MB", member[i].name, before / 1e6,
                     after / 1e6);
        before = quarter(soak.of[i].files, 1);
        after = quarter(soak.of[i].files, 3);
        if (after > before + MORE_FILES)
            snprintf(t->why, sizeof t->why, "%s: from %.0f to %.0f open files", member[i].name, before,
                     after);
    }
    before = quarter(soak.in_flight, 1);
    after = quarter(soak.in_flight, 3);
    if (after > before + 8)
        snprintf(t->why, sizeof t->why, "in flight: from %.0f to %.0f", before, after);
    snprintf(t->note, sizeof t->note, "memory grew by %.1f MB at most; in flight %.0f", most / 1e6, after);
    return !t->why[0];
}
