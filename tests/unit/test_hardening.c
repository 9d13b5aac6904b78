/* test_hardening.c - a process that gave up what a service never needs */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/testing.h"
#include "system/confine.h"
#include "system/hardening.h"

static void *nothing(void *arg)
{
    return arg;
}

static bool has_capability(int number)
{
    struct __user_cap_header_struct self = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct may[2];

    return !syscall(SYS_capget, &self, may) &&
           ((may[number / 32].effective | may[number / 32].permitted) >> number % 32 & 1);
}

/* What goes wrong, as an exit status; 0: all is as it should be; 100: no filter in this kernel. */
static int look(void)
{
    char path[] = "/tmp/freezeline-hardening-XXXXXX", *argv[] = {(char[]){"true"}, NULL};
    bool bound = has_capability(CAP_NET_BIND_SERVICE), filtered = harden(true);
    pthread_t thread;
    struct stat st;
    int fd;

    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 1;
    if (pthread_create(&thread, NULL, nothing, NULL) || pthread_join(thread, NULL))
        return 2;
    if (!mkdtemp(path) || stat(path, &st) || chdir(path) || (fd = open("f", O_CREAT | O_WRONLY, 0666)) < 0 ||
        fstat(fd, &st) || (st.st_mode & 077))
        return 3;
    unlink("f");
    rmdir(path);
    if (has_capability(CAP_SYS_ADMIN) || has_capability(CAP_NET_ADMIN) || has_capability(CAP_KILL) ||
        has_capability(CAP_SETUID) || has_capability(CAP_BPF))
        return 8;
    if (!geteuid() && bound && !has_capability(CAP_NET_BIND_SERVICE))
        return 9;
    if (!filtered)
        return 100;
    if (unshare(CLONE_NEWUSER) != -1 || errno != EPERM)
        return 4;
    if (syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0) != -1 || errno != EPERM)
        return 5;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (execv("/bin/true", argv) != -1 || errno != EPERM)
        return 6;
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) != -1 || errno != EPERM)
        return 7;
#else
    (void)argv;
#endif
    return 0;
}

static bool makes(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);

    return fd >= 0 && write(fd, "x", 1) == 1 && !close(fd);
}

static void *makes_outside(void *path)
{
    return makes(path) ? path : NULL;
}

/* As look(), in a folder of its own: `own` may be written, what lies beside it may be read. */
static int look_at_folders(void)
{
    int rules = confine_new(), memory = memfd_create("memory", MFD_CLOEXEC);
    char here[PATH_MAX], own[PATH_MAX + 16];
    pthread_t thread;
    void *made;

    if (rules < 0)
        return 100;
    if (!getcwd(here, sizeof here) || !makes("beside"))
        return 1;
    snprintf(own, sizeof own, "%s/own/deeper", here);
    confine_allow(rules, own);
    confine_allow(rules, "/proc/nothing");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!confine(rules) || !makes("own/deeper/f") || mkdir("own/deeper/d", 0700) ||
        rename("own/deeper/f", "own/deeper/d/f") || unlink("own/deeper/d/f") || ftruncate(memory, 10))
        return 2;
    if (makes("new") || errno != EACCES || makes("beside") || makes("own/f") ||
        makes("/dev/shm/freezeline-confined"))
        return 3;
    if (!unlink("beside") || !rename("beside", "own/deeper/beside") || !mkdir("folder", 0700) ||
        !symlink("a", "b"))
        return 4;
    if (access("beside", R_OK) || open("beside", O_RDONLY | O_CLOEXEC) < 0)
        return 5;
    if (pthread_create(&thread, NULL, makes_outside, (char[]){"new"}) || pthread_join(thread, &made) || made)
        return 6;
    return 0;
}

static void folders_elsewhere_are_not_written(void **state)
{
    char folder[] = "/tmp/freezeline-confine-XXXXXX", line[80];
    int status;
    pid_t child;

    assert_non_null(mkdtemp(folder));
    if (!(child = fork()))
        _exit(chdir(folder) ? 1 : look_at_folders());
    assert_int_equal(waitpid(child, &status, 0), child);
    snprintf(line, sizeof line, "rm -r %s", folder);
    assert_int_equal(system(line), 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 100)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void what_no_service_needs_is_refused(void **state)
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (!child)
        _exit(look());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 100)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_no_service_needs_is_refused),
                                       cmocka_unit_test(folders_elsewhere_are_not_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
