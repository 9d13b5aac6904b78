/* variants_command.c - `freezeline variants`: what each variant loses and takes, for people and for the
 * broker */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/choice/figures.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/output.h"
#include "deploy/tool/progress.h"
#include "deploy/tool/state.h"
#include "variants_report.h"

static const struct usage usage = {
    .command = "variants",
    .summary =
        "Measures the variants of a pipeline file on the same data, and writes what the broker chooses by.",
    .notes =
        "A variant is another model for the same question, or the same one in another precision or with "
        "other\n"
        "caches: `variants` in the pipeline file. Each answers the data as it serves, with the exits that "
        "were\n"
        "built for it (--variant NAME has build, quantize and the others work on one of them). Agreement is\n"
        "that with the first one's network in float32; what is lost is counted against the most accurate\n"
        "variant, with an exact bound for all at once (cache.certainty). The cascade asks the quick ones "
        "first\n"
        "and the best one where they are unsure; how sure is sure enough is certified like an exit, for a "
        "loss\n"
        "of budget.max_accuracy_loss. Use data that trained and calibrated nothing.\n\n" DATASET_LAYOUTS "\n"
        "examples:\n"
        "  freezeline variants -c P.yaml --data cifar10:test_batch.bin\n"
        "  freezeline variants -c P.yaml --data cifar10:test_batch.bin --plot variants.svg --json\n",
};

struct command {
    struct pipeline_arguments where;
    struct measure_input in;
    const char *plot;
    int limit;
    bool json;
    struct progress progress;
    struct measurements measured;
    struct cascade cascade;
};

static struct figures figures_of(const struct measurements *m, const struct cascade *c)
{
    struct figures f = {.n = m->n};

    for (int i = 0; i < m->n; i++) {
        const struct measured *x = &m->one[i];
        struct choice_variant *v = &f.variant[i];
        *v = (struct choice_variant){.loss = 100 * x->loss,
                                     .loss_upper = 100 * x->upper,
                                     .ms = x->of.served_ms.mean,
                                     .cpu_s = x->of.served_cpu_s,
                                     .bytes = (uint64_t)x->bytes,
                                     .sure = c->sure[i]};
        snprintf(v->name, sizeof v->name, "%s", x->name);
    }
    if (!*c->why_not)
        f.cascade_loss = 100 * (c->choice.upper > 0 ? c->choice.upper : 0);
    return f;
}

/* A budget that nothing meets is said here, too, not when the pipeline starts; the figures stay. */
static int write_figures(const struct command *v, const char *path, struct error *e)
{
    const struct measurements *m = &v->measured;
    struct figures f = figures_of(m, &v->cascade);
    struct choice *choice;
    struct error why;
    char folder[STATE_PATH_BYTES];
    int rc;

    if ((rc = state_path(folder, m->front, e, "variants")) || (rc = state_make(folder, e)) ||
        (rc = figures_save(&f, path, e)))
        return rc;
    if (figures_choice(&choice, m->front, 1, NULL, &why))
        fprintf(stderr, "warning: the broker will not start with these figures: %s\n", why.text);
    choice_free(choice);
    return FL_OK;
}

static int variants(struct command *v, struct error *e)
{
    char path[FIGURES_PATH_BYTES];
    int rc;

    if (!v->in.data)
        return error_set(e, FL_USAGE, "--data is missing: which requests?");
    interrupt_catch();
    progress_open(&v->progress, stderr);
    v->in.where = &v->where;
    v->in.limit = v->limit;
    v->in.progress = &v->progress;
    if ((rc = output_check(&v->plot, 1, e)) || (rc = measure(&v->measured, &v->in, e)) ||
        (rc = cascade_make(&v->cascade, &v->measured, e)))
        return rc;
    progress_close(&v->progress);
    if ((rc = write_figures(v, figures_path(v->measured.front, path), e)) ||
        (v->plot && (rc = variants_plot(&v->measured, &v->cascade, v->plot, e))))
        return rc;
    return v->json ? variants_json(&v->measured, &v->cascade, path, v->in.threads, e)
                   : variants_print(&v->measured, &v->cascade, path, e);
}

int command_variants(int argc, char **argv, struct error *e)
{
    struct command *v = calloc(1, sizeof *v);
    int rc;

    if (!v)
        return error_set(e, FL_NOMEM, "no memory");
    v->in.threads = 1;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(v->where),
        OPTION_TEXT("data", v->in.data, "D", "the requests"),
        ARGUMENTS_SKIP_BAD(v->in.skip_broken),
        OPTION_INT("limit", v->limit, "N", "only the first N", 1, 1e9),
        OPTION_TEXT("plot", v->plot, "OUT.svg", "accuracy against latency, with the front"),
        OPTION_INT("threads", v->in.threads, "N", "threads for kernels (1)", 1, 256),
        ARGUMENTS_JSON(v->json),
        {0},
    };
    rc = arguments_parse(&usage, table, argc, argv, NULL, e);
    if (!rc)
        rc = variants(v, e);
    progress_close(&v->progress);
    measurements_release(&v->measured);
    free(v);
    return rc;
}
