/* key_rotation.c - three steps, each of which can be repeated */
#include "key_rotation.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whose key it is: a role's, on a host or ("") on none. */
struct owner {
    enum party role;
    char host[KEY_NAME_BYTES];
};

struct owners {
    int n;
    struct owner *of;
};

static int owner_path(char path[KEY_PATH_BYTES], const char *directory, const struct owner *o,
                      const char *which, struct error *e)
{
    char file[KEY_FILE_BYTES];
    return key_path(path, directory, key_file_name(file, o->role, which, o->host), e);
}

/* "worker.next-b.key" as an owner, with `which` ".next". */
static bool owner_of(struct owner *o, const char *file, const char *which)
{
    char role[16], again[KEY_FILE_BYTES];
    size_t n = strcspn(file, ".-"), size = strlen(file), rest = n + strlen(which);

    snprintf(role, sizeof role, "%.*s", (int)(n < sizeof role ? n : 0), file);
    if (!(o->role = party_of(role)) || size < rest + 4)
        return false;
    rest += file[rest] == '-';
    if (size < rest + 4)
        return false;
    snprintf(o->host, sizeof o->host, "%.*s", (int)(size - rest - 4), file + rest);
    return !strcmp(file, key_file_name(again, o->role, which, o->host));
}

/* All that have such a file in the directory; `host` NULL: on any host. The caller's to free. */
static int list_owners(struct owners *all, const char *directory, const char *which, const char *host,
                       struct error *e)
{
    DIR *d = opendir(directory);
    struct dirent *entry;
    int rc = FL_OK;

    *all = (struct owners){0};
    while (d && !rc && (entry = readdir(d))) {
        struct owner o, *more;
        char word[KEY_NAME_BYTES];
        if (!owner_of(&o, entry->d_name, which) ||
            (host && !key_is_of_host(key_host_name(word, o.role, o.host), host)))
            continue;
        if ((more = realloc(all->of, (size_t)(all->n + 1) * sizeof *more))) {
            all->of = more;
            all->of[all->n++] = o;
        } else {
            rc = error_set(e, FL_NOMEM, "no memory");
        }
    }
    if (d)
        closedir(d);
    return rc;
}

static bool there(const char *directory, const char *which, const char *host)
{
    struct owners all;
    bool any = !list_owners(&all, directory, which, host, NULL) && all.n;
    free(all.of);
    return any;
}

/* While ROLE.next.key files are there, a step that was cut short may have left some ROLE.old.key too. */
enum rotation_step key_rotation_step(const char *directory)
{
    return there(directory, ".next", NULL)  ? ROTATION_MADE
           : there(directory, ".old", NULL) ? ROTATION_CHANGED
                                            : ROTATION_NONE;
}

const char *key_rotation_word(enum rotation_step s)
{
    return s == ROTATION_MADE      ? "new keys are made and let in; they come into use next"
           : s == ROTATION_CHANGED ? "new keys are in use; the old ones are let in until the last step"
                                   : "none";
}

/* ---- step 1 ---- */

#define NEXT "@@next" /* behind the name of a key that is not in use yet */

static bool is_next(const char *name)
{
    size_t n = strlen(name), tail = strlen(NEXT);
    return n > tail && !strcmp(name + n - tail, NEXT);
}

static void forget_next(struct allow_list *list)
{
    for (int i = list->n - 1; i >= 0; i--)
        if (is_next(list->entry[i].name))
            allow_list_remove(list, i);
}

static int make_next(const struct owner *o, struct allow_list *list, struct key_pair *k, struct error *e)
{
    struct allowed a = {.role = o->role};
    char name[KEY_NAME_BYTES];
    int rc = key_pair_new(k, o->role, key_host_name(name, o->role, o->host), e);
    if (rc)
        return rc;
    if (snprintf(a.name, sizeof a.name, "%s" NEXT, name) >= (int)sizeof a.name)
        return error_set(e, FL_CONFIG, "%s: the name of that host is too long for keys", name);
    memcpy(a.key, k->public_key, sizeof a.key);
    return allow_list_add(list, &a, e);
}

static int write_next(const char *directory, const struct owner *o, const struct key_pair *k, struct error *e)
{
    char path[KEY_PATH_BYTES];
    int rc = owner_path(path, directory, o, ".next", e);
    return rc ? rc : key_file_write(k, path, e);
}

/* What keys that were given away have to learn. */
static void say_first(const struct owners *all, const struct key_pair *next, char *text, size_t size)
{
    char line[KEY_TEXT_BYTES + KEY_NAME_BYTES + 16];
    int n = 0;
    for (int i = 0; i < all->n; i++)
        if (all->of[i].role == PARTY_BROKER && !n++)
            snprintf(line, sizeof line, "`broker: %s%s%s`", next[i].public_key, *all->of[i].host ? " " : "",
                     all->of[i].host);
    if (n > 1)
        snprintf(line, sizeof line, "`broker: KEY HOST` for each broker's (`freezeline keys list`)");
    snprintf(
        text, size,
        "step 1 of 3: new keys are let in beside the old ones. %s%s%srun `freezeline restart --rolling`, "
        "then `freezeline keys rotate` again",
        n ? "Add the line " : "", n ? line : "", n ? " to keys that were given away, " : "Now ");
}

/* The list first: a key that nobody has does no harm. */
static int first(const char *directory, const char *host, struct allow_list *list, char *text, size_t size,
                 struct error *e)
{
    struct owners all;
    int rc = list_owners(&all, directory, "", host, e);
    struct key_pair *next = calloc((size_t)all.n + 1, sizeof *next);
    if (!rc && !all.n)
        rc = error_set(e, FL_NOT_FOUND, "there are no keys%s%s in %s: `freezeline keys make` makes them",
                       host ? " of host " : "", host ? host : "", directory);
    if (!rc && !next)
        rc = error_set(e, FL_NOMEM, "no memory");
    forget_next(list);
    for (int i = 0; i < all.n && !rc; i++)
        rc = make_next(&all.of[i], list, &next[i], e);
    if (!rc)
        rc = allow_list_write(list, directory, e);
    for (int i = 0; i < all.n && !rc; i++)
        rc = write_next(directory, &all.of[i], &next[i], e);
    if (!rc)
        say_first(&all, next, text, size);
    if (next)
        explicit_bzero(next, (size_t)all.n * sizeof *next);
    free(next);
    free(all.of);
    return rc;
}

/* ---- step 2 ---- */

static int change(const char *directory, const struct owner *o, struct error *e)
{
    char old[KEY_PATH_BYTES], now[KEY_PATH_BYTES], next[KEY_PATH_BYTES];
    int rc;
    if ((rc = owner_path(old, directory, o, ".old", e)) || (rc = owner_path(now, directory, o, "", e)) ||
        (rc = owner_path(next, directory, o, ".next", e)))
        return rc;
    if ((access(old, F_OK) && link(now, old)) || rename(next, now))
        return error_set(e, FL_IO, "cannot put %s into use: %s", next, strerror(errno));
    return FL_OK;
}

static int second(const char *directory, char *text, size_t size, struct error *e)
{
    struct owners all;
    int rc = list_owners(&all, directory, ".next", NULL, e);
    for (int i = 0; i < all.n && !rc; i++)
        rc = change(directory, &all.of[i], e);
    free(all.of);
    snprintf(text, size,
             "step 2 of 3: processes that start from now on have the new keys. Now `freezeline restart "
             "--rolling`, then "
             "`freezeline keys rotate` once more");
    return rc;
}

/* ---- step 3 ---- */

static void forget(struct allow_list *list, const char *key)
{
    for (int i = 0; i < list->n; i++)
        if (!strcmp(list->entry[i].key, key)) {
            allow_list_remove(list, i);
            return;
        }
}

/* What is in use has the plain name again. */
static void rename_entry(const struct allow_list *list, const char *key, const char *name)
{
    const struct allowed *a = allow_list_find(list, key);
    if (a)
        snprintf(list->entry[a - list->entry].name, KEY_NAME_BYTES, "%s", name);
}

static int drop_old(const char *directory, const struct owner *o, struct allow_list *list, struct error *e)
{
    char path[KEY_PATH_BYTES], name[KEY_NAME_BYTES];
    struct key_pair k;
    int rc = owner_path(path, directory, o, ".old", e);
    if (rc)
        return rc;
    if (!(rc = key_file_read(&k, path, e)))
        forget(list, k.public_key);
    key_pair_wipe(&k);
    if (rc || (rc = owner_path(path, directory, o, "", e)) || (rc = key_file_read(&k, path, e)))
        return rc;
    rename_entry(list, k.public_key, key_host_name(name, o->role, o->host));
    key_pair_wipe(&k);
    return FL_OK;
}

static int third(const char *directory, struct allow_list *list, char *text, size_t size, struct error *e)
{
    char path[KEY_PATH_BYTES];
    struct owners all;
    int rc = list_owners(&all, directory, ".old", NULL, e);
    for (int i = 0; i < all.n && !rc; i++)
        rc = drop_old(directory, &all.of[i], list, e);
    if (!rc)
        rc = allow_list_write(list, directory, e);
    for (int i = 0; i < all.n && !rc; i++)
        if (!owner_path(path, directory, &all.of[i], ".old", NULL))
            unlink(path);
    free(all.of);
    if (!rc)
        snprintf(text, size, "step 3 of 3: the old keys are refused from now on; the rotation is done");
    return rc;
}

int key_rotation_turn(const char *directory, const char *host, struct allow_list *list, char *text,
                      size_t size, struct error *e)
{
    enum rotation_step s = key_rotation_step(directory);

    if (host && s != ROTATION_NONE && !there(directory, s == ROTATION_MADE ? ".next" : ".old", host))
        return error_set(
            e, FL_USAGE,
            "other keys than those of host `%.64s` are being rotated: `freezeline keys rotate` takes "
            "the next step of that",
            host);
    switch (s) {
    case ROTATION_MADE:
        return second(directory, text, size, e);
    case ROTATION_CHANGED:
        return third(directory, list, text, size, e);
    default:
        return first(directory, host, list, text, size, e);
    }
}
