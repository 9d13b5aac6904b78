/* simulate_cluster.h - the hosts to simulate, as a YAML (or JSON) file describes them
 *
 *   hosts:                        # kinds of host, `count` of each; "big" is big.0, big.1, ..
 *     - {name: big, count: 4, cores: 16, speed: 1, all_busy: 0.9, gbps: 25, latency_us: 10,
 *        mtbf_hours: 1000, repair_minutes: 30}
 *   broker: big                   # where the broker stands (the first host)
 *   client: outside               # or a host; outside costs nothing but client_latency_us
 *   caches: 4                     # cache services; default: one on each host that has workers, at most 16
 *   place: spread                 # workers go where most cores are free; pack: fill one host, then the next
 *   replicas: [4, 2, 1]           # of each stage, at most 16; default: the pipeline file's
 *   stages: [{hosts: [big.0, big.1]}]   # where each stage's workers may go; `big`: all of that kind
 *   processes: {mtbf_hours: 100, restart_seconds: 2}
 *   cells: 10                     # so many such pipelines side by side, each with its share of the requests
 */
#ifndef FREEZELINE_SIMULATE_CLUSTER_H
#define FREEZELINE_SIMULATE_CLUSTER_H

#include "simulation.h"

#define CLUSTER_MAX_KINDS  64
#define CLUSTER_NAME_BYTES 64

struct cluster_kind {
    char name[CLUSTER_NAME_BYTES];
    int count, first; /* first: index of its first host */
    struct world_host host;
    struct simulation_failing failing;
};

struct cluster {
    int n_kinds, n_hosts;
    struct cluster_kind kind[CLUSTER_MAX_KINDS];
    int broker, client; /* hosts; client: -1: outside */
    double client_latency_ns;
    int caches; /* 0: one on each host that has workers */
    bool pack;
    int n_replicas, replicas[PIPELINE_MAX_STAGES]; /* n_replicas 0: as the pipeline file says */
    int n_stage_hosts[PIPELINE_MAX_STAGES], stage_host[PIPELINE_MAX_STAGES][WORLD_MAX_HOSTS];
    struct simulation_failing failing; /* of each process */
    int cells;
};

/* FL_IO; FL_CONFIG with FILE:line:column, what is wrong and the nearest key. */
int cluster_load(struct cluster *out, const char *path, struct error *e);
/* One host with the client on it. */
void cluster_one_host(struct cluster *out, int cores, double all_busy);
const struct cluster_kind *cluster_kind_of(const struct cluster *c, int host);

#endif
