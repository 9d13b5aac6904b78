/* nearest.c - edit distance over short words */
#include "nearest.h"

#include <string.h>

#define NEAREST_MAX 127

static int least(int a, int b, int c)
{
    int m = a < b ? a : b;
    return m < c ? m : c;
}

int edit_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    int row[NEAREST_MAX + 1];

    if (la > NEAREST_MAX || lb > NEAREST_MAX)
        return NEAREST_MAX;
    for (size_t j = 0; j <= lb; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= la; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= lb; j++) {
            int above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[lb];
}

const char *nearest_word(const char *word, const char *const *known, int n)
{
    const char *best = NULL;
    int limit = 1 + (int)strlen(word) / 3, found = limit + 1;

    for (int i = 0; i < n; i++) {
        int d = edit_distance(word, known[i]);
        if (d < found) {
            found = d;
            best = known[i];
        }
    }
    return best;
}
