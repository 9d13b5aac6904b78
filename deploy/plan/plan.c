/* plan.c - `freezeline plan`: cut a model into stages of equal expected time */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/precision.h"
#include "deploy/model/whole_model.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/process/claim.h"
#include "deploy/operate/apply.h"
#include "deploy/process/running.h"
#include "deploy/process/served.h"
#include "deploy/model/pays.h"
#include "plan_simulated.h"
#include "plan_survivors.h"
#include "deploy/tool/report.h"
#include "stages/place/placement.h"
#include "stages/place/planner.h"
#include "stages/exec/profile.h"
#include "deploy/tool/table.h"

static const struct usage usage = {
    .command = "plan",
    .summary = "Profiles the model, cuts it into stages of equal expected time, and writes the stages into "
               "the pipeline file. Exits stay as they are.",
    .notes =
        "The time of each layer counts with the share of requests that run there: all of them, or what a\n"
        "report of `eval --json` (--survivors) says, or, with --apply, what the exits of the running\n"
        "pipeline have answered. Who is answered at an exit within a stage runs on to the next one there:\n"
        "so stages like to end behind exits. Replicas of a stage share its time. Crossing a cut costs\n"
        "the activation's bytes at --link-mbps. Other lines of the file stay as they are.\n\n"
        "examples:\n"
        "  freezeline plan -c P.yaml --stages 3\n"
        "  freezeline plan -c P.yaml --stages 4 --survivors eval.json --output P4.yaml\n"
        "  freezeline plan -c P.yaml --apply\n",
};

struct plan {
    struct pipeline_arguments where;
    const char *output, *survivors;
    int stages, threads, runs, cores; /* cores 0: workers stay as they are */
    double link_mbps;
    struct plan_simulated simulated; /* rate 0: by equal times alone */
    struct plan_survivors early;     /* of the running pipeline or of a report; none: all run to the end */
    bool apply, json;
    struct pipeline *pipeline;
    struct graph *graph;
    struct cut *cuts; /* after blocks, or all when these are too few */
    int n_cuts;
    double *until_ms, *transfer_ms; /* of the nodes before each, per cut */
    int chosen[PIPELINE_MAX_STAGES];
    struct profile profile;
    struct message_cost message; /* here, where stages are processes of one host */
    struct pays pays;
    bool profiled, moved; /* moved: the running pipeline took the cuts */
};

static int keep_blocks(struct plan *p, struct error *e)
{
    int blocks = 0, rc = graph_cuts(p->graph, &p->cuts, &p->n_cuts, e);

    for (int i = 0; !rc && i < p->n_cuts; i++)
        blocks += p->cuts[i].after_block;
    if (rc || blocks < p->stages - 1 || !blocks)
        return rc;
    blocks = 0;
    for (int i = 0; i < p->n_cuts; i++)
        if (p->cuts[i].after_block)
            p->cuts[blocks++] = p->cuts[i];
    p->n_cuts = blocks;
    return FL_OK;
}

static int measure(struct plan *p, struct error *e)
{
    struct exec *x = NULL;
    int rc;

    if ((rc = whole_model_new(&x, p->graph, p->pipeline, p->threads, 1, e)) ||
        (rc = profile_run(&p->profile, x, p->graph, 0, p->graph->n_nodes - 1, p->threads, 1, p->runs, e)) ||
        (rc = message_cost_measure(&p->message, p->pipeline, p->profile.median_ms / p->stages, e)))
        goto done;
    p->profiled = true;
    p->until_ms = calloc((size_t)p->graph->n_nodes + 1, sizeof *p->until_ms);
    p->transfer_ms = calloc((size_t)p->n_cuts + 1, sizeof *p->transfer_ms);
    if (!p->until_ms || !p->transfer_ms) {
        rc = error_set(e, FL_NOMEM, "no memory");
        goto done;
    }
    for (int i = 0; i < p->graph->n_nodes; i++)
        p->until_ms[i + 1] = p->until_ms[i] + (i < p->profile.n_layers ? p->profile.layer[i].median_ms : 0);
    for (int i = 0; i < p->n_cuts; i++) {
        struct tensor t = value_shape(&p->graph->values[p->cuts[i].value], 1);
        p->transfer_ms[i] =
            p->message.fixed_ms +
            precision_wire_bytes(p->pipeline, (double)tensor_bytes(&t)) * 8 / (p->link_mbps * 1e3);
    }
done:
    exec_free(x);
    return rc;
}

/* Sets text that the pipeline owns. */
static int set(char **to, const char *text, struct error *e)
{
    char *copy = strdup(text);
    if (!copy)
        return error_set(e, FL_NOMEM, "no memory");
    free(*to);
    *to = copy;
    return FL_OK;
}

static struct planner_input planner_input_of(const struct plan *p)
{
    return (struct planner_input){.until_ms = p->until_ms,
                                  .n_nodes = p->graph->n_nodes,
                                  .cuts = p->cuts,
                                  .n_cuts = p->n_cuts,
                                  .n_stages = p->stages,
                                  .exit = p->early.exit,
                                  .n_exits = p->early.n_exits,
                                  .far = p->pipeline->cache.placement &&
                                         !strcmp(p->pipeline->cache.placement, "service")};
}

static double stage_ms(const struct plan *p, int stage)
{
    struct planner_input in = planner_input_of(p);
    return planner_stage_ms(&in, stage ? p->chosen[stage - 1] : -1,
                            stage < p->stages - 1 ? p->chosen[stage] : p->n_cuts);
}

/* More workers where a stage's part of the work keeps more than one of the cores busy; never fewer. */
static void add_workers(struct plan *p)
{
    double ms[PIPELINE_MAX_STAGES];
    int workers[PIPELINE_MAX_STAGES];

    for (int s = 0; s < p->stages; s++)
        ms[s] = stage_ms(p, s);
    planner_workers(ms, p->stages, p->cores, workers);
    for (int s = 0; s < p->stages; s++) {
        struct stage_config *stage = &p->pipeline->stage[s];
        int most = workers[s] < PIPELINE_MAX_REPLICAS ? workers[s] : PIPELINE_MAX_REPLICAS;
        stage->n_replicas = most > stage->n_replicas ? most : stage->n_replicas;
    }
}

/* Stages that the file does not have yet are like its last one, with one worker. */
static int write_stages(struct plan *p, struct error *e)
{
    struct pipeline *to = p->pipeline;
    int rc = FL_OK;

    for (int s = to->n_stages; s < p->stages; s++) {
        struct stage_config *from = &to->stage[to->n_stages - 1], *fresh = &to->stage[s];
        memset(fresh, 0, sizeof *fresh);
        fresh->threads = from->threads;
        fresh->max_batch = from->max_batch;
        fresh->fixed_batch = from->fixed_batch;
        fresh->n_replicas = 1;
    }
    for (int s = p->stages; s < to->n_stages; s++) {
        for (int k = 0; k < to->stage[s].n_replicas; k++) {
            free(to->stage[s].replica[k].host);
            free(to->stage[s].replica[k].endpoint);
        }
        free(to->stage[s].last);
        memset(&to->stage[s], 0, sizeof to->stage[s]);
    }
    to->n_stages = p->stages;
    for (int s = 0; !rc && s < p->stages - 1; s++)
        rc = set(&to->stage[s].last, p->cuts[p->chosen[s]].name, e);
    free(to->stage[p->stages - 1].last);
    to->stage[p->stages - 1].last = NULL;
    if (p->cores)
        add_workers(p);
    return rc;
}

/* The stages' times are weighed by who runs there: their sum is what a request computes on average. */
static void find_out_whether_it_pays(struct plan *p)
{
    const struct graph *g = p->graph;
    struct tensor input = value_shape(&g->values[g->inputs[0]], 1);
    double bytes[PIPELINE_MAX_STAGES] = {0}, sum = p->until_ms[g->n_nodes], weighed = 0;

    for (int s = 0; s < p->stages - 1; s++) {
        struct tensor t = value_shape(&g->values[p->cuts[p->chosen[s]].value], 1);
        bytes[s] = precision_wire_bytes(p->pipeline, (double)tensor_bytes(&t));
    }
    for (int s = 0; s < p->stages; s++)
        weighed += stage_ms(p, s);
    p->pays = (struct pays){.one_process_ms = p->profile.median_ms,
                            .time_share = sum > 0 ? weighed / sum : 1,
                            .messages_ms =
                                pays_messages_ms(&p->message, (double)tensor_bytes(&input), bytes, p->stages),
                            .stages = p->stages};
}

static const char *last_of(const struct plan *p, int stage)
{
    return stage < p->stages - 1 ? p->cuts[p->chosen[stage]].name : "(end)";
}

static int print_json(const struct plan *p, const char *written, struct error *e)
{
    json_t *stages = json_array(), *exits = json_array(), *root;

    for (int s = 0; s < p->stages; s++)
        json_array_append_new(
            stages, json_pack("{s:s, s:i, s:o, s:o}", "last", last_of(p, s), "workers",
                              p->pipeline->stage[s].n_replicas, "expected_ms",
                              report_rounded(stage_ms(p, s), 6), "transfer_ms",
                              report_rounded(s < p->stages - 1 ? p->transfer_ms[p->chosen[s]] : 0, 6)));
    for (int i = 0; i < p->pipeline->n_exits; i++)
        json_array_append_new(exits, json_pack("{s:s, s:s}", "name",
                                               p->pipeline->exit[i].name ? p->pipeline->exit[i].name : "",
                                               "after", p->pipeline->exit[i].after));
    root = json_pack("{s:s, s:o, s:o, s:b, s:o}", "written", written, "whole_ms",
                     report_rounded(p->profile.median_ms, 6), "stages", stages, "exits_auto",
                     p->pipeline->exits_auto, "exits", exits);
    if (root)
        json_object_set_new(root, "pays", pays_json(&p->pays));
    if (root && p->apply)
        json_object_set_new(root, "moved", json_boolean(p->moved));
    if (root && p->simulated.rate > 0) {
        json_object_set_new(root, "simulated_p99_ms", report_rounded(p->simulated.after_ms, 6));
        json_object_set_new(root, "equal_times_p99_ms", report_rounded(p->simulated.before_ms, 6));
    }
    if (root)
        report_engine(root, p->threads);
    return report_print(root, e);
}

static int print_table(const struct plan *p, const char *written, struct error *e)
{
    struct table *t;
    char text[384];
    int rc;

    t = table_new("stage|last layer|layer|expected ms|transfer ms|workers", "llrrrr");
    for (int s = 0; s < p->stages; s++) {
        bool end = s == p->stages - 1;
        table_cells(t, "%d|%.80s|%d|%.3f|%.3f|%d", s, last_of(p, s),
                    end ? graph_depth(p->graph) : p->cuts[p->chosen[s]].depth, stage_ms(p, s),
                    end ? 0 : p->transfer_ms[p->chosen[s]], p->pipeline->stage[s].n_replicas);
    }
    rc = table_end(t, e);
    printf("\nwhole model %.3f ms on one worker of %d thread%s; written to %s\n%s\n", p->profile.median_ms,
           p->threads, p->threads == 1 ? "" : "s", written, pays_sentence(&p->pays, text, sizeof text));
    if (p->apply)
        printf("%.1f%% of the requests are answered early; the running pipeline %s\n", 100 * p->early.early,
               p->moved ? "has moved on to these cuts" : "is cut like this already");
    if (p->simulated.rate > 0)
        printf(
            "simulated p99 at %.1f requests/s: %.3f ms, with stages of equal time %.3f ms (%d simulations)\n",
            p->simulated.rate, p->simulated.after_ms, p->simulated.before_ms, p->simulated.tried);
    return rc;
}

/* A pipeline that is up keeps the cuts that it was started with. */
static void note_running(const struct plan *p)
{
    struct model_shape *m = calloc(1, sizeof *m);
    struct pipeline *now = NULL;
    struct process who;
    struct served s;
    enum claim_holder holder = claim_look(p->pipeline, &who);

    if (m && !p->output && holder != CLAIM_NOBODY && holder != CLAIM_GONE &&
        !running_load(&now, &p->where, NULL) && !model_shape_load(m, now, NULL) &&
        !served_ask(&s, now, m, NULL))
        served_warn(&s, now, usage.command);
    pipeline_free(now);
    free(m);
}

/* The stages' cuts, chosen. */
static int cut(struct plan *p, struct error *e)
{
    struct planner_input in = planner_input_of(p);
    int workers[PIPELINE_MAX_STAGES], rc;

    for (int s = 0; s < p->stages; s++)
        workers[s] = s < p->pipeline->n_stages ? p->pipeline->stage[s].n_replicas : 1;
    in.workers = workers;
    in.transfer_ms = p->transfer_ms;
    if (!(rc = planner_cut(&in, p->chosen, e)) && p->simulated.rate > 0)
        rc = plan_simulate(&p->simulated, p->pipeline, p->graph, p->cuts, p->n_cuts, p->stages, p->chosen, e);
    return rc;
}

static int find_survivors(struct plan *p, struct error *e)
{
    if (p->survivors)
        return plan_survivors_read(&p->early, p->graph, p->survivors, e);
    return p->apply ? plan_survivors_ask(&p->early, p->graph, p->pipeline, &p->where, e) : FL_OK;
}

static int plan(struct plan *p, struct error *e)
{
    const char *written;
    int rc = arguments_load(&p->pipeline, &p->where, e);

    if (rc)
        return rc;
    if (p->apply &&
        (p->output || p->cores || p->where.sets.n || (p->stages && p->stages != p->pipeline->n_stages)))
        return error_set(
            e, FL_USAGE,
            "--apply changes where the running pipeline is cut, and %s: without --output, --set, "
            "--cores and another number of stages (these need `freezeline down` and `freezeline "
            "up`)",
            p->pipeline->path);
    if (p->apply && precision_rounds_wire(p->pipeline) && strcmp(p->pipeline->cache.kind, "none"))
        return error_set(
            e, FL_USAGE,
            "--apply changes where activations are rounded (wire_dtype: bfloat16), and the caches that "
            "serve were built for the places as they are: plan without --apply, build, and reload");
    if ((p->simulated.rate > 0) != (p->simulated.measured != NULL))
        return error_set(e, FL_USAGE, "--simulate RATE and --measured FILE go together");
    written = p->output ? p->output : p->pipeline->path;
    p->stages = p->stages ? p->stages : p->pipeline->n_stages;
    p->threads = p->threads ? p->threads : p->pipeline->stage[0].threads;
    if ((rc = placement_load(&p->graph, p->pipeline, e)) || (rc = keep_blocks(p, e)) ||
        (rc = find_survivors(p, e)) || (rc = measure(p, e)) || (rc = cut(p, e)) ||
        (rc = write_stages(p, e)) || (rc = pipeline_rewrite(p->pipeline, written, e)) ||
        (p->apply && (rc = apply_file(&p->where, &p->moved, e))))
        return rc;
    find_out_whether_it_pays(p);
    if (!p->apply)
        note_running(p);
    return p->json ? print_json(p, written, e) : print_table(p, written, e);
}

int command_plan(int argc, char **argv, struct error *e)
{
    struct plan p = {.runs = 50, .link_mbps = 20000};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(p.where),
        OPTION_INT("stages", p.stages, "N", "how many (as many as the file has)", 1, PIPELINE_MAX_STAGES),
        OPTION_TEXT("survivors", p.survivors, "FILE", "a report of eval --json: who is answered early"),
        OPTION_INT("cores", p.cores, "N", "then as many replicas of each stage as N cores can use", 1, 4096),
        OPTION_FLAG("apply", p.apply,
                    "by what the running pipeline answers early, and make it take the cuts"),
        OPTION_NUMBER("link-mbps", p.link_mbps, "X", "megabit per second between stages (20000: one host)",
                      1e-3, 1e9),
        OPTION_INT("threads", p.threads, "N", "threads of a worker (the file's)", 1, 256),
        OPTION_INT("runs", p.runs, "R", "runs of the profile (50)", 1, 100000),
        OPTION_NUMBER("simulate", p.simulated.rate, "R",
                      "then move the cuts to where simulated p99 at R requests per second is least", 1e-3,
                      1e9),
        OPTION_TEXT("measured", p.simulated.measured, "FILE",
                    "for --simulate: what `simulate --measure` wrote"),
        OPTION_TEXT("output", p.output, "FILE", "write a new file instead of changing P.yaml"),
        ARGUMENTS_JSON(p.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, e);

    if (!rc)
        rc = plan(&p, e);
    if (p.profiled)
        profile_release(&p.profile);
    free(p.cuts);
    free(p.until_ms);
    free(p.transfer_ms);
    graph_free(p.graph);
    pipeline_free(p.pipeline);
    return rc;
}
