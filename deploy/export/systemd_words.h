/* systemd_words.h - text that systemd reads as exactly these words */
#ifndef FREEZELINE_SYSTEMD_WORDS_H
#define FREEZELINE_SYSTEMD_WORDS_H

#include <stdio.h>

/* One word of a command line, with neither variables nor specifiers in it. */
void systemd_word(FILE *to, const char *word);
/* argv up to NULL, by blanks. */
void systemd_words(FILE *to, char *const *argv);
/* A path of a setting that lists paths: specifiers count there, variables do not. */
void systemd_path(FILE *to, const char *path);

#endif
