/* simulation_cpu.c - threads that share the cores of a host
 *
 * Processor sharing: with w cores asked for and c there, each thread goes on at the rate min(1, c/w) times
 * the cores' speed. All have the same rate, so one clock of virtual time per host tells who is done: a thread
 * that needs d more is done when the clock stands d further on. Only changes of w move the next event.
 */
#include "simulation_parts.h"

#include <math.h>

#define DONE_NS 0.5 /* rounding: events lie at whole nanoseconds */

/* Of the cores beside one, with `width` asked for. */
static double share_busy(const struct cores *c, double width)
{
    double busy = fmin(width, c->spec->cores);
    return c->spec->cores > 1 && busy > 1 ? (busy - 1) / (c->spec->cores - 1) : 0;
}

double cpu_crowd(const struct state *s, int host)
{
    const struct cores *c = &s->cores[host];
    return share_busy(c, c->width + c->others + 1);
}

/* Progress of a running thread per ns. With more cores busy each is slower: they share memory and power. */
static double rate(const struct cores *c)
{
    double cores = c->spec->cores, width = c->width + c->others, shared = share_busy(c, width);
    double speed = c->spec->speed * (1 + shared * (c->spec->all_busy - 1));
    return speed * fmin(1, cores / width);
}

static void advance(struct state *s, struct cores *c)
{
    double ns = (double)(s->now - c->since);
    c->since = s->now;
    if (c->width + c->others <= 0 || ns <= 0)
        return;
    c->virtual_ns += ns * rate(c);
    c->share_ns += ns * fmin(1, c->spec->cores / (c->width + c->others));
    c->busy += ns * fmin(c->width + c->others, c->spec->cores);
}

static bool earlier(const struct state *s, int a, int b)
{
    const struct thread *x = &s->thread[a], *y = &s->thread[b];
    return x->finish != y->finish ? x->finish < y->finish : a < b;
}

static void place(struct state *s, struct cores *c, int at, int thread)
{
    c->heap[at] = thread;
    s->thread[thread].slot = at;
}

static void sift_up(struct state *s, struct cores *c, int at, int thread)
{
    for (; at > 0 && earlier(s, thread, c->heap[(at - 1) / 2]); at = (at - 1) / 2)
        place(s, c, at, c->heap[(at - 1) / 2]);
    place(s, c, at, thread);
}

static void sift_down(struct state *s, struct cores *c, int at, int thread)
{
    int child;
    while ((child = 2 * at + 1) < c->n) {
        if (child + 1 < c->n && earlier(s, c->heap[child + 1], c->heap[child]))
            child++;
        if (!earlier(s, c->heap[child], thread))
            break;
        place(s, c, at, c->heap[child]);
        at = child;
    }
    place(s, c, at, thread);
}

static void leave(struct state *s, struct cores *c, int thread)
{
    struct thread *t = &s->thread[thread];
    int at = t->slot, last = c->heap[--c->n];
    t->used += c->share_ns - t->from;
    t->slot = NONE;
    c->width -= t->width;
    if (!c->n)
        c->width = 0; /* no rounding error stays */
    if (last == thread)
        return;
    if (at > 0 && earlier(s, last, c->heap[(at - 1) / 2]))
        sift_up(s, c, at, last);
    else
        sift_down(s, c, at, last);
}

/* An event that comes too early finds nobody done and asks again; so only an earlier one replaces it. */
static void arm(struct state *s, int host)
{
    struct cores *c = &s->cores[host];
    double left;
    uint64_t at;
    if (!c->n)
        return;
    left = (s->thread[c->heap[0]].finish - c->virtual_ns) / rate(c);
    at = s->now + (left > 0 ? (uint64_t)ceil(left) : 0);
    if (at >= c->event_at)
        return;
    c->event_at = at;
    state_schedule(s, at, EVENT_HOST, host, ++c->version);
}

static void make_ready(struct state *s, int thread)
{
    s->thread[thread].stopped = s->now;
    s->ready[(s->first_ready + s->n_ready++) % s->n_threads] = thread;
}

void cpu_start(struct state *s, int thread, double cpu_ns, double wake_ns, double width)
{
    struct thread *t = &s->thread[thread];
    struct cores *c = &s->cores[t->host];
    bool was_idle = wake_ns >= 0 && t->stopped != s->now;
    double wait = 0;

    t->busy = true;
    if (was_idle && c->width + c->others < c->spec->cores)
        wait = wake_ns; /* the core itself wakes: nobody else could use it */
    if (was_idle)
        cpu_ns += s->s->costs.switch_ns;
    if (cpu_ns + wait <= 0) {
        make_ready(s, thread);
        return;
    }
    advance(s, c);
    t->used -= wait / c->spec->speed;
    t->from = c->share_ns;
    t->width = width;
    t->finish = c->virtual_ns + cpu_ns + wait;
    c->width += width;
    sift_up(s, c, c->n++, thread);
    arm(s, t->host);
}

void cpu_others(struct state *s, int host, int more)
{
    struct cores *c = &s->cores[host];
    advance(s, c);
    c->others += more;
    arm(s, host);
}

void cpu_stop(struct state *s, int thread)
{
    struct thread *t = &s->thread[thread];
    struct cores *c = &s->cores[t->host];
    t->busy = false;
    if (t->slot == NONE)
        return;
    advance(s, c);
    leave(s, c, thread);
    arm(s, t->host);
}

void cpu_on_event(struct state *s, int host, uint32_t version)
{
    struct cores *c = &s->cores[host];
    if (version != c->version)
        return;
    c->event_at = UINT64_MAX;
    advance(s, c);
    while (c->n && s->thread[c->heap[0]].finish <= c->virtual_ns + DONE_NS) {
        int thread = c->heap[0];
        leave(s, c, thread);
        make_ready(s, thread);
    }
    arm(s, host);
}

void cpu_settle(struct state *s)
{
    for (int i = 0; i < s->s->n_hosts; i++) {
        struct cores *c = &s->cores[i];
        advance(s, c);
        for (int k = 0; k < c->n; k++) {
            struct thread *t = &s->thread[c->heap[k]];
            t->used += c->share_ns - t->from;
            t->from = c->share_ns;
        }
    }
}
