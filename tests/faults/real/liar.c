/* liar.c - a stage worker that lies: the real one, but what it sends passes through here
 *
 * Linked as freezeline-stage with --wrap for link_send and frames_send. The file named by the environment
 * variable FREEZELINE_LIES has "STAGE.REPLICA LIE" while that worker is to lie; it is looked at again every
 * 50 ms. Without it everything is sent as it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "link/link.h"

#define LOOK_NS (50 * NS_PER_MS)
#define LATE_NS (1500 * NS_PER_MS)
#define SLOW_NS (12 * NS_PER_MS) /* a stage of the demo takes a tenth of it */
#define HELD    64

enum lie { NONE, SHAPE, LABEL, LATE, FOREIGN, FAIL, CRASH, SLOW, LIES };
static const char *const lies[LIES] = {"none", "shape", "label", "late", "foreign", "fail", "crash", "slow"};

static struct {
    enum lie lie;
    uint64_t looked_ns, earlier;
    struct held {
        struct link *link;
        uint64_t due_ns;
        struct message *message;
        zmq_msg_t payload;
    } held[HELD];
} liar;

int __real_link_send(struct link *l, const struct peer *to, const struct message *m, zmq_msg_t *payload);
int __wrap_link_send(struct link *l, const struct peer *to, const struct message *m, zmq_msg_t *payload);
int __real_frames_send(void *socket, const struct peer *to, const struct message *m, zmq_msg_t *payload);
int __wrap_frames_send(void *socket, const struct peer *to, const struct message *m, zmq_msg_t *payload);

/* "STAGE.REPLICA" of this process, from its command line. */
static void find_name(char *name, size_t size)
{
    char text[4096], stage[8] = "", replica[8] = "0";
    FILE *f = fopen("/proc/self/cmdline", "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;

    if (f)
        fclose(f);
    text[n] = 0;
    for (char *at = text; at < text + n; at += strlen(at) + 1) {
        if (!strcmp(at, "--stage"))
            snprintf(stage, sizeof stage, "%s", at + strlen(at) + 1);
        if (!strcmp(at, "--replica"))
            snprintf(replica, sizeof replica, "%s", at + strlen(at) + 1);
    }
    snprintf(name, size, "%s.%s", stage, replica);
}

static enum lie read_lie(void)
{
    static char own[32];
    const char *path = getenv("FREEZELINE_LIES");
    char name[32], word[32];
    enum lie lie = NONE;
    FILE *f = path ? fopen(path, "re") : NULL;

    if (!own[0])
        find_name(own, sizeof own);
    if (f && fscanf(f, "%31s %31s", name, word) == 2 && !strcmp(name, own))
        for (int i = 0; i < LIES; i++)
            if (!strcmp(word, lies[i]))
                lie = (enum lie)i;
    if (f)
        fclose(f);
    return lie;
}

static enum lie current(void)
{
    uint64_t now = clock_ns();

    if (now - liar.looked_ns > LOOK_NS) {
        liar.looked_ns = now;
        liar.lie = read_lie();
    }
    return liar.lie;
}

/* Dies at its start, again and again. */
__attribute__((constructor)) static void crash_at_start(void)
{
    if (current() == CRASH)
        _exit(3);
}

static void wait_ns(uint64_t ns)
{
    struct timespec t = {0, (long)ns};
    nanosleep(&t, NULL);
}

static int hold(struct link *l, const struct message *m, zmq_msg_t *payload)
{
    for (int i = 0; i < HELD; i++) {
        struct held *h = &liar.held[i];
        if (h->message)
            continue;
        if (!(h->message = malloc(sizeof *h->message)))
            break;
        *h->message = *m;
        h->link = l;
        h->due_ns = clock_ns() + LATE_NS;
        zmq_msg_init(&h->payload);
        if (payload)
            zmq_msg_move(&h->payload, payload);
        return FL_OK;
    }
    return __real_link_send(l, NULL, m, payload);
}

static void let_go(void)
{
    for (int i = 0; i < HELD; i++) {
        struct held *h = &liar.held[i];
        if (!h->message || h->due_ns > clock_ns())
            continue;
        __real_link_send(h->link, NULL, h->message, &h->payload);
        zmq_msg_close(&h->payload);
        free(h->message);
        h->message = NULL;
    }
}

/* One column less than there is, with as many numbers as that announces. */
static void misshape(struct tensor *t, zmq_msg_t *payload)
{
    zmq_msg_t less;

    if (t->rank < 2 || !payload || !zmq_msg_size(payload))
        return;
    t->dim[t->rank - 1]--;
    if (zmq_msg_init_size(&less, (size_t)tensor_bytes(t)))
        return;
    memcpy(zmq_msg_data(&less), zmq_msg_data(payload), zmq_msg_size(&less));
    zmq_msg_move(payload, &less);
    zmq_msg_close(&less);
}

static int lie_result(struct link *l, struct message *m, zmq_msg_t *payload, enum lie lie)
{
    struct result *r = &m->result;

    if (lie == LATE)
        return hold(l, m, payload);
    if (lie == SHAPE)
        misshape(&r->scores, payload);
    if (lie == LABEL)
        r->label = 1000;
    if (lie == FOREIGN) { /* an earlier one, again and again; its own are never answered */
        r->request = liar.earlier ? liar.earlier : r->request;
        liar.earlier = r->request;
    }
    if (lie == FAIL) {
        r->error = FL_INTERNAL;
        r->exit = r->label = -1;
        r->scores.dtype = TENSOR_NONE;
        r->trace.n = r->trace.n ? r->trace.n - 1 : 0; /* it was not passed */
        snprintf(r->text, sizeof r->text, "this worker is broken");
        return __real_link_send(l, NULL, m, NULL);
    }
    return __real_link_send(l, NULL, m, payload);
}

int __wrap_link_send(struct link *l, const struct peer *to, const struct message *m, zmq_msg_t *payload)
{
    enum lie lie = current();
    struct message *own;
    int rc;

    let_go();
    if (lie == NONE || (m->type != MESSAGE_RESULT && m->type != MESSAGE_JOB))
        return __real_link_send(l, to, m, payload);
    if (lie == SLOW)
        wait_ns(SLOW_NS);
    if (!(own = malloc(sizeof *own)))
        return FL_NOMEM;
    *own = *m;
    if (m->type == MESSAGE_JOB && lie == SHAPE)
        misshape(&own->job.activation, payload);
    rc = m->type == MESSAGE_RESULT ? lie_result(l, own, payload, lie) : __real_link_send(l, to, own, payload);
    free(own);
    return rc;
}

int __wrap_frames_send(void *socket, const struct peer *to, const struct message *m, zmq_msg_t *payload)
{
    current();
    let_go();
    return __real_frames_send(socket, to, m, payload);
}
