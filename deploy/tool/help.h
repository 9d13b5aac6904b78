/* help.h - one table of options, told in three ways: for the terminal, as a manual page, as words to complete
 */
#ifndef FREEZELINE_HELP_H
#define FREEZELINE_HELP_H

#include "arguments.h"

/* One of the commands, for the tool's own page; summary NULL: it is not told of. */
struct help_command {
    const char *name, *summary;
};

/* Is this argument `--help` or `-h`? The way that it asks for, "" where it names none; NULL: it is not. */
const char *help_asked(const char *word);

/* `man`: roff, for man(1). `words`: the options, one a line, with = behind those that take a value.
 * `operands`: what may stand there, one a line, or `*.END` for files that end so. Any other way: for the
 * terminal. */
void help_print(const struct usage *u, const struct argument *table, const char *way);
/* The same of the tool itself; its `words` are the commands. `about` is its summary, `notes` whole lines. */
void help_print_tool(const char *about, const char *notes, const struct help_command *command, int n,
                     const char *way);

#endif
