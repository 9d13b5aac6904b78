/* arguments.h - the command line of one command: a table of its options, parsed and explained
 *
 * Values stay where argv has them; nothing is copied. Every command takes --help; arguments_parse prints it
 * (help.h).
 */
#ifndef FREEZELINE_ARGUMENTS_H
#define FREEZELINE_ARGUMENTS_H

#include <stdbool.h>

#include "base/error.h"
#include "config/pipeline.h"

#define ARGUMENTS_MAX_LIST 128

enum argument_kind {
    ARGUMENT_END,
    ARGUMENT_FLAG,
    ARGUMENT_TEXT,
    ARGUMENT_INT,
    ARGUMENT_NUMBER,
    ARGUMENT_LIST
};

struct argument_list {
    int n;
    const char *item[ARGUMENTS_MAX_LIST];
};

struct argument {
    enum argument_kind kind;
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    void *into;       /* bool, const char *, int, double or struct argument_list */
    const char *value;
    const char *help; /* NULL: not listed */
    double low, high; /* of numbers; both 0: any */
};

/* What --help shows around the options. */
struct usage {
    const char *command;
    const char *operands; /* "MODEL.onnx"; NULL: none */
    const char *summary;  /* one sentence */
    const char *notes;    /* more, and examples; whole lines */
    int min_operands, max_operands;
    void (*words)(const char *config); /* prints what operands may be, a line each, where that depends on the
                                          pipeline file; NULL: `operands` says all */
};

/* --help was asked for and printed. A command returns it like an error; freezeline.c takes it for success. */
#define ARGUMENTS_HELPED (-1)

/* Parses argv[1..argc). What is no option goes to *operands (NULL where a command takes none). FL_USAGE with
 * one line that names the option and the nearest known one; ARGUMENTS_HELPED. */
int arguments_parse(const struct usage *u, const struct argument *table, int argc, char **argv,
                    struct argument_list *operands, struct error *e);

/* Rows of the table, checked against the type of what they fill. Values in their own order:
 * "N", help, range. */
#define OPTION_AT(type, into) (1 ? &(into) : (type *)0)
#define OPTION_FLAG(name, into, help)                                   \
    {                                                                   \
        ARGUMENT_FLAG, name, 0, OPTION_AT(bool, into), NULL, help, 0, 0 \
    }
#define OPTION_TEXT(name, into, value, help)                                     \
    {                                                                            \
        ARGUMENT_TEXT, name, 0, OPTION_AT(const char *, into), value, help, 0, 0 \
    }
#define OPTION_LIST(name, into, value, help)                                             \
    {                                                                                    \
        ARGUMENT_LIST, name, 0, OPTION_AT(struct argument_list, into), value, help, 0, 0 \
    }
#define OPTION_INT(name, into, value, help, low, high)                      \
    {                                                                       \
        ARGUMENT_INT, name, 0, OPTION_AT(int, into), value, help, low, high \
    }
#define OPTION_NUMBER(name, into, value, help, low, high)                         \
    {                                                                             \
        ARGUMENT_NUMBER, name, 0, OPTION_AT(double, into), value, help, low, high \
    }

/* Options that several commands take. */
#define ARGUMENTS_JSON(into)     OPTION_FLAG("json", into, "machine-readable output")
#define ARGUMENTS_SKIP_BAD(into) OPTION_FLAG("skip-bad", into, "leave out pictures that cannot be read")

/* The options that every command on a pipeline takes. */
struct pipeline_arguments {
    const char *path;
    const char *host, *variant; /* NULL: not said */
    struct argument_list sets;
};

#define ARGUMENTS_PIPELINE(where) PIPELINE_OPTIONS(where, "override a key of the file (may be repeated)")
/* For a command that takes the file as it is into a pipeline that is up. */
#define ARGUMENTS_PIPELINE_UP(where) \
    PIPELINE_OPTIONS(where, "as `up` was given it; what is to change is written into the file")
#define PIPELINE_OPTIONS(where, set_help)                                                            \
    {ARGUMENT_TEXT, "config", 'c', &(where).path, "P.yaml", "the pipeline file", 0, 0},              \
        OPTION_TEXT("host", (where).host, "NAME", "this machine is that one of the file's `hosts`"), \
        OPTION_TEXT("variant", (where).variant, "NAME", "that one of the file's `variants`"),        \
    {                                                                                                \
        ARGUMENT_LIST, "set", 0, &(where).sets, "KEY=VALUE", set_help, 0, 0                          \
    }

/* pipeline_load with these arguments, and here_settle where a host is said. FL_USAGE when -c is missing. */
int arguments_load(struct pipeline **out, const struct pipeline_arguments *a, struct error *e);
/* Says on stderr when input.mean and input.std look like units of 0-1. */
void arguments_warn_of_units(const struct pipeline *p);
/* Says on stderr what precision_doubt says, for commands that compute or start what does. */
void arguments_warn_of_precision(const struct pipeline *p);

#endif
