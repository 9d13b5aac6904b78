/* shell_words.c - single quotes: nothing is special between them but the quote itself */
#include "shell_words.h"

#include <string.h>

void shell_word(FILE *to, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+,";

    if (*word && !word[strspn(word, plain)]) {
        fputs(word, to);
        return;
    }
    fputc('\'', to);
    for (; *word; word++)
        if (*word == '\'')
            fputs("'\\''", to);
        else
            fputc(*word, to);
    fputc('\'', to);
}

void shell_words(FILE *to, char *const *argv)
{
    for (int i = 0; argv[i]; i++) {
        if (i)
            fputc(' ', to);
        shell_word(to, argv[i]);
    }
}
