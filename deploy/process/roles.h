/* roles.h - which processes a pipeline consists of here, and how each is started */
#ifndef FREEZELINE_ROLES_H
#define FREEZELINE_ROLES_H

#include "deploy/tool/arguments.h"
#include "config/pipeline.h"
#include "wire/message.h"

#define ROLES_MAX      (PIPELINE_MAX_WORKERS + 3 + PIPELINE_MAX_BROKERS)
#define ROLES_MAX_ARGV (2 * ARGUMENTS_MAX_LIST + 18)

enum role_kind { ROLE_KIND_REDIS, ROLE_KIND_BROKER, ROLE_KIND_CACHE, ROLE_KIND_STAGE, ROLE_KIND_LEARNER };

struct role {
    enum role_kind kind;
    char name[32]; /* "redis", "broker", "broker1", "cache0", "stage1.0", "learner0" */
    int stage, replica;
    const char *host; /* where it runs, as the pipeline file says; NULL: here */
};

/* All processes of the pipeline, in the order in which they start. Texts are the pipeline's. */
int roles_list(const struct pipeline *p, struct role role[ROLES_MAX], int *n, struct error *e);

/* Those of this host alone. FL_CONFIG as roles_are_here. */
int roles_list_here(const struct pipeline *p, struct role role[ROLES_MAX], int *n, struct error *e);

/* FL_CONFIG when a process is to run on a host that the file only names, without `hosts`. */
int roles_are_here(const struct pipeline *p, struct error *e);

/* FL_CONFIG: a Redis that is to be started here is told to be where it would not listen. */
int roles_check_redis(const struct pipeline *p, struct error *e);

/* The command line of one; strings that have to be made lie in `text`. */
struct role_command {
    char *argv[ROLES_MAX_ARGV];
    char text[8][1200];
    int n_text;
};
int roles_command(struct role_command *out, const struct role *r, const struct pipeline *p,
                  const struct pipeline_arguments *a, struct error *e);

/* What the broker says of a role, of one that waits for it where its holder is dead; NULL: nothing. */
const struct process_status *roles_told(const struct status_reply *s, const char *name);
/* The state of a role in a word, "ready", "dead", by what the brokers say; also of those that report to none:
 * a broker that did not answer beside others, and Redis, of which cache services tell. NULL: nothing is known
 * of it. */
const char *roles_state(const struct status_reply *s, const struct pipeline *p, const struct role *r);
/* The name of a process that the broker reports. */
char *roles_name(const struct process_status *s, char *buf, size_t size);

#endif
