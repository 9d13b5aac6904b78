/* engine.c - which BLAS core and convolution engine this process computes with */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/blas.h"
#include "engine.h"
#include "onednn.h"

/* Read by the libraries when they are loaded: they only help in the life after blas_start began anew, and in
 * children. Threads that wait must not burn the cores that other stages compute on; one BLAS thread until an
 * executor asks for more. Each arena of malloc costs memory and serves threads that do not allocate here. */
static void set_defaults(void)
{
    setenv("OMP_WAIT_POLICY", "passive", 0);
    setenv("OPENBLAS_NUM_THREADS", "1", 0);
    setenv("MALLOC_ARENA_MAX", "2", 0);
}

void engine_start(char **argv)
{
    set_defaults();
    mallopt(M_ARENA_MAX, 2);
    blas_start(argv);
}

const char *engine_blas_core(void)
{
    return blas_core();
}

const char *engine_conv(void)
{
    return onednn_version();
}

static const struct {
    const char *name;
    enum exec_kernels kernels;
} modes[] = {
    {"auto", KERNELS_AUTO},
    {"onednn", KERNELS_ONEDNN},
    {"openblas", KERNELS_OPENBLAS},
    {"reference", KERNELS_REFERENCE},
};

int engine_parse_kernels(const char *text, enum exec_kernels *out, struct error *e)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(text, modes[i].name)) {
            *out = modes[i].kernels;
            return FL_OK;
        }
    return error_set(e, FL_CONFIG, "kernels: '%s' is not one of auto, onednn, openblas, reference", text);
}

const char *engine_kernels_name(enum exec_kernels k)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (modes[i].kernels == k)
            return modes[i].name;
    return "unknown";
}
