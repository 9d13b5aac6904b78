/* backlog.c - segments of records, added at the last and read from the first */
#include "backlog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/whole_file.h"

#define SEGMENT_BYTES (4u << 20)
#define SEGMENTS      8 /* at least so many, whatever the limit: the oldest goes alone */
#define RECORD_MAX    (64u << 20)
#define MAGIC         "FLSPOOL1"

/* On the disk, in this host's byte order. */
struct segment_header {
    char magic[8];
    char producer[STORE_PRODUCER_BYTES];
    uint64_t first;
    uint64_t digest; /* of what stands before it */
    uint64_t acknowledged;
};
struct record_header {
    uint32_t size, reserved;
    uint64_t digest;
};

struct segment {
    uint64_t number; /* of the file */
    char producer[STORE_PRODUCER_BYTES];
    uint64_t first; /* number of its first record */
    uint64_t count, acknowledged;
    uint64_t bytes;
};

struct backlog {
    char *folder;
    uint64_t max_bytes, segment_bytes;
    int lock;                /* -1: not opened yet */
    struct segment *segment; /* [n], oldest first */
    int n, capacity;
    int in, out;       /* descriptors of the last and the first one; -1 */
    bool fresh;        /* the last one was made by this process, which may go on with it */
    uint64_t position; /* in the first one: where what is not acknowledged begins */
    uint64_t numbers;  /* of files, given out so far */
    uint64_t bytes, held, lost;
};

int backlog_new(struct backlog **out, const char *folder, uint64_t max_bytes)
{
    struct backlog *b = calloc(1, sizeof *b);
    *out = NULL;
    if (!b || !(b->folder = strdup(folder))) {
        free(b);
        return FL_NOMEM;
    }
    b->lock = b->in = b->out = -1;
    b->max_bytes = max_bytes;
    b->segment_bytes = max_bytes / SEGMENTS < SEGMENT_BYTES ? max_bytes / SEGMENTS : SEGMENT_BYTES;
    *out = b;
    return FL_OK;
}

static void close_file(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void backlog_free(struct backlog *b)
{
    if (!b)
        return;
    close_file(&b->in);
    close_file(&b->out);
    close_file(&b->lock);
    free(b->segment);
    free(b->folder);
    free(b);
}

uint64_t backlog_count(const struct backlog *b)
{
    return b->held;
}

uint64_t backlog_lost(const struct backlog *b)
{
    return b->lost;
}

/* --- files --- */

#define PATH_BYTES 4096

static void path_of(const struct backlog *b, uint64_t number, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/%020" PRIu64 ".seg", b->folder, number);
}

static int io_error(const struct backlog *b, struct error *e)
{
    return error_set(e, FL_IO, "%s: %s", b->folder, strerror(errno));
}

static uint64_t digest_bytes(const void *bytes, size_t size)
{
    uint8_t digest[DIGEST_BYTES];
    digest_of(digest, bytes, size);
    return digest_short(digest);
}

static uint64_t header_digest(const struct segment_header *h)
{
    return digest_bytes(h, offsetof(struct segment_header, digest));
}

/* A new entry at the end; NULL: no memory. */
static struct segment *add_segment(struct backlog *b)
{
    if (b->n == b->capacity) {
        int capacity = b->capacity ? 2 * b->capacity : 64;
        struct segment *more = realloc(b->segment, sizeof *more * (size_t)capacity);
        if (!more)
            return NULL;
        b->segment = more;
        b->capacity = capacity;
    }
    return memset(&b->segment[b->n++], 0, sizeof *b->segment);
}

/* The first segment goes; what was not acknowledged of it is lost. */
static void drop_first(struct backlog *b)
{
    struct segment *s = b->segment;
    uint64_t left = s->count - s->acknowledged;
    char path[PATH_BYTES];
    path_of(b, s->number, path);
    unlink(path);
    close_file(&b->out);
    if (b->n == 1)
        close_file(&b->in);
    b->position = 0;
    b->bytes -= s->bytes;
    b->held -= left;
    b->lost += left;
    memmove(s, s + 1, sizeof *s * (size_t)--b->n);
}

/* --- what is there --- */

/* Counts whole records from `at` on; a damaged one that is not the end counts. Returns where they end. */
static size_t scan(const uint8_t *bytes, size_t size, size_t at, uint64_t *count)
{
    struct record_header h;
    *count = 0;
    while (size - at >= sizeof h) {
        memcpy(&h, bytes + at, sizeof h);
        if (h.size < UPDATE_MIN_RECORD || h.size > RECORD_MAX || h.size > size - at - sizeof h)
            break;
        at += sizeof h + h.size;
        ++*count;
    }
    return at;
}

static void take_segment(struct backlog *b, uint64_t number, const uint8_t *bytes, size_t size)
{
    struct segment_header h = {.magic = ""};
    struct segment *s;
    uint64_t count;
    size_t end;
    char path[PATH_BYTES];
    path_of(b, number, path);
    if (size >= sizeof h)
        memcpy(&h, bytes, sizeof h);
    if (size < sizeof h || memcmp(h.magic, MAGIC, sizeof h.magic) || h.digest != header_digest(&h) ||
        h.producer[sizeof h.producer - 1]) {
        log_warn("%s is no file of waiting updates of this version: it stays there, unused", path);
        return;
    }
    end = scan(bytes, size, sizeof h, &count);
    if (end != size)
        log_warn("%s ends in the middle of an update, or is damaged there: what came after is lost", path);
    if (count <= h.acknowledged) {
        unlink(path);
        return;
    }
    if (!(s = add_segment(b)))
        return;
    *s = (struct segment){number, "", h.first, count, h.acknowledged, end};
    memcpy(s->producer, h.producer, sizeof s->producer);
    b->bytes += end;
    b->held += count - s->acknowledged;
}

static int is_segment(const struct dirent *entry)
{
    return strlen(entry->d_name) == 24 && strspn(entry->d_name, "0123456789") == 20 &&
           !strcmp(entry->d_name + 20, ".seg");
}

static void read_folder(struct backlog *b)
{
    struct dirent **entry;
    int n = scandir(b->folder, &entry, is_segment, alphasort);
    for (int i = 0; i < n; i++) {
        uint64_t number = strtoull(entry[i]->d_name, NULL, 10);
        char path[PATH_BYTES];
        struct error e = {0};
        void *bytes;
        size_t size;
        path_of(b, number, path);
        if (number > b->numbers)
            b->numbers = number;
        if (file_read(&bytes, &size, path, SEGMENT_BYTES + 2 * RECORD_MAX, &e))
            log_warn("%s: it stays there, unused", e.text);
        else {
            take_segment(b, number, bytes, size);
            free(bytes);
        }
        free(entry[i]);
    }
    if (n >= 0)
        free(entry);
    if (b->held)
        log_info("%" PRIu64 " updates wait in %s since before", b->held, b->folder);
}

/* With the one that it is in. */
static int make_folder(const struct backlog *b)
{
    char parent[PATH_BYTES];
    char *slash;
    snprintf(parent, sizeof parent, "%s", b->folder);
    if ((slash = strrchr(parent, '/')) && slash != parent) {
        *slash = '\0';
        mkdir(parent, 0755);
    }
    return mkdir(b->folder, 0700) && errno != EEXIST;
}

/* Where there is none and it is not to be made, none is opened. */
static int open_folder(struct backlog *b, bool make, struct error *e)
{
    char path[PATH_BYTES];
    int fd;
    if (b->lock >= 0 || (!make && access(b->folder, F_OK)))
        return FL_OK;
    if (make && make_folder(b))
        return io_error(b, e);
    snprintf(path, sizeof path, "%s/lock", b->folder);
    if ((fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
        return io_error(b, e);
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        close(fd);
        return error_set(e, FL_AGAIN, "%s is in use by another process", b->folder);
    }
    b->lock = fd;
    read_folder(b);
    return FL_OK;
}

int backlog_open(struct backlog *b, struct error *e)
{
    return open_folder(b, false, e);
}

/* --- adding --- */

static void sync_folder(const struct backlog *b)
{
    int fd = open(b->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

static int begin_segment(struct backlog *b, const struct store_parcel *p, struct error *e)
{
    struct segment_header h = {.magic = MAGIC, .first = p->first};
    struct segment *s;
    char path[PATH_BYTES];
    if (b->in >= 0)
        fdatasync(b->in);
    close_file(&b->in);
    b->fresh = false;
    memcpy(h.producer, p->producer, sizeof h.producer);
    h.digest = header_digest(&h);
    path_of(b, ++b->numbers, path);
    if ((b->in = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        return io_error(b, e);
    if (write(b->in, &h, sizeof h) != sizeof h || !(s = add_segment(b))) {
        int rc = io_error(b, e);
        unlink(path);
        close_file(&b->in);
        return rc;
    }
    *s = (struct segment){.number = b->numbers, .first = p->first, .bytes = sizeof h};
    memcpy(s->producer, p->producer, sizeof s->producer);
    b->bytes += sizeof h;
    b->fresh = true;
    sync_folder(b);
    return FL_OK;
}

static bool write_record(int fd, const struct update_record *r, uint64_t *at)
{
    struct record_header h = {.size = (uint32_t)r->size, .digest = digest_bytes(r->bytes, r->size)};
    struct iovec v[] = {{&h, sizeof h}, {r->bytes, r->size}};
    ssize_t size = (ssize_t)(sizeof h + r->size);
    if (pwritev(fd, v, 2, (off_t)*at) != size)
        return false;
    *at += (uint64_t)size;
    return true;
}

static int write_records(struct backlog *b, const struct store_parcel *p, struct error *e)
{
    struct segment *s = b->n ? &b->segment[b->n - 1] : NULL;
    uint64_t at;
    int rc;
    if (!b->fresh || b->in < 0 || s->bytes >= b->segment_bytes || s->first + s->count != p->first ||
        strcmp(s->producer, p->producer)) {
        if ((rc = begin_segment(b, p, e)))
            return rc;
        s = &b->segment[b->n - 1];
    }
    at = s->bytes;
    for (int i = 0; i < p->n; i++)
        if (!write_record(b->in, &p->record[i], &at)) {
            rc = io_error(b, e);
            if (ftruncate(b->in, (off_t)s->bytes))
                log_warn("%s: %s", b->folder, strerror(errno)); /* a torn end: it is written over */
            return rc;
        }
    b->bytes += at - s->bytes;
    b->held += (uint64_t)p->n;
    s->bytes = at;
    s->count += (uint64_t)p->n;
    return FL_OK;
}

int backlog_add(struct backlog *b, const struct store_parcel *p, bool sync, struct error *e)
{
    uint64_t size = 0;
    int rc = open_folder(b, true, e);
    if (rc)
        return rc;
    for (int i = 0; i < p->n; i++)
        size += sizeof(struct record_header) + p->record[i].size;
    while (b->n > 1 && b->bytes + size > b->max_bytes)
        drop_first(b);
    rc = write_records(b, p, e);
    if (rc && b->n > 1) { /* the disk is full: the oldest makes room */
        drop_first(b);
        rc = write_records(b, p, e);
    }
    if (!rc && sync)
        fdatasync(b->in);
    return rc;
}

/* --- reading --- */

static bool read_exactly(int fd, void *to, size_t size, uint64_t at)
{
    return pread(fd, to, size, (off_t)at) == (ssize_t)size;
}

/* The header of the record at `at` of the first segment; false: the file is not what it was. */
static bool read_header(const struct backlog *b, uint64_t at, struct record_header *h)
{
    if (!read_exactly(b->out, h, sizeof *h, at))
        return false;
    return h->size >= UPDATE_MIN_RECORD && h->size <= RECORD_MAX;
}

/* Goes on to the record that is not acknowledged. */
static bool skip_to(struct backlog *b, uint64_t from, uint64_t to)
{
    struct record_header h;
    for (; from < to; from++) {
        if (!read_header(b, b->position, &h))
            return false;
        b->position += sizeof h + h.size;
    }
    return true;
}

/* The first segment is open for reading, at what is not acknowledged; drops those that can't be. False: there
 * are none. */
static bool open_first(struct backlog *b)
{
    while (b->n) {
        char path[PATH_BYTES];
        if (b->out >= 0)
            return true;
        path_of(b, b->segment->number, path);
        b->position = sizeof(struct segment_header);
        if ((b->out = open(path, O_RDWR | O_CLOEXEC)) >= 0 && skip_to(b, 0, b->segment->acknowledged))
            return true;
        log_warn("%s can't be read: its updates are lost", path);
        drop_first(b);
    }
    return false;
}

/* FL_CORRUPT: to be passed over; FL_IO: nothing can be read from there on. */
static int read_record(const struct backlog *b, uint64_t *at, struct update_record *to)
{
    struct record_header h;
    if (!read_header(b, *at, &h))
        return FL_IO;
    to->size = h.size;
    if (!(to->bytes = malloc(h.size)))
        return FL_NOMEM;
    if (!read_exactly(b->out, to->bytes, h.size, *at + sizeof h)) {
        free(to->bytes);
        return FL_IO;
    }
    *at += sizeof h + h.size;
    if (h.digest == digest_bytes(to->bytes, h.size))
        return FL_OK;
    free(to->bytes);
    return FL_CORRUPT;
}

static void pass_over(struct backlog *b, uint64_t n)
{
    struct segment *s = b->segment;
    if (!skip_to(b, s->acknowledged, s->acknowledged + n)) {
        drop_first(b);
        return;
    }
    s->acknowledged += n;
    b->held -= n;
    if (s->acknowledged == s->count && !(b->n == 1 && b->fresh && s->bytes < b->segment_bytes)) {
        drop_first(b);
        return;
    }
    if (pwrite(b->out, &s->acknowledged, sizeof s->acknowledged,
               offsetof(struct segment_header, acknowledged)) != sizeof s->acknowledged)
        log_warn("%s: %s: should this process die now, updates are sent again, in vain", b->folder,
                 strerror(errno));
}

int backlog_read(struct backlog *b, char producer[STORE_PRODUCER_BYTES], uint64_t *first,
                 struct update_record *to, int *n, size_t most_bytes, struct error *e)
{
    int most = *n, rc = backlog_open(b, e);
    size_t bytes = 0;
    *n = 0;
    while (!rc && !*n && b->held && open_first(b)) {
        const struct segment *s = b->segment;
        uint64_t at = b->position;
        if (s->acknowledged == s->count) { /* it was kept to go on with, and another was begun */
            drop_first(b);
            continue;
        }
        memcpy(producer, s->producer, STORE_PRODUCER_BYTES);
        *first = s->first + s->acknowledged;
        while (!rc && *n < most && bytes < most_bytes && s->acknowledged + (unsigned)*n < s->count)
            if (!(rc = read_record(b, &at, &to[*n])))
                bytes += to[(*n)++].size;
        if (rc == FL_NOMEM)
            break;
        if (rc == FL_IO && !*n)
            drop_first(b);
        if (rc == FL_CORRUPT && !*n) {
            log_warn("an update in %s is damaged and lost", b->folder);
            b->lost++;
            pass_over(b, 1);
        }
        rc = FL_OK; /* what is damaged begins the next time */
    }
    if (rc == FL_NOMEM)
        error_set(e, FL_NOMEM, "out of memory");
    return rc;
}

void backlog_acknowledge(struct backlog *b, const char *producer, uint64_t last)
{
    const struct segment *s = open_first(b) ? b->segment : NULL;
    if (s && !strcmp(s->producer, producer) && last >= s->first + s->acknowledged &&
        last < s->first + s->count)
        pass_over(b, last + 1 - s->first - s->acknowledged);
}
