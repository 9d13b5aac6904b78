/* redis_tls.c - hiredis's own TLS, by OpenSSL; without it redis.tls is refused */
#include "redis_tls.h"

#ifdef FREEZELINE_REDIS_TLS

#include <hiredis/hiredis_ssl.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void begin(void)
{
    redisInitOpenSSL();
}

int redis_tls_check(const struct redis_config *c, struct error *e)
{
    if (!c->tls_ca)
        return error_set(e, FL_CONFIG,
                         "redis.tls needs redis.tls_ca, the PEM file of who signed Redis's certificate");
    if (!c->tls_cert != !c->tls_key)
        return error_set(e, FL_CONFIG, "redis.tls_cert and redis.tls_key go together");
    return FL_OK;
}

int redis_tls_start(redisContext *connection, const struct redis_config *c, struct error *e)
{
    redisSSLContextError why = REDIS_SSL_CTX_NONE;
    redisSSLContext *tls;
    int rc = FL_OK;

    pthread_once(&once, begin);
    if (!(tls = redisCreateSSLContext(c->tls_ca, NULL, c->tls_cert, c->tls_key, NULL, &why)))
        return error_set(e, FL_UNAVAILABLE, "redis.tls: %s (redis.tls_ca, redis.tls_cert, redis.tls_key)",
                         redisSSLContextGetError(why));
    if (redisInitiateSSLWithContext(connection, tls) != REDIS_OK)
        rc = error_set(e, FL_UNAVAILABLE, "TLS with Redis: %.200s", connection->errstr);
    redisFreeSSLContext(tls); /* the connection holds what it needs */
    return rc;
}

#else

int redis_tls_check(const struct redis_config *c, struct error *e)
{
    (void)c;
    return error_set(
        e, FL_CONFIG,
        "redis.tls: this program was made with a hiredis without TLS (before 1.0): build it where there is "
        "a later one (Debian 13), or use a tunnel (stunnel, ssh -L) and its end on this host as "
        "redis.endpoint");
}

int redis_tls_start(redisContext *connection, const struct redis_config *c, struct error *e)
{
    (void)connection;
    return redis_tls_check(c, e);
}

#endif
