/* generate.c - `freezeline generate`: write the demo's pictures in CIFAR-10's binary layout */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/output.h"
#include "deploy/tool/report.h"
#include "shapes.h"

static const struct usage usage = {
    .command = "generate",
    .summary = "Writes pictures of ten shapes, from trivial to ambiguous: the demo's data.",
    .notes = "The file has CIFAR-10's binary layout: per picture a label byte and 3072 bytes, planes R, G,\n"
             "B of 32x32. The same seed gives the same pictures on every machine. Labels: disc ring square\n"
             "frame triangle cross star stripes checker dots.\n\n"
             "example:\n"
             "  freezeline generate --count 10000 --seed 7 --output pictures.bin\n",
};

struct generate_tally {
    int64_t drawn, written;
    int64_t of_class[SHAPES_CLASSES];
};

struct generate_options {
    int count, seed;
    double morph_from;
    const char *output;
    struct argument_list without, only;
    bool keep[SHAPES_CLASSES];
    bool json;
    struct generate_tally *tally;
};

static int mark_classes(struct generate_options *o, const struct argument_list *list, bool keep,
                        struct error *e)
{
    for (int i = 0; i < list->n; i++) {
        int label = 0;
        while (label < SHAPES_CLASSES && strcmp(list->item[i], shapes_label(label)))
            label++;
        if (label == SHAPES_CLASSES)
            return error_set(e, FL_USAGE, "no class is named '%s' (try --help)", list->item[i]);
        o->keep[label] = keep;
    }
    return FL_OK;
}

static int check_options(struct generate_options *o, struct error *e)
{
    int rc;

    if (!o->count)
        return error_set(e, FL_USAGE, "--count is missing: how many pictures?");
    if (!o->output)
        return error_set(e, FL_USAGE, "--output is missing: which file?");
    if (o->without.n && o->only.n)
        return error_set(e, FL_USAGE, "--without and --only exclude each other");
    memset(o->keep, o->only.n == 0, sizeof o->keep);
    if ((rc = mark_classes(o, &o->without, false, e)) || (rc = mark_classes(o, &o->only, true, e)))
        return rc;
    for (int i = 0; i < SHAPES_CLASSES; i++)
        if (o->keep[i])
            return FL_OK;
    return error_set(e, FL_USAGE, "every class is left out");
}

/* Draws on along the row of pictures until `count` of the kept classes are written. */
static int write_records(FILE *f, const void *arg, struct error *e)
{
    const struct generate_options *o = arg;
    struct generate_tally *t = o->tally;
    uint8_t record[SHAPES_RECORD];

    (void)e;
    while (t->written < o->count) {
        int label =
            shapes_draw((uint64_t)o->seed, (uint64_t)t->drawn++, (float)o->morph_from, record + 1, NULL);
        if (!o->keep[label])
            continue;
        record[0] = (uint8_t)label;
        if (fwrite(record, sizeof record, 1, f) != 1)
            break; /* output_write says why */
        t->of_class[label]++;
        t->written++;
    }
    return FL_OK;
}

static int print_json(const struct generate_options *o, struct error *e)
{
    const struct generate_tally *t = o->tally;
    json_t *classes = json_object();

    for (int i = 0; i < SHAPES_CLASSES; i++)
        json_object_set_new(classes, shapes_label(i), json_integer(t->of_class[i]));
    return report_print(json_pack("{s:I, s:i, s:s, s:o}", "count", (json_int_t)t->written, "seed", o->seed,
                                  "output", o->output, "classes", classes),
                        e);
}

int command_generate(int argc, char **argv, struct error *e)
{
    struct generate_tally t = {0};
    struct generate_options o = {.seed = 1, .morph_from = SHAPES_MORPH_FROM, .tally = &t};
    const struct argument table[] = {
        {ARGUMENT_INT, "count", 'n', &o.count, "N", "how many", 1, 100000000},
        {ARGUMENT_TEXT, "output", 'o', &o.output, "FILE", "where to; it appears when it is whole", 0, 0},
        {ARGUMENT_INT, "seed", 's', &o.seed, "S", "which row of pictures (default 1)", 0, 2147483647},
        OPTION_NUMBER("morph-from", o.morph_from, "M",
                      "how far a shape that turns into another has gone at least, 0.5: half-way (0.35)", 0,
                      0.5),
        OPTION_LIST("without", o.without, "LABEL", "leave out this class (may be repeated)"),
        OPTION_LIST("only", o.only, "LABEL", "this class alone (may be repeated)"),
        ARGUMENTS_JSON(o.json),
        {ARGUMENT_END, NULL, 0, NULL, NULL, NULL, 0, 0}};
    int rc = arguments_parse(&usage, table, argc, argv, NULL, e);

    if (rc)
        return rc;
    if ((rc = check_options(&o, e)) || (rc = output_write(o.output, write_records, &o, e)))
        return rc;
    if (o.json)
        return print_json(&o, e);
    printf("%lld pictures (seed %d) in %s\n", (long long)t.written, o.seed, o.output);
    return FL_OK;
}
