/* host_report.c - what processes told of themselves, gathered by host */
#include "host_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/launch/fleet.h"
#include "deploy/process/roles.h"
#include "deploy/tool/report.h"
#include "deploy/tool/table.h"

#define ASK_MS 5000

struct asking {
    struct fleet fleet;
    struct host_report *report;
};

/* What one supervisor says: the last line of `supervise --watch 0`. */
static int ask_one(struct transport *t, int host, void *arg, struct error *e)
{
    static const char *const words[] = {"supervise", "--watch", "0", NULL};
    struct asking *a = arg;
    struct host_result got = {0};
    int at = pipeline_host(a->report->p, a->fleet.host[host].name);
    char *end, *line;

    (void)t;
    if (at < 0)
        return FL_OK;
    if (fleet_run(&a->fleet, host, words, ASK_MS, &got, e)) {
        snprintf(a->report->supervisor[at], sizeof a->report->supervisor[at], "%.150s", e->text);
        return FL_OK;
    }
    for (end = got.out + got.size; end > got.out && end[-1] == '\n';)
        *--end = '\0';
    line = strrchr(got.out, '\n');
    snprintf(a->report->supervisor[at], sizeof a->report->supervisor[at], "%s%.140s",
             got.status ? "gone: " : "", line ? line + 1 : got.out);
    free(got.out);
    return FL_OK;
}

void host_report_ask(struct host_report *r, const struct pipeline *p, const struct status_reply *said)
{
    struct asking a = {.report = r};
    struct error e = {FL_OK, ""};

    memset(r, 0, sizeof *r);
    r->p = p;
    r->said = said;
    if (fleet_load(&a.fleet, p, NULL))
        return;
    if (fleet_open_some(&a.fleet, &e))
        for (int i = 0; i < p->n_hosts; i++)
            snprintf(r->supervisor[i], sizeof r->supervisor[i], "not asked: %.140s", e.text);
    else
        transport_each(a.fleet.transport, ask_one, &a, &e);
    fleet_close(&a.fleet);
}

struct host_sum {
    int processes, ready;
    uint64_t clock_error_ns, age_ns, bytes; /* the largest; the largest; all */
    bool clock_known;
};

static void add(struct host_sum *s, const char *state, const struct process_status *t)
{
    s->processes++;
    s->ready += state && !strcmp(state, "ready");
    if (!t)
        return;
    s->bytes += t->last.resident_bytes;
    s->age_ns = t->age_ns > s->age_ns ? t->age_ns : s->age_ns;
    if (t->role == ROLE_BROKER || t->last.clock_error_ns == UINT64_MAX)
        return;
    s->clock_known = true;
    if (t->last.clock_error_ns > s->clock_error_ns)
        s->clock_error_ns = t->last.clock_error_ns;
}

static void sum_hosts(const struct host_report *r, struct host_sum sum[PIPELINE_MAX_HOSTS])
{
    struct role role[ROLES_MAX];
    int n;

    memset(sum, 0, PIPELINE_MAX_HOSTS * sizeof *sum);
    if (roles_list(r->p, role, &n, NULL))
        return;
    for (int i = 0; i < n; i++) {
        int at = role[i].host ? pipeline_host(r->p, role[i].host) : r->p->here;
        if (at >= 0)
            add(&sum[at], roles_state(r->said, r->p, &role[i]), roles_told(r->said, role[i].name));
    }
}

/* Calls `each` for every pair of workers of which one sends to the other; `up`: 1 connected, 0 not, -1 not
 * known.
 */
static void each_link(const struct host_report *r,
                      void (*each)(void *arg, const struct host_report *r, int stage, int from, int to,
                                   int up),
                      void *arg)
{
    const struct pipeline *p = r->p;
    char name[32];

    for (int s = 0; s + 1 < p->n_stages; s++)
        for (int i = 0; i < p->stage[s].n_replicas; i++) {
            const struct process_status *t;
            snprintf(name, sizeof name, "stage%d.%d", s, i);
            t = roles_told(r->said, name);
            for (int k = 0; k < p->stage[s + 1].n_replicas; k++)
                each(arg, r, s, i, k,
                     !t || !(t->last.reaches & REACHES_TOLD) ? -1 : (int)(t->last.reaches >> k & 1));
        }
}

static const char *way(const struct host_report *r, int stage, int from, int to)
{
    const struct pipeline *p = r->p;
    return strcmp(p->stage[stage].replica[from].host, p->stage[stage + 1].replica[to].host) ? "tcp" : "ipc";
}

struct links {
    int up, ipc, n;
    char down[400];
};

static void count_link(void *arg, const struct host_report *r, int stage, int from, int to, int up)
{
    struct links *l = arg;
    size_t used = strlen(l->down);

    l->n++;
    l->up += up == 1;
    l->ipc += up == 1 && !strcmp(way(r, stage, from, to), "ipc");
    if (up == 0)
        snprintf(l->down + used, sizeof l->down - used, "%sstage%d.%d (%s) -> stage%d.%d (%s)",
                 used ? ", " : "", stage, from, r->p->stage[stage].replica[from].host, stage + 1, to,
                 r->p->stage[stage + 1].replica[to].host);
}

void host_report_print(const struct host_report *r)
{
    struct host_sum sum[PIPELINE_MAX_HOSTS];
    struct links links = {0};
    struct table *t;
    char text[32];

    if (!r->p->n_hosts)
        return;
    sum_hosts(r, sum);
    each_link(r, count_link, &links);
    puts("");
    t = table_new("host|address|ready|heard|clock|memory|supervisor", "llrrrrl");
    for (int i = 0; i < r->p->n_hosts; i++) {
        table_cells(t, "%s|%s|%d/%d", r->p->host[i].name, r->p->host[i].address, sum[i].ready,
                    sum[i].processes);
        if (sum[i].bytes)
            table_cells(t, "%.0f ms ago", (double)sum[i].age_ns / NS_PER_MS);
        else
            table_cells(t, "-");
        if (sum[i].clock_known)
            table_cells(t, "+- %.0f us", (double)sum[i].clock_error_ns / NS_PER_US);
        else
            table_cells(t, "-");
        table_cells(t, "%s|%s", sum[i].bytes ? table_bytes((double)sum[i].bytes, text, sizeof text) : "-",
                    r->supervisor[i][0] ? r->supervisor[i] : "not asked");
    }
    table_end(t, NULL);
    printf("\nlinks between stages: %d of %d up, %d of them within a host%s%s\n", links.up, links.n,
           links.ipc, links.down[0] ? "; down: " : "", links.down);
}

static void link_json(void *arg, const struct host_report *r, int stage, int from, int to, int up)
{
    char a[32], b[32];

    snprintf(a, sizeof a, "stage%d.%d", stage, from);
    snprintf(b, sizeof b, "stage%d.%d", stage + 1, to);
    json_array_append_new(arg,
                          json_pack("{s:s, s:s, s:s, s:o}", "from", a, "to", b, "way",
                                    way(r, stage, from, to), "up", up < 0 ? json_null() : json_boolean(up)));
}

void host_report_json(const struct host_report *r, json_t *root)
{
    struct host_sum sum[PIPELINE_MAX_HOSTS];
    json_t *hosts = json_array(), *links = json_array();

    sum_hosts(r, sum);
    for (int i = 0; i < r->p->n_hosts; i++)
        json_array_append_new(
            hosts, json_pack("{s:s, s:s, s:i, s:i, s:o, s:o, s:s}", "name", r->p->host[i].name, "address",
                             r->p->host[i].address, "processes", sum[i].processes, "ready", sum[i].ready,
                             "age_ms", report_rounded((double)sum[i].age_ns / NS_PER_MS, 3), "clock_error_us",
                             sum[i].clock_known ? report_rounded((double)sum[i].clock_error_ns / NS_PER_US, 3)
                                                : json_null(),
                             "supervisor", r->supervisor[i]));
    if (r->p->n_hosts)
        each_link(r, link_json, links);
    json_object_set_new(root, "hosts", hosts);
    json_object_set_new(root, "links", links);
}
