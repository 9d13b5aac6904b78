/* roles.h - which processes a pipeline consists of here, and how each is started */
#ifndef FREEZELINE_ROLES_H
#define FREEZELINE_ROLES_H

#include "deploy/tool/arguments.h"
#include "base/pipeline.h"
#include "wire/message.h"

#define ROLES_MAX      (PIPELINE_MAX_WORKERS + 3)
#define ROLES_MAX_ARGV (2 * ARGUMENTS_MAX_LIST + 16)

enum role_kind { ROLE_KIND_REDIS, ROLE_KIND_BROKER, ROLE_KIND_CACHE, ROLE_KIND_STAGE };

struct role {
    enum role_kind kind;
    char name[32]; /* "redis", "broker", "cache0", "stage1.0" */
    int stage, replica;
};

/* In the order in which they start. FL_CONFIG when one is to run elsewhere. */
int roles_list(const struct pipeline *p, struct role role[ROLES_MAX], int *n, struct error *e);

/* The command line of one; strings that have to be made lie in `text`. */
struct role_command {
    char *argv[ROLES_MAX_ARGV];
    char text[8][1200];
    int n_text;
};
int roles_command(struct role_command *out, const struct role *r, const struct pipeline *p,
                  const struct pipeline_arguments *a, struct error *e);

/* The name of a process that the broker reports. */
char *roles_name(const struct process_status *s, char *buf, size_t size);

#endif
