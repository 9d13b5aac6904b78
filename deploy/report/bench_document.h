/* bench_document.h - a saved document of `freezeline bench`, read with care
 *
 * What bench writes may be read by a later or an earlier version, and the file may be cut off, foreign or
 * made to harm: what is no document at all is an error with its position, and a part that is missing, null or
 * of another type reads as not there (NAN, NULL, 0 elements).
 */
#ifndef FREEZELINE_BENCH_DOCUMENT_H
#define FREEZELINE_BENCH_DOCUMENT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

#define DOCUMENT_FORMAT  "freezeline-bench"
#define DOCUMENT_VERSION 1

/* *out is owned. Errors as json_file_load; FL_CORRUPT says why it is none. */
int document_load(json_t **out, const char *path, struct error *e);

/* A value by its path, or NULL. */
json_t *document_value(const json_t *o, const char *path);
/* A value by its path ("latency_ms.p50"): NAN when it is no finite number, NULL when it is no text, no list,
 * no object; `absent` when it is no boolean. Borrowed from the document. */
double document_number(const json_t *o, const char *path);
const char *document_text(const json_t *o, const char *path);
json_t *document_list(const json_t *o, const char *path);
json_t *document_object(const json_t *o, const char *path);
bool document_truth(const json_t *o, const char *path, bool absent);

/* A histogram as written there: upper ends of buckets in µs, ascending, and how many requests are in each. */
struct spread {
    int n;
    double *upper_us, *count, total;
};

/* From an object {upper_us, count}: FL_OK also when it is NULL (n = 0 then). FL_CORRUPT when the lists do not
 * fit one another, FL_NOMEM. spread_release frees what is in it. */
int spread_read(struct spread *out, const json_t *histogram, struct error *e);
void spread_release(struct spread *s);
/* The smallest upper end that at least this share of the requests do not exceed; NAN when there are none. */
double spread_quantile_us(const struct spread *s, double share);

#endif
