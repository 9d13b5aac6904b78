/* exit_build.c - one exit's build: names of its files, how far it is, what it has made before */
#include "exit_build.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "net_train.h"

int build_path(const struct exit_build *b, char *path, size_t size, const char *suffix, struct error *e)
{
    if (snprintf(path, size, "%s/%s.%s", b->in->work_dir, b->in->exit_name, suffix) >= (int)size)
        return error_set(e, FL_CONFIG, "%.200s...: the folder's path is too long", b->in->work_dir);
    return FL_OK;
}

const char *build_phase(struct exit_build *b, const char *what, double to)
{
    snprintf(b->phase, sizeof b->phase, "%s: %s", b->in->exit_name, what);
    b->from = b->to;
    b->to = to;
    return b->phase;
}

int build_progress(void *arg, const char *name, int64_t done, int64_t total, double number)
{
    const struct exit_build *b = arg;
    double share = total > 0 ? (double)done / (double)total : 1;
    if (b->in->progress == NULL)
        return 0;
    return b->in->progress(b->in->progress_arg, name, (int64_t)(1000 * (b->from + (b->to - b->from) * share)),
                           1000, number);
}

int build_report(struct exit_build *b, int64_t done, int64_t total, struct error *e)
{
    if (build_progress(b, b->phase, done, total, NAN) != 0)
        return error_set(e, FL_CANCELLED, "stopped in '%s'", b->phase);
    return FL_OK;
}

int build_epochs(const struct builder_input *in, int epochs)
{
    int64_t steps = (in->train->rows + TRAIN_BATCH - 1) / TRAIN_BATCH,
            most = in->most_steps > 0 ? in->most_steps / steps : epochs;
    return most < 1 ? 1 : most < epochs ? (int)most : epochs;
}

void build_name(const struct exit_build *b, struct cache *c, uint64_t tag)
{
    strcpy(c->exit, b->in->exit_name);
    memcpy(c->identity, b->in->identity, sizeof c->identity);
    c->tag = tag;
}

struct cache *build_load(const struct exit_build *b, const char *path, uint64_t tag)
{
    struct cache *c;
    if (cache_load(&c, path, b->in->identity, NULL) != FL_OK)
        return NULL;
    if (c->tag == tag)
        return c;
    cache_free(c);
    return NULL;
}
