/* confine.c - Landlock by its system calls: the C library has none of them */
#include "confine.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* since Linux 6.2 */
#endif

/* Without the second version's right nothing could be moved from one folder to another. */
#define OLDEST 2
#define WRITING                                                                                       \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
     LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |       \
     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |    \
     LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER)

static uint64_t writing(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version < OLDEST ? 0 : WRITING | (version > OLDEST ? LANDLOCK_ACCESS_FS_TRUNCATE : 0);
}

int confine_new(void)
{
    struct landlock_ruleset_attr all = {.handled_access_fs = writing()};
    return all.handled_access_fs ? (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0) : -1;
}

static void make(const char *folder)
{
    char part[PATH_MAX];

    if ((size_t)snprintf(part, sizeof part, "%s/", folder) >= sizeof part)
        return;
    for (char *slash = part + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(part, 0700);
    }
}

void confine_allow(int rules, const char *folder)
{
    struct landlock_path_beneath_attr one = {.allowed_access = writing()};

    if (rules < 0)
        return;
    if ((one.parent_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0) {
        make(folder);
        one.parent_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    if (one.parent_fd < 0)
        return;
    syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &one, 0);
    close(one.parent_fd);
}

bool confine(int rules)
{
    bool holds = rules >= 0 && !syscall(SYS_landlock_restrict_self, rules, 0);

    if (rules >= 0)
        close(rules);
    return holds;
}
