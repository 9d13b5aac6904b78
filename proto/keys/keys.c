/* keys.c - the own pair, the table of guests, and the doorman
 *
 * A guest is an entry of the allow-list, under a number that no other entry has while this process runs. The
 * doorman writes `standing` (generation and party in one word), whoever receives messages reads it; all else
 * of a guest is under the lock.
 */
#include "keys.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <zmq.h>

#include "allow_list.h"
#include "base/clock.h"
#include "base/mishap.h"
#include "system/quiet_thread.h"

#define GUESTS     (2 * ALLOW_LIST_MOST) /* those of the list, and some that have gone and may come again */
#define CONTEXTS   8
#define LOOK_MS    500 /* between two looks at the file */
#define ZAP        "inproc://zeromq.zap.01"
#define ZAP_FRAMES 7
#define ZAP_BYTES  256
/* of new connections with one key: a burst, and then so many a second. Handshakes cost more than most
 * messages. */
#define BURST      128
#define PER_SECOND 32

struct guest {
    _Atomic uint32_t standing; /* generation << 8 | party */
    struct allowed who;
    uint64_t seen_ns;
    double credit;
};

struct keys {
    struct key_pair *own; /* on a page of its own that is neither swapped nor dumped */
    char directory[KEY_PATH_BYTES], file[KEY_FILE_BYTES];
    struct place {
        char *text, host[KEY_NAME_BYTES];
    } * place;
    int n_places;
    struct stat looked; /* the allow-list as it was read last */
    struct allow_list list;
    struct guest guest[GUESTS];
    pthread_mutex_t lock;
    int n_doormen;
    struct doorman {
        struct keys *keys;
        void *context, *socket;
        pthread_t thread;
    } doorman[CONTEXTS];
    struct mishap refused, unread;
};

/* ---- guests ---- */

static struct guest *guest_of(struct keys *k, const char *key)
{
    for (int i = 0; i < GUESTS; i++)
        if (!strcmp(k->guest[i].who.key, key))
            return &k->guest[i];
    return NULL;
}

static void set_party(struct guest *g, uint32_t generation, enum party p)
{
    atomic_store(&g->standing, generation << 8 | (uint32_t)p);
}

static uint32_t generation_of(const struct guest *g)
{
    return atomic_load(&g->standing) >> 8;
}

static bool stands(const struct guest *g)
{
    return (atomic_load(&g->standing) & 0xff) != PARTY_NOBODY;
}

/* A place for a new guest: one that was never used, or whose guest has gone. */
static struct guest *free_place(struct keys *k)
{
    struct guest *gone = NULL;
    for (int i = 0; i < GUESTS; i++) {
        struct guest *g = &k->guest[i];
        if (!*g->who.key)
            return g;
        if (!gone && !stands(g))
            gone = g;
    }
    return gone;
}

static void welcome(struct keys *k, const struct allowed *a, int64_t now_s)
{
    struct guest *g = guest_of(k, a->key);
    uint32_t generation;
    if (!g) {
        if (!(g = free_place(k)))
            return;
        generation = (generation_of(g) + 1) & 0xffff;
        g->credit = BURST;
        g->seen_ns = 0;
    } else {
        generation = generation_of(g);
    }
    g->who = *a;
    set_party(g, generation, allowed_at(a, now_s) ? a->role : PARTY_NOBODY);
}

/* The list is another. Who is no longer in it goes first: a new entry may take the place. */
static void settle(struct keys *k)
{
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    for (int i = 0; i < GUESTS; i++)
        if (*k->guest[i].who.key && !allow_list_find(&k->list, k->guest[i].who.key))
            set_party(&k->guest[i], generation_of(&k->guest[i]), PARTY_NOBODY);
    for (int i = 0; i < k->list.n; i++)
        welcome(k, &k->list.entry[i], now_s);
}

static void expire(struct keys *k)
{
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    for (int i = 0; i < GUESTS; i++)
        if (stands(&k->guest[i]) && !allowed_at(&k->guest[i].who, now_s))
            set_party(&k->guest[i], generation_of(&k->guest[i]), PARTY_NOBODY);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_mode == b->st_mode && a->st_uid == b->st_uid;
}

/* Reads the list again where it is another. One that cannot be read leaves the one before in force. */
static int look_at_list(struct keys *k, struct error *e)
{
    char path[KEY_PATH_BYTES];
    struct allow_list fresh = {0};
    struct stat st = {0};
    int rc = key_path(path, k->directory, ALLOW_LIST_FILE, e);
    if (rc || (!stat(path, &st) && same_file(&st, &k->looked)))
        return rc;
    if ((rc = allow_list_read(&fresh, k->directory, e))) {
        allow_list_free(&fresh);
        return rc;
    }
    k->looked = st;
    allow_list_free(&k->list);
    k->list = fresh;
    settle(k);
    return FL_OK;
}

/* ---- the doorman ---- */

static void look_again(struct keys *k)
{
    struct error e;
    if (look_at_list(k, &e))
        mishap(&k->unread, LOG_LEVEL_ERROR, "the list of keys stays as it was", e.text, clock_ns());
    expire(k);
}

static bool too_often(struct guest *g, uint64_t now)
{
    g->credit += (double)(now - g->seen_ns) * PER_SECOND / NS_PER_S;
    if (g->credit > BURST)
        g->credit = BURST;
    g->seen_ns = now;
    if (g->credit < 1)
        return true;
    g->credit--;
    return false;
}

/* May this key come in? The ZAP status, and the guest's number in *guest. */
static const char *decide(struct keys *k, const uint8_t *key, const char *address, uint32_t *guest)
{
    char text[KEY_TEXT_BYTES] = "", line[256];
    const char *why = "unknown", *name = "";
    struct guest *g;
    uint64_t now = clock_ns();

    zmq_z85_encode(text, key, 32);
    look_again(k);
    if ((g = guest_of(k, text))) {
        name = g->who.name;
        why = !allow_list_find(&k->list, text) ? "revoked" : "expired";
        if (stands(g) && !too_often(g, now)) {
            *guest = (uint32_t)(g - k->guest + 1) | generation_of(g) << 16;
            return "200";
        }
        if (stands(g))
            why = "connects too often";
    }
    snprintf(line, sizeof line, "%s, from %.64s: %s%s%s; `freezeline keys list` shows who may", text, address,
             why, *name ? ": " : "", name);
    mishap(&k->refused, LOG_LEVEL_WARN, "a key was refused", line, now);
    return g && stands(g) ? "300" : "400";
}

static int send_text(void *socket, const char *text, int more)
{
    return zmq_send(socket, text, strlen(text), more) < 0;
}

/* frame: version, request id, domain, address, routing id, mechanism, key. */
static void answer(struct keys *k, void *socket, char frame[][ZAP_BYTES], const size_t *size, int n)
{
    const char *status = "500";
    char user[16] = "";
    uint32_t guest = 0;

    if (n == ZAP_FRAMES && !strcmp(frame[0], "1.0") && !strcmp(frame[5], "CURVE") && size[6] == 32) {
        pthread_mutex_lock(&k->lock);
        status = decide(k, (const uint8_t *)frame[6], frame[3], &guest);
        pthread_mutex_unlock(&k->lock);
    }
    if (guest)
        snprintf(user, sizeof user, "%x", guest);
    if (send_text(socket, "1.0", ZMQ_SNDMORE) || zmq_send(socket, frame[1], size[1], ZMQ_SNDMORE) < 0 ||
        send_text(socket, status, ZMQ_SNDMORE) || send_text(socket, "", ZMQ_SNDMORE) ||
        send_text(socket, user, ZMQ_SNDMORE))
        return;
    send_text(socket, "", 0);
}

/* What libzmq asks. Frames that are longer are cut, and then match nothing. */
static int receive(void *socket, char frame[][ZAP_BYTES], size_t *size)
{
    int n = 0, more = 1;
    size_t length = sizeof more;
    char beyond[1];
    while (more) {
        int got = n < ZAP_FRAMES ? zmq_recv(socket, frame[n], ZAP_BYTES - 1, 0)
                                 : zmq_recv(socket, beyond, sizeof beyond, 0);
        if (got < 0)
            return -1;
        if (n < ZAP_FRAMES) {
            size[n] = got < ZAP_BYTES ? (size_t)got : ZAP_BYTES - 1;
            frame[n][size[n]] = 0;
        }
        n++;
        if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &length))
            return -1;
    }
    return n;
}

/* Ends with its context. */
static void *attend(void *arg)
{
    struct doorman *d = arg;
    char frame[ZAP_FRAMES][ZAP_BYTES];
    size_t size[ZAP_FRAMES];
    zmq_pollitem_t item = {.socket = d->socket, .events = ZMQ_POLLIN};

    for (;;) {
        int n = zmq_poll(&item, 1, LOOK_MS);
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0) {
            memset(frame, 0, sizeof frame);
            memset(size, 0, sizeof size);
            if ((n = receive(d->socket, frame, size)) < 0)
                break;
            answer(d->keys, d->socket, frame, size, n);
            continue;
        }
        pthread_mutex_lock(&d->keys->lock);
        look_again(d->keys);
        pthread_mutex_unlock(&d->keys->lock);
    }
    zmq_close(d->socket);
    return NULL;
}

static int start_doorman(struct doorman *d)
{
    return quiet_thread(&d->thread, attend, d);
}

int keys_guard(struct keys *k, void *context, struct error *e)
{
    struct doorman *d = &k->doorman[k->n_doormen];
    for (int i = 0; i < k->n_doormen; i++)
        if (k->doorman[i].context == context)
            return FL_OK;
    if (k->n_doormen == CONTEXTS)
        return error_set(e, FL_INTERNAL, "more than %d ZeroMQ contexts are guarded", CONTEXTS);
    *d = (struct doorman){.keys = k, .context = context, .socket = zmq_socket(context, ZMQ_REP)};
    if (!d->socket || zmq_setsockopt(d->socket, ZMQ_LINGER, &(int){0}, sizeof(int)) ||
        zmq_bind(d->socket, ZAP) || start_doorman(d)) {
        if (d->socket)
            zmq_close(d->socket);
        return error_set(e, FL_UNAVAILABLE, "nobody would look at keys: %s", zmq_strerror(errno));
    }
    k->n_doormen++;
    return FL_OK;
}

/* ---- life ---- */

/* Hardly more than a page: neither swapped out nor in a core file, as far as the kernel does it. */
static struct key_pair *private_page(void)
{
    void *page =
        mmap(NULL, sizeof(struct key_pair), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    if (!mlock(page, sizeof(struct key_pair))) {
        /* without the right to lock memory, the rest still holds */
    }
    madvise(page, sizeof(struct key_pair), MADV_DONTDUMP);
    return page;
}

/* A key that nobody would let in is told now, not by silence later. */
static int check_own(struct keys *k, struct error *e)
{
    const struct allowed *a = allow_list_find(&k->list, k->own->public_key);
    const char *role = party_name(k->own->role);
    char moment[MOMENT_BYTES];
    if (!a || a->role != k->own->role)
        return error_set(e, FL_CONFIG,
                         "%s/%s is not in %s/" ALLOW_LIST_FILE " as %s: `freezeline keys list` shows who is",
                         k->directory, k->file, k->directory, role);
    if (!allowed_at(a, (int64_t)(clock_wall_ms() / 1000)))
        return error_set(e, FL_CONFIG, "%s/%s has expired on %s: `freezeline keys rotate` makes a new one",
                         k->directory, k->file, moment_text(a->until_s, moment));
    return FL_OK;
}

/* The host's own pair, or that of the role. */
static int read_own(struct keys *k, enum party self, const char *host, char path[KEY_PATH_BYTES],
                    struct error *e)
{
    int rc = FL_NOT_FOUND;
    for (int i = host ? 0 : 1; i < 2 && rc == FL_NOT_FOUND; i++) {
        key_file_name(k->file, self, "", i ? NULL : host);
        if ((rc = key_path(path, k->directory, k->file, e)))
            return rc;
        rc = key_file_read(k->own, path, e);
    }
    return rc;
}

static int load(struct keys *k, enum party self, const char *host, struct error *e)
{
    char path[KEY_PATH_BYTES];
    int rc;
    if ((rc = key_check_modes(k->directory, false, e)) == FL_NOT_FOUND)
        return error_set(e, FL_NOT_FOUND, "there are no keys at %s: `freezeline keys make` makes them",
                         k->directory);
    if (rc)
        return rc;
    if ((rc = read_own(k, self, host, path, e)))
        return rc == FL_NOT_FOUND ? error_set(e, FL_NOT_FOUND,
                                              "there is no %s: `freezeline keys make` makes it, and it "
                                              "belongs on each host with a %s",
                                              path, party_name(self))
                                  : rc;
    if (k->own->role != self)
        return error_set(e, FL_CONFIG, "%s is the key of a %s, not of a %s", path, party_name(k->own->role),
                         party_name(self));
    if ((rc = look_at_list(k, e)) == FL_NOT_FOUND)
        return k->own->n_brokers ? FL_OK
                                 : error_set(e, FL_NOT_FOUND,
                                             "there is no %s/" ALLOW_LIST_FILE
                                             ", which lists who may come in: bring it back, or remove the "
                                             "keys there, too, and `freezeline keys make`",
                                             k->directory);
    return rc ? rc : check_own(k, e);
}

int keys_open(struct keys **out, const char *directory, enum party self, const char *host, struct error *e)
{
    struct keys *k = calloc(1, sizeof *k);
    int rc;
    *out = NULL;
    if (!k || !(k->own = private_page())) {
        free(k);
        return error_set(e, FL_NOMEM, "out of memory for keys");
    }
    pthread_mutex_init(&k->lock, NULL);
    snprintf(k->directory, sizeof k->directory, "%s", directory);
    if ((rc = load(k, self, host, e))) {
        keys_close(k);
        return rc;
    }
    *out = k;
    return FL_OK;
}

void keys_close(struct keys *k)
{
    if (!k)
        return;
    for (int i = 0; i < k->n_doormen; i++)
        pthread_join(k->doorman[i].thread, NULL);
    key_pair_wipe(k->own);
    munmap(k->own, sizeof *k->own);
    allow_list_free(&k->list);
    for (int i = 0; i < k->n_places; i++)
        free(k->place[i].text);
    free(k->place);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

/* ---- sockets ---- */

static bool set_key(void *socket, int option, const char *key)
{
    return !zmq_setsockopt(socket, option, key, KEY_TEXT_BYTES);
}

static int curve_error(struct error *e)
{
    return error_set(e, FL_UNSUPPORTED, "CURVE cannot be had from this libzmq: %s", zmq_strerror(errno));
}

int keys_for_bind(const struct keys *k, void *socket, struct error *e)
{
    if (set_key(socket, ZMQ_CURVE_PUBLICKEY, k->own->public_key) &&
        set_key(socket, ZMQ_CURVE_SECRETKEY, k->own->secret_key) &&
        !zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &(int){1}, sizeof(int)))
        return FL_OK;
    return curve_error(e);
}

int keys_place(struct keys *k, const char *text, const char *host, struct error *e)
{
    struct place *more = realloc(k->place, (size_t)(k->n_places + 1) * sizeof *more);
    char *copy = strdup(text);
    if (more)
        k->place = more;
    if (!more || !copy) {
        free(copy);
        return error_set(e, FL_NOMEM, "out of memory for keys");
    }
    more[k->n_places].text = copy;
    snprintf(more[k->n_places++].host, KEY_NAME_BYTES, "%s", host);
    return FL_OK;
}

/* The host of tcp://HOST:PORT, without brackets. */
static bool is_address_of(const char *endpoint, const char *address)
{
    const char *from = strncmp(endpoint, "tcp://", 6) ? endpoint : endpoint + 6, *to = strrchr(from, ':');
    size_t n = to ? (size_t)(to - from) : strlen(from), own = strlen(address);
    if (n > 1 && *from == '[')
        from++, n -= 2;
    if (own > 1 && *address == '[')
        address++, own -= 2;
    return n == own && !strncmp(from, address, n);
}

/* On which host somebody at an endpoint is; NULL: not known. */
static const char *host_at(const struct keys *k, const char *endpoint)
{
    for (int by_address = 0; by_address < 2; by_address++)
        for (int i = 0; i < k->n_places; i++)
            if (by_address ? is_address_of(endpoint, k->place[i].text) : !strcmp(endpoint, k->place[i].text))
                return k->place[i].host;
    return NULL;
}

/* The i-th of the keys by which a party proves itself on a host; where none has that host's name, or it is
 * not known, the i-th of all. */
static const char *listed_key(const struct keys *k, enum party at, const char *host, int i)
{
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    int seen = 0;
    for (int n = 0; n < k->list.n; n++) {
        const struct allowed *a = &k->list.entry[n];
        if (a->role == at && allowed_at(a, now_s) && (!host || key_is_of_host(a->name, host)) && seen++ == i)
            return a->key;
    }
    return host && !seen ? listed_key(k, at, NULL, i) : NULL;
}

/* The same of a key that was given away. */
static const char *given_key(const struct key_pair *own, const char *host, int i)
{
    char name[KEY_NAME_BYTES + 1] = "@";
    int seen = 0;
    for (int n = 0; n < own->n_brokers; n++) {
        snprintf(name + 1, sizeof name - 1, "%s", own->broker_host[n]);
        if ((!host || key_is_of_host(name, host)) && seen++ == i)
            return own->broker[n];
    }
    return host && !seen ? given_key(own, NULL, i) : NULL;
}

/* The i-th key of a party at an endpoint. False: it has fewer. */
static bool server_key(struct keys *k, enum party at, const char *endpoint, int i, char key[KEY_TEXT_BYTES])
{
    const char *found, *host = host_at(k, endpoint);
    pthread_mutex_lock(&k->lock);
    found =
        at != PARTY_BROKER || !k->own->n_brokers ? listed_key(k, at, host, i) : given_key(k->own, host, i);
    if (found)
        memcpy(key, found, KEY_TEXT_BYTES);
    pthread_mutex_unlock(&k->lock);
    return found;
}

int keys_servers(struct keys *k, enum party at, const char *endpoint)
{
    char key[KEY_TEXT_BYTES];
    int n = 0;
    while (n < KEYS_SERVERS && server_key(k, at, endpoint, n, key))
        n++;
    return n;
}

int keys_for_connect(struct keys *k, void *socket, enum party at, const char *endpoint, int i,
                     struct error *e)
{
    char server[KEY_TEXT_BYTES];
    if (!server_key(k, at, endpoint, i, server))
        return error_set(e, FL_CONFIG,
                         "no key of a %s is known, so none can be recognised: see `freezeline keys list`",
                         party_name(at));
    if (set_key(socket, ZMQ_CURVE_PUBLICKEY, k->own->public_key) &&
        set_key(socket, ZMQ_CURVE_SECRETKEY, k->own->secret_key) &&
        set_key(socket, ZMQ_CURVE_SERVERKEY, server))
        return FL_OK;
    return curve_error(e);
}

int keys_for_none(void *socket, struct error *e)
{
    return zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &(int){0}, sizeof(int)) ? curve_error(e) : FL_OK;
}

/* ---- who sent it ---- */

uint32_t keys_guest(void *frame)
{
    const char *user = zmq_msg_gets(frame, "User-Id");
    return user ? (uint32_t)strtoul(user, NULL, 16) : 0;
}

enum party keys_party(const struct keys *k, uint32_t guest)
{
    uint32_t place = (guest & 0xffff) - 1, standing;
    if (!guest)
        return PARTY_LOCAL;
    if (!k || place >= GUESTS)
        return PARTY_NOBODY;
    standing = atomic_load(&((struct keys *)k)->guest[place].standing);
    return standing >> 8 == guest >> 16 ? (enum party)(standing & 0xff) : PARTY_NOBODY;
}

const char *keys_name(struct keys *k, uint32_t guest, char *buf, size_t size)
{
    uint32_t place = (guest & 0xffff) - 1;
    snprintf(buf, size, "someone local");
    if (!guest || !k || place >= GUESTS)
        return buf;
    pthread_mutex_lock(&k->lock);
    snprintf(buf, size, "%s `%s`", party_name(k->guest[place].who.role), k->guest[place].who.name);
    pthread_mutex_unlock(&k->lock);
    return buf;
}
