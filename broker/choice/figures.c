/* figures.c - a text of a line for each variant, written and read */
#include "figures.h"

#include <math.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/whole_file.h"

#define HEAD       "freezeline variants 1\n"
#define MOST_BYTES 65536
#define LINE_BYTES 512

char *figures_path(const struct pipeline *p, char buf[FIGURES_PATH_BYTES])
{
    snprintf(buf, FIGURES_PATH_BYTES, "%s/variants/measured", p->state);
    return buf;
}

int figures_save(const struct figures *f, const char *path, struct error *e)
{
    char text[(CHOICE_MAX + 2) * LINE_BYTES];
    struct file_part part = {.data = text};

    part.size = (size_t)snprintf(text, sizeof text, HEAD "cascade_loss %.6g\n", f->cascade_loss);
    for (int i = 0; i < f->n; i++) {
        const struct choice_variant *v = &f->variant[i];
        part.size +=
            (size_t)snprintf(text + part.size, LINE_BYTES,
                             "%s loss %.6g loss_upper %.6g ms %.6g cpu_s %.6g bytes %" PRIu64 " sure %.9g\n",
                             v->name, v->loss, v->loss_upper, v->ms, v->cpu_s, v->bytes, v->sure);
    }
    return file_replace(path, &part, 1, e);
}

static bool read_line(struct figures *f, const char *line)
{
    struct choice_variant *v = &f->variant[f->n];
    if (sscanf(line, "cascade_loss %lf", &f->cascade_loss) == 1)
        return f->cascade_loss >= 0;
    if (f->n == CHOICE_MAX ||
        sscanf(line, "%63s loss %lf loss_upper %lf ms %lf cpu_s %lf bytes %" SCNu64 " sure %lf", v->name,
               &v->loss, &v->loss_upper, &v->ms, &v->cpu_s, &v->bytes, &v->sure) != 7)
        return false;
    f->n++;
    return true;
}

int figures_parse(struct figures *out, char *text, const char *name, struct error *e)
{
    char *line;

    memset(out, 0, sizeof *out);
    if (strncmp(text, HEAD, strlen(HEAD)))
        return error_set(e, FL_CORRUPT, "%s is not what `freezeline variants` writes: run it again", name);
    text += strlen(HEAD);
    for (int number = 2; (line = strsep(&text, "\n")) && *line; number++)
        if (!read_line(out, line))
            return error_set(e, FL_CORRUPT, "%s:%d is not understood: run `freezeline variants` again", name,
                             number);
    return FL_OK;
}

int figures_load(struct figures *out, const char *path, struct error *e)
{
    void *text;
    size_t size;
    int rc = file_read(&text, &size, path, MOST_BYTES, e);

    memset(out, 0, sizeof *out);
    if (rc)
        return rc;
    rc = figures_parse(out, text, path, e);
    free(text);
    return rc;
}

static struct choice_variant of(const struct figures *f, const char *name, bool first, bool *unmeasured)
{
    struct choice_variant none = {.loss_upper = first ? 0 : INFINITY, .sure = INFINITY};
    for (int i = 0; i < f->n; i++)
        if (!strcmp(f->variant[i].name, name))
            return f->variant[i];
    *unmeasured = true;
    snprintf(none.name, sizeof none.name, "%s", name);
    return none;
}

int figures_choice(struct choice **out, const struct pipeline *p, uint64_t seed, bool *unmeasured,
                   struct error *e)
{
    struct choice_variant variant[CHOICE_MAX];
    struct choice_budget b = {.how = p->choose,
                              .max_accuracy_loss = p->budget.max_accuracy_loss,
                              .latency_ms = p->budget.latency_ms,
                              .cpu_seconds_per_second = p->budget.cpu_seconds_per_second,
                              .memory = (uint64_t)(p->budget.memory_mb * 1e6)};
    char path[FIGURES_PATH_BYTES];
    struct figures f;
    bool missing = false;
    int rc = figures_load(&f, figures_path(p, path), e);

    *out = NULL;
    if (rc && rc != FL_NOT_FOUND)
        return rc;
    for (int i = 0; i < p->n_variants; i++)
        variant[i] = of(&f, p->variant[i].name, !i, &missing);
    b.cascade_loss = f.cascade_loss;
    if (unmeasured)
        *unmeasured = missing;
    return choice_new(out, variant, p->n_variants, &b, seed, e);
}
