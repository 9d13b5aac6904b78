/* keeper_files.c - the build on this host's disk, and what was learned from it */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "keeper_parts.h"

#define MANIFEST_FILE "manifest.json"
#define SAVE_NS       (10 * NS_PER_S)

static bool same_build(const struct manifest *a, const struct manifest *b)
{
    return !memcmp(a->build, b->build, sizeof a->build);
}

/* Nothing goes by it but people, when they ask which build is the later. */
static void check_time(const struct keeper *k, const struct manifest *m)
{
    if (manifest_ahead_s(m))
        log_warn("%s/" MANIFEST_FILE " says that it was built %llu s from now: the clock here is late, or "
                 "that of the builder was ahead; it is used all the same",
                 k->dir, (unsigned long long)manifest_ahead_s(m));
}

static int load(struct keeper *k, struct snapshot **out, const char *file)
{
    struct error e = {0};
    int rc = snapshot_load(out, k->dir, file, keeper_log_refused, &e);
    if (rc)
        *out = NULL;
    if (rc && rc != FL_NOT_FOUND)
        log_warn("caches not used: %s", e.text);
    return rc;
}

/* What was learned from another build stays where it is until something is learned from this one. */
static bool of_another_build(const char *path, const struct snapshot *built)
{
    char from[MANIFEST_BUILD_BYTES], here[MANIFEST_BUILD_BYTES];
    struct manifest m;
    if (!built || manifest_load(&m, path, NULL) || same_build(&m, &built->manifest))
        return false;
    log_info(
        "what was learned in %s (generation %llu) began from build %s and is not used: the build here is %s",
        path, (unsigned long long)m.generation, manifest_build_text(m.build, from),
        manifest_build_text(built->manifest.build, here));
    return true;
}

/* What this service learned before, where it goes beyond `built` (NULL: no build is here). */
static struct snapshot *load_learned(struct keeper *k, const struct snapshot *built, const char *file)
{
    char path[sizeof k->dir + sizeof k->prefix + 16];
    struct snapshot *learned;
    snprintf(path, sizeof path, "%s/%s", k->dir, file);
    if (of_another_build(path, built) || load(k, &learned, file))
        return NULL;
    if (!built || (learned->manifest.generation > built->manifest.generation && snapshot_whole(learned)))
        return learned;
    snapshot_free(learned);
    return NULL;
}

/* What is in use is of this build too, and no worse. */
static bool in_use(const struct snapshot *c, const struct snapshot *s)
{
    return c && same_build(&c->manifest, &s->manifest) && c->manifest.generation >= s->manifest.generation &&
           snapshot_whole(c) && snapshot_caches(c) >= snapshot_caches(s);
}

static void use(struct keeper *k, struct snapshot *s, bool own, const char *file)
{
    char build[MANIFEST_BUILD_BYTES], before[MANIFEST_BUILD_BYTES];
    if (in_use(k->current, s)) {
        k->own = k->own || own;
        snapshot_free(s);
        return;
    }
    log_info("loaded %d caches of %d exits from %s/%s (build %s, generation %llu)", snapshot_caches(s),
             s->manifest.n_exits, k->dir, file, manifest_build_text(s->manifest.build, build),
             (unsigned long long)s->manifest.generation);
    if (k->current && !same_build(&k->current->manifest, &s->manifest))
        log_info("they take the place of build %s (generation %llu)",
                 manifest_build_text(k->current->manifest.build, before),
                 (unsigned long long)k->current->manifest.generation);
    keeper_adopt(k, s, own);
    k->dirty = false;
}

void keeper_load_files(struct keeper *k)
{
    char live[sizeof k->prefix + 8];
    struct snapshot *built, *learned;
    int rc = load(k, &built, MANIFEST_FILE);
    snprintf(live, sizeof live, "%s.json", k->prefix);
    if (built)
        check_time(k, &built->manifest);
    else if (k->current)
        return;
    learned = load_learned(k, built, live);
    if (learned)
        use(k, learned, !rc, live);
    else if (built)
        use(k, snapshot_retain(built), true, MANIFEST_FILE);
    snapshot_free(built);
}

void keeper_save(struct keeper *k, uint64_t now)
{
    struct error e = {0};
    k->save_ns = now + SAVE_NS;
    if (atomic_load(&k->leave_files) || !k->dirty || !k->current || k->current->manifest.generation == 0 ||
        !snapshot_whole(k->current))
        return;
    k->dirty = false;
    if (mkdir(k->dir, 0755) && errno != EEXIST)
        log_warn("%s: %s: caches not saved", k->dir, strerror(errno));
    else if (snapshot_save(k->current, k->dir, k->prefix, &e))
        log_warn("caches not saved: %s", e.text);
}
