/* fuzz_yaml.c - any bytes as a pipeline file: loaded with everything filled in, or refused in one line */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/pipeline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_whole(const struct pipeline *p)
{
    if (!p->model || !p->name || !p->state || !p->kernels || !p->log_level || !p->cache.kind ||
        !p->broker.requests || !p->broker.control || !p->broker.results || p->cache.n_endpoints < 1 ||
        p->n_stages < 1 || p->n_stages > PIPELINE_MAX_STAGES || p->n_exits > PIPELINE_MAX_EXITS ||
        p->n_mean > PIPELINE_MAX_CHANNELS || p->n_std > PIPELINE_MAX_CHANNELS)
        abort();
    for (int s = 0; s < p->n_stages; s++)
        for (int r = 0; r < p->stage[s].n_replicas; r++)
            if (!p->stage[s].replica[r].endpoint || !p->stage[s].replica[r].host)
                abort();
}

/* What is printed of it is a file that is taken, and that says the same. */
static void check_printed(const struct pipeline *p)
{
    struct pipeline *again = NULL;
    struct error e = {0};
    char *text = NULL, *second = NULL;
    size_t size, second_size;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return;
    pipeline_print(to, p);
    fclose(to);
    if (pipeline_parse(&again, text, size, p->path, NULL, 0, &e)) {
        fprintf(stderr, "%s\n%s", e.text, text);
        abort();
    }
    if ((to = open_memstream(&second, &second_size))) {
        pipeline_print(to, again);
        fclose(to);
        if (strcmp(text, second)) {
            fprintf(stderr, "%s\n---\n%s", text, second);
            abort();
        }
    }
    pipeline_free(again);
    free(text);
    free(second);
}

/* On whichever host it is, whoever listens has an endpoint, and there and back again is the same. */
static void check_places(struct pipeline *p)
{
    struct error e;
    for (int i = p->n_hosts - 1; i >= -1; i--) {
        if (pipeline_be_at(p, i, &e))
            abort();
        check_whole(p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pipeline *p = NULL;
    struct error e = {0};
    if (pipeline_parse(&p, (const char *)data, size, "fuzz.yaml", NULL, 0, &e)) {
        if (p || !e.text[0] || strchr(e.text, '\n'))
            abort();
        return 0;
    }
    check_whole(p);
    check_places(p);
    check_printed(p);
    pipeline_free(p);
    return 0;
}
