/* kernels_onednn.c - convolution and pooling by oneDNN, where the build has it */
#include "onednn.h"

const char *onednn_version(void)
{
    return "im2col + OpenBLAS";
}
