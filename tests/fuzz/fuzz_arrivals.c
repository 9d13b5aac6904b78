/* fuzz_arrivals.c - any bytes as a recorded trace of arrivals: ascending times, or refused in one line */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/load/arrivals.h"
#include "no_kernel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_times(struct arrivals *a)
{
    uint64_t due = 0, last = 0, n = 0;

    while (arrivals_next(a, &due)) {
        if (due < last || (!n && due))
            abort();
        last = due;
        n++;
    }
    if (!n || !(arrivals_rate(a) > 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arrivals *a;
    struct error e = {0};

    no_kernel_file(data, size);
    if (!arrivals_new(&a, "trace:" FUZZ_FILE, 0, 1, &e)) {
        check_times(a);
        arrivals_free(a);
    } else if (!e.text[0] || strchr(e.text, '\n')) {
        abort();
    }
    if (!no_kernel_opened())
        abort();
    return 0;
}
