/* served.c - comparing what is told with what the files say, and saying it */
#include "served.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "running.h"

#define ASK_MS 3000

static bool told(const uint8_t digest[DIGEST_BYTES])
{
    static const uint8_t none[DIGEST_BYTES];
    return memcmp(digest, none, sizeof none) != 0;
}

static bool same(const uint8_t a[DIGEST_BYTES], const uint8_t b[DIGEST_BYTES])
{
    return !memcmp(a, b, DIGEST_BYTES);
}

/* What serves: all workers that take requests have the same plan. */
static void take_stages(struct served *out, const struct status_reply *r)
{
    for (int i = 0; i < r->n_processes && !out->stages; i++) {
        const struct process_status *s = &r->process[i];
        if (s->role != ROLE_STAGE || !told(s->model) || !strcmp(s->state, "dead") ||
            !strcmp(s->state, "waiting"))
            continue;
        out->stages = true;
        memcpy(out->model, s->model, sizeof out->model);
        memcpy(out->identity, s->identity, sizeof out->identity);
        memcpy(out->plan, s->plan, sizeof out->plan);
    }
}

static void take_waiting(struct served *out, const struct status_reply *r)
{
    for (int i = 0; i < r->n_processes && out->n_waiting < PIPELINE_MAX_WORKERS; i++)
        if (r->process[i].role == ROLE_STAGE && !strcmp(r->process[i].state, "waiting"))
            out->waiting[out->n_waiting++] =
                (struct served_waiting){r->process[i].stage, r->process[i].replica, r->process[i].pid};
}

static enum served_file compare_file(const struct served *s, const struct model_shape *m)
{
    if (!s->stages || !m)
        return SERVED_UNKNOWN;
    if (!same(s->model, m->identity.model))
        return SERVED_OTHER_MODEL;
    if (told(s->identity) && !same(s->identity, m->identity.digest))
        return SERVED_OTHER_INPUT;
    return told(s->plan) && !same(s->plan, m->plan) ? SERVED_OTHER_PLAN : SERVED_SAME;
}

static enum served_caches state_of(const struct served *s, const struct process_status *p)
{
    bool learns = p->caches.promise.made && !p->caches.built;
    if (!told(p->caches.build) || (!p->caches.built && !learns))
        return SERVED_CACHES_NONE;
    if (s->stages && !same(p->identity, s->identity))
        return SERVED_CACHES_FOREIGN;
    if (learns)
        return SERVED_CACHES_COLD;
    return p->caches.loaded < p->caches.built ? SERVED_CACHES_PART : SERVED_CACHES_ANSWER;
}

static void take_services(struct served *out, const struct status_reply *r, const struct pipeline *p)
{
    for (int i = 0; i < r->n_processes; i++)
        out->learns |= r->process[i].role == ROLE_LEARNER;
    for (int i = 0; i < r->n_processes && out->n_services < PIPELINE_MAX_CACHES; i++) {
        const struct process_status *from = &r->process[i];
        struct served_service *to = &out->service[out->n_services];
        if (from->role != ROLE_CACHE || !strcmp(from->state, "dead"))
            continue;
        *to = (struct served_service){from->replica, state_of(out, from), from->caches};
        out->n_services++;
        if (!out->answers.known && to->state != SERVED_CACHES_NONE && to->state != SERVED_CACHES_FOREIGN)
            promise_record_hear(&out->answers, &to->told, p);
        out->unserved |= out->built.known && !same(to->told.build, out->built.build);
    }
}

void served_take(struct served *out, const struct status_reply *r, const struct model_shape *m,
                 const struct promise_record *built, const struct pipeline *p)
{
    memset(out, 0, sizeof *out);
    out->built = *built;
    out->fits = built->known && m && same(built->identity, m->identity.digest);
    out->ready = r->ready;
    take_stages(out, r);
    take_waiting(out, r);
    take_services(out, r, p);
    out->file = compare_file(out, m);
}

int served_ask(struct served *out, const struct pipeline *p, const struct model_shape *m, struct error *e)
{
    struct promise_record built;
    struct status_reply *s = malloc(sizeof *s);
    int rc = s ? running_ask(p, ASK_MS, s, e) : error_set(e, FL_NOMEM, "no memory");

    if (!rc) {
        promise_record_load(&built, p);
        served_take(out, s, m, &built, p);
    }
    free(s);
    return rc;
}

static int note_file(const struct served *s, const struct pipeline *p, char note[SERVED_NOTE_BYTES])
{
    static const char *const what[] = {[SERVED_OTHER_MODEL] = "another model",
                                       [SERVED_OTHER_INPUT] = "another `input`, precision or `labels`",
                                       [SERVED_OTHER_PLAN] = "other cuts or exits"};
    if (s->file == SERVED_UNKNOWN || s->file == SERVED_SAME)
        return 0;
    snprintf(note, SERVED_NOTE_BYTES,
             "the pipeline serves %s than %.80s describes now: `freezeline apply -c %.80s` takes what it "
             "describes",
             what[s->file], p->path, p->path);
    return 1;
}

/* When the file is what is served, those that wait are of something older, or newer and taken back. */
static int note_waiting(const struct served *s, const struct pipeline *p, char note[SERVED_NOTE_BYTES])
{
    const struct served_waiting *w = &s->waiting[0];
    if (!s->n_waiting)
        return 0;
    if (s->file == SERVED_SAME)
        snprintf(note, SERVED_NOTE_BYTES,
                 "stage%u.%u (pid %llu) waits: it was started from something else than %.80s describes now; "
                 "end it, and "
                 "it comes back with that",
                 w->stage, w->replica, (unsigned long long)w->pid, p->path);
    else
        snprintf(note, SERVED_NOTE_BYTES,
                 "%d stage worker%s of another plan wait%s for the pipeline to move on", s->n_waiting,
                 s->n_waiting == 1 ? "" : "s", s->n_waiting == 1 ? "s" : "");
    return 1;
}

/* A build that would answer after a reload, or that fits nothing. */
static int note_build(const struct served *s, const struct pipeline *p, char note[SERVED_NOTE_BYTES])
{
    if (!s->unserved)
        return 0;
    if (s->fits)
        snprintf(note, SERVED_NOTE_BYTES,
                 "a build in %.80s/caches is not served yet: `freezeline apply -c %.80s` takes it", p->state,
                 p->path);
    else
        snprintf(note, SERVED_NOTE_BYTES,
                 "the caches in %.80s/caches are of another model than %.80s describes: build again",
                 p->state, p->path);
    return 1;
}

static int note_service(const struct served *s, int i, const struct pipeline *p, char note[SERVED_NOTE_BYTES])
{
    const struct served_service *c = &s->service[i];
    switch (c->state) {
    case SERVED_CACHES_FOREIGN:
        snprintf(note, SERVED_NOTE_BYTES,
                 "cache%u has caches of another model than the stages serve: its look-ups are misses%s",
                 c->index, s->file == SERVED_SAME && !s->fits ? "; build again" : "");
        return 1;
    case SERVED_CACHES_PART:
        snprintf(
            note, SERVED_NOTE_BYTES,
            "cache%u answers from %u of the %u caches that were built: `freezeline logs -c %.80s cache%u` "
            "says why; what is mended is read after `freezeline restart -c %.80s cache%u`",
            c->index, c->told.loaded, c->told.built, p->path, c->index, p->path, c->index);
        return 1;
    case SERVED_CACHES_NONE:
        if (!s->built.known || !s->built.n_caches || s->unserved)
            return 0;
        snprintf(note, SERVED_NOTE_BYTES,
                 "cache%u answers from none of the caches in %.80s/caches: see `freezeline logs -c %.80s "
                 "cache%u`",
                 c->index, p->state, p->path, c->index);
        return 1;
    case SERVED_CACHES_COLD:
        if (s->learns || pipeline_learns(p))
            return 0; /* its learner tells how far it is */
        snprintf(note, SERVED_NOTE_BYTES,
                 "cache%u has no caches and learns none: every request runs to the end (`freezeline build` "
                 "makes them; `updates.learn` with Redis learns them)",
                 c->index);
        return 1;
    case SERVED_CACHES_ANSWER:
        break;
    }
    return 0;
}

int served_notes(const struct served *s, const struct pipeline *p,
                 char note[SERVED_MAX_NOTES][SERVED_NOTE_BYTES])
{
    int n = note_file(s, p, note[0]);
    n += note_waiting(s, p, note[n]);
    n += note_build(s, p, note[n]);
    for (int i = 0; i < s->n_services; i++)
        n += note_service(s, i, p, note[n]);
    return n;
}

static const char *file_name(enum served_file f)
{
    static const char *const name[] = {"unknown", "same", "other-model", "other-input", "other-plan"};
    return name[f];
}

static json_t *digest_json(const uint8_t digest[DIGEST_BYTES])
{
    char text[DIGEST_TEXT_BYTES];
    return told(digest) ? json_string(digest_text(digest, text)) : json_null();
}

void served_print(const struct served *s, const struct pipeline *p, FILE *to)
{
    char text[PROMISE_TEXT_BYTES], note[SERVED_MAX_NOTES][SERVED_NOTE_BYTES];
    int n = served_notes(s, p, note);

    if (s->answers.promised)
        fprintf(to, "\nthe caches promise: %s\n", promise_text(&s->answers.promise.terms, text));
    if (s->answers.asked[0])
        fprintf(to, "the pipeline file asks for %s: build again\n", s->answers.asked);
    for (int i = 0; i < n; i++)
        fprintf(to, "%s%s\n", i ? "" : "\n", note[i]);
}

json_t *served_addresses(const struct pipeline *p)
{
    json_t *list = json_array();
    int n = pipeline_brokers(p);

    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_string(pipeline_broker(p, i).requests));
    for (int i = 0; i < n; i++) {
        const char *http = pipeline_broker(p, i).http, *port = http ? strrchr(http, ':') : NULL;
        if (port && atoi(port + 1)) /* 0: any; the broker's log says which it became */
            json_array_append_new(list, json_sprintf("http%s://%s", p->broker.http_tls ? "s" : "", http));
    }
    return list;
}

void served_where(const struct pipeline *p, FILE *to)
{
    json_t *list = served_addresses(p);
    size_t n = json_array_size(list);

    fputs("requests go to ", to);
    for (size_t i = 0; i < n; i++) {
        const char *after = i + 1 == n ? "" : i + 2 == n ? " and " : ", ";
        fprintf(to, "%s%s", json_string_value(json_array_get(list, i)), after);
    }
    json_decref(list);
}

void served_warn(const struct served *s, const struct pipeline *p, const char *command)
{
    char note[SERVED_MAX_NOTES][SERVED_NOTE_BYTES];
    int n = served_notes(s, p, note);

    promise_record_warn(&s->answers, command);
    for (int i = 0; i < n; i++)
        fprintf(stderr, "freezeline %s: %s\n", command, note[i]);
}

void served_report(const struct served *s, const struct pipeline *p, json_t *root)
{
    char note[SERVED_MAX_NOTES][SERVED_NOTE_BYTES];
    json_t *notes = json_array();
    int n = served_notes(s, p, note);

    for (int i = 0; i < n; i++)
        json_array_append_new(notes, json_string(note[i]));
    promise_record_report(&s->answers, root);
    json_object_set_new(root, "serves",
                        json_pack("{s:s, s:o, s:o, s:o, s:b}", "file", file_name(s->file), "identity",
                                  digest_json(s->identity), "plan", digest_json(s->plan), "build",
                                  digest_json(s->answers.build), "unserved_build", s->unserved));
    json_object_set_new(root, "notes", notes);
}
