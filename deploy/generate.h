/* generate.h - the command that writes the demo's data */
#ifndef FREEZELINE_GENERATE_H
#define FREEZELINE_GENERATE_H

/* `freezeline generate`: argv[0] is the command's name. Returns the exit status: 0, 1 (failed), 2 (usage). */
int command_generate(int argc, char **argv);

#endif
