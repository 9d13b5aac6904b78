/* promise_record.h - what caches were promised to keep, and what the pipeline file asks for now */
#ifndef FREEZELINE_PROMISE_RECORD_H
#define FREEZELINE_PROMISE_RECORD_H

#include <jansson.h>

#include "cache_service/store/manifest.h"
#include "wire/message.h"

struct promise_record {
    bool known;                                          /* there are caches: the rest is theirs */
    uint8_t build[DIGEST_BYTES], identity[DIGEST_BYTES]; /* identity: as far as it is told */
    bool promised;                                       /* they keep a promise */
    int n_caches;
    struct manifest_promise promise;
    char asked[128]; /* what the pipeline file asks for where that is something else; "" = the same */
};

#define PROMISE_TEXT_BYTES 128
/* "at most 0.5 points of accuracy lost, certainty 95%". Returns `text`. */
char *promise_text(const struct promise_terms *t, char text[PROMISE_TEXT_BYTES]);

/* Up to rounding: points in a file, shares in a manifest. */
bool promise_same(const struct promise_terms *a, const struct promise_terms *b);

/* From a manifest. */
void promise_record_take(struct promise_record *out, const struct manifest *m, const struct pipeline *p);
/* From what a cache service tells of those that it answers from. */
void promise_record_hear(struct promise_record *out, const struct caches_told *told,
                         const struct pipeline *p);
/* From STATE/caches/manifest.json; none there, or none that can be read: not known. */
void promise_record_load(struct promise_record *out, const struct pipeline *p);
/* A line on stderr where the pipeline file asks for something else than was built. */
void promise_record_warn(const struct promise_record *r, const char *command);
/* A line on stderr where the pipeline file asks for updates, which caches under its promise never take. */
void promise_warn_of_updates(const struct pipeline *p, const char *command);
/* Adds `promise` (an object, or null for none) and `promise_asked` (a text, or null) to a report. */
void promise_record_report(const struct promise_record *r, json_t *root);

#endif
