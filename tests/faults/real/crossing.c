/* crossing.c - TAPs in namespaces, and the thread that carries frames between them */
#include "crossing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define FRAME_BYTES 2048
#define HELD_MOST   8192 /* frames that a delay holds, per way; more are lost, as in a router */
#define IDLE_NS     (100 * NS_PER_MS)

struct frame {
    uint64_t due_ns;
    size_t size;
    unsigned char bytes[FRAME_BYTES];
};

/* Frames on their way from one host to another, in order. */
struct way {
    struct crossing_way is;
    struct frame **held; /* HELD_MOST, made with the first delay */
    unsigned first, n;
};

struct crossing {
    int hosts, home, wake;
    int netns[CROSSING_MOST], tap[CROSSING_MOST];
    struct way way[CROSSING_MOST][CROSSING_MOST];
    uint64_t frames;
    pthread_mutex_t lock;
    pthread_t thread;
    bool running, stop;
};

/* ---- carrying ---- */

static void deliver(struct crossing *c, int to, const unsigned char *bytes, size_t size)
{
    if (write(c->tap[to], bytes, size) == (ssize_t)size)
        c->frames++;
}

static void hold(struct way *w, const unsigned char *bytes, size_t size, uint64_t due_ns)
{
    struct frame *f;

    if (!w->held)
        w->held = calloc(HELD_MOST, sizeof(struct frame *));
    if (!w->held || w->n == HELD_MOST || !(f = malloc(sizeof *f)))
        return;
    f->due_ns = due_ns;
    f->size = size;
    memcpy(f->bytes, bytes, size);
    w->held[(w->first + w->n++) % HELD_MOST] = f;
}

static void carry(struct crossing *c, int from, int to, const unsigned char *bytes, size_t size, uint64_t now)
{
    struct way *w = &c->way[from][to];

    if (to == from || w->is.cut)
        return;
    if (w->is.delay_ns || w->n)
        hold(w, bytes, size, now + w->is.delay_ns);
    else
        deliver(c, to, bytes, size);
}

/* Addresses are 02:..:K for host K - 1; what is for many goes to all. */
static void route(struct crossing *c, int from, const unsigned char *bytes, size_t size, uint64_t now)
{
    int one = bytes[0] == 2 ? bytes[5] - 1 : -1;

    for (int to = 0; size >= 14 && to < c->hosts; to++)
        if (bytes[0] & 1 || to == one)
            carry(c, from, to, bytes, size, now);
}

/* Lets go what is due; returns when the next one is. */
static uint64_t release(struct crossing *c, uint64_t now)
{
    uint64_t next = now + IDLE_NS;

    for (int i = 0; i < c->hosts * c->hosts; i++) {
        int to = i % c->hosts;
        struct way *w = &c->way[i / c->hosts][to];
        for (; w->n; w->first = (w->first + 1) % HELD_MOST, w->n--) {
            struct frame *f = w->held[w->first];
            if (!w->is.cut && f->due_ns > now) {
                next = f->due_ns < next ? f->due_ns : next;
                break;
            }
            if (!w->is.cut)
                deliver(c, to, f->bytes, f->size);
            free(f);
        }
    }
    return next;
}

static void read_taps(struct crossing *c, const struct pollfd *fd)
{
    unsigned char bytes[FRAME_BYTES];
    ssize_t size;

    for (int i = 0; i < c->hosts; i++)
        for (int k = 0; fd[i].revents && k < 64 && (size = read(c->tap[i], bytes, sizeof bytes)) > 0; k++)
            route(c, i, bytes, (size_t)size, clock_ns());
}

static void *run(void *arg)
{
    struct crossing *c = arg;
    struct pollfd fd[CROSSING_MOST + 1] = {{0}};
    uint64_t count;

    for (int i = 0; i < c->hosts; i++)
        fd[i] = (struct pollfd){c->tap[i], POLLIN, 0};
    fd[c->hosts] = (struct pollfd){c->wake, POLLIN, 0};
    for (;;) {
        uint64_t now = clock_ns(), next;
        struct timespec t = {0};
        bool stop;
        pthread_mutex_lock(&c->lock);
        next = release(c, now);
        stop = c->stop;
        pthread_mutex_unlock(&c->lock);
        if (stop)
            return NULL;
        t.tv_nsec = next > now ? (long)(next - now) : 0;
        ppoll(fd, (nfds_t)c->hosts + 1, &t, NULL);
        if (fd[c->hosts].revents && read(c->wake, &count, sizeof count) < 0)
            return NULL;
        pthread_mutex_lock(&c->lock);
        read_taps(c, fd);
        pthread_mutex_unlock(&c->lock);
    }
}

void crossing_set(struct crossing *c, int from, int to, struct crossing_way way)
{
    pthread_mutex_lock(&c->lock);
    c->way[from][to].is = way;
    pthread_mutex_unlock(&c->lock);
    eventfd_write(c->wake, 1);
}

void crossing_mend(struct crossing *c)
{
    for (int i = 0; i < c->hosts * c->hosts; i++)
        crossing_set(c, i / c->hosts, i % c->hosts, (struct crossing_way){0});
}

uint64_t crossing_frames(const struct crossing *c)
{
    return c->frames;
}

/* ---- making ---- */

static int open_netns(void)
{
    return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

/* In a namespace of its own, which the caller leaves again. */
static int make_host(struct crossing *c, int k, struct error *e)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    char line[512];

    if (unshare(CLONE_NEWNET) || (c->netns[k] = open_netns()) < 0)
        return error_set(e, FL_UNSUPPORTED, "no network namespace can be made: %s", strerror(errno));
    snprintf(request.ifr_name, sizeof request.ifr_name, "eth0");
    c->tap[k] = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (c->tap[k] < 0 || ioctl(c->tap[k], TUNSETIFF, &request))
        return error_set(e, FL_UNSUPPORTED, "no TAP can be made by /dev/net/tun: %s", strerror(errno));
    snprintf(line, sizeof line,
             "{ ip link set lo up && ip link set eth0 address 02:00:00:00:00:%02x && "
             "ip addr add 10.78.0.%d/24 dev eth0 && ip link set eth0 up; } 2>&1",
             k + 1, k + 1);
    if (system(line))
        return error_set(e, FL_UNSUPPORTED, "`ip` cannot give an address to a TAP (is iproute2 there?)");
    return FL_OK;
}

int crossing_enter(struct crossing *c, int host, struct error *e)
{
    if (setns(host < 0 ? c->home : c->netns[host], CLONE_NEWNET))
        return error_set(e, FL_IO, "cannot enter a network namespace: %s", strerror(errno));
    return FL_OK;
}

int crossing_new(struct crossing **out, int hosts, struct error *e)
{
    struct crossing *c = *out = calloc(1, sizeof *c);
    int rc = FL_OK;

    if (!c)
        return error_set(e, FL_NOMEM, "no memory");
    pthread_mutex_init(&c->lock, NULL);
    c->home = open_netns();
    c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (int i = 0; i < CROSSING_MOST; i++)
        c->netns[i] = c->tap[i] = -1;
    for (; !rc && c->hosts < hosts; c->hosts++)
        rc = make_host(c, c->hosts, e);
    if (c->home >= 0 && crossing_enter(c, -1, rc ? NULL : e) && !rc)
        rc = FL_IO;
    c->running = !rc && !pthread_create(&c->thread, NULL, run, c);
    if (c->running)
        return FL_OK;
    crossing_free(c);
    *out = NULL;
    return rc ? rc : error_set(e, FL_NOMEM, "no thread");
}

void crossing_free(struct crossing *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_mutex_unlock(&c->lock);
    eventfd_write(c->wake, 1);
    if (c->running)
        pthread_join(c->thread, NULL);
    crossing_mend(c);
    release(c, UINT64_MAX - IDLE_NS);
    for (int i = 0; i < CROSSING_MOST * CROSSING_MOST; i++)
        free(c->way[i / CROSSING_MOST][i % CROSSING_MOST].held);
    for (int i = 0; i < CROSSING_MOST; i++) {
        if (c->tap[i] >= 0)
            close(c->tap[i]);
        if (c->netns[i] >= 0)
            close(c->netns[i]);
    }
    close(c->home);
    close(c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
