/* shape_arguments.h - shapes of a model's inputs from the command line: --shape [NAME=]1x3x224x224 */
#ifndef FREEZELINE_SHAPE_ARGUMENTS_H
#define FREEZELINE_SHAPE_ARGUMENTS_H

#include "deploy/tool/arguments.h"
#include "stages/graph/graph.h"

struct shape_arguments {
    struct argument_list items; /* filled by arguments_parse */
    struct tensor shape[ARGUMENTS_MAX_LIST];
    const char *name[ARGUMENTS_MAX_LIST]; /* NULL: the next input of the model */
    char *text;                           /* what the names point into; owned */
};

#define ARGUMENTS_SHAPE(where)                                                                    \
    {                                                                                             \
        ARGUMENT_LIST, "shape", 0, &(where).items, "[NAME=]DIMS",                                 \
            "of an input that the model leaves open, such as 1x3x224x224 (may be repeated)", 0, 0 \
    }

/* Reads the items and puts them into o, which borrows s. FL_USAGE. */
int shape_arguments_read(struct shape_arguments *s, struct graph_options *o, struct error *e);
void shape_arguments_release(struct shape_arguments *s);

#endif
