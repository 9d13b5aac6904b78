/* startup.c - getopt_long over the options that all services have, and the numbers of one */
#include "startup.h"
#include "here.h"

#include <string.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

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
    default:
        fprintf(stderr, "%s%s", s->usage, common);
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
    int option, status, n = 0;
    bool complete;

    for (; n < STARTUP_MAX_NUMBERS && s->number[n].name; n++)
        options[6 + n] = (struct option){s->number[n].name, required_argument, NULL, NUMBERS + n};
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
        if ((status = take(s, option, optarg)) >= 0)
            return status;
    complete = s->config && optind == argc;
    for (int i = 0; i < n; i++)
        complete = complete && s->number[i].value >= 0;
    return complete ? -1 : take(s, '?', NULL);
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
    return FL_OK;
}
