/* onnx_tensor.h - tensors in ONNX's own file format (TensorProto, *.pb) */
#ifndef FREEZELINE_ONNX_TENSOR_H
#define FREEZELINE_ONNX_TENSOR_H

#include "base/error.h"
#include "wire/tensor.h"

/* Reads one; data is owned by the caller (tensor_release). FL_IO, FL_CORRUPT, FL_DTYPE, FL_TOO_LARGE. */
int onnx_tensor_read(struct tensor *out, const char *path, struct error *e);
int onnx_tensor_write(const struct tensor *t, const char *name, const char *path, struct error *e);

#endif
