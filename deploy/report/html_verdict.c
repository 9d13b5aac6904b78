/* html_verdict.c - the head of a report: the verdict, key figures, what was measured and on what */
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "bench_document.h"
#include "html.h"
#include "html_sections.h"
#include "deploy/plot/markup.h"
#include "deploy/plot/ticks.h"

#define LINE        1024
#define MANY_ERRORS 0.01 /* of the requests; beyond, a run is not valid either */

/* A sentence that grows; what has no room is left out. */
static void say(char line[LINE], const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(char line[LINE], const char *format, ...)
{
    size_t n = strlen(line);
    va_list args;

    va_start(args, format);
    vsnprintf(line + n, LINE - n, format, args);
    va_end(args);
}

static double early_share(const json_t *doc)
{
    const json_t *exits = document_list(doc, "exits"), *exit;
    double share = 0;
    size_t i;

    json_array_foreach(exits, i, exit)
    {
        const char *name = document_text(exit, "name");
        double s = document_number(exit, "share");
        if (name && strcmp(name, "network") != 0 && isfinite(s))
            share += s;
    }
    return json_array_size(exits) ? share : NAN;
}

static const char *seconds(char buf[64], double ms)
{
    return ticks_format(buf, 64, ms / 1000, "s");
}

/* So many failures that latency alone would flatter come first. */
static bool say_failures(char line[LINE], const json_t *doc)
{
    double share = document_number(doc, "errors") / document_number(doc, "sent");
    char buf[64];

    if (!(share > MANY_ERRORS && share <= 1))
        return false;
    say(line, "%.3g%% of the requests failed", 100 * share);
    if (document_number(doc, "refused") > 0 && isfinite(document_number(doc, "refusal_ms.p99")))
        say(line, "; %.10g were refused, 99%% of them within %s", document_number(doc, "refused"),
            seconds(buf, document_number(doc, "refusal_ms.p99")));
    say(line, ". ");
    return true;
}

static void verdict_sentence(char line[LINE], const json_t *doc)
{
    double p50 = document_number(doc, "latency_ms.p50"), p99 = document_number(doc, "latency_ms.p99");
    double rps = document_number(doc, "achieved_rps"), early = early_share(doc);
    double accuracy = document_number(doc, "accuracy");
    char a[64], b[64], c[64];
    bool many_failed;

    if (!isfinite(p50) || !(document_number(doc, "answered") > 0)) {
        say(line, "No request was answered.");
        return;
    }
    many_failed = say_failures(line, doc);
    say(line, "Half of the %s are answered within %s", many_failed ? "others" : "requests", seconds(a, p50));
    if (isfinite(p99) && document_number(doc, "answered") >= 100)
        say(line, ", 99%% within %s", seconds(b, p99));
    if (isfinite(rps))
        say(line, ", at %s", ticks_format(c, sizeof c, rps, "/s"));
    say(line, ".");
    if (early > 0)
        say(line, " %.3g%% leave early at an exit", 100 * early);
    if (isfinite(accuracy))
        say(line, "%s %.4g%% are right", early > 0 ? ";" : "", 100 * accuracy);
    if (early > 0 || isfinite(accuracy))
        say(line, ".");
}

/* What the first configuration saves against each other one, on average. */
static void savings(FILE *to, const json_t *doc)
{
    const json_t *list = document_list(doc, "against.ratios"), *ratio;
    size_t i;

    json_array_foreach(list, i, ratio)
    {
        const char *metric = document_text(ratio, "metric"), *of = document_text(ratio, "of"),
                   *other = document_text(ratio, "to");
        double r = document_number(ratio, "ratio"), low = document_number(ratio, "low"),
               high = document_number(ratio, "high");
        if (!metric || strcmp(metric, "mean") || !of || !other || !isfinite(r) || !isfinite(low) ||
            !isfinite(high))
            continue;
        if (low > 1 || high < 1)
            html_line(to, "verdict",
                      "%s takes %.0f%% %s time than %s, on average (%.2fx, 95%% interval %.2f to %.2f).", of,
                      100 * fabs(1 - r), r < 1 ? "less" : "more", other, r, low, high);
        else
            html_line(to, "verdict",
                      "%s and %s take the same time, within the noise (%.2fx, 95%% interval %.2f to %.2f).",
                      of, other, r, low, high);
    }
}

static void doubts(FILE *to, const json_t *doc)
{
    const json_t *list = document_list(doc, "doubts"), *doubt;
    const char *one = document_text(doc, "doubt");
    size_t i;

    if (document_truth(doc, "valid", false)) {
        fputs("<p><span class=\"good\">\xe2\x9c\x93 Valid.</span> The figures can be trusted: the generator "
              "kept up, "
              "nothing was lost, and the parts explain the whole.</p>\n",
              to);
        return;
    }
    fputs("<p><span class=\"bad\">\xe2\x9c\x95 Not valid.</span> Do not quote these figures: ", to);
    if (json_array_size(list))
        json_array_foreach(list, i, doubt)
        {
            fputs(i ? "; " : "", to);
            markup_text(to, json_is_string(doubt) ? json_string_value(doubt) : "?");
        }
    else
        markup_text(to, one ? one : "the document gives no reason");
    fputs(".</p>\n", to);
}

static void tile(FILE *to, const char *name, double value, const char *unit)
{
    char text[64];

    if (!isfinite(value))
        return;
    fprintf(to, "<div><dt>%s</dt><dd>", name);
    markup_text(to, ticks_format(text, sizeof text, value, unit));
    fputs("</dd></div>", to);
}

static double resident(const json_t *doc)
{
    const json_t *list = document_list(doc, "processes"), *process;
    double sum = 0;
    size_t i;

    json_array_foreach(list, i, process) sum += fmax(document_number(process, "resident_bytes"), 0);
    return sum > 0 ? sum : NAN;
}

static void tiles(FILE *to, const json_t *doc)
{
    double sent = document_number(doc, "sent"), errors = document_number(doc, "errors");
    double answered = document_number(doc, "answered");

    fputs("<dl class=\"tiles\">", to);
    tile(to, "p50", document_number(doc, "latency_ms.p50") / 1000, "s");
    if (answered >= 100) /* of fewer, none lies beyond it: nobody saw it */
        tile(to, "p99", document_number(doc, "latency_ms.p99") / 1000, "s");
    if (answered >= 1000)
        tile(to, "p99.9", document_number(doc, "latency_ms.p999") / 1000, "s");
    tile(to, "answered", document_number(doc, "achieved_rps"), "/s");
    if (errors > 0)
        tile(to, "within the deadline", document_number(doc, "goodput_rps"), "/s");
    tile(to, "left early", 100 * early_share(doc), "%");
    tile(to, "accuracy", 100 * document_number(doc, "accuracy"), "%");
    tile(to, "errors", sent > 0 ? 100 * errors / sent : NAN, "%");
    tile(to, "CPU a request", document_number(doc, "cpu_seconds_per_request"), "s");
    tile(to, "energy a request", document_number(doc, "joules_per_request"), "J");
    tile(to, "memory", resident(doc), "B");
    fputs("</dl>\n", to);
}

static void row(struct html_table *t, const char *name, const char *value)
{
    if (value && *value) {
        html_cell(t, "%s", name);
        html_cell(t, "%s", value);
    }
}

/* "x, y" for those keys that are there, each with a word before it. */
static void append(char line[LINE], const json_t *doc, const char *path, const char *before,
                   const char *after)
{
    const char *text = document_text(doc, path);
    double x = document_number(doc, path);

    if (text)
        say(line, "%s%s%s%s", *line ? ", " : "", before, text, after);
    else if (isfinite(x))
        say(line, "%s%s%.10g%s", *line ? ", " : "", before, x, after);
}

static void machine_rows(struct html_table *t, const json_t *doc)
{
    char machine[LINE] = "", software[LINE] = "", bytes[64];
    double memory = document_number(doc, "machine.memory_bytes");

    append(machine, doc, "machine.cpu", "", "");
    append(machine, doc, "machine.cores", "", " cores");
    if (memory > 0)
        say(machine, "%s%s", *machine ? ", " : "", ticks_format(bytes, sizeof bytes, memory, "B"));
    append(machine, doc, "machine.governor", "governor ", "");
    append(machine, doc, "machine.kernel", "", "");
    append(software, doc, "machine.freezeline", "freezeline ", "");
    append(software, doc, "machine.revision", "revision ", "");
    append(software, doc, "machine.conv_engine", "convolutions by ", "");
    append(software, doc, "machine.openblas", "OpenBLAS ", "");
    append(software, doc, "machine.blas_core", "its core ", "");
    if (!strstr(software, "oneDNN")) /* the engine may be it, and say its version */
        append(software, doc, "machine.onednn", "oneDNN ", "");
    append(software, doc, "machine.zmq", "ZeroMQ ", "");
    row(t, "Machine", machine);
    row(t, "Software", software);
}

static void pipeline_rows(struct html_table *t, const json_t *doc)
{
    const json_t *replicas = document_list(doc, "pipeline.replicas");
    char line[LINE] = "", bytes[64];
    const char *path = document_text(doc, "pipeline.model");
    double model = document_number(doc, "pipeline.model_bytes");
    size_t i;

    append(line, doc, "pipeline.file", "", "");
    if (path)
        say(line, "%smodel %s", *line ? ", " : "", strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    if (model > 0)
        say(line, " (%s)", ticks_format(bytes, sizeof bytes, model, "B"));
    append(line, doc, "pipeline.stages", "", " stages");
    if (json_array_size(replicas)) {
        say(line, ", replicas");
        for (i = 0; i < json_array_size(replicas); i++)
            say(line, " %.0f", json_number_value(json_array_get(replicas, i)));
    }
    if (json_array_size(document_list(doc, "pipeline.exits")))
        say(line, ", %zu exits", json_array_size(document_list(doc, "pipeline.exits")));
    if (document_object(doc, "pipeline"))
        say(line, ", caches %s", document_truth(doc, "pipeline.caches", false) ? "on" : "off");
    row(t, "Pipeline", line);
    row(t, "Promise", document_text(doc, "pipeline.promise"));
    row(t, "The file asks for", document_text(doc, "pipeline.promise_asked"));
}

static void load_rows(struct html_table *t, const json_t *doc)
{
    char line[LINE] = "", text[64];
    double rate = document_number(doc, "load.rate"), zipf = document_number(doc, "load.zipf_s"),
           late = document_number(doc, "generator.lateness_us.p99");

    append(line, doc, "load.loop", "", " loop");
    append(line, doc, "load.scenario", "scenario ", "");
    if (rate > 0)
        say(line, ", %s offered", ticks_format(text, sizeof text, rate, "/s"));
    if (document_number(doc, "load.closed") > 0)
        append(line, doc, "load.closed", "", " in flight");
    append(line, doc, "load.arrivals", "arrivals: ", "");
    append(line, doc, "load.traffic", "traffic: ", "");
    if (zipf > 0)
        say(line, " (s = %.3g)", zipf);
    append(line, doc, "load.data", "data ", "");
    append(line, doc, "load.warmup_requests", "", " requests of warm-up");
    append(line, doc, "load.seed", "seed ", "");
    row(t, "Load", line);
    line[0] = 0;
    append(line, doc, "sent", "", " sent");
    append(line, doc, "answered", "", " answered");
    append(line, doc, "errors", "", " errors");
    append(line, doc, "seconds", "in ", " s");
    if (late >= 0)
        say(line, ", generator late by %s at p99", ticks_format(text, sizeof text, late * 1e-6, "s"));
    row(t, "Requests", line);
}

void html_verdict(FILE *to, const json_t *doc)
{
    const char *label = document_text(doc, "label"), *started = document_text(doc, "started");
    char line[LINE] = "";
    struct html_table t;

    fputs("<header><h1>freezeline bench", to);
    if (label) {
        fputs(" \xc2\xb7 ", to);
        markup_text(to, label);
    }
    fputs("</h1>\n", to);
    verdict_sentence(line, doc);
    html_line(to, "verdict", "%s", line);
    savings(to, doc);
    doubts(to, doc);
    tiles(to, doc);
    html_table_open(&t, to, NULL, NULL, "ll");
    pipeline_rows(&t, doc);
    load_rows(&t, doc);
    machine_rows(&t, doc);
    row(&t, "Started", started);
    html_table_close(&t, NULL);
    fputs("</header>\n", to);
}

void html_processes(FILE *to, const json_t *doc)
{
    const json_t *list = document_list(doc, "processes"), *process;
    struct html_table t;
    size_t i;

    html_section(to, "processes", "Processes", NULL);
    if (!json_array_size(list)) {
        html_absent(to, "Not shown: the document does not name the processes.");
        html_section_end(to);
        return;
    }
    html_table_open(&t, to, "Memory and processor time", "process|host|pid|memory|CPU time", "llrrr");
    json_array_foreach(list, i, process)
    {
        const char *role = document_text(process, "role"), *host = document_text(process, "host");
        double stage = document_number(process, "stage"), replica = document_number(process, "replica");
        if (stage >= 0 && replica >= 0)
            html_cell(&t, "%s %.0f.%.0f", role ? role : "?", stage, replica);
        else
            html_cell(&t, "%s", role ? role : "?");
        html_cell(&t, "%s", host ? host : "");
        html_cell(&t, "%.0f", document_number(process, "pid"));
        html_number(&t, document_number(process, "resident_bytes"), "B");
        html_number(&t, document_number(process, "cpu_seconds"), "s");
    }
    html_table_close(&t, "");
    html_section_end(to);
}
