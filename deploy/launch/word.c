/* word.c - one line in a file */
#include "word.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "deploy/tool/state.h"

void word_leave(const struct pipeline *p, const char *name, const char *text)
{
    char path[STATE_PATH_BYTES], temporary[STATE_PATH_BYTES];
    FILE *f;

    if (state_path(path, p, NULL, "run/%s", name) || state_path(temporary, p, NULL, "run/%s.new", name) ||
        !(f = fopen(temporary, "we")))
        return;
    fprintf(f, "%s\n", text);
    if (fclose(f) || rename(temporary, path))
        unlink(temporary);
}

bool word_read(const struct pipeline *p, const char *name, char *buf, size_t size)
{
    char path[STATE_PATH_BYTES];
    FILE *f = state_path(path, p, NULL, "run/%s", name) ? NULL : fopen(path, "re");
    bool read = f && fgets(buf, (int)size, f);

    if (f)
        fclose(f);
    if (read)
        buf[strcspn(buf, "\n")] = '\0';
    return read;
}

void word_remove(const struct pipeline *p, const char *name)
{
    char path[STATE_PATH_BYTES];
    if (!state_path(path, p, NULL, "run/%s", name))
        unlink(path);
}
