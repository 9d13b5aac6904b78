/* build_report.c - what `freezeline build` prints: the caches, the contest of kinds, the promise */
#include <stdio.h>
#include <string.h>

#include "build.h"
#include "deploy/tool/report.h"
#include "deploy/tool/table.h"

static bool is_learned(const struct build *b, int i)
{
    return b->cache[i] && !strcmp(b->built[i].info.kind, "learned");
}

int build_print_json(const struct build *b, struct error *e)
{
    json_t *exits = json_array(), *root;
    size_t total = 0;
    struct pays pays;
    bool known;
    int rc;

    for (int i = 0; i < b->place.n_exits; i++) {
        const struct built *o = &b->built[i];
        json_t *exit;
        if (!b->cache[i])
            continue;
        total += o->info.total_bytes;
        exit = json_pack(
            "{s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "name", b->place.exit[i].name,
            "kind", o->info.kind, "dim", o->info.dim, "nodes", o->info.nodes, "entries",
            (json_int_t)o->info.entries, "projection_bytes", (json_int_t)o->info.projection_bytes,
            "index_bytes", (json_int_t)o->info.index_bytes, "bytes", (json_int_t)o->info.total_bytes,
            "threshold", report_number(o->info.threshold), "calibration_hit_share",
            report_rounded(o->hit_share, 6), "calibration_agreement", report_rounded(o->agreement, 6),
            "calibration_label_agreement", report_rounded(o->label_agreement, 6));
        if (exit && is_learned(b, i))
            json_object_set_new(exit, "recipe",
                                json_pack("{s:i, s:o, s:o, s:b}", "tried", b->recipe[i].tried, "rate",
                                          report_rounded(b->recipe[i].rate, 6), "drop",
                                          report_rounded(b->recipe[i].drop, 6), "true_labels",
                                          b->lesson != NULL));
        json_array_append_new(exits, exit);
    }
    if ((rc = build_pays(b, &pays, &known, e))) {
        json_decref(exits);
        return rc;
    }
    root =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "model", b->pipeline->model, "train",
                  (json_int_t)b->train.rows, "calibrate", (json_int_t)b->calibrate.rows, "calibrate_distinct",
                  (json_int_t)b->duplicates.distinct, "cache_bytes", (json_int_t)total, "exits", exits);
    if (root && b->compare)
        json_object_set_new(root, "kinds", kinds_json(&b->contest));
    if (root && b->pipeline->cache.rule == THRESHOLD_RISK)
        json_object_set_new(root, "promise", promised_json(&b->promised));
    if (root && known)
        json_object_set_new(root, "pays", pays_json(&pays));
    if (root)
        report_engine(root, b->threads);
    return report_print(root, e);
}

static void table_exit(struct table *t, const struct placed_exit *exit, const struct built *o)
{
    char projection[32], index[32];

    table_cells(t, "%s|%s|%d|%lld|%s|%s|%.4g|%.1f%%|%.1f%%", exit->name, o->info.kind, o->info.dim,
                (long long)o->info.entries,
                table_bytes((double)o->info.projection_bytes, projection, sizeof projection),
                table_bytes((double)o->info.index_bytes, index, sizeof index), o->info.threshold,
                100 * o->label_agreement, 100 * o->hit_share);
    table_number(t, "%.2f%%", 100 * o->agreement);
}

/* "exit2 rate 0.009, drop 0; .." */
static void print_recipes(const struct build *b)
{
    bool any = false;
    for (int i = 0; i < b->place.n_exits; i++) {
        if (!is_learned(b, i) || !b->recipe[i].tried)
            continue;
        if (any)
            printf("; ");
        else
            printf("taught as the best of %d ways does: ", b->recipe[i].tried);
        printf("%s rate %.2g, drop %.2g", b->place.exit[i].name, b->recipe[i].rate, b->recipe[i].drop);
        any = true;
    }
    if (any)
        printf("\n");
}

int build_print_table(const struct build *b, struct error *e)
{
    struct table *t;
    struct pays pays;
    char text[384];
    int64_t records;
    bool known;
    int rc;

    t = table_new("exit|kind|dim|entries|projection|index|threshold|labels agree|hits|hits agree",
                  "llrrrrrrrr");
    for (int i = 0; i < b->place.n_exits; i++)
        if (b->cache[i])
            table_exit(t, &b->place.exit[i], &b->built[i]);
    rc = table_end(t, e);
    records = dataset_count(b->train_data);
    printf("\nbuilt from %lld records and %lld copies of them; thresholds (and the last three columns) from "
           "%lld others; in %s/caches. A pipeline that is up takes them by `freezeline apply -c %s`\n",
           (long long)records, (long long)(b->train.rows - records), (long long)b->calibrate.rows,
           b->pipeline->state, b->pipeline->path);
    print_recipes(b);
    if (!rc && b->compare)
        rc = kinds_print(&b->contest, e);
    if (!rc && b->pipeline->cache.rule == THRESHOLD_RISK)
        rc = promised_print(&b->promised, e);
    if (!rc && !(rc = build_pays(b, &pays, &known, e)) && known)
        printf("\n%s\n", pays_sentence(&pays, text, sizeof text));
    return rc;
}
