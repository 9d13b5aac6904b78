/* transport_local.c - every host is this machine: a shell of its own for each script */
#include "transport_way.h"

static int local_open(struct transport *t, struct error *e)
{
    (void)t;
    (void)e;
    return FL_OK;
}

static void local_close(struct transport *t)
{
    (void)t;
}

static void local_words(const struct transport *t, int host, char *command, struct way_command *out)
{
    (void)t;
    (void)host;
    out->argv[0] = (char *)"sh";
    out->argv[1] = (char *)"-c";
    out->argv[2] = command;
    out->n = 3;
}

static int local_explain(const struct transport *t, int host, const char *said, const char *noise,
                         struct error *e)
{
    (void)noise;
    return error_set(e, FL_UNAVAILABLE, "host %s: the shell ended early: %.300s", transport_host(t, host),
                     said);
}

const struct transport_way transport_way_local = {
    .open = local_open,
    .close = local_close,
    .words = local_words,
    .explain = local_explain,
};
