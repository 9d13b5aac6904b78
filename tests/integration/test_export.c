/* test_export.c - what `freezeline export` writes: systemd and compose take it, and each command line runs as
 * it stands */
#include "tool_world.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "deploy/export/systemd_words.h"

#define UNUSED   __attribute__((unused))
#define MOST     16
#define PIPELINE "name: tiny\nstages:\n  - {last: block1.out}\n  - {}\ncache: {kind: none}\n"

struct world {
    struct harness *h;
    char folder[HARNESS_PATH + 32];
    int notify; /* where services say that they are ready */
};

static struct world begin(const char *yaml)
{
    struct world w = {.h = harness_new(NULL, yaml)};
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    snprintf(w.folder, sizeof w.folder, "%s/units", harness_dir(w.h));
    snprintf(at.sun_path, sizeof at.sun_path, "%.90s/notify", harness_dir(w.h));
    w.notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w.notify, (struct sockaddr *)&at, sizeof at), 0);
    setenv("NOTIFY_SOCKET", at.sun_path, 1);
    return w;
}

static void end(struct world *w)
{
    unsetenv("NOTIFY_SOCKET");
    close(w->notify);
    harness_free(w->h);
}

/* From the file's own folder, by its name alone: what is written has to hold from anywhere. */
static int export(const struct world *w, const char *kind, const char *more)
{
    char line[4 * HARNESS_PATH];
    const char *config = harness_config(w->h);
    snprintf(
        line, sizeof line,
        "bin=$(realpath %s) && cd $(dirname %s) && $bin/freezeline export %s -c $(basename %s) --to %s %s",
        tool_folder(), config, kind, config, w->folder, more);
    return shell(line);
}

/* The words of a systemd command line, without the quotes; they lie in `line`. */
static int read_words(char *line, const char *word[MOST])
{
    int n = 0;

    for (char *at = line; *at;) {
        char *to;
        bool in = false;
        while (*at == ' ')
            at++;
        if (!*at)
            break;
        assert_true(n < MOST - 1);
        for (word[n++] = to = at; *at && (in || *at != ' '); at++) {
            if (*at == '"') {
                in = !in;
                continue;
            }
            if ((*at == '%' || *at == '$') && at[1] == *at)
                at++;
            else if (*at == '\\')
                at++;
            *to++ = *at;
        }
        at += *at == ' ';
        *to = 0;
    }
    word[n] = NULL;
    return n;
}

/* What stands behind `key` in a file of the world; false: nothing. */
static bool read_value(const struct world *w, const char *file, const char *key, char value[2048])
{
    char path[4 * HARNESS_PATH];
    bool found = false;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", w->folder, file);
    if (!(f = fopen(path, "r")))
        fail_msg("there is no %s", path);
    while (!found && fgets(value, 2048, f)) {
        found = !strncmp(value, key, strlen(key));
        value[strcspn(value, "\n")] = 0;
    }
    fclose(f);
    memmove(value, value + strlen(key), strlen(value) + 1 - (found ? strlen(key) : strlen(value)));
    return found;
}

static void wait_for_notices(const struct world *w, int n)
{
    char text[64];
    struct timeval patience = {.tv_sec = 60};

    setsockopt(w->notify, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    for (; n > 0; n--) {
        ssize_t got = recv(w->notify, text, sizeof text - 1, 0);
        assert_true(got > 0);
        text[got] = 0;
        assert_string_equal(text, "READY=1");
    }
}

static void pipeline_is_ready(const struct world *w)
{
    char line[4 * HARNESS_PATH];

    snprintf(line, sizeof line, "%s/freezeline status -c %s --json", tool_folder(), harness_config(w->h));
    for (int i = 0; i < 600; i++) {
        if (!shell(line) && strstr(output, "\"ready\": true"))
            return;
        usleep(20000);
    }
    fail_msg("%s", output);
}

static const char *const files[] = {"freezeline-tiny-broker.service", "freezeline-tiny-stage0.0.service",
                                    "freezeline-tiny-stage1.0.service"};

static void services_run_as_they_stand_and_say_that_they_are_ready(void UNUSED **state)
{
    struct world w = begin(PIPELINE);
    char value[2048];

    assert_int_equal(export(&w, "systemd", ""), 0);
    for (size_t i = 0; i < 3; i++) {
        const char *word[MOST];
        assert_true(read_value(&w, files[i], "Type=", value));
        assert_string_equal(value, "notify");
        assert_true(read_value(&w, files[i], "ExecStart=", value));
        assert_true(*value == '/');
        assert_null(strstr(value, "--log"));
        read_words(value, word);
        harness_spawn_path(w.h, word[0], word);
    }
    wait_for_notices(&w, 3);
    pipeline_is_ready(&w);
    end(&w);
}

static void systemd_finds_no_fault(void UNUSED **state)
{
    struct world w;
    char line[4 * HARNESS_PATH];

    if (shell("systemd-analyze --version")) {
        print_message("skipped: there is no systemd-analyze here (Debian: systemd)\n");
        skip();
    }
    w = begin("name: tiny\nstages: [{last: block1.out}, {}]\nredis: {managed: true}\n");
    assert_int_equal(export(&w, "systemd", ""), 0);
    snprintf(line, sizeof line,
             "SYSTEMD_UNIT_PATH=%s: systemd-analyze verify --man=no %s/*.service %s/*.target 2>&1 | "
             "grep -F freezeline; true",
             w.folder, w.folder, w.folder);
    shell(line);
    assert_string_equal(output, "");
    /* 0 is a service that may do nothing, 10 one that may do all */
    snprintf(line, sizeof line,
             "systemd-analyze security --offline=yes --threshold=40 %s/freezeline-tiny-stage0.0.service 2>&1",
             w.folder);
    if (shell(line))
        fail_msg("%s", output);
    end(&w);
}

/* Runs its arguments as a container would: process 1, an ordinary user without a home, privileges and ways to
 * get some, nothing but the state directory to write in. */
static const char contained[] =
    "#!/bin/sh\n"
    "state=$1; shift\n"
    "mount --bind \"$state\" \"$state\" && mount -o remount,bind,ro / || exit 77\n"
    "unset HOME\n"
    "exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs \\\n"
    "    --bounding-set=-all --inh-caps=-all -- \"$@\"\n";

/* Whether that can be done here; its script lies at `path` then. */
static bool contain(const struct world *w, char path[4 * HARNESS_PATH])
{
    const char *state = harness_pipeline(w->h)->state;
    char line[8 * HARNESS_PATH];
    FILE *f;

    snprintf(path, 4 * HARNESS_PATH, "%s/contained", harness_dir(w->h));
    assert_non_null(f = fopen(path, "w"));
    fputs(contained, f);
    fclose(f);
    snprintf(line, sizeof line,
             "mkdir -p %s && chown 65534 %s && chmod 755 %s && unshare --mount --pid --fork sh %s %s "
             "%s/freezeline "
             "--version",
             state, state, harness_dir(w->h), path, state, tool_folder());
    return !geteuid() && !shell(line);
}

/* Starts what stands in a line of the file, in a container where `script` says how; returns its number. */
static int start_container(struct world *w, const char *list, const char *script)
{
    const char *word[MOST + 8] = {"unshare",      "--mount", "--pid", "--fork",
                                  "--kill-child", "sh",      script,  harness_pipeline(w->h)->state};
    json_t *words = json_loads(list, 0, NULL);
    int n = script ? 8 : 0, process;
    char path[2048];

    assert_non_null(words);
    assert_true(json_array_size(words) < MOST);
    for (size_t i = 0; i < json_array_size(words); i++)
        word[n + (int)i] = json_string_value(json_array_get(words, i));
    word[n + (int)json_array_size(words)] = NULL;
    snprintf(path, sizeof path, "%.1000s/%.200s", tool_folder(), word[n]);
    word[n] = path;
    process = harness_spawn_path(w->h, script ? "/usr/bin/unshare" : path, word);
    json_decref(words);
    return process;
}

static void containers_run_what_stands_there(void UNUSED **state)
{
    struct world w = begin(PIPELINE);
    char line[2048], script[4 * HARNESS_PATH];
    bool can = contain(&w, script);
    FILE *f;
    int services = 0;

    if (!can)
        print_message("not in containers: that needs root, and programs that others may read\n");
    chmod(getenv("NOTIFY_SOCKET"), 0666);
    assert_int_equal(export(&w, "compose", "--image registry/freezeline:1"), 0);
    assert_non_null(f = fopen(w.folder, "r"));
    for (; fgets(line, sizeof line, f); services += !strncmp(line, "    command: ", 13))
        if (!strncmp(line, "    command: ", 13))
            start_container(&w, line + 13, can ? script : NULL);
    fclose(f);
    assert_int_equal(services, 3);
    wait_for_notices(&w, 3);
    pipeline_is_ready(&w);
    for (int i = 0; can && i < services; i++) { /* SIGTERM to the first process in there ends it in order */
        snprintf(line, sizeof line, "pkill -TERM -P %d", harness_pid(w.h, i));
        assert_int_equal(shell(line), 0);
        assert_int_equal(harness_wait(w.h, i), 0);
    }
    end(&w);
}

/* The rules of the Compose Specification for what is used: known keys, each of its type. */
static const char rules[] =
    "import sys, re, yaml\n"
    "d = yaml.safe_load(open(sys.argv[1]))\n"
    "assert re.fullmatch('[a-z0-9][a-z0-9_-]*', d['name']), d['name']\n"
    "assert all(k in ('name', 'services', 'volumes', 'networks', 'configs', 'secrets') or k[:2] == 'x-' for "
    "k in d)\n"
    "kinds = dict(image=str, command=list, user=str, network_mode=str, read_only=bool, tmpfs=list, "
    "cap_drop=list,\n"
    "             security_opt=list, restart=str, stop_grace_period=str, volumes=list)\n"
    "for name, s in d['services'].items():\n"
    "    assert re.fullmatch('[a-zA-Z0-9._-]+', name), name\n"
    "    assert set(s) == set(kinds), set(s) ^ set(kinds)\n"
    "    assert all(isinstance(s[k], t) for k, t in kinds.items()), s\n"
    "    assert all(isinstance(w, str) for k in ('command', 'tmpfs', 'cap_drop', 'security_opt') for w in "
    "s[k])\n"
    "    for v in s['volumes']:\n"
    "        assert set(v) <= {'type', 'source', 'target', 'read_only'} and v['type'] == 'bind', v\n"
    "        assert v['source'][0] == '/' and isinstance(v.get('read_only', False), bool), v\n"
    "print(*sorted(d['services']))\n";

static void compose_takes_the_file(void UNUSED **state)
{
    struct world w;
    char line[4 * HARNESS_PATH], script[2 * HARNESS_PATH];
    FILE *f;

    if (shell("python3 -c 'import yaml'")) {
        print_message("skipped: there is no python3-yaml here\n");
        skip();
    }
    w = begin("name: Tiny.x\nstages: [{last: block1.out}, {}]\nredis: {managed: true}\n");
    snprintf(script, sizeof script, "%s/rules.py", harness_dir(w.h));
    assert_non_null(f = fopen(script, "w"));
    fputs(rules, f);
    fclose(f);
    assert_int_equal(export(&w, "compose", "--set logs.keep=3"), 0);
    snprintf(line, sizeof line, "python3 %s %s", script, w.folder);
    if (shell(line))
        fail_msg("%s", output);
    assert_string_equal(output, "broker cache0 redis stage0.0 stage1.0\n");
    end(&w);
}

/* Each service and each container has a /tmp of its own, where sockets with too long a path would lie. */
static void a_state_path_too_long_for_sockets_is_refused(void UNUSED **state)
{
    struct world w = begin(PIPELINE);
    char set[256] = "--set state=/var/lib/";

    for (int i = 0; i < 10; i++)
        strcat(set, "longlonglong");
    strcat(set, " 2>&1");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(export(&w, i ? "compose" : "systemd", set), 2);
        assert_said("leaves no room for a socket's");
        assert_true(access(w.folder, F_OK));
    }
    end(&w);
}

/* A password that lies elsewhere than the state is there in the container. */
static void compose_brings_what_redis_wants(void UNUSED **state)
{
    struct world w =
        begin("name: tiny\nredis: {endpoint: \"127.0.0.1:6379\", password_file: /elsewhere/pw,\n"
              "  tls: true, tls_ca: /elsewhere/ca, tls_cert: /elsewhere/own, tls_key: /elsewhere/own}\n");
    char line[2 * HARNESS_PATH];

    assert_int_equal(export(&w, "compose", ""), 0);
    snprintf(line, sizeof line,
             "grep '{type: bind, source: \"/elsewhere/pw\", target: \"/elsewhere/pw\", read_only: true}' %s",
             w.folder);
    assert_int_equal(shell(line), 0);
    snprintf(line, sizeof line, "grep -c 'source: \"/elsewhere/own\"' %s", w.folder); /* of both, one mount */
    assert_int_equal(shell(line), 0);
    assert_string_equal(output, "1\n");
    end(&w);
}

static void each_host_gets_its_own(void UNUSED **state)
{
    struct world w = begin("name: tiny\nhosts: [{name: x, address: 10.1.1.1}, {name: y, address: 10.1.1.2}]\n"
                           "stages:\n  - {last: block1.out, replicas: [{host: x}]}\n"
                           "  - {replicas: [{host: y}]}\ncache: {kind: none}\nsecurity: none\n");
    char value[2048];

    assert_int_equal(export(&w, "systemd", "--bin /opt/bin --user nobody"), 0);
    assert_true(read_value(&w, "x/freezeline-tiny-stage0.0.service", "ExecStart=", value));
    assert_non_null(strstr(value, "/opt/bin/freezeline-stage -c "));
    assert_non_null(strstr(value, "--host x"));
    assert_true(read_value(&w, "y/freezeline-tiny-stage1.0.service", "User=", value));
    assert_string_equal(value, "nobody");
    assert_true(read_value(&w, "y/freezeline-tiny.target", "Wants=", value));
    assert_string_equal(value, "freezeline-tiny-stage1.0.service");
    assert_int_equal(export(&w, "compose", ""), 0);
    assert_true(read_value(&w, "y/compose.yaml", "    command: ", value));
    assert_non_null(strstr(value, "\"--host\", \"y\""));
    end(&w);
}

static void words_are_quoted_for_systemd(void UNUSED **state)
{
    static const char *const pairs[][2] = {
        {"up", "up"},           {"a b", "\"a b\""},      {"", "\"\""},
        {"100%", "\"100%%\""},  {"$HOME", "\"$$HOME\""}, {"a\"b", "\"a\\\"b\""},
        {"a\\n", "\"a\\\\n\""}, {"a\nb", "\"a\\x0ab\""}, {"a;b", "\"a;b\""}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *text;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        systemd_word(f, pairs[i][0]);
        fclose(f);
        assert_string_equal(text, pairs[i][1]);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_run_as_they_stand_and_say_that_they_are_ready),
        cmocka_unit_test(systemd_finds_no_fault),
        cmocka_unit_test(containers_run_what_stands_there),
        cmocka_unit_test(compose_takes_the_file),
        cmocka_unit_test(a_state_path_too_long_for_sockets_is_refused),
        cmocka_unit_test(compose_brings_what_redis_wants),
        cmocka_unit_test(each_host_gets_its_own),
        cmocka_unit_test(words_are_quoted_for_systemd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
