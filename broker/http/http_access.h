/* http_access.h - who asks over HTTPS, and what they may: by the same roles as over the pipeline's own
 * sockets
 *
 * With broker.http_tls each request proves by a bearer token (http_token.h), or its connection by a
 * certificate, that it comes from a client or an operator. A certificate that KEYS/http-clients.crt vouches
 * for names the role as its OU and whose it is as its CN. Without TLS nothing is asked. One thread.
 */
#ifndef FREEZELINE_HTTP_ACCESS_H
#define FREEZELINE_HTTP_ACCESS_H

#include <gnutls/gnutls.h>
#include <sys/stat.h>

#include "config/pipeline.h"
#include "http_route.h"
#include "http_token.h"

#define HTTP_CERTIFICATE_FILE "http.crt"         /* of the server and those who vouch for it, PEM */
#define HTTP_KEY_FILE         "http.key"         /* its secret */
#define HTTP_CLIENTS_FILE     "http-clients.crt" /* who vouches for clients; may be missing */

struct http_access {
    bool on;
    const char *directory;             /* borrowed */
    char *certificate, *key, *clients; /* contents of the files */
    struct allow_list tokens;
    struct stat looked; /* the file of tokens as it was read last */
    uint64_t looked_ns;
};

/* Whom a request comes from. */
struct http_guest {
    enum party party; /* PARTY_LOCAL: nothing is asked */
    uint64_t id;      /* of whose it is; 0: it is not known */
};

/* Reads the files that are to be there. FL_CONFIG with what to do. */
int http_access_open(struct http_access *a, const struct pipeline *p, struct error *e);
void http_access_close(struct http_access *a);
/* Reads the list of tokens again where it was changed, at most twice a second. */
void http_access_look(struct http_access *a, uint64_t now);

/* `authorization`: the header's value, or NULL. `session`: of the connection, or NULL. now_s since 1970. */
struct http_guest http_access_guest(const struct http_access *a, const char *authorization,
                                    gnutls_session_t session, int64_t now_s);
/* May that party ask this? 0: yes; 401: it has to say who it is; 403: it may not. `control`: where nobody is
 * asked, everybody may change how the pipeline serves (broker.model_control). */
int http_access_refuses(enum http_target target, enum party who, bool control);
/* What a 401 asks for: browsers know passwords alone, and give the token as one. */
const char *http_access_challenge(enum http_target target, int status);

#endif
