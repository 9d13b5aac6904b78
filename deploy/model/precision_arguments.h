/* precision_arguments.h - --precision and --scales of commands that run a model without a pipeline file */
#ifndef FREEZELINE_PRECISION_ARGUMENTS_H
#define FREEZELINE_PRECISION_ARGUMENTS_H

#include "deploy/tool/arguments.h"
#include "stages/exec/exec.h"

struct precision_arguments {
    const char *name, *scales; /* filled by arguments_parse; NULL: float32, none */
    struct quantization quantization;
};

/* clang-format off */
#define ARGUMENTS_PRECISION(where)                                                                          \
    OPTION_TEXT("precision", (where).name, "NAME", "float32, bfloat16 or int8 (float32)"),                   \
    OPTION_TEXT("scales", (where).scales, "FILE", "for int8: what `freezeline quantize` wrote")
/* clang-format on */

/* Sets what o says of precision; o borrows from `a`. Says on stderr when this CPU is slow at it. FL_USAGE,
 * and errors as quantization_load. */
int precision_arguments_read(struct precision_arguments *a, struct exec_options *o, struct error *e);
void precision_arguments_release(struct precision_arguments *a);

#endif
