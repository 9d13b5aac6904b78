/* compose.c - one container a process, for docker compose or podman compose
 *
 * Paths are the same in the containers as on the host, so the pipeline file says the same there. They share
 * the host's network, since the file says where each listens, and the state directory, where sockets of the
 * host lie.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deploy/tool/output.h"
#include "deploy/tool/state.h"
#include "export.h"

/* A string of YAML in which compose replaces nothing. */
static void text(FILE *to, const char *s)
{
    fputc('"', to);
    for (; *s; s++)
        if (*s == '"' || *s == '\\')
            fprintf(to, "\\%c", *s);
        else if (*s == '$')
            fputs("$$", to);
        else if ((unsigned char)*s < ' ' || *s == 127)
            fprintf(to, "\\x%02x", (unsigned char)*s);
        else
            fputc(*s, to);
    fputc('"', to);
}

static void mount_at(FILE *to, const char *path, bool read_only)
{
    fputs("    - {type: bind, source: ", to);
    text(to, path);
    fputs(", target: ", to);
    text(to, path);
    fprintf(to, "%s}\n", read_only ? ", read_only: true" : "");
}

/* The folder that a file lies in, with what lies beside it: a model's weights. */
static void folder_of(const char *path, char folder[STATE_PATH_BYTES])
{
    const char *slash = strrchr(path, '/');
    int n = slash && slash > path ? (int)(slash - path) : 1;

    snprintf(folder, STATE_PATH_BYTES, "%.*s", n < STATE_PATH_BYTES ? n : STATE_PATH_BYTES - 1,
             slash ? path : ".");
}

/* Keys, and what a Redis wants to see of who comes, where they lie outside of the state directory. */
static void mount_secrets(FILE *to, const struct pipeline *p)
{
    bool keys = p->security.mode == SECURITY_CURVE || p->broker.http_tls;
    const struct redis_config *r = &p->redis;
    const char *const path[] = {keys ? p->keys : NULL, r->password_file, r->tls_ca, r->tls_cert, r->tls_key};
    size_t state = strlen(p->state);

    for (size_t i = 0; i < sizeof path / sizeof *path; i++) {
        bool there = path[i] && !strncmp(path[i], p->state, state) && path[i][state] == '/';
        for (size_t k = 0; path[i] && k < i; k++) /* a file may hold certificate and key */
            there = there || (path[k] && !strcmp(path[k], path[i]));
        if (path[i] && !there)
            mount_at(to, path[i], true);
    }
}

/* What all of them have: the least that a process of a pipeline needs. */
static void write_common(FILE *to, const struct export *x)
{
    const struct pipeline *p = x->pipeline;
    char user[32], folder[STATE_PATH_BYTES];

    snprintf(user, sizeof user, "%d:%d", (int)geteuid(), (int)getegid());
    fputs("x-process: &process\n  user: ", to);
    text(to, x->user ? x->user : user);
    fputs(
        "\n  network_mode: host\n  read_only: true\n  tmpfs: [/tmp]\n  cap_drop: [ALL]\n"
        "  security_opt: [\"no-new-privileges:true\"]\n  restart: unless-stopped\n  stop_grace_period: 30s\n"
        "  volumes:\n",
        to);
    mount_at(to, p->path, true);
    folder_of(p->model, folder);
    mount_at(to, folder, true);
    mount_at(to, p->state, false);
    mount_secrets(to, p);
}

static int write_service(FILE *to, const struct export *x, const struct role *r, struct error *e)
{
    struct role_command *c = malloc(sizeof *c);
    int rc = c ? export_command(c, r, x, x->bin, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc) {
        fprintf(to, "  %s:\n    <<: *process\n    image: ", r->name);
        text(to, r->kind == ROLE_KIND_REDIS ? "redis:7" : x->image);
        fputs("\n    command: [", to);
        for (int i = 0; c->argv[i]; i++) {
            fputs(i ? ", " : "", to);
            text(to, c->argv[i]);
        }
        fputs("]\n", to);
    }
    free(c);
    return rc;
}

static int write_compose(FILE *to, const void *arg, struct error *e)
{
    const struct export *x = arg;
    struct role role[ROLES_MAX];
    int n, rc = roles_list_here(x->pipeline, role, &n, e);

    if (rc)
        return rc;
    fprintf(to,
            "# The pipeline %s on this host: `docker compose -f THIS up -d`. The state directory has to be "
            "there, and "
            "to be the\n# user's below; `freezeline status`, `top`, `infer` and `bench` ask it as they ask "
            "any other.\n"
            "name: ",
            x->pipeline->name);
    fputs("\"freezeline-", to);
    for (const char *c = x->pipeline->name; *c; c++) /* compose takes small letters alone */
        fputc(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c == '.' ? '-' : *c, to);
    fputs("\"\n", to);
    write_common(to, x);
    fputs("services:\n", to);
    for (int i = 0; i < n && !rc; i++)
        rc = write_service(to, x, &role[i], e);
    return rc;
}

static int write_host(const struct export *at, struct error *e)
{
    char path[STATE_PATH_BYTES + 16];
    int rc;

    if (!at->pipeline->n_hosts)
        return export_write(at, write_compose, e);
    snprintf(path, sizeof path, "%s/compose.yaml", at->to);
    return (rc = state_make(at->to, e)) ? rc : output_write(path, write_compose, at, e);
}

int export_compose(const struct export *x, struct error *e)
{
    struct export all = *x;

    if (!all.to && all.pipeline->n_hosts)
        all.to = "compose";
    return export_hosts(&all, write_host, e);
}
