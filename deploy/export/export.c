/* export.c - `freezeline export KIND`: what other launchers take, written from the pipeline file */
#include <stdio.h>
#include <string.h>

#include "deploy/launch/batch.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/output.h"
#include "export.h"

static int slurm(const struct export *x, struct error *e);

static const struct kind {
    const char *name;
    int (*write)(const struct export *x, struct error *e);
} kinds[] = {
    {"slurm", slurm},
};
#define N_KINDS (sizeof kinds / sizeof kinds[0])

static const struct usage usage = {
    .command = "export",
    .operands = "KIND",
    .summary = "Writes what another launcher takes.",
    .notes = "kinds:\n"
             "  slurm       a script for sbatch: the pipeline as one job\n\n"
             "examples:\n"
             "  freezeline export slurm -c P.yaml --to job.sh && sbatch job.sh\n",
    .min_operands = 1,
    .max_operands = 1,
};

static int write_script(FILE *to, const void *arg, struct error *e)
{
    const struct export *x = arg;
    return batch_script(to, x->pipeline, x->arguments, e);
}

static int slurm(const struct export *x, struct error *e)
{
    return output_write(x->to ? x->to : "/dev/stdout", write_script, x, e);
}

static const struct kind *find(const char *name, struct error *e)
{
    char known[100] = "";

    for (size_t i = 0; i < N_KINDS; i++) {
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", kinds[i].name);
    }
    error_set(e, FL_USAGE, "nothing is known of '%.40s'; what can be written is for: %s", name, known);
    return NULL;
}

int command_export(int argc, char **argv, struct error *e)
{
    struct pipeline_arguments where = {0};
    struct argument_list kind = {0};
    struct export x = {.arguments = &where};
    struct pipeline *p = NULL;
    const struct kind *k;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(where),
        OPTION_TEXT("to", x.to, "PATH", "write there; default: standard output"),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &kind, e);

    if (rc)
        return rc;
    if (!(k = find(kind.item[0], e)))
        return FL_USAGE;
    if (!(rc = arguments_load(&p, &where, e))) {
        x.pipeline = p;
        rc = k->write(&x, e);
    }
    pipeline_free(p);
    return rc;
}
