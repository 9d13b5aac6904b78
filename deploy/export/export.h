/* export.h - what a kind of export is given */
#ifndef FREEZELINE_EXPORT_H
#define FREEZELINE_EXPORT_H

#include "deploy/tool/arguments.h"

struct export
{
    const struct pipeline *pipeline;
    const struct pipeline_arguments *arguments;
    const char *to; /* a file or, for kinds of several files, a folder; NULL: the kind's default */
};

#endif
