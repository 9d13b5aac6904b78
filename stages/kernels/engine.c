/* engine.c - which BLAS core and convolution engine this process computes with */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "system/blas.h"
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

static const char *const precisions[] = {"float32", "bfloat16", "int8"};

int engine_parse_precision(const char *text, enum exec_precision *out, struct error *e)
{
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++)
        if (!strcmp(text, precisions[i])) {
            *out = (enum exec_precision)i;
            return FL_OK;
        }
    return error_set(e, FL_CONFIG, "precision: '%s' is not one of float32, bfloat16, int8", text);
}

const char *engine_precision_name(enum exec_precision p)
{
    return precisions[p];
}

static enum speed speed_of(enum exec_precision p)
{
    return p == PRECISION_FLOAT32 ? SPEED_FAST
                                  : onednn_speed(p == PRECISION_BFLOAT16 ? TENSOR_BF16 : TENSOR_I8);
}

int engine_precision_check(enum exec_precision p, enum exec_kernels k, struct error *e)
{
    const char *name = engine_precision_name(p);
    if (p == PRECISION_FLOAT32)
        return FL_OK;
#if !defined(FREEZELINE_DNNL)
    return error_set(
        e, FL_UNSUPPORTED,
        "precision %s: this build has no oneDNN, which computes in it: build with libdnnl-dev, or "
        "use precision float32",
        name);
#endif
    if (k != KERNELS_AUTO && k != KERNELS_ONEDNN)
        return error_set(e, FL_UNSUPPORTED,
                         "precision %s needs oneDNN, and kernels %s leave it out: use kernels auto or onednn",
                         name, engine_kernels_name(k));
    if (speed_of(p) == SPEED_NONE)
        return error_set(e, FL_UNSUPPORTED, "precision %s: this CPU cannot compute in it; use float32", name);
    return FL_OK;
}

bool engine_precision_fast(enum exec_precision p)
{
    return speed_of(p) == SPEED_FAST;
}

char *engine_precision_doubt(enum exec_precision p, char *buf, size_t size)
{
    buf[0] = '\0';
    if (!engine_precision_fast(p))
        snprintf(buf, size,
                 "precision %s: this CPU has no instructions for it (%s): it gains less than elsewhere, or "
                 "costs time",
                 engine_precision_name(p), p == PRECISION_INT8 ? "VNNI" : "AVX-512 BF16 or AMX");
    return buf;
}
