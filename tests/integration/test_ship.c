/* test_ship.c - files for hosts, by the local shell as the transport: the scripts are the same by ssh
 *
 * What a host says of itself (uname, getconf, ldconfig, df) comes from programs that stand before the real
 * ones in PATH where a test needs another host than this one.
 */
#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/whole_file.h"
#include "deploy/hosts/ship.h"

#define UNUSED __attribute__((unused))

static const struct host one[] = {{.name = "a"}};
static const struct host_list a_host = {one, 1};

struct world {
    struct harness *h;
    struct transport *t;
    char store[HARNESS_PATH + 16], fake[HARNESS_PATH + 16];
    struct shipped shipped;
    struct error e;
};

static char *own_path;

static void path_in(char *buf, size_t size, const struct world *w, const char *name)
{
    snprintf(buf, size, "%s/%s", harness_dir(w->h), name);
}

static struct world *begin(void)
{
    struct world *w = calloc(1, sizeof *w);
    char path[4096];

    assert_non_null(w);
    w->h = harness_new(NULL, "");
    path_in(w->store, sizeof w->store, w, "store");
    path_in(w->fake, sizeof w->fake, w, "fake");
    assert_int_equal(mkdir(w->fake, 0700), 0);
    snprintf(path, sizeof path, "%s:%s", w->fake, own_path);
    setenv("PATH", path, 1);
    assert_int_equal(transport_open(&w->t, TRANSPORT_LOCAL, &a_host, NULL, &w->e), FL_OK);
    return w;
}

static void end(struct world *w)
{
    setenv("PATH", own_path, 1);
    transport_close(w->t);
    harness_free(w->h);
    free(w);
}

static void write_file(const struct world *w, const char *name, const char *text, mode_t mode)
{
    char path[HARNESS_PATH + 64];
    FILE *f;

    path_in(path, sizeof path, w, name);
    assert_non_null(f = fopen(path, "w"));
    fputs(text, f);
    fclose(f);
    assert_int_equal(chmod(path, mode), 0);
}

static void fake(const struct world *w, const char *program, const char *script)
{
    char name[64], text[512];

    snprintf(name, sizeof name, "fake/%s", program);
    snprintf(text, sizeof text, "#!/bin/sh\n%s\n", script);
    write_file(w, name, text, 0700);
}

static const char *program(char buf[256], const char *name)
{
    const char *build = getenv("FREEZELINE_BUILD");
    snprintf(buf, 256, "%s/%s", build ? build : "build/release", name);
    return buf;
}

static void load(struct world *w, struct shipment *s, const char *id)
{
    char path[256], *programs[] = {(char *)program(path, "freezeline")};

    if (shipment_init(s, id, &w->e) || shipment_add_programs(s, programs, 1, &w->e) ||
        shipment_add(s, SHIPMENT_ALL, "tests/data/tiny.onnx", "model/tiny.onnx", &w->e))
        fail_msg("%s", w->e.text);
}

static int ship_it(struct world *w, const struct shipment *s, int64_t keep)
{
    const struct ship_options o = {.directory = w->store, .keep_bytes = keep};
    return ship(w->t, s, &o, &w->shipped, &w->e);
}

static void must_ship(struct world *w, const struct shipment *s)
{
    if (ship_it(w, s, 0))
        fail_msg("%s", w->e.text);
}

static void object_path(char buf[1024], const struct world *w, const struct shipment *s, const char *to)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->file[i].to, to))
            snprintf(buf, 1024, "%s/objects/%s", w->store, s->file[i].object);
}

static bool there(const struct world *w, const char *to)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", w->shipped.folder, to);
    return access(path, F_OK) == 0;
}

static void assert_same_content(const char *path, const char *other)
{
    void *x, *y;
    size_t nx, ny;
    assert_int_equal(file_read(&x, &nx, path, 1 << 30, NULL), FL_OK);
    assert_int_equal(file_read(&y, &ny, other, 1 << 30, NULL), FL_OK);
    assert_int_equal(nx, ny);
    assert_memory_equal(x, y, nx);
    free(x);
    free(y);
}

static void copied_once_and_never_again(void UNUSED **state)
{
    struct world *w = begin();
    struct shipment s;
    char path[1024];
    struct stat st;

    load(w, &s, "demo");
    must_ship(w, &s);
    assert_int_equal(w->shipped.files, 2);
    assert_int_equal(w->shipped.bytes, s.file[0].bytes + s.file[s.n - 1].bytes);
    snprintf(path, sizeof path, "%s/model/tiny.onnx", w->shipped.folder);
    assert_same_content(path, "tests/data/tiny.onnx");
    assert_int_equal(stat(w->store, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0177, 0);
    must_ship(w, &s);
    assert_int_equal(w->shipped.files, 0);
    assert_int_equal(w->shipped.bytes, 0);
    shipment_free(&s);
    end(w);
}

/* Without any library of its own the host gets all but glibc's, and freezeline starts with them. */
static void libraries_that_it_lacks_go_along(void UNUSED **state)
{
    struct world *w = begin();
    struct shipment s;
    int libraries = 0;

    fake(w, "ldconfig", "exit 0");
    load(w, &s, "demo");
    must_ship(w, &s);
    for (int i = 0; i < s.n; i++)
        libraries += s.file[i].library;
    assert_true(libraries > 5);
    assert_int_equal(w->shipped.files, s.n);
    assert_true(there(w, "lib/libzmq.so.5"));
    assert_false(there(w, "lib/libc.so.6"));
    shipment_free(&s);
    end(w);
}

static void flip_byte(const char *path, off_t at)
{
    char byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte = (char)(byte ^ 4);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void a_flipped_byte_is_found_and_mended(void UNUSED **state)
{
    struct world *w = begin();
    struct shipment s;
    char object[1024], path[1024], binary[256];

    load(w, &s, "demo");
    must_ship(w, &s);
    object_path(object, w, &s, "model/tiny.onnx");
    flip_byte(object, 100);
    must_ship(w, &s);
    assert_int_equal(w->shipped.files, 1);
    snprintf(path, sizeof path, "%s/model/tiny.onnx", w->shipped.folder);
    assert_same_content(path, "tests/data/tiny.onnx");

    /* in freezeline itself, so that it does not even start there */
    object_path(object, w, &s, "bin/freezeline");
    flip_byte(object, 0);
    must_ship(w, &s);
    assert_int_equal(w->shipped.files, 1);
    snprintf(path, sizeof path, "%s/bin/freezeline", w->shipped.folder);
    assert_same_content(path, program(binary, "freezeline"));
    shipment_free(&s);
    end(w);
}

static void a_half_copy_is_never_used(void UNUSED **state)
{
    struct world *w = begin();
    struct shipment s;
    char object[1024];

    load(w, &s, "demo");
    must_ship(w, &s);
    object_path(object, w, &s, "model/tiny.onnx");
    assert_int_equal(truncate(object, 10), 0);
    must_ship(w, &s);
    assert_int_equal(w->shipped.files, 1);
    shipment_free(&s);
    end(w);
}

static void what_is_not_in_it_any_more_goes(void UNUSED **state)
{
    struct world *w = begin();
    struct shipment s;
    char mine[1024];

    load(w, &s, "demo");
    assert_int_equal(shipment_add(&s, SHIPMENT_ALL, "tests/data/tiny.onnx", "old file", &w->e), FL_OK);
    must_ship(w, &s);
    assert_true(there(w, "old file"));
    snprintf(mine, sizeof mine, "%s/state", w->shipped.folder); /* nothing that was shipped: it stays */
    assert_int_equal(mkdir(mine, 0700), 0);
    free(s.file[--s.n].from);
    free(s.file[s.n].to);
    must_ship(w, &s);
    assert_false(there(w, "old file"));
    assert_true(there(w, "model/tiny.onnx"));
    assert_true(there(w, "state"));
    shipment_free(&s);
    end(w);
}

struct started {
    const struct world *w;
    int process;
    const char *program;
};

static bool has_started(void *arg)
{
    const struct started *s = arg;
    char link[64], path[1024] = "";
    snprintf(link, sizeof link, "/proc/%d/exe", harness_pid(s->w->h, s->process));
    return readlink(link, path, sizeof path - 1) > 0 && strstr(path, s->program);
}

/* Starts the shipped freezeline, which reads a pipe that nobody writes to. */
static void run_shipped(struct world *w)
{
    char path[1024], fifo[1024];
    struct started s = {.w = w, .program = "pipelines/running@a/bin/freezeline"};

    path_in(fifo, sizeof fifo, w, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    snprintf(path, sizeof path, "%s/bin/freezeline", w->shipped.folder);
    s.process = harness_spawn_path(
        w->h, "/bin/sh",
        (const char *const[]){"sh", "-c", "exec \"$1\" objects / 0<>\"$2\"", "sh", path, fifo, NULL});
    harness_until(has_started, &s, 60, "the shipped program's start");
}

/* Beyond what may be kept the oldest pipeline goes, with what it alone has, but not one that runs. */
static void the_store_is_bounded(void UNUSED **state)
{
    struct world *w = begin();
    struct shipment first, running, last;
    struct shipped first_is, running_is;
    char object[1024], old[1024];

    write_file(w, "old", "only the first has this", 0600);
    path_in(old, sizeof old, w, "old");
    load(w, &first, "first");
    assert_int_equal(shipment_add(&first, SHIPMENT_ALL, old, "old", &w->e), FL_OK);
    must_ship(w, &first);
    object_path(object, w, &first, "old");
    first_is = w->shipped;
    load(w, &running, "running");
    must_ship(w, &running);
    running_is = w->shipped;
    run_shipped(w);
    load(w, &last, "last");
    must_ship(w, &last);
    assert_int_equal(access(object, F_OK), 0);
    if (ship_it(w, &last, 1024))
        fail_msg("%s", w->e.text);
    assert_int_equal(access(object, F_OK), -1);
    assert_true(there(w, "bin/freezeline") && there(w, "model/tiny.onnx"));
    w->shipped = first_is;
    assert_false(there(w, "bin/freezeline") || there(w, "old"));
    w->shipped = running_is;
    assert_true(there(w, "bin/freezeline") && there(w, "model/tiny.onnx"));
    shipment_free(&first);
    shipment_free(&running);
    shipment_free(&last);
    end(w);
}

/* As with a home folder on NFS: both copy at once into one store. */
static void hosts_may_share_a_store(void UNUSED **state)
{
    static const struct host two[] = {{.name = "a"}, {.name = "b::1"}};
    static const struct host_list both = {two, 2};
    struct world *w = begin();
    struct ship_options o = {.directory = w->store};
    struct shipped shipped[2];
    struct shipment s;

    transport_close(w->t);
    assert_int_equal(transport_open(&w->t, TRANSPORT_LOCAL, &both, NULL, &w->e), FL_OK);
    load(w, &s, "demo");
    for (int round = 0; round < 2; round++)
        if (ship(w->t, &s, &o, shipped, &w->e))
            fail_msg("%s", w->e.text);
    for (int i = 0; i < 2; i++) {
        w->shipped = shipped[i];
        assert_int_equal(w->shipped.bytes, 0);
        assert_true(there(w, "bin/freezeline") && there(w, "model/tiny.onnx"));
        assert_string_equal(strrchr(w->shipped.folder, '@'), i ? "@b--1" : "@a");
    }
    shipment_free(&s);
    end(w);
}

static void must_fail(const char *with, const char *script, int rc, const char *says)
{
    struct world *w = begin();
    struct shipment s;
    char path[1024];

    fake(w, with, script);
    load(w, &s, "demo");
    assert_int_equal(ship_it(w, &s, 0), rc);
    if (!strstr(w->e.text, says) || !strstr(w->e.text, "host a"))
        fail_msg("'%s' does not say '%s'", w->e.text, says);
    assert_int_equal(w->shipped.bytes, 0);
    snprintf(path, sizeof path, "%s/pipelines", w->store);
    assert_int_equal(access(path, F_OK), -1);
    shipment_free(&s);
    end(w);
}

static void a_host_that_cannot_run_it_is_sent_nothing(void UNUSED **state)
{
    must_fail("uname", "case $1 in -m) echo aarch64 ;; *) exec /bin/uname \"$@\" ;; esac", FL_UNSUPPORTED,
              "it is Linux aarch64");
    must_fail("getconf", "echo glibc 2.17", FL_UNSUPPORTED, "its glibc is 2.17");
    must_fail("getconf", "exit 1", FL_UNSUPPORTED, "another C library");
    must_fail("df", "echo; echo /dev/x 1000 500 500 50% /", FL_IO, "0.5 MB free");
    must_fail("mkdir", "echo 'mkdir: read-only file system'; exit 1", FL_IO, "read-only file system");
}

/* A real file system without room, which says that it has some. */
static void a_full_disk_is_named(void UNUSED **state)
{
    struct world *w = begin();
    struct shipment s;

    assert_int_equal(mkdir(w->store, 0700), 0);
    if (geteuid() || mount("none", w->store, "tmpfs", 0, "size=2m")) {
        print_message("skipped: no tmpfs can be mounted here\n");
        end(w);
        skip();
    }
    load(w, &s, "demo");
    assert_int_equal(ship_it(w, &s, 0), FL_IO);
    assert_non_null(strstr(w->e.text, "MB free"));
    fake(w, "df", "echo; echo /dev/x 9000000 1 8999999 1% /");
    assert_int_equal(ship_it(w, &s, 0), FL_IO);
    if (!strstr(w->e.text, "No space left on device"))
        fail_msg("%s", w->e.text);
    umount(w->store);
    shipment_free(&s);
    end(w);
}

/* Where the folder lets nobody run programs, that is said, after one more try with fresh bytes. */
static void a_folder_without_programs_is_named(void UNUSED **state)
{
    struct world *w = begin();
    struct shipment s;

    assert_int_equal(mkdir(w->store, 0700), 0);
    if (geteuid() || mount("none", w->store, "tmpfs", MS_NOEXEC, NULL)) {
        print_message("skipped: no tmpfs can be mounted here\n");
        end(w);
        skip();
    }
    load(w, &s, "demo");
    assert_int_equal(ship_it(w, &s, 0), FL_UNSUPPORTED);
    if (!strstr(w->e.text, "freezeline does not run in"))
        fail_msg("%s", w->e.text);
    umount(w->store);
    shipment_free(&s);
    end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copied_once_and_never_again),
        cmocka_unit_test(libraries_that_it_lacks_go_along),
        cmocka_unit_test(a_flipped_byte_is_found_and_mended),
        cmocka_unit_test(a_half_copy_is_never_used),
        cmocka_unit_test(what_is_not_in_it_any_more_goes),
        cmocka_unit_test(the_store_is_bounded),
        cmocka_unit_test(hosts_may_share_a_store),
        cmocka_unit_test(a_host_that_cannot_run_it_is_sent_nothing),
        cmocka_unit_test(a_full_disk_is_named),
        cmocka_unit_test(a_folder_without_programs_is_named),
    };
    own_path = strdup(getenv("PATH"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
