/* word.c - one line in a file, and pid files by role */
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

bool word_there(const struct pipeline *p, const char *name)
{
    char path[STATE_PATH_BYTES];
    return !state_path(path, p, NULL, "run/%s", name) && !access(path, F_OK);
}

int pid_file_save(const struct pipeline *p, const char *role, const struct process *process, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc = state_path(path, p, e, "run/%s.pid", role);
    return rc ? rc : process_save(process, path, e);
}

int pid_file_load(const struct pipeline *p, const char *role, struct process *out)
{
    char path[STATE_PATH_BYTES];
    int rc = state_path(path, p, NULL, "run/%s.pid", role);
    return rc ? rc : process_load(out, path);
}

void pid_file_remove(const struct pipeline *p, const char *role)
{
    char path[STATE_PATH_BYTES];
    if (!state_path(path, p, NULL, "run/%s.pid", role))
        unlink(path);
}
