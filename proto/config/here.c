/* here.c - this machine among the hosts of a pipeline */
#include "here.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "address.h"

/* This machine by its name, with or without the domain. */
static bool is_own_name(const char *host)
{
    char own[256] = "";
    size_t n;

    gethostname(own, sizeof own - 1);
    n = strcspn(own, ".");
    return !strcasecmp(host, own) || (!strchr(host, '.') && strlen(host) == n && !strncasecmp(host, own, n));
}

static bool is_own(const struct host_config *h, int way)
{
    if (way == 0)
        return is_own_name(h->name) || is_own_name(h->address);
    return address_is_own(h->address, way == 2);
}

/* By name, then by address, then by what the name service says. The first way that finds one decides. */
static int find(const struct pipeline *p, struct error *e)
{
    char names[200] = "", own[256] = "";
    int found = -1, n = 0;

    for (int way = 0; way < 3 && !n; way++)
        for (int i = 0; i < p->n_hosts; i++)
            if (is_own(&p->host[i], way)) {
                snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", n++ ? ", " : "",
                         p->host[i].name);
                found = i;
            }
    if (n == 1)
        return found;
    gethostname(own, sizeof own - 1);
    if (n)
        error_set(e, FL_CONFIG, "%s: several of `hosts` are this machine (%s): say which with --host NAME",
                  p->path, names);
    else
        error_set(
            e, FL_CONFIG,
            "%s: none of `hosts` has the name of this machine (%s) or one of its addresses: say which it "
            "is with --host NAME",
            p->path, own);
    return -1;
}

int here_settle(struct pipeline *p, const char *name, struct error *e)
{
    int host = name ? pipeline_host(p, name) : -1;

    if (!p->n_hosts && !name)
        return FL_OK;
    if (name && host < 0)
        return error_set(e, FL_USAGE, "--host %s: `hosts` in %s has no such name", name, p->path);
    if (!name && (host = find(p, e)) < 0)
        return FL_CONFIG;
    return pipeline_be_at(p, host, e);
}
