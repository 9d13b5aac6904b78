/* kernels_list.h - the names of all kernels, best guess first; each is `const struct kernel kernel_NAME` */
#ifndef FREEZELINE_KERNELS_LIST_H
#define FREEZELINE_KERNELS_LIST_H

#include "kernels.h"

/* clang-format off */
#define KERNELS_ONEDNN_LIST(X)                                                                \
    X(onednn_dynamic) /* kernels_dynamic.c */                                                 \
    X(onednn_low_conv) X(onednn_low_product) X(onednn_conv) /* kernels_onednn.c */

#define KERNELS_LIST(X)                             \
    X(low_widened)        /* kernels_low.c */       \
    X(native_winograd)    /* kernels_winograd.c */  \
    X(native_conv)        /* kernels_native.c */    \
    X(native_product)     /* kernels_native.c */    \
    X(depthwise)          /* kernels_window.c */    \
    X(plain_volume)       /* kernels_volume.c */    \
    X(openblas_conv)      /* kernels_openblas.c */  \
    X(openblas_product)   /* kernels_openblas.c */  \
    X(openblas_matmul)    /* kernels_matmul.c */    \
    X(tiles_matmul)       /* kernels_matmul.c */    \
    X(plain_pool)         /* kernels_window.c */    \
    X(plain_volume_pool)  /* kernels_volume_pool.c */ \
    X(plain_spatial)      /* kernels_window.c */    \
    X(plain_unary)        /* kernels_element.c */   \
    X(plain_binary)       /* kernels_element.c */   \
    X(plain_norm)         /* kernels_element.c */   \
    X(plain_softmax)      /* kernels_rows.c */      \
    X(plain_layer_norm)   /* kernels_rows.c */      \
    X(plain_concat)       /* kernels_move.c */      \
    X(plain_reshape)      /* kernels_move.c */
/* clang-format on */

#define X(name) extern const struct kernel kernel_##name;
KERNELS_ONEDNN_LIST(X)
KERNELS_LIST(X)
#undef X

#endif
