/* shipment.c - a list of files with their digests; ldd tells the libraries */
#include "shipment.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/whole_file.h"
#include "child.h"

#define MOST_FILES    2000
#define PROGRAM_BYTES ((uint64_t)2 << 30)

int shipment_init(struct shipment *s, const char *id, struct error *e)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    memset(s, 0, sizeof *s);
    if (!*id || *id == '.' || id[strspn(id, plain)] || strlen(id) >= sizeof s->id)
        return error_set(
            e, FL_CONFIG,
            "'%s' cannot name a pipeline on other hosts: up to %d letters, digits, '.', '_', '-'", id,
            SHIPMENT_ID_BYTES - 1);
    snprintf(s->id, sizeof s->id, "%s", id);
    return FL_OK;
}

void shipment_free(struct shipment *s)
{
    for (int i = 0; i < s->n; i++) {
        free(s->file[i].from);
        free(s->file[i].to);
    }
    free(s->file);
    memset(s, 0, sizeof *s);
}

/* Relative, without "..", and of one line: it stands in a script's list. */
static bool good_place(const char *to)
{
    if (!*to || *to == '/' || strpbrk(to, "\r\n"))
        return false;
    for (const char *part = to; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (!strncmp(part, "..", 2) && (part[2] == '/' || !part[2]))
            return false;
    }
    return true;
}

static struct shipment_file *find_from(const struct shipment *s, const char *from)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->file[i].from, from))
            return &s->file[i];
    return NULL;
}

static int describe(struct shipment_file *f, const struct shipment_file *same, struct error *e)
{
    uint8_t digest[DIGEST_BYTES];
    struct stat st;
    int rc;

    if (same) { /* for another host: read once */
        f->bytes = same->bytes;
        memcpy(f->object, same->object, sizeof f->object);
        return FL_OK;
    }
    if (stat(f->from, &st))
        return error_set(e, errno == ENOENT ? FL_NOT_FOUND : FL_IO, "cannot ship %s: %s", f->from,
                         strerror(errno));
    if (!S_ISREG(st.st_mode))
        return error_set(e, FL_IO, "cannot ship %s: not a regular file", f->from);
    f->program = (st.st_mode & S_IXUSR) != 0;
    if ((rc = digest_of_file(digest, &f->bytes, f->from, e)))
        return rc;
    digest_text(digest, f->object);
    return FL_OK;
}

static int grow(struct shipment *s, struct error *e)
{
    int room = s->room ? 2 * s->room : 64;
    struct shipment_file *grown;

    if (s->n < s->room)
        return FL_OK;
    if (s->n >= MOST_FILES)
        return error_set(e, FL_TOO_LARGE, "more than %d files to ship", MOST_FILES);
    if (!(grown = realloc(s->file, (size_t)room * sizeof *grown)))
        return error_set(e, FL_NOMEM, "no memory");
    s->file = grown;
    s->room = room;
    return FL_OK;
}

int shipment_add(struct shipment *s, int host, const char *from, const char *to, struct error *e)
{
    struct shipment_file f = {.host = host}, *same = find_from(s, from);
    int rc;

    if (!good_place(to))
        return error_set(e, FL_CONFIG, "cannot ship %s to '%s': not a plain path below a folder", from, to);
    if ((rc = grow(s, e)))
        return rc;
    same = find_from(s, from);
    f.program = same && same->program;
    f.from = strdup(from);
    f.to = strdup(to);
    rc = f.from && f.to ? describe(&f, same, e) : error_set(e, FL_NOMEM, "no memory");
    if (rc) {
        free(f.from);
        free(f.to);
        return rc;
    }
    s->file[s->n++] = f;
    return FL_OK;
}

int shipment_glibc(const char *bytes, uint64_t size)
{
    static const char mark[] = "GLIBC_2.";
    const char *at = bytes, *end = bytes + size;
    int most = 0;

    while ((at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1))) {
        int n = 0;
        for (at += sizeof mark - 1; at < end && *at >= '0' && *at <= '9' && n < 1000; at++)
            n = 10 * n + *at - '0';
        most = n > most ? n : most;
    }
    return most;
}

/* A program or a library: executable, and what it needs of glibc counts. */
static int add_elf(struct shipment *s, const char *from, const char *folder, const char *name, bool library,
                   struct error *e)
{
    char place[256];
    void *bytes;
    size_t size;
    int rc, glibc;

    if (find_from(s, from))
        return FL_OK;
    snprintf(place, sizeof place, "%s/%s", folder, name);
    if ((rc = file_read(&bytes, &size, from, PROGRAM_BYTES, e)))
        return rc;
    glibc = shipment_glibc(bytes, size);
    free(bytes);
    if ((rc = shipment_add(s, SHIPMENT_ALL, from, place, e)))
        return rc;
    s->file[s->n - 1].program = true;
    s->file[s->n - 1].library = library;
    s->glibc = glibc > s->glibc ? glibc : s->glibc;
    return FL_OK;
}

static bool of_glibc(const char *name)
{
    static const char *const start[] = {"ld-linux",     "ld64.",         "linux-vdso",  "libc.so",
                                        "libm.so",      "libmvec.so",    "libdl.so",    "librt.so",
                                        "libutil.so",   "libpthread.so", "libanl.so",   "libnss_",
                                        "libresolv.so", "libnsl.so.1",   "libthread_db"};
    for (size_t i = 0; i < sizeof start / sizeof *start; i++)
        if (!strncmp(name, start[i], strlen(start[i])))
            return true;
    return false;
}

bool shipment_library(const char *line, char name[128], char path[1024], bool *missing)
{
    *missing = false;
    if (sscanf(line, " %127s => %1023s", name, path) != 2 || strchr(name, '/') || of_glibc(name))
        return false;
    *missing = *path != '/';
    return true;
}

struct listing {
    char text[65536];
    size_t size;
};

static bool listed(void *arg, const char *text, size_t size)
{
    struct listing *l = arg;
    size_t room = sizeof l->text - 1 - l->size;

    size = size < room ? size : room;
    memcpy(l->text + l->size, text, size);
    l->size += size;
    l->text[l->size] = 0;
    return false;
}

static void ignored(void *arg, const char *text, size_t size)
{
    (void)arg;
    (void)text;
    (void)size;
}

static int add_libraries(struct shipment *s, char *lines, struct error *e)
{
    char *rest = NULL, name[128], path[1024];
    bool missing;
    int rc = FL_OK;

    for (char *line = strtok_r(lines, "\n", &rest); line && !rc; line = strtok_r(NULL, "\n", &rest)) {
        if (!shipment_library(line, name, path, &missing))
            continue;
        rc = missing ? error_set(e, FL_NOT_FOUND,
                                 "%s, which the programs need, is not on this machine: make deps", name)
                     : add_elf(s, path, "lib", name, true, e);
    }
    return rc;
}

static int ask_libraries(struct shipment *s, char *const *path, int n, struct error *e)
{
    struct listing *l = calloc(1, sizeof *l);
    char **argv = calloc((size_t)n + 2, sizeof *argv);
    struct child_talk talk = {.out = listed, .err = ignored, .arg = l};
    struct child child;
    int rc;

    if (l && argv) {
        argv[0] = (char *)"ldd";
        memcpy(argv + 1, path, (size_t)n * sizeof *argv);
        if (!(rc = child_start(&child, argv, e))) {
            rc = child_talk(&child, &talk, e);
            child_end(&child, rc ? 0 : 2000);
        }
        rc = rc ? rc : add_libraries(s, l->text, e);
    } else {
        rc = error_set(e, FL_NOMEM, "no memory");
    }
    free(argv);
    free(l);
    return rc;
}

int shipment_add_programs(struct shipment *s, char *const *path, int n, struct error *e)
{
    int rc = FL_OK;

    for (int i = 0; i < n && !rc; i++) {
        const char *slash = strrchr(path[i], '/');
        rc = add_elf(s, path[i], "bin", slash ? slash + 1 : path[i], false, e);
    }
    return rc ? rc : ask_libraries(s, path, n, e);
}
