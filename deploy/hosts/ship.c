/* ship.c - two scripts a host: the first asks what is there; the second takes what comes on its input, puts
 * everything at its place and has it checked
 *
 * So a host that has everything takes two round trips, and one that has nothing takes the same two.
 */
#include "ship.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "deploy/tool/progress.h"
#include "shell_words.h"

#define KEEP_BYTES    ((int64_t)8 << 30)
#define SPARE_BYTES   ((int64_t)4 << 20) /* of a host's disk, beside what is sent */
#define ROUNDS        3                  /* for contents that the disk there returns otherwise */
#define ASK_MS        60000
#define STATUS_CANNOT 4 /* of the second script: freezeline does not run there */
#define FOLDER_BYTES  128
#define PART_BYTES    32
#define BAD_BYTES     65536

struct host_ship {
    struct host_facts facts;
    struct ship_step *step;
    char part[PART_BYTES], folder[FOLDER_BYTES]; /* pipelines/ID@HOST */
    char *bad;                                   /* objects found wrong, by spaces */
    bool full;                                   /* the store is larger than it may be */
    int file, fd;                                /* the one that is being sent; -1 */
    uint64_t at;
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

/* Before all scripts: the store's folder, made for this user alone. */
static void enter_store(FILE *f, const char *directory)
{
    fputs("umask 077\nstore=", f);
    shell_word(f, directory);
    fputs("\ncase $store in /*) ;; *) store=${HOME:-$PWD}/$store ;; esac\n"
          "mkdir -p \"$store/objects\" && cd \"$store\" || exit 1\n",
          f);
}

/* What host_facts_read reads. The libraries are those of ld.so's cache, by one look for all. */
static const char facts_script[] =
    "echo \"directory $(pwd -P)\"\n"
    "echo \"machine $(uname -s) $(uname -m)\"\n"
    "echo \"glibc $(getconf GNU_LIBC_VERSION 2>/dev/null)\"\n"
    "free=$(df -Pk . | tail -n 1); set -- ${free#* }; echo \"free $3\"\n"
    "PATH=$PATH:/sbin:/usr/sbin\n"
    "stat -L -c 'library %s %n' $(ldconfig -p 2>/dev/null | while read -r name rest; do\n"
    "    case $want in *\" $name \"*) echo \"${rest##*=> }\" ;; esac\n"
    "done) /dev/null 2>/dev/null\n"
    "cd objects && stat -c 'object %s %n' $have /dev/null 2>/dev/null\n"
    ":\n";

static char *ask_script(const struct ship *ship, int host)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        return NULL;
    enter_store(f, ship->o->directory);
    fputs("want=' ", f);
    for (int i = 0; i < ship->s->n; i++)
        if (ship->s->file[i].library)
            fprintf(f, "%s ", strrchr(ship->s->file[i].to, '/') + 1);
    fputs("'\nhave='", f);
    for (int i = 0; i < ship->s->n; i++)
        if (ship->s->file[i].host == SHIPMENT_ALL || ship->s->file[i].host == host)
            fprintf(f, "%s %s%s ", ship->s->file[i].object, ship->s->file[i].object, ship->host[host].part);
    fprintf(f, "'\n%s", facts_script);
    return fclose(f) ? free(text), NULL : text;
}

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
    snprintf(h->part, sizeof h->part, ".%08x.part", (unsigned)digest_short(digest));
    snprintf(name, sizeof name, "%s", transport_host(t, host));
    for (char *c = name; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c))
            *c = '-';
    snprintf(h->folder, sizeof h->folder, "pipelines/%s@%s", ship->s->id, name);
}

static int ask(struct transport *t, int host, void *arg, struct error *e)
{
    struct ship *ship = arg;
    struct host_ship *h = &ship->host[host];
    struct host_result r;
    struct utsname here;
    char machine[160], *script;
    int rc;

    name_host(ship, t, host);
    h->fd = -1;
    h->step = calloc((size_t)ship->s->n + 1, sizeof *h->step);
    h->bad = calloc(1, BAD_BYTES);
    script = ask_script(ship, host);
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

/* The second script's own part; the list of what is to be done stands before it. */
static const char settle_functions[] =
    "get() { # object, bytes that are there, bytes to come, all: takes them from standard input\n"
    "    if [ \"$2\" = 0 ]; then head -c \"$3\" >\"objects/$1$part\"; else head -c \"$3\" "
    ">>\"objects/$1$part\"; fi ||\n"
    "        { echo \"no space for $4 bytes\"; exit 3; }\n"
    "    [ \"$(stat -c %s \"objects/$1$part\")\" = \"$4\" ] && mv -f \"objects/$1$part\" \"objects/$1\" || "
    "exit 1\n"
    "}\n"
    "put() { # object, place: a copy where the file system has no hard links\n"
    "    place=$here/$2\n"
    "    [ -d \"${place%/*}\" ] || mkdir -p \"${place%/*}\" || exit 3\n"
    "    [ \"objects/$1\" -ef \"$place\" ] || ln -f \"objects/$1\" \"$place\" 2>/dev/null ||\n"
    "        { cp -p \"objects/$1\" \"$place.new\" && mv -f \"$place.new\" \"$place\"; } || exit 3\n"
    "}\n"
    "node=$(uname -n)\n"
    "mkdir -p \"$here\" || exit 3\n";

static const char settle_end[] =
    "[ ! -f \"$here/.shipped\" ] || LC_ALL=C comm -23 \"$here/.shipped\" \"$here/.shipped.new\" |\n"
    "    while read -r file; do rm -f \"$here/$file\"; done\n"
    "mv -f \"$here/.shipped.new\" \"$here/.shipped\" && echo \"$node\" >\"$here/.node\" || exit 3\n"
    "bad=$(printf '%s\\n' $all | \"$here/bin/freezeline\" objects objects 2>&1) || { echo \"$bad\"; exit 4; "
    "}\n"
    "for object in $bad; do rm -f \"objects/$object\"; echo \"bad $object\"; done\n"
    "used=$(du -sk objects); [ \"${used%%[!0-9]*}\" -le \"$most\" ] || echo full\n"
    ":\n";

/* Makes room in a store that is too full: what has no user, then pipelines that do not run here, the oldest
 * first. Only after all hosts have what they need: they may share the store. */
static const char prune_script[] =
    "full() { used=$(du -sk objects); [ \"${used%%[!0-9]*}\" -gt \"$most\" ]; }\n"
    "unused() { # objects that no pipeline has any more\n"
    "    stat -c '%h %n' objects/* | while read -r links name; do\n"
    "        case $name in *.part) ;; *) [ \"$links\" -gt 1 ] || rm -f \"$name\" ;; esac\n"
    "    done\n"
    "}\n"
    "find objects -name '*.part' -mtime +1 -exec rm -f {} + 2>/dev/null\n"
    "unused\n"
    "running=$(readlink /proc/[0-9]*/exe 2>/dev/null)\n"
    "for list in $(ls -tr pipelines/*/.shipped); do\n"
    "    full || exit 0\n"
    "    old=${list%/.shipped}\n"
    "    case $old in *\"/$id@\"*) continue ;; esac\n"
    "    [ \"$(cat \"$old/.node\")\" = \"$(uname -n)\" ] || continue\n"
    "    case $running in *\"/$old/bin/\"*) continue ;; esac\n"
    "    while read -r file; do rm -f \"$old/$file\"; done <\"$list\"\n"
    "    rm -f \"$list\" \"$old/.node\"\n"
    "    unused\n"
    "done\n";

static int compare_places(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The places of all files of this host, sorted as comm(1) wants them. */
static int list_places(FILE *f, const struct ship *ship, const struct host_ship *h)
{
    const char **place = calloc((size_t)ship->s->n + 1, sizeof *place);
    int n = 0;

    if (!place)
        return FL_NOMEM;
    for (int i = 0; i < ship->s->n; i++)
        if (h->step[i].wanted)
            place[n++] = ship->s->file[i].to;
    qsort(place, (size_t)n, sizeof *place, compare_places);
    fputs("cat >\"$here/.shipped.new\" <<'end of list' || exit 3\n", f);
    for (int i = 0; i < n; i++)
        fprintf(f, "%s\n", place[i]);
    fputs("end of list\n", f);
    free(place);
    return FL_OK;
}

static int64_t kept_kb(const struct ship_options *o)
{
    return (o->keep_bytes > 0 ? o->keep_bytes : KEEP_BYTES) / 1024;
}

static char *settle_script(const struct ship *ship, const struct host_ship *h)
{
    const struct shipment *s = ship->s;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    int rc;

    if (!f)
        return NULL;
    enter_store(f, ship->o->directory);
    fprintf(f, "part=%s\nhere=%s\nmost=%" PRId64 "\n%s", h->part, h->folder, kept_kb(ship->o),
            settle_functions);
    for (int i = 0; i < s->n; i++)
        if (h->step[i].sent)
            fprintf(f, "get %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", s->file[i].object, h->step[i].offset,
                    s->file[i].bytes - h->step[i].offset, s->file[i].bytes);
    for (int i = 0; i < s->n; i++)
        if (h->step[i].wanted && s->file[i].program)
            fprintf(f, "[ -x objects/%s ] || chmod 700 objects/%s\n", s->file[i].object, s->file[i].object);
    for (int i = 0; i < s->n; i++)
        if (h->step[i].wanted) {
            fprintf(f, "put %s ", s->file[i].object);
            shell_word(f, s->file[i].to);
            fputs("\n", f);
        }
    rc = list_places(f, ship, h);
    fputs("all='", f);
    for (int i = 0; i < s->n; i++)
        if (h->step[i].wanted)
            fprintf(f, "%s ", s->file[i].object);
    fprintf(f, "'\n%s", settle_end);
    return fclose(f) || rc ? free(text), NULL : text;
}

/* Opens the next file to send behind `file`, where it is to go on. */
static int open_next(const struct ship *ship, struct host_ship *h, struct error *e)
{
    for (h->file++; h->file < ship->s->n && !h->step[h->file].sent; h->file++)
        ;
    if (h->file == ship->s->n)
        return FL_OK;
    h->at = h->step[h->file].offset;
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
    if (ship->o->progress)
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
        if (h->at < f->bytes)
            break;
        close(h->fd);
        h->fd = -1;
        ship->shipped[h - ship->host].files++;
    }
    if (room > f->bytes - h->at)
        room = (size_t)(f->bytes - h->at);
    n = pread(h->fd, to, room, (off_t)h->at);
    if (n <= 0)
        return error_set(e, FL_IO, "%s changed while it was copied", f->from), -1;
    h->at += (uint64_t)n;
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
    char *script = settle_script(ship, h);
    int rc;

    h->file = -1;
    rc = script ? transport_script(t, host, script, &stream, 0, &r, e) : error_set(e, FL_NOMEM, "no memory");
    free(script);
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
    if (rc)
        return rc;
    if (r.status == STATUS_CANNOT)
        doubt_programs(ship, h);
    else
        read_settled(h, r.out);
    *again = *h->bad != 0;
    if (r.status == STATUS_CANNOT)
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

static int send_to(struct transport *t, int host, void *arg, struct error *e)
{
    struct ship *ship = arg;
    struct host_ship *h = &ship->host[host];
    bool again = true;
    int rc = FL_OK;

    snprintf(ship->shipped[host].folder, sizeof ship->shipped[host].folder, "%s/%s", h->facts.directory,
             h->folder);
    for (int round = 0; again && round < ROUNDS; round++) {
        int64_t bytes = ship_plan(h->step, ship->s, host, &h->facts, h->part, h->bad);
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

static int prune(struct transport *t, int host, void *arg, struct error *e)
{
    struct ship *ship = arg;
    char *text = NULL;
    size_t size;
    FILE *f;
    int rc;

    if (!ship->host[host].full)
        return FL_OK;
    if (!(f = open_memstream(&text, &size)))
        return error_set(e, FL_NOMEM, "no memory");
    enter_store(f, ship->o->directory);
    fprintf(f, "id=%s\nmost=%" PRId64 "\n%s", ship->s->id, kept_kb(ship->o), prune_script);
    rc = fclose(f) ? error_set(e, FL_NOMEM, "no memory")
                   : transport_script(t, host, text, NULL, ASK_MS, NULL, e);
    free(text);
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
