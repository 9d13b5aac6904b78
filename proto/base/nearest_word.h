/* nearest_word.h - "did you mean": the known word that a mistyped one is closest to */
#ifndef FREEZELINE_NEAREST_WORD_H
#define FREEZELINE_NEAREST_WORD_H

/* Letters to insert, delete, replace, or swap with their neighbour (optimal string alignment). Of longer
 * words the last 127 letters count: names of layers differ at their ends. */
int edit_distance(const char *a, const char *b);

/* The closest of n words, or NULL when none is close enough to be what was meant. */
const char *nearest_word(const char *word, const char *const *known, int n);

#endif
