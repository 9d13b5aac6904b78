/* report_engine.c - what computes, for reports of measurements */
#include "report.h"

#include "stages/exec/exec.h"

void report_engine(json_t *object, int threads)
{
    json_object_set_new(object, "blas_core", json_string(engine_blas_core()));
    json_object_set_new(object, "conv_engine", json_string(engine_conv()));
    json_object_set_new(object, "threads", json_integer(threads));
}
