/* blas.h - make OpenBLAS use the kernels that this CPU deserves
 *
 * OpenBLAS picks its kernels once, when the library is loaded, and a release that is older than the CPU picks
 * a lesser set (an SSE or AVX2 core on a CPU with AVX-512: a half to a sixth of the speed). Only
 * OPENBLAS_CORETYPE, read at that same moment, says otherwise. So a process looks at the choice at its very
 * start and begins anew, once, with the variable set.
 */
#ifndef FREEZELINE_BLAS_H
#define FREEZELINE_BLAS_H

/* Call first in main, before threads, files or sockets. Does not return when the process has to begin anew
 * (same pid, same arguments). A lesser core named by OPENBLAS_CORETYPE is replaced too: images set it for all
 * programs, seldom for this one. FREEZELINE_BLAS_CORE=keep leaves OpenBLAS alone, FREEZELINE_BLAS_CORE=NAME
 * takes that core. */
void blas_start(char *const *argv);

/* The core in use ("SkylakeX"). */
const char *blas_core(void);

/* The core that a CPU with these abilities should have in place of `current`; NULL when `current` is good
 * enough. Pure. */
enum { BLAS_AVX2 = 1, BLAS_AVX512 = 2, BLAS_AVX512_BF16 = 4 };
const char *blas_better_core(const char *current, unsigned abilities);

#endif
