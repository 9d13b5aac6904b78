/* world_cpu.c - threads that share the cores of a host
 *
 * Processor sharing: with w cores asked for and c there, each thread goes on at the rate min(1, c/w) times
 * the cores' speed. All have the same rate, so one clock of virtual time per host tells who is done: a thread
 * that needs d more is done when the clock stands d further on. Only changes of w move the next event. A host
 * with a core for every thread needs no such clock.
 *
 * A scheduler hands out turns (costs.turn_ns): who wakes where all cores are busy takes the place of the
 * thread that has run longest, which waits until a core is free, or else for one turn. So short work is done
 * soon and long work bears the wait, as with Linux's. Without turns all share.
 */
#include "world_parts.h"

#include <math.h>

#define DONE_NS 0.5 /* rounding: events lie at whole nanoseconds */

/* Of the cores beside one, with `width` asked for. */
static double share_busy(const struct cores *c, double width)
{
    double busy = fmin(width, c->spec->cores);
    return c->spec->cores > 1 && busy > 1 ? (busy - 1) / (c->spec->cores - 1) : 0;
}

double world_crowd(const struct world *w, int host)
{
    const struct cores *c = &w->cores[host];
    return share_busy(c, c->width + c->others + 1);
}

/* Progress of a running thread per ns. With more cores busy each is slower: they share memory and power. */
static double rate(const struct cores *c)
{
    double cores = c->spec->cores, width = c->width + c->others, shared = share_busy(c, width);
    double speed = c->spec->speed * (1 + shared * (c->spec->all_busy - 1));
    return speed * fmin(1, cores / width);
}

static void advance(struct world *w, struct cores *c)
{
    double ns = (double)(w->now - c->since);
    c->since = w->now;
    if (!c->spec->cores || c->width + c->others <= 0 || ns <= 0)
        return;
    c->virtual_ns += ns * rate(c);
    c->share_ns += ns * fmin(1, c->spec->cores / (c->width + c->others));
    c->busy += ns * fmin(c->width + c->others, c->spec->cores);
}

static bool earlier(const struct world *w, int a, int b)
{
    const struct thread *x = &w->thread[a], *y = &w->thread[b];
    return x->finish != y->finish ? x->finish < y->finish : a < b;
}

static void place(struct world *w, struct cores *c, int at, int thread)
{
    c->heap[at] = thread;
    w->thread[thread].slot = at;
}

static void sift_up(struct world *w, struct cores *c, int at, int thread)
{
    for (; at > 0 && earlier(w, thread, c->heap[(at - 1) / 2]); at = (at - 1) / 2)
        place(w, c, at, c->heap[(at - 1) / 2]);
    place(w, c, at, thread);
}

static void sift_down(struct world *w, struct cores *c, int at, int thread)
{
    int child;
    while ((child = 2 * at + 1) < c->n) {
        if (child + 1 < c->n && earlier(w, c->heap[child + 1], c->heap[child]))
            child++;
        if (!earlier(w, c->heap[child], thread))
            break;
        place(w, c, at, c->heap[child]);
        at = child;
    }
    place(w, c, at, thread);
}

static void leave(struct world *w, struct cores *c, int thread)
{
    struct thread *t = &w->thread[thread];
    int at = t->slot, last = c->heap[--c->n];
    t->used += c->share_ns - t->from;
    t->slot = NONE;
    c->width -= t->width;
    if (!c->n)
        c->width = 0; /* no rounding error stays */
    if (last == thread)
        return;
    if (at > 0 && earlier(w, last, c->heap[(at - 1) / 2]))
        sift_up(w, c, at, last);
    else
        sift_down(w, c, at, last);
}

/* It runs from now on. */
static void run(struct world *w, struct cores *c, int thread, double ns, double width)
{
    struct thread *t = &w->thread[thread];
    t->from = c->share_ns;
    t->width = width;
    t->finish = c->virtual_ns + ns;
    c->width += width;
    sift_up(w, c, c->n++, thread);
}

/* ---- turns ---- */

static void wait_for_turn(struct world *w, struct cores *c, int thread)
{
    struct thread *t = &w->thread[thread];
    struct list *l = &c->waiting;
    t->wants_ns = fmax(0, t->finish - c->virtual_ns);
    t->waits = true;
    t->next = NONE;
    *(l->n++ ? &w->thread[l->last].next : &l->first) = thread;
    l->last = thread;
    world_schedule(w, w->now + (uint64_t)ceil(w->spec.costs.turn_ns), EVENT_TURN, thread, ++t->version);
}

static void wait_no_more(struct world *w, struct cores *c, int thread)
{
    struct list *l = &c->waiting;
    int before = NONE, i = l->first;
    for (; i != thread; i = w->thread[i].next)
        before = i;
    *(before == NONE ? &l->first : &w->thread[before].next) = w->thread[thread].next;
    l->last = l->last == thread ? before : l->last;
    l->n--;
    w->thread[thread].waits = false;
    w->thread[thread].version++;
}

/* Of those that are not done in this very moment; NONE. */
static int longest_running(const struct world *w, const struct cores *c)
{
    int longest = NONE;
    for (int i = 0; i < c->n; i++) {
        const struct thread *t = &w->thread[c->heap[i]];
        if (t->finish > c->virtual_ns + DONE_NS && (longest == NONE || t->from < w->thread[longest].from))
            longest = c->heap[i];
    }
    return longest;
}

/* Threads that have run longest wait until there are so many free cores, if there can be. */
static void make_room(struct world *w, struct cores *c, double width)
{
    int longest;
    while (w->spec.costs.turn_ns > 0 && c->width + c->others + width > c->spec->cores &&
           (longest = longest_running(w, c)) != NONE) {
        leave(w, c, longest);
        wait_for_turn(w, c, longest);
    }
}

static void run_again(struct world *w, struct cores *c, int thread)
{
    const struct thread *t = &w->thread[thread];
    wait_no_more(w, c, thread);
    run(w, c, thread, t->wants_ns, t->width);
}

/* Those who wait run on cores that got free. */
static void let_run(struct world *w, struct cores *c)
{
    while (c->waiting.n && c->width + c->others < c->spec->cores)
        run_again(w, c, c->waiting.first);
}

/* An event that comes too early finds nobody done and asks again; so only an earlier one replaces it. */
static void arm(struct world *w, int host)
{
    struct cores *c = &w->cores[host];
    double left;
    uint64_t at;
    if (!c->n)
        return;
    left = (w->thread[c->heap[0]].finish - c->virtual_ns) / rate(c);
    at = w->now + (left > 0 ? (uint64_t)ceil(left) : 0);
    if (at >= c->event_at)
        return;
    c->event_at = at;
    world_schedule(w, at, EVENT_HOST, host, ++c->version);
}

static void make_ready(struct world *w, int thread)
{
    struct thread *t = &w->thread[thread];
    t->stopped = w->now;
    t->done = true;
    if (t->queued)
        return;
    t->queued = true;
    w->ready[(w->first_ready + w->n_ready++) % (2 * w->n_processes)] = thread;
}

/* On a host where nobody shares. */
static void start_alone(struct world *w, int thread, double ns)
{
    struct thread *t = &w->thread[thread];
    struct cores *c = &w->cores[t->host];
    double wall = ns / c->spec->speed;
    t->used += ns;
    c->busy += ns;
    world_schedule(w, w->now + (uint64_t)ceil(wall), EVENT_THREAD, thread, ++t->version);
}

/* wake_ns: of a thread that was idle, if a core is; AWAKE: it was not. */
void cpu_start(struct world *w, int thread, double cpu_ns, double wake_ns, double width)
{
    struct thread *t = &w->thread[thread];
    struct cores *c = &w->cores[t->host];
    bool was_idle = wake_ns >= 0 && t->stopped != w->now;
    double wait = 0;

    t->busy = true;
    if (was_idle && (!c->spec->cores || c->width + c->others < c->spec->cores))
        wait = wake_ns; /* the core itself wakes: nobody else could use it */
    if (was_idle)
        cpu_ns += w->spec.costs.switch_ns;
    if (cpu_ns + wait <= 0) {
        make_ready(w, thread);
        return;
    }
    if (!c->spec->cores) {
        start_alone(w, thread, cpu_ns + wait);
        return;
    }
    advance(w, c);
    make_room(w, c, width);
    t->used -= wait / c->spec->speed;
    run(w, c, thread, cpu_ns + wait, width);
    arm(w, t->host);
}

void world_busy(struct world *w, int host, int more)
{
    struct cores *c = &w->cores[host];
    advance(w, c);
    c->others += more;
    make_room(w, c, 0);
    let_run(w, c);
    arm(w, host);
}

void cpu_stop(struct world *w, int thread)
{
    struct thread *t = &w->thread[thread];
    struct cores *c = &w->cores[t->host];
    t->busy = false;
    t->done = false;
    t->version++;
    if (t->waits)
        wait_no_more(w, c, thread);
    if (t->slot == NONE)
        return;
    advance(w, c);
    leave(w, c, thread);
    let_run(w, c);
    arm(w, t->host);
}

void cpu_on_thread(struct world *w, int thread, uint32_t version)
{
    if (w->thread[thread].version == version)
        make_ready(w, thread);
}

void cpu_on_turn(struct world *w, int thread, uint32_t version)
{
    struct thread *t = &w->thread[thread];
    struct cores *c = &w->cores[t->host];
    if (t->version != version)
        return;
    advance(w, c);
    make_room(w, c, t->width);
    run_again(w, c, thread);
    arm(w, t->host);
}

void cpu_on_host(struct world *w, int host, uint32_t version)
{
    struct cores *c = &w->cores[host];
    if (version != c->version)
        return;
    c->event_at = NEVER;
    advance(w, c);
    while (c->n && w->thread[c->heap[0]].finish <= c->virtual_ns + DONE_NS) {
        int thread = c->heap[0];
        leave(w, c, thread);
        make_ready(w, thread);
    }
    let_run(w, c);
    arm(w, host);
}

/* Brings all books up to now. */
static void settle(struct world *w)
{
    for (int i = 0; i < w->spec.n_hosts; i++) {
        struct cores *c = &w->cores[i];
        advance(w, c);
        for (int k = 0; k < c->n; k++) {
            struct thread *t = &w->thread[c->heap[k]];
            t->used += c->share_ns - t->from;
            t->from = c->share_ns;
        }
    }
}

void world_used(struct world *w, int process, double *main_ns, double *io_ns)
{
    settle(w);
    *main_ns = w->thread[main_thread(process)].used;
    *io_ns = w->thread[io_thread(process)].used;
}

struct world_traffic world_traffic(struct world *w, int host)
{
    const struct cores *c = &w->cores[host];
    settle(w);
    return (struct world_traffic){c->busy, c->out_bytes, c->in_bytes};
}
