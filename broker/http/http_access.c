/* http_access.c - files, tokens, certificates, and the table of rights */
#include "http_access.h"

#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/whole_file.h"

#define LOOK_NS     (NS_PER_S / 2)
#define FILE_MOST   (256 << 10)
#define HEADER_MOST 512 /* of a header that says who asks */

/* ---- files ---- */

static int read_text(char **out, const struct http_access *a, const char *name, bool secret, struct error *e)
{
    char path[KEY_PATH_BYTES], *text;
    void *bytes;
    size_t size;
    int rc;
    if ((rc = key_path(path, a->directory, name, e)) || (rc = key_check_modes(path, secret, e)) ||
        (rc = file_read(&bytes, &size, path, FILE_MOST, e)))
        return rc;
    if ((text = realloc(bytes, size + 1))) {
        text[size] = '\0';
        *out = text;
        return FL_OK;
    }
    free(bytes);
    return error_set(e, FL_NOMEM, "out of memory for %s", path);
}

static int read_tokens(struct http_access *a, struct error *e)
{
    char path[KEY_PATH_BYTES];
    int rc = key_path(path, a->directory, HTTP_TOKEN_FILE, e);
    if (!rc && stat(path, &a->looked))
        return error_set(e, FL_NOT_FOUND, "%s is not there: `freezeline keys token NAME` makes it", path);
    return rc ? rc : allow_list_read_from(&a->tokens, a->directory, HTTP_TOKEN_FILE, e);
}

static int check_pair(const struct http_access *a, struct error *e)
{
    gnutls_datum_t certificate = {(unsigned char *)a->certificate, (unsigned)strlen(a->certificate)},
                   key = {(unsigned char *)a->key, (unsigned)strlen(a->key)};
    gnutls_certificate_credentials_t c;
    int rc = gnutls_certificate_allocate_credentials(&c);
    if (rc)
        return error_set(e, FL_NOMEM, "out of memory for a certificate");
    rc = gnutls_certificate_set_x509_key_mem(c, &certificate, &key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(c);
    if (rc >= 0)
        return FL_OK;
    return error_set(e, FL_CONFIG,
                     "%s/" HTTP_CERTIFICATE_FILE " and " HTTP_KEY_FILE " are no certificate and its key: %s",
                     a->directory, gnutls_strerror(rc));
}

int http_access_open(struct http_access *a, const struct pipeline *p, struct error *e)
{
    struct error why;
    int rc;
    *a = (struct http_access){.on = p->broker.http_tls, .directory = p->keys};
    if (!a->on)
        return FL_OK;
    if ((rc = read_text(&a->certificate, a, HTTP_CERTIFICATE_FILE, false, &why)) ||
        (rc = read_text(&a->key, a, HTTP_KEY_FILE, true, &why)))
        return error_set(e, (enum fl_code)rc,
                         "broker.http_tls: %.300s (deploy/SECURITY.md says how to make it)", why.text);
    if ((rc = check_pair(a, e)))
        return rc;
    if ((rc = read_text(&a->clients, a, HTTP_CLIENTS_FILE, false, e)) && rc != FL_NOT_FOUND)
        return rc;
    rc = read_tokens(a, e);
    return rc == FL_NOT_FOUND && a->clients ? FL_OK : rc;
}

void http_access_close(struct http_access *a)
{
    if (a->key)
        explicit_bzero(a->key, strlen(a->key));
    free(a->certificate);
    free(a->key);
    free(a->clients);
    allow_list_free(&a->tokens);
}

void http_access_look(struct http_access *a, uint64_t now)
{
    char path[KEY_PATH_BYTES];
    struct error e;
    struct stat st = {0};
    if (!a->on || now - a->looked_ns < LOOK_NS)
        return;
    a->looked_ns = now;
    if (key_path(path, a->directory, HTTP_TOKEN_FILE, &e))
        return;
    stat(path, &st);
    if (st.st_ino == a->looked.st_ino && st.st_size == a->looked.st_size &&
        st.st_mtim.tv_sec == a->looked.st_mtim.tv_sec && st.st_mtim.tv_nsec == a->looked.st_mtim.tv_nsec)
        return;
    a->looked = st;
    if (!st.st_ino || allow_list_read_from(&a->tokens, a->directory, HTTP_TOKEN_FILE, &e)) {
        a->tokens.n = 0;
        log_error("no token is let in any more: %s", st.st_ino ? e.text : path);
    }
}

/* ---- who ---- */

static uint64_t id_of(const char *name)
{
    return XXH3_64bits(name, strlen(name)) | 1;
}

static struct http_guest by_token(const struct http_access *a, const char *token, size_t length,
                                  int64_t now_s)
{
    const struct allowed *who = http_token_find(&a->tokens, token, length);
    if (!who || !allowed_at(who, now_s) || (who->role != PARTY_CLIENT && who->role != PARTY_OPERATOR))
        return (struct http_guest){PARTY_NOBODY, 0};
    return (struct http_guest){who->role, id_of(who->name)};
}

/* `text` is base64 of NAME:TOKEN, as browsers send what they were given as a password. */
static struct http_guest by_password(const struct http_access *a, const char *text, int64_t now_s)
{
    gnutls_datum_t from = {(unsigned char *)(uintptr_t)text, (unsigned)strlen(text)}, to = {NULL, 0};
    struct http_guest guest = {PARTY_NOBODY, 0};
    const unsigned char *colon;
    if (gnutls_base64_decode2(&from, &to))
        return guest;
    if ((colon = memchr(to.data, ':', to.size)))
        guest = by_token(a, (const char *)colon + 1, to.size - (size_t)(colon + 1 - to.data), now_s);
    gnutls_memset(to.data, 0, to.size);
    gnutls_free(to.data);
    return guest;
}

static struct http_guest by_names(gnutls_x509_crt_t certificate)
{
    char role[KEY_NAME_BYTES], name[KEY_NAME_BYTES];
    size_t n_role = sizeof role, n_name = sizeof name;
    struct http_guest guest = {PARTY_NOBODY, 0};
    if (!gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, 0, 0, role,
                                       &n_role) &&
        !gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &n_name))
        guest = (struct http_guest){party_of(role), id_of(name)};
    if (guest.party != PARTY_CLIENT && guest.party != PARTY_OPERATOR)
        guest.party = PARTY_NOBODY;
    return guest;
}

static struct http_guest by_certificate(gnutls_session_t session)
{
    struct http_guest guest = {PARTY_NOBODY, 0};
    const gnutls_datum_t *chain;
    gnutls_x509_crt_t own;
    unsigned n = 0, status;
    if (!(chain = gnutls_certificate_get_peers(session, &n)) || !n ||
        gnutls_certificate_verify_peers2(session, &status) || status || gnutls_x509_crt_init(&own))
        return guest;
    if (!gnutls_x509_crt_import(own, &chain[0], GNUTLS_X509_FMT_DER))
        guest = by_names(own);
    gnutls_x509_crt_deinit(own);
    return guest;
}

struct http_guest http_access_guest(const struct http_access *a, const char *authorization,
                                    gnutls_session_t session, int64_t now_s)
{
    struct http_guest guest = {PARTY_NOBODY, 0};
    size_t n = authorization ? strlen(authorization) : 0;
    if (!a->on)
        return (struct http_guest){PARTY_LOCAL, 0};
    if (n > 7 && n < HEADER_MOST && !strncasecmp(authorization, "Bearer ", 7))
        guest = by_token(a, authorization + 7, n - 7, now_s);
    else if (n > 6 && n < HEADER_MOST && !strncasecmp(authorization, "Basic ", 6))
        guest = by_password(a, authorization + 6, now_s);
    if (guest.party == PARTY_NOBODY && a->clients && session)
        guest = by_certificate(session);
    return guest;
}

/* ---- what ---- */

/* Health says nothing but that, and is asked by those who spread load. What is served, and that it is asked,
 * is the client's; how the pipeline does is the operator's. */
int http_access_refuses(enum http_target target, enum party who, bool control)
{
    if (who == PARTY_LOCAL)
        return http_changes(target) && !control ? 403 : 0;
    switch (target) {
    case TARGET_LIVE:
    case TARGET_READY:
    case TARGET_MODEL_READY:
        return 0;
    case TARGET_LOAD:
    case TARGET_UNLOAD:
    case TARGET_TRACES:
    case TARGET_SET_TRACES:
    case TARGET_METRICS:
    case TARGET_PAGE:
    case TARGET_LIVE_STATE:
        return who == PARTY_NOBODY ? 401 : who == PARTY_CLIENT ? 403 : 0;
    default:
        return who == PARTY_NOBODY ? 401 : 0;
    }
}

const char *http_access_challenge(enum http_target target, int status)
{
    if (status == 403)
        return "Bearer realm=\"freezeline\", error=\"insufficient_scope\"";
    if (target == TARGET_PAGE || target == TARGET_LIVE_STATE)
        return "Basic realm=\"freezeline\", charset=\"UTF-8\"";
    return "Bearer realm=\"freezeline\"";
}
