/* bench_csv.c - a row of figures for each rate */
#include "bench_csv.h"

#include <stdbool.h>
#include <stdio.h>

#include "deploy/tool/output.h"

/* object[group][name] in us, given in ms; 0 where it is null. */
static double us(const json_t *object, const char *group, const char *name)
{
    return 1000 * json_number_value(json_object_get(json_object_get(object, group), name));
}

static void csv_row(FILE *to, const json_t *load, double rate, double per_second, const json_t *of)
{
    const char *const sums[] = {"client", "broker", "wire", "serialise", "residual"};
    double network = 0;

    for (int i = 0; i < 5; i++)
        network += us(of, "parts_ms", sums[i]);
    if (rate > 0)
        fprintf(to, "%.6g", rate);
    else
        fprintf(to, "%lld", (long long)json_integer_value(json_object_get(load, "closed")));
    fprintf(to, ",%.6g,0,%.0f,%.0f,0,%.0f,%.0f,0,%.0f,%.0f,%.0f,%.0f\n", per_second, network,
            us(of, "parts_ms", "queue"), us(of, "parts_ms", "compute"), us(of, "parts_ms", "lookup"),
            us(of, "latency_ms", "p50"), us(of, "latency_ms", "p90"), us(of, "latency_ms", "p95"),
            us(of, "latency_ms", "p99"));
}

static int write_rows(FILE *to, const void *arg, struct error *e)
{
    const json_t *document = arg;
    const json_t *load = json_object_get(document, "load"), *sweep = json_object_get(document, "sweep"),
                 *point;
    bool open = json_array_size(sweep) || json_is_number(json_object_get(load, "rate"));
    size_t i;

    fprintf(
        to,
        "%s,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,Server "
        "Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency\n",
        open ? "Request Rate" : "Concurrency");
    if (!json_array_size(sweep))
        csv_row(to, load, json_number_value(json_object_get(load, "rate")),
                json_number_value(json_object_get(document, "achieved_rps")), document);
    json_array_foreach(sweep, i, point)
    {
        csv_row(to, load, json_number_value(json_object_get(point, "rate")),
                json_number_value(json_object_get(point, "achieved_rps")), point);
    }
    (void)e;
    return FL_OK;
}

int bench_csv_write(const json_t *document, const char *path, struct error *e)
{
    return output_write(path, write_rows, document, e);
}
