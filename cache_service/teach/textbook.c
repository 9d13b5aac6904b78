/* textbook.c - files of a build, if they are all there */
#include "textbook.h"

#include <stdio.h>
#include <string.h>

static bool open_one(struct matrix_file *out, const char *state, const char *name)
{
    char path[4096];
    struct error e;
    int n = snprintf(path, sizeof path, "%s/build/train/%s.f32", state, name);
    return n < (int)sizeof path && !matrix_open(out, path, &e);
}

bool textbook_open(struct textbook *t, const struct manifest *m, const char *state)
{
    bool ok;
    memset(t, 0, sizeof *t);
    ok = open_one(&t->scores, state, "+scores") && t->scores.dim == m->classes;
    for (int i = 0; ok && i < m->n_exits; i++)
        if (manifest_teaches_exit(m, i))
            ok = open_one(&t->rows[i], state, m->exit[i].name) && t->rows[i].dim == m->exit[i].dim &&
                 t->rows[i].rows == t->scores.rows;
    if (!ok)
        textbook_close(t);
    return ok;
}

void textbook_close(struct textbook *t)
{
    for (int i = 0; i < PIPELINE_MAX_EXITS; i++)
        matrix_close(&t->rows[i]);
    matrix_close(&t->scores);
}
