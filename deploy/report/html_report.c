/* html_report.c - `freezeline report`: the page of a saved bench document */
#include "html_report.h"

#include <stdio.h>

#include "deploy/tool/arguments.h"
#include "bench_document.h"
#include "deploy/tool/command.h"
#include "deploy/tool/output.h"
#include "html.h"
#include "html_sections.h"
#include "deploy/tool/report.h"

static const struct usage usage = {
    .command = "report",
    .operands = "BENCH.json",
    .summary = "Makes a page from what `freezeline bench --output BENCH.json` saved.",
    .notes = "One file without scripts or network: the verdict, the configuration and the machine, and\n"
             "pictures, each with its data as a table.\n\n"
             "example:\n"
             "  freezeline report before.json --output before.html\n",
    .min_operands = 1,
    .max_operands = 1,
};

static int body(FILE *to, const json_t *doc, struct error *e)
{
    int rc;

    html_verdict(to, doc);
    html_ratios(to, doc);
    html_parts(to, doc);
    html_waterfall(to, doc);
    if ((rc = html_percentiles(to, doc, e)) || (rc = html_load(to, doc, e)))
        return rc;
    html_flow(to, doc);
    if ((rc = html_exits(to, doc, e)) || (rc = html_timeline(to, doc, e)))
        return rc;
    html_processes(to, doc);
    return FL_OK;
}

static int page(FILE *to, const void *arg, struct error *e)
{
    const json_t *doc = arg;
    const char *label = document_text(doc, "label");
    char title[256];
    int rc;

    snprintf(title, sizeof title, "%.200s - freezeline bench", label ? label : "latency");
    html_open(to, title);
    rc = body(to, doc, e);
    html_line(to, "footer note",
              "Made by freezeline report from a document of freezeline bench. It stays valid "
              "without a network.");
    html_close(to);
    return rc;
}

int html_report_write(const json_t *doc, const char *path, struct error *e)
{
    return output_write(path, page, doc, e);
}

int command_report(int argc, char **argv, struct error *e)
{
    const char *output = NULL;
    struct argument_list operands;
    bool json = false;
    json_t *doc = NULL;
    const struct argument table[] = {
        {ARGUMENT_TEXT, "output", 'o', &output, "FILE.html", "where the page goes", 0, 0},
        ARGUMENTS_JSON(json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &operands, e);

    if (rc)
        return rc;
    if (!output)
        return error_set(e, FL_USAGE, "--output FILE.html is missing: where should the page go?");
    if ((rc = document_load(&doc, operands.item[0], e)) == FL_OK)
        rc = html_report_write(doc, output, e);
    if (!rc && json)
        rc = report_print(
            json_pack("{s:s, s:b}", "output", output, "valid", document_truth(doc, "valid", false)), e);
    else if (!rc)
        printf("%s\n", output);
    json_decref(doc);
    return rc;
}
