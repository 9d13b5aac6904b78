/* shell_words.h - text that a POSIX shell reads as exactly these words */
#ifndef FREEZELINE_SHELL_WORDS_H
#define FREEZELINE_SHELL_WORDS_H

#include <stdio.h>

/* One word, in single quotes where it holds more than letters, digits and a few harmless signs. */
void shell_word(FILE *to, const char *word);
/* argv up to NULL, by spaces. */
void shell_words(FILE *to, char *const *argv);

#endif
