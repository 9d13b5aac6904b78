/* ship.c - two scripts a host: the first asks what is there; the second takes what comes on its input, puts
 * everything at its place and has it checked
 *
 * So a host that has everything takes two round trips, and one that has nothing takes the same two.
 */
#include "ship.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "deploy/tool/progress.h"
#include "ship_scripts.h"

#define KEEP_BYTES  ((int64_t)8 << 30)
#define SPARE_BYTES ((int64_t)4 << 20) /* of a host's disk, beside what is sent */
#define ROUNDS      3                  /* for contents that the disk there returns otherwise */
#define ASK_MS      60000
#define BAD_BYTES   65536

struct host_ship {
    struct host_facts facts;
    struct ship_step *step;
    struct ship_place at;
    char *bad;    /* objects found wrong, by spaces */
    bool full;    /* the store is larger than it may be */
    int file, fd; /* the one that is being sent; -1 */
    uint64_t offset;
};

struct ship {
    const struct shipment *s;
    const struct ship_options *o;
    struct host_ship *host;
    struct shipped *shipped;
    struct progress progress;
    pthread_mutex_t lock; /* of progress and the two below */
    int64_t done, total;
};

/* Names for the host's folder and for half copies to it: of this machine and user, so that two who ship at
 * once do not write one file. */
static void name_host(struct ship *ship, struct transport *t, int host)
{
    struct host_ship *h = &ship->host[host];
    char from[256], name[64];
    struct utsname here;
    uint8_t digest[DIGEST_BYTES];

    uname(&here);
    snprintf(from, sizeof from, "%s %d %.80s", here.nodename, (int)getuid(), transport_host(t, host));
    digest_of(digest, from, strlen(from));
    snprintf(h->at.part, sizeof h->at.part, ".%08x.part", (unsigned)digest_short(digest));
    snprintf(name, sizeof name, "%s", transport_host(t, host));
    for (char *c = name; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c))
            *c = '-';
    snprintf(h->at.folder, sizeof h->at.folder, "pipelines/%s@%s", ship->s->id, name);
}

static int ask_one(struct transport *t, int host, void *arg, struct error *e)
{
    struct ship *ship = arg;
    struct host_ship *h = &ship->host[host];
    struct host_result r;
    struct utsname here;
    char machine[160], *script;
    int rc;

    name_host(ship, t, host);
    h->at.store = ship->o->directory;
    h->at.most_bytes = ship->o->keep_bytes > 0 ? ship->o->keep_bytes : KEEP_BYTES;
    h->fd = -1;
    h->step = calloc((size_t)ship->s->n + 1, sizeof *h->step);
    h->bad = calloc(1, BAD_BYTES);
    script = ship_ask_script(ship->s, host, &h->at);
    rc = h->step && h->bad && script ? transport_script(t, host, script, NULL, ASK_MS, &r, e)
                                     : error_set(e, FL_NOMEM, "no memory");
    free(script);
    if (rc)
        return rc;
    if (r.status) {
        rc = error_set(e, FL_IO, "host %s: cannot keep files in %s (launch.directory): %.300s",
                       transport_host(t, host), ship->o->directory, r.out);
        free(r.out);
        return rc;
    }
    if ((rc = host_facts_read(&h->facts, r.out, r.size, e)))
        return error_wrap(e, rc, "host %s", transport_host(t, host));
    uname(&here);
    snprintf(machine, sizeof machine, "%s %s", here.sysname, here.machine);
    return host_facts_check(&h->facts, transport_host(t, host), machine, ship->s->glibc, e);
}

/* Opens the next file to send behind `file`, where it is to go on. */
static int open_next(const struct ship *ship, struct host_ship *h, struct error *e)
{
    for (h->file++; h->file < ship->s->n && !h->step[h->file].sent; h->file++)
        ;
    if (h->file == ship->s->n)
        return FL_OK;
    h->offset = h->step[h->file].offset;
    h->fd = open(ship->s->file[h->file].from, O_RDONLY | O_CLOEXEC);
    if (h->fd < 0)
        return error_set(e, FL_IO, "cannot read %s: %s", ship->s->file[h->file].from, strerror(errno));
    return FL_OK;
}

static void note_progress(struct ship *ship, struct host_ship *h, int64_t bytes)
{
    struct shipped *shipped = &ship->shipped[h - ship->host];

    shipped->bytes += bytes;
    pthread_mutex_lock(&ship->lock);
    ship->done += bytes;
    if (ship->o->progress && ship->total >= ship->progress.parts / 10) /* else it reads 0.0 of 0.0 */
        progress_update(&ship->progress, "copying to the hosts", ship->done, ship->total, NAN);
    pthread_mutex_unlock(&ship->lock);
}

struct sending {
    struct ship *ship;
    struct host_ship *h;
};

/* What a host still has to be sent, one file behind the other. */
static ssize_t next_bytes(void *arg, void *to, size_t room, struct error *e)
{
    struct ship *ship = ((struct sending *)arg)->ship;
    struct host_ship *h = ((struct sending *)arg)->h;
    const struct shipment_file *f;
    ssize_t n;

    for (;;) {
        if (h->fd < 0 && open_next(ship, h, e))
            return -1;
        if (h->file == ship->s->n)
            return 0;
        f = &ship->s->file[h->file];
        if (h->offset < f->bytes)
            break;
        close(h->fd);
        h->fd = -1;
        ship->shipped[h - ship->host].files++;
    }
    if (room > f->bytes - h->offset)
        room = (size_t)(f->bytes - h->offset);
    n = pread(h->fd, to, room, (off_t)h->offset);
    if (n <= 0)
        return error_set(e, FL_IO, "%s changed while it was copied", f->from), -1;
    h->offset += (uint64_t)n;
    note_progress(ship, h, n);
    return n;
}

/* Takes the objects that the host found wrong for missing. */
static void read_settled(struct host_ship *h, const char *out)
{
    char object[DIGEST_TEXT_BYTES];

    h->bad[0] = 0;
    for (const char *line = out; line; line = (line = strchr(line, '\n')) ? line + 1 : NULL) {
        size_t used = strlen(h->bad);
        h->full |= !strncmp(line, "full\n", 5);
        if (sscanf(line, "bad %32[0-9a-f]", object) == 1 && used + sizeof object < BAD_BYTES)
            snprintf(h->bad + used, BAD_BYTES - used, "%s ", object);
    }
}

/* Where freezeline does not run there, its own bytes may be wrong: it and its libraries count for missing. */
static void doubt_programs(const struct ship *ship, struct host_ship *h)
{
    h->bad[0] = 0;
    for (int i = 0; i < ship->s->n; i++)
        if (h->step[i].wanted && (ship->s->file[i].library || !strncmp(ship->s->file[i].to, "bin/", 4))) {
            size_t used = strlen(h->bad);
            snprintf(h->bad + used, BAD_BYTES - used, "%s ", ship->s->file[i].object);
        }
}

/* One run of the second script. *again: contents were wrong and have to be sent once more. */
static int settle(struct transport *t, int host, struct ship *ship, bool *again, struct error *e)
{
    struct host_ship *h = &ship->host[host];
    struct sending sending = {ship, h};
    const struct transport_stream stream = {.next = next_bytes, .arg = &sending};
    struct host_result r;
    char *script = ship_settle_script(ship->s, h->step, &h->at);
    int rc;

    h->file = -1;
    rc = script ? transport_script(t, host, script, &stream, 0, &r, e) : error_set(e, FL_NOMEM, "no memory");
    free(script);
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
    if (rc)
        return rc;
    if (r.status == SHIP_CANNOT_RUN)
        doubt_programs(ship, h);
    else
        read_settled(h, r.out);
    *again = *h->bad != 0;
    if (r.status == SHIP_CANNOT_RUN)
        rc = error_set(e, FL_UNSUPPORTED, "host %s: freezeline does not run in %s there: %.300s",
                       transport_host(t, host), h->facts.directory, r.out);
    else if (r.status)
        rc = error_set(e, FL_IO, "host %s: cannot keep what was copied to %s: %.300s",
                       transport_host(t, host), h->facts.directory, r.out);
    free(r.out);
    return rc;
}

static int check_space(const struct host_ship *h, const char *host, int64_t bytes, struct error *e)
{
    if (!bytes || h->facts.free_bytes < 0 || bytes + SPARE_BYTES <= h->facts.free_bytes)
        return FL_OK;
    return error_set(e, FL_IO,
                     "host %s: %s has %.1f MB free, %.1f MB have to be copied there: make room, or set "
                     "launch.directory",
                     host, h->facts.directory, (double)h->facts.free_bytes / 1e6, (double)bytes / 1e6);
}

static int send_one(struct transport *t, int host, void *arg, struct error *e)
{
    struct ship *ship = arg;
    struct host_ship *h = &ship->host[host];
    bool again = true;
    int rc = FL_OK;

    snprintf(ship->shipped[host].folder, sizeof ship->shipped[host].folder, "%s/%s", h->facts.directory,
             h->at.folder);
    for (int round = 0; again && round < ROUNDS; round++) {
        int64_t bytes = ship_plan(h->step, ship->s, host, &h->facts, h->at.part, h->bad);
        if ((rc = check_space(h, transport_host(t, host), bytes, e)))
            return rc;
        pthread_mutex_lock(&ship->lock);
        ship->total += bytes;
        pthread_mutex_unlock(&ship->lock);
        again = false;
        rc = settle(t, host, ship, &again, e);
        if (rc && !again)
            return rc;
    }
    return rc      ? rc
           : again ? error_set(e, FL_CORRUPT,
                               "host %s: files in %s are not what was copied there: is its disk sound?",
                               transport_host(t, host), h->facts.directory)
                   : FL_OK;
}

/* With `some` a host that fails is left out of what follows. */
static int leave_out(struct ship *ship, int host, int rc, struct error *e)
{
    if (rc && ship->o->some)
        snprintf(ship->shipped[host].why, sizeof ship->shipped[host].why, "%.299s", e->text);
    return ship->o->some ? FL_OK : rc;
}

static int ask(struct transport *t, int host, void *arg, struct error *e)
{
    return leave_out(arg, host, ask_one(t, host, arg, e), e);
}

static int send_to(struct transport *t, int host, void *arg, struct error *e)
{
    struct ship *ship = arg;
    return ship->shipped[host].why[0] ? FL_OK : leave_out(ship, host, send_one(t, host, arg, e), e);
}

static int prune(struct transport *t, int host, void *arg, struct error *e)
{
    struct ship *ship = arg;
    char *script;
    int rc;

    if (!ship->host[host].full || ship->shipped[host].why[0])
        return FL_OK;
    script = ship_prune_script(ship->s->id, &ship->host[host].at);
    rc = script ? transport_script(t, host, script, NULL, ASK_MS, NULL, e)
                : error_set(e, FL_NOMEM, "no memory");
    free(script);
    return rc;
}

int ship(struct transport *t, const struct shipment *s, const struct ship_options *o, struct shipped *shipped,
         struct error *e)
{
    int n = transport_hosts(t), rc;
    struct ship ship = {.s = s, .o = o, .shipped = shipped, .lock = PTHREAD_MUTEX_INITIALIZER};

    memset(shipped, 0, (size_t)n * sizeof *shipped);
    if (!(ship.host = calloc((size_t)n + 1, sizeof *ship.host)))
        return error_set(e, FL_NOMEM, "no memory");
    if (o->progress)
        progress_open(&ship.progress, o->progress);
    ship.progress.unit = "MB";
    ship.progress.parts = 1000000;
    if (!(rc = transport_each(t, ask, &ship, e)))
        rc = transport_each(t, send_to, &ship, e);
    if (!rc)
        rc = transport_each(t, prune, &ship, e);
    if (o->progress)
        progress_close(&ship.progress);
    for (int i = 0; i < n; i++) {
        host_facts_free(&ship.host[i].facts);
        free(ship.host[i].step);
        free(ship.host[i].bad);
    }
    free(ship.host);
    return rc;
}
