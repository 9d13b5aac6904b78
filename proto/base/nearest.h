/* nearest.h - "did you mean": the known word that a mistyped one is closest to */
#ifndef FREEZELINE_NEAREST_H
#define FREEZELINE_NEAREST_H

/* Levenshtein distance; 127 when a word is longer than that. */
int edit_distance(const char *a, const char *b);

/* The closest of n words, or NULL when none is close enough to be what was meant. */
const char *nearest_word(const char *word, const char *const *known, int n);

#endif
