/* onednn.h - what the rest asks of oneDNN; all of its API stays in kernels_onednn.c */
#ifndef FREEZELINE_ONEDNN_H
#define FREEZELINE_ONEDNN_H

/* "oneDNN 2.6.3", or "im2col + OpenBLAS" in a build without it. */
const char *onednn_version(void);

#endif
