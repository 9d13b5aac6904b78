/* export_hosts.c - a pipeline host by host, and its processes without the supervisor that `up` brings */
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/output.h"
#include "deploy/tool/state.h"
#include "export.h"

/* --log, --logfile and the file behind them: another launcher keeps what is printed. */
static void drop_log(char **argv)
{
    char **to = argv;

    for (char **from = argv; *from; from++)
        if ((!strcmp(*from, "--log") || !strcmp(*from, "--logfile")) && from[1])
            from++;
        else
            *to++ = *from;
    *to = NULL;
}

int export_command(struct role_command *out, const struct role *r, const struct export *x, const char *bin,
                   struct error *e)
{
    const char *name;
    int rc = roles_command(out, r, x->pipeline, x->arguments, e);

    if (rc)
        return rc;
    drop_log(out->argv);
    if (r->kind == ROLE_KIND_REDIS)
        return FL_OK;
    name = strrchr(out->argv[0], '/');
    name = name ? name + 1 : out->argv[0];
    if (bin) {
        char *text = out->text[out->n_text++];
        snprintf(text, sizeof out->text[0], "%s/%s", bin, name);
        name = text;
    }
    out->argv[0] = (char *)(uintptr_t)name;
    return FL_OK;
}

int export_write(const struct export *x, int (*write)(FILE *to, const void *arg, struct error *e),
                 struct error *e)
{
    return x->to ? output_write(x->to, write, x, e) : write(stdout, x, e);
}

static int write_host(const struct export *x, const char *host, const char *to,
                      int (*write)(const struct export *at, struct error *e), struct error *e)
{
    struct pipeline_arguments arguments = *x->arguments;
    struct export at = *x;
    struct pipeline *p = NULL;
    int rc;

    arguments.host = host;
    if (!(rc = arguments_load(&p, &arguments, e))) {
        at.pipeline = p;
        at.arguments = &arguments;
        at.to = to;
        rc = write(&at, e);
    }
    pipeline_free(p);
    return rc;
}

/* Sockets whose path would be too long in the state directory lie in /tmp, of which services and containers
 * have one of their own each: they would not meet. */
static int check_sockets(const struct pipeline *p, struct error *e)
{
    char folder[STATE_PATH_BYTES];

    pipeline_socket_folder(p, folder, sizeof folder);
    return strncmp(folder, p->state, strlen(p->state)) != 0
               ? error_set(e, FL_CONFIG,
                           "the path of the state directory (%zu bytes) leaves no room for a socket's: name "
                           "a shorter "
                           "one (--set state=DIR), as services have no /tmp in common",
                           strlen(p->state))
               : FL_OK;
}

int export_hosts(const struct export *x, int (*write)(const struct export *at, struct error *e),
                 struct error *e)
{
    const struct pipeline *p = x->pipeline;
    char to[STATE_PATH_BYTES];
    int rc = check_sockets(p, e);

    if (rc)
        return rc;
    if (!p->n_hosts || x->arguments->host)
        return (rc = roles_are_here(p, e)) ? rc : write(x, e);
    for (int i = 0; i < p->n_hosts && !rc; i++) {
        if ((size_t)snprintf(to, sizeof to, "%s/%s", x->to, p->host[i].name) >= sizeof to)
            return error_set(e, FL_USAGE, "--to %s: too long", x->to);
        rc = write_host(x, p->host[i].name, to, write, e);
    }
    return rc;
}
