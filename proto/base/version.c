/* version.c - what the Makefile wrote into revision.h */
#include "version.h"

#include <stdio.h>

#include "revision.h"

const char *version_number(void)
{
    return FREEZELINE_VERSION;
}

const char *version_revision(void)
{
    return FREEZELINE_REVISION;
}

void version_print(const char *program)
{
    const char *revision = version_revision();
    printf("%s %s%s%s\n", program, version_number(), *revision ? ", revision " : "", revision);
}
