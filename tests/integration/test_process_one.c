/* test_process_one.c - as process 1 of a container: its own pids, a read-only root but for the state
 * directory, another user, no HOME
 *
 * Namespaces need root and util-linux; where they cannot be made the tests are skipped and say so.
 */
#include "tool_world.h"

#include <dirent.h>

static const char yaml[] = "exits: none\n"
                           "stages:\n"
                           "  - last: block1.out\n"
                           "  - {}\n"
                           "cache: {kind: none}\n"
                           "broker: {heartbeat_ms: 50, dead_after_ms: 1000, deadline_ms: 150000}\n";

static bool skipped(void)
{
    if (!geteuid() && !system("unshare --pid --fork --mount --mount-proc true >/dev/null 2>&1") &&
        !system("setpriv --reuid 65534 true >/dev/null 2>&1"))
        return false;
    print_message("skipped: no pid and mount namespaces here, or not root\n");
    skip();
    return true;
}

/* Starts a program there; returns the harness's number of unshare, which is no pid 1 but its parent. */
static int contain(struct harness *h, const char *line)
{
    static char text[3 * HARNESS_PATH];
    const char *argv[] = {"unshare",      "--pid", "--fork", "--kill-child", "--mount",
                          "--mount-proc", "sh",    "-c",     text,           NULL};

    snprintf(text, sizeof text,
             "chown -R 65534:65534 %s && mount --bind %s %s && mount -o remount,bind,ro / && cd / && "
             "exec env -u HOME setpriv --reuid 65534 --regid 65534 --clear-groups %s -c %s",
             harness_dir(h), harness_dir(h), harness_dir(h), line, harness_config(h));
    return harness_spawn_path(h, "unshare", argv);
}

/* The child of a process whose state is one of `states` ("" = any); 0: none. */
static pid_t child_of(pid_t parent, const char *states)
{
    DIR *d = opendir("/proc");
    struct dirent *entry;
    pid_t found = 0;

    while (d && !found && (entry = readdir(d))) {
        char path[64], line[512] = "", state, *end;
        int of;
        FILE *f;
        snprintf(path, sizeof path, "/proc/%.20s/stat", entry->d_name);
        if (!(f = fopen(path, "re")))
            continue;
        if (fgets(line, sizeof line, f) && (end = strrchr(line, ')')) &&
            sscanf(end + 1, " %c %d", &state, &of) == 2 && of == parent &&
            (!*states || strchr(states, state)))
            found = (pid_t)atoi(entry->d_name);
        fclose(f);
    }
    if (d)
        closedir(d);
    return found;
}

struct one {
    struct harness *h;
    pid_t pid;
};

static bool is_up(void *arg)
{
    struct one *o = arg;
    return file_exists(o->h, "run/ready");
}

static bool has_no_zombie(void *arg)
{
    struct one *o = arg;
    return !child_of(o->pid, "Z");
}

static bool is_there(void *arg)
{
    struct one *o = arg;
    o->pid = child_of(o->pid, "");
    return o->pid > 0;
}

/* An orphan of somebody else who came into the container. */
static void leave_orphan(pid_t one)
{
    char line[128];
    snprintf(line, sizeof line, "nsenter -t %d --pid --mount sh -c 'sleep 0.2 & exit 0'", (int)one);
    assert_int_equal(system(line), 0);
}

static void run_one(const char *program, const char *ready)
{
    struct harness *h = harness_new(NULL, yaml);
    char line[HARNESS_PATH];
    struct one o = {h, 0};
    int number;

    snprintf(line, sizeof line, "$(readlink -f %s)/%s", tool_folder(), program);
    number = contain(h, line);
    if (ready)
        harness_expect(h, number, ready, 1);
    else
        harness_until(is_up, &o, 60, "the pipeline is ready");
    o.pid = harness_pid(h, number);
    harness_until(is_there, &o, 60, "process 1");
    leave_orphan(o.pid);
    harness_until(has_no_zombie, &o, 60, "orphans are reaped");
    assert_int_equal(kill(o.pid, SIGTERM), 0);
    assert_int_equal(harness_wait(h, number), 0);
    finish(h);
}

static void a_supervisor(void **state)
{
    if (!skipped())
        run_one("freezeline supervise", NULL);
}

static void up_in_the_foreground(void **state)
{
    if (!skipped())
        run_one("freezeline up --foreground", NULL);
}

static void a_service(void **state)
{
    if (!skipped())
        run_one("freezeline-broker", "ready:");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_supervisor),
        cmocka_unit_test(up_in_the_foreground),
        cmocka_unit_test(a_service),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
