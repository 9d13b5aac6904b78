/* serving.h - what a pipeline's processes start from: a copy of the pipeline file that the supervisor keeps
 *
 * STATE/run/pipeline.yaml is the file as it was when it was taken, and STATE/run/arguments has the --set
 * arguments beside it. So whoever edits the file changes nothing of what runs, not even of a process that is
 * started again, until `freezeline apply` takes it. While an operation is under way, what is new is in
 * STATE/run/pipeline.next.yaml. Where it was started on other hosts there is one more copy beside
 * launch.json.
 */
#ifndef FREEZELINE_SERVING_H
#define FREEZELINE_SERVING_H

#include "deploy/tool/arguments.h"

#define SERVING_PLACED "placed.yaml"

struct serving {
    struct pipeline *pipeline;
    struct pipeline_arguments arguments; /* its path is the copy; texts are owned */
};

/* Copies `file` into the state directory of `where` (what serves, or is to) and loads the copy with `sets`,
 * which stay the caller's. */
int serving_take(struct serving *out, const struct pipeline *where, const char *file,
                 const struct argument_list *sets, struct error *e);
/* It is what serves from now on: its copy gets the name that lasts, its arguments are remembered. */
int serving_commit(struct serving *s, struct error *e);
void serving_free(struct serving *s);

/* The same sets, but stages.STAGE.replicas=N; texts that are new lie in `text`. FL_USAGE: too many. */
int serving_scaled(struct argument_list *out, const struct argument_list *sets, int stage, int n,
                   char text[48], struct error *e);

/* Those of the sets that hold for `file` when it takes the place of what serves: a number of replicas counts
 * until the file itself has another one than it had. */
int serving_sets(struct argument_list *out, const struct serving *now, const char *file, struct error *e);

/* What is taken into a pipeline that is up is its file: refuses sets that it did not come up with, as they
 * would stand nowhere, and says what to do instead. FL_USAGE. */
int serving_check_sets(const struct serving *now, const struct argument_list *sets, const char *file,
                       struct error *e);

/* What serves, as commands load it: the copy with the remembered arguments. FL_NOT_FOUND: nothing is up. */
int serving_recall(struct serving *out, const struct pipeline *p, struct error *e);

/* running_load, but of a pipeline that is up what serves, whatever its file says by now: the copy, or, where
 * it runs on several hosts, STATE/run/placed.yaml, which says where each process is. */
int serving_load(struct pipeline **out, const struct pipeline_arguments *a, struct error *e);
/* Prints the names of its processes, a line each; none where the file cannot be read (struct usage). */
void serving_words(const char *config);

#endif
