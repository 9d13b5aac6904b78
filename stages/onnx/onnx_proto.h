/* onnx_proto.h - parsed ONNX messages, for the importer's own files only */
#ifndef FREEZELINE_ONNX_PROTO_H
#define FREEZELINE_ONNX_PROTO_H

#include "onnx.pb-c.h"

#include "stages/graph/graph.h"
#include "onnx_external.h"

/* Turns one TensorProto into a tensor whose data the caller owns (tensor_release). `files` reads external
 * data; NULL refuses it. FL_MODEL, FL_UNSUPPORTED, FL_IO, FL_NOMEM. */
int onnx_tensor_convert(struct tensor *out, Onnx__TensorProto *t, struct external_files *files,
                        struct error *e);
/* What it takes of memory when its bytes lie outside the file; 0 otherwise, and for dims that make no sense.
 */
int64_t onnx_tensor_outside_bytes(const Onnx__TensorProto *t);
/* Frees the message's own copy of the bytes. */
void onnx_tensor_drop(Onnx__TensorProto *t);

#endif
