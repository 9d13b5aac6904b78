/* lanes.c - making lanes, and messages through them */
#include "lanes.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "greeting.h"
#include "lane.h"

#define DOORS_MAX 24
#define AGAIN_NS  (200 * NS_PER_MS) /* between two attempts to connect, or to accept where that failed */
#define GREET_NS  (2 * NS_PER_S)    /* who has not greeted by then gets no lane */
/* Who has slept so long sleeps deeply: waking takes longer than filling in a payload of so many bytes. */
#define EARLY_NS    (500 * NS_PER_US)
#define EARLY_BYTES (64 << 10)
#define AWAKE_NS    (60 * NS_PER_US) /* who was woken early stays awake for so long */
#define FLUSH_NS    NS_PER_MS        /* between two looks for room, while messages wait for it */
#define PEER_LANE   0xff /* libzmq's own identities begin with 0, and those that people set do not so */

enum lane_state { LANE_FREE, LANE_ASKS, LANE_OPEN };

struct lane {
    enum lane_state state;
    int door, fd, their_wake;
    uint64_t serial;            /* never twice */
    uint64_t since_ns;          /* LANE_ASKS: when that was first seen */
    uint64_t filled_ns;         /* when a large payload was last about to be written */
    struct lane_memory *memory; /* LANE_OPEN */
    bool gone;                  /* the other process: what it wrote is still read */
    bool offered;               /* it has what this door offers */
    bool wake_due;              /* it sleeps, and has messages */
};

struct lane_door {
    bool used, listens, reads, copy;
    int listener, most, unsent;
    size_t in_bytes, out_bytes;
    uint64_t asked_ns;
    int connected; /* lane, or -1 */
    unsigned turn; /* where the next look for a message starts */
    int offer;     /* listens: what every lane gets (borrowed), else what came (owned); -1: nothing */
    struct sockaddr_un at;
};

struct lanes {
    int epoll, wake, timer;
    bool timed;        /* the timer runs */
    bool heard;        /* a descriptor of the caller's was readable */
    uint64_t awake_ns; /* until then a message may come any moment; 0: none is announced */
    uint64_t serial;
    int gather, gathered; /* wakes wait for so many messages; .. that came since the last ones */
    struct lane_door door[DOORS_MAX];
    struct lane lane[LANES_MAX];
    int n; /* lanes beyond are free */
};

/* --- lanes --- */

/* False: the kernel is short of memory, or watches no more (errno). */
static bool watch(struct lanes *l, int fd, uint32_t how, uint64_t what)
{
    struct epoll_event event = {.events = EPOLLIN | how, .data.u64 = what};
    return !epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* What epoll tells apart: a door's listener, a lane, our eventfd. */
#define WHAT_DOOR 0x10000u
#define WHAT_WAKE 0x20000u
#define WHAT_ELSE 0x40000u /* the caller's */
#define WHAT_TIME 0x80000u

static int lane_add(struct lanes *l, int door, int fd)
{
    for (int i = 0; i < LANES_MAX; i++) {
        struct lane *a = &l->lane[i];
        if (a->state != LANE_FREE)
            continue;
        if (!watch(l, fd, 0, (uint64_t)i))
            return -1;
        memset(a, 0, sizeof *a);
        *a = (struct lane){
            .state = LANE_ASKS, .door = door, .fd = fd, .their_wake = -1, .serial = ++l->serial};
        l->n = i + 1 > l->n ? i + 1 : l->n;
        return i;
    }
    return -1;
}

static void lane_close(struct lanes *l, struct lane *a)
{
    struct lane_door *d = &l->door[a->door];
    if (!d->listens && d->connected == a - l->lane)
        d->connected = -1;
    if (a->fd >= 0)
        close(a->fd);
    if (a->wake_due)
        eventfd_write(a->their_wake, 1);
    if (a->their_wake >= 0)
        close(a->their_wake);
    lane_release(a->memory);
    a->memory = NULL;
    a->state = LANE_FREE;
}

/* The other process is gone: nothing more is written to it, what it wrote is read. */
static void lane_end(struct lanes *l, struct lane *a)
{
    if (a->state != LANE_OPEN) {
        lane_close(l, a);
        return;
    }
    close(a->fd);
    a->fd = -1;
    a->gone = true;
}

/* --- the unix socket --- */

/* Asked by the lane's other process: answers with the memory. */
static bool grant(struct lanes *l, struct lane *a, int n, const int fds[2])
{
    struct lane_door *d = &l->door[a->door];
    struct greeting reply = {.magic = GREETING_MAGIC, .in_bytes = d->in_bytes, .out_bytes = d->out_bytes};
    int out[2] = {-1, l->wake}, rc;
    if (n != 1 || !greeting_take_eventfd(fds[0]) ||
        !(a->memory = lane_make(d->in_bytes, d->out_bytes, &out[0])))
        return false;
    rc = greeting_send(a->fd, &reply, out, 2);
    close(out[0]);
    if (rc)
        return false;
    a->their_wake = fds[0];
    a->state = LANE_OPEN;
    return true;
}

static bool granted(struct lane *a, const struct greeting *g, int n, const int fds[2])
{
    if (n != 2 || !lane_is_ring_size(g->in_bytes) || !lane_is_ring_size(g->out_bytes) ||
        !greeting_take_eventfd(fds[1]) || !(a->memory = lane_map(fds[0], g->in_bytes, g->out_bytes)))
        return false;
    close(fds[0]);
    a->their_wake = fds[1];
    a->state = LANE_OPEN;
    return true;
}

/* Over a lane that is open: something for its door. */
static void take_offer(struct lane_door *d, int n, const int fds[2])
{
    if (d->offer >= 0)
        close(d->offer);
    d->offer = fds[0];
    for (int i = 1; i < n; i++)
        close(fds[i]);
}

/* Something came over the unix socket of a lane, or its end. */
static void lane_heard(struct lanes *l, struct lane *a)
{
    struct greeting g = {.magic = 0};
    int fds[2] = {-1, -1}, n = greeting_receive(a->fd, &g, fds);
    bool ok;
    if (!n)
        return;
    if (n > 0 && a->state == LANE_OPEN && !l->door[a->door].listens) {
        take_offer(&l->door[a->door], n, fds);
        return;
    }
    if (n < 0 || a->state != LANE_ASKS) {
        for (int i = 0; i < n; i++)
            close(fds[i]);
        lane_end(l, a);
        return;
    }
    ok = l->door[a->door].listens ? grant(l, a, n, fds) : granted(a, &g, n, fds);
    if (!ok) {
        for (int i = 0; i < n; i++)
            close(fds[i]);
        lane_close(l, a);
    }
}

/* To lanes that do not have it yet. One whose other end does not read gets it later. */
static void hand_out(struct lanes *l)
{
    const struct greeting g = {.magic = GREETING_MAGIC};
    for (int i = 0; i < l->n; i++) {
        struct lane *a = &l->lane[i];
        const struct lane_door *d = &l->door[a->door];
        if (a->state == LANE_OPEN && a->fd >= 0 && d->listens && d->offer >= 0 && !a->offered)
            a->offered = !greeting_send(a->fd, &g, &d->offer, 1);
    }
}

static int count(const struct lanes *l, int door)
{
    int n = 0;
    for (int i = 0; i < l->n; i++)
        n += l->lane[i].state != LANE_FREE && l->lane[i].door == door;
    return n;
}

static void accept_lanes(struct lanes *l, int door)
{
    int fd;
    while ((fd = accept4(l->door[door].listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        if (!greeting_same_user(fd) || count(l, door) >= l->door[door].most || lane_add(l, door, fd) < 0)
            close(fd);
}

static void ask(struct lanes *l, int door)
{
    struct lane_door *d = &l->door[door];
    int fd = greeting_ask(&d->at, l->wake);
    if (fd >= 0 && (d->connected = lane_add(l, door, fd)) < 0)
        close(fd);
}

/* --- life --- */

int lanes_new(struct lanes **out, struct error *e)
{
    struct lanes *l = calloc(1, sizeof *l);
    if (!l)
        return error_set(e, FL_NOMEM, "out of memory");
    for (size_t i = 0; i < sizeof l->door / sizeof *l->door; i++)
        l->door[i].connected = l->door[i].offer = -1; /* one that stays unused has no lane either */
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (l->epoll < 0 || l->wake < 0 || l->timer < 0 || !watch(l, l->wake, 0, WHAT_WAKE) ||
        !watch(l, l->timer, 0, WHAT_TIME)) {
        int rc = error_set(e, FL_IO, "cannot wait for messages in shared memory: %s", strerror(errno));
        lanes_free(l);
        return rc;
    }
    *out = l;
    return FL_OK;
}

void lanes_free(struct lanes *l)
{
    if (!l)
        return;
    for (int i = 0; i < l->n; i++)
        if (l->lane[i].state != LANE_FREE)
            lane_close(l, &l->lane[i]);
    for (int i = 0; i < DOORS_MAX; i++)
        if (l->door[i].used && l->door[i].listens) {
            unlink(l->door[i].at.sun_path);
            close(l->door[i].listener);
        } else if (l->door[i].used && l->door[i].offer >= 0) {
            close(l->door[i].offer);
        }
    if (l->wake >= 0)
        close(l->wake);
    if (l->timer >= 0)
        close(l->timer);
    if (l->epoll >= 0)
        close(l->epoll);
    free(l);
}

int lanes_listen(struct lanes *l, int door, const char *endpoint, const struct lane_options *o,
                 struct error *e)
{
    struct lane_door *d = &l->door[door];
    struct sockaddr_un at;
    int fd;
    if (!greeting_address(endpoint, &at))
        return FL_OK;
    /* By edges: a connection that can't be accepted for want of descriptors must not keep us awake. */
    fd = greeting_listen(&at);
    if (fd < 0 || !watch(l, fd, EPOLLET, WHAT_DOOR | (uint64_t)door)) {
        int rc =
            error_set(e, FL_IO, "no lane beside %s, messages go through the socket alone: %s: %s%s", endpoint,
                      at.sun_path, strerror(errno), errno == EADDRINUSE ? " (remove what is there)" : "");
        if (fd >= 0) {
            unlink(at.sun_path);
            close(fd);
        }
        return rc;
    }
    *d = (struct lane_door){.used = true,
                            .listens = true,
                            .reads = true,
                            .copy = o->copy,
                            .most = o->most ? o->most : LANES_MAX,
                            .unsent = o->unsent,
                            .listener = fd,
                            .connected = -1,
                            .offer = -1,
                            .in_bytes = lane_ring_size(o->in_bytes),
                            .out_bytes = lane_ring_size(o->out_bytes),
                            .at = at};
    return FL_OK;
}

void lanes_connect(struct lanes *l, int door, const char *endpoint, bool reads)
{
    struct lane_door *d = &l->door[door];
    struct sockaddr_un at;
    if (d->connected >= 0) /* its process may live, and would keep it */
        lane_end(l, &l->lane[d->connected]);
    if (d->offer >= 0)
        close(d->offer);
    *d = (struct lane_door){.connected = -1, .offer = -1};
    if (!greeting_address(endpoint, &at))
        return;
    *d = (struct lane_door){.used = true, .reads = reads, .connected = -1, .offer = -1, .at = at};
    ask(l, door);
}

int lanes_fd(const struct lanes *l)
{
    return l->epoll;
}

int lanes_wake_fd(const struct lanes *l)
{
    return l->wake;
}

/* Nothing more comes of this lane. What was written into one that nobody reads is not waited for. */
static bool is_over(const struct lanes *l, struct lane *a, uint64_t now)
{
    if (a->state == LANE_ASKS) {
        a->since_ns = a->since_ns ? a->since_ns : now;
        return now > a->since_ns + GREET_NS;
    }
    return a->state == LANE_OPEN &&
           (lane_is_broken(a->memory) ||
            (a->gone && (!l->door[a->door].reads || ring_is_empty(lane_in(a->memory)))));
}

bool lanes_watch(struct lanes *l, int fd)
{
    return watch(l, fd, 0, WHAT_ELSE);
}

bool lanes_heard(struct lanes *l)
{
    bool heard = l->heard;
    l->heard = false;
    return heard;
}

/* Whoever is awaited at a door and did not come yet. */
static void try_again(struct lanes *l, int door, uint64_t now)
{
    struct lane_door *d = &l->door[door];
    if (!d->used || (!d->listens && d->connected >= 0) || now < d->asked_ns + AGAIN_NS)
        return;
    d->asked_ns = now;
    if (d->listens)
        accept_lanes(l, door);
    else
        ask(l, door);
}

void lanes_rouse(struct lanes *l)
{
    for (int i = 0; l->gathered && i < l->n; i++) {
        struct lane *a = &l->lane[i];
        if (a->state == LANE_OPEN && a->wake_due)
            eventfd_write(a->their_wake, 1);
        a->wake_due = false;
    }
    l->gathered = 0;
}

void lanes_gather(struct lanes *l, int messages)
{
    l->gather = messages;
}

/* Messages wait for room: looks for it, now and before long. */
static void flush(struct lanes *l)
{
    const struct itimerspec soon = {.it_value.tv_nsec = FLUSH_NS};
    bool waits = false, wake;
    lanes_rouse(l);
    for (int i = 0; i < l->n; i++) {
        struct lane *a = &l->lane[i];
        if (a->state != LANE_OPEN)
            continue;
        waits |= lane_flush(a->memory, &wake);
        if (wake)
            eventfd_write(a->their_wake, 1);
    }
    if (waits && !l->timed)
        l->timed = !timerfd_settime(l->timer, 0, &soon, NULL);
}

void lanes_turn(struct lanes *l, uint64_t now)
{
    struct epoll_event event[16];
    uint64_t count;
    int n = epoll_wait(l->epoll, event, 16, 0);
    for (int i = 0; i < n; i++) {
        uint64_t what = event[i].data.u64;
        /* Read once: the other processes have it too, and could make a second read wait. */
        if (what & WHAT_WAKE && read(l->wake, &count, sizeof count) < 0)
            continue;
        if (what & WHAT_TIME && read(l->timer, &count, sizeof count) > 0)
            l->timed = false;
        l->heard |= (what & WHAT_ELSE) != 0;
        if (what & (WHAT_ELSE | WHAT_WAKE | WHAT_TIME))
            continue;
        if (what & WHAT_DOOR)
            accept_lanes(l, (int)(what & 0xffff));
        else if (l->lane[what].state != LANE_FREE && l->lane[what].fd >= 0)
            lane_heard(l, &l->lane[what]);
    }
    for (int i = 0; i < l->n; i++)
        if (is_over(l, &l->lane[i], now))
            lane_close(l, &l->lane[i]);
    for (int i = 0; i < DOORS_MAX; i++)
        try_again(l, i, now);
    hand_out(l);
    flush(l);
}

void lanes_offer(struct lanes *l, int door, int fd)
{
    if (!l->door[door].used)
        return; /* not an ipc endpoint */
    l->door[door].offer = fd;
    for (int i = 0; i < l->n; i++)
        if (l->lane[i].door == door)
            l->lane[i].offered = false;
    hand_out(l);
}

int lanes_offered(struct lanes *l, int door)
{
    int fd = l->door[door].used ? l->door[door].offer : -1;
    if (fd >= 0)
        l->door[door].offer = -1;
    return fd;
}

/* Woken before there is a message: sleeping again would take longer than waiting for it. Whoever fills it in
 * may need this core. */
static void stay_awake(struct lanes *l)
{
    bool empty = true;
    while (empty && clock_ns() < l->awake_ns) {
        for (int i = 0; empty && i < l->n; i++)
            empty = l->lane[i].state != LANE_OPEN || ring_is_empty(lane_in(l->lane[i].memory));
        if (empty)
            sched_yield();
    }
    l->awake_ns = 0;
}

bool lanes_sleep(struct lanes *l, uint32_t but)
{
    lanes_rouse(l);
    if (l->awake_ns)
        stay_awake(l);
    for (int i = 0; i < l->n; i++) {
        struct lane *a = &l->lane[i];
        if (a->state == LANE_OPEN && l->door[a->door].reads && !(but >> a->door & 1) &&
            !ring_sleep(lane_in(a->memory)))
            return false;
    }
    return true;
}

void lanes_wake(struct lanes *l)
{
    for (int i = 0; i < l->n; i++) {
        struct lane *a = &l->lane[i];
        if (a->state == LANE_OPEN && ring_wake(lane_in(a->memory)) && ring_is_empty(lane_in(a->memory)))
            l->awake_ns = clock_ns() + AWAKE_NS;
    }
}

/* --- messages --- */

bool peer_has_lane(const struct peer *p)
{
    return p->size == 1 + sizeof(uint64_t) && p->id[0] == PEER_LANE;
}

static void name_peer(struct peer *p, const struct lane *a)
{
    p->size = 1 + sizeof a->serial;
    p->id[0] = PEER_LANE;
    memcpy(p->id + 1, &a->serial, sizeof a->serial);
}

static struct lane *lane_of(struct lanes *l, int door, const struct peer *to)
{
    uint64_t serial;
    if (!to) {
        const struct lane_door *d = &l->door[door]; /* one that is not used goes by tcp alone */
        int i = d->used && !d->listens ? d->connected : -1;
        return i >= 0 && l->lane[i].state == LANE_OPEN ? &l->lane[i] : NULL;
    }
    memcpy(&serial, to->id + 1, sizeof serial);
    for (int i = 0; i < l->n; i++)
        if (l->lane[i].state == LANE_OPEN && l->lane[i].serial == serial && l->lane[i].door == door)
            return &l->lane[i];
    return NULL;
}

uint64_t lanes_reach(const struct lanes *l, int door)
{
    int i = l->door[door].used && !l->door[door].listens ? l->door[door].connected : -1;
    return i >= 0 && l->lane[i].state == LANE_OPEN && !l->lane[i].gone ? l->lane[i].serial : 0;
}

static bool may_write(const struct lane *a)
{
    return a && !a->gone && !lane_is_broken(a->memory);
}

/* A payload of so many bytes is about to be written: who has slept long wakes meanwhile. */
static void wake_early(struct lane *a, size_t bytes)
{
    uint64_t now;
    if (bytes < EARLY_BYTES)
        return;
    now = clock_ns();
    if (now > a->filled_ns + EARLY_NS && lane_rouse(a->memory))
        eventfd_write(a->their_wake, 1);
    a->filled_ns = now;
}

int lanes_payload(struct lanes *l, int door, size_t bytes, zmq_msg_t *out)
{
    struct lane *a = lane_of(l, door, NULL);
    if (may_write(a) && lane_payload(a->memory, bytes, out)) {
        wake_early(a, bytes);
        return FL_OK;
    }
    return zmq_msg_init_size(out, bytes) ? FL_NOMEM : FL_OK;
}

int lanes_send(struct lanes *l, int door, const struct peer *to, const struct message *m, zmq_msg_t *payload)
{
    struct lane *a = lane_of(l, door, to);
    bool sleeps;
    int rc;
    if (!may_write(a))
        return to ? FL_UNAVAILABLE : FL_AGAIN;
    if (payload)
        wake_early(a, zmq_msg_size(payload));
    rc = lane_send(a->memory, m, payload, to ? l->door[door].unsent : 0, &sleeps);
    a->wake_due |= sleeps;
    if (++l->gathered >= l->gather)
        lanes_rouse(l);
    return rc;
}

int lanes_receive(struct lanes *l, int door, struct peer *from, struct message *m, zmq_msg_t *payload,
                  struct error *e)
{
    struct lane_door *d = &l->door[door];
    zmq_msg_close(payload);
    zmq_msg_init(payload);
    for (int i = 0; i < l->n; i++) {
        unsigned k = (d->turn + (unsigned)i) % (unsigned)l->n;
        struct lane *a = &l->lane[k];
        struct ring_record r;
        if (a->state != LANE_OPEN || a->door != door || !ring_read(lane_in(a->memory), &r))
            continue;
        d->turn = k + 1;
        if (from)
            name_peer(from, a);
        return lane_take(a->memory, &r, d->copy, m, payload, e);
    }
    return FL_AGAIN;
}
