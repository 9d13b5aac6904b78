/* nearest_word.c - edit distance over short words */
#include "nearest_word.h"

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
    int rows[3][NEAREST_MAX + 1], *before = rows[0], *above = rows[1], *row = rows[2];

    a += la > NEAREST_MAX ? la - NEAREST_MAX : 0;
    b += lb > NEAREST_MAX ? lb - NEAREST_MAX : 0;
    la = la > NEAREST_MAX ? NEAREST_MAX : la;
    lb = lb > NEAREST_MAX ? NEAREST_MAX : lb;
    for (size_t j = 0; j <= lb; j++)
        above[j] = before[j] = (int)j;
    for (size_t i = 1; i <= la; i++) {
        int *oldest = before;
        row[0] = (int)i;
        for (size_t j = 1; j <= lb; j++) {
            row[j] = least(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] < row[j])
                row[j] = before[j - 2] + 1;
        }
        before = above;
        above = row;
        row = oldest;
    }
    return above[lb];
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
