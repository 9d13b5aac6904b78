/* reservoir_disk.c - headers and slots of the reservoir's file */
#include "reservoir_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/digest.h"

#define MAGIC       "FLRESV1"
#define HEADER_STEP 2048 /* two headers, in blocks of their own */
#define FIRST_SLOT  4096
#define MOST_SLOTS  (1 << 18)
#define FEWEST      64

struct header {
    char magic[8];
    uint64_t checksum; /* of all that follows */
    uint8_t layout[16];
    uint64_t generation;
    struct disk_state state;
};

static uint64_t header_sum(const struct header *h)
{
    return XXH3_64bits(h->layout, sizeof *h - offsetof(struct header, layout));
}

static int io_error(const struct reservoir_disk *d, struct error *e)
{
    return error_set(e, FL_IO, "%s: %s", d->path, errno != 0 ? strerror(errno) : "it is cut short");
}

static int write_at(struct reservoir_disk *d, const void *data, size_t size, off_t at, struct error *e)
{
    const uint8_t *p = data;
    while (size > 0) {
        ssize_t n = pwrite(d->fd, p, size, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return io_error(d, e);
        p += n;
        at += n;
        size -= (size_t)n;
    }
    return FL_OK;
}

static bool read_at(const struct reservoir_disk *d, void *data, size_t size, off_t at)
{
    return pread(d->fd, data, size, at) == (ssize_t)size;
}

static off_t slot_at(const struct reservoir_disk *d, int64_t i)
{
    return FIRST_SLOT + (off_t)i * (off_t)d->slot_bytes;
}

/* --- headers --- */

static int write_header(struct reservoir_disk *d, const struct disk_state *state, struct error *e)
{
    struct header h = {.magic = MAGIC, .generation = d->generation + 1, .state = *state};
    int rc;
    memcpy(h.layout, d->layout, sizeof h.layout);
    h.checksum = header_sum(&h);
    rc = write_at(d, &h, sizeof h, (off_t)(h.generation % 2) * HEADER_STEP, e);
    if (rc == FL_OK && fdatasync(d->fd) != 0)
        rc = io_error(d, e);
    if (rc == FL_OK)
        d->generation = h.generation;
    return rc;
}

/* The newer of the two that are whole and of this layout. */
static bool read_header(struct reservoir_disk *d, struct disk_state *state)
{
    bool found = false;
    for (int i = 0; i < 2; i++) {
        struct header h;
        if (!read_at(d, &h, sizeof h, (off_t)i * HEADER_STEP) ||
            memcmp(h.magic, MAGIC, sizeof h.magic) != 0 || h.checksum != header_sum(&h) ||
            memcmp(h.layout, d->layout, sizeof h.layout) != 0 || (found && h.generation < d->generation))
            continue;
        found = true;
        d->generation = h.generation;
        *state = h.state;
    }
    return found;
}

/* --- opening --- */

static int lay_out(struct reservoir_disk *d, const struct reservoir_setup *s, struct error *e)
{
    size_t at = sizeof(struct slot_head), most = s->most_bytes > FIRST_SLOT ? s->most_bytes - FIRST_SLOT : 0;
    for (int k = 0; k < s->n_exits; k++) {
        d->offset[k] = at;
        at += sizeof(uint16_t) * (size_t)s->exit[k].dim;
    }
    d->offset[RESERVOIR_SCORES] = at;
    at += s->scores ? sizeof(uint16_t) * (size_t)s->classes : 0;
    d->slot_bytes = (at + 7) / 8 * 8;
    d->slots = (int64_t)(most / d->slot_bytes);
    if (d->slots > MOST_SLOTS)
        d->slots = MOST_SLOTS;
    if (d->slots < FEWEST)
        return error_set(e, FL_CONFIG,
                         "%zu bytes hold %lld requests of %zu bytes, at least %d are needed: raise "
                         "updates.reservoir_mb or take smaller grids",
                         s->most_bytes, (long long)d->slots, d->slot_bytes, FEWEST);
    digest_of(d->layout, s->identity, sizeof s->identity);
    digest_add(d->layout, &s->classes, sizeof s->classes);
    digest_add(d->layout, &d->slots, sizeof d->slots);
    digest_add(d->layout, &s->scores, sizeof s->scores);
    for (int k = 0; k < s->n_exits; k++) {
        digest_add(d->layout, &s->exit[k].origin, sizeof s->exit[k].origin);
        digest_add(d->layout, &s->exit[k].dim, sizeof s->exit[k].dim);
    }
    return FL_OK;
}

static int start_anew(struct reservoir_disk *d, struct disk_state *state, struct error *e)
{
    *state = (struct disk_state){0};
    if (ftruncate(d->fd, 0) != 0 || ftruncate(d->fd, slot_at(d, d->slots)) != 0)
        return io_error(d, e);
    return write_header(d, state, e);
}

int disk_open(struct reservoir_disk *d, const struct reservoir_setup *s, struct disk_state *state, bool *anew,
              struct error *e)
{
    int rc;
    memset(d, 0, sizeof *d);
    d->fd = -1;
    if ((rc = lay_out(d, s, e)) != FL_OK)
        return rc;
    if (snprintf(d->path, sizeof d->path, "%s", s->path) >= (int)sizeof d->path)
        return error_set(e, FL_CONFIG, "%.200s...: the path is too long", s->path);
    d->room = malloc(d->slot_bytes);
    if (d->room == NULL)
        return error_set(e, FL_NOMEM, "no memory for a slot of %zu bytes", d->slot_bytes);
    d->fd = open(d->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->fd < 0)
        return io_error(d, e);
    *anew = !read_header(d, state);
    return *anew ? start_anew(d, state, e) : FL_OK;
}

void disk_close(struct reservoir_disk *d)
{
    if (d->fd >= 0)
        close(d->fd);
    free(d->room);
}

/* --- slots --- */

static uint64_t slot_sum(const struct reservoir_disk *d)
{
    const struct slot_head *h = (const void *)d->room;
    size_t head = offsetof(struct slot_head, truth);
    uint64_t sum = XXH3_64bits(&h->request, head - sizeof h->checksum);
    return XXH3_64bits_withSeed(d->room + sizeof *h, d->slot_bytes - sizeof *h, sum);
}

static uint32_t truth_check(uint64_t request, int32_t truth)
{
    return (uint32_t)XXH3_64bits_withSeed(&truth, sizeof truth, request);
}

int64_t disk_used(const struct reservoir_disk *d)
{
    off_t end = lseek(d->fd, FIRST_SLOT, SEEK_HOLE);
    if (end < FIRST_SLOT || lseek(d->fd, end, SEEK_DATA) >= 0)
        return d->slots;
    end = (end - FIRST_SLOT + (off_t)d->slot_bytes - 1) / (off_t)d->slot_bytes;
    return end < d->slots ? end : d->slots;
}

bool disk_read(struct reservoir_disk *d, int64_t i)
{
    struct slot_head *h = (void *)d->room;
    if (!read_at(d, d->room, d->slot_bytes, slot_at(d, i)) || h->checksum != slot_sum(d))
        return false;
    if (h->truth_check != truth_check(h->request, h->truth))
        h->truth = -1;
    return true;
}

int disk_write(struct reservoir_disk *d, int64_t i, struct error *e)
{
    struct slot_head *h = (void *)d->room;
    h->truth_check = truth_check(h->request, h->truth);
    h->checksum = slot_sum(d);
    return write_at(d, d->room, d->slot_bytes, slot_at(d, i), e);
}

int disk_write_truth(struct reservoir_disk *d, int64_t i, uint64_t request, int32_t truth, struct error *e)
{
    struct {
        int32_t truth;
        uint32_t check;
    } part = {truth, truth_check(request, truth)};
    return write_at(d, &part, sizeof part, slot_at(d, i) + (off_t)offsetof(struct slot_head, truth), e);
}

bool disk_read_halves(struct reservoir_disk *d, int64_t i, int exit, uint16_t *out, size_t n)
{
    return read_at(d, out, n * sizeof *out, slot_at(d, i) + (off_t)d->offset[exit]);
}

int disk_sync(struct reservoir_disk *d, const struct disk_state *state, struct error *e)
{
    if (fdatasync(d->fd) != 0)
        return io_error(d, e);
    return write_header(d, state, e);
}
