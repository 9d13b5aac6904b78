/* fuzz_rights.c - any bytes as a message: who has no key may send it nowhere, and no key but its own kind's
 * gives the rights of another
 */
#include <stdint.h>
#include <stdlib.h>

#include "wire/rights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct message *m)
{
    for (int g = GATE_REQUESTS; g <= GATE_LOOKUPS; g++) {
        if (rights_may(PARTY_NOBODY, (enum gate)g, m) || !rights_may(PARTY_LOCAL, (enum gate)g, m))
            abort();
        if (rights_may(PARTY_CLIENT, (enum gate)g, m) && g != GATE_REQUESTS)
            abort();
        if (rights_may(PARTY_WORKER, (enum gate)g, m) && m->type == MESSAGE_DRAIN)
            abort();
        if (rights_may(PARTY_CACHE, (enum gate)g, m) && m->type == MESSAGE_JOB)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct message m;
    struct error e;

    if (size <= MESSAGE_MAX_ENCODED && !message_decode(&m, data, size, &e))
        check(&m);
    return 0;
}
