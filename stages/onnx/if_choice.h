/* if_choice.h - an If whose branches lie in the graph, until it is known which one is taken
 *
 * The importer puts both branches in place and adds a choice: it reads the condition, what the first branch
 * gives, what the second gives. pass_choose finds out which is taken, from constants and shapes, and the
 * other one is swept away with all that only it needs. So what cannot work in a branch is an error only where
 * that branch is taken.
 */
#ifndef FREEZELINE_IF_CHOICE_H
#define FREEZELINE_IF_CHOICE_H

#include "stages/graph/graph_build.h"

extern const struct op op_choice;
extern const struct op op_unsupported; /* stands for an operator that is not known, in a branch */

/* Remembers what the node was. FL_NOMEM. */
int unsupported_note(struct node *n, const char *type, const char *domain);

bool choice_any(const struct graph *g);
/* 0: the first branch, 1: the second, -1: not known. */
int choice_taken(const struct tensor *condition);
/* Which input gives output k. */
static inline int choice_input(const struct node *n, int taken, int k)
{
    return 1 + taken * n->n_out + k;
}

/* Leaves no choice in the graph. *pinned: it is right for one batch size alone. FL_UNSUPPORTED when a
 * condition is known only while the model runs; errors of the branch that is taken. */
int pass_choose(struct graph *g, const struct graph_options *o, bool *pinned, struct error *e);

#endif
