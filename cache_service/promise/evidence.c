/* evidence.c - verdicts and answers of calibration points, in memory and on disk
 *
 * Layout, native (a build's own scratch, it does not travel): struct file_header, n_exits x struct file_exit,
 * then per exit labels and confidences, the full answers, the true ones where there are any, and those of the
 * network that serves where that is another.
 */
#include "evidence.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/whole_file.h"

#define EVIDENCE_MAGIC   "FLEVIDE"
#define EVIDENCE_VERSION 1u
#define MAX_POINTS       (1 << 28)
#define MAX_BYTES        ((uint64_t)1 << 40)

struct file_header {
    char magic[8];
    uint32_t version, n_exits;
    int64_t points;
    uint32_t truth, last;
    uint8_t identity[16];
    uint64_t checksum; /* of all that follows */
};

struct file_exit {
    char name[64], kind[16];
    uint32_t placed, by_half;
    double before, lookup;
};

int evidence_new(struct evidence *out, int n_exits, int64_t points, bool truth)
{
    size_t n = (size_t)points;
    bool all = true;
    memset(out, 0, sizeof *out);
    out->n_exits = n_exits;
    out->points = points;
    for (int k = 0; k < n_exits; k++) {
        out->exit[k].label = calloc(n + 1, sizeof(int32_t));
        out->exit[k].confidence = calloc(n + 1, sizeof(float));
        all = all && out->exit[k].label != NULL && out->exit[k].confidence != NULL;
    }
    out->full = calloc(n + 1, sizeof(int32_t));
    out->truth = truth ? calloc(n + 1, sizeof(int32_t)) : NULL;
    if (all && out->full != NULL && (!truth || out->truth != NULL))
        return FL_OK;
    evidence_release(out);
    return FL_NOMEM;
}

int evidence_add_last(struct evidence *ev)
{
    ev->last = calloc((size_t)ev->points + 1, sizeof *ev->last);
    return ev->last != NULL ? FL_OK : FL_NOMEM;
}

void evidence_release(struct evidence *ev)
{
    for (int k = 0; k < ev->n_exits; k++) {
        free(ev->exit[k].label);
        free(ev->exit[k].confidence);
    }
    free(ev->full);
    free(ev->truth);
    free(ev->last);
    memset(ev, 0, sizeof *ev);
}

static void describe_exit(struct evidence_exit *to, const struct evidence_exit *from)
{
    memcpy(to->name, from->name, sizeof to->name);
    memcpy(to->kind, from->kind, sizeof to->kind);
    to->placed = from->placed;
    to->by_half = from->by_half;
    to->before = from->before;
    to->lookup = from->lookup;
}

int evidence_take(struct evidence *out, const struct evidence *from, const int32_t *row, int64_t n)
{
    int rc = evidence_new(out, from->n_exits, n, from->truth != NULL);
    if (rc == FL_OK && from->last != NULL && (rc = evidence_add_last(out)) != FL_OK)
        evidence_release(out);
    if (rc != FL_OK)
        return rc;
    memcpy(out->identity, from->identity, sizeof out->identity);
    out->network_ms = from->network_ms;
    for (int k = 0; k < from->n_exits; k++) {
        describe_exit(&out->exit[k], &from->exit[k]);
        for (int64_t i = 0; i < n; i++) {
            out->exit[k].label[i] = from->exit[k].label[row[i]];
            out->exit[k].confidence[i] = from->exit[k].confidence[row[i]];
        }
    }
    for (int64_t i = 0; i < n; i++) {
        out->full[i] = from->full[row[i]];
        if (from->truth != NULL)
            out->truth[i] = from->truth[row[i]];
        if (from->last != NULL)
            out->last[i] = from->last[row[i]];
    }
    return FL_OK;
}

/* --- files --- */

/* Where each part of the file goes to or comes from, in the file's order. */
typedef bool (*part_function)(void *arg, void *data, size_t size);

static bool each_array(const struct evidence *ev, part_function part, void *arg)
{
    size_t n = (size_t)ev->points;
    bool ok = true;
    for (int k = 0; k < ev->n_exits && ok; k++)
        ok = part(arg, ev->exit[k].label, n * sizeof(int32_t)) &&
             part(arg, ev->exit[k].confidence, n * sizeof(float));
    ok = ok && part(arg, ev->full, n * sizeof(int32_t));
    ok = ok && (ev->truth == NULL || part(arg, ev->truth, n * sizeof(int32_t)));
    return ok && (ev->last == NULL || part(arg, ev->last, n * sizeof(int32_t)));
}

static bool put(void *arg, void *data, size_t size)
{
    return size == 0 || fwrite(data, 1, size, arg) == size;
}

/* The file as text of *size bytes, malloc'ed; NULL when out of memory. */
static char *format(const struct evidence *ev, size_t *size)
{
    struct file_header h = {.magic = EVIDENCE_MAGIC,
                            .version = EVIDENCE_VERSION,
                            .n_exits = (uint32_t)ev->n_exits,
                            .points = ev->points,
                            .truth = ev->truth != NULL,
                            .last = ev->last != NULL};
    char *text = NULL;
    FILE *to = open_memstream(&text, size);
    bool ok;
    if (to == NULL)
        return NULL;
    memcpy(h.identity, ev->identity, sizeof h.identity);
    ok = put(to, &h, sizeof h);
    for (int k = 0; k < ev->n_exits; k++) {
        const struct evidence_exit *x = &ev->exit[k];
        struct file_exit f = {
            .placed = x->placed, .by_half = x->by_half, .before = x->before, .lookup = x->lookup};
        memcpy(f.name, x->name, sizeof f.name);
        memcpy(f.kind, x->kind, sizeof f.kind);
        ok = ok && put(to, &f, sizeof f);
    }
    ok = ok && each_array(ev, put, to);
    if (fclose(to) != 0 || !ok) {
        free(text);
        return NULL;
    }
    h.checksum = XXH3_64bits(text + sizeof h, *size - sizeof h);
    memcpy(text, &h, sizeof h);
    return text;
}

int evidence_digest(const struct evidence *ev, uint64_t *out)
{
    size_t size = 0;
    char *text = format(ev, &size);
    if (text == NULL)
        return FL_NOMEM;
    *out = XXH3_64bits(text, size);
    free(text);
    return FL_OK;
}

int evidence_save(const struct evidence *ev, const char *path, struct error *e)
{
    size_t size = 0;
    char *text = format(ev, &size);
    int rc = text ? file_replace(path, &(struct file_part){text, size}, 1, e)
                  : error_set(e, FL_NOMEM, "no memory to write %s", path);
    free(text);
    return rc;
}

struct reader {
    const uint8_t *at;
    size_t left;
};

static bool take(void *arg, void *data, size_t size)
{
    struct reader *r = arg;
    if (size > r->left)
        return false;
    memcpy(data, r->at, size);
    r->at += size;
    r->left -= size;
    return true;
}

static int check_header(const struct file_header *h, size_t size, const uint8_t *identity, const char *path,
                        struct error *e)
{
    uint64_t need;
    if (memcmp(h->magic, EVIDENCE_MAGIC, sizeof h->magic) != 0)
        return error_set(e, FL_CORRUPT, "%s holds no evidence: build again", path);
    if (h->version != EVIDENCE_VERSION)
        return error_set(e, FL_STALE, "%s was written by another version: build again", path);
    if (identity != NULL && memcmp(h->identity, identity, sizeof h->identity) != 0)
        return error_set(e, FL_STALE,
                         "%s is about another model (network, `input`, precision or labels): build again",
                         path);
    if (h->n_exits > PIPELINE_MAX_EXITS || h->points < 0 || h->points > MAX_POINTS || h->truth > 1 ||
        h->last > 1)
        return error_set(e, FL_CORRUPT, "%s: sizes are wrong: build again", path);
    need = sizeof *h + h->n_exits * sizeof(struct file_exit) +
           (uint64_t)h->points * 4 * (2 * (uint64_t)h->n_exits + 1 + h->truth + h->last);
    return need == size ? FL_OK
                        : error_set(e, FL_CORRUPT, "%s has %zu bytes, %llu are needed: build again", path,
                                    size, (unsigned long long)need);
}

static bool take_exit(struct reader *r, struct evidence_exit *x)
{
    struct file_exit f;
    if (!take(r, &f, sizeof f) || memchr(f.name, 0, sizeof f.name) == NULL ||
        memchr(f.kind, 0, sizeof f.kind) == NULL || !isfinite(f.before) || !isfinite(f.lookup))
        return false;
    memcpy(x->name, f.name, sizeof x->name);
    memcpy(x->kind, f.kind, sizeof x->kind);
    x->placed = f.placed != 0;
    x->by_half = f.by_half != 0;
    x->before = f.before;
    x->lookup = f.lookup;
    return true;
}

static int parse(struct evidence *out, const uint8_t *data, size_t size, const uint8_t *identity,
                 const char *path, struct error *e)
{
    struct reader r = {data, size};
    struct file_header h;
    bool ok = take(&r, &h, sizeof h);
    int rc = ok ? check_header(&h, size, identity, path, e)
                : error_set(e, FL_CORRUPT, "%s is too short: build again", path);
    if (rc == FL_OK && XXH3_64bits(r.at, r.left) != h.checksum)
        rc = error_set(e, FL_CORRUPT, "%s: its checksum is wrong: build again", path);
    if (rc != FL_OK)
        return rc;
    if (evidence_new(out, (int)h.n_exits, h.points, h.truth) != FL_OK ||
        (h.last && evidence_add_last(out) != FL_OK)) {
        evidence_release(out);
        return error_set(e, FL_NOMEM, "no memory to read %s", path);
    }
    memcpy(out->identity, h.identity, sizeof out->identity);
    for (int k = 0; k < out->n_exits && ok; k++)
        ok = take_exit(&r, &out->exit[k]);
    if (ok && each_array(out, take, &r))
        return FL_OK;
    evidence_release(out);
    return error_set(e, FL_CORRUPT, "%s: an exit in it is wrong: build again", path);
}

int evidence_load(struct evidence *out, const char *path, const uint8_t *identity, struct error *e)
{
    void *data;
    size_t size;
    int rc;
    memset(out, 0, sizeof *out);
    if ((rc = file_read(&data, &size, path, MAX_BYTES, e)) != FL_OK)
        return rc;
    rc = parse(out, data, size, identity, path, e);
    free(data);
    return rc;
}
