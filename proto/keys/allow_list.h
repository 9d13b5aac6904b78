/* allow_list.h - who may come in: DIR/allowed, one line for each key
 *
 *   client  PUBLIC-KEY  alice  2027-01-31T00:00:00Z
 *   worker  PUBLIC-KEY  worker  -
 *
 * role, public key (Z85), name, until when (UTC; `-`: for ever); `#` begins a comment. A key stands there
 * once. The file holds no secret. Pure but for reading and writing the file.
 */
#ifndef FREEZELINE_ALLOW_LIST_H
#define FREEZELINE_ALLOW_LIST_H

#include <stdint.h>

#include "key_file.h"

#define ALLOW_LIST_FILE  "allowed"
#define ALLOW_LIST_MOST  1024 /* entries */
#define ALLOW_LIST_BYTES (256 << 10)
#define MOMENT_BYTES     24

struct allowed {
    enum party role;
    char key[KEY_TEXT_BYTES], name[KEY_NAME_BYTES];
    int64_t until_s; /* since 1970; 0: for ever */
};

struct allow_list {
    int n, room;
    struct allowed *entry;
};

/* *list is emptied first. FL_CONFIG with file, line and what is due; FL_NOMEM. Free it after an error too. */
int allow_list_parse(struct allow_list *list, const char *text, size_t size, const char *file,
                     struct error *e);
void allow_list_free(struct allow_list *list);

/* DIRECTORY/FILE, which only this user or root may write. FL_NOT_FOUND, FL_CONFIG. */
int allow_list_read_from(struct allow_list *list, const char *directory, const char *file, struct error *e);
int allow_list_write_to(const struct allow_list *list, const char *directory, const char *file,
                        struct error *e);
/* DIRECTORY/allowed */
static inline int allow_list_read(struct allow_list *list, const char *directory, struct error *e)
{
    return allow_list_read_from(list, directory, ALLOW_LIST_FILE, e);
}
static inline int allow_list_write(const struct allow_list *list, const char *directory, struct error *e)
{
    return allow_list_write_to(list, directory, ALLOW_LIST_FILE, e);
}

/* The entry of a key; NULL: there is none. */
const struct allowed *allow_list_find(const struct allow_list *list, const char *key);
/* Adds one, or replaces the entry of the same key. FL_TOO_LARGE, FL_NOMEM. */
int allow_list_add(struct allow_list *list, const struct allowed *a, struct error *e);
void allow_list_remove(struct allow_list *list, int i);

/* Is an entry good at this moment (seconds since 1970)? */
static inline bool allowed_at(const struct allowed *a, int64_t now_s)
{
    return !a->until_s || now_s < a->until_s;
}

/* "2027-01-31", "2027-01-31T12:00:00Z" or "-" to seconds since 1970; false: it is none. And back, with 0 as
 * "-". */
bool moment_parse(int64_t *s, const char *text);
const char *moment_text(int64_t s, char buf[MOMENT_BYTES]);

#endif
