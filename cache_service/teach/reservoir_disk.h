/* reservoir_disk.h - the reservoir's file: two headers in turn, then slots of one size
 *
 * A header says up to which stream id slots count. It is written after the slots are on disk, so a slot with
 * a later id is one whose record was not acknowledged: it is none. Native byte order: the file does not
 * travel.
 */
#ifndef FREEZELINE_RESERVOIR_DISK_H
#define FREEZELINE_RESERVOIR_DISK_H

#include "reservoir.h"

struct stream_id {
    uint64_t ms, n;
};

/* What a slot says before its halves. Checksummed, but for truth, which comes later and has a check of its
 * own.
 */
struct slot_head {
    uint64_t checksum, request;
    struct stream_id id;
    uint64_t moment_ms;
    int32_t label;
    uint32_t flags;  /* SLOT_AUDIT */
    uint32_t exits;  /* bit per exit that is there */
    uint32_t scored; /* the network's scores are */
    int32_t truth;
    uint32_t truth_check;
};
_Static_assert(sizeof(struct slot_head) == 64, "halves are aligned");
#define SLOT_AUDIT 1u

struct disk_state {
    struct stream_id last;
    uint64_t candidate;
};

struct reservoir_disk {
    int fd;
    size_t slot_bytes, offset[PIPELINE_MAX_EXITS + 1]; /* of an exit's halves (or the scores) in a slot */
    int64_t slots;
    uint64_t generation; /* of the header written last */
    uint8_t layout[16];
    char path[4096];
    uint8_t *room; /* [slot_bytes] */
};

/* *anew: nothing that counts was there. */
int disk_open(struct reservoir_disk *d, const struct reservoir_setup *s, struct disk_state *state, bool *anew,
              struct error *e);
void disk_close(struct reservoir_disk *d);
/* Slots from this one on were never written: the file has a hole there. */
int64_t disk_used(const struct reservoir_disk *d);
/* Reads slot i into d->room; false when it is none. */
bool disk_read(struct reservoir_disk *d, int64_t i);
/* Writes d->room, whose head lacks the checksum, to slot i. FL_IO. */
int disk_write(struct reservoir_disk *d, int64_t i, struct error *e);
int disk_write_truth(struct reservoir_disk *d, int64_t i, uint64_t request, int32_t truth, struct error *e);
/* The halves of an exit in slot i. */
bool disk_read_halves(struct reservoir_disk *d, int64_t i, int exit, uint16_t *out, size_t n);
/* Slots first, then a header with `state`; both on disk. */
int disk_sync(struct reservoir_disk *d, const struct disk_state *state, struct error *e);

#endif
