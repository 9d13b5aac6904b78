/* fuzz_launch.c - any bytes as launch.json: hosts that can be named to ssh and Slurm, or refused in one line
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/launch/fleet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_host(const struct host *h)
{
    const char *const words[] = {h->name, h->address, h->ssh};
    for (int i = 0; i < 3; i++)
        if (!words[i] || !*words[i] || *words[i] == '-' || strpbrk(words[i], " \n"))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char state[] = "/state";
    const struct pipeline p = {.state = (char *)(uintptr_t)state};
    struct error e = {0};
    struct fleet f;

    if (fleet_parse(&f, &p, (const char *)data, size, "fuzz", &e)) {
        if (!e.text[0] || strchr(e.text, '\n'))
            abort();
    } else {
        if (f.n < 1 || f.n > PIPELINE_MAX_HOSTS || f.list.n != f.n)
            abort();
        for (int i = 0; i < f.n; i++)
            check_host(&f.host[i]);
    }
    fleet_close(&f);
    return 0;
}
