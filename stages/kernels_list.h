/* kernels_list.h - the names of all kernels, best guess first; each is `const struct kernel kernel_NAME` */
#ifndef FREEZELINE_KERNELS_LIST_H
#define FREEZELINE_KERNELS_LIST_H

#include "kernels.h"

/* kernels_onednn.c */
#define KERNELS_ONEDNN_LIST(X)
#define KERNELS_LIST(X)                      \
    X(native_conv)    /* kernels_native.c */ \
    X(native_product) /* kernels_native.c */

#define X(name) extern const struct kernel kernel_##name;
KERNELS_ONEDNN_LIST(X)
KERNELS_LIST(X)
#undef X

#endif
