/* endpoint.c - checks of addresses */
#include "endpoint.h"

#include <string.h>

static bool starts(const char *s, const char *with)
{
    return !strncmp(s, with, strlen(with));
}

bool endpoint_loopback(const char *endpoint)
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
    if (!strcmp(colon, ":*"))
        return true;
    for (const char *c = colon + 1; *c; c++) {
        if (*c < '0' || *c > '9' || port > 65535)
            return false;
        port = port * 10 + (*c - '0');
    }
    return port <= 65535 && colon[1];
}

int endpoint_check(const char *endpoint, const char *security, struct error *e)
{
    bool ipc = starts(endpoint, "ipc://");
    bool known =
        ipc || starts(endpoint, "inproc://") || (starts(endpoint, "tcp://") && tcp_understood(endpoint + 6));

    if (!known || !strstr(endpoint, "://")[3])
        return error_set(e, FL_CONFIG,
                         "endpoint `%.120s` is not understood: write tcp://HOST:PORT or ipc://PATH",
                         endpoint);
    if (ipc && strlen(endpoint + 6) > ENDPOINT_MAX_IPC_PATH)
        return error_set(e, FL_CONFIG,
                         "the path of `%.150s` is longer than the %d bytes that a socket can have", endpoint,
                         ENDPOINT_MAX_IPC_PATH);
    if (endpoint_loopback(endpoint) || (security && !strcmp(security, "none")))
        return FL_OK;
    return error_set(
        e, FL_CONFIG,
        "endpoint `%.120s` is not loopback and traffic is not protected: use 127.0.0.1 or ipc://, or write "
        "`security: none` where the network itself is trusted",
        endpoint);
}
