/* html_report.h - a bench document as a page for people: one file, no network, no script */
#ifndef FREEZELINE_HTML_REPORT_H
#define FREEZELINE_HTML_REPORT_H

#include <jansson.h>

#include "base/error.h"

/* Writes the page as output.h writes. FL_IO, FL_NOMEM, FL_CORRUPT (histograms that are none). */
int html_report_write(const json_t *doc, const char *path, struct error *e);

#endif
