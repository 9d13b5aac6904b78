/* version.h - which Freezeline this is */
#ifndef FREEZELINE_VERSION_H
#define FREEZELINE_VERSION_H

/* "0.1.0", and the git revision that it was built from ("" outside a repository). */
const char *version_number(void);
const char *version_revision(void);

/* What --version says, on standard output: "PROGRAM 0.1.0, revision 0123456789ab". */
void version_print(const char *program);

#endif
