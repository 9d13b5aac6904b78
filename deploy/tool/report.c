/* report.c - JSON to stdout */
#include "report.h"

#include <math.h>
#include <stdio.h>

json_t *report_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *report_rounded(double x, int digits)
{
    double scale = pow(10, digits);
    return report_number(round(x * scale) / scale);
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
