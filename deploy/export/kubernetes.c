/* kubernetes.c - plain manifests: a workload for each stage, and all that stands around them
 *
 * A pod is a host of the pipeline: the file in the ConfigMap names one for each, by the name that a headless
 * Service gives it, and each process is told which it is (--host). Pods of a stage count from 0, so their
 * number is the replica's; the file has as many replicas of each stage as the autoscaler may start. Programs,
 * model and caches are in the image (container_image.c).
 */

#include <stdlib.h>
#include <string.h>

#include "config/yaml_reader.h"
#include "deploy/tool/output.h"
#include "deploy/tool/state.h"
#include "export.h"
#include "kubernetes_pods.h"
#include "yaml_json.h"

#define REPLICAS_MORE 4 /* that an autoscaler may start of a stage for which the file has fewer */

static json_t *selector(const struct cluster *c, const char *component)
{
    json_t *labels = kubernetes_labels(c, component);
    return json_pack("{s:o}", "matchLabels", labels);
}

json_t *kubernetes_object(const struct cluster *c, const char *version, const char *kind, const char *name,
                          const char *component, json_t *spec)
{
    return json_pack("{s:s, s:s, s:{s:s, s:o}, s:o}", "apiVersion", version, "kind", kind, "metadata", "name",
                     name, "labels", kubernetes_labels(c, component), "spec", spec);
}

/* Names for each pod, or (headless false) one address for all. */
static json_t *service(const struct cluster *c, const struct workload *w)
{
    json_t *spec = json_pack("{s:o, s:b, s:[]}", "selector", kubernetes_labels(c, w->component),
                             "publishNotReadyAddresses", true, "ports");

    json_object_set_new(spec, "clusterIP", json_string("None"));
    for (int i = 0; i < w->n_ports; i++)
        json_array_append_new(json_object_get(spec, "ports"),
                              json_pack("{s:s, s:i}", "name", w->port[i].name, "port", w->port[i].number));
    return kubernetes_object(c, "v1", "Service", w->name, w->component, spec);
}

static json_t *budget(const struct cluster *c, const struct workload *w)
{
    return kubernetes_object(
        c, "policy/v1", "PodDisruptionBudget", w->name, w->component,
        json_pack("{s:i, s:o}", "maxUnavailable", 1, "selector", selector(c, w->component)));
}

/* By how busy the stage's workers are, as the broker's /metrics tells it. */
static json_t *autoscaler(const struct cluster *c, const struct workload *w)
{
    json_t *metric = json_pack(
        "{s:s, s:{s:{s:s, s:s, s:s}, s:{s:s, s:{s:{s:s, s:s}}}, s:{s:s, s:s}}}", "type", "Object", "object",
        "describedObject", "apiVersion", "v1", "kind", "Service", "name", c->broker, "metric", "name",
        "freezeline_process_busy_ratio", "selector", "matchLabels", "role", "stage", "stage",
        w->component + strlen("stage"), "target", "type", "AverageValue", "averageValue", "700m");
    json_t *spec = json_pack("{s:{s:s, s:s, s:s}, s:i, s:i, s:[o], s:{s:{s:i}}}", "scaleTargetRef",
                             "apiVersion", "apps/v1", "kind", "StatefulSet", "name", w->name, "minReplicas",
                             w->replicas, "maxReplicas", w->most, "metrics", metric, "behavior", "scaleDown",
                             "stabilizationWindowSeconds", 300);
    return kubernetes_object(c, "autoscaling/v2", "HorizontalPodAutoscaler", w->name, w->component, spec);
}

/* The pipeline's pods speak with one another and with the name service; who is labelled a client reaches the
 * broker's door. Nothing else passes. */
static json_t *inner_policy(const struct cluster *c)
{
    json_t *peers = json_pack("[{s:o}]", "podSelector", selector(c, NULL));
    json_t *dns = json_pack("{s:[{s:s, s:i}, {s:s, s:i}]}", "ports", "protocol", "UDP", "port", 53,
                            "protocol", "TCP", "port", 53);
    json_t *spec =
        json_pack("{s:o, s:[s, s], s:[{s:O}], s:[{s:o}, o]}", "podSelector", selector(c, NULL), "policyTypes",
                  "Ingress", "Egress", "ingress", "from", peers, "egress", "to", peers, dns);
    return kubernetes_object(c, "networking.k8s.io/v1", "NetworkPolicy", c->name, NULL, spec);
}

static json_t *door_policy(const struct cluster *c, const struct workload *broker)
{
    char name[KUBERNETES_NAME_BYTES];
    json_t *ports = json_array(), *spec;

    for (int i = 0; i < broker->n_ports; i++)
        if (!strcmp(broker->port[i].name, "requests") || !strcmp(broker->port[i].name, "http"))
            json_array_append_new(ports,
                                  json_pack("{s:s, s:i}", "protocol", "TCP", "port", broker->port[i].number));
    spec = json_pack("{s:o, s:[s], s:[{s:[{s:{s:{s:s}}}], s:o}]}", "podSelector", selector(c, "broker"),
                     "policyTypes", "Ingress", "ingress", "from", "podSelector", "matchLabels",
                     "freezeline-client", c->name, "ports", ports);
    snprintf(name, sizeof name, "%s-clients", c->name);
    return kubernetes_object(c, "networking.k8s.io/v1", "NetworkPolicy", name, "broker", spec);
}

static json_t *config(const struct cluster *c)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    json_t *map;

    if (!to)
        return NULL;
    pipeline_print(to, c->pipeline);
    fclose(to);
    map = json_pack("{s:s, s:s, s:{s:s, s:o}, s:{s:s}}", "apiVersion", "v1", "kind", "ConfigMap", "metadata",
                    "name", c->name, "labels", kubernetes_labels(c, NULL), "data", "pipeline.yaml", text);
    free(text);
    return map;
}

/* Takes the object; false when there was no memory for it. */
static bool print(FILE *to, json_t *object)
{
    if (object)
        yaml_json(to, object);
    json_decref(object);
    return object != NULL;
}

/* What Redis wants to see of who comes: keys of the pipeline file, under which name the secret has their
 * files. */
static const struct redis_file {
    const char *key, *name;
} redis_files[] = {{"redis.password_file", "redis-password"},
                   {"redis.tls_ca", "redis-ca.pem"},
                   {"redis.tls_cert", "redis-client.pem"},
                   {"redis.tls_key", "redis-client.key"}};

enum { REDIS_FILES = sizeof redis_files / sizeof *redis_files };

/* NULL: it names none. */
static const char *redis_file(const struct redis_config *r, int i)
{
    const char *const path[REDIS_FILES] = {r->password_file, r->tls_ca, r->tls_cert, r->tls_key};
    return path[i];
}

static bool has_redis_files(const struct redis_config *r)
{
    bool any = false;
    for (int i = 0; i < REDIS_FILES; i++)
        any = any || redis_file(r, i);
    return any;
}

/* The line that makes it. */
static void print_secret(FILE *to, const struct cluster *c)
{
    const struct pipeline *p = c->source;

    fprintf(to, "# Its keys: kubectl create secret generic %s-keys", c->name);
    if (p->security.mode == SECURITY_CURVE || p->broker.http_tls)
        fprintf(to, " --from-file='%s'", p->keys);
    for (int i = 0; i < REDIS_FILES; i++)
        if (redis_file(&p->redis, i))
            fprintf(to, " --from-file=%s='%s'", redis_files[i].name, redis_file(&p->redis, i));
    fprintf(to, "\n");
}

static int print_all(FILE *to, const void *arg, struct error *e)
{
    const struct cluster *c = arg;
    bool ok;

    if (c->keys)
        print_secret(to, c);
    fprintf(
        to,
        "# The pipeline %s: `kubectl apply -f` the folder of this file, after its image was built and "
        "pushed\n"
        "# (Containerfile). Clients carry the label freezeline-client: %s. The autoscalers want the metric\n"
        "# freezeline_process_busy_ratio from an adapter, prometheus-adapter for instance; without one they\n"
        "# leave the number of workers as it is.\n",
        c->pipeline->name, c->name);
    ok = print(to, config(c)) && print(to, inner_policy(c)) && print(to, door_policy(c, &c->workload[0]));
    for (int i = 0; ok && i < c->n; i++) {
        const struct workload *w = &c->workload[i];
        ok = print(to, service(c, w)) && print(to, kubernetes_workload(c, w)) && print(to, budget(c, w)) &&
             (w->most <= w->replicas || print(to, autoscaler(c, w)));
    }
    return ok ? FL_OK : error_set(e, FL_NOMEM, "no memory");
}

/* The name of a pod's host, as --host says it: "stage1-0". */
static void add_host(FILE *to, const struct cluster *c, const char *component, int i)
{
    if (i < 0) /* one alone */
        fprintf(to, "{name: %s, address: %s-%s-0.%s-%s}, ", component, c->name, component, c->name,
                component);
    else
        fprintf(to, "{name: %s-%d, address: %s-%s-%d.%s-%s}, ", component, i, c->name, component, i, c->name,
                component);
}

static int most_replicas(const struct stage_config *s)
{
    return s->n_replicas > REPLICAS_MORE ? s->n_replicas : REPLICAS_MORE;
}

/* The --set of `hosts` and of `stages`, as YAML in one line each. */
static char *hosts_text(const struct cluster *c, const struct pipeline *p)
{
    char *text = NULL, component[24];
    size_t size;
    FILE *to = open_memstream(&text, &size);

    if (!to)
        return NULL;
    fputs("hosts=[", to);
    add_host(to, c, "broker", -1);
    add_host(to, c, "cache", -1);
    add_host(to, c, "learner", -1);
    if (p->redis.managed)
        add_host(to, c, "redis", -1);
    for (int s = 0; s < p->n_stages; s++) {
        snprintf(component, sizeof component, "stage%d", s);
        for (int r = 0; r < most_replicas(&p->stage[s]); r++)
            add_host(to, c, component, r);
    }
    fputs("]", to);
    return fclose(to) ? free(text), NULL : text;
}

static char *stages_text(const struct cluster *c, const struct pipeline *p)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);

    if (!to)
        return NULL;
    fputs("stages=[", to);
    for (int s = 0; s < p->n_stages; s++) {
        const struct stage_config *stage = &p->stage[s];
        fprintf(to, "{threads: %d, batch: %d, fixed_batch: %s, ", stage->threads, stage->max_batch,
                stage->fixed_batch ? "true" : "false");
        if (stage->last) {
            fputs("last: ", to);
            yaml_print_quoted(to, stage->last);
            fputs(", ", to);
        }
        fputs("replicas: [", to);
        for (int r = 0; r < most_replicas(stage); r++)
            fprintf(to, "{host: stage%d-%d, cache: 0, endpoint: 'tcp://%s-stage%d-%d.%s-stage%d:%d'}, ", s, r,
                    c->name, s, r, c->name, s, kubernetes_stage_port(p, s));
        fputs("]}, ", to);
    }
    fputs("]", to);
    return fclose(to) ? free(text), NULL : text;
}

/* Letters, digits and dashes, as the names of Services are. */
static void make_name(char name[48], const char *from)
{
    size_t n = 0;

    for (; *from && n < 40; from++)
        if ((*from >= 'a' && *from <= 'z') || (*from >= '0' && *from <= '9' && n))
            name[n++] = *from;
        else if (*from >= 'A' && *from <= 'Z')
            name[n++] = (char)(*from - 'A' + 'a');
        else if (n && name[n - 1] != '-')
            name[n++] = '-';
    while (n && name[n - 1] == '-')
        n--;
    snprintf(name + n, 48 - n, "%s", n ? "" : "pipeline");
}

/* The pipeline as the cluster has it. */
static int load(struct pipeline **out, const struct cluster *c, const struct export *x, struct error *e)
{
    const struct pipeline *p = x->pipeline;
    struct pipeline_arguments a = {.path = x->arguments->path, .sets = x->arguments->sets};
    char *hosts = hosts_text(c, p), *stages = stages_text(c, p), model[600], redis[REDIS_FILES][80];
    const char *slash = strrchr(p->model, '/');
    static const char *const fixed[] = {"broker.host=broker", "cache.hosts=[cache]", "bind=*",
                                        ("state=" KUBERNETES_STATE)};
    int rc = FL_OK;

    snprintf(model, sizeof model, "model=" KUBERNETES_ROOT "/model/%s", slash ? slash + 1 : p->model);
    if (!hosts || !stages)
        rc = error_set(e, FL_NOMEM, "no memory");
    else if (a.sets.n + 9 + REDIS_FILES > ARGUMENTS_MAX_LIST)
        rc = error_set(e, FL_USAGE, "too many --set");
    if (!rc) {
        a.sets.item[a.sets.n++] = hosts;
        a.sets.item[a.sets.n++] = stages;
        a.sets.item[a.sets.n++] = model;
        for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
            a.sets.item[a.sets.n++] = fixed[i];
        if (p->redis.managed)
            a.sets.item[a.sets.n++] = "redis.host=redis";
        if (p->security.mode == SECURITY_CURVE || p->broker.http_tls)
            a.sets.item[a.sets.n++] = "keys=" KUBERNETES_STATE "/keys";
        if (p->security.mode != SECURITY_CURVE || p->broker.http_tls)
            a.sets.item[a.sets.n++] = "broker.http=0.0.0.0:8000"; /* with the metrics */
        for (int i = 0; i < REDIS_FILES; i++) {
            snprintf(redis[i], sizeof redis[i], "%s=" KUBERNETES_STATE "/keys/%s", redis_files[i].key,
                     redis_files[i].name);
            if (redis_file(&p->redis, i))
                a.sets.item[a.sets.n++] = redis[i];
        }
        rc = arguments_load(out, &a, e);
    }
    free(hosts);
    free(stages);
    return rc;
}

/* A cluster runs what is safe between machines: keys belong into its own secrets. */
static int check(const struct pipeline *p, struct error *e)
{
    if (p->n_hosts)
        return error_set(e, FL_CONFIG, "%s names `hosts`; a cluster has its own: leave them out", p->path);
    if (p->security.mode == SECURITY_LOOPBACK)
        return error_set(e, FL_CONFIG,
                         "%s: pods meet over the network: write `security: curve`, or `security: none` where "
                         "that is trusted",
                         p->path);
    if (p->redis.managed && p->security.mode != SECURITY_NONE)
        return error_set(e, FL_CONFIG,
                         "redis.managed: name a Redis of the cluster as redis.endpoint instead");
    return FL_OK;
}

static int write_files(struct cluster *c, const struct export *x, const char *folder, struct error *e)
{
    char path[STATE_PATH_BYTES + 20];
    int rc;

    c->most_replicas = most_replicas;
    kubernetes_plan(c, pipeline_learns(c->pipeline));
    snprintf(path, sizeof path, "%s/manifests.yaml", folder);
    if ((rc = state_make(folder, e)) || (rc = output_write(path, print_all, c, e)) ||
        (rc = container_image(x->pipeline, folder, e)))
        return rc;
    printf("written: %s, %s/Containerfile\n"
           "  podman build -t %s %s && podman push %s\n  kubectl apply -f %s\n",
           path, folder, c->image, folder, c->image, path);
    return FL_OK;
}

int export_kubernetes(const struct export *x, struct error *e)
{
    struct cluster c = {.image = x->image, .source = x->pipeline};
    struct pipeline *there = NULL;
    int rc = check(x->pipeline, e);

    make_name(c.name, x->pipeline->name);
    snprintf(c.broker, sizeof c.broker, "%s-broker", c.name);
    if (!rc && !(rc = load(&there, &c, x, e))) {
        c.pipeline = there;
        c.keys = there->security.mode == SECURITY_CURVE || there->broker.http_tls ||
                 has_redis_files(&there->redis);
        rc = write_files(&c, x, x->to ? x->to : "kubernetes", e);
    }
    pipeline_free(there);
    return rc;
}
