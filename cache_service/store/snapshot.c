/* snapshot.c - references, loading and saving of all caches together */
#include "snapshot.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "index/cache_set.h"

struct snapshot *snapshot_new(const struct manifest *m)
{
    struct snapshot *s = calloc(1, sizeof *s);
    if (s) {
        atomic_init(&s->references, 1);
        s->manifest = *m;
        s->block = -1;
    }
    return s;
}

struct snapshot *snapshot_retain(struct snapshot *s)
{
    atomic_fetch_add(&s->references, 1);
    return s;
}

void snapshot_free(struct snapshot *s)
{
    if (!s || atomic_fetch_sub(&s->references, 1) != 1)
        return;
    for (int i = 0; i < s->manifest.n_exits; i++)
        cache_free(s->cache[i]);
    if (s->block >= 0)
        close(s->block);
    free(s);
}

int snapshot_share(struct snapshot *s, struct error *e)
{
    struct cache_set set = {.epoch = snapshot_epoch(s), .n_exits = s->manifest.n_exits};
    int rc;
    memcpy(set.identity, s->manifest.identity.digest, sizeof set.identity);
    for (int i = 0; i < set.n_exits; i++)
        set.exit[i] = (struct cache_set_exit){s->cache[i], s->manifest.exit[i].origin};
    if ((rc = cache_set_share(&set, &s->block, e)))
        s->block = -1;
    return rc;
}

int snapshot_exit(const struct snapshot *s, const char *name)
{
    for (int i = 0; i < s->manifest.n_exits; i++)
        if (!strcmp(s->manifest.exit[i].name, name))
            return i;
    return -1;
}

void snapshot_put(struct snapshot *s, int i, struct cache *c)
{
    struct manifest_exit *x = &s->manifest.exit[i];
    struct cache_info info = {0};
    cache_free(s->cache[i]);
    s->cache[i] = c;
    x->file[0] = '\0';
    if (c) {
        info = cache_info(c);
        memcpy(x->kind, info.kind, sizeof x->kind);
        snprintf(x->file, sizeof x->file, "%s-%llu.cache", info.exit, (unsigned long long)info.epoch);
    }
    x->digest = info.digest;
}

uint64_t snapshot_epoch(const struct snapshot *s)
{
    const struct manifest_learned *l = &s->manifest.learned;
    uint64_t newest = s->manifest.promised ? l->serial : 0;
    for (int i = 0; i < s->manifest.n_exits; i++)
        if (s->cache[i] && cache_info(s->cache[i]).epoch > newest)
            newest = cache_info(s->cache[i]).epoch;
    return newest;
}

int snapshot_caches(const struct snapshot *s)
{
    int n = 0;
    for (int i = 0; i < s->manifest.n_exits; i++)
        n += s->cache[i] != NULL;
    return n;
}

bool snapshot_lacks(const struct snapshot *s)
{
    for (int i = 0; s && i < s->manifest.n_exits; i++)
        if (s->manifest.exit[i].file[0] && !s->cache[i])
            return true;
    return false;
}

bool snapshot_whole(const struct snapshot *s)
{
    return !s->manifest.promised || !snapshot_lacks(s);
}

bool snapshot_same_build(const struct snapshot *a, const struct snapshot *b)
{
    return !memcmp(a->manifest.build, b->manifest.build, sizeof a->manifest.build);
}

struct snapshot *snapshot_with_applied(const struct snapshot *s, const char *applied)
{
    struct snapshot *next = snapshot_new(&s->manifest);
    if (!next)
        return NULL;
    for (int i = 0; i < s->manifest.n_exits; i++)
        if ((next->cache[i] = s->cache[i]))
            cache_retain(next->cache[i]);
    snprintf(next->manifest.applied, sizeof next->manifest.applied, "%s", applied);
    return next;
}

static void drop_caches(struct snapshot *s)
{
    for (int i = 0; i < s->manifest.n_exits; i++) {
        cache_free(s->cache[i]);
        s->cache[i] = NULL;
    }
}

int snapshot_check_cache(const struct manifest *m, int i, const struct cache *c, struct error *e)
{
    if (cache_info(c).digest == m->exit[i].digest)
        return FL_OK;
    return error_set(e, FL_STALE,
                     "the cache of exit %s is of another build than the manifest; run freezeline build again",
                     m->exit[i].name);
}

int snapshot_load_cache(struct cache **out, const struct manifest *m, int i, const char *dir, struct error *e)
{
    char path[PATH_MAX];
    int rc;
    snprintf(path, sizeof path, "%s/%s", dir, m->exit[i].file);
    if ((rc = cache_load(out, path, m->identity.digest, e)) || !(rc = snapshot_check_cache(m, i, *out, e)))
        return rc;
    cache_free(*out);
    *out = NULL;
    return error_wrap(e, (enum fl_code)rc, "%s", path);
}

int snapshot_load(struct snapshot **out, const char *dir, const char *manifest, snapshot_refused refused,
                  struct error *e)
{
    char path[PATH_MAX];
    struct manifest m;
    struct snapshot *s;
    int rc;
    snprintf(path, sizeof path, "%s/%s", dir, manifest);
    if ((rc = manifest_load(&m, path, e)))
        return rc;
    s = snapshot_new(&m);
    if (!s)
        return error_set(e, FL_NOMEM, "%s: out of memory", path);
    for (int i = 0; i < m.n_exits; i++) {
        struct error why = {0};
        if (!m.exit[i].file[0])
            continue;
        if (snapshot_load_cache(&s->cache[i], &m, i, dir, &why)) {
            s->cache[i] = NULL;
            refused(why.text);
        }
    }
    if (!snapshot_whole(s)) {
        drop_caches(s);
        refused(
            "the promise was made for all caches together: none is used until freezeline build ran again");
    }
    *out = s;
    return FL_OK;
}

static bool names(const struct manifest *m, const char *file)
{
    for (int i = 0; i < m->n_exits; i++)
        if (!strcmp(m->exit[i].file, file))
            return true;
    return false;
}

/* Removes PREFIX-*.cache files that the saved manifest does not name. */
static void remove_older(const struct manifest *m, const char *dir, const char *prefix)
{
    size_t n = strlen(prefix);
    DIR *d = opendir(dir);
    struct dirent *entry;
    while (d && (entry = readdir(d))) {
        char path[PATH_MAX];
        if (strncmp(entry->d_name, prefix, n) || entry->d_name[n] != '-' || names(m, entry->d_name))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
}

int snapshot_save(const struct snapshot *s, const char *dir, const char *prefix, struct error *e)
{
    struct manifest m = s->manifest;
    char path[PATH_MAX];
    int rc;
    for (int i = 0; i < m.n_exits; i++) {
        struct manifest_exit *x = &m.exit[i];
        x->file[0] = '\0';
        if (!s->cache[i])
            continue;
        snprintf(x->file, sizeof x->file, "%s-%s-%llu.cache", prefix, x->name,
                 (unsigned long long)m.generation);
        snprintf(path, sizeof path, "%s/%s", dir, x->file);
        if ((rc = cache_save(s->cache[i], path, &x->digest, e)))
            return rc;
    }
    snprintf(path, sizeof path, "%s/%s.json", dir, prefix);
    if ((rc = manifest_save(&m, path, e)))
        return rc;
    remove_older(&m, dir, prefix);
    return FL_OK;
}
