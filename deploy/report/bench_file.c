/* bench_file.c - writing documents */
#include "bench_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

static int failed(const char *path, struct error *e)
{
    return error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno ? errno : EIO));
}

/* All of `text` into a file; it is on the disk when this returns. */
static int write_file(const char *text, size_t size, const char *path, struct error *e)
{
    FILE *f = fopen(path, "we");
    bool ok;

    if (!f)
        return failed(path, e);
    errno = 0;
    ok = fwrite(text, 1, size, f) == size && !fflush(f) && (!fsync(fileno(f)) || errno == EINVAL);
    if (fclose(f) || !ok)
        return failed(path, e);
    return FL_OK;
}

/* Devices, pipes and what a link leads to (/dev/stdout) are written straight, everything else by way of a new
 * file beside it. */
static bool written_straight(const char *path)
{
    struct stat st;

    return !lstat(path, &st) && !S_ISREG(st.st_mode);
}

static int next_name(char next[PATH_BYTES], const char *path, struct error *e)
{
    if (snprintf(next, PATH_BYTES, "%s.new", path) >= PATH_BYTES)
        return error_set(e, FL_IO, "the name %.60s... is too long", path);
    return FL_OK;
}

int bench_file_replace(const char *text, size_t size, const char *path, struct error *e)
{
    char next[PATH_BYTES];
    int rc;

    if (written_straight(path))
        return write_file(text, size, path, e);
    if ((rc = next_name(next, path, e)))
        return rc;
    rc = write_file(text, size, next, e);
    if (!rc && rename(next, path))
        rc = failed(path, e);
    if (rc)
        unlink(next);
    return rc;
}

/* Opens path[i], or the new file beside it, and compares it with those before. */
static int try_one(const char *const *path, int i, struct stat *st, struct error *e)
{
    bool straight = written_straight(path[i]);
    char next[PATH_BYTES];
    int fd, rc = straight ? FL_OK : next_name(next, path[i], e);

    if (rc)
        return rc;
    fd = open(straight ? path[i] : next, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_CREAT, 0666);
    if (fd < 0 && straight && errno == ENXIO)
        return FL_OK; /* a pipe that nobody reads yet */
    if (fd < 0 || fstat(fd, &st[i]))
        rc = failed(path[i], e);
    for (int k = 0; k < i && !rc && !straight; k++)
        if (path[k] && st[k].st_ino == st[i].st_ino && st[k].st_dev == st[i].st_dev)
            rc = error_set(e, FL_USAGE, "%s was given for two files: the second would replace the first",
                           path[i]);
    if (fd >= 0)
        close(fd);
    return rc;
}

int bench_file_check(const char *const *path, int n, struct error *e)
{
    struct stat st[BENCH_FILE_MOST] = {0};
    char next[PATH_BYTES];
    int rc = FL_OK, tried;

    for (tried = 0; tried < n && tried < BENCH_FILE_MOST && !rc; tried++)
        if (path[tried])
            rc = try_one(path, tried, st, e);
    for (int i = 0; i < tried; i++)
        if (path[i] && !written_straight(path[i]) && !next_name(next, path[i], NULL))
            unlink(next);
    return rc;
}

int bench_file_write(const json_t *document, const char *path, struct error *e)
{
    char *text = json_dumps(document, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
    int rc;

    if (!text)
        return error_set(e, FL_NOMEM, "no memory for the report");
    rc = bench_file_replace(text, strlen(text), path, e);
    free(text);
    return rc;
}

/* object[group][name] in us, given in ms; 0 where it is null. */
static double us(const json_t *object, const char *group, const char *name)
{
    return 1000 * json_number_value(json_object_get(json_object_get(object, group), name));
}

static void csv_row(FILE *to, const json_t *load, double rate, double per_second, const json_t *of)
{
    const char *const sums[] = {"client", "broker", "wire", "serialise", "residual"};
    double network = 0;

    for (int i = 0; i < 5; i++)
        network += us(of, "parts_ms", sums[i]);
    if (rate > 0)
        fprintf(to, "%.6g", rate);
    else
        fprintf(to, "%lld", (long long)json_integer_value(json_object_get(load, "closed")));
    fprintf(to, ",%.6g,0,%.0f,%.0f,0,%.0f,%.0f,0,%.0f,%.0f,%.0f,%.0f\n", per_second, network,
            us(of, "parts_ms", "queue"), us(of, "parts_ms", "compute"), us(of, "parts_ms", "lookup"),
            us(of, "latency_ms", "p50"), us(of, "latency_ms", "p90"), us(of, "latency_ms", "p95"),
            us(of, "latency_ms", "p99"));
}

static void csv_rows(FILE *to, const json_t *document)
{
    const json_t *load = json_object_get(document, "load"), *sweep = json_object_get(document, "sweep"),
                 *point;
    bool open = json_array_size(sweep) || json_is_number(json_object_get(load, "rate"));
    size_t i;

    fprintf(
        to,
        "%s,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,Server "
        "Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency\n",
        open ? "Request Rate" : "Concurrency");
    if (!json_array_size(sweep))
        csv_row(to, load, json_number_value(json_object_get(load, "rate")),
                json_number_value(json_object_get(document, "achieved_rps")), document);
    json_array_foreach(sweep, i, point)
    {
        csv_row(to, load, json_number_value(json_object_get(point, "rate")),
                json_number_value(json_object_get(point, "achieved_rps")), point);
    }
}

int bench_file_csv(const json_t *document, const char *path, struct error *e)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    int rc;

    if (!f)
        return error_set(e, FL_NOMEM, "no memory for %s", path);
    csv_rows(f, document);
    rc = fclose(f) ? error_set(e, FL_NOMEM, "no memory for %s", path)
                   : bench_file_replace(text, size, path, e);
    free(text);
    return rc;
}
