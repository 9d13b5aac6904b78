/* fleet.c - launch.json, and freezeline's commands on the hosts */
#include "fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/whole_file.h"
#include "deploy/hosts/shipment.h"
#include "deploy/hosts/slurm_job.h"
#include "deploy/tool/state.h"
#include "deploy/process/serving.h"
#include "deploy/process/word.h"

#define FILE_NAME "launch.json"
#define FILE_MOST (1 << 20)

/* One that no program takes for an option. */
static bool is_word(const char *text)
{
    return text && *text && *text != '-' && !strpbrk(text, " \t\r\n");
}

/* NAME-HASH: the same for the same pipeline of the same machine. */
static void name_files(char *buf, size_t size, const struct pipeline *p)
{
    uint64_t hash = 1469598103934665603ull; /* FNV-1a */
    char host[256] = "";

    gethostname(host, sizeof host - 1);
    for (int i = 0; i < 2; i++)
        for (const char *c = i ? p->state : host; *c; c++)
            hash = (hash ^ (unsigned char)*c) * 1099511628211ull;
    snprintf(buf, size, "%.20s-%08x", p->name, (unsigned)(hash ^ hash >> 32));
    for (char *c = buf; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c))
            *c = '_';
}

/* host[] and folder[] from the JSON. */
static int take_hosts(struct fleet *f, const struct pipeline *p, const char *path, struct error *e)
{
    const json_t *hosts = json_object_get(f->root, "hosts");
    const char *on = json_string_value(json_object_get(f->root, "on"));
    char id[SHIPMENT_ID_BYTES];

    snprintf(f->on, sizeof f->on, "%s", on ? on : "");
    f->n = (int)json_array_size(hosts);
    if (f->n < 1 || f->n > PIPELINE_MAX_HOSTS || transport_kind_from(&f->kind, f->on, NULL))
        return error_set(e, FL_CORRUPT, "%s is not understood: end what runs on the hosts, and remove it",
                         path);
    for (int i = 0; i < f->n; i++) {
        const json_t *h = json_array_get(hosts, (size_t)i);
        f->host[i] = (struct host){.name = json_string_value(json_object_get(h, "name")),
                                   .address = json_string_value(json_object_get(h, "address")),
                                   .ssh = json_string_value(json_object_get(h, "ssh"))};
        f->folder[i] = json_string_value(json_object_get(h, "folder"));
        if (!is_word(f->host[i].name) || !is_word(f->host[i].address) || !is_word(f->host[i].ssh))
            return error_set(e, FL_CORRUPT, "%s is not understood: a host has no name, or no such name",
                             path);
    }
    f->list = (struct host_list){f->host, f->n};
    snprintf(f->log, sizeof f->log, "%s/logs/slurm.log", p->state);
    f->job = json_string_value(json_object_get(f->root, "job"));
    if (!json_is_string(json_object_get(f->root, "id"))) { /* a new one */
        name_files(id, sizeof id, p);
        json_object_set_new(f->root, "id", json_string(id));
    }
    if (!(f->id = json_string_value(json_object_get(f->root, "id"))))
        return error_set(e, FL_NOMEM, "no memory");
    return FL_OK;
}

int fleet_new(struct fleet *f, const struct pipeline *p, const char *on, const char *job, struct error *e)
{
    json_t *hosts = json_array();

    memset(f, 0, sizeof *f);
    for (int i = 0; i < p->n_hosts; i++)
        json_array_append_new(hosts, json_pack("{s:s, s:s, s:s}", "name", p->host[i].name, "address",
                                               p->host[i].address, "ssh", p->host[i].ssh));
    f->root = json_pack("{s:s, s:o}", "on", on, "hosts", hosts);
    if (!f->root)
        return error_set(e, FL_NOMEM, "no memory");
    if (!p->n_hosts)
        return error_set(
            e, FL_CONFIG,
            "--on %s: %s names no `hosts`: write them there, or give a host file with --hosts FILE", on,
            p->path);
    job = job ? job : slurm_job_here();
    if (!strcmp(on, "slurm") && job)
        json_object_set_new(f->root, "job", json_string(job));
    return take_hosts(f, p, p->path, e);
}

bool fleet_there(const struct pipeline *p)
{
    return word_there(p, FILE_NAME);
}

int fleet_parse(struct fleet *f, const struct pipeline *p, const char *text, size_t size, const char *path,
                struct error *e)
{
    json_error_t why;

    memset(f, 0, sizeof *f);
    if (!(f->root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why)))
        return error_set(e, FL_CORRUPT, "%s: %s", path, why.text);
    return take_hosts(f, p, path, e);
}

int fleet_load(struct fleet *f, const struct pipeline *p, struct error *e)
{
    char path[STATE_PATH_BYTES];
    void *text = NULL;
    size_t size;
    int rc = state_path(path, p, e, "run/" FILE_NAME);

    memset(f, 0, sizeof *f);
    if (!rc && !(rc = file_read(&text, &size, path, FILE_MOST, e)))
        rc = fleet_parse(f, p, text, size, path, e);
    free(text);
    return rc;
}

int fleet_save(struct fleet *f, const struct pipeline *p, struct error *e)
{
    char *text = json_dumps(f->root, JSON_COMPACT);
    int rc = FL_OK;

    if (!text)
        return error_set(e, FL_NOMEM, "no memory");
    word_leave(p, FILE_NAME, text);
    if (!fleet_there(p))
        rc = error_set(e, FL_IO, "cannot write %s/run/" FILE_NAME, p->state);
    free(text);
    return rc;
}

void fleet_forget(const struct pipeline *p)
{
    word_remove(p, FILE_NAME);
    word_remove(p, SERVING_PLACED);
}

int fleet_lock(int *lock, const struct pipeline *p, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc = state_path(path, p, e, "run/launch.lock");

    *lock = -1;
    return rc ? rc : state_lock(lock, path, "starting, stopping or changing it on its hosts", e);
}

void fleet_set_folder(struct fleet *f, int host, const char *folder)
{
    json_t *h = json_array_get(json_object_get(f->root, "hosts"), (size_t)host);
    json_object_set_new(h, "folder", json_string(folder));
    f->folder[host] = json_string_value(json_object_get(h, "folder"));
}

int fleet_open(struct fleet *f, struct error *e)
{
    const struct transport_options o = {.job = f->job, .log = f->log};
    return transport_open(&f->transport, f->kind, &f->list, &o, e);
}

int fleet_open_some(struct fleet *f, struct error *e)
{
    const struct transport_options o = {.job = f->job, .log = f->log, .some = true};
    return transport_open(&f->transport, f->kind, &f->list, &o, e);
}

void fleet_close(struct fleet *f)
{
    transport_close(f->transport);
    json_decref(f->root);
    memset(f, 0, sizeof *f);
}

void fleet_words(struct fleet_words *w, const struct fleet *f, int host, const char *const *words)
{
    const char *folder = f->folder[host] ? f->folder[host] : ".";
    int n = 0;

    snprintf(w->program, sizeof w->program, "%s/bin/freezeline", folder);
    snprintf(w->config, sizeof w->config, "%s/pipeline.yaml", folder);
    w->argv[n++] = w->program;
    for (; *words && n < FLEET_MAX_WORDS - 5; words++)
        w->argv[n++] = (char *)(uintptr_t)*words;
    w->argv[n++] = "-c";
    w->argv[n++] = w->config;
    w->argv[n++] = "--host";
    w->argv[n++] = (char *)(uintptr_t)f->host[host].name;
    w->argv[n] = NULL;
}

int fleet_run(struct fleet *f, int host, const char *const *words, int timeout_ms, struct host_result *r,
              struct error *e)
{
    struct fleet_words w;

    if (!f->folder[host])
        return error_set(e, FL_NOT_FOUND, "%s: nothing was started there", f->host[host].name);
    fleet_words(&w, f, host, words);
    return transport_run(f->transport, host, w.argv, NULL, timeout_ms, r, e);
}

/* The last line that a command printed, without "freezeline COMMAND: "; the lines before go to stderr. */
static void take_last_line(const char *host, char *out, char *buf, size_t size)
{
    char *end = out + strlen(out), *line;

    while (end > out && end[-1] == '\n')
        *--end = '\0';
    line = strrchr(out, '\n');
    if (line) {
        *line++ = '\0';
        for (char *rest = out, *one; (one = strsep(&rest, "\n"));)
            fprintf(stderr, "%s: %s\n", host, one);
    } else {
        line = out;
    }
    if (!strncmp(line, "freezeline ", 11) && strstr(line, ": "))
        line = strstr(line, ": ") + 2;
    snprintf(buf, size, "%s", line);
}

int fleet_ask(struct fleet *f, int host, const char *const *words, int timeout_ms, char *said, size_t size,
              struct error *e)
{
    struct host_result r = {0};
    char last[400];
    int rc = fleet_run(f, host, words, timeout_ms, &r, e);

    if (rc)
        return rc;
    take_last_line(f->host[host].name, r.out, last, sizeof last);
    if (r.status)
        rc = error_set(e, r.status == 2 ? FL_CONFIG : FL_UNAVAILABLE, "host %s: %s", f->host[host].name,
                       last[0] ? last : "the command failed and said nothing");
    if (said)
        snprintf(said, size, "%.*s", (int)size - 1, last);
    free(r.out);
    return rc;
}

int fleet_host(const struct fleet *f, const char *name)
{
    for (int i = 0; i < f->n; i++)
        if (!strcmp(f->host[i].name, name))
            return i;
    return -1;
}
