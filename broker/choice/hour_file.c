/* hour_file.c - the minutes of an allowance as text, written and read */
#include "hour_file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/whole_file.h"

#define HEAD       "freezeline hour 1 at %" PRId64 " credit %lf"
#define MOST_BYTES 16384
#define MINUTE_S   60

static void print(FILE *f, const struct allowance *a, uint64_t now, int64_t wall_s)
{
    fprintf(f, "freezeline hour 1 at %" PRId64 " credit %.9g\n", wall_s, a->credit);
    for (int ago = 0; ago < ALLOWANCE_SLOTS; ago++) {
        struct allowance_slot s = allowance_minute(a, now, ago);
        if (s.requests > 0)
            fprintf(f, "%d %" PRId64 " %.9g\n", ago, s.requests, s.cost);
    }
    fputs("end\n", f);
}

int hour_file_write(const struct allowance *a, uint64_t now, int64_t wall_s, const char *path,
                    struct error *e)
{
    char fresh[1024];
    FILE *f;
    bool failed;

    snprintf(fresh, sizeof fresh, "%.1000s.new", path);
    if (!(f = fopen(fresh, "we")))
        return error_set(e, FL_IO, "cannot write %s: %s", fresh, strerror(errno));
    print(f, a, now, wall_s);
    failed = ferror(f) != 0;
    if (fclose(f) || failed || rename(fresh, path)) {
        error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno));
        remove(fresh);
        return FL_IO;
    }
    return FL_OK;
}

/* Minutes come in their order; true at "end". */
static bool parse(struct allowance *a, uint64_t now, int64_t wall_s, char *text)
{
    char *line = strsep(&text, "\n"), more;
    int64_t at, requests, gone;
    double credit, cost;
    int ago, last = -1;

    if (sscanf(line, HEAD, &at, &credit) != 2 || !isfinite(credit) || at < 0)
        return false;
    gone = wall_s > at ? (wall_s - at) / MINUTE_S : 0;
    while (text && (line = strsep(&text, "\n")) && strcmp(line, "end")) {
        if (sscanf(line, "%d %" SCNd64 " %lf%c", &ago, &requests, &cost, &more) != 3 || ago <= last ||
            ago >= ALLOWANCE_SLOTS || requests < 1 || requests > INT32_MAX || !(cost >= 0 && cost < 1e15))
            return false;
        last = ago;
        if (gone + ago < ALLOWANCE_SLOTS)
            allowance_recall(a, now, (int)gone + ago, (struct allowance_slot){requests, cost});
    }
    allowance_lend(a, credit);
    return line && !strcmp(line, "end");
}

int hour_file_read(struct allowance *a, uint64_t now, int64_t wall_s, const char *path, struct error *e)
{
    struct allowance read = *a;
    void *text = NULL;
    size_t size;
    int rc = file_read(&text, &size, path, MOST_BYTES, e);

    if (rc && rc != FL_TOO_LARGE)
        return rc;
    if (!rc && !memchr(text, 0, size) && parse(&read, now, wall_s, text)) {
        *a = read;
    } else {
        allowance_doubt(a, now);
        rc = error_set(e, FL_CORRUPT, "%s is damaged: what the last hour has cost is not known", path);
    }
    free(text);
    return rc;
}
