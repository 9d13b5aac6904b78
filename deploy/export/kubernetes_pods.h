/* kubernetes_pods.h - which workloads a pipeline has in a cluster, and their pods */
#ifndef FREEZELINE_KUBERNETES_PODS_H
#define FREEZELINE_KUBERNETES_PODS_H

#include <jansson.h>

#include "config/pipeline.h"

#define KUBERNETES_NAME_BYTES 64
#define KUBERNETES_ROOT       "/opt/freezeline"     /* in the image: bin, lib, model, state */
#define KUBERNETES_STATE      "/var/lib/freezeline" /* a volume, which begins with what the image has in state */
#define KUBERNETES_CONFIG     "/etc/freezeline/pipeline.yaml"

struct workload {
    char component[24], name[KUBERNETES_NAME_BYTES];
    int stage; /* -1: none */
    int replicas, most, threads;
    int n_ports;
    struct {
        char name[12];
        int number;
    } port[4];
    char command[600]; /* a line of sh; its program takes the shell's place */
};

struct cluster {
    char name[48], broker[KUBERNETES_NAME_BYTES];
    const char *image;
    const struct pipeline *source;   /* as the file says it */
    const struct pipeline *pipeline; /* as the cluster has it */
    bool keys;                       /* a secret has files for the directory `keys` */
    int (*most_replicas)(const struct stage_config *s);
    int n;
    struct workload workload[PIPELINE_MAX_STAGES + 4];
};

int kubernetes_stage_port(const struct pipeline *p, int stage);
/* Fills c->workload. */
void kubernetes_plan(struct cluster *c, bool learner);
/* Labels of one component, or of all (NULL). */
json_t *kubernetes_labels(const struct cluster *c, const char *component);
json_t *kubernetes_object(const struct cluster *c, const char *version, const char *kind, const char *name,
                          const char *component, json_t *spec);
/* The StatefulSet. */
json_t *kubernetes_workload(const struct cluster *c, const struct workload *w);

/* Writes FOLDER/Containerfile and FOLDER/image: programs with their libraries, model, built caches. */
int container_image(const struct pipeline *p, const char *folder, struct error *e);

#endif
