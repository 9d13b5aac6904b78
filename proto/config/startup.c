/* startup.c - getopt_long over the options that all services have, and the numbers of one */
#include "startup.h"
#include "here.h"

#include <dirent.h>
#include <string.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "system/confine.h"
#include "system/hardening.h"
#include "system/limits.h"
#include "base/log.h"
#include "system/signals.h"
#include "base/version.h"
#include "keyring.h"

#define NUMBERS 256 /* what getopt_long returns for the first of number[] */

static const char common[] =
    "  -c, --config FILE    the pipeline file\n"
    "      --set KEY=VALUE  override any key of the file\n"
    "      --host NAME      which of the file's `hosts` this machine is (default: as its name or address "
    "says)\n"
    "      --log FILE       log there (bounded, see `logs` in the file), not to stderr\n"
    "      --version        which Freezeline this is\n"
    "  -h, --help           this text\n";

static int take_number(const struct startup *s, struct startup_number *to, const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (!*text || *end || n < 0 || n >= to->below) {
        fprintf(stderr, "%s: --%s %s: a number from 0 to %ld is due\n", s->program, to->name, text,
                to->below - 1);
        return 2;
    }
    to->value = (int)n;
    return -1;
}

/* < 0: go on. */
static int take(struct startup *s, int option, const char *text)
{
    if (option >= NUMBERS)
        return take_number(s, &s->number[option - NUMBERS], text);
    switch (option) {
    case 'c':
        s->config = text;
        return -1;
    case 'o':
        s->host = text;
        return -1;
    case 'l':
        s->log = text;
        return -1;
    case 's':
        if (s->n_sets == STARTUP_MAX_SETS) {
            fprintf(stderr, "%s: more than %d times --set\n", s->program, STARTUP_MAX_SETS);
            return 2;
        }
        s->set[s->n_sets++] = text;
        return -1;
    case 'v':
        version_print(s->program);
        return 0;
    case 'h':
        printf("%s%s", s->usage, common);
        return 0;
    default: /* getopt_long has named it */
        fprintf(stderr, "%s: --help tells more\n", s->program);
        return 2;
    }
}

int startup_options(struct startup *s, int argc, char **argv)
{
    struct option options[STARTUP_MAX_NUMBERS + 7] = {
        {"config", required_argument, NULL, 'c'}, {"set", required_argument, NULL, 's'},
        {"log", required_argument, NULL, 'l'},    {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {"host", required_argument, NULL, 'o'},
    };
    const char *missing = NULL;
    int option, status, n = 0;

    for (; n < STARTUP_MAX_NUMBERS && s->number[n].name; n++)
        options[6 + n] = (struct option){s->number[n].name, required_argument, NULL, NUMBERS + n};
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        if ((status = take(s, option, optarg)) >= 0)
            return status;
    if (!s->config)
        missing = "config";
    for (int i = 0; i < n && !missing; i++)
        if (s->number[i].value < 0)
            missing = s->number[i].name;
    if (optind == argc && !missing)
        return -1;
    if (optind < argc)
        fprintf(stderr, "%s: `%s` is not understood; --help tells more\n", s->program, argv[optind]);
    else
        fprintf(stderr, "%s: --%s is missing; --help tells more\n", s->program, missing);
    return 2;
}

/* The folder of a file, of a socket ("ipc://PATH"); of what is neither, nothing. */
static void allow_beside(int rules, const char *path)
{
    char folder[4096];

    if (path && !strncmp(path, "ipc://", 6))
        path += 6;
    if (!path || *path != '/' || (size_t)snprintf(folder, sizeof folder, "%s", path) >= sizeof folder)
        return;
    *(strrchr(folder, '/') + 1) = '\0';
    confine_allow(rules, folder);
}

/* Where a folder in the state directory is a link to elsewhere, writing there fails: better said than
 * wondered at. */
static void warn_of_links(const char *state)
{
    DIR *dir = opendir(state);
    struct dirent *it;

    while (dir && (it = readdir(dir)))
        if (it->d_type == DT_LNK)
            log_warn("%s/%s is a link: this process writes in the state directory alone; mount a disk there, "
                     "or name "
                     "another `state`",
                     state, it->d_name);
    if (dir)
        closedir(dir);
}

/* A service writes in the state directory, and beside the sockets, the log and the file of traces that the
 * pipeline file has elsewhere. */
static bool keep_to_folders(const struct startup *s, const struct pipeline *p)
{
    int rules = confine_new();
    char *log = s->log ? realpath(s->log, NULL) : NULL;

    confine_allow(rules, p->state);
    allow_beside(rules, log);
    allow_beside(rules, p->traces.to);
    for (int i = 0; i < pipeline_brokers(p); i++) {
        struct broker_replica b = pipeline_broker(p, i);
        allow_beside(rules, b.requests);
        allow_beside(rules, b.control);
        allow_beside(rules, b.results);
    }
    for (int i = 0; i < p->cache.n_endpoints; i++)
        allow_beside(rules, p->cache.endpoint[i]);
    for (int i = 0; i < p->n_stages; i++)
        for (int k = 0; k < p->stage[i].n_replicas; k++)
            allow_beside(rules, p->stage[i].replica[k].endpoint);
    free(log);
    return confine(rules);
}

int startup_pipeline(const struct startup *s, const char *role, struct pipeline **out, struct error *e)
{
    char text[160];
    int rc;

    log_open(role, "info");
    signals_catch();
    limits_raise();
    if ((rc = pipeline_load(out, s->config, s->set, s->n_sets, e)) || (rc = here_settle(*out, s->host, e)))
        return rc;
    log_open(role, (*out)->log_level);
    log_as_json(!strcmp((*out)->logs.format, "json"));
    if (s->log && (rc = log_to(s->log, (*out)->logs.max_mb, (*out)->logs.keep, e)))
        return rc;
    log_info("may use %s", limits_text(text, sizeof text));
    if ((*out)->security.mode == SECURITY_CURVE &&
        (rc = keyring_open(&(*out)->security.keys, *out, s->party, e)))
        return rc;
    if (!harden((*out)->security.keys))
        log_debug("this kernel filters no system calls");
    if (keep_to_folders(s, *out))
        warn_of_links((*out)->state);
    else
        log_debug("this kernel does not keep a process to some folders");
    return FL_OK;
}
