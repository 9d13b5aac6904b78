/* head.h - the head of history in Redis: which state of which build is there; pure
 *
 * One line of text: "SEQUENCE BUILD GENERATION IDENTITY APPLIED". SEQUENCE grows by one with each head that
 * takes another's place, which happens by comparison with the text of the one before. So a head stands for
 * one state, and no clock says which of two is the later.
 */
#ifndef FREEZELINE_HEAD_H
#define FREEZELINE_HEAD_H

#include "manifest.h"

#define HEAD_BYTES 192

struct head {
    uint64_t sequence;
    uint8_t build[DIGEST_BYTES];
    uint64_t generation;
    uint8_t identity[DIGEST_BYTES];
    char applied[MANIFEST_ID_BYTES]; /* stream id of the last update in these caches */
    char text[HEAD_BYTES]; /* as it stands in Redis, of what is no head its begin; "" = there is none */
};

/* That of a state that takes the place of `before` (NULL, or without text: of none). */
void head_of(struct head *h, const struct manifest *m, const struct head *before);
/* FL_PROTOCOL: no head; of *h only `text` is set, up to a 0 or to where it is full. */
int head_parse(struct head *h, const char *text, size_t size, struct error *e);

/* Stream ids: < 0, 0, > 0 by stream order; "" is before all. */
int stream_id_compare(const char *a, const char *b);

#endif
