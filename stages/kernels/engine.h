/* engine.h - what computes in this process: the BLAS core, the convolution engine, which kernels are allowed
 */
#ifndef FREEZELINE_ENGINE_H
#define FREEZELINE_ENGINE_H

#include "base/error.h"

enum exec_kernels { KERNELS_AUTO, KERNELS_ONEDNN, KERNELS_OPENBLAS, KERNELS_REFERENCE };

/* Called first thing in main(). Compares OpenBLAS's core with what the CPU can do and re-executes the process
 * once with OPENBLAS_CORETYPE (and OMP_WAIT_POLICY) set when it is a lesser one. Returns only in the right
 * process. */
void engine_start(char **argv);
const char *engine_blas_core(void); /* "SkylakeX" */
const char *engine_conv(void);      /* "oneDNN 2.6.3" or "im2col + OpenBLAS" when built without */
/* FL_CONFIG when text names none of them. */
int engine_parse_kernels(const char *text, enum exec_kernels *out, struct error *e);
const char *engine_kernels_name(enum exec_kernels k);

#endif
