/* host_logs.c - the same command on each host, its lines put together here */
#include "host_logs.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/nearest_word.h"
#include "deploy/hosts/shell_words.h"
#include "deploy/launch/fleet.h"
#include "deploy/process/roles.h"
#include "deploy/tool/interrupt.h"

#define LINE_BYTES 4096
#define AGAIN_NS   (2 * NS_PER_S) /* between two attempts to follow a host */
#define POLL_US    50000

struct showing {
    struct fleet fleet;
    const struct host_logs *asked;
    int only; /* this host; -1: all */
    pthread_mutex_t lock;
};

/* One host's output: whole lines are printed, whoever prints beside. */
struct stream {
    struct showing *showing;
    const char *host;
    char line[LINE_BYTES];
    size_t n;
};

static void print_line(struct stream *s)
{
    pthread_mutex_lock(&s->showing->lock);
    printf("%s: %.*s\n", s->host, (int)s->n, s->line);
    fflush(stdout);
    pthread_mutex_unlock(&s->showing->lock);
    s->n = 0;
}

static void said(void *arg, const char *text, size_t size)
{
    struct stream *s = arg;

    for (size_t i = 0; i < size; i++)
        if (text[i] == '\n')
            print_line(s);
        else if (s->n < sizeof s->line)
            s->line[s->n++] = text[i];
}

static int show_one(struct transport *t, int host, void *arg, struct error *e)
{
    struct showing *show = arg;
    struct stream s = {.showing = show, .host = show->fleet.host[host].name};
    const struct transport_stream stream = {.said = said, .arg = &s};
    struct fleet_words w;
    char lines[16], *script = NULL;
    const char *words[8] = {"logs", "-n", lines};
    size_t size;
    FILE *to;
    int n = 3, rc;

    if ((show->only >= 0 && show->only != host) || !show->fleet.folder[host])
        return FL_OK;
    snprintf(lines, sizeof lines, "%d", show->asked->lines);
    if (show->asked->follow)
        words[n++] = "-f";
    if (show->asked->who)
        words[n++] = show->asked->who;
    fleet_words(&w, &show->fleet, host, words);
    if (!(to = open_memstream(&script, &size)))
        return error_set(e, FL_NOMEM, "no memory");
    fputs("exec ", to);
    shell_words(to, w.argv);
    fputc('\n', to);
    fclose(to);
    rc = transport_script(t, host, script, &stream, 0, NULL, e);
    free(script);
    if (s.n)
        print_line(&s);
    return rc == FL_CANCELLED ? FL_OK : rc;
}

/* A host that goes away while it is followed may come back; a job of Slurm that has ended does not. */
static int follow_one(struct transport *t, int host, void *arg, struct error *e)
{
    const struct showing *show = arg;
    char told[ERROR_TEXT_BYTES] = "";
    int rc;

    while ((rc = show_one(t, host, arg, e)) == FL_UNAVAILABLE && show->asked->follow &&
           show->fleet.kind == TRANSPORT_SSH && !interrupt_seen()) {
        if (strcmp(told, e->text) != 0)
            fprintf(stderr, "%s: not followed, it is tried again until it is there: %s\n",
                    transport_host(t, host), e->text);
        snprintf(told, sizeof told, "%s", e->text);
        transport_retry(t, host);
        for (uint64_t until = clock_ns() + AGAIN_NS; clock_ns() < until && !interrupt_seen();)
            usleep(POLL_US);
    }
    return rc;
}

int host_logs_unknown(const char *who, const char *const *name, int n, struct error *e)
{
    const char *near = nearest_word(who, name, n);
    char names[256] = "";
    size_t at = 0;

    for (int i = 0; i < n && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", name[i]);
    return error_set(e, FL_USAGE, "there is no log of '%s'%s%s%s; there are: %s%s", who,
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "", n ? names : "none",
                     at < sizeof names ? "" : "..");
}

/* The host of a process; -1: several have one of that name. */
static int choose(struct showing *s, const struct pipeline *p, struct error *e)
{
    struct role role[ROLES_MAX];
    const char *names[ROLES_MAX + 1] = {"supervisor"};
    int n, rc;

    s->only = -1;
    if (!s->asked->who || !strcmp(s->asked->who, "supervisor"))
        return FL_OK;
    if ((rc = roles_list(p, role, &n, e)))
        return rc;
    for (int i = 0; i < n; i++) {
        names[i + 1] = role[i].name;
        if (!strcmp(role[i].name, s->asked->who) && role[i].host) {
            s->only = fleet_host(&s->fleet, role[i].host);
            return FL_OK;
        }
    }
    return host_logs_unknown(s->asked->who, names, n + 1, e);
}

int host_logs_show(const struct pipeline *p, const struct host_logs *l, struct error *e)
{
    struct showing s = {.asked = l, .lock = PTHREAD_MUTEX_INITIALIZER};
    int rc = fleet_load(&s.fleet, p, e);

    if (!rc && !(rc = choose(&s, p, e)) && !(rc = fleet_open_some(&s.fleet, e)))
        rc = transport_each(s.fleet.transport, follow_one, &s, e);
    fleet_close(&s.fleet);
    return rc;
}
