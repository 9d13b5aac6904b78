/* fleet_files.c - a pipeline as files below one folder */
#include "fleet_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "broker/http/http_access.h"
#include "cache_service/store/manifest.h"
#include "keys/allow_list.h"
#include "deploy/process/process.h"
#include "deploy/process/roles.h"
#include "deploy/process/serving.h"
#include "deploy/hosts/ship.h"
#include "deploy/tool/state.h"
#include "stages/graph/graph.h"

static int add_programs(struct shipment *s, struct error *e)
{
    static const char *const names[] = {"freezeline", "freezeline-broker", "freezeline-stage",
                                        "freezeline-cache", "freezeline-learner"};
    enum { N = sizeof names / sizeof *names };
    char self[PROCESS_SELF_BYTES], path[N][1100], *list[N];
    int rc = process_self(self, e);

    if (rc)
        return rc;
    for (int i = 0; i < N; i++) {
        snprintf(path[i], sizeof path[i], "%.*s/%s", (int)(strrchr(self, '/') - self), self, names[i]);
        list[i] = path[i];
    }
    return shipment_add_programs(s, list, N, e);
}

struct adding {
    struct shipment *s;
    const struct pipeline *p;
    struct error *e;
    int rc; /* of weights */
    bool keys_alone;
    struct allow_list allowed;
};

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Weights that lie in a file beside the model go beside it. */
static void add_weights(void *arg, const char *location, const char *path)
{
    struct adding *a = arg;
    char to[1024];
    snprintf(to, sizeof to, "model/%s", location);
    a->rc = a->rc ? a->rc : shipment_add(a->s, SHIPMENT_ALL, path, to, a->e);
}

/* The model was loaded before, with its shapes: here it only tells of its files. */
static int add_model(struct adding *a)
{
    const struct graph_options o = {.outside = add_weights, .outside_arg = a};
    struct graph *g = NULL;
    char to[512];
    int rc;

    snprintf(to, sizeof to, "model/%s", base_of(a->p->model));
    if ((rc = shipment_add(a->s, SHIPMENT_ALL, a->p->model, to, a->e)))
        return rc;
    if (!graph_load(&g, a->p->model, &o, NULL))
        graph_free(g);
    return a->rc;
}

/* A file of the state directory to its place there; one that is not here is left out. */
static int add_state(struct adding *a, const char *name)
{
    char from[STATE_PATH_BYTES], to[STATE_PATH_BYTES];
    int rc = state_path(from, a->p, a->e, "%s", name);

    snprintf(to, sizeof to, "state/%s", name);
    return rc || access(from, F_OK) ? rc : shipment_add(a->s, SHIPMENT_ALL, from, to, a->e);
}

static int add_caches(struct adding *a)
{
    struct manifest *m = malloc(sizeof *m);
    char path[STATE_PATH_BYTES], name[256], build[MANIFEST_BUILD_BYTES];
    int rc = m ? state_path(path, a->p, a->e, "caches/manifest.json") : FL_NOMEM;

    if (!rc && !access(path, F_OK) && !(rc = manifest_load(m, path, a->e))) {
        rc = add_state(a, "caches/manifest.json");
        for (int i = 0; !rc && i < m->n_exits; i++)
            if (m->exit[i].file[0]) {
                snprintf(name, sizeof name, "caches/%s", m->exit[i].file);
                rc = add_state(a, name);
            }
        snprintf(name, sizeof name, "caches/" MANIFEST_EVIDENCE, manifest_build_text(m->build, build));
        if (!rc)
            rc = add_state(a, name);
    }
    free(m);
    return rc;
}

/* Machines of a host file, nodes of a job: the pipeline file does not name them. As many as fit. */
static void name_hosts(const struct pipeline *p, char *buf, size_t size)
{
    size_t n = 0;

    *buf = '\0';
    for (int i = 0; i < p->n_hosts && n < size - 80; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s{name: %.64s}", i ? ", " : "", p->host[i].name);
}

static int add_key(struct adding *a, int host, const char *name)
{
    char from[KEY_PATH_BYTES], to[KEY_PATH_BYTES], hosts[200];
    int rc = key_path(from, a->p->keys, name, a->e);

    if (!rc && a->keys_alone && access(from, F_OK))
        return FL_OK; /* it was revoked */

    snprintf(to, sizeof to, "keys/%.64s", name);
    if (!rc && access(from, F_OK)) {
        name_hosts(a->p, hosts, sizeof hosts);
        rc = error_set(
            a->e, FL_NOT_FOUND,
            "security: curve, but there is no %s: `freezeline keys make -c %s`; where that file does not "
            "name the hosts with --set 'hosts=[%s]'",
            from, a->p->path, hosts);
    }
    return rc ? rc : shipment_add(a->s, host, from, to, a->e);
}

/* What nobody would take, or others could read, is not brought anywhere. */
static int check_secret(struct adding *a, const char *path)
{
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    const struct allowed *known;
    char moment[MOMENT_BYTES];
    struct key_pair k;
    int rc = key_file_read(&k, path, a->e);

    if (!rc && !(known = allow_list_find(&a->allowed, k.public_key)))
        rc = error_set(a->e, FL_CONFIG,
                       "%s is not in %s/" ALLOW_LIST_FILE
                       ": remove it, and `freezeline keys make` makes another",
                       path, a->p->keys);
    else if (!rc && !allowed_at(known, now_s))
        rc = error_set(a->e, FL_CONFIG, "%s has expired on %s: `freezeline keys rotate` makes a new one",
                       path, moment_text(known->until_s, moment));
    key_pair_wipe(&k);
    return rc == FL_NOT_FOUND ? FL_OK : rc; /* add_key says so */
}

static int add_secret(struct adding *a, int host, enum party who)
{
    char name[KEY_FILE_BYTES], path[KEY_PATH_BYTES];
    int rc;

    key_file_name(name, who, "", a->p->host[host].name);
    if ((rc = key_path(path, a->p->keys, name, a->e)) || (rc = check_secret(a, path)))
        return rc;
    return add_key(a, host, name);
}

/* A host gets its own secrets of the roles that it runs, and that of a client, by which its supervisor asks.
 */
static int add_keys(struct adding *a)
{
    static const enum party party[] = {[ROLE_KIND_BROKER] = PARTY_BROKER,
                                       [ROLE_KIND_CACHE] = PARTY_CACHE,
                                       [ROLE_KIND_STAGE] = PARTY_WORKER,
                                       [ROLE_KIND_LEARNER] = PARTY_LEARNER};
    bool added[PIPELINE_MAX_HOSTS][PARTIES] = {{false}};
    struct role role[ROLES_MAX];
    int n, rc;

    if (a->p->security.mode != SECURITY_CURVE)
        return FL_OK;
    if (((rc = key_check_modes(a->p->keys, false, a->e)) && rc != FL_NOT_FOUND) ||
        ((rc = allow_list_read(&a->allowed, a->p->keys, a->e)) && rc != FL_NOT_FOUND))
        return rc;
    if ((rc = add_key(a, SHIPMENT_ALL, ALLOW_LIST_FILE)) || (rc = roles_list(a->p, role, &n, a->e)))
        return rc;
    for (int i = 0; !rc && i < a->p->n_hosts; i++)
        rc = add_secret(a, i, PARTY_CLIENT);
    for (int i = 0; !rc && i < n; i++) {
        int host = pipeline_host(a->p, role[i].host);
        enum party who = role[i].kind == ROLE_KIND_REDIS ? PARTY_NOBODY : party[role[i].kind];
        if (host < 0 || who == PARTY_NOBODY || added[host][who])
            continue;
        added[host][who] = true;
        rc = add_secret(a, host, who);
    }
    return rc;
}

/* What HTTPS takes, to the hosts of brokers. */
static int add_http(struct adding *a)
{
    static const char *const name[] = {HTTP_CERTIFICATE_FILE, HTTP_KEY_FILE, HTTP_TOKEN_FILE,
                                       HTTP_CLIENTS_FILE};
    bool added[PIPELINE_MAX_HOSTS] = {false};
    char path[KEY_PATH_BYTES];
    int rc = FL_OK;

    for (int b = 0; a->p->broker.http_tls && b < pipeline_brokers(a->p); b++) {
        int host = pipeline_host(a->p, pipeline_broker(a->p, b).host);
        if (host < 0 || added[host])
            continue;
        added[host] = true;
        for (size_t i = 0; !rc && i < sizeof name / sizeof *name; i++)
            if (!(rc = key_path(path, a->p->keys, name[i], a->e)) && !access(path, F_OK))
                rc = add_key(a, host, name[i]);
    }
    return rc;
}

static bool put(char **to, const char *text)
{
    char *copy = strdup(text);
    if (copy) {
        free(*to);
        *to = copy;
    }
    return copy != NULL;
}

/* What a host needs to come to Redis: in the pipeline file, and below its folder there. */
enum { REDIS_FILES = 4 };
static const char *const redis_file[REDIS_FILES] = {"redis.password", "redis.ca", "redis.cert", "redis.key"};

static char **redis_path(struct redis_config *c, int i)
{
    char **paths[REDIS_FILES] = {&c->password_file, &c->tls_ca, &c->tls_cert, &c->tls_key};
    return paths[i];
}

static bool put_redis(struct redis_config *c)
{
    bool ok = true;
    for (int i = 0; ok && i < REDIS_FILES; i++)
        ok = !*redis_path(c, i) || put(redis_path(c, i), redis_file[i]);
    return ok;
}

/* `origin`: whose copy it says it is; NULL: nobody's. */
static int print_to(const struct pipeline *p, const char *path, const char *origin, struct error *e)
{
    FILE *to = fopen(path, "we");

    if (to) {
        pipeline_print(to, p);
        if (origin)
            fprintf(to, "%s%s\n", PIPELINE_COPY_OF, origin);
    }
    return to && !fclose(to) ? FL_OK : error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno));
}

/* The file of p with paths as they are on a host. */
static int write_sent(struct adding *a, char path[STATE_PATH_BYTES])
{
    char *text = NULL, model[512];
    size_t size;
    struct pipeline *there = NULL;
    FILE *to = open_memstream(&text, &size);
    int rc = to ? FL_OK : error_set(a->e, FL_NOMEM, "no memory");

    if (to) {
        pipeline_print(to, a->p);
        fclose(to);
        rc = pipeline_parse(&there, text, size, "sent.yaml", NULL, 0, a->e);
    }
    free(text);
    snprintf(model, sizeof model, "model/%s", base_of(a->p->model));
    if (!rc && (!put(&there->model, model) || !put(&there->state, "state") || !put(&there->keys, "keys") ||
                !put_redis(&there->redis)))
        rc = error_set(a->e, FL_NOMEM, "no memory");
    if (!rc && !(rc = state_path(path, a->p, a->e, "run/sent.yaml")))
        rc = print_to(there, path, NULL, a->e);
    pipeline_free(there);
    return rc;
}

int fleet_note_placed(const struct pipeline *p, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc = state_path(path, p, e, "run/" SERVING_PLACED);
    return rc ? rc : print_to(p, path, p->path, e);
}

static int add_all(struct adding *a)
{
    const struct pipeline *p = a->p;
    int rc;

    if ((rc = add_programs(a->s, a->e)) || (rc = add_model(a)) || (rc = add_caches(a)) ||
        (rc = add_state(a, "scales.txt")))
        return rc;
    for (int i = 0; !rc && i < REDIS_FILES; i++) {
        struct redis_config c = p->redis;
        if (*redis_path(&c, i))
            rc = shipment_add(a->s, SHIPMENT_ALL, *redis_path(&c, i), redis_file[i], a->e);
    }
    return rc;
}

int fleet_files(struct shipment *s, const char *id, const struct pipeline *p, enum fleet_part what,
                struct error *e)
{
    struct adding a = {s, p, e, FL_OK, what == FLEET_KEYS, {0}};
    char path[STATE_PATH_BYTES];
    int rc = shipment_init(s, id, e);

    if (rc)
        return rc;
    s->partial = what != FLEET_ALL;
    if (what != FLEET_KEYS && !(rc = write_sent(&a, path)))
        rc = shipment_add(s, SHIPMENT_ALL, path, "pipeline.yaml", e);
    if (!rc)
        rc = add_keys(&a);
    if (!rc)
        rc = add_http(&a);
    if (!rc && what == FLEET_ALL)
        rc = add_all(&a);
    allow_list_free(&a.allowed);
    if (rc)
        shipment_free(s);
    return rc;
}

int fleet_ship(struct fleet *f, const struct pipeline *p, enum fleet_part what, char (*why)[300],
               struct error *e)
{
    const struct ship_options o = {
        .directory = p->launch.directory, .progress = what == FLEET_ALL ? stderr : NULL, .some = why != NULL};
    struct shipped shipped[PIPELINE_MAX_HOSTS];
    struct shipment files;
    int rc = fleet_files(&files, f->id, p, what, e);

    if (rc)
        return rc;
    if (!(rc = ship(f->transport, &files, &o, shipped, e)))
        for (int i = 0; i < f->n; i++) {
            if (why)
                snprintf(why[i], sizeof why[i], "%s", shipped[i].why);
            if (!shipped[i].why[0])
                fleet_set_folder(f, i, shipped[i].folder);
        }
    shipment_free(&files);
    return rc;
}
