/* machine.c - facts from /proc, /sys and the libraries */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cblas.h>
#include <zmq.h>

#include "base/version.h"
#include "stages/exec/exec.h"

/* What follows "KEY<blanks>:" in the first line that begins so, without its newline; false when there is
 * none. */
static int find_line(const char *path, const char *key, char *out, size_t size)
{
    char line[1024], *colon;
    FILE *f = fopen(path, "re");
    int found = 0;

    while (f && !found && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) || !(colon = strchr(line, ':')))
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(out, size, "%.*s", (int)strcspn(colon, "\n"), colon);
        found = 1;
    }
    if (f)
        fclose(f);
    return found;
}

static json_t *cpu(void)
{
    char text[256];
    return find_line("/proc/cpuinfo", "model name", text, sizeof text) ? json_string(text) : json_null();
}

static json_t *memory(void)
{
    char text[64];
    return find_line("/proc/meminfo", "MemTotal", text, sizeof text) ? json_integer(1024 * atoll(text))
                                                                     : json_null();
}

static json_t *kernel(void)
{
    struct utsname name;
    char text[sizeof name.sysname + sizeof name.release + 2];

    if (uname(&name))
        return json_null();
    snprintf(text, sizeof text, "%s %s", name.sysname, name.release);
    return json_string(text);
}

static json_t *governor(void)
{
    char text[64] = "";
    FILE *f = fopen("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "re");

    if (f && !fgets(text, sizeof text, f))
        text[0] = 0;
    if (f)
        fclose(f);
    text[strcspn(text, "\n")] = 0;
    return text[0] ? json_string(text) : json_null();
}

static json_t *zmq_text(void)
{
    int major, minor, patch;
    char text[64];

    zmq_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return json_string(text);
}

/* "OpenBLAS 0.3.21 NO_LAPACKE ..." -> "0.3.21". */
static json_t *openblas_text(void)
{
    char text[64] = "";
    return sscanf(openblas_get_config(), "OpenBLAS %63s", text) == 1 ? json_string(text) : json_null();
}

static json_t *onednn_text(void)
{
    const char *engine = engine_conv();
    return strncmp(engine, "oneDNN ", 7) ? json_null() : json_string(engine + 7);
}

json_t *machine_json(void)
{
    return json_pack("{s:o, s:I, s:o, s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "cpu", cpu(), "cores",
                     (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "memory_bytes", memory(), "kernel", kernel(),
                     "governor", governor(), "blas_core", engine_blas_core(), "conv_engine", engine_conv(),
                     "freezeline", version_number(), "zmq", zmq_text(), "openblas", openblas_text(), "onednn",
                     onednn_text(), "revision",
                     *version_revision() ? json_string(version_revision()) : json_null());
}
