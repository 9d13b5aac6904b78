/* systemd_units.c - one service a process, and a target that starts and stops them together
 *
 * The services restrict themselves to what a process of a pipeline does: it reads everything, writes in the
 * state directory, speaks over sockets. Memory that is written may be executed, since oneDNN compiles its
 * kernels. Each process may restrict itself further (hardening.h, confine.h), which @system-service does not
 * let it.
 */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deploy/process/process.h"
#include "deploy/tool/output.h"
#include "deploy/tool/state.h"
#include "export.h"
#include "systemd_words.h"

static const char sandbox[] = "NoNewPrivileges=yes\n"
                              "CapabilityBoundingSet=\n"
                              "AmbientCapabilities=\n"
                              "ProtectSystem=strict\n"
                              "ProtectHome=read-only\n"
                              "PrivateDevices=yes\n"
                              "ProtectClock=yes\n"
                              "ProtectControlGroups=yes\n"
                              "ProtectHostname=yes\n"
                              "ProtectKernelLogs=yes\n"
                              "ProtectKernelModules=yes\n"
                              "ProtectKernelTunables=yes\n"
                              "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n"
                              "RestrictNamespaces=yes\n"
                              "RestrictRealtime=yes\n"
                              "RestrictSUIDSGID=yes\n"
                              "LockPersonality=yes\n"
                              "SystemCallArchitectures=native\n"
                              "SystemCallFilter=@system-service seccomp landlock_create_ruleset "
                              "landlock_add_rule landlock_restrict_self\n"
                              "SystemCallErrorNumber=EPERM\n"
                              "UMask=0077\n";

struct unit {
    const struct export *x;
    const struct role *role; /* NULL: the target */
    const struct role *all;
    int n;
    const char *bin, *user;
};

static void write_target(FILE *to, const struct unit *u)
{
    const char *name = u->x->pipeline->name;

    fprintf(to,
            "# Starts and stops the pipeline %s on this host.\n[Unit]\nDescription=Freezeline pipeline "
            "%s\nWants=",
            name, name);
    for (int i = 0; i < u->n; i++)
        fprintf(to, "%sfreezeline-%s-%s.service", i ? " " : "", name, u->all[i].name);
    fputs("\nWants=network-online.target\nAfter=network-online.target\n\n"
          "[Install]\nWantedBy=multi-user.target\n",
          to);
}

/* The state directory is made before a process starts that can write nowhere else. */
static void write_state(FILE *to, const struct unit *u)
{
    const char *state = u->x->pipeline->state;
    static const char *const folders[] = {"", "/sock", "/redis"};

    fputs("ExecStartPre=+/usr/bin/install -d -m 700 -o ", to);
    systemd_word(to, u->user);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[STATE_PATH_BYTES + 8];
        snprintf(path, sizeof path, "%s%s", state, folders[i]);
        fputc(' ', to);
        systemd_word(to, path);
    }
    fputs("\nReadWritePaths=-", to);
    systemd_path(to, state);
    /* Where its files lie in there, another /tmp would hide them. */
    if (strncmp(state, "/tmp/", 5) && strncmp(u->x->pipeline->path, "/tmp/", 5) &&
        strncmp(u->x->pipeline->model, "/tmp/", 5))
        fputs("\nPrivateTmp=yes", to);
    fputc('\n', to);
}

static int write_service(FILE *to, const struct unit *u, struct error *e)
{
    const struct role *r = u->role;
    const char *name = u->x->pipeline->name;
    struct role_command *c = malloc(sizeof *c);
    int rc = c ? export_command(c, r, u->x, u->bin, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc) {
        fprintf(to,
                "[Unit]\nDescription=Freezeline %s of %s\nPartOf=freezeline-%s.target\n"
                "After=network-online.target\nStartLimitIntervalSec=0\n\n[Service]\nType=%s\nUser=",
                r->name, name, name, r->kind == ROLE_KIND_REDIS ? "simple" : "notify");
        systemd_word(to, u->user);
        fputs("\nExecStart=", to);
        systemd_words(to, c->argv);
        fputs("\nRestart=always\nRestartSec=1\nTimeoutStartSec=300\nTimeoutStopSec=30\n", to);
        write_state(to, u);
        fprintf(to, "%s\n[Install]\nWantedBy=freezeline-%s.target\n", sandbox, name);
    }
    free(c);
    return rc;
}

static int write_unit(FILE *to, const void *arg, struct error *e)
{
    const struct unit *u = arg;

    if (u->role)
        return write_service(to, u, e);
    write_target(to, u);
    return FL_OK;
}

static int write_file(const struct unit *u, struct error *e)
{
    char path[2 * STATE_PATH_BYTES];

    if (u->role)
        snprintf(path, sizeof path, "%s/freezeline-%s-%s.service", u->x->to, u->x->pipeline->name,
                 u->role->name);
    else
        snprintf(path, sizeof path, "%s/freezeline-%s.target", u->x->to, u->x->pipeline->name);
    return output_write(path, write_unit, u, e);
}

static int write_host(const struct export *at, struct error *e)
{
    struct role role[ROLES_MAX];
    const struct passwd *self = getpwuid(geteuid());
    char bin[PROCESS_SELF_BYTES];
    struct unit u = {.x = at, .all = role, .bin = at->bin ? at->bin : bin, .user = at->user};
    int rc;

    if (!process_self(bin, NULL) && strrchr(bin, '/'))
        *strrchr(bin, '/') = 0;
    if (!u.user && !(u.user = self ? self->pw_name : NULL))
        return error_set(e, FL_USAGE,
                         "this user has no name: say with --user whose processes they are to be");
    if ((rc = roles_list_here(at->pipeline, role, &u.n, e)) || (rc = state_make(at->to, e)) ||
        (rc = write_file(&u, e)))
        return rc;
    for (int i = 0; i < u.n && !rc; i++) {
        u.role = &role[i];
        rc = write_file(&u, e);
    }
    return rc;
}

int export_systemd(const struct export *x, struct error *e)
{
    struct export all = *x;

    if (!all.to)
        all.to = "systemd";
    return export_hosts(&all, write_host, e);
}
