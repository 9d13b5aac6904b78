/* fuzz_slurm.c - any bytes as what Slurm says of a job: its nodes, their cpus, its id */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/hosts/slurm_job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_names(char *text)
{
    static struct slurm_nodes nodes;
    struct error e = {0};

    if (slurm_names_parse(&nodes, text, &e)) {
        if (!e.text[0])
            abort();
        return;
    }
    if (nodes.n < 1 || nodes.n > SLURM_MAX_NODES)
        abort();
    for (int i = 0; i < nodes.n; i++)
        if (!nodes.name[i][0] || !memchr(nodes.name[i], 0, SLURM_NODE_BYTES))
            abort();
}

static void check_cpus(const char *text, int n)
{
    int cpus[16];
    if (slurm_cpus_parse(text, cpus, n))
        for (int i = 0; i < n; i++)
            if (cpus[i] < 1)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = size ? malloc(size) : NULL;

    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    check_cpus(text, *data % 16 + 1);
    if (!slurm_id_check(text, NULL) && strspn(text, "0123456789_+") != strlen(text))
        abort();
    check_names(text);
    free(text);
    return 0;
}
