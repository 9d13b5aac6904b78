/* test_hardening.c - a process that gave up what a service never needs */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "system/hardening.h"

static void *nothing(void *arg)
{
    return arg;
}

/* What goes wrong, as an exit status; 0: all is as it should be; 100: no filter in this kernel. */
static int look(void)
{
    char path[] = "/tmp/freezeline-hardening-XXXXXX", *argv[] = {(char[]){"true"}, NULL};
    bool filtered = harden(true);
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

static void what_no_service_needs_is_refused(void **state)
{
    int status;
    pid_t child = fork();
    (void)state;

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
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_no_service_needs_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
