/* keeper_files.c - reading and saving caches */
#include "keeper_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"

#define MANIFEST_FILE "manifest.json"

void keeper_log_refused(const char *text)
{
    log_error("cache not used: %s", text);
}

int keeper_files_init(struct keeper_files *f, const char *state, int index, struct error *e)
{
    snprintf(f->prefix, sizeof f->prefix, "live-%d", index);
    if ((size_t)snprintf(f->dir, sizeof f->dir, "%s/caches", state) >= sizeof f->dir)
        return error_set(e, FL_CONFIG, "state: the path is too long");
    return FL_OK;
}

/* Nothing goes by it but people, when they ask which build is the later. */
static void check_time(const struct keeper_files *f, const struct manifest *m)
{
    if (manifest_ahead_s(m))
        log_warn("%s/" MANIFEST_FILE " says that it was built %llu s from now: the clock here is late, or "
                 "that of the builder was ahead; it is used all the same",
                 f->dir, (unsigned long long)manifest_ahead_s(m));
}

static struct snapshot *load(const struct keeper_files *f, const char *file)
{
    struct error e = {0};
    struct snapshot *s;
    int rc = snapshot_load(&s, f->dir, file, keeper_log_refused, &e);
    if (rc && rc != FL_NOT_FOUND)
        log_warn("caches not used: %s", e.text);
    return rc ? NULL : s;
}

static bool of_another_build(const char *path, const struct snapshot *built)
{
    char from[MANIFEST_BUILD_BYTES], here[MANIFEST_BUILD_BYTES];
    struct manifest m;
    if (!built || manifest_load(&m, path, NULL) || !memcmp(m.build, built->manifest.build, sizeof m.build))
        return false;
    log_info(
        "what was learned in %s (generation %llu) began from build %s and is not used: the build here is %s",
        path, (unsigned long long)m.generation, manifest_build_text(m.build, from),
        manifest_build_text(built->manifest.build, here));
    return true;
}

void keeper_files_read(const struct keeper_files *f, struct snapshot **built, struct snapshot **learned)
{
    char file[sizeof f->prefix + 8], path[sizeof f->dir + sizeof file];
    snprintf(file, sizeof file, "%s.json", f->prefix);
    snprintf(path, sizeof path, "%s/%s", f->dir, file);
    *built = load(f, MANIFEST_FILE);
    if (*built)
        check_time(f, &(*built)->manifest);
    *learned = of_another_build(path, *built) ? NULL : load(f, file);
}

int keeper_files_save(const struct keeper_files *f, const struct snapshot *s, struct error *e)
{
    if (mkdir(f->dir, 0755) && errno != EEXIST)
        return error_set(e, FL_IO, "%s: %s", f->dir, strerror(errno));
    return snapshot_save(s, f->dir, f->prefix, e);
}
