/* pipeline.h - one pipeline as its YAML file describes it
 *
 * Loaded from a table of keys (pipeline_keys.c): name, type, default, range, help. An unknown key, a wrong
 * type or range, a cycle of aliases is FL_CONFIG with file:line:column and the nearest known key. Paths are
 * relative to the YAML file. After pipeline_load every default is filled in, endpoints included. Read-only
 * from then on.
 */
#ifndef FREEZELINE_PIPELINE_H
#define FREEZELINE_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "keys/security.h"

#define PRECISION_TEXT_BYTES   48
#define PIPELINE_MAX_STAGES    16
#define PIPELINE_MAX_REPLICAS  16
#define PIPELINE_MAX_EXITS     32
#define PIPELINE_MAX_MEMBERS   8 /* of a learned cache */
#define PIPELINE_MAX_SENTINELS 8
#define PIPELINE_MAX_SBATCH    16
#define PIPELINE_MAX_GRIDS     8
#define PIPELINE_MAX_CPUS      64
#define PIPELINE_MAX_LABELS    4096
#define PIPELINE_MAX_CHANNELS  4
#define PIPELINE_MAX_CACHES    16
#define PIPELINE_MAX_WORKERS   63 /* stage workers and cache services together */
#define PIPELINE_MAX_HOSTS     32
#define PIPELINE_MAX_WAYS      (PIPELINE_MAX_STAGES * PIPELINE_MAX_REPLICAS + PIPELINE_MAX_CACHES + 16)
#define PIPELINE_MAX_BROKERS   4
#define PIPELINE_MAX_VARIANTS  8
#define PIPELINE_MAX_SETS      16

struct descriptor_config {
    bool flatten;
    int n_grids;
    int grid[PIPELINE_MAX_GRIDS];
};

/* A machine of the pipeline. */
struct host_config {
    char *name;    /* as `host` of workers, caches, broker, Redis says it */
    char *address; /* how the others reach it: an address or a name, IPv6 without brackets */
    char *ssh;     /* what ssh is given */
    int slots;     /* workers that are placed there, at most; 0: as many as come */
};

/* One who listens, with the endpoint that processes of its host connect to and that of all others. */
struct pipeline_way {
    char *local, *remote;
    int host;
};

/* One worker: a stage replica. */
struct replica_config {
    char *host;     /* where it runs; "local" where the file names no hosts */
    bool placed;    /* the file does not say where: pipeline_hosts.c chose the host */
    char *endpoint; /* its PULL socket, to bind and to connect to */
    int cache;      /* which of cache.endpoints answers its look-ups */
    int n_cpus;
    int cpu[PIPELINE_MAX_CPUS]; /* pinned to these; none = unpinned */
};

struct stage_config {
    char *last; /* name of the cut (node) it ends at; NULL for the last stage, and for all stages when the
                   file gives only their number: then they are still to be cut (`plan`, or equal shares of the
                   FLOPs) */
    int threads;
    int max_batch;
    bool fixed_batch; /* max_batch is not made smaller to keep to the latency target */
    int n_replicas;
    struct replica_config replica[PIPELINE_MAX_REPLICAS];
};

struct exit_config {
    char *name;  /* "exit4" or what the user says; unique, file-name safe */
    char *after; /* name of the cut (node) */
    char *kind;  /* "knn", "kmeans"; NULL = cache.kind */
};

enum threshold_rule { THRESHOLD_MAX_WRONG, THRESHOLD_RISK }; /* in the order of the key's choices */

struct cache_config {
    int n_hosts;
    char *host[PIPELINE_MAX_CACHES]; /* of each cache service, where hosts are named */
    int n_endpoints;
    char *endpoint[PIPELINE_MAX_CACHES]; /* ROUTER for look-ups, one per cache service */
    char *kind;                          /* "knn" | "kmeans" | "learned" | "none" */
    struct descriptor_config descriptor;
    int nodes;        /* width of the projection (paper: 1024) */
    int k;            /* neighbours of knn */
    double memory_mb; /* M: for the points / centroids of all exits together; 0 = no limit */
    enum threshold_rule rule;
    int wait_us;      /* longest time that a stage holds a batch back for a verdict */
    char *placement;  /* "auto" | "near" | "service": who looks up */
    int near_keep_ms; /* how long shared caches are used when their service is gone */
    int train_epochs;
    int augment; /* copies of each training picture, for learned caches */
    int members; /* of a learned cache, taught apart */
    double tune; /* share of a learned cache's training that goes into choosing how to teach it */
    uint64_t seed;
    char *promise;            /* "accuracy" | "agreement"; for THRESHOLD_RISK */
    double max_accuracy_loss; /* points: 1 is a loss of 0.01 */
    double certainty;
};

/* The part of a request's time, less computing, that waiting may take where there is no latency_target_ms;
 * the rest is a reserve. */
#define PIPELINE_WAIT_SHARE 0.65

/* One of several brokers that stand side by side. */
struct broker_replica {
    char *host; /* where hosts are named */
    char *requests, *control, *results, *http;
};

/* Host and endpoints are those of the first broker; in a broker's own process, of itself
 * (pipeline_be_broker). */
struct broker_config {
    int index;           /* of that one */
    char *host;          /* where hosts are named */
    char *requests;      /* ROUTER, clients */
    char *control;       /* ROUTER, workers: hello, heartbeat, cancel, outcome */
    char *results;       /* PULL: hits from caches, full answers and failures from stages */
    char *http;          /* HOST:PORT for HTTP clients (broker/http); NULL: none */
    int http_timeout_ms; /* for a whole request to come */
    bool http_tls;       /* it is HTTPS, and whoever asks says who it is: by files in `keys` */
    bool model_control;  /* where nobody is asked who he is, everybody may load, unload and so on */
    int max_requests;
    double client_rate;       /* requests a second of one client's key; 0: as many as come */
    int client_connections;   /* of one address; 0: half of what there is for clients, of other machines */
    double max_memory_mb;     /* of the inputs of all admitted requests */
    double max_request_mb;    /* of one input */
    double response_cache_mb; /* of answers that are kept for the same input; 0: none are */
    int deadline_ms;          /* default, and the longest that a client may ask for is 10x this */
    int latency_target_ms;    /* a request that is expected to take longer is refused; 0: only the deadlines
                                 count */
    int retries;
    int heartbeat_ms;
    int dead_after_ms;
    int hung_after_ms; /* 0 = never */
    int n_replicas;    /* brokers side by side; their endpoints are filled in where there are several */
    struct broker_replica replica[PIPELINE_MAX_BROKERS];
};

struct redis_config {
    char *endpoint;                         /* "unix:PATH", "HOST:PORT", "sentinel:MASTER", or NULL: none */
    char *host;                             /* of a managed one, where hosts are named */
    bool managed;                           /* `freezeline up` starts and stops it */
    char *sentinel[PIPELINE_MAX_SENTINELS]; /* who are asked where the master is */
    int n_sentinels;
    char *master;               /* its name there */
    char *user, *password_file; /* NULL: none */
    bool tls;
    char *tls_ca;             /* whose certificates are believed, PEM */
    char *tls_cert, *tls_key; /* ours, PEM; NULL: none */
};

struct updates_config {
    double sample;  /* share of the requests whose outcome becomes an update; 0: caches can't learn */
    double in_vain; /* a `sample` that the file asks for without effect; 0: none */
    bool learn;     /* caches under a promise learn, where there is Redis */
    double audit;   /* share of the requests whose layers all run, after their answer where a cache gave it */
    double audit_most;   /* share that a learner has run in the background at most, while caches serve */
    double reservoir_mb; /* of the requests that a learner keeps on its disk */
    int batch;           /* updates applied per new epoch, at most */
    int interval_ms;     /* a new epoch at most this often */
    int64_t max_stream;  /* entries kept in the stream */
    double stream_mb;    /* memory that it may take in Redis */
    double spool_mb;     /* on each cache service's disk, for updates that wait */
};

struct logs_config {
    char *format;  /* "text" | "json" */
    double max_mb; /* of one file */
    int keep;      /* old files of each process */
};

struct traces_config {
    double share; /* of the requests that stages compute */
    char *to;     /* a file or http://HOST[:PORT][/PATH]; NULL: none are kept */
};

struct launch_config {
    char *on;        /* "local" | "ssh" | "slurm" */
    char *directory; /* on the other hosts, relative to the home directory there */
    struct slurm_config {
        int nodes; /* of the job; 0: as many as `hosts`, or stages */
        int cpus;  /* of each node; 0: as many as its processes compute with */
        char *partition, *account, *time;
        int n_options;
        char *option[PIPELINE_MAX_SBATCH]; /* more words for sbatch */
    } slurm;
};

/* Another model for the same question (variants.h). The first one is the pipeline itself. */
struct variant_config {
    char *name;
    char *file; /* its own pipeline file; NULL: this one, with what `set` says */
    int n_sets;
    char *set[PIPELINE_MAX_SETS]; /* KEY=VALUE */
};

struct budget_config {
    double max_accuracy_loss;                 /* points, as a mean over any hour */
    double latency_ms;                        /* 0: deadlines alone decide */
    double memory_mb, cpu_seconds_per_second; /* 0: no bound */
};

enum choose_rule { CHOOSE_BUDGET, CHOOSE_CASCADE, CHOOSE_EXP3, CHOOSE_EXP4 }; /* in the order of the key's */

struct yaml_entries;

struct pipeline {
    char *path;  /* of the YAML */
    char *model; /* path of the ONNX file */
    char *name;  /* of the model: file name without .onnx unless set; used in Redis keys */
    char *state; /* directory: artifacts, logs, sockets */
    char *kernels;
    char *precision;                     /* "float32" | "bfloat16" | "int8" | "auto" */
    char *wire_dtype;                    /* of activations between stages: "float32" | "bfloat16" */
    char computes[PRECISION_TEXT_BYTES]; /* what that comes to: precision.h */
    int n_shape;                         /* number of entries in shape; 0 = the model says it */
    int shape[8];                        /* of the model's input, the batch (1) first */
    int n_mean, n_std; /* entries that the file has: one for each channel, or one for all, or none */
    float mean[PIPELINE_MAX_CHANNELS], std[PIPELINE_MAX_CHANNELS];
    int n_resize, resize[2]; /* of pictures: the shorter side, or height and width; 0 entries: as the model
                                takes them */
    int n_crop, crop[2];     /* height and width, or both; after resizing */
    char *filter;            /* of resizing, as resize.h names them */
    bool exif_orientation;   /* pictures are turned as the camera was held */
    int n_labels;
    char **label;
    bool exits_auto; /* `exits: auto`: one after every block; n_exits is 0 then */
    int n_exits;
    struct exit_config exit[PIPELINE_MAX_EXITS];
    int n_stages;
    struct stage_config stage[PIPELINE_MAX_STAGES];
    struct broker_config broker;
    struct cache_config cache;
    struct redis_config redis;
    struct updates_config updates;
    char *bind; /* where tcp sockets listen, instead of the host of their endpoint; NULL: there */
    struct security security; /* its keys are open in services alone (startup.h) */
    char *keys;               /* directory */
    bool shared_memory;       /* lanes beside the sockets (link/lanes.h) */
    char *log_level;
    struct logs_config logs;
    struct traces_config traces;
    int n_hosts;
    struct host_config host[PIPELINE_MAX_HOSTS];
    int port; /* the first of the tcp ports of processes that other hosts reach */
    struct launch_config launch;
    int n_variants; /* 0: the file names none */
    struct variant_config variant[PIPELINE_MAX_VARIANTS];
    enum choose_rule choose;
    struct budget_config budget;
    int here; /* which of host this process is on; -1: none of them, or not known */
    int n_ways;
    struct pipeline_way way[PIPELINE_MAX_WAYS]; /* where hosts are named: one for each endpoint */
    struct yaml_entries *entries;               /* what the file and --set said, and where */
};

/* Loads and checks the file. `sets` are KEY=VALUE overrides (dotted keys, `stages.0.replicas=2`). */
/* --set values of paths are relative to the working directory. Paths in the result are absolute. */
int pipeline_load(struct pipeline **out, const char *path, const char *const *sets, int n_sets,
                  struct error *e);
/* The last line of a copy of a pipeline file begins with this and has the path of the file that it is of:
 * paths in it are relative to that file, and messages name it. pipeline_origin: that path in a text; NULL: it
 * is no copy. */
#define PIPELINE_COPY_OF "# this is a copy of "
const char *pipeline_origin(const char *text);
/* The same from memory; `name` is the file name for messages and for relative paths. */
int pipeline_parse(struct pipeline **out, const char *text, size_t size, const char *name,
                   const char *const *sets, int n_sets, struct error *e);
/* The same KEY=VALUE with a path in it made absolute, so that it means the same from any directory: it is
 * relative to the pipeline file `file` or, where that is NULL, to the working directory. Owned; NULL when
 * there is no memory. A path in a YAML list stays as it is. */
char *pipeline_absolute_set(const char *set, const char *file);
void pipeline_free(struct pipeline *p);
/* The directory of the sockets that the file does not name: in the state directory or, where that would be
 * longer than a socket's address can be, one in /tmp that belongs to this user and state directory. */
void pipeline_socket_folder(const struct pipeline *p, char *buf, size_t size);

/* Caches under a promise learn from its live traffic; in lower precision only once they were built. */
bool pipeline_learns(const struct pipeline *p);

/* How many brokers there are, and broker `index` of them; its texts are p's. */
int pipeline_brokers(const struct pipeline *p);
struct broker_replica pipeline_broker(const struct pipeline *p, int index);
/* This process is broker `index`: p->broker's own endpoints become its. FL_USAGE: there is no such broker. */
int pipeline_be_broker(struct pipeline *p, int index, struct error *e);
/* Writes the settings of a top-level section in one line, "mean 128 128 128; std 64 64 64": the same text for
 * the same settings. Keys at their defaults are left out, so that a key of a later version changes nothing
 * for those who do not use it. A text that does not fit ends in its digest; `size` is at least 32. Returns
 * buf. */
char *pipeline_section_text(const struct pipeline *p, const char *section, char *buf, size_t size);

/* The host of that name in p->host; -1: none. */
int pipeline_host(const struct pipeline *p, const char *name);
/* By which endpoint a process on `from_host` (-1: none of p->host) meets who listens at `to`, one of p's
 * endpoints: ipc within a host, tcp between hosts. Where no hosts are named, `to` itself. */
const char *pipeline_way(const struct pipeline *p, int from_host, const char *to);
/* What a process that binds `endpoint` has to bind as well, so that those on other hosts reach it; NULL:
 * nothing. */
const char *pipeline_also(const struct pipeline *p, const char *endpoint);
/* Says where this process is: from now on all endpoints of p are those that it binds and connects to itself.
 * Before, they are those for processes of no host. FL_NOMEM. */
int pipeline_be_at(struct pipeline *p, int host, struct error *e);
/* Each key whose value differs between the two, as it was and as it is ("" where there is none); `pattern` is
 * the key's row in the table, with # for indices. Of lists, items that both have. */
typedef void (*pipeline_difference)(void *arg, const char *key, const char *pattern, const char *from,
                                    const char *to);
void pipeline_differences(const struct pipeline *a, const struct pipeline *b, pipeline_difference each,
                          void *arg);

/* Pixels are fed as (pixel - mean) / std, in units of 0-255: 0 and 1 where the file says nothing. */
float pipeline_mean(const struct pipeline *p, int channel);
float pipeline_std(const struct pipeline *p, int channel);
/* Mean or std that look like units of 0-1: a sentence that says where and what to write instead; "" where
 * they do not. Returns buf. */
char *pipeline_units_doubt(const struct pipeline *p, char *buf, size_t size);

/* Fills *e with FL_CONFIG and "FILE:line:column: text", or "--set KEY: text", where `key` ("exits.2.after"),
 * or the nearest of its parents that is there, was given. For what shows only when the file meets its model.
 */
int pipeline_error(const struct pipeline *p, const char *key, struct error *e, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Writes configs/reference.yaml: every key with its default, range and help as comments. */
void pipeline_print_reference(FILE *to);
/* Writes a pipeline file that says all that p is, with what was placed and derived, for processes of any
 * host: before pipeline_be_at. */
void pipeline_print(FILE *to, const struct pipeline *p);
/* Writes to `path` the file that p was loaded from (p->path), its `stages` and `exits` replaced by p's; every
 * other line stays as it is, comments included (used by `plan`). Atomic. */
int pipeline_rewrite(const struct pipeline *p, const char *path, struct error *e);

#endif
