/* transport_ssh.c - OpenSSH's client, with the user's keys and configuration
 *
 * One connection a host: a master is opened for each (ControlMaster), and every command is a session of it.
 * The sockets of the masters lie in a folder of our own with a short path, since a socket's path holds 107
 * bytes. A master's own session reads our pipe, so it ends when this process does, however that ends.
 */
#include "transport_way.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "child.h"

#define SOCKET_FOLDER "/tmp/freezeline-ssh-XXXXXX"
#define SSH_WORDS     8
#define SAID_BYTES    4096
#define LINE_BYTES    200

struct ssh {
    char folder[sizeof SOCKET_FOLDER]; /* "" before it is made */
    char text[256];                    /* the client's words, 0 between them */
    char *word[SSH_WORDS];
    int n_words;
    struct child *master; /* one a host */
};

static const char *target(const struct host *h)
{
    return h->ssh ? h->ssh : h->address ? h->address : h->name;
}

static int read_words(struct ssh *s, const char *words, struct error *e)
{
    char *rest = NULL;

    if (!words && !(words = getenv("FREEZELINE_SSH")))
        words = "ssh";
    if (strlen(words) >= sizeof s->text)
        return error_set(e, FL_USAGE, "the ssh client's command line is longer than %zu bytes",
                         sizeof s->text - 1);
    snprintf(s->text, sizeof s->text, "%s", words);
    for (char *w = strtok_r(s->text, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        if (s->n_words == SSH_WORDS)
            return error_set(e, FL_USAGE, "the ssh client's command line has more than %d words", SSH_WORDS);
        s->word[s->n_words++] = w;
    }
    return s->n_words ? FL_OK : error_set(e, FL_USAGE, "the ssh client's command line is empty");
}

/* A name that ssh would take for an option, or that is none. */
static int check_targets(const struct host_list *hosts, struct error *e)
{
    for (int i = 0; i < hosts->n; i++) {
        const char *to = target(&hosts->host[i]);
        if (!*to || *to == '-' || strpbrk(to, " \t\r\n'\"\\`$;&|<>()"))
            return error_set(e, FL_CONFIG,
                             "host %s: '%s' is nothing that ssh can be given; write a name, an address or "
                             "user@name as hosts.%d.ssh",
                             hosts->host[i].name, to, i);
    }
    return FL_OK;
}

static void add(struct way_command *c, const char *word)
{
    if (c->n < WAY_MAX_ARGV - 1)
        c->argv[c->n++] = (char *)word;
}

/* Words of a client for host `host`: its master, or a session of it. */
static void client(const struct transport *t, int host, bool master, char *command, struct way_command *c)
{
    static const char *const options[] = {
        "-T",
        "-oBatchMode=yes", /* asks nothing: there is nobody to answer */
        "-oLogLevel=INFO", /* with less it does not say why it failed */
        "-oControlPersist=no",
        "-oServerAliveInterval=5",
        "-oServerAliveCountMax=3",
        "-oClearAllForwardings=yes",
        "-oForwardAgent=no",
        "-oForwardX11=no",
        "-oPermitLocalCommand=no",
        "-oRemoteCommand=none",
    };
    const struct ssh *s = t->own;

    for (int i = 0; i < s->n_words; i++)
        add(c, s->word[i]);
    add(c, master ? "-oControlMaster=yes" : "-oControlMaster=no");
    snprintf(c->text[0], sizeof c->text[0], "-oControlPath=%s/%d", s->folder, host);
    add(c, c->text[0]);
    snprintf(c->text[1], sizeof c->text[1], "-oConnectTimeout=%d", t->options.connect_s);
    add(c, c->text[1]);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        add(c, options[i]);
    add(c, "--");
    add(c, target(&t->hosts->host[host]));
    add(c, command);
}

static void ssh_words(const struct transport *t, int host, char *command, struct way_command *out)
{
    client(t, host, false, command, out);
}

/* The last line of `text` that is not empty and has `with` in it; "" where there is none. */
static void line_with(const char *text, const char *with, char buf[LINE_BYTES])
{
    buf[0] = 0;
    for (size_t n; *text; text += n + (text[n] != 0)) {
        char line[LINE_BYTES];
        n = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(n < sizeof line ? n : sizeof line - 1), text);
        line[strcspn(line, "\r")] = 0;
        if (line[strspn(line, " ")] && strstr(line, with))
            memcpy(buf, line, LINE_BYTES);
    }
}

/* What ssh says -> what it means here. */
static const struct {
    const char *said, *meaning;
} meanings[] = {
    {"IDENTIFICATION HAS CHANGED",
     "its host key is not the one that is known: it was set up anew, or somebody stands in between. Ask who "
     "runs it; then `ssh-keygen -R` takes the old key away"},
    {"Host key verification failed",
     "its host key is not known here: log in once by hand, compare the key and accept it"},
    {"Could not resolve hostname", "there is no such name: give its address (hosts.#.address, hosts.#.ssh)"},
    {"Connection refused", "no sshd listens there: start it, or give its port in ~/.ssh/config"},
    {"Permission denied",
     "it lets none of our keys in: name the user (hosts.#.ssh: user@host), put a key there with ssh-copy-id, "
     "and load a key that has a passphrase with ssh-add"},
    {"Too many authentication failures",
     "it was offered too many keys: name the right one (IdentityFile and IdentitiesOnly in ~/.ssh/config)"},
    {"timed out", "it does not answer: is it up, and does a firewall let us through?"},
    {"No route to host", "the network has no way to it"},
    {"Network is unreachable", "the network has no way to it"},
    {"Bad owner or permissions", "ssh refuses the configuration of this user"},
    {"Bad configuration option", "ssh refuses the configuration of this user"},
    {"Connection closed by",
     "its sshd hung up: too many connections at once (MaxStartups), or not for this user"},
    {"Connection reset by",
     "its sshd hung up: too many connections at once (MaxStartups), or not for this user"},
};

static int ssh_explain(const struct transport *t, int host, const char *said, const char *noise,
                       struct error *e)
{
    const struct host *h = &t->hosts->host[host];
    char line[LINE_BYTES];

    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (strstr(said, meanings[i].said)) {
            line_with(said, meanings[i].said, line);
            return error_set(e, FL_UNAVAILABLE, "host %s (ssh %s): %s (%s)", h->name, target(h),
                             meanings[i].meaning, line);
        }
    line_with(said, "", line);
    if (!*line)
        line_with(noise, "", line);
    return error_set(e, FL_UNAVAILABLE, "host %s (ssh %s): no shell came to run our commands: %s", h->name,
                     target(h), *line ? line : "it hung up without a word");
}

struct greeting {
    const char *mark;
    char out[SAID_BYTES], err[SAID_BYTES];
};

static void keep(char buf[SAID_BYTES], const char *text, size_t size)
{
    size_t used = strlen(buf), n;

    if (used > SAID_BYTES / 2) { /* what came last counts */
        memmove(buf, buf + used - SAID_BYTES / 4, SAID_BYTES / 4 + 1);
        used = SAID_BYTES / 4;
    }
    if (size > SAID_BYTES / 2) {
        text += size - SAID_BYTES / 2;
        size = SAID_BYTES / 2;
    }
    for (n = 0; n < size; n++)
        if (text[n])
            buf[used++] = text[n];
    buf[used] = 0;
}

static bool greeted(void *arg, const char *text, size_t size)
{
    struct greeting *g = arg;
    keep(g->out, text, size);
    return strstr(g->out, g->mark) != NULL;
}

static void complained(void *arg, const char *text, size_t size)
{
    struct greeting *g = arg;
    keep(g->err, text, size);
}

/* Whether the master has come to a shell there that runs what we say; it stays in it. */
static int wait_for_greeting(struct transport *t, int host, struct child *master, struct error *e)
{
    struct greeting g = {.mark = t->tag};
    /* Names are looked up, keys offered and a login shell started on top of what ConnectTimeout bounds. */
    const struct child_talk talk = {.out = greeted,
                                    .err = complained,
                                    .arg = &g,
                                    .until_ns =
                                        clock_ns() + (uint64_t)(2 * t->options.connect_s + 5) * NS_PER_S};
    int rc = child_talk(master, &talk, e);

    if (rc == FL_DEADLINE)
        return error_set(
            e, FL_UNAVAILABLE, "host %s (ssh %s): no shell within %d s: its sshd or its login shell hangs",
            transport_host(t, host), target(&t->hosts->host[host]), 2 * t->options.connect_s + 5);
    return rc ? rc : strstr(g.out, g.mark) ? FL_OK : ssh_explain(t, host, g.err, g.out, e);
}

static int open_master(struct transport *t, int host, void *arg, struct error *e)
{
    struct ssh *s = arg;
    struct child *master = &s->master[host];
    struct way_command words = {0};
    char line[WAY_COMMAND_BYTES], script[128];
    int size = snprintf(script, sizeof script, "echo %s; exec cat >/dev/null\n", t->tag), rc;

    way_command_line(line, (size_t)size);
    client(t, host, true, line, &words);
    if ((rc = child_start(master, words.argv, e)))
        return error_wrap(e, rc, "host %s: install openssh-client, or name another client as FREEZELINE_SSH",
                          transport_host(t, host));
    send(master->in, script, (size_t)size,
         MSG_NOSIGNAL); /* less than what a socket holds; lost: see stderr */
    if ((rc = wait_for_greeting(t, host, master, e)))
        t->unreached[host] = *e;
    return rc;
}

static bool any_reached(const struct transport *t)
{
    for (int i = 0; i < t->hosts->n; i++)
        if (!t->unreached[i].code)
            return true;
    return false;
}

static int ssh_open(struct transport *t, struct error *e)
{
    struct ssh *s = t->own = calloc(1, sizeof *s);
    int rc;

    t->unreached = calloc((size_t)t->hosts->n + 1, sizeof *t->unreached);
    if (!s || !t->unreached || !(s->master = calloc((size_t)t->hosts->n + 1, sizeof *s->master)))
        return error_set(e, FL_NOMEM, "no memory");
    for (int i = 0; i < t->hosts->n; i++)
        s->master[i] = (struct child){.in = -1, .out = -1, .err = -1};
    if ((rc = read_words(s, t->options.ssh, e)) || (rc = check_targets(t->hosts, e)))
        return rc;
    snprintf(s->folder, sizeof s->folder, "%s", SOCKET_FOLDER);
    if (!mkdtemp(s->folder)) {
        s->folder[0] = 0;
        return error_set(e, FL_IO, "cannot make a folder %s for ssh's sockets: %s", SOCKET_FOLDER,
                         strerror(errno));
    }
    rc = transport_each(t, open_master, s, e);
    return rc == FL_UNAVAILABLE && t->options.some && any_reached(t) ? FL_OK : rc;
}

static int close_master(struct transport *t, int host, void *arg, struct error *e)
{
    struct ssh *s = arg;

    (void)t;
    (void)e;
    child_end(&s->master[host], 2000);
    return FL_OK;
}

static void ssh_close(struct transport *t)
{
    struct ssh *s = t->own;

    if (!s)
        return;
    if (s->master)
        transport_each(t, close_master, s, NULL);
    for (int i = 0; *s->folder && i < t->hosts->n; i++) {
        char path[64]; /* of a master that was killed */
        snprintf(path, sizeof path, "%s/%d", s->folder, i);
        unlink(path);
    }
    if (*s->folder)
        rmdir(s->folder);
    free(s->master);
    free(s);
}

const struct transport_way transport_way_ssh = {
    .open = ssh_open,
    .close = ssh_close,
    .words = ssh_words,
    .explain = ssh_explain,
};
