/* systemd_words.c - systemd.service(5), "COMMAND LINES": quotes, C escapes, %% and $$ */
#include "systemd_words.h"

#include <stdbool.h>
#include <string.h>

static void quoted(FILE *to, const char *word, bool variables)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@+,=";
    bool quotes = !*word || word[strspn(word, plain)];

    if (quotes)
        fputc('"', to);
    for (const char *c = word; *c; c++)
        if (*c == '"' || *c == '\\')
            fprintf(to, "\\%c", *c);
        else if (*c == '%' || (*c == '$' && variables))
            fprintf(to, "%c%c", *c, *c);
        else if ((unsigned char)*c < ' ')
            fprintf(to, "\\x%02x", (unsigned char)*c);
        else
            fputc(*c, to);
    if (quotes)
        fputc('"', to);
}

void systemd_word(FILE *to, const char *word)
{
    quoted(to, word, true);
}

void systemd_words(FILE *to, char *const *argv)
{
    for (int i = 0; argv[i]; i++) {
        if (i)
            fputc(' ', to);
        systemd_word(to, argv[i]);
    }
}

void systemd_path(FILE *to, const char *path)
{
    quoted(to, path, false);
}
