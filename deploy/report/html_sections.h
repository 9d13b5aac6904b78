/* html_sections.h - the parts of a report, each from the bench document alone
 *
 * A part whose data is missing says so in a line and is no error. FL_NOMEM, FL_CORRUPT (a histogram that is
 * none).
 */
#ifndef FREEZELINE_HTML_SECTIONS_H
#define FREEZELINE_HTML_SECTIONS_H

#include <jansson.h>
#include <stdio.h>

#include "base/error.h"

void html_verdict(FILE *to, const json_t *doc);   /* the verdict, key figures, what was measured and where */
void html_parts(FILE *to, const json_t *doc);     /* where the mean and the median request's time goes */
void html_waterfall(FILE *to, const json_t *doc); /* stage by stage */
void html_flow(FILE *to, const json_t *doc);      /* what enters, exits, goes on */
void html_ratios(FILE *to, const json_t *doc);    /* of --against */
int html_percentiles(FILE *to, const json_t *doc, struct error *e);
int html_load(FILE *to, const json_t *doc, struct error *e);
int html_exits(FILE *to, const json_t *doc, struct error *e); /* distribution of latency by exit */
int html_timeline(FILE *to, const json_t *doc, struct error *e);
void html_processes(FILE *to, const json_t *doc);

#endif
