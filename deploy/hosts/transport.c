/* transport.c - a script goes to a shell on the host, what it prints comes back between two marks
 *
 * The mark before lies on stdout: what came earlier is the login shell's noise. The mark after lies on stderr
 * with the exit status; without it the connection was lost.
 */
#include "transport_way.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "child.h"
#include "deploy/tool/interrupt.h"
#include "shell_words.h"

#define AGAIN_FOR_S    20
#define AGAIN_FIRST_MS 250
#define AGAIN_LAST_MS  4000
#define NOISE_BYTES    8192
#define GRACE_MS       10000 /* for the host to end by itself what took too long */
#define STATUS_TIMEOUT 124   /* of timeout(1) */

int transport_kind_from(enum transport_kind *out, const char *word, struct error *e)
{
    static const char *const names[] = {"local", "ssh", "slurm"};

    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (!strcmp(word, names[i])) {
            *out = (enum transport_kind)i;
            return FL_OK;
        }
    return error_set(e, FL_USAGE, "no launcher '%s'; there are local, ssh, slurm", word);
}

int transport_hosts(const struct transport *t)
{
    return t->hosts->n;
}

const char *transport_host(const struct transport *t, int host)
{
    return t->hosts->host[host].name;
}

static const struct transport_way *way_of(enum transport_kind kind)
{
    static const struct transport_way *const ways[] = {&transport_way_local, &transport_way_ssh,
                                                       &transport_way_slurm};
    return ways[kind];
}

int transport_open(struct transport **out, enum transport_kind kind, const struct host_list *hosts,
                   const struct transport_options *o, struct error *e)
{
    struct transport *t;
    int rc;

    *out = NULL;
    if (!(t = calloc(1, sizeof *t)))
        return error_set(e, FL_NOMEM, "no memory");
    t->way = way_of(kind);
    t->hosts = hosts;
    if (o)
        t->options = *o;
    if (t->options.connect_s <= 0)
        t->options.connect_s = 10;
    snprintf(t->tag, sizeof t->tag, "freezeline-%llx-%x", (unsigned long long)clock_ns(), (unsigned)getpid());
    if ((rc = t->way->open(t, e)))
        transport_close(t);
    else
        *out = t;
    return rc;
}

void transport_close(struct transport *t)
{
    if (t)
        t->way->close(t);
    if (t)
        free(t->unreached);
    free(t);
}

void transport_retry(struct transport *t, int host)
{
    if (t->unreached)
        t->unreached[host] = (struct error){FL_OK, ""};
}

/* The end of what comes in, bounded. */
struct tail {
    char *text; /* 0-terminated once there is any */
    size_t size, most;
};

static void tail_add(struct tail *t, const char *text, size_t size)
{
    char *grown;

    if (size > t->most) {
        text += size - t->most;
        size = t->most;
    }
    if (t->size + size > t->most) {
        size_t drop = t->size + size - t->most;
        memmove(t->text, t->text + drop, t->size - drop);
        t->size -= drop;
    }
    if (!(grown = realloc(t->text, t->size + size + 1)))
        return; /* that much less is known */
    t->text = grown;
    memcpy(t->text + t->size, text, size);
    t->size += size;
    t->text[t->size] = 0;
}

static const char *tail_text(const struct tail *t)
{
    return t->text ? t->text : "";
}

struct call {
    const struct transport_stream *stream;
    const char *script, *begin;
    size_t left;     /* of the script */
    bool begun, fed; /* fed: more than the script was asked for */
    struct tail out, noise, err;
};

static ssize_t next_bytes(void *arg, void *to, size_t room, struct error *e)
{
    struct call *c = arg;
    size_t n = c->left < room ? c->left : room;

    c->fed = c->fed || !n;
    if (!n)
        return c->stream && c->stream->next ? c->stream->next(c->stream->arg, to, room, e) : 0;
    memcpy(to, c->script, n);
    c->script += n;
    c->left -= n;
    return (ssize_t)n;
}

static void deliver(struct call *c, const char *text, size_t size)
{
    if (c->stream && c->stream->said)
        c->stream->said(c->stream->arg, text, size);
    tail_add(&c->out, text, size);
}

/* The mark is looked for in pieces that fit: what comes right behind it may be more than is kept of noise. */
static bool take_out(void *arg, const char *text, size_t size)
{
    struct call *c = arg;
    char *begin;

    while (!c->begun && size) {
        size_t n = size < NOISE_BYTES / 2 ? size : NOISE_BYTES / 2;
        tail_add(&c->noise, text, n);
        text += n;
        size -= n;
        if ((begin = strstr(tail_text(&c->noise), c->begin))) {
            char *after = begin + strlen(c->begin);
            c->begun = true;
            deliver(c, after, c->noise.size - (size_t)(after - c->noise.text));
            *begin = 0;
        }
    }
    if (size)
        deliver(c, text, size);
    return false;
}

static void take_err(void *arg, const char *text, size_t size)
{
    struct call *c = arg;
    tail_add(&c->err, text, size);
}

void way_command_line(char buf[WAY_COMMAND_BYTES], size_t size)
{
    snprintf(buf, WAY_COMMAND_BYTES, "exec sh -c 'eval \"$(head -c %zu)\"'", size);
}

/* The script between its marks; caller frees. */
static char *with_marks(const struct transport *t, const char *script, bool fed)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        return NULL;
    fprintf(f, "exec 3>&2\nprintf '\\n%s begin\\n'\n(\n%s\n) %s2>&1 3>&-\nprintf '\\n%s end %%d\\n' $? >&3\n",
            t->tag, script, fed ? "" : "</dev/null ", t->tag);
    return fclose(f) ? free(text), NULL : text;
}

/* The status that the mark at the end tells; false: the script did not come to its end. */
static bool read_end(const struct transport *t, const struct call *c, int *status)
{
    char mark[64];
    const char *at;

    snprintf(mark, sizeof mark, "%s end ", t->tag);
    return (at = strstr(tail_text(&c->err), mark)) && sscanf(at + strlen(mark), "%d", status) == 1;
}

static int lost(const struct transport *t, int host, const struct call *c, struct error *e)
{
    if (c->begun)
        return error_set(e, FL_UNAVAILABLE, "host %s: the connection was lost while a command ran there",
                         transport_host(t, host));
    return t->way->explain(t, host, tail_text(&c->err), tail_text(&c->noise), e);
}

static int run_once(struct transport *t, int host, struct call *c, int timeout_ms, int *status,
                    struct error *e)
{
    char line[WAY_COMMAND_BYTES];
    struct way_command words = {0};
    struct child child;
    struct child_talk talk = {.next = next_bytes, .out = take_out, .err = take_err, .arg = c};
    int rc;

    if (t->unreached && t->unreached[host].code) {
        *e = t->unreached[host];
        return (int)e->code;
    }
    way_command_line(line, c->left);
    t->way->words(t, host, line, &words);
    if (timeout_ms > 0)
        talk.until_ns = clock_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    if ((rc = child_start(&child, words.argv, e)))
        return error_wrap(e, rc, "host %s", transport_host(t, host));
    rc = child_talk(&child, &talk, e);
    child_end(&child, rc ? 0 : 2000);
    if (rc)
        return error_wrap(e, rc, "host %s", transport_host(t, host));
    return read_end(t, c, status) ? FL_OK : lost(t, host, c, e);
}

/* Where no shell came for a reason that passes, once more, for a bounded time. */
static int run_call(struct transport *t, int host, struct call *c, int timeout_ms, int *status,
                    struct error *e)
{
    const struct call fresh = *c;
    uint64_t until = clock_ns() + AGAIN_FOR_S * NS_PER_S, pause_ms = AGAIN_FIRST_MS;

    for (;; pause_ms = pause_ms < AGAIN_LAST_MS ? 2 * pause_ms : AGAIN_LAST_MS) {
        int rc = run_once(t, host, c, timeout_ms, status, e);
        if (!rc || c->begun || (c->fed && c->stream && c->stream->next) || !t->way->passing ||
            !t->way->passing(t, host, tail_text(&c->err)) || clock_ns() > until || interrupt_seen())
            return rc;
        free(c->out.text);
        free(c->noise.text);
        free(c->err.text);
        *c = fresh;
        usleep((useconds_t)pause_ms * 1000);
    }
}

/* Runs it, whatever its status; the caller frees r->out. */
static int run_script(struct transport *t, int host, const char *script, const struct transport_stream *s,
                      int timeout_ms, struct host_result *r, struct error *e)
{
    char begin[64], *text = with_marks(t, script, s && s->next);
    struct call c = {.stream = s,
                     .script = text,
                     .begin = begin,
                     .left = text ? strlen(text) : 0,
                     .out.most = TRANSPORT_OUT_BYTES,
                     .noise.most = NOISE_BYTES,
                     .err.most = NOISE_BYTES};
    int rc;

    memset(r, 0, sizeof *r);
    snprintf(begin, sizeof begin, "%s begin\n", t->tag);
    rc = text ? run_call(t, host, &c, timeout_ms, &r->status, e) : error_set(e, FL_NOMEM, "no memory");
    tail_add(&c.out, "", 0);
    if (!rc && !c.out.text)
        rc = error_set(e, FL_NOMEM, "no memory");
    if (rc)
        free(c.out.text);
    else
        r->out = c.out.text;
    r->size = c.out.size;
    free(text);
    free(c.noise.text);
    free(c.err.text);
    return rc;
}

/* Hands the result over; for a caller that wants none, another status than 0 is an error. */
static int hand_over(const struct transport *t, int host, struct host_result *own, struct host_result *r,
                     struct error *e)
{
    int rc = FL_OK;

    if (r) {
        *r = *own;
        return FL_OK;
    }
    if (own->status)
        rc = error_set(e, FL_UNAVAILABLE, "host %s: exit status %d: %s", transport_host(t, host), own->status,
                       own->size > 300 ? own->out + own->size - 300 : own->out);
    free(own->out);
    return rc;
}

int transport_script(struct transport *t, int host, const char *script, const struct transport_stream *s,
                     int timeout_ms, struct host_result *r, struct error *e)
{
    struct host_result own;
    struct error why = {0};
    int rc = run_script(t, host, script, s, timeout_ms, &own, &why);

    if (!rc)
        rc = hand_over(t, host, &own, r, &why);
    if (rc && e)
        *e = why;
    return rc;
}

struct input {
    const char *at;
    size_t left;
};

static ssize_t next_input(void *arg, void *to, size_t room, struct error *e)
{
    struct input *in = arg;
    size_t n = in->left < room ? in->left : room;

    (void)e;
    memcpy(to, in->at, n);
    in->at += n;
    in->left -= n;
    return (ssize_t)n;
}

/* argv as a script, ended there by itself after timeout_ms; caller frees. */
static char *script_of(char *const *argv, int timeout_ms)
{
    char *script = NULL;
    size_t size;
    FILE *f = open_memstream(&script, &size);

    if (!f)
        return NULL;
    if (timeout_ms > 0)
        fprintf(f, "timeout -k 5 %d.%03d ", timeout_ms / 1000, timeout_ms % 1000);
    shell_words(f, argv);
    return fclose(f) ? free(script), NULL : script;
}

int transport_run(struct transport *t, int host, char *const *argv, const struct transport_bytes *in,
                  int timeout_ms, struct host_result *r, struct error *e)
{
    struct input input = {.at = in ? in->data : NULL, .left = in ? in->size : 0};
    const struct transport_stream stream = {.next = input.left ? next_input : NULL, .arg = &input};
    struct host_result own = {0};
    struct error why = {0};
    char *script = script_of(argv, timeout_ms);
    int rc =
        script ? run_script(t, host, script, &stream, timeout_ms > 0 ? timeout_ms + GRACE_MS : 0, &own, &why)
               : error_set(&why, FL_NOMEM, "no memory");

    free(script);
    if (!rc && timeout_ms > 0 && own.status == STATUS_TIMEOUT) {
        rc = error_set(&why, FL_DEADLINE, "host %s: %s took longer than %d ms and was ended",
                       transport_host(t, host), argv[0], timeout_ms);
        free(own.out);
    } else if (!rc) {
        rc = hand_over(t, host, &own, r, &why);
    }
    if (rc && e)
        *e = why;
    return rc;
}

void way_prepare_start(FILE *script, const char *program, const char *log)
{
    fputs("umask 077\nlog=", script);
    shell_word(script, log);
    fputs("\nprogram=", script);
    shell_word(script, program);
    fputs("\ncase $log in */*) mkdir -p \"${log%/*}\" || exit 1 ;; esac\n"
          ": >>\"$log\" || exit 1\n"
          "command -v \"$program\" >/dev/null || { echo \"$program: no such program there\"; exit 127; }\n",
          script);
}

static int start_in_session(struct transport *t, int host, char *const *argv, const char *log,
                            struct error *e)
{
    char *script = NULL;
    size_t size;
    FILE *f = open_memstream(&script, &size);
    int rc;

    if (!f)
        return error_set(e, FL_NOMEM, "no memory");
    way_prepare_start(f, argv[0], log);
    fputs("$(command -v setsid || command -v nohup) ", f);
    shell_words(f, argv);
    fputs(" </dev/null >>\"$log\" 2>&1 3>&- &\n", f);
    rc = fclose(f) ? error_set(e, FL_NOMEM, "no memory")
                   : transport_script(t, host, script, NULL, 60000, NULL, e);
    free(script);
    return rc;
}

int transport_start(struct transport *t, int host, char *const *argv, const char *log, struct error *e)
{
    return (t->way->start ? t->way->start : start_in_session)(t, host, argv, log, e);
}

struct each {
    pthread_t thread;
    struct transport *t;
    int host, rc;
    int (*work)(struct transport *t, int host, void *arg, struct error *e);
    void *arg;
    struct error error;
    bool started;
};

static void *each_thread(void *arg)
{
    struct each *one = arg;
    one->rc = one->work(one->t, one->host, one->arg, &one->error);
    return NULL;
}

/* The first error, and behind it those of other hosts as far as there is room. */
static int each_result(const struct each *one, int n, struct error *e)
{
    struct error all = {0};

    for (int i = 0; i < n; i++) {
        size_t used = strlen(all.text);
        if (!one[i].rc)
            continue;
        if (!all.code)
            all = one[i].error;
        else if (strcmp(one[i].error.text, one[i - 1].error.text))
            snprintf(all.text + used, sizeof all.text - used, "; %.400s", one[i].error.text);
        all.code = all.code ? all.code : (enum fl_code)one[i].rc;
    }
    if (all.code && e)
        *e = all;
    return (int)all.code;
}

int transport_each(struct transport *t,
                   int (*work)(struct transport *t, int host, void *arg, struct error *e), void *arg,
                   struct error *e)
{
    int n = t->hosts->n, rc;
    struct each *one = calloc((size_t)(n ? n : 1), sizeof *one);

    if (!one)
        return error_set(e, FL_NOMEM, "no memory");
    for (int i = 0; i < n; i++) {
        one[i] = (struct each){.t = t, .host = i, .work = work, .arg = arg};
        one[i].started = !pthread_create(&one[i].thread, NULL, each_thread, &one[i]);
    }
    for (int i = 0; i < n; i++)
        if (one[i].started)
            pthread_join(one[i].thread, NULL);
        else
            each_thread(&one[i]); /* no thread for it: now, then */
    rc = each_result(one, n, e);
    free(one);
    return rc;
}
