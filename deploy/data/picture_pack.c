/* picture_pack.c - see picture_pack.h */
#include "picture_pack.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "deploy/tool/interrupt.h"
#include "deploy/tool/state.h"
#include "picture/preprocess.h"
#include "stages/simd/team.h"

#define ROUND_PER_THREAD 16 /* pictures between two looks at the clock */

struct packing {
    struct picture_pack *out;
    const struct picture_source *from;
    const struct picture *to;
    const struct pipeline *pipeline;
    int64_t at; /* the round's first */
    int *rc;    /* of the round's pictures */
    struct error *why;
};

static size_t picture_bytes(const struct picture *to)
{
    return (size_t)to->channels * (size_t)to->height * (size_t)to->width;
}

/* A file that no name leads to. */
static int open_unnamed(const char *folder)
{
    char path[STATE_PATH_BYTES + 16];
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0)
        return fd;
    snprintf(path, sizeof path, "%s/pictures-XXXXXX", folder); /* where the file system has no such files */
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static int no_room(const char *folder, size_t bytes, int reason, struct error *e)
{
    struct statvfs fs;
    double left = statvfs(folder, &fs) ? 0 : (double)fs.f_bavail * (double)fs.f_frsize;

    return error_set(e, FL_IO,
                     "%s: %.1f GB for decoded pictures cannot be had (%.1f GB are free): %s; take a range of "
                     "them (#0-9999), or another directory (--set state=DIR)",
                     folder, (double)bytes / 1e9, left / 1e9, strerror(reason));
}

static int take_room(struct picture_pack *out, const struct pipeline *p, struct error *e)
{
    char folder[STATE_PATH_BYTES];
    int fd, reason, rc = state_path(folder, p, e, "build");

    if (rc || (rc = state_make(folder, e)))
        return rc;
    if ((fd = open_unnamed(folder)) < 0)
        return error_set(e, FL_IO, "cannot make a file in %s: %s", folder, strerror(errno));
    reason = posix_fallocate(fd, 0, (off_t)out->bytes);
    if (!reason) {
        out->pixels = mmap(NULL, out->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        reason = errno;
        if (out->pixels == MAP_FAILED)
            out->pixels = NULL;
    }
    close(fd);
    return out->pixels ? FL_OK : no_room(folder, out->bytes, reason, e);
}

static void pack_one(void *arg, int i, int thread)
{
    struct packing *k = arg;
    int64_t at = k->at + i;
    struct image image;

    (void)thread;
    k->rc[i] = k->from->load(k->from->arg, at, &image, &k->why[i]);
    if (k->rc[i])
        return;
    k->rc[i] = preprocess_pixels(&image, k->to, k->pipeline,
                                 k->out->pixels + (size_t)at * picture_bytes(k->to), &k->why[i]);
    image_release(&image);
}

/* Broken pictures are noted, in order; what is nobody's fault but the machine's ends it. */
static int note_round(struct packing *k, int n, struct error *e)
{
    struct picture_pack *out = k->out;

    for (int i = 0; i < n; i++) {
        if (!k->rc[i])
            continue;
        if (k->rc[i] == FL_NOMEM || k->rc[i] == FL_SHAPE) {
            *e = k->why[i];
            return k->rc[i];
        }
        out->broken[k->at + i] = true;
        if (out->n_broken < PICTURE_PACK_TOLD)
            out->why[out->n_broken] = k->why[i];
        out->n_broken++;
    }
    return FL_OK;
}

static int pack_all(struct packing *k, struct team *team, int most, struct progress *progress,
                    struct error *e)
{
    int64_t count = k->from->count;
    int rc = FL_OK;

    for (k->at = 0; !rc && k->at < count;) {
        int n = count - k->at < most ? (int)(count - k->at) : most;
        if (progress)
            progress_update(progress, "read pictures", k->at, count, NAN);
        if (interrupt_seen())
            return error_set(e, FL_CANCELLED, "stopped after %lld of %lld pictures", (long long)k->at,
                             (long long)count);
        team_run(team, pack_one, k, n);
        rc = note_round(k, n, e);
        k->at += n;
    }
    if (progress && !rc)
        progress_update(progress, "read pictures", count, count, NAN);
    return rc;
}

int picture_pack_make(struct picture_pack *out, const struct picture_source *from, const struct picture *to,
                      const struct pipeline *p, struct progress *progress, struct error *e)
{
    struct packing k = {.out = out, .from = from, .to = to, .pipeline = p};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int threads = cores < 1 ? 1 : cores > 64 ? 64 : (int)cores, most = threads * ROUND_PER_THREAD, rc;
    struct team *team = NULL;

    *out = (struct picture_pack){.bytes = picture_bytes(to) * (size_t)from->count};
    if (from->count > (int64_t)(SIZE_MAX / 2 / picture_bytes(to)))
        return error_set(e, FL_TOO_LARGE, "%lld pictures are larger than memory can be",
                         (long long)from->count);
    if ((rc = take_room(out, p, e)))
        return rc;
    out->broken = calloc((size_t)from->count, sizeof *out->broken);
    k.rc = calloc((size_t)most, sizeof *k.rc);
    k.why = calloc((size_t)most, sizeof *k.why);
    if (!out->broken || !k.rc || !k.why)
        rc = error_set(e, FL_NOMEM, "no memory to read pictures");
    else if (team_new(&team, threads))
        rc = error_set(e, FL_UNAVAILABLE, "cannot start %d threads", threads);
    else
        rc = pack_all(&k, team, most, progress, e);
    team_free(team);
    free(k.rc);
    free(k.why);
    return rc;
}

void picture_pack_release(struct picture_pack *k)
{
    if (k->pixels)
        munmap(k->pixels, k->bytes);
    free(k->broken);
    *k = (struct picture_pack){0};
}
