/* pipeline_keys.c - the table of keys, and finding a key in it */
#include "pipeline_keys.h"
#include "base/nearest_word.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOT(field)        offsetof(struct pipeline, field)
#define STAGE(field)       offsetof(struct stage_config, field)
#define REPLICA(field)     offsetof(struct replica_config, field)
#define EXIT(field)        offsetof(struct exit_config, field)
#define HOST(field)        offsetof(struct host_config, field)
#define BROKER(field)      offsetof(struct broker_replica, field)
#define VARIANT(field)     offsetof(struct variant_config, field)
#define RANGE(low, high)   .min = (low), .max = (high)
#define LIST(counter, cap) .count_offset = (counter), .most = (cap)

const struct key pipeline_keys[] = {
    {"model", KEY_PATH, ROOT(model), .example = "resnet18.onnx",
     .help = "the network, an ONNX file; the one key that must be there"},
    {"name", KEY_NAME, ROOT(name), .example = "resnet18",
     .help = "of the model, in Redis keys; default: the file name without .onnx"},
    {"state", KEY_PATH, ROOT(state), .example = ".freezeline/resnet18",
     .help = "directory for artifacts, logs and sockets; default: .freezeline/NAME beside this file"},
    {"kernels", KEY_CHOICE, ROOT(kernels), "auto", .choices = "auto|onednn|openblas|reference",
     .help = "what computes; auto times the candidates of each layer and keeps the fastest"},
    {"precision", KEY_CHOICE, ROOT(precision), "float32", .choices = "float32|bfloat16|int8|auto",
     .help = "of products and what lies between them; int8 and auto follow `freezeline quantize`"},
    {"wire_dtype", KEY_CHOICE, ROOT(wire_dtype), "float32", .choices = "float32|bfloat16",
     .help = "of activations between stages; bfloat16 halves what crosses the network and is part of the "
             "promise"},
    {"log_level", KEY_CHOICE, ROOT(log_level), "info", .choices = "debug|info|warn|error",
     .help = "least severe line that is logged"},
    {"bind", KEY_TEXT, ROOT(bind), .example = "'*'",
     .help = "where tcp sockets listen, instead of at the host that their endpoint names: '*', an address, "
             "an interface"},
    {"shared_memory", KEY_BOOL, ROOT(shared_memory), "true",
     .help = "messages between processes of one host go through memory that they share, where they can"},
    {"security", KEY_RULE, ROOT(security.mode), "loopback", .choices = "loopback|curve|none",
     .help = "loopback: no other addresses; curve: tcp is encrypted, for allowed keys; none: unprotected"},
    {"keys", KEY_PATH, ROOT(keys), .example = "keys",
     .help = "directory of `freezeline keys`, for security: curve; default: keys in the state directory"},
    {"port", KEY_INT, ROOT(port), "5600", RANGE(1, 65535 - PIPELINE_MAX_WAYS),
     .help = "first tcp port where hosts are named: Redis, broker K + 1 + 3 K, cache I + 16 + I, stage S, "
             "replica R + 32 + 16 S + R"},
    {"hosts.#.name", KEY_HOST, HOST(name), .example = "a",
     .help = "of a machine, as `host` elsewhere says it"},
    {"hosts.#.address", KEY_HOST, HOST(address), .example = "10.7.0.1",
     .help = "how the others reach it; default: its name"},
    {"hosts.#.slots", KEY_INT, HOST(slots), "0", RANGE(0, 4096),
     .help = "stage workers that are placed there, at most; 0: as many as come"},
    {"hosts.#.ssh", KEY_TEXT, HOST(ssh), .example = "user@a",
     .help = "what ssh is given to go there; default: the address"},
    {"launch.on", KEY_CHOICE, ROOT(launch.on), "local", .choices = "local|ssh|slurm",
     .help = "how `freezeline up` reaches the hosts, where --on does not say it"},
    {"launch.directory", KEY_TEXT, ROOT(launch.directory), ".cache/freezeline",
     .help = "where it keeps files on the other hosts; relative to the home directory there"},
    {"launch.slurm.nodes", KEY_INT, ROOT(launch.slurm.nodes), "0", RANGE(0, PIPELINE_MAX_HOSTS),
     .help = "of the job that `up --on slurm` submits; 0: as many as `hosts` or, without them, stages"},
    {"launch.slurm.cpus", KEY_INT, ROOT(launch.slurm.cpus), "0", RANGE(0, 4096),
     .help = "on each node; 0: as many as the threads of what is placed there"},
    {"launch.slurm.partition", KEY_TEXT, ROOT(launch.slurm.partition), .example = "cpu",
     .help = "where the job is to run, as sbatch has it"},
    {"launch.slurm.account", KEY_TEXT, ROOT(launch.slurm.account), .example = "group",
     .help = "who pays for it, as sbatch has it"},
    {"launch.slurm.time", KEY_TEXT, ROOT(launch.slurm.time), .example = "'12:00:00'",
     .help = "how long it may run, as sbatch has it"},
    {"launch.slurm.options.#", KEY_TEXT, ROOT(launch.slurm.option), .example = "['--qos=high']",
     LIST(ROOT(launch.slurm.n_options), PIPELINE_MAX_SBATCH), .help = "more of sbatch's options"},
    {"input.shape.#", KEY_INT, ROOT(shape), .example = "[1, 3, 224, 224]", RANGE(1, 1 << 20),
     LIST(ROOT(n_shape), 8),
     .help = "of the model's input, the batch (1) first: for models that leave height and width open"},
    {"input.mean.#", KEY_FLOAT, ROOT(mean), .example = "[125.3, 123.0, 113.9]", RANGE(-1e6, 1e6),
     LIST(ROOT(n_mean), PIPELINE_MAX_CHANNELS),
     .help = "per channel, or one for all: images are fed as (pixel - mean) / std, in units of 0-255"},
    {"input.std.#", KEY_FLOAT, ROOT(std), .example = "[63.0, 62.1, 66.7]", RANGE(1e-6, 1e6),
     LIST(ROOT(n_std), PIPELINE_MAX_CHANNELS),
     .help = "likewise; what a file has in units of 0-1, times 255"},
    {"input.resize.#", KEY_INT, ROOT(resize), .example = "[256]", RANGE(1, 16384), LIST(ROOT(n_resize), 2),
     .help =
         "pictures: length of the shorter side, or [height, width]; default: the model's size, stretched"},
    {"input.crop.#", KEY_INT, ROOT(crop), .example = "[224]", RANGE(1, 16384), LIST(ROOT(n_crop), 2),
     .help = "then cut from the middle: both sides, or [height, width]; default: the model's size"},
    {"input.filter", KEY_CHOICE, ROOT(filter), "bilinear",
     .choices = "nearest|box|bilinear|hamming|bicubic|lanczos",
     .help = "of resizing, antialiased, as Pillow and torchvision have them"},
    {"input.exif_orientation", KEY_BOOL, ROOT(exif_orientation), "false",
     .help = "turn pictures as the camera was held; torchvision's ImageFolder does not"},
    {"labels", KEY_LABELS, 0, .example = "labels.txt",
     .help = "names of the classes: a text file with one per line, or a list"},
    {"labels.#", KEY_TEXT, ROOT(label), .example = "[airplane, automobile]",
     LIST(ROOT(n_labels), PIPELINE_MAX_LABELS), .help = "names of the classes, in the model's order"},
    {"exits", KEY_EXITS, 0, "auto", .choices = "auto|none",
     .help = "where caches may answer: auto = after every block with work behind it, none, or a list"},
    {"exits.#.name", KEY_NAME, EXIT(name), .example = "exit4", .help = "default: exit1, exit2, ... in order"},
    {"exits.#.after", KEY_TEXT, EXIT(after), .example = "/layer2/layer2.1/relu_1/Relu",
     .help = "the layer (node) after which it stands, as `freezeline inspect` names it"},
    {"exits.#.kind", KEY_CHOICE, EXIT(kind), .example = "knn", .choices = "knn|kmeans|learned",
     .help = "of its cache; default: cache.kind"},
    {"stages", KEY_STAGES, 0, "1", RANGE(1, PIPELINE_MAX_STAGES),
     .help = "a number (cut evenly; see `freezeline plan`), or a list"},
    {"stages.#.last", KEY_TEXT, STAGE(last), .example = "exit4",
     .help = "last layer (node) of the stage, or the name of an exit that is listed above; not for the last "
             "stage"},
    {"stages.#.threads", KEY_INT, STAGE(threads), "1", RANGE(1, 256), .help = "per worker"},
    {"stages.#.batch", KEY_INT, STAGE(max_batch), "8", RANGE(1, 64),
     .help = "requests computed together, at most; as many as keep to broker.latency_target_ms"},
    {"stages.#.fixed_batch", KEY_BOOL, STAGE(fixed_batch), "false",
     .help = "always up to `batch`, however long that takes"},
    {"stages.#.replicas", KEY_REPLICAS, 0, "1", RANGE(1, PIPELINE_MAX_REPLICAS),
     .help = "workers of the stage: a number, or a list"},
    {"stages.#.replicas.#.host", KEY_HOST, REPLICA(host), .example = "a",
     .help = "where it runs: one of `hosts`; default: the next with a free slot"},
    {"stages.#.replicas.#.endpoint", KEY_ENDPOINT, REPLICA(endpoint), .example = "ipc://sock/stage.0.0",
     .help = "where it takes activations; default: a socket in the state directory"},
    {"stages.#.replicas.#.cache", KEY_INT, REPLICA(cache), .example = "0", RANGE(0, PIPELINE_MAX_CACHES - 1),
     .help = "which of cache.endpoints answers its look-ups; default: that of its host, or the first"},
    {"stages.#.replicas.#.cpus.#", KEY_INT, REPLICA(cpu), .example = "[0, 1]", RANGE(0, 4095),
     LIST(REPLICA(n_cpus), PIPELINE_MAX_CPUS), .help = "pinned to these; default: not pinned"},
    {"broker.host", KEY_HOST, ROOT(broker.host), .example = "a",
     .help = "one of `hosts`; default: the first"},
    {"broker.requests", KEY_ENDPOINT, ROOT(broker.requests), .example = "tcp://127.0.0.1:5555",
     .help = "where clients connect; default: a socket in the state directory"},
    {"broker.control", KEY_ENDPOINT, ROOT(broker.control), .example = "tcp://127.0.0.1:5556",
     .help = "where workers report; default likewise"},
    {"broker.results", KEY_ENDPOINT, ROOT(broker.results), .example = "tcp://127.0.0.1:5557",
     .help = "where answers are collected; default likewise"},
    {"broker.http", KEY_TEXT, ROOT(broker.http), .example = "127.0.0.1:8000",
     .help =
         "HOST:PORT for HTTP clients (Open Inference Protocol, as KServe and Triton have it); default: none"},
    {"broker.replicas", KEY_BROKERS, 0, "1", RANGE(1, PIPELINE_MAX_BROKERS),
     .help = "brokers side by side, each enough for all: a number, or a list; clients know them all"},
    {"broker.replicas.#.host", KEY_HOST, BROKER(host), .example = "a",
     .help = "one of `hosts`; default: another one for each"},
    {"broker.replicas.#.requests", KEY_ENDPOINT, BROKER(requests), .example = "tcp://127.0.0.1:5555",
     .help = "as broker.requests is the first one's; default: a socket in the state directory"},
    {"broker.replicas.#.control", KEY_ENDPOINT, BROKER(control), .example = "tcp://127.0.0.1:5556",
     .help = "as broker.control"},
    {"broker.replicas.#.results", KEY_ENDPOINT, BROKER(results), .example = "tcp://127.0.0.1:5557",
     .help = "as broker.results"},
    {"broker.replicas.#.http", KEY_TEXT, BROKER(http), .example = "127.0.0.1:8000",
     .help = "as broker.http; default: none"},
    {"broker.http_timeout_ms", KEY_INT, ROOT(broker.http_timeout_ms), "60000", RANGE(100, 3600000),
     .help = "an HTTP connection that brings no whole request for so long is closed"},
    {"broker.http_tls", KEY_BOOL, ROOT(broker.http_tls), "false",
     .help =
         "HTTPS, by http.crt and http.key in `keys`, for those whom `freezeline keys token` gave a token"},
    {"broker.model_control", KEY_BOOL, ROOT(broker.model_control), "false",
     .help =
         "without http_tls: whoever reaches broker.http may load and unload, and set traces; web pages not"},
    {"broker.max_requests", KEY_INT, ROOT(broker.max_requests), "256", RANGE(1, 65536),
     .help = "in flight; beyond it a client gets `overloaded` at once"},
    {"broker.client_rate", KEY_DOUBLE, ROOT(broker.client_rate), "0", RANGE(0, 1000000),
     .help = "requests a second by one client, and as many at once, by key, token or address; 0: no bound"},
    {"broker.client_connections", KEY_INT, ROOT(broker.client_connections), "0", RANGE(0, 65536),
     .help = "to broker.requests, from one address; 0: half of the files for clients, for other machines"},
    {"broker.max_memory_mb", KEY_DOUBLE, ROOT(broker.max_memory_mb), "256", RANGE(1, 1048576),
     .help = "of the inputs that are kept until they are answered"},
    {"broker.max_request_mb", KEY_DOUBLE, ROOT(broker.max_request_mb), "16", RANGE(0.001, 256),
     .help = "of one input; up to 8 of each client wait to be read, beside max_memory_mb"},
    {"broker.response_cache_mb", KEY_DOUBLE, ROOT(broker.response_cache_mb), "0", RANGE(0, 1048576),
     .help = "of answers that are kept for requests with the same input, byte for byte; 0: none are"},
    {"broker.deadline_ms", KEY_INT, ROOT(broker.deadline_ms), "5000", RANGE(1, 3600000),
     .help = "of a request that names none; a client may ask for up to 10 times this"},
    {"broker.latency_target_ms", KEY_INT, ROOT(broker.latency_target_ms), "0", RANGE(0, 3600000),
     .help =
         "a request that is expected to take longer is refused at once; 0: about two thirds of its deadline"},
    {"broker.retries", KEY_INT, ROOT(broker.retries), "2", RANGE(0, 16),
     .help = "of a request whose worker died"},
    {"broker.heartbeat_ms", KEY_INT, ROOT(broker.heartbeat_ms), "200", RANGE(10, 60000),
     .help = "how often workers report"},
    {"broker.dead_after_ms", KEY_INT, ROOT(broker.dead_after_ms), "2000", RANGE(20, 600000),
     .help = "a worker that is silent for so long is dead; at least twice heartbeat_ms"},
    {"broker.hung_after_ms", KEY_INT, ROOT(broker.hung_after_ms), .example = "10000", RANGE(0, 86400000),
     .help =
         "silent or in one layer so long, `up` kills and restarts it; 0 = never; default: 5 dead_after_ms, "
         "10 s at least"},
    {"cache.hosts.#", KEY_HOST, ROOT(cache.host), .example = "[a, b]",
     LIST(ROOT(cache.n_hosts), PIPELINE_MAX_CACHES),
     .help = "of `hosts`, with a cache service each; default: each that has a stage worker"},
    {"cache.endpoints.#", KEY_ENDPOINT, ROOT(cache.endpoint), .example = "[tcp://127.0.0.1:5560]",
     LIST(ROOT(cache.n_endpoints), PIPELINE_MAX_CACHES),
     .help = "one per cache service; default: one, a socket in the state directory"},
    {"cache.kind", KEY_CHOICE, ROOT(cache.kind), "kmeans", .choices = "knn|kmeans|learned|none",
     .help = "of all exits that do not say otherwise; none: no caches"},
    {"cache.flatten", KEY_BOOL, ROOT(cache.descriptor.flatten), "false",
     .help = "descriptor is the whole activation, as in the paper, instead of its pooled grids"},
    {"cache.grids.#", KEY_INT, ROOT(cache.descriptor.grid), "1 2 4", RANGE(1, 64),
     LIST(ROOT(cache.descriptor.n_grids), PIPELINE_MAX_GRIDS),
     .help =
         "descriptor: means of each channel over 1x1, 2x2, 4x4 cells; learned does best on one grid, [8]"},
    {"cache.nodes", KEY_INT, ROOT(cache.nodes), "1024", RANGE(1, 65536),
     .help = "width of the projection (the paper's)"},
    {"cache.k", KEY_INT, ROOT(cache.k), "10", RANGE(1, 1024), .help = "neighbours of knn"},
    {"cache.memory_mb", KEY_DOUBLE, ROOT(cache.memory_mb), "12.5", RANGE(0, 1048576),
     .help = "M: points or centroids of all exits together (the paper's for ResNet-18); 0 = no limit"},
    {"cache.threshold", KEY_RULE, ROOT(cache.rule), "max-wrong", .choices = "max-wrong|risk",
     .help =
         "rule that chooses the thresholds: the paper's, or all of them together under the promise below"},
    {"cache.promise", KEY_CHOICE, ROOT(cache.promise), "accuracy", .choices = "accuracy|agreement",
     .help = "risk: what is promised; agreement with the full answer needs no labels"},
    {"cache.max_accuracy_loss", KEY_DOUBLE, ROOT(cache.max_accuracy_loss), "1", RANGE(0.01, 100),
     .help = "risk: points of accuracy (or of agreement) that early answers may cost"},
    {"cache.certainty", KEY_DOUBLE, ROOT(cache.certainty), "0.95", RANGE(0.5, 0.999),
     .help = "risk: of the promise; 0.5 promises nothing beyond the calibration data"},
    {"cache.wait_us", KEY_INT, ROOT(cache.wait_us), "2000", RANGE(0, 10000000),
     .help = "longest time that a stage holds a batch back for a verdict"},
    {"cache.placement", KEY_CHOICE, ROOT(cache.placement), "auto", .choices = "auto|near|service",
     .help =
         "who looks up: stage workers, in memory that their cache service shares; it; or what is quicker"},
    {"cache.near_keep_ms", KEY_INT, ROOT(cache.near_keep_ms), "10000", RANGE(0, 86400000),
     .help = "how long stage workers use shared caches when the service is gone; then no cache answers"},
    {"cache.train_epochs", KEY_INT, ROOT(cache.train_epochs), "5", RANGE(1, 10000),
     .help = "passes over the data when a projection is trained"},
    {"cache.augment", KEY_INT, ROOT(cache.augment), "2", RANGE(0, 100),
     .help =
         "learned: copies of each training picture, mirrored, shifted, mixed; 0 where that makes no sense"},
    {"cache.members", KEY_INT, ROOT(cache.members), "1", RANGE(1, PIPELINE_MAX_MEMBERS),
     .help = "learned: predictors of an exit that are taught apart and answer together; each takes a "
             "look-up's time"},
    {"cache.tune", KEY_DOUBLE, ROOT(cache.tune), "0.2", RANGE(0, 10),
     .help = "learned: time for choosing how to teach, as a share of the teaching; 0 = the usual way"},
    {"cache.seed", KEY_UINT64, ROOT(cache.seed), "1", RANGE(0, 9007199254740992.0),
     .help = "of everything random in a build"},
    {"redis.endpoint", KEY_REDIS, ROOT(redis.endpoint), .example = "127.0.0.1:6379",
     .help = "unix:PATH or HOST:PORT; default: none, or a socket in the state directory when managed"},
    {"redis.host", KEY_HOST, ROOT(redis.host), .example = "a",
     .help = "one of `hosts`, of a managed Redis; default: that of the broker"},
    {"redis.managed", KEY_BOOL, ROOT(redis.managed), "false", .help = "`freezeline up` starts and stops it"},
    {"redis.sentinels.#", KEY_REDIS, ROOT(redis.sentinel), .example = "['127.0.0.1:26379']",
     LIST(ROOT(redis.n_sentinels), PIPELINE_MAX_SENTINELS),
     .help = "asked at each connection where the master is, instead of redis.endpoint"},
    {"redis.master", KEY_NAME, ROOT(redis.master), .example = "mymaster", .help = "its name there"},
    {"redis.user", KEY_TEXT, ROOT(redis.user), .example = "freezeline",
     .help = "of Redis's ACL; default: the default user"},
    {"redis.password_file", KEY_PATH, ROOT(redis.password_file), .example = "redis.password",
     .help = "its first line; default: the environment variable FREEZELINE_REDIS_PASSWORD, or no password"},
    {"redis.tls", KEY_BOOL, ROOT(redis.tls), "false",
     .help =
         "of all connections to it; needs redis.tls_ca, and a program made with hiredis 1.0 or later (Debian "
         "13)"},
    {"redis.tls_ca", KEY_PATH, ROOT(redis.tls_ca), .example = "redis-ca.pem",
     .help = "who signed the certificate of Redis (PEM); names in it are not compared, so best an authority "
             "for Redis alone"},
    {"redis.tls_cert", KEY_PATH, ROOT(redis.tls_cert), .example = "redis-client.pem",
     .help = "ours, where Redis asks for one (PEM)"},
    {"redis.tls_key", KEY_PATH, ROOT(redis.tls_key), .example = "redis-client.key",
     .help = "and its key (PEM)"},
    {"updates.sample", KEY_DOUBLE, ROOT(updates.sample), "0.1", RANGE(0, 1),
     .help = "share of the requests that become an update if no exit answers; all while a learner wants more "
             "audits"},
    {"updates.learn", KEY_BOOL, ROOT(updates.learn), "true",
     .help = "caches under threshold: risk learn from live traffic, too (with redis.endpoint; below float32 "
             "once they are built)"},
    {"updates.audit", KEY_DOUBLE, ROOT(updates.audit), "0.01", RANGE(0, 1),
     .help = "share of the requests whose layers all run, after a hit in the background, so that the truth "
             "about it is known"},
    {"updates.audit_most", KEY_DOUBLE, ROOT(updates.audit_most), "0.25", RANGE(0, 1),
     .help = "share of the requests that a learner has run in the background, at most, while caches serve"},
    {"updates.reservoir_mb", KEY_DOUBLE, ROOT(updates.reservoir_mb), "1000", RANGE(1, 1e6),
     .help =
         "of requests that a learner keeps on its disk to teach and certify caches under threshold: risk"},
    {"updates.batch", KEY_INT, ROOT(updates.batch), "256", RANGE(1, 65536),
     .help = "updates applied per new epoch, at most"},
    {"updates.interval_ms", KEY_INT, ROOT(updates.interval_ms), "1000", RANGE(10, 86400000),
     .help = "a new epoch at most this often"},
    {"updates.max_stream", KEY_INT64, ROOT(updates.max_stream), "100000", RANGE(1, 1e9),
     .help = "entries kept in the stream"},
    {"updates.stream_mb", KEY_DOUBLE, ROOT(updates.stream_mb), "256", RANGE(0.01, 1048576),
     .help = "memory that the stream may take in Redis; beyond either limit updates wait"},
    {"updates.spool_mb", KEY_DOUBLE, ROOT(updates.spool_mb), "256", RANGE(0, 1048576),
     .help = "on each cache service's disk, for updates that wait while Redis is away; then the oldest are "
             "dropped"},
    {"variants.#.name", KEY_NAME, VARIANT(name), .example = "int8",
     .help = "of a model for the same question: same inputs, same classes; the first one is this file's own"},
    {"variants.#.file", KEY_PATH, VARIANT(file), .example = "small.yaml",
     .help = "its own pipeline file; default: this one with what `set` says, state in STATE/variants/NAME"},
    {"variants.#.set.#", KEY_TEXT, VARIANT(set), .example = "[precision=int8]",
     LIST(VARIANT(n_sets), PIPELINE_MAX_SETS), .help = "KEY=VALUE: what it has otherwise than this file"},
    {"choose", KEY_RULE, ROOT(choose), "budget", .choices = "budget|cascade|exp3|exp4",
     .help = "which variant answers: by load in `budget`; small first; one by feedback; all, in a vote"},
    {"budget.max_accuracy_loss", KEY_DOUBLE, ROOT(budget.max_accuracy_loss), "1", RANGE(0, 100),
     .help = "points of accuracy that other variants than the best may cost, as a mean over any hour"},
    {"budget.latency_ms", KEY_DOUBLE, ROOT(budget.latency_ms), "0", RANGE(0, 3600000),
     .help = "that a variant may be expected to take; 0: about two thirds of a request's deadline"},
    {"budget.memory_mb", KEY_DOUBLE, ROOT(budget.memory_mb), "0", RANGE(0, 1048576),
     .help = "of all variants that are loaded; 0: no bound"},
    {"budget.cpu_seconds_per_second", KEY_DOUBLE, ROOT(budget.cpu_seconds_per_second), "0", RANGE(0, 65536),
     .help = "processor time of all variants together; 0: no bound"},
    {"logs.format", KEY_CHOICE, ROOT(logs.format), "text", .choices = "text|json",
     .help = "of lines: for people, or one JSON object each"},
    {"logs.max_mb", KEY_DOUBLE, ROOT(logs.max_mb), "16", RANGE(0.01, 1048576),
     .help = "of each process's log; then it becomes .log.1, that becomes .log.2, and so on"},
    {"logs.keep", KEY_INT, ROOT(logs.keep), "2", RANGE(0, 100), .help = "old logs of each process, at most"},
    {"traces.to", KEY_TEXT, ROOT(traces.to), .example = "http://127.0.0.1:4318/v1/traces",
     .help = "where the time of sampled requests is told, as OTLP/JSON: a collector, or a file (in `state`)"},
    {"traces.share", KEY_DOUBLE, ROOT(traces.share), "0.01", RANGE(0, 1),
     .help = "of the requests, beside those whose traceparent says that they are sampled"},
};
const int pipeline_n_keys = (int)(sizeof pipeline_keys / sizeof *pipeline_keys);

const struct key *key_find(const char *pattern)
{
    for (int i = 0; i < pipeline_n_keys; i++)
        if (!strcmp(pipeline_keys[i].path, pattern))
            return &pipeline_keys[i];
    return NULL;
}

static bool has_below(const char *pattern, bool item)
{
    size_t length = strlen(pattern);
    for (int i = 0; i < pipeline_n_keys; i++) {
        const char *path = pipeline_keys[i].path;
        if (length == 0 || (!strncmp(path, pattern, length) && path[length] == '.'))
            if ((path[length ? length + 1 : 0] == '#') == item)
                return true;
    }
    return false;
}

bool key_is_section(const char *pattern)
{
    return has_below(pattern, false);
}

bool key_is_list(const char *pattern)
{
    return has_below(pattern, true);
}

/* Is there a key at or below the first `length` characters of `path`? */
static bool known_prefix(const char *path, size_t length)
{
    for (int i = 0; i < pipeline_n_keys; i++)
        if (!strncmp(pipeline_keys[i].path, path, length) && strchr(".", pipeline_keys[i].path[length]))
            return true;
    return false;
}

/* A key elsewhere whose last word is that of the pattern: a right word in a wrong section. */
static const char *same_word(const char *pattern)
{
    const char *dot = strrchr(pattern, '.');
    const char *word = dot ? dot + 1 : pattern;
    for (int i = 0; i < pipeline_n_keys; i++) {
        const char *path = pipeline_keys[i].path;
        const char *last = strrchr(path, '.');
        if (!strcmp(last ? last + 1 : path, word) && *word != '#')
            return path;
    }
    return NULL;
}

const char *key_nearest(const char *pattern, char *buf, size_t size)
{
    const char *elsewhere = same_word(pattern);
    size_t known = 0; /* length of the part that is known, its dot included */
    char word[128], sibling[128];
    int least = 1 << 30;

    for (size_t i = 0; pattern[i]; i++)
        if (pattern[i] == '.' && known_prefix(pattern, i))
            known = i + 1;
    snprintf(word, sizeof word, "%.*s", (int)strcspn(pattern + known, "."), pattern + known);
    snprintf(buf, size, "%s", elsewhere ? elsewhere : "model");
    for (int i = 0; !elsewhere && i < pipeline_n_keys; i++) {
        const char *path = pipeline_keys[i].path;
        int distance;
        if (strncmp(path, pattern, known))
            continue;
        snprintf(sibling, sizeof sibling, "%.*s", (int)strcspn(path + known, "."), path + known);
        distance = edit_distance(word, sibling);
        if (distance < least) {
            least = distance;
            snprintf(buf, size, "%.*s%s", (int)known, pattern, sibling);
        }
    }
    return buf;
}

const char *key_takes(const struct key *k, char *buf, size_t size)
{
    const char *what = k->type == KEY_FLOAT || k->type == KEY_DOUBLE ? "a number" : "a whole number";
    size_t n = 0;
    switch (k->type) {
    case KEY_TEXT:
        snprintf(buf, size, "text");
        break;
    case KEY_NAME:
        snprintf(buf, size, "a name of up to 63 letters, digits, `_`, `-` and `.`");
        break;
    case KEY_PATH:
    case KEY_LABELS:
        snprintf(buf, size, "the path of a file or directory");
        break;
    case KEY_HOST:
        snprintf(buf, size, "the name or the address of a machine");
        break;
    case KEY_ENDPOINT:
        snprintf(buf, size, "tcp://HOST:PORT or ipc://PATH");
        break;
    case KEY_REDIS:
        snprintf(buf, size, "unix:PATH or HOST:PORT");
        break;
    case KEY_BOOL:
        snprintf(buf, size, "true or false");
        break;
    case KEY_CHOICE:
    case KEY_RULE:
    case KEY_EXITS:
        for (const char *c = k->choices; *c && n + 8 < size; c++)
            n += (size_t)snprintf(buf + n, size - n, *c == '|' ? (strchr(c + 1, '|') ? ", " : " or ") : "%c",
                                  *c);
        break;
    default:
        snprintf(buf, size, "%s from %.16g to %.16g", what, k->min, k->max);
    }
    return buf;
}

int key_error(struct key_source o, bool at_key, struct error *e, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!o.entry)
        return error_set(e, FL_CONFIG, "%s: %s", o.file, text);
    if (!o.entry->line)
        return error_set(e, FL_CONFIG, "--set %s: %s", o.entry->path, text);
    return error_set(e, FL_CONFIG, "%s:%d:%d: %s", o.file, at_key ? o.entry->key_line : o.entry->line,
                     at_key ? o.entry->key_column : o.entry->column, text);
}
