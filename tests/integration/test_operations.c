/* test_operations.c - who may touch a running pipeline: two at once, another container, another user; signals
 * and terminals; what is said of processes elsewhere */
#include "tool_world.h"

#include <poll.h>
#include <netinet/in.h>
#include <pty.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include "system/confine.h"

static const char yaml[] = "name: tiny\n"
                           "stages:\n"
                           "  - {last: block1.out}\n"
                           "  - {}\n"
                           "cache: {kind: none}\n";

/* Another container shares the folder: there, pids of this one mean nothing. */
static void test_another_container_touches_nothing(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    const char *verbs[] = {"up", "down"};
    char line[1024];

    if (shell("unshare --pid --fork --mount-proc true 2>&1")) {
        print_message("skipped: no pid namespaces can be made here\n");
        harness_free(h);
        skip();
    }
    tool_ok(h, "up", "");
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof line, "unshare --pid --fork --mount-proc %s/freezeline %s -c %s 2>&1",
                 tool_folder(), verbs[i], harness_config(h));
        assert_int_equal(shell(line), 1);
        assert_said("in another container or on another host");
    }
    assert_true(file_exists(h, "run/stage0.0.pid"));
    assert_true(file_exists(h, "run/supervisor.pid"));
    assert_true(pid_of(h, "stage1.0") > 0);
    tool_ok(h, "down", "");
    assert_said("stopped");
    assert_false(file_exists(h, "run/stage0.0.pid"));
    finish(h);
}

/* Nor does another container take over what lives without a supervisor. */
static void test_another_container_leaves_the_unsupervised(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct process supervisor;
    char line[1024];

    if (shell("unshare --pid --fork --mount-proc true 2>&1")) {
        print_message("skipped: no pid namespaces can be made here\n");
        harness_free(h);
        skip();
    }
    tool_ok(h, "up", "");
    supervisor = process_of(h, "supervisor");
    assert_true(process_signal(&supervisor, SIGKILL));
    assert_true(process_wait_gone(&supervisor, 10000));
    snprintf(line, sizeof line, "unshare --pid --fork --mount-proc %s/freezeline up -c %s 2>&1",
             tool_folder(), harness_config(h));
    assert_int_equal(shell(line), 1);
    assert_said("live in another container or on another host");
    assert_true(pid_of(h, "stage1.0") > 0);
    tool_ok(h, "down", "");
    finish(h);
}

struct line_of {
    struct harness *h;
    const char *log, *text;
};

/* For harness_until: a log below the state directory has this text. */
static bool is_logged(void *arg)
{
    struct line_of *l = arg;
    tool(l->h, "logs", l->log);
    return strstr(output, l->text);
}

static const char confined_yaml[] = "name: tiny\n"
                                    "exits: [{name: x, after: block1.out}]\n"
                                    "stages: [{last: x}, {}]\n"
                                    "redis: {managed: true}\n"
                                    "traces: {to: traces.json, share: 1}\n";

/* Nothing that `up` starts gains privileges, and a service writes in the state directory alone: not where a
 * link in there leads. */
static void test_what_is_started_may_do_little(void **state)
{
    static const char *const roles[] = {"supervisor", "redis", "broker", "cache0", "stage0.0", "stage1.0"};
    struct harness *h = harness_new(NULL, confined_yaml);
    struct line_of said = {h, "broker", "cannot write traces"};
    int rules = confine_new();
    char line[3 * HARNESS_PATH];

    snprintf(line, sizeof line, "mkdir -p %s %s/elsewhere && ln -s %s/elsewhere/traces.json %s/traces.json",
             harness_pipeline(h)->state, harness_dir(h), harness_dir(h), harness_pipeline(h)->state);
    assert_int_equal(shell(line), 0);
    tool_ok(h, "up", "");
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        snprintf(line, sizeof line, "grep -E '^NoNewPrivs:\\s*1$' /proc/%d/status",
                 (int)process_of(h, roles[i]).pid);
        if (shell(line))
            fail_msg("%s may gain privileges", roles[i]);
        if (i < 2) /* no service */
            continue;
        /* Files and low ports, of all that root may; a sanitizer traces threads, too. */
        snprintf(line, sizeof line, "grep -E '^CapEff:\\s*0{11}[08]0[04]0[0e]$' /proc/%d/status",
                 (int)process_of(h, roles[i]).pid);
        if (shell(line))
            fail_msg("%s may more than a service needs", roles[i]);
    }
    if (rules >= 0) { /* else this kernel confines nobody */
        harness_until(is_logged, &said, 60, "the broker cannot write where the link leads");
        snprintf(line, sizeof line, "ls %s/elsewhere", harness_dir(h));
        assert_int_equal(shell(line), 0);
        assert_string_equal(output, "");
        tool_ok(h, "logs", "broker -n 100");
        assert_said("traces.json is a link: this process writes in the state directory alone");
        close(rules);
    }
    tool_ok(h, "down", "");
    finish(h);
}

static void test_of_two_at_once_one_starts(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    char line[1024];
    int n = 0;

    snprintf(line, sizeof line,
             "for i in 1 2 3 4; do (%s/freezeline up -c %s 2>&1; echo \"status $?\") & done; wait",
             tool_folder(), harness_config(h));
    assert_int_equal(shell(line), 0);
    for (const char *at = output; (at = strstr(at, "status 0")); at++)
        n++;
    if (n != 1)
        fail_msg("%d of 4 started:\n%s", n, output);
    assert_true(pid_of(h, "stage1.0") > 0);
    tool_ok(h, "down", "");
    finish(h);
}

static bool is_named_again(void *arg)
{
    return file_exists(arg, "run/stage1.0.pid");
}

/* As on a full disk: what is started again has no pid file, until one can be written. */
static void test_a_pid_file_is_written_when_it_can_be(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct line_of failure = {h, "supervisor", "stage1.0.pid"};
    struct process old;
    char path[HARNESS_PATH + 64];

    tool_ok(h, "up", "");
    old = process_of(h, "stage1.0");
    snprintf(path, sizeof path, "%s/run/stage1.0.pid.new", harness_pipeline(h)->state);
    assert_int_equal(mkdir(path, 0700), 0); /* stands in the way of the file */
    assert_true(process_signal(&old, SIGKILL));
    harness_until(is_logged, &failure, 60, "the supervisor tells of the pid file");
    assert_false(file_exists(h, "run/stage1.0.pid"));
    assert_int_equal(rmdir(path), 0);
    harness_until(is_named_again, h, 60, "the pid file is there");
    tool_ok(h, "down", "");
    finish(h);
}

/* Processes that were started by hand keep their sockets, whoever calls `up` and `down`. */
static void test_sockets_of_others_stay(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct client *client;
    int broker = harness_broker(h);

    assert_int_equal(tool(h, "up", ""), 1);
    assert_said("broker failed to start");
    assert_said("address already in use");
    tool(h, "down", "");
    client = harness_client(h);
    assert_false(harness_status(client).ready);
    client_free(client);
    harness_signal(h, broker, SIGTERM);
    assert_int_equal(harness_wait(h, broker), 0);
    finish(h);
}

static bool logs_are_new(void *arg)
{
    static const char *const names[] = {"broker", "stage0.0", "stage1.0", "supervisor"};
    struct harness *h = arg;
    char name[64];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(name, sizeof name, "logs/%s.log", names[i]);
        if (!file_exists(h, name))
            return false;
    }
    return true;
}

/* As logrotate and `systemctl reload` do it. Nothing ends, and what dies is started again as before. */
static void test_a_hang_up_opens_logs_again(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct replaced r = {h, "stage1.0", 0};
    struct process supervisor;
    char line[HARNESS_PATH + 128];

    tool_ok(h, "up", "");
    supervisor = process_of(h, "supervisor");
    r.old = pid_of(h, "stage1.0");
    snprintf(line, sizeof line, "cd %s/logs && for f in *.log; do mv $f $f.moved; done",
             harness_pipeline(h)->state);
    assert_int_equal(shell(line), 0);
    assert_true(process_signal(&supervisor, SIGHUP));
    harness_until(logs_are_new, h, 60, "logs opened again");
    assert_true(process_alive(&supervisor));
    assert_int_equal(pid_of(h, "stage1.0"), r.old);
    assert_int_equal(kill(r.old, SIGKILL), 0);
    harness_until(is_replaced, &r, 60, "stage1.0 started again");
    tool_ok(h, "down", "");
    finish(h);
}

static char *supervisor_state(struct harness *h, char *buf, size_t size)
{
    json_t *root = tool_json(h, "status", ""), *supervisor = json_object_get(root, "supervisor");
    const char *text = json_string_value(json_object_get(supervisor, "state"));

    snprintf(buf, size, "%s", text ? text : "");
    json_decref(root);
    return buf;
}

static void test_a_dead_supervisor_shows(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct process supervisor;
    char text[64];

    tool_ok(h, "up", "");
    assert_string_equal(supervisor_state(h, text, sizeof text), "running");
    supervisor = process_of(h, "supervisor");
    assert_true(process_signal(&supervisor, SIGKILL));
    assert_true(process_wait_gone(&supervisor, 10000));
    assert_string_equal(supervisor_state(h, text, sizeof text), "gone");
    tool_ok(h, "status", "");
    assert_said("nobody supervises");
    tool_ok(h, "down", "");
    assert_said("stopped");
    assert_int_equal(tool(h, "status", ""), 1);
    assert_null(strstr(output, "nobody supervises"));
    finish(h);
}

/* Reads from a terminal until `text` has come. */
static void read_until(int fd, const char *text)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t n = 0;

    memset(output, 0, sizeof output);
    while (!strstr(output, text)) {
        ssize_t got = poll(&p, 1, 60000) == 1 ? read(fd, output + n, sizeof output - 1 - n) : -1;
        if (got <= 0)
            fail_msg("the terminal has not shown \"%s\" but\n%s", text, output);
        n += (size_t)got;
    }
}

/* What runs in the foreground goes with its terminal. */
static void test_a_closed_terminal_ends_all(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct process supervisor;
    char path[HARNESS_PATH];
    int terminal, status;
    pid_t pid;

    snprintf(path, sizeof path, "%s/freezeline", tool_folder());
    pid = forkpty(&terminal, NULL, NULL, NULL);
    if (!pid) {
        execl(path, path, "up", "-c", harness_config(h), "--foreground", (char *)NULL);
        _exit(127);
    }
    read_until(terminal, "ready: ");
    supervisor = process_of(h, "supervisor");
    assert_true(process_alive(&supervisor));
    close(terminal);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_false(process_alive(&supervisor));
    assert_false(file_exists(h, "run/stage0.0.pid"));
    assert_false(file_exists(h, "sock/requests"));
    finish(h);
}

/* In a terminal `top` draws until it is asked to end, and leaves the terminal as it was. */
static void test_top_ends_by_a_key(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct termios before, after;
    char path[HARNESS_PATH];
    int terminal, status;
    pid_t pid;

    snprintf(path, sizeof path, "%s/freezeline", tool_folder());
    tool_ok(h, "up", "");
    pid = forkpty(&terminal, NULL, NULL, NULL);
    if (!pid) {
        execl(path, path, "top", "-c", harness_config(h), (char *)NULL);
        _exit(127);
    }
    assert_int_equal(tcgetattr(terminal, &before), 0);
    read_until(terminal, "who answered");
    assert_int_equal(write(terminal, "xq", 2), 2);
    read_until(terminal, "\033[?25h");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(tcgetattr(terminal, &after), 0);
    assert_int_equal(after.c_lflag, before.c_lflag);
    close(terminal);
    tool_ok(h, "down", "");
    finish(h);
}

struct drained {
    struct client *client;
    bool draining;
    uint64_t in_flight;
};

static bool has_come_to(void *arg)
{
    struct drained *d = arg;
    struct status_reply s = harness_status(d->client);
    return s.draining == d->draining && s.in_flight == d->in_flight;
}

/* A request is in flight, its stage stands still: `down` waits, and is called off. */
static void test_an_interrupted_down_stops_nothing(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    float pixels[3 * 16 * 16] = {0};
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = pixels};
    char path[HARNESS_PATH];
    const char *argv[] = {path, "down", "-c", harness_config(h), "--drain", "60", NULL};
    struct drained d = {.in_flight = 1};
    struct answer answer;
    uint64_t id;
    int down, n;
    pid_t stage;

    snprintf(path, sizeof path, "%s/freezeline", tool_folder());
    /* It stays stopped: on a busy host it would be called dead or hung, and started again, before all is
     * seen. */
    tool_ok(h, "up", "--set broker.dead_after_ms=600000 --set broker.hung_after_ms=0");
    stage = pid_of(h, "stage1.0");
    d.client = harness_client(h);
    assert_int_equal(kill(stage, SIGSTOP), 0);
    assert_int_equal(client_submit(d.client, &in, 0, 30000, &id, NULL), 0);
    harness_until(has_come_to, &d, 60, "a request in flight");
    down = harness_spawn_path(h, path, argv);
    d.draining = true;
    harness_until(has_come_to, &d, 60, "draining");
    harness_signal(h, down, SIGTERM);
    assert_int_equal(harness_wait(h, down), 1);
    assert_int_equal(harness_count(h, down, "nothing is stopped"), 1);
    d.draining = false;
    harness_until(has_come_to, &d, 60, "requests are taken again");
    assert_int_equal(kill(stage, SIGCONT), 0);
    assert_int_equal(client_receive(d.client, 60000, &answer, NULL, 0, &n, NULL), 0);
    assert_int_equal(answer.error, 0);
    client_free(d.client);
    tool_ok(h, "down", "");
    finish(h);
}

/* A process that hangs, here: is stopped, is ended and started again; so is the broker. */
static void test_who_hangs_is_started_again(void **state)
{
    struct harness *h =
        harness_new(NULL, "name: tiny\n"
                          "stages: [{last: block1.out}, {}]\n"
                          "broker: {heartbeat_ms: 50, dead_after_ms: 300, hung_after_ms: 900}\n");
    static const char *const roles[] = {"stage1.0", "cache0", "broker"};

    tool_ok(h, "up", "");
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        struct replaced r = {h, roles[i], pid_of(h, roles[i])};
        struct process hung = process_of(h, roles[i]);
        assert_int_equal(r.old, hung.pid);
        assert_true(process_signal(&hung, SIGSTOP));
        harness_until(is_gone, &hung, 60, "the process that hangs is ended");
        harness_until(is_replaced, &r, 60, "another in its place");
    }
    tool_ok(h, "logs", "supervisor");
    assert_said("has said nothing for 900 ms");
    tool_ok(h, "down", "");
    finish(h);
}

static bool sockets_are_back(void *arg)
{
    static const char *const names[] = {"requests", "control",   "results",
                                        "cache.0",  "stage.0.0", "stage.1.0"};
    char path[64];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "sock/%s", names[i]);
        if (!file_exists(arg, path))
            return false;
    }
    return true;
}

/* What cleans up in folders takes the sockets of a living pipeline away: they come back, and nothing has to
 * end. */
static void test_removed_sockets_come_back(void **state)
{
    struct harness *h = harness_new(NULL, "name: tiny\nstages: [{last: block1.out}, {}]\n");
    struct replaced r = {h, "stage1.0", 0};
    struct process broker;
    char line[HARNESS_PATH + 64];

    tool_ok(h, "up", "");
    broker = process_of(h, "broker");
    r.old = pid_of(h, "stage1.0");
    snprintf(line, sizeof line, "rm -r %s/sock", harness_pipeline(h)->state);
    assert_int_equal(shell(line), 0);
    harness_until(sockets_are_back, h, 60, "sockets made again");
    assert_int_equal(pid_of(h, "stage1.0"), r.old);
    assert_int_equal(kill(r.old, SIGKILL), 0);
    harness_until(is_replaced, &r, 60, "a new worker finds them");
    assert_true(process_alive(&broker));
    tool_ok(h, "logs", "broker");
    assert_said("was removed and is made again");
    tool_ok(h, "down", "");
    finish(h);
}

/* Without its lock a pipeline could not be found, nor kept from being started twice: it stops. */
static void test_a_pipeline_whose_lock_is_removed_stops(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct process supervisor, stage;
    char line[HARNESS_PATH + 64];

    tool_ok(h, "up", "");
    supervisor = process_of(h, "supervisor");
    stage = process_of(h, "stage0.0");
    snprintf(line, sizeof line, "rm -r %s/run", harness_pipeline(h)->state);
    assert_int_equal(shell(line), 0);
    harness_until(is_gone, &supervisor, 60, "the supervisor ends");
    assert_false(process_alive(&stage));
    tool_ok(h, "logs", "supervisor");
    assert_said("run/lock was removed or replaced");
    tool_ok(h, "up", "");
    tool_ok(h, "down", "");
    finish(h);
}

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    close(fd);
    return ntohs(a.sin_port);
}

/* Hosts by name, as in a compose file; what cannot be is said at once, with what to write. */
static void test_hosts_by_name(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    char arguments[256];

    snprintf(arguments, sizeof arguments, "--set broker.requests=tcp://localhost:%d", free_port());
    tool_ok(h, "up", arguments);
    assert_true(pid_of(h, "stage1.0") > 0);
    tool_ok(h, "down", "");
    snprintf(arguments, sizeof arguments,
             "--set security=none --set 'bind=*' --set broker.requests=tcp://localhost:%d", free_port());
    tool_ok(h, "up", arguments);
    assert_true(pid_of(h, "stage1.0") > 0);
    tool_ok(h, "down", "");
    tool_ok(h, "up", "--set stages.1.replicas.0.host=$(hostname)"); /* that is here */
    tool_ok(h, "down", "");
    assert_int_equal(tool(h, "up", "--set security=none --set 'broker.requests=tcp://*:5555'"), 2);
    assert_said("nobody can connect to it: name the host as others reach it, and write `bind: '*'`");
    assert_int_equal(
        tool(h, "up", "--set security=none --set broker.requests=tcp://no-such-host.invalid:5555"), 1);
    assert_said("broker failed to start: tcp://no-such-host.invalid:5555: the host name "
                "`no-such-host.invalid` is not");
    finish(h);
}

/* Starts a service of this build by a shell, with a limit of its own. */
static int spawn_limited(struct harness *h, const char *limit, const char *program, const char *arguments)
{
    char line[1024];
    const char *argv[] = {"sh", "-c", line, NULL};

    snprintf(line, sizeof line, "%s exec %s/%s -c %s %s", limit, tool_folder(), program, harness_config(h),
             arguments);
    return harness_spawn_path(h, "sh", argv);
}

static void refused(struct harness *h, const char *limit, const char *program, const char *arguments,
                    const char *says)
{
    int p = spawn_limited(h, limit, program, arguments);

    harness_expect(h, p, says, 1);
    assert_int_equal(harness_wait(h, p), 2);
}

/* What is asked for and not there is refused at once, by `up` and by each process: nothing quietly becomes
 * less. */
static void test_what_the_host_does_not_have(void **state)
{
    struct harness *h = harness_new(NULL, yaml);

    assert_int_equal(tool(h, "up", "--set 'stages.1.replicas=[{cpus: [0, 4000]}]'"), 2);
    assert_said("stages.1.replicas.0: cpus: cpu 4000 is not there: this machine (or container) has");
    refused(h, "", "freezeline-stage", "--stage 1 --set 'stages.1.replicas=[{cpus: [0, 4000]}]'",
            "cpu 4000 is not there");
    refused(h, "", "freezeline-broker", "--set broker.max_memory_mb=1048576000", "takes a number from");
    refused(h, "ulimit -n 100;", "freezeline-broker", "", "this process may have 100 files open and needs");
    refused(h, "ulimit -n 100;", "freezeline-stage", "--stage 0",
            "this process may have 100 files open and needs");
    if (!strstr(tool_folder(), "address")) /* which takes terabytes of it */
        refused(h, "ulimit -v 400000;", "freezeline-cache", "",
                "MB of address space (`ulimit -v`) and needs");
    finish(h);
}

#define MANY 400

/* More clients than there are descriptors for: those beyond are refused, workers come and go all the same. */
static void test_more_clients_than_files(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct sockaddr_un door = {.sun_family = AF_UNIX};
    int broker = spawn_limited(h, "ulimit -n 220;", "freezeline-broker", ""), fd[MANY];
    struct client *client;

    harness_expect(h, broker, "may use 220 open files", 1);
    harness_expect(h, broker, " ready: ", 1);
    snprintf(door.sun_path, sizeof door.sun_path, "%s",
             harness_pipeline(h)->broker.requests + strlen("ipc://"));
    for (int i = 0; i < MANY; i++) {
        fd[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd[i], (struct sockaddr *)&door, sizeof door), 0);
    }
    harness_expect(h, broker, "connections were refused: of 220 files", 1);
    harness_stage(h, 0, 0);
    harness_stage(h, 1, 0);
    harness_expect(h, broker, "every stage has a ready worker", 1);
    for (int i = 0; i < MANY; i++)
        close(fd[i]);
    client = harness_client(h);
    assert_true(harness_status(client).ready);
    client_free(client);
    harness_signal(h, broker, SIGTERM);
    assert_int_equal(harness_wait(h, broker), 0);
    finish(h);
}

/* How many of 12 connections from 127.0.0.`last` are kept: they get a greeting. */
static int kept_from(int port, int last)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
                       from = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + (uint32_t)last)};
    int fd[12], kept = 0;
    char byte;

    for (int i = 0; i < 12; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd[i], (struct sockaddr *)&from, sizeof from), 0);
        assert_int_equal(connect(fd[i], (struct sockaddr *)&to, sizeof to), 0);
    }
    for (int i = 0; i < 12; i++)
        kept += recv(fd[i], &byte, 1, 0) == 1;
    for (int i = 0; i < 12; i++)
        close(fd[i]);
    return kept;
}

static void test_one_address_gets_no_more_than_its_connections(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    int port = free_port(), broker;
    char set[64];

    snprintf(set, sizeof set, "broker.requests=tcp://127.0.0.1:%d", port);
    broker =
        harness_spawn(h, "freezeline-broker", "--set", set, "--set", "broker.client_connections=5", NULL);
    harness_expect(h, broker, " ready: ", 1);
    assert_int_equal(kept_from(port, 1), 5);
    assert_int_equal(kept_from(port, 2), 5);
    harness_expect(h, broker, "or one address has too many", 1);
    harness_signal(h, broker, SIGTERM);
    assert_int_equal(harness_wait(h, broker), 0);
    finish(h);
}

/* The reason of a failed start stands in the last line, wherever it was noted. */
static void test_a_failed_start_says_why(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    char line[1024];

    snprintf(line, sizeof line, "PATH=/nowhere %s/freezeline up -c %s --set redis.managed=true 2>&1",
             tool_folder(), harness_config(h));
    assert_int_equal(shell(line), 1);
    assert_said(
        "redis failed to start: freezeline supervise: cannot start redis-server: no folder of PATH has "
        "it; install it");
    assert_false(file_exists(h, "run/supervisor.pid"));
    assert_int_equal(tool(h, "up", "--set redis.managed=true --set redis.endpoint=127.0.0.1:7777"), 2);
    assert_said("has a unix socket, not 127.0.0.1:7777");
    assert_null(strstr(output, "failed to start")); /* nothing was */
    finish(h);
}

/* `up --set` on one address; everybody else says only -c. */
static void test_what_up_was_given_is_remembered(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    char arguments[256];

    snprintf(arguments, sizeof arguments,
             "--set broker.requests=ipc://%s/elsewhere --set stages.0.replicas=2", harness_dir(h));
    tool_ok(h, "up", arguments);
    tool_ok(h, "status", "");
    assert_said("stage0.1");
    tool_ok(h, "top", "--once");
    assert_said("stage0.1");
    tool_ok(h, "apply", arguments);
    assert_said("nothing to do");
    assert_int_equal(tool(h, "apply", "--set stages.0.replicas=3"), 2);
    assert_said("came up with another value by --set");
    tool_ok(h, "down", "");
    assert_said("stopped");
    assert_int_equal(tool(h, "status", ""), 1);
    assert_null(strstr(output, "stage0.1"));
    snprintf(arguments, sizeof arguments, "--set state=%s/other", harness_dir(h));
    tool_ok(h, "up", arguments);
    tool_ok(h, "status", "");
    tool_ok(h, "down", "");
    assert_said("stopped");
    tool_ok(h, "down", "");
    assert_said("nothing was running");
    finish(h);
}

/* The file names other hosts, and nothing of it was started by `up` here. */
static void test_a_pipeline_on_other_hosts(void **state)
{
    struct harness *h = harness_new(NULL, "name: tiny\n"
                                          "stages:\n"
                                          "  - {last: block1.out}\n"
                                          "  - {replicas: [{host: far-away}]}\n"
                                          "cache: {kind: none}\n");
    json_t *root, *broker;

    assert_int_equal(tool(h, "status", ""), 1);
    assert_said("far-away");
    assert_said("there is no such socket");
    assert_int_equal(tool(h, "up", ""), 2);
    assert_said("start it there with freezeline-stage");
    harness_pipeline_up(h);
    root = tool_json(h, "status", "");
    assert_true(json_is_null(json_object_get(root, "supervisor")));
    broker = json_array_get(json_object_get(root, "processes"), 0);
    assert_int_equal(json_integer_value(json_object_get(broker, "pid")), harness_pid(h, 0));
    json_decref(root);
    assert_true(pid_of(h, "stage1.0") == harness_pid(h, 2));
    assert_int_equal(tool(h, "logs", ""), 1);
    assert_said("`freezeline up` has not run here");
    assert_int_equal(tool(h, "down", ""), 1);
    assert_said("3 processes of the pipeline serve");
    assert_true(pid_of(h, "stage1.0") == harness_pid(h, 2));
    finish(h);
}

/* Who may not is told so, at once. */
static void test_another_user_is_told(void **state)
{
    static const char as_nobody[] = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    static const char *const verbs[] = {"status", "down", "up", "top --once"};
    struct harness *h = harness_new(NULL, yaml);
    char line[1024];

    /* The repository may lie where another user cannot read its model. */
    snprintf(line, sizeof line,
             "cd %s && chmod 755 . && cp $(sed -n 's/^model: //p' pipeline.yaml) m.onnx && "
             "sed -i 's/^model: .*/model: m.onnx/' pipeline.yaml && %s %s/freezeline --version 2>&1",
             harness_dir(h), as_nobody, tool_folder());
    if (shell(line)) {
        print_message("skipped: no other user can run this: %s\n", output);
        harness_free(h);
        skip();
    }
    tool_ok(h, "up", "");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        snprintf(line, sizeof line, "%s %s/freezeline %s -c %s 2>&1", as_nobody, tool_folder(), verbs[i],
                 harness_config(h));
        assert_int_equal(shell(line), 1);
        assert_said("permission denied: it belongs to root");
    }
    assert_true(pid_of(h, "stage1.0") > 0);
    tool_ok(h, "down", "");
    finish(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_another_container_touches_nothing),
        cmocka_unit_test(test_another_container_leaves_the_unsupervised),
        cmocka_unit_test(test_what_is_started_may_do_little),
        cmocka_unit_test(test_of_two_at_once_one_starts),
        cmocka_unit_test(test_a_pid_file_is_written_when_it_can_be),
        cmocka_unit_test(test_sockets_of_others_stay),
        cmocka_unit_test(test_a_hang_up_opens_logs_again),
        cmocka_unit_test(test_a_dead_supervisor_shows),
        cmocka_unit_test(test_a_closed_terminal_ends_all),
        cmocka_unit_test(test_top_ends_by_a_key),
        cmocka_unit_test(test_an_interrupted_down_stops_nothing),
        cmocka_unit_test(test_who_hangs_is_started_again),
        cmocka_unit_test(test_removed_sockets_come_back),
        cmocka_unit_test(test_a_pipeline_whose_lock_is_removed_stops),
        cmocka_unit_test(test_hosts_by_name),
        cmocka_unit_test(test_what_the_host_does_not_have),
        cmocka_unit_test(test_more_clients_than_files),
        cmocka_unit_test(test_one_address_gets_no_more_than_its_connections),
        cmocka_unit_test(test_a_failed_start_says_why),
        cmocka_unit_test(test_what_up_was_given_is_remembered),
        cmocka_unit_test(test_a_pipeline_on_other_hosts),
        cmocka_unit_test(test_another_user_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
