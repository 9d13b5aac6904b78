/* generate.c - `freezeline generate`: write the demo's pictures in CIFAR-10's binary layout */
#include "generate.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "shapes.h"

#define MAX_COUNT 100000000ll

struct generate_options {
    long long count;
    uint64_t seed;
    const char *output;
    bool keep[SHAPES_CLASSES];
    bool json;
};

struct generate_tally {
    long long drawn, written;
    long long of_class[SHAPES_CLASSES];
};

static const char usage[] =
    "usage: freezeline generate --count N --output FILE [--seed S] [--without LABEL | --only LABEL] "
    "[--json]\n"
    "\n"
    "Writes N 32x32 RGB pictures of ten shapes in CIFAR-10's binary layout: a label byte and 3072 bytes,\n"
    "planes R, G, B. The same seed gives the same pictures on every machine.\n"
    "\n"
    "  --count N        how many, 1 to 100000000\n"
    "  --output FILE    where to; written beside it first, then renamed\n"
    "  --seed S         which row of pictures (default 1)\n"
    "  --without LABEL  leave out this class; may be repeated\n"
    "  --only LABEL     this class alone; may be repeated\n"
    "  --json           say in JSON what was written\n"
    "\n"
    "Labels: disc ring square frame triangle cross star stripes checker dots\n";

static int parse_number(const char *text, long long low, long long high, long long *out, const char *option,
                        struct error *e)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno || end == text || *end || n < low || n > high)
        return error_set(e, FL_USAGE, "%s takes a whole number from %lld to %lld, not '%s'", option, low,
                         high, text);
    *out = n;
    return FL_OK;
}

static int parse_label(const char *text, int *out, struct error *e)
{
    for (int i = 0; i < SHAPES_CLASSES; i++)
        if (!strcmp(text, shapes_label(i))) {
            *out = i;
            return FL_OK;
        }
    return error_set(e, FL_USAGE, "no class is named '%s' (try --help)", text);
}

/* Notes which classes are kept. The first --only drops all others. */
static int parse_choice(struct generate_options *o, const char *text, bool only, bool *chosen,
                        struct error *e)
{
    int label = 0, rc = parse_label(text, &label, e);
    if (rc)
        return rc;
    if (only && !*chosen)
        memset(o->keep, 0, sizeof o->keep);
    *chosen = true;
    o->keep[label] = only;
    return FL_OK;
}

static int check_options(const struct generate_options *o, struct error *e)
{
    if (!o->count)
        return error_set(e, FL_USAGE, "--count is missing (try --help)");
    if (!o->output)
        return error_set(e, FL_USAGE, "--output is missing (try --help)");
    for (int i = 0; i < SHAPES_CLASSES; i++)
        if (o->keep[i])
            return FL_OK;
    return error_set(e, FL_USAGE, "every class is left out");
}

/* FL_CANCELLED when help was asked for. */
static int parse_options(struct generate_options *o, int argc, char **argv, struct error *e)
{
    static const struct option options[] = {
        {"count", required_argument, NULL, 'n'},  {"seed", required_argument, NULL, 's'},
        {"output", required_argument, NULL, 'o'}, {"without", required_argument, NULL, 'w'},
        {"only", required_argument, NULL, 'O'},   {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    bool without = false, only = false;
    long long seed = 1;
    int c, rc = FL_OK;
    *o = (struct generate_options){0};
    memset(o->keep, 1, sizeof o->keep);
    optind = 0;
    while (!rc && (c = getopt_long(argc, argv, "n:s:o:h", options, NULL)) != -1) {
        if (c == 'n')
            rc = parse_number(optarg, 1, MAX_COUNT, &o->count, "--count", e);
        else if (c == 's')
            rc = parse_number(optarg, 0, INT64_MAX, &seed, "--seed", e);
        else if (c == 'o')
            o->output = optarg;
        else if (c == 'w')
            rc = parse_choice(o, optarg, false, &without, e);
        else if (c == 'O')
            rc = parse_choice(o, optarg, true, &only, e);
        else if (c == 'j')
            o->json = true;
        else
            return c == 'h' ? FL_CANCELLED : error_set(e, FL_USAGE, "unknown option (try --help)");
    }
    o->seed = (uint64_t)seed;
    if (!rc && optind < argc)
        rc = error_set(e, FL_USAGE, "what is '%s'? (try --help)", argv[optind]);
    if (!rc && without && only)
        rc = error_set(e, FL_USAGE, "--without and --only exclude each other");
    return rc ? rc : check_options(o, e);
}

/* Draws on along the row of pictures until `count` of the kept classes are written. */
static int write_records(FILE *f, const struct generate_options *o, struct generate_tally *t, struct error *e)
{
    uint8_t record[SHAPES_RECORD];
    while (t->written < o->count) {
        int label = shapes_draw(o->seed, (uint64_t)t->drawn++, record + 1, NULL);
        if (!o->keep[label])
            continue;
        record[0] = (uint8_t)label;
        if (fwrite(record, sizeof record, 1, f) != 1)
            return error_set(e, FL_IO, "cannot write %s: %s", o->output, strerror(errno));
        t->of_class[label]++;
        t->written++;
    }
    return FL_OK;
}

/* Writes a neighbour and renames it, so that a file that is there is whole. */
static int generate_file(const struct generate_options *o, struct generate_tally *t, struct error *e)
{
    char beside[4096];
    if ((size_t)snprintf(beside, sizeof beside, "%s.part%ld", o->output, (long)getpid()) >= sizeof beside)
        return error_set(e, FL_USAGE, "the path after --output is too long");
    FILE *f = fopen(beside, "wb");
    if (!f)
        return error_set(e, FL_IO, "cannot create %s: %s", beside, strerror(errno));
    int rc = write_records(f, o, t, e);
    if (fclose(f) && !rc)
        rc = error_set(e, FL_IO, "cannot write %s: %s", beside, strerror(errno));
    if (!rc && rename(beside, o->output))
        rc = error_set(e, FL_IO, "cannot rename %s to %s: %s", beside, o->output, strerror(errno));
    if (rc)
        unlink(beside);
    return rc;
}

static void print_tally(const struct generate_options *o, const struct generate_tally *t)
{
    if (!o->json) {
        printf("%lld pictures (seed %llu) in %s\n", t->written, (unsigned long long)o->seed, o->output);
        return;
    }
    printf("{\"count\": %lld, \"seed\": %llu, \"classes\": {", t->written, (unsigned long long)o->seed);
    for (int i = 0; i < SHAPES_CLASSES; i++)
        printf("%s\"%s\": %lld", i ? ", " : "", shapes_label(i), t->of_class[i]);
    printf("}}\n");
}

int command_generate(int argc, char **argv)
{
    struct generate_options o;
    struct generate_tally t = {0};
    struct error e = {0};
    opterr = 0;
    int rc = parse_options(&o, argc, argv, &e);
    if (rc == FL_CANCELLED) {
        fputs(usage, stdout);
        return 0;
    }
    if (!rc)
        rc = generate_file(&o, &t, &e);
    if (rc) {
        fprintf(stderr, "freezeline generate: %s\n", e.text);
        return error_exit_status(rc);
    }
    print_tally(&o, &t);
    return 0;
}
