/* textbook.h - what a build learned from, where it lies on this host: rows that teach beside live requests
 *
 * `freezeline build` leaves descriptors and scores in STATE/build/train. Whoever learns elsewhere, or after
 * these were removed, learns from live requests alone. Nothing here certifies anything, so rows of another
 * build cost time at worst.
 */
#ifndef FREEZELINE_TEXTBOOK_H
#define FREEZELINE_TEXTBOOK_H

#include "cache_service/store/manifest.h"
#include "cache_service/train/matrix_file.h"

struct textbook {
    struct matrix_file rows[PIPELINE_MAX_EXITS]; /* of the exits that can be taught, mapped */
    struct matrix_file scores;
};

/* Opens those that fit m; false, and nothing is open, where any is missing. */
bool textbook_open(struct textbook *t, const struct manifest *m, const char *state);
void textbook_close(struct textbook *t);

#endif
