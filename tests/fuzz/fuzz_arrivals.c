/* fuzz_arrivals.c - any bytes as a recorded trace of arrivals: ascending times, or refused in one line */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "deploy/load/arrivals.h"

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
    int fd = memfd_create("trace", 0);
    struct arrivals *a;
    struct error e = {0};
    char spec[64];

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(spec, sizeof spec, "trace:/proc/self/fd/%d", fd);
    if (!arrivals_new(&a, spec, 0, 1, &e)) {
        check_times(a);
        arrivals_free(a);
    } else if (!e.text[0] || strchr(e.text, '\n')) {
        abort();
    }
    close(fd);
    return 0;
}
