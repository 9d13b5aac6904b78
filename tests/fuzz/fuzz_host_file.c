/* fuzz_host_file.c - any bytes as a host file: lines within bounds, or refused in one line */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/hosts/host_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct host_file f;
    struct error e = {0};
    if (host_file_parse(&f, (const char *)data, size, "fuzz", &e)) {
        if (!e.text[0] || strchr(e.text, '\n'))
            abort();
        return 0;
    }
    if (f.n < 0 || f.n > HOST_FILE_MAX)
        abort();
    for (int i = 0; i < f.n; i++)
        if (!f.line[i].name[0] || !memchr(f.line[i].name, 0, sizeof f.line[i].name) || f.line[i].slots < 0)
            abort();
    return 0;
}
