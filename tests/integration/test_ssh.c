/* test_ssh.c - hosts by a real sshd of this user on loopback, with throw-away keys
 *
 * One sshd listens at a port for each kind of host: "a", "b", "c" have home folders of their own, "noisy" has
 * a login shell that prints, "nologin" one that lets nobody in.
 */
#include "tool_world.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "deploy/hosts/ship.h"

#define UNUSED __attribute__((unused))

enum { A, B, C, NOISY, NOLOGIN, SILENT, CLOSED, PORTS };

static const char *const names[PORTS] = {"a", "b", "c", "noisy", "nologin", "silent", "closed"};

struct world {
    struct harness *h;
    int port[PORTS], silent;
    struct error e;
    struct shipped shipped[3];
    char client[HARNESS_PATH + 32];
};

static const char *sshd;

static int bound(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static FILE *create(const struct world *w, const char *name, mode_t mode)
{
    char path[HARNESS_PATH + 64];
    int fd;

    snprintf(path, sizeof path, "%s/%s", harness_dir(w->h), name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    return fdopen(fd, "w");
}

static void make_keys(const struct world *w)
{
    char line[3 * HARNESS_PATH];

    for (const char *const *name = (const char *const[]){"host", "other", "user", NULL}; *name; name++) {
        snprintf(line, sizeof line, "ssh-keygen -q -t ed25519 -N '' -C test -f %s/%s", harness_dir(w->h),
                 *name);
        assert_int_equal(shell(line), 0);
    }
}

static void configure_server(const struct world *w)
{
    const char *d = harness_dir(w->h);
    FILE *f = create(w, "sshd_config", 0600);

    for (int i = 0; i <= NOLOGIN; i++)
        fprintf(f, "ListenAddress 127.0.0.1:%d\n", w->port[i]);
    fprintf(f,
            "HostKey %s/host\nAuthorizedKeysFile %s/user.pub\nStrictModes no\nUsePAM no\nPidFile none\n"
            "PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n",
            d, d);
    for (int i = A; i <= C; i++)
        fprintf(
            f,
            "Match LocalPort %d\n SetEnv HOME=%s/home-%s\n ForceCommand cd; eval \"$SSH_ORIGINAL_COMMAND\"\n",
            w->port[i], d, names[i]);
    fprintf(f,
            "Match LocalPort %d\n ForceCommand echo Welcome; echo to this host >&2; eval "
            "\"$SSH_ORIGINAL_COMMAND\"; "
            "s=$?; echo Good bye >&2; exit $s\n",
            w->port[NOISY]);
    fprintf(f, "Match LocalPort %d\n ForceCommand echo This account is currently not available.; exit 1\n",
            w->port[NOLOGIN]);
    fclose(f);
}

/* `known` is the file whose key counts as the hosts'; NULL: none is known. */
static void configure_client(struct world *w, const char *known, const char *more)
{
    const char *d = harness_dir(w->h);
    char line[4 * HARNESS_PATH];
    FILE *f = create(w, "config", 0600);

    fputs(more, f);
    for (int i = 0; i < PORTS; i++)
        fprintf(f, "Host %s\n HostName 127.0.0.1\n Port %d\n", names[i], w->port[i]);
    fprintf(f,
            "Host *\n IdentityFile %s/user\n IdentitiesOnly yes\n UserKnownHostsFile %s/known\n"
            " GlobalKnownHostsFile none\n HostKeyAlias these\n",
            d, d);
    fclose(f);
    snprintf(line, sizeof line, "printf 'these ' | cat - %s/%s >%s/known", d, known ? known : "none", d);
    if (known)
        assert_int_equal(shell(line), 0);
    else
        fclose(create(w, "known", 0600));
    snprintf(w->client, sizeof w->client, "ssh -F %s/config", d);
    setenv("FREEZELINE_SSH", w->client, 1);
}

static struct world *begin(void)
{
    struct world *w;
    int fd[PORTS], process;
    char path[HARNESS_PATH + 64];

    if (!sshd) {
        print_message("skipped: there is no sshd here (Debian: openssh-server)\n");
        skip();
    }
    w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->h = harness_new(NULL, "");
    for (int i = 0; i < PORTS; i++)
        fd[i] = bound(&w->port[i]);
    assert_int_equal(listen(fd[SILENT], 8), 0);
    w->silent = fd[SILENT];
    for (int i = 0; i < PORTS; i++)
        if (i != SILENT)
            close(fd[i]);
    for (int i = A; i <= C; i++) {
        snprintf(path, sizeof path, "%s/home-%s", harness_dir(w->h), names[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    make_keys(w);
    configure_server(w);
    configure_client(w, "host.pub", "");
    snprintf(path, sizeof path, "%s/sshd_config", harness_dir(w->h));
    process = harness_spawn_path(w->h, sshd, (const char *const[]){sshd, "-D", "-e", "-f", path, NULL});
    harness_expect(w->h, process, "Server listening", NOLOGIN + 1);
    return w;
}

static void end(struct world *w)
{
    close(w->silent);
    harness_free(w->h);
    free(w);
}

static struct transport *open_to(struct world *w, const struct host_list *hosts)
{
    struct transport *t;
    if (transport_open(&t, TRANSPORT_SSH, hosts, NULL, &w->e))
        fail_msg("%s", w->e.text);
    return t;
}

static const struct host abc[] = {{.name = "one", .ssh = "a"}, {.name = "two", .ssh = "b"}, {.name = "c"}};
static const struct host_list three = {abc, 3};

static struct host_list only(struct host *h, const char *ssh)
{
    *h = (struct host){.name = "x", .ssh = ssh};
    return (struct host_list){h, 1};
}

static void load(struct world *w, struct shipment *s)
{
    char path[256], *programs[] = {path};

    snprintf(path, sizeof path, "%s/freezeline", tool_folder());
    if (shipment_init(s, "demo", &w->e) || shipment_add_programs(s, programs, 1, &w->e) ||
        shipment_add(s, SHIPMENT_ALL, "tests/data/tiny.onnx", "model/tiny.onnx", &w->e) ||
        shipment_add(s, 1, "tests/data/tiny.onnx", "keys/only two has it", &w->e))
        fail_msg("%s", w->e.text);
}

static int ship_it(struct world *w, struct transport *t, const struct shipment *s)
{
    const struct ship_options o = {.directory = ".cache/freezeline"};
    return ship(t, s, &o, w->shipped, &w->e);
}

static void three_hosts_get_it_once(void UNUSED **state)
{
    struct world *w = begin();
    struct transport *t = open_to(w, &three);
    struct shipment s;
    struct host_result r;
    char program[1100], home[1024];

    load(w, &s);
    if (ship_it(w, t, &s))
        fail_msg("%s", w->e.text);
    for (int i = 0; i < 3; i++) {
        snprintf(home, sizeof home, "%s/home-%s/.cache/freezeline/pipelines/demo@%s", harness_dir(w->h),
                 names[i], abc[i].name);
        assert_string_equal(w->shipped[i].folder, home);
        assert_int_equal(w->shipped[i].bytes, s.file[0].bytes + s.file[s.n - 1].bytes);
        snprintf(program, sizeof program, "%s/bin/freezeline", home);
        char *argv[] = {program, (char *)"--version", NULL};
        assert_int_equal(transport_run(t, i, argv, NULL, 60000, &r, &w->e), FL_OK);
        assert_int_equal(r.status, 0);
        assert_non_null(strstr(r.out, "freezeline"));
        free(r.out);
        snprintf(home, sizeof home, "%s/keys/only two has it", w->shipped[i].folder);
        assert_int_equal(access(home, F_OK), i == 1 ? 0 : -1);
    }
    transport_close(t);
    t = open_to(w, &three);
    if (ship_it(w, t, &s))
        fail_msg("%s", w->e.text);
    for (int i = 0; i < 3; i++)
        assert_int_equal(w->shipped[i].bytes, 0);
    transport_close(t);
    shipment_free(&s);
    end(w);
}

/* An ssh whose input breaks off after 3 MB, in the middle of the first file. */
static void a_copy_that_breaks_off_goes_on(void UNUSED **state)
{
    struct world *w = begin();
    struct transport *t;
    struct shipment s;
    struct host h;
    struct host_list a = only(&h, "a");
    char path[HARNESS_PATH + 64];
    FILE *f = create(w, "short-ssh", 0700);

    fprintf(f,
            "#!/bin/sh\ncase $* in *ControlMaster=yes*) exec %s \"$@\" ;; esac\n"
            "head -c 3000000 | %s \"$@\"\n",
            w->client, w->client);
    fclose(f);
    snprintf(path, sizeof path, "%s/short-ssh", harness_dir(w->h));
    setenv("FREEZELINE_SSH", path, 1);
    load(w, &s);
    t = open_to(w, &a);
    assert_int_equal(ship_it(w, t, &s), FL_IO);
    if (!strstr(w->e.text, "host x") || !strstr(w->e.text, "the copy broke off"))
        fail_msg("%s", w->e.text);
    transport_close(t);
    setenv("FREEZELINE_SSH", w->client, 1);
    t = open_to(w, &a);
    if (ship_it(w, t, &s))
        fail_msg("%s", w->e.text);
    assert_in_range(w->shipped[0].bytes, s.file[0].bytes + s.file[s.n - 2].bytes - 3000000,
                    s.file[0].bytes + s.file[s.n - 2].bytes - 2900000);
    transport_close(t);
    shipment_free(&s);
    end(w);
}

static void noise_of_a_login_shell_is_left_out(void UNUSED **state)
{
    struct world *w = begin();
    struct host h;
    struct host_list noisy = only(&h, "noisy");
    struct transport *t = open_to(w, &noisy);
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)"cat; echo said; exit 3", NULL};
    struct transport_bytes in = {"it's $HOME\n", 11};
    struct host_result r;

    assert_int_equal(transport_run(t, 0, argv, &in, 60000, &r, &w->e), FL_OK);
    assert_int_equal(r.status, 3);
    assert_string_equal(r.out, "it's $HOME\nsaid\n");
    free(r.out);
    transport_close(t);
    end(w);
}

static void refused(struct world *w, const char *ssh, const char *says)
{
    struct host h;
    struct host_list one = only(&h, ssh);
    struct transport_options o = {.connect_s = 1};
    struct transport *t;
    int rc = transport_open(&t, TRANSPORT_SSH, &one, &o, &w->e);

    assert_null(t);
    if ((rc != FL_UNAVAILABLE && rc != FL_CONFIG && rc != FL_NOT_FOUND) || !strstr(w->e.text, says) ||
        !strstr(w->e.text, "host x"))
        fail_msg("%s: '%s' does not say '%s'", ssh, w->e.text, says);
}

static void each_refusal_says_what_to_do(void UNUSED **state)
{
    struct world *w = begin();

    refused(w, "closed", "no sshd listens there");
    refused(w, "silent", "does not answer");
    refused(w, "nologin", "This account is currently not available");
    refused(w, "nobody-here@a", "lets none of our keys in");
    refused(w, "no-such-name.invalid", "there is no such name");
    refused(w, "-oProxyCommand=touch /tmp/x", "nothing that ssh can be given");
    refused(w, "a b", "nothing that ssh can be given");
    configure_client(w, NULL, "");
    refused(w, "a", "not known here");
    configure_client(w, "other.pub", "");
    refused(w, "a", "not the one that is known");
    configure_client(w, "host.pub", "NoSuchOption yes\n");
    refused(w, "a", "refuses the configuration");
    setenv("FREEZELINE_SSH", "/no/such/ssh", 1);
    refused(w, "a", "install openssh-client");
    end(w);
}

/* Options of the user's that would get in the way do not, and one bad host of three is named. */
static void the_users_configuration_counts_but_for_what_breaks_it(void UNUSED **state)
{
    struct world *w = begin();
    const struct host two[] = {{.name = "good", .ssh = "a"}, {.name = "bad", .ssh = "closed"}};
    const struct host_list hosts = {two, 2};
    char *argv[] = {(char *)"true", NULL};
    struct transport *t;

    configure_client(w, "host.pub",
                     "RemoteCommand echo hello\nRequestTTY force\nControlMaster auto\nControlPath none\n"
                     "LogLevel QUIET\nLocalForward 127.0.0.1:1 127.0.0.1:1\n");
    t = open_to(w, &three);
    assert_int_equal(transport_run(t, 2, argv, NULL, 0, NULL, &w->e), FL_OK);
    transport_close(t);
    assert_int_equal(transport_open(&t, TRANSPORT_SSH, &hosts, NULL, &w->e), FL_UNAVAILABLE);
    assert_non_null(strstr(w->e.text, "host bad"));
    assert_null(strstr(w->e.text, "host good"));
    end(w);
}

static bool has_file(void *arg)
{
    return access(arg, F_OK) == 0;
}

static void what_was_started_outlives_the_connection(void UNUSED **state)
{
    struct world *w = begin();
    struct transport *t = open_to(w, &three);
    char go[HARNESS_PATH + 64], done[HARNESS_PATH + 64], log[HARNESS_PATH + 64];
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)"read -r word <\"$0\"; echo \"$word\" >\"$1\"",
                    go,           done,         NULL};
    FILE *f;

    snprintf(go, sizeof go, "%s/go", harness_dir(w->h));
    snprintf(done, sizeof done, "%s/done", harness_dir(w->h));
    snprintf(log, sizeof log, "%s/logs/started.log", harness_dir(w->h));
    assert_int_equal(mkfifo(go, 0600), 0);
    assert_int_equal(transport_start(t, 1, argv, log, &w->e), FL_OK);
    transport_close(t);
    assert_non_null(f = fopen(go, "w"));
    fputs("on\n", f);
    fclose(f);
    harness_until(has_file, done, 60, "what was started");
    end(w);
}

/* Nothing of the connections is left: no master, no folder. */
static void nothing_is_left(void UNUSED **state)
{
    struct world *w = begin();
    struct transport *t = open_to(w, &three);
    char line[HARNESS_PATH + 128];

    snprintf(line, sizeof line, "pgrep -f -- '-F %s/config' | wc -l | tr -d '\\n'", harness_dir(w->h));
    shell(line);
    assert_true(atoi(output) >= 3);
    transport_close(t);
    shell(line);
    assert_int_equal(atoi(output), 1); /* the shell that asks */
    end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_hosts_get_it_once),
        cmocka_unit_test(a_copy_that_breaks_off_goes_on),
        cmocka_unit_test(noise_of_a_login_shell_is_left_out),
        cmocka_unit_test(each_refusal_says_what_to_do),
        cmocka_unit_test(the_users_configuration_counts_but_for_what_breaks_it),
        cmocka_unit_test(what_was_started_outlives_the_connection),
        cmocka_unit_test(nothing_is_left),
    };
    sshd = !access("/usr/sbin/sshd", X_OK) && !access("/usr/bin/ssh", X_OK) ? "/usr/sbin/sshd" : NULL;
    if (sshd && !geteuid())
        mkdir("/run/sshd", 0755); /* where it is missing sshd does not start as root */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
