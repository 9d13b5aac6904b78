/* kernels_list.h - the names of all kernels, best guess first; each is `const struct kernel kernel_NAME` */
#ifndef FREEZELINE_KERNELS_LIST_H
#define FREEZELINE_KERNELS_LIST_H

#include "kernels.h"

/* clang-format off */
#define KERNELS_ONEDNN_LIST(X) /* kernels_onednn.c */

#define KERNELS_LIST(X)                             \
    X(native_conv)        /* kernels_native.c */    \
    X(native_winograd)    /* kernels_winograd.c */  \
    X(native_product)     /* kernels_native.c */    \
    X(openblas_winograd)  /* kernels_winograd.c */
/* clang-format on */

#define X(name) extern const struct kernel kernel_##name;
KERNELS_ONEDNN_LIST(X)
KERNELS_LIST(X)
#undef X

#endif
