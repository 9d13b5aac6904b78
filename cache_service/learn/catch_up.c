/* catch_up.c - a row of audits, read once */
#include "catch_up.h"

#include <stdlib.h>

struct late {
    struct learner_audit audit;
    struct reservoir_row row;
};

struct catch_up {
    int n, next;
    struct late late[CATCH_UP_MOST];
};

int catch_up_new(struct catch_up **out)
{
    *out = calloc(1, sizeof **out);
    return *out != NULL ? FL_OK : FL_NOMEM;
}

void catch_up_free(struct catch_up *c)
{
    free(c);
}

void catch_up_clear(struct catch_up *c)
{
    c->n = c->next = 0;
}

void catch_up_add(struct catch_up *c, const struct learner_audit *a, const struct reservoir_row *row)
{
    if (c->n < CATCH_UP_MOST)
        c->late[c->n++] = (struct late){*a, *row};
}

void catch_up_truth(struct catch_up *c, uint64_t request, int32_t truth)
{
    for (int i = c->next; i < c->n; i++) {
        if (c->late[i].audit.request == request)
            c->late[i].audit.truth = truth;
    }
}

bool catch_up_next(struct catch_up *c, int behind, struct learner_audit *a, struct reservoir_row *row)
{
    if (c->n - c->next <= behind)
        return false;
    *a = c->late[c->next].audit;
    *row = c->late[c->next++].row;
    return true;
}
