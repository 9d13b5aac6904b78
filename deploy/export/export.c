/* export.c - `freezeline export KIND`: what other launchers take, written from the pipeline file */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/launch/batch.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "export.h"

static int slurm(const struct export *x, struct error *e);

static const struct kind {
    const char *name;
    int (*write)(const struct export *x, struct error *e);
} kinds[] = {
    {"slurm", slurm},
    {"systemd", export_systemd},
    {"compose", export_compose},
    {"kubernetes", export_kubernetes},
};
#define N_KINDS (sizeof kinds / sizeof kinds[0])

static const struct usage usage = {
    .command = "export",
    .operands = "slurm | systemd | compose | kubernetes",
    .summary = "Writes what another launcher takes.",
    .notes =
        "kinds:\n"
        "  slurm       a script for sbatch: the pipeline as one job\n"
        "  systemd     a folder of units: a service a process, and a target for all\n"
        "  compose     a file for docker compose or podman: a container a process\n"
        "  kubernetes  a folder of manifests, with what its container image is built from\n\n"
        "examples:\n"
        "  freezeline export slurm -c P.yaml --to job.sh && sbatch job.sh\n"
        "  freezeline export systemd -c P.yaml --to units && sudo cp units/* /etc/systemd/system\n"
        "  freezeline export compose -c P.yaml --to compose.yaml && docker compose -f compose.yaml up -d\n",
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
    return export_write(x, write_script, e);
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

/* Who starts it does so from another folder. *file and absolute[] are owned by the caller. */
static int make_absolute(struct pipeline_arguments *a, char **file, char *absolute[ARGUMENTS_MAX_LIST],
                         struct error *e)
{
    if (a->path && (*file = realpath(a->path, NULL)))
        a->path = *file;
    for (int i = 0; i < a->sets.n; i++) {
        if (!(absolute[i] = pipeline_absolute_set(a->sets.item[i], NULL)))
            return error_set(e, FL_NOMEM, "no memory");
        a->sets.item[i] = absolute[i];
    }
    return FL_OK;
}

int command_export(int argc, char **argv, struct error *e)
{
    struct pipeline_arguments where = {0};
    struct argument_list kind = {0};
    struct export x = {.arguments = &where, .image = "freezeline"};
    struct pipeline *p = NULL;
    char *file = NULL, *absolute[ARGUMENTS_MAX_LIST] = {0};
    const struct kind *k;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(where),
        OPTION_TEXT("to", x.to, "PATH",
                    "write there; default: standard output, or a folder of the kind's name"),
        OPTION_TEXT("bin", x.bin, "DIR",
                    "where the programs lie; default: beside this one, or PATH in containers"),
        OPTION_TEXT("user", x.user, "USER", "whose processes they are to be; default: this one's"),
        OPTION_TEXT("image", x.image, "IMAGE", "of the containers (freezeline)"),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &kind, e);

    if (rc)
        return rc;
    if (!(k = find(kind.item[0], e)))
        return FL_USAGE;
    if (!(rc = make_absolute(&where, &file, absolute, e)) && !(rc = arguments_load(&p, &where, e))) {
        x.pipeline = p;
        rc = k->write(&x, e);
    }
    pipeline_free(p);
    for (int i = 0; i < where.sets.n; i++)
        free(absolute[i]);
    free(file);
    return rc;
}
