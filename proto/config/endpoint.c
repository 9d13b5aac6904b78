/* endpoint.c - checks of addresses */
#include "endpoint.h"

#include <stdio.h>
#include <string.h>

static bool starts(const char *s, const char *with)
{
    return !strncmp(s, with, strlen(with));
}

bool endpoint_is_loopback(const char *endpoint)
{
    const char *host = endpoint + 6;
    if (starts(endpoint, "ipc://") || starts(endpoint, "inproc://"))
        return true;
    if (!starts(endpoint, "tcp://"))
        return false;
    return (starts(host, "127.") && strspn(host, "0123456789.") == strcspn(host, ":")) ||
           starts(host, "localhost:") || starts(host, "[::1]:");
}

/* HOST:PORT with a port of 1..65535, or * for any free one. */
static bool tcp_understood(const char *host)
{
    const char *colon = strrchr(host, ':');
    long port = 0;
    if (!colon || colon == host || strpbrk(host, " ;/\\"))
        return false;
    if (*host != '[' && strchr(host, ':') != colon)
        return false; /* an IPv6 address stands in brackets */
    if (!strcmp(colon, ":*"))
        return true;
    for (const char *c = colon + 1; *c; c++) {
        if (*c < '0' || *c > '9' || port > 65535)
            return false;
        port = port * 10 + (*c - '0');
    }
    return port <= 65535 && colon[1];
}

int endpoint_check(const char *endpoint, const struct security *s, struct error *e)
{
    bool ipc = starts(endpoint, "ipc://");
    bool known =
        ipc || starts(endpoint, "inproc://") || (starts(endpoint, "tcp://") && tcp_understood(endpoint + 6));

    if (!known || !strstr(endpoint, "://")[3])
        return error_set(e, FL_CONFIG,
                         "endpoint `%.120s` is not understood: write tcp://HOST:PORT or ipc://PATH, IPv6 "
                         "addresses in brackets",
                         endpoint);
    if (ipc && strlen(endpoint + 6) > ENDPOINT_MAX_IPC_PATH)
        return error_set(e, FL_CONFIG,
                         "the path of `%.150s` is longer than the %d bytes that a socket can have", endpoint,
                         ENDPOINT_MAX_IPC_PATH);
    if (endpoint_is_loopback(endpoint) || security_beyond_loopback(s))
        return FL_OK;
    return error_set(
        e, FL_CONFIG,
        "endpoint `%.120s` is not loopback and traffic is not protected: use 127.0.0.1 or ipc://, or write "
        "`security: curve` (and see `freezeline keys`), or `security: none` where the network itself is "
        "trusted",
        endpoint);
}

bool endpoint_split(const char *endpoint, char *host, size_t host_size, char *port, size_t port_size)
{
    const char *at = endpoint + 6, *colon;
    size_t n;

    if (!starts(endpoint, "tcp://") || !(colon = strrchr(at, ':')))
        return false;
    n = (size_t)(colon - at);
    if (n >= 2 && at[0] == '[' && at[n - 1] == ']') {
        at++;
        n -= 2;
    }
    return snprintf(host, host_size, "%.*s", (int)n, at) < (int)host_size &&
           snprintf(port, port_size, "%s", colon + 1) < (int)port_size;
}

bool endpoint_is_wildcard(const char *host)
{
    return !strcmp(host, "*") || !strcmp(host, "0.0.0.0") || !strcmp(host, "::");
}

int endpoint_connectable(const char *endpoint, struct error *e)
{
    char host[256], port[16];

    if (!endpoint_split(endpoint, host, sizeof host, port, sizeof port))
        return FL_OK;
    if (endpoint_is_wildcard(host))
        return error_set(
            e, FL_CONFIG,
            "endpoint `%.120s` is one to listen at, nobody can connect to it: name the host as others reach "
            "it, and write `bind: '*'` to listen at all addresses",
            endpoint);
    if (!strcmp(port, "*") || strspn(port, "0") == strlen(port))
        return error_set(e, FL_CONFIG, "endpoint `%.120s` has no port that others could know: write a number",
                         endpoint);
    return FL_OK;
}
