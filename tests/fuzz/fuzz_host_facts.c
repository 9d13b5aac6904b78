/* fuzz_host_facts.c - what a host says of itself, and ldd's lines */
#include <stdlib.h>
#include <string.h>

#include "deploy/hosts/ship_plan.h"

#define OBJECT "0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shipment_file file[] = {{.to = (char *)"bin/freezeline",
                                    .host = SHIPMENT_ALL,
                                    .bytes = 100,
                                    .object = OBJECT,
                                    .program = true},
                                   {.to = (char *)"lib/libz.so.1",
                                    .host = SHIPMENT_ALL,
                                    .bytes = 50,
                                    .object = OBJECT,
                                    .library = true}};
    const struct shipment s = {.n = 2, .file = file};
    struct ship_step step[2];
    struct host_facts facts;
    char *text = malloc(size + 1), name[128], path[1024];
    bool missing;
    int64_t bytes;

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    shipment_library(text, name, path, &missing);
    if (!host_facts_read(&facts, text, size, NULL)) {
        host_facts_check(&facts, "a", "Linux x86_64", 34, NULL);
        bytes = ship_plan(step, &s, 0, &facts, ".x.part", "");
        if (bytes < 0 || bytes > 150 || (step[0].sent && step[0].offset > 100))
            abort();
    }
    host_facts_free(&facts);
    return 0;
}
