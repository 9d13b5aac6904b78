/* key_file.h - one CURVE key pair as a file: DIR/ROLE.key
 *
 *   role: client
 *   name: alice
 *   public: 40 characters (Z85)
 *   secret: 40 characters
 *   broker: 40 characters [HOST]   of keys that are given away: by which the broker (of that host) proves
 *                                  itself; once for each
 *
 * Where the pipeline file names hosts, each host has pairs of its own: ROLE-HOST.key, called ROLE@HOST.
 * It may be read by its owner alone. Text in, text out: nothing here opens a socket.
 */
#ifndef FREEZELINE_KEY_FILE_H
#define FREEZELINE_KEY_FILE_H

#include <stddef.h>

#include "base/error.h"
#include "security.h"

#define KEY_TEXT_BYTES  41 /* Z85, and the 0 behind it */
#define KEY_NAME_BYTES  64
#define KEY_MOST_BROKER 8
#define KEY_PATH_BYTES  1024
#define KEY_FILE_BYTES  112

struct key_pair {
    enum party role;
    char name[KEY_NAME_BYTES];
    char public_key[KEY_TEXT_BYTES], secret_key[KEY_TEXT_BYTES];
    int n_brokers;
    char broker[KEY_MOST_BROKER][KEY_TEXT_BYTES], broker_host[KEY_MOST_BROKER][KEY_NAME_BYTES];
};

/* Writes DIRECTORY/FILE into path. FL_CONFIG when it does not fit. */
int key_path(char path[KEY_PATH_BYTES], const char *directory, const char *file, struct error *e);

/* The file of a role's key on a host, "worker-b.key"; `which` comes behind the role: "worker.next-b.key".
 * Host "" or NULL: "worker.key". Returns buf. */
char *key_file_name(char buf[KEY_FILE_BYTES], enum party role, const char *which, const char *host);
/* What a host's keys are called: "worker@b"; what names of keys may not have becomes `-`. Returns buf. */
char *key_host_name(char buf[KEY_NAME_BYTES], enum party role, const char *host);
/* Is a key of that name one of the host's (NULL or "": of none)? */
bool key_is_of_host(const char *name, const char *host);

/* A new pair from the system's random numbers. FL_UNSUPPORTED: this libzmq has no CURVE. */
int key_pair_new(struct key_pair *k, enum party role, const char *name, struct error *e);
/* Overwrites the secret in a way that compilers keep. */
void key_pair_wipe(struct key_pair *k);

/* FL_CONFIG with file, line and what to do. */
int key_file_parse(struct key_pair *k, const char *text, size_t size, const char *file, struct error *e);
/* The same of a file, which must be its owner's alone. FL_NOT_FOUND, FL_CONFIG. */
int key_file_read(struct key_pair *k, const char *path, struct error *e);
/* Mode 0600; what was there before is replaced. */
int key_file_write(const struct key_pair *k, const char *path, struct error *e);

/* Are these 40 characters a key? Does a name have 1 to 63 letters, digits, `_`, `-`, `.`, `@`? */
bool key_text_ok(const char *text);
bool key_name_ok(const char *name);

/* FL_CONFIG when others than its owner (this user or root) may write it, or, where `secret`, may read it; the
 * text says which chmod. A secret of root's may be read by a group: so are secrets handed into containers. */
int key_check_modes(const char *path, bool secret, struct error *e);

#endif
