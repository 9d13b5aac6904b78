/* harness.h - real processes for integration tests
 *
 * Each harness has a temp folder of its own with the pipeline file, sockets and one log per process. Binaries
 * come from $FREEZELINE_BUILD (default build/release). Waiting is for a line in a log or for an exit, never
 * for a time. harness_free ends every process that was started, by its pid, and fails the test when a log has
 * a sanitizer's report.
 */
#ifndef FREEZELINE_HARNESS_H
#define FREEZELINE_HARNESS_H

#include "tests/testing.h"
#include "config/pipeline.h"
#include "client/client.h"

#define HARNESS_PATH 512

struct harness;

/* Folder and pipeline.yaml with this text (the model's line is written before it: tests/data/tiny.onnx unless
 * `model` says otherwise); loads it. Where the text says neither kernels nor precision, kernels are openblas:
 * they need not be timed whenever a process starts. Fails the test when anything goes wrong. */
struct harness *harness_new(const char *model, const char *yaml);
void harness_free(struct harness *h);

const struct pipeline *harness_pipeline(const struct harness *h);
const char *harness_dir(const struct harness *h);
const char *harness_config(const struct harness *h); /* path of pipeline.yaml */

/* Starts build/VARIANT/`program` -c pipeline.yaml `args`... (ended by NULL); returns its number. Does not
 * wait. */
int harness_spawn(struct harness *h, const char *program, ...);
/* The same for any program at `path`, with argv as given. */
int harness_spawn_path(struct harness *h, const char *path, const char *const *argv);
/* Start one and wait for its ready line. */
int harness_broker(struct harness *h);
int harness_stage(struct harness *h, int stage, int replica);
int harness_cache(struct harness *h, int index);
/* A redis-server on a unix socket in the folder, waited for; *endpoint (HARNESS_PATH bytes) becomes
 * "unix:PATH". -1 when there is no redis-server. */
int harness_redis(struct harness *h, char *endpoint);
/* Broker and every replica of every stage, waited for until the broker says all are ready. Returns the
 * broker's number; the workers' follow in order. */
int harness_pipeline_up(struct harness *h);

/* The path of its log. */
const char *harness_log(const struct harness *h, int process);
int harness_pid(const struct harness *h, int process);
void harness_signal(struct harness *h, int process, int number);
/* Waits for its end; returns the exit status, or -signal. */
int harness_wait(struct harness *h, int process);
/* Waits until its log has `text` at least `times` times; fails the test after 60 s or when the process ends
 * before. */
void harness_expect(struct harness *h, int process, const char *text, int times);
/* How often its log has `text` now. */
int harness_count(struct harness *h, int process, const char *text);

/* A client of this pipeline; the caller frees it. */
struct client *harness_client(const struct harness *h);
struct status_reply harness_status(struct client *c);
/* Pseudo-random numbers between -1 and 1 by seed, into a tensor's data. */
void harness_random(float *to, int64_t n, uint64_t seed);

/* Polls `condition` until it is true; fails the test after `seconds`. */
void harness_until(bool (*condition)(void *arg), void *arg, int seconds, const char *what);

#endif
