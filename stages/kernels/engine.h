/* engine.h - what computes in this process: the BLAS core, the convolution engine, which kernels are allowed
 */
#ifndef FREEZELINE_ENGINE_H
#define FREEZELINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum exec_precision { PRECISION_FLOAT32, PRECISION_BFLOAT16, PRECISION_INT8 };
enum exec_kernels { KERNELS_AUTO, KERNELS_ONEDNN, KERNELS_OPENBLAS, KERNELS_REFERENCE };

/* Called first thing in main(). Compares OpenBLAS's core with what the CPU can do and re-executes the process
 * once with OPENBLAS_CORETYPE (and OMP_WAIT_POLICY) set when it is a lesser one. Returns only in the right
 * process. */
void engine_start(char **argv);
const char *engine_blas_core(void); /* "SkylakeX" */
const char *engine_conv(void);      /* "oneDNN 2.6.3" or "own kernels" when built without */
/* FL_CONFIG when text names none of them. */
int engine_parse_kernels(const char *text, enum exec_kernels *out, struct error *e);
const char *engine_kernels_name(enum exec_kernels k);
/* "float32", "bfloat16", "int8". FL_CONFIG when text names none of them. */
int engine_parse_precision(const char *text, enum exec_precision *out, struct error *e);
const char *engine_precision_name(enum exec_precision p);
/* FL_UNSUPPORTED, and what to do, where this build, this CPU or these kernels cannot compute in it. */
int engine_precision_check(enum exec_precision p, enum exec_kernels k, struct error *e);
/* Has this CPU instructions for it? */
bool engine_precision_fast(enum exec_precision p);
/* A sentence that says so where it has none; "" otherwise. Returns buf. */
char *engine_precision_doubt(enum exec_precision p, char *buf, size_t size);

#endif
