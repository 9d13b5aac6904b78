/* fuzz_lane.c - one end of a lane in this process, the other one honest or hostile
 *
 * The other end sends messages, any bytes as a record, or writes any number anywhere into the shared memory,
 * between any two steps of ours; payloads are kept and closed in any order. Checked: what is read and written
 * lies within its ring, a message has the payload that it announces, and while the other end is honest all
 * messages arrive once, in order and whole.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz_input.h"
#include "no_kernel.h"

#include "link/lane.h"
#include "link/ring.h"

#define SIZE  LANE_RING_LEAST
#define VIEWS 3

/* The kernel's part of a lane, once for all runs: to map memory costs more than a run does. A view that is
 * closed is poisoned, as unmapped memory would be. */
static uint8_t *view[VIEWS];
static bool view_is_open[VIEWS];

static int the_fd = -1;

static int the_memory(void)
{
    size_t bytes = 2 * ring_memory(SIZE);
    if (the_fd < 0) {
        the_fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        FUZZ_CHECK(the_fd >= 0 && !ftruncate(the_fd, (off_t)bytes));
        FUZZ_CHECK(!fcntl(the_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
        for (int i = 0; i < VIEWS; i++) {
            view[i] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, the_fd, 0);
            FUZZ_CHECK(view[i] != MAP_FAILED);
        }
    }
    no_kernel_touch(view[0], bytes, true);
    memset(view[0], 0, bytes);
    no_kernel_touch(view[0], bytes, false);
    return the_fd;
}

static void *view_open(int fd, size_t bytes)
{
    int i = 0;
    while (i < VIEWS && view_is_open[i])
        i++;
    FUZZ_CHECK(i < VIEWS && fd == the_fd && bytes == 2 * ring_memory(SIZE));
    view_is_open[i] = true;
    no_kernel_touch(view[i], bytes, true);
    return view[i];
}

static int view_close(const void *at, size_t bytes)
{
    int i = 0;
    while (i < VIEWS && view[i] != at)
        i++;
    FUZZ_CHECK(i < VIEWS && view_is_open[i]);
    view_is_open[i] = false;
    no_kernel_touch(view[i], bytes, false);
    return 0;
}

#define memfd_create(name, flags)               the_memory()
#define posix_fallocate(fd, at, bytes)          ((void)(bytes), 0)
#define fcntl(fd, command, ...)                 ((command) == F_GET_SEALS ? F_SEAL_SHRINK : 0)
#define mmap(at, bytes, protection, how, fd, o) view_open(fd, bytes)
#define munmap(at, bytes)                       view_close(at, bytes)
#include "proto/link/lane.c"
#undef memfd_create
#undef posix_fallocate
#undef fcntl
#undef mmap
#undef munmap

#define STEPS 300
#define KEPT  8
#define MOST  20000 /* bytes of a payload: a few fill the ring */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    struct fuzz_input in;
    struct lane_memory *mine, *theirs;
    uint8_t *raw; /* the same memory, as a hostile process sees it */
    struct ring raw_out;
    bool hostile;
    uint64_t sent, received; /* by the other end; by us */
    int n;
    zmq_msg_t kept[KEPT];
} f;

static void fill(struct message *m, zmq_msg_t *payload, uint64_t request)
{
    int64_t floats = (int64_t)fuzz_below(&f.in, 250) * (MOST / 4 / 250) + 1;
    memset(m, 0, FUZZ_CLEARED_BYTES);
    m->type = MESSAGE_JOB;
    m->job.request = request;
    m->job.attempt = m->job.n_route = 1;
    m->job.deadline_ns = 1;
    m->job.activation = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, floats}};
    if (payload && zmq_msg_init_size(payload, (size_t)floats * 4))
        abort();
}

static void they_send(void)
{
    static struct message m;
    zmq_msg_t payload;
    bool wake;
    fill(&m, &payload, f.sent + 1);
    memset(zmq_msg_data(&payload), (int)(f.sent + 1) & 0xff, zmq_msg_size(&payload));
    f.sent += lane_send(f.theirs, &m, &payload, 0, &wake) == FL_OK;
    zmq_msg_close(&payload);
}

/* A record that is none. */
static void they_send_bytes(void)
{
    size_t size = fuzz_byte(&f.in), payload = fuzz_byte(&f.in), left = (size_t)(f.in.end - f.in.at);
    size = size < left ? size : left;
    f.hostile = true;
    f.raw_out.broken = false;
    if (!ring_reserve(&f.raw_out, payload, size))
        return;
    ring_commit(&f.raw_out, payload, f.in.at, size);
    f.in.at += size;
}

/* Any number at the beginning of a line, where heads and positions lie, or beside it. */
static void they_write(void)
{
    size_t lines = 2 * ring_memory(SIZE) / RING_ALIGN, line = fuzz_byte(&f.in);
    uint64_t what = fuzz_byte(&f.in) & 1 ? fuzz_number(&f.in) * RING_ALIGN : fuzz_number(&f.in);
    if (line >= 64)
        line = (line << 8 | fuzz_byte(&f.in)) % lines;
    else if (line >= 32)
        line += ring_memory(SIZE) / RING_ALIGN - 32;
    f.hostile = true;
    memcpy(f.raw + line * RING_ALIGN + (fuzz_byte(&f.in) & 4), &what, sizeof what);
}

static void check_payload(const struct message *m, zmq_msg_t *payload)
{
    const uint8_t *data = zmq_msg_data(payload);
    size_t size = zmq_msg_size(payload);
    FUZZ_CHECK(message_payload_bytes(m) == (int64_t)size);
    /* each is the first one, and that one is right; once: a fuzzer counts each comparison */
    bool right = !size || (*data == (uint8_t)f.received && !memcmp(data, data + 1, size - 1));
    FUZZ_CHECK(right || f.hostile);
}

static void we_receive(bool copy)
{
    static struct message m;
    struct ring *in = lane_in(f.mine);
    struct ring_record r;
    struct error e = {0};
    zmq_msg_t payload;
    if (f.n == KEPT || !ring_read(in, &r))
        return;
    FUZZ_CHECK(r.payload >= in->data && r.payload_bytes <= SIZE && r.envelope_bytes <= SIZE &&
               r.payload + r.payload_bytes <= r.envelope && r.envelope + r.envelope_bytes <= in->data + SIZE);
    zmq_msg_init(&payload);
    if (lane_take(f.mine, &r, copy, &m, &payload, &e)) {
        FUZZ_CHECK(f.hostile && e.text[0] && !strchr(e.text, '\n'));
        zmq_msg_close(&payload);
        return;
    }
    f.received++;
    FUZZ_CHECK(f.hostile || m.job.request == f.received);
    check_payload(&m, &payload);
    f.kept[f.n++] = payload;
}

static void we_send(void)
{
    static struct message m;
    const uint8_t *out = (uint8_t *)lane_in(f.mine)->shared + ring_memory(SIZE), *data;
    zmq_msg_t payload;
    bool wake;
    fill(&m, NULL, 1);
    if (!lane_payload(f.mine, (size_t)message_payload_bytes(&m), &payload))
        return;
    data = zmq_msg_data(&payload);
    FUZZ_CHECK(data >= out && data + zmq_msg_size(&payload) <= out + ring_memory(SIZE));
    memset(zmq_msg_data(&payload), 1, zmq_msg_size(&payload));
    FUZZ_CHECK(lane_send(f.mine, &m, &payload, 0, &wake) == FL_OK);
    zmq_msg_close(&payload);
}

static void they_read(void)
{
    struct ring *in = lane_in(f.theirs);
    struct ring_record r;
    if (!ring_read(in, &r))
        return;
    ring_release(in, r.slot);
    ring_sleep(in);
}

static void we_close(void)
{
    uint32_t at = fuzz_below(&f.in, KEPT);
    if ((int)at >= f.n)
        return;
    zmq_msg_close(&f.kept[at]);
    f.kept[at] = f.kept[--f.n];
}

static void we_sleep(void)
{
    ring_sleep(lane_in(f.mine));
    ring_wake(lane_in(f.mine));
}

static void step(void)
{
    switch (fuzz_below(&f.in, 12)) {
    case 0:
    case 1:
        they_send();
        break;
    case 2:
        they_send_bytes();
        break;
    case 3:
        they_write();
        break;
    case 4:
    case 5:
    case 6:
        we_receive(fuzz_byte(&f.in) & 1);
        break;
    case 7:
        we_send();
        break;
    case 8:
        they_read();
        break;
    case 9:
        we_sleep();
        break;
    default:
        we_close();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd;
    memset(&f, 0, sizeof f);
    f.in = (struct fuzz_input){data, data + size};
    if (!(f.mine = lane_make(SIZE, SIZE, &fd)) || !(f.theirs = lane_map(fd, SIZE, SIZE)))
        abort();
    f.raw = view_open(fd, 2 * ring_memory(SIZE));
    ring_open(&f.raw_out, f.raw, SIZE, false);
    for (int i = 0; i < STEPS && f.in.at < f.in.end; i++)
        step();
    FUZZ_CHECK(f.hostile || !(lane_is_broken(f.mine) || lane_is_broken(f.theirs)));
    lane_release(f.mine); /* what is kept holds its memory */
    while (f.n)
        zmq_msg_close(&f.kept[--f.n]);
    lane_release(f.theirs);
    view_close(f.raw, 2 * ring_memory(SIZE));
    for (int i = 0; i < VIEWS; i++)
        FUZZ_CHECK(!view_is_open[i]);
    return 0;
}
