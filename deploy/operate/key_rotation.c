/* key_rotation.c - three steps, each of which can be repeated */
#include "key_rotation.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int role_path(char path[KEY_PATH_BYTES], const char *directory, enum party role, const char *which,
                     struct error *e)
{
    char file[48];
    snprintf(file, sizeof file, "%s%s.key", party_name(role), which);
    return key_path(path, directory, file, e);
}

static bool there(const char *directory, const char *which)
{
    char path[KEY_PATH_BYTES];
    for (int p = PARTY_BROKER; p < PARTIES; p++)
        if (!role_path(path, directory, (enum party)p, which, NULL) && !access(path, F_OK))
            return true;
    return false;
}

/* While ROLE.next.key files are there, a step that was cut short may have left some ROLE.old.key too. */
enum rotation_step key_rotation_step(const char *directory)
{
    return there(directory, ".next")  ? ROTATION_MADE
           : there(directory, ".old") ? ROTATION_CHANGED
                                      : ROTATION_NONE;
}

const char *key_rotation_word(enum rotation_step s)
{
    return s == ROTATION_MADE      ? "new keys are made and let in; they come into use next"
           : s == ROTATION_CHANGED ? "new keys are in use; the old ones are let in until the last step"
                                   : "none";
}

/* ---- step 1 ---- */

#define NEXT "@next" /* behind the name of a key that is not in use yet */

static void forget_next(struct allow_list *list)
{
    for (int i = list->n - 1; i >= 0; i--)
        if (strstr(list->entry[i].name, NEXT))
            allow_list_remove(list, i);
}

/* Who has no key of a role needs no other. */
static int make_next(const char *directory, enum party role, struct allow_list *list, struct key_pair *k,
                     struct error *e)
{
    struct allowed a = {.role = role};
    char path[KEY_PATH_BYTES];
    int rc = role_path(path, directory, role, "", e);
    if (rc || access(path, F_OK) || (rc = key_pair_new(k, role, party_name(role), e)))
        return rc;
    snprintf(a.name, sizeof a.name, "%s" NEXT, party_name(role));
    memcpy(a.key, k->public_key, sizeof a.key);
    return allow_list_add(list, &a, e);
}

static int write_next(const char *directory, const struct key_pair *k, struct error *e)
{
    char path[KEY_PATH_BYTES];
    int rc = role_path(path, directory, k->role, ".next", e);
    return rc ? rc : key_file_write(k, path, e);
}

/* The list first: a key that nobody has does no harm. */
static int first(const char *directory, struct allow_list *list, char *text, size_t size, struct error *e)
{
    struct key_pair next[PARTIES] = {0};
    int rc = FL_OK;
    forget_next(list);
    for (int p = PARTY_BROKER; p < PARTIES && !rc; p++)
        rc = make_next(directory, (enum party)p, list, &next[p], e);
    if (!rc)
        rc = allow_list_write(list, directory, e);
    for (int p = PARTY_BROKER; p < PARTIES && !rc; p++)
        if (next[p].role)
            rc = write_next(directory, &next[p], e);
    snprintf(text, size,
             "step 1 of 3: new keys are let in beside the old ones. Add the line `broker: %s` to keys that "
             "were given "
             "away, run `freezeline restart --rolling`, then `freezeline keys rotate` again",
             next[PARTY_BROKER].public_key);
    explicit_bzero(next, sizeof next);
    return rc;
}

/* ---- step 2 ---- */

static int change(const char *directory, enum party role, struct error *e)
{
    char old[KEY_PATH_BYTES], now[KEY_PATH_BYTES], next[KEY_PATH_BYTES];
    int rc;
    if ((rc = role_path(old, directory, role, ".old", e)) || (rc = role_path(now, directory, role, "", e)) ||
        (rc = role_path(next, directory, role, ".next", e)) || access(next, F_OK))
        return rc;
    if ((access(old, F_OK) && link(now, old)) || rename(next, now))
        return error_set(e, FL_IO, "cannot put %s into use: %s", next, strerror(errno));
    return FL_OK;
}

static int second(const char *directory, char *text, size_t size, struct error *e)
{
    int rc = FL_OK;
    for (int p = PARTY_BROKER; p < PARTIES && !rc; p++)
        rc = change(directory, (enum party)p, e);
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

static int drop_old(const char *directory, enum party role, struct allow_list *list, struct error *e)
{
    char path[KEY_PATH_BYTES];
    struct key_pair k;
    int rc = role_path(path, directory, role, ".old", e);
    if (rc || access(path, F_OK))
        return rc;
    if (!(rc = key_file_read(&k, path, e)))
        forget(list, k.public_key);
    key_pair_wipe(&k);
    if (rc || (rc = role_path(path, directory, role, "", e)) || (rc = key_file_read(&k, path, e)))
        return rc;
    rename_entry(list, k.public_key, party_name(role));
    key_pair_wipe(&k);
    return FL_OK;
}

static int third(const char *directory, struct allow_list *list, char *text, size_t size, struct error *e)
{
    char path[KEY_PATH_BYTES];
    int rc = FL_OK;
    for (int p = PARTY_BROKER; p < PARTIES && !rc; p++)
        rc = drop_old(directory, (enum party)p, list, e);
    if (rc || (rc = allow_list_write(list, directory, e)))
        return rc;
    for (int p = PARTY_BROKER; p < PARTIES; p++)
        if (!role_path(path, directory, (enum party)p, ".old", NULL))
            unlink(path);
    snprintf(text, size, "step 3 of 3: the old keys are refused from now on; the rotation is done");
    return FL_OK;
}

int key_rotation_turn(const char *directory, struct allow_list *list, char *text, size_t size,
                      struct error *e)
{
    switch (key_rotation_step(directory)) {
    case ROTATION_MADE:
        return second(directory, text, size, e);
    case ROTATION_CHANGED:
        return third(directory, list, text, size, e);
    default:
        return first(directory, list, text, size, e);
    }
}
