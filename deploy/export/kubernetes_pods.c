/* kubernetes_pods.c - the workloads of a pipeline: commands, ports, probes, and what a pod may do */
#include "kubernetes_pods.h"

#include <stdio.h>
#include <string.h>

#define HTTP_PORT 8000
#define USER      10001

int kubernetes_stage_port(const struct pipeline *p, int stage)
{
    return p->port + 32 + PIPELINE_MAX_REPLICAS * stage;
}

static struct workload *add(struct cluster *c, const char *component, const char *program, const char *host)
{
    struct workload *w = &c->workload[c->n++];
    char name[sizeof w->name];

    *w = (struct workload){.stage = -1, .replicas = 1, .most = 1, .threads = 1};
    snprintf(w->component, sizeof w->component, "%s", component);
    snprintf(name, sizeof name, "%.38s-%.23s", c->name, component);
    memcpy(w->name, name, sizeof name);
    snprintf(w->command, sizeof w->command,
             "exec " KUBERNETES_ROOT "/bin/%s -c " KUBERNETES_CONFIG " --host %s", program, host);
    return w;
}

static void listen(struct workload *w, const char *name, int number)
{
    snprintf(w->port[w->n_ports].name, sizeof w->port[0].name, "%s", name);
    w->port[w->n_ports++].number = number;
}

static void add_stage(struct cluster *c, int s)
{
    const struct stage_config *stage = &c->source->stage[s];
    char component[24], host[48];
    struct workload *w;
    size_t n;

    snprintf(component, sizeof component, "stage%d", s);
    snprintf(host, sizeof host, "stage%d-\"${HOSTNAME##*-}\"", s);
    w = add(c, component, "freezeline-stage", host);
    n = strlen(w->command);
    snprintf(w->command + n, sizeof w->command - n, " --stage %d --replica \"${HOSTNAME##*-}\"", s);
    w->stage = s;
    w->replicas = stage->n_replicas;
    w->most = c->most_replicas(stage);
    w->threads = stage->threads;
    listen(w, "work", kubernetes_stage_port(c->pipeline, s));
}

void kubernetes_plan(struct cluster *c, bool learner)
{
    const struct pipeline *p = c->pipeline;
    struct workload *w = add(c, "broker", "freezeline-broker", "broker");

    listen(w, "requests", p->port + 1);
    listen(w, "control", p->port + 2);
    listen(w, "results", p->port + 3);
    if (p->broker.http)
        listen(w, "http", HTTP_PORT);
    if (strcmp(p->cache.kind, "none") != 0 && p->cache.n_endpoints) {
        w = add(c, "cache", "freezeline-cache", "cache");
        strcat(w->command, " --index 0");
        listen(w, "lookups", p->port + 16);
    }
    for (int s = 0; s < p->n_stages; s++)
        add_stage(c, s);
    if (learner)
        strcat(add(c, "learner", "freezeline-learner", "learner")->command, " --index 0");
    if (p->redis.managed) {
        w = add(c, "redis", "", "redis");
        snprintf(w->command, sizeof w->command,
                 "exec redis-server --port %d --dir /data --appendonly yes --appendfsync always --save '' "
                 "--protected-mode no",
                 p->port);
        listen(w, "redis", p->port);
    }
}

json_t *kubernetes_labels(const struct cluster *c, const char *component)
{
    json_t *labels = json_pack("{s:s, s:s}", "app.kubernetes.io/name", "freezeline",
                               "app.kubernetes.io/instance", c->name);

    if (component)
        json_object_set_new(labels, "app.kubernetes.io/component", json_string(component));
    return labels;
}

static json_t *tcp_probe(const struct workload *w, int period_s, int failures)
{
    return json_pack("{s:{s:s}, s:i, s:i}", "tcpSocket", "port", w->port[0].name, "periodSeconds", period_s,
                     "failureThreshold", failures);
}

/* A broker is ready when every stage has a ready worker; others when they listen. */
static void add_probes(json_t *container, const struct workload *w, bool tls)
{
    bool http = w->n_ports && !strcmp(w->port[w->n_ports - 1].name, "http");

    if (!w->n_ports)
        return;
    json_object_set_new(container, "startupProbe", tcp_probe(w, 2, 300));
    json_object_set_new(container, "livenessProbe", tcp_probe(w, 10, 6));
    json_object_set_new(container, "readinessProbe",
                        http ? json_pack("{s:{s:s, s:s, s:s}, s:i}", "httpGet", "path", "/v2/health/ready",
                                         "port", "http", "scheme", tls ? "HTTPS" : "HTTP", "periodSeconds", 5)
                             : tcp_probe(w, 5, 3));
}

static json_t *mounts(const struct workload *w)
{
    if (!strcmp(w->component, "redis"))
        return json_pack("[{s:s, s:s}]", "name", "state", "mountPath", "/data");
    return json_pack("[{s:s, s:s}, {s:s, s:s, s:b}, {s:s, s:s}]", "name", "state", "mountPath",
                     KUBERNETES_STATE, "name", "config", "mountPath", "/etc/freezeline", "readOnly", true,
                     "name", "tmp", "mountPath", "/tmp");
}

/* What no container needs is taken from it. */
static json_t *confined(void)
{
    return json_pack("{s:b, s:b, s:{s:[s]}}", "allowPrivilegeEscalation", false, "readOnlyRootFilesystem",
                     true, "capabilities", "drop", "ALL");
}

static json_t *container(const struct cluster *c, const struct workload *w)
{
    bool redis = !strcmp(w->component, "redis");
    json_t *ports = json_array(), *one;
    char cpu[16];

    snprintf(cpu, sizeof cpu, "%d", w->threads);
    for (int i = 0; i < w->n_ports; i++)
        json_array_append_new(
            ports, json_pack("{s:s, s:i}", "name", w->port[i].name, "containerPort", w->port[i].number));
    one = json_pack("{s:s, s:s, s:[s, s, s], s:o, s:{s:{s:s}}, s:o, s:o}", "name", w->component, "image",
                    redis ? "docker.io/library/redis:7" : c->image, "command", "/bin/sh", "-c", w->command,
                    "ports", ports, "resources", "requests", "cpu", w->stage < 0 ? "250m" : cpu,
                    "securityContext", confined(), "volumeMounts", mounts(w));
    add_probes(one, w, c->pipeline->broker.http_tls);
    return one;
}

/* The state directory begins with what was built, and with keys that are this user's alone. */
static json_t *preparation(const struct cluster *c, bool keys)
{
    json_t *list = json_pack("[{s:s, s:s}]", "name", "state", "mountPath", KUBERNETES_STATE);

    if (keys)
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:b}", "name", "keys", "mountPath", "/secrets", "readOnly", true));
    return json_pack("{s:s, s:s, s:[s, s, s], s:o, s:o}", "name", "prepare", "image", c->image, "command",
                     "/bin/sh", "-c",
                     keys ? "umask 077 && cp -R " KUBERNETES_ROOT "/state/. " KUBERNETES_STATE
                            " && mkdir -p " KUBERNETES_STATE
                            "/keys && for f in /secrets/*; do cat \"$f\" >" KUBERNETES_STATE
                            "/keys/\"${f##*/}\" || exit 1; done"
                          : "umask 077 && cp -R " KUBERNETES_ROOT "/state/. " KUBERNETES_STATE,
                     "securityContext", confined(), "volumeMounts", list);
}

static json_t *volumes(const struct cluster *c, bool keys)
{
    char secret[KUBERNETES_NAME_BYTES];
    json_t *list = json_pack("[{s:s, s:{}}, {s:s, s:{}}, {s:s, s:{s:s}}]", "name", "state", "emptyDir",
                             "name", "tmp", "emptyDir", "name", "config", "configMap", "name", c->name);

    snprintf(secret, sizeof secret, "%s-keys", c->name);
    if (keys)
        json_array_append_new(list, json_pack("{s:s, s:{s:s, s:i}}", "name", "keys", "secret", "secretName",
                                              secret, "defaultMode", 0440));
    return list;
}

/* Redis keeps its data. */
static json_t *claim(void)
{
    return json_pack("[{s:{s:s}, s:{s:[s], s:{s:{s:s}}}}]", "metadata", "name", "state", "spec",
                     "accessModes", "ReadWriteOnce", "resources", "requests", "storage", "1Gi");
}

json_t *kubernetes_workload(const struct cluster *c, const struct workload *w)
{
    bool redis = !strcmp(w->component, "redis"), keys = !redis && c->keys;
    json_t *pod = json_pack("{s:b, s:i, s:{s:b, s:i, s:i, s:i, s:{s:s}}, s:[o], s:o}",
                            "automountServiceAccountToken", false, "terminationGracePeriodSeconds", 30,
                            "securityContext", "runAsNonRoot", true, "runAsUser", USER, "runAsGroup", USER,
                            "fsGroup", USER, "seccompProfile", "type", "RuntimeDefault", "containers",
                            container(c, w), "volumes", redis ? json_array() : volumes(c, keys));
    json_t *spec;

    if (!redis)
        json_object_set_new(pod, "initContainers", json_pack("[o]", preparation(c, keys)));
    spec = json_pack("{s:s, s:i, s:s, s:{s:o}, s:{s:{s:o}, s:o}}", "serviceName", w->name, "replicas",
                     w->replicas, "podManagementPolicy", "Parallel", "selector", "matchLabels",
                     kubernetes_labels(c, w->component), "template", "metadata", "labels",
                     kubernetes_labels(c, w->component), "spec", pod);
    if (redis)
        json_object_set_new(spec, "volumeClaimTemplates", claim());
    return kubernetes_object(c, "apps/v1", "StatefulSet", w->name, w->component, spec);
}
