/* report.c - JSON to stdout */
#include "report.h"

#include <math.h>
#include <stdio.h>

#include "stages/exec/exec.h"

json_t *report_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *report_rounded(double x, int digits)
{
    double scale = pow(10, digits);
    return report_number(round(x * scale) / scale);
}

void report_engine(json_t *object, int threads)
{
    json_object_set_new(object, "blas_core", json_string(engine_blas_core()));
    json_object_set_new(object, "conv_engine", json_string(engine_conv()));
    json_object_set_new(object, "threads", json_integer(threads));
}

int report_print(json_t *root, struct error *e)
{
    int rc;

    if (!root)
        return error_set(e, FL_NOMEM, "no memory for the report");
    rc = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));
    json_decref(root);
    putchar('\n');
    if (rc || fflush(stdout))
        return error_set(e, FL_IO, "cannot write the report to standard output");
    return FL_OK;
}
