/* command.h - the commands of the tool
 *
 * A command parses its own arguments, prints its result on stdout and returns an enum fl_code with one line
 * in *e. Messages and progress go to stderr.
 */
#ifndef FREEZELINE_COMMAND_H
#define FREEZELINE_COMMAND_H

#include "base/error.h"

typedef int (*command_function)(int argc, char **argv, struct error *e);

int command_inspect(int argc, char **argv, struct error *e);
int command_run(int argc, char **argv, struct error *e);
int command_profile(int argc, char **argv, struct error *e);
int command_plan(int argc, char **argv, struct error *e);
int command_quantize(int argc, char **argv, struct error *e);
int command_compress(int argc, char **argv, struct error *e);
int command_build(int argc, char **argv, struct error *e);
int command_eval(int argc, char **argv, struct error *e);
int command_variants(int argc, char **argv, struct error *e);
int command_verify_promise(int argc, char **argv, struct error *e);
int command_up(int argc, char **argv, struct error *e);
int command_supervise(int argc, char **argv, struct error *e); /* what `up` leaves behind; not listed */
int command_objects(int argc, char **argv, struct error *e);   /* for ship.h; not listed */
int command_export(int argc, char **argv, struct error *e);
int command_apply(int argc, char **argv, struct error *e);
int command_rollout(int argc, char **argv, struct error *e);
int command_restart(int argc, char **argv, struct error *e);
int command_scale(int argc, char **argv, struct error *e);
int command_status(int argc, char **argv, struct error *e);
int command_logs(int argc, char **argv, struct error *e);
int command_down(int argc, char **argv, struct error *e);
/* Runs a command, once for each of the file's `variants` where it is one on all of them. */
int command_each_variant(const char *command, command_function run, int argc, char **argv, struct error *e);
int command_infer(int argc, char **argv, struct error *e);
int command_bench(int argc, char **argv, struct error *e);
int command_simulate(int argc, char **argv, struct error *e);
int command_compare(int argc, char **argv, struct error *e);
int command_report(int argc, char **argv, struct error *e);
int command_feedback(int argc, char **argv, struct error *e);
int command_keys(int argc, char **argv, struct error *e);
int command_cache(int argc, char **argv, struct error *e);
int command_top(int argc, char **argv, struct error *e);
int command_generate(int argc, char **argv, struct error *e);

#endif
