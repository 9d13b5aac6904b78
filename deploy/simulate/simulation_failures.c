/* simulation_failures.c - processes and hosts die at random times and come back
 *
 * Every stage worker, cache service and the broker fails on its own; a host takes its processes along. The
 * client never fails. A dead worker's jobs are lost until the broker finds out: at once from who sends to it,
 * as long as its host lives; otherwise when its heartbeats are missed, or when it says hello again.
 */
#include "simulation_parts.h"

static bool host_has_client(const struct state *s, int host)
{
    return s->process[CLIENT_PROCESS].host == host;
}

static void expect_failure(struct state *s, int what, double mtbf)
{
    if (mtbf > 0)
        state_schedule(s, s->now + (uint64_t)random_exponential(&s->failures, mtbf), EVENT_FAIL, what, 0);
}

void failures_start(struct state *s)
{
    for (int i = BROKER_PROCESS; i < s->n_processes; i++)
        expect_failure(s, i, s->s->costs.mtbf_ns);
    for (int i = 0; i < s->s->n_hosts; i++)
        if (!host_has_client(s, i))
            expect_failure(s, s->n_processes + i, s->s->host[i].mtbf_ns);
}

static void kill_process(struct state *s, int i)
{
    struct process *p = &s->process[i];
    if (p->dead)
        return;
    p->dead = true;
    p->life++;
    wire_drop_inbox(s, main_thread(i));
    wire_drop_inbox(s, io_thread(i));
    if (p->role == SIMULATION_BROKER) {
        broker_died(s);
    } else if (p->role == SIMULATION_STAGE) {
        worker_reset(s, i - worker_process(s, 0));
        state_schedule(s, s->now + (uint64_t)s->s->costs.detect_ns, EVENT_DETECT, i - worker_process(s, 0),
                       p->life);
    }
}

static void revive_process(struct state *s, int i)
{
    struct process *p = &s->process[i];
    if (!p->dead || s->cores[p->host].down)
        return;
    if (p->role == SIMULATION_STAGE) {
        int worker = i - worker_process(s, 0);
        broker_lost_worker(s, worker); /* its hello says that the one before is gone */
        s->worker[worker].known_dead = false;
    }
    p->dead = false;
    p->life++;
    broker_send_waiting(s);
}

void failures_fail(struct state *s, int what)
{
    int host = what - s->n_processes;
    if (host < 0) {
        kill_process(s, what);
        state_schedule(s, s->now + (uint64_t)s->s->costs.restart_ns, EVENT_REPAIR, what, 0);
        return;
    }
    s->cores[host].down = true;
    for (int i = 0; i < s->n_processes; i++)
        if (s->process[i].host == host)
            kill_process(s, i);
    state_schedule(s, s->now + (uint64_t)s->s->host[host].repair_ns, EVENT_REPAIR, what, 0);
}

void failures_repair(struct state *s, int what)
{
    int host = what - s->n_processes;
    if (host < 0) {
        revive_process(s, what);
        expect_failure(s, what, s->s->costs.mtbf_ns);
        return;
    }
    s->cores[host].down = false;
    for (int i = 0; i < s->n_processes; i++)
        if (s->process[i].host == host)
            revive_process(s, i);
    expect_failure(s, what, s->s->host[host].mtbf_ns);
}

void failures_detect(struct state *s, int worker, uint32_t life)
{
    const struct process *p = &s->process[worker_process(s, worker)];
    if (p->dead && p->life == life && !s->process[BROKER_PROCESS].dead)
        broker_lost_worker(s, worker);
}
