/* onnx_write.h - a graph as an ONNX file */
#ifndef FREEZELINE_ONNX_WRITE_H
#define FREEZELINE_ONNX_WRITE_H

#include "stages/graph/graph.h"

/* Writes a graph that was loaded `for_writing`, weights and all. FL_UNSUPPORTED where it holds what one file
 * of one operator set cannot say; FL_IO, FL_NOMEM. */
int onnx_write(const struct graph *g, const char *path, struct error *e);

#endif
