/* key_file.c - key pairs to files and back */
#include "key_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "base/whole_file.h"

#define FILE_MOST 4096
#define KEY_BYTES 32

static const char name_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.@";
static const char *const names[PARTIES] = {"nobody",  "broker", "worker",  "cache",
                                           "learner", "client", "operator"};

const char *party_name(enum party p)
{
    return p < PARTIES ? names[p] : "local";
}

enum party party_of(const char *name)
{
    for (int p = PARTY_BROKER; p < PARTIES; p++)
        if (!strcmp(name, names[p]))
            return (enum party)p;
    return PARTY_NOBODY;
}

int key_path(char path[KEY_PATH_BYTES], const char *directory, const char *file, struct error *e)
{
    if (snprintf(path, KEY_PATH_BYTES, "%s/%s", directory, file) < KEY_PATH_BYTES)
        return FL_OK;
    return error_set(e, FL_CONFIG, "the path of keys is longer than %d bytes: choose a shorter one",
                     KEY_PATH_BYTES - 1);
}

/* A host as files and names have it. */
static void host_word(char buf[KEY_NAME_BYTES], const char *host)
{
    snprintf(buf, KEY_NAME_BYTES, "%.48s", host ? host : "");
    for (char *c = buf; *c; c++)
        if (*c == '@' || !strchr(name_letters, *c))
            *c = '-';
}

char *key_file_name(char buf[KEY_FILE_BYTES], enum party role, const char *which, const char *host)
{
    char word[KEY_NAME_BYTES];
    host_word(word, host);
    snprintf(buf, KEY_FILE_BYTES, "%s%s%s%s.key", party_name(role), which, *word ? "-" : "", word);
    return buf;
}

char *key_host_name(char buf[KEY_NAME_BYTES], enum party role, const char *host)
{
    char word[KEY_NAME_BYTES];
    host_word(word, host);
    snprintf(buf, KEY_NAME_BYTES, "%.10s%s%.48s", party_name(role), *word ? "@" : "", word);
    return buf;
}

bool key_is_of_host(const char *name, const char *host)
{
    const char *at = strchr(name, '@');
    char word[KEY_NAME_BYTES];
    size_t n = at ? strcspn(at + 1, "@") : 0;
    host_word(word, host);
    return n == strlen(word) && (!n || !strncmp(at + 1, word, n));
}

bool key_text_ok(const char *text)
{
    uint8_t bytes[KEY_BYTES];
    return strlen(text) == KEY_TEXT_BYTES - 1 && zmq_z85_decode(bytes, text);
}

bool key_name_ok(const char *name)
{
    size_t n = strspn(name, name_letters);
    return n && n < KEY_NAME_BYTES && !name[n];
}

int key_pair_new(struct key_pair *k, enum party role, const char *name, struct error *e)
{
    memset(k, 0, sizeof *k);
    k->role = role;
    snprintf(k->name, sizeof k->name, "%s", name);
    if (zmq_curve_keypair(k->public_key, k->secret_key))
        return error_set(e, FL_UNSUPPORTED, "no keys can be made: this libzmq was built without CURVE");
    return FL_OK;
}

void key_pair_wipe(struct key_pair *k)
{
    explicit_bzero(k, sizeof *k);
}

/* ---- reading ---- */

static int take(struct key_pair *k, const char *word, const char *value)
{
    if (!strcmp(word, "role"))
        return (k->role = party_of(value)) == PARTY_NOBODY;
    if (!strcmp(word, "name")) {
        snprintf(k->name, sizeof k->name, "%.*s", (int)sizeof k->name - 1, value);
        return !key_name_ok(value);
    }
    if (!key_text_ok(value))
        return 1;
    if (!strcmp(word, "public"))
        memcpy(k->public_key, value, KEY_TEXT_BYTES);
    else if (!strcmp(word, "secret"))
        memcpy(k->secret_key, value, KEY_TEXT_BYTES);
    else
        return 1;
    return 0;
}

static int take_broker(struct key_pair *k, const char *value, const char *host)
{
    int i = k->n_brokers;
    if (i == KEY_MOST_BROKER || !key_text_ok(value) || (*host && !key_name_ok(host)))
        return 1;
    memcpy(k->broker[i], value, KEY_TEXT_BYTES);
    snprintf(k->broker_host[i], KEY_NAME_BYTES, "%s", host);
    k->n_brokers++;
    return 0;
}

/* Does the secret belong to the public key? */
static bool belongs(const struct key_pair *k)
{
    char own[KEY_TEXT_BYTES];
    return !zmq_curve_public(own, k->secret_key) && !strcmp(own, k->public_key);
}

/* A line is copied, so that it ends in 0, and the copy is wiped: it may be the secret. */
static int parse_line(struct key_pair *k, const char *line, size_t length)
{
    char copy[200], word[16], value[100], host[70] = "", more[2];
    int rc, n;
    if (length >= sizeof copy || memchr(line, 0, length))
        return 1;
    memcpy(copy, line, length);
    copy[length] = 0;
    if (*copy == '#' || !copy[strspn(copy, " \t\r")])
        return 0;
    n = sscanf(copy, "%15[a-z]: %99s %69s %1s", word, value, host, more);
    if (n >= 2 && n < 4 && !strcmp(word, "broker"))
        rc = take_broker(k, value, host);
    else
        rc = n != 2 || take(k, word, value);
    explicit_bzero(copy, sizeof copy);
    explicit_bzero(value, sizeof value);
    return rc;
}

int key_file_parse(struct key_pair *k, const char *text, size_t size, const char *file, struct error *e)
{
    int number = 1;
    memset(k, 0, sizeof *k);
    for (size_t at = 0, n; at < size; at += n + 1, number++) {
        const char *end = memchr(text + at, '\n', size - at);
        n = end ? (size_t)(end - text) - at : size - at;
        if (parse_line(k, text + at, n)) {
            key_pair_wipe(k);
            return error_set(
                e, FL_CONFIG,
                "%.200s:%d: a key file has lines like `role: client`, `name: alice`, `public: KEY`, "
                "`secret: KEY`, with keys of 40 characters: make it anew by `freezeline keys`",
                file, number);
        }
    }
    if (k->role && *k->name && *k->public_key && *k->secret_key && belongs(k))
        return FL_OK;
    key_pair_wipe(k);
    return error_set(e, FL_CONFIG, "%.200s: %s: make it anew by `freezeline keys`", file,
                     "it lacks a role, a name or a key, or its two keys do not belong together");
}

int key_check_modes(const char *path, bool secret, struct error *e)
{
    struct stat st;
    mode_t wrong;
    if (stat(path, &st))
        return error_set(e, errno == ENOENT ? FL_NOT_FOUND : FL_IO, "%s: %s", path, strerror(errno));
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return error_set(e, FL_CONFIG,
                         "%s belongs to another user, who could change it: chown it to this one", path);
    wrong = secret ? (st.st_uid == geteuid() ? 077 : 027) : 022;
    if (!(st.st_mode & wrong) || (S_ISDIR(st.st_mode) && st.st_mode & S_ISVTX))
        return FL_OK;
    return error_set(e, FL_CONFIG, "%s has mode %03o, so others can %s it: `chmod %s %s`", path,
                     (unsigned)st.st_mode & 0777, secret ? "read" : "change", secret ? "600" : "go-w", path);
}

int key_file_read(struct key_pair *k, const char *path, struct error *e)
{
    void *text;
    size_t size;
    int rc;
    if ((rc = key_check_modes(path, true, e)) || (rc = file_read(&text, &size, path, FILE_MOST, e)))
        return rc;
    rc = key_file_parse(k, text, size, path, e);
    explicit_bzero(text, size);
    free(text);
    return rc;
}

/* ---- writing ---- */

int key_file_write(const struct key_pair *k, const char *path, struct error *e)
{
    char text[FILE_MOST];
    size_t n =
        (size_t)snprintf(text, sizeof text,
                         "# Whoever can read this file can act as a %s: keep its mode 0600.\n"
                         "role: %s\nname: %s\npublic: %s\nsecret: %s\n",
                         party_name(k->role), party_name(k->role), k->name, k->public_key, k->secret_key);
    int rc;
    for (int i = 0; i < k->n_brokers; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "broker: %s%s%s\n", k->broker[i],
                              *k->broker_host[i] ? " " : "", k->broker_host[i]);
    rc = file_replace_private(path, &(struct file_part){text, n}, 1, e);
    explicit_bzero(text, sizeof text);
    return rc;
}
