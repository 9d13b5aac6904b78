/* tool_lines.h - lines of shell with the operator's tool in a folder of their own, and what they must say
 *
 * FL is the tool, HERE the source tree, P the folder's p.yaml.
 */
#ifndef FREEZELINE_TOOL_LINES_H
#define FREEZELINE_TOOL_LINES_H

#include "tests/scratch.h"
#include "tool_world.h"

/* Its exit status; stdout and stderr are in `output`. */
static inline int sh(const char *line)
{
    char all[4096], here[512];
    const char *build = tool_folder();

    assert_non_null(getcwd(here, sizeof here));
    snprintf(all, sizeof all, "FL=%s%s%s/freezeline; HERE=%s; P=%s/p.yaml; cd %s; exec 2>&1; %s",
             *build == '/' ? "" : here, *build == '/' ? "" : "/", build, here, folder, folder, line);
    return shell(all);
}

static inline void ok(const char *line)
{
    if (sh(line))
        fail_msg("%s:\n%s", line, output);
}

static inline void refused(const char *line, const char *says)
{
    if (!sh(line) || !strstr(output, says))
        fail_msg("%s does not say \"%s\":\n%s", line, says, output);
}

#endif
