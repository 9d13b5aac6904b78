/* test_limits.c - what there is of a host, and what is refused beyond it */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "system/background.h"
#include "system/limits.h"
#include "system/slice.h"

static void test_control_groups(void **state)
{
    char folder[256];
    const char *root, *file;

    assert_true(limits_cgroup("0::/system.slice/freezeline.service\n", folder, sizeof folder, &root, &file));
    assert_string_equal(folder, "/sys/fs/cgroup/system.slice/freezeline.service");
    assert_string_equal(file, "memory.max");
    assert_true(limits_cgroup("4:memory:/docker/0123\n", folder, sizeof folder, &root, &file));
    assert_string_equal(folder, "/sys/fs/cgroup/memory/docker/0123");
    assert_string_equal(file, "memory.limit_in_bytes");
    assert_false(limits_cgroup("3:cpuset:/\n", folder, sizeof folder, &root, &file));
    assert_false(limits_cgroup("nonsense", folder, sizeof folder, &root, &file));
    assert_false(limits_cgroup("0::/a-path-that-is-too-long", folder, 20, &root, &file));
}

static void test_what_is_too_much(void **state)
{
    struct error e = {0};
    char text[160];
    int gone[] = {4095}, beyond[] = {-1};

    assert_true(limits_memory() > 1 << 20);
    assert_int_equal(limits_check_memory(1 << 20, "little", &e), FL_OK);
    assert_int_equal(limits_check_memory(INT64_MAX, "broker.max_memory_mb", &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "broker.max_memory_mb needs"));
    assert_int_equal(limits_check_files(10, &e), FL_OK);
    assert_int_equal(limits_check_files(INT64_MAX - 1, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "ulimit -Hn"));
    assert_int_equal(limits_check_threads(3, &e), FL_OK);
    assert_true(limits_cpus() > 0);
    assert_int_equal(limits_check_cpus(NULL, 0, &e), FL_OK);
    assert_int_equal(limits_check_cpus(gone, 1, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "cpu 4095 is not there: this machine (or container) has"));
    assert_int_equal(limits_check_cpus(beyond, 1, &e), FL_CONFIG);
    assert_non_null(strstr(limits_text(text, sizeof text), " open files, cpus "));
    assert_true(limits_resident_bytes(0) > 100000);
    assert_true(limits_resident_bytes((uint64_t)getpid()) > 100000);
    assert_int_equal(limits_resident_bytes(UINT64_MAX), 0);
}

/* Memory that could be shared counts once it is written. */
static void test_what_a_process_uses(void **state)
{
    uint64_t resident, shared, cpu, resident_then, shared_then, cpu_then;
    size_t size = 8 << 20;
    volatile uint64_t work = 0;
    void *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(block, MAP_FAILED);
    limits_use(&resident, &shared, &cpu);
    assert_true(resident > 100000 && shared < resident);
    memset(block, 1, size);
    do {
        work++;
        limits_use(&resident_then, &shared_then, &cpu_then);
    } while (cpu_then == cpu);
    assert_true(shared_then >= shared + size && resident_then > shared_then);
    munmap(block, size);
}

/* Runs in a process of its own what changes the process; returns its exit status. */
static int in_child(int (*work)(void))
{
    pid_t pid = fork();
    int status;

    if (!pid)
        _exit(work());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int pin_to_one(void)
{
    int some[2] = {sched_getcpu(), 4094};

    if (some[0] < 0 || limits_pin(some, 2, NULL) != FL_CONFIG || limits_pin(some, 1, NULL) != FL_OK)
        return 1;
    return limits_cpus() == 1 && sched_getcpu() == some[0] ? 0 : 2;
}

static int raise_files(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files))
        return 1;
    files.rlim_cur = 64;
    if (setrlimit(RLIMIT_NOFILE, &files) || limits_files() != 64)
        return 2;
    limits_raise();
    return (rlim_t)limits_files() == files.rlim_max ? 0 : 3;
}

static void test_what_is_changed(void **state)
{
    assert_int_equal(in_child(pin_to_one), 0);
    assert_int_equal(in_child(raise_files), 0);
}

/* What the kernel says of this session's share; "" where it has no such thing. */
static void read_session(char line[64])
{
    FILE *f = fopen("/proc/self/autogroup", "r");

    line[0] = '\0';
    if (f && !fgets(line, 64, f))
        line[0] = '\0';
    if (f)
        fclose(f);
}

static int fall_back_with_session(void)
{
    char after[64];

    if (setsid() < 0)
        return 1;
    background_enter();
    read_session(after);
    return getpriority(PRIO_PROCESS, 0) == 19 && (!after[0] || strstr(after, "nice 10")) ? 0 : 1;
}

/* How long a turn this thread asks for, in ns; 0: the usual, or a kernel that does not keep it. */
static uint64_t turn(void)
{
    uint8_t attributes[64] = {0};
    uint64_t runtime = 0;
    if (!syscall(SYS_sched_getattr, 0, attributes, sizeof attributes, 0))
        memcpy(&runtime, attributes + 24, sizeof runtime); /* struct sched_attr */
    return runtime;
}

/* Whoever wakes is let in at once by one that asks for longer turns than the usual ones. */
static int turns(void)
{
    slice_short(true);
    if (turn() != 100 * NS_PER_US)
        return 0; /* before Linux 6.12 */
    slice_short(false);
    if (turn() > 3 * NS_PER_MS)
        return 1;
    background_enter();
    return turn() == 4 * NS_PER_MS ? 0 : 1;
}

/* Whoever shares the session keeps his share. */
static int fall_back_alone(void)
{
    char before[64], after[64];

    read_session(before);
    background_enter();
    read_session(after);
    return getpriority(PRIO_PROCESS, 0) == 19 && !strcmp(before, after) ? 0 : 1;
}

static void test_the_background(void **state)
{
    assert_int_equal(in_child(fall_back_alone), 0);
    assert_int_equal(in_child(fall_back_with_session), 0);
    assert_int_equal(in_child(turns), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_groups),      cmocka_unit_test(test_what_is_too_much),
        cmocka_unit_test(test_what_a_process_uses), cmocka_unit_test(test_what_is_changed),
        cmocka_unit_test(test_the_background),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
