/* fleet.h - the hosts of a pipeline that was started on them from here
 *
 * STATE/run/launch.json on the machine where `up --on ssh` ran says by which transport they are reached and
 * where the pipeline's files are on each. By it `down`, `status`, `logs` and others find the pipeline,
 * whatever the pipeline file says by now.
 */
#ifndef FREEZELINE_FLEET_H
#define FREEZELINE_FLEET_H

#include <jansson.h>

#include "config/pipeline.h"
#include "deploy/hosts/transport.h"

#define FLEET_MAX_WORDS 24

struct fleet {
    enum transport_kind kind;
    char on[16];
    json_t *root; /* the file; texts of host[] and folder[] are its own */
    int n;
    struct host host[PIPELINE_MAX_HOSTS];
    const char *folder[PIPELINE_MAX_HOSTS]; /* of the pipeline on that host; NULL: not known yet */
    struct host_list list;
    const char *id;              /* of its files on the hosts, wherever later commands are run */
    const char *job;             /* Slurm's; NULL by other ways */
    char log[1024];              /* what Slurm says of its steps */
    struct transport *transport; /* NULL: not open */
};

/* The hosts of p, by `on`; `job` of Slurm, NULL: the one that this command is in. FL_CONFIG when it names
 * none. */
int fleet_new(struct fleet *f, const struct pipeline *p, const char *on, const char *job, struct error *e);
/* As STATE/run/launch.json has it. FL_NOT_FOUND: there is none. */
int fleet_load(struct fleet *f, const struct pipeline *p, struct error *e);
/* The same of a text; `path` names it in messages. The fleet is to be closed either way. */
int fleet_parse(struct fleet *f, const struct pipeline *p, const char *text, size_t size, const char *path,
                struct error *e);
bool fleet_there(const struct pipeline *p);
int fleet_save(struct fleet *f, const struct pipeline *p, struct error *e);
void fleet_forget(const struct pipeline *p);
/* One command at a time starts, stops or changes what runs on the hosts. Held until *lock is closed. */
int fleet_lock(int *lock, const struct pipeline *p, struct error *e);
void fleet_set_folder(struct fleet *f, int host, const char *folder);
/* Connects to all hosts. */
int fleet_open(struct fleet *f, struct error *e);
/* The same where some hosts do: what is asked of one that is out of reach fails at once. */
int fleet_open_some(struct fleet *f, struct error *e);
void fleet_close(struct fleet *f);

/* One of the commands of `freezeline` on a host: words up to NULL, to which -c and --host are added. */
struct fleet_words {
    char *argv[FLEET_MAX_WORDS];
    char program[1024], config[1024];
};
void fleet_words(struct fleet_words *w, const struct fleet *f, int host, const char *const *words);
/* Runs it there, as transport_run. */
int fleet_run(struct fleet *f, int host, const char *const *words, int timeout_ms, struct host_result *r,
              struct error *e);
/* The same, with an error where its status is not 0. *said (may be NULL) gets the last line that it printed;
 * the lines before go to stderr, behind the host's name. */
int fleet_ask(struct fleet *f, int host, const char *const *words, int timeout_ms, char *said, size_t size,
              struct error *e);
/* The host by its name; -1: none. */
int fleet_host(const struct fleet *f, const char *name);

#endif
