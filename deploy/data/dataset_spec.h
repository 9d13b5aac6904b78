/* dataset_spec.h - how a data set is named on a command line: KIND:PATH[,PATH...][#from-to] */
#ifndef FREEZELINE_DATASET_SPEC_H
#define FREEZELINE_DATASET_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define DATASET_MAX_PARTS 64

/* The last lines of a command's help. */
#define DATASET_LAYOUTS                                                                                     \
    "D is one of these, with #from-to at its end for a range of records (from 0, inclusive):\n"             \
    "  cifar10:FILE[,FILE...]       CIFAR-10's binary files; cifar100: and cifar100-coarse: likewise\n"     \
    "  npy:IMAGES.npy[,LABELS.npy]  [n,c,h,w] or [n,h,w,c], [n,h,w] where c is 1, in C or Fortran order: "  \
    "uint8 is pixels, 0 to\n"                                                                               \
    "                               255, and gets normalised; floating point is fed as it is. Labels: n "   \
    "whole numbers\n"                                                                                       \
    "  folder:DIR                   a folder of PNG and JPEG pictures for each class, called as in "        \
    "`labels`, else numbered in\n"                                                                          \
    "                               alphabetical order. Classes take turns, so that a range has all of "    \
    "them\n"                                                                                                \
    "  list:FILE                    a line for each picture: path (as seen from FILE), then a tab, comma "  \
    "or blank, then its\n"                                                                                  \
    "                               label, a number from 0 or a name in `labels`; or paths alone\n"         \
    "Pictures are resized and cut as `input` in the pipeline file says, once, into STATE; one that cannot " \
    "be read ends the\n"                                                                                    \
    "command, after all of them are counted, unless --skip-bad leaves them out.\n"

enum dataset_kind {
    DATASET_CIFAR10,
    DATASET_CIFAR100,
    DATASET_CIFAR100_COARSE,
    DATASET_NPY,
    DATASET_FOLDER,
    DATASET_LIST
};

/* One PATH, with its own range or none. */
struct dataset_entry {
    char *path;
    bool ranged;
    int64_t from, to;
};

struct dataset_spec {
    enum dataset_kind kind;
    char *text; /* owned: what the paths point into */
    int n;
    struct dataset_entry entry[DATASET_MAX_PARTS];
};

/* A path that is there is taken as it is, also with # in it. folder: and list: take one path, commas and all.
 * Release in any case. FL_USAGE, FL_NOMEM. */
int dataset_spec_parse(struct dataset_spec *out, const char *text, struct error *e);
void dataset_spec_release(struct dataset_spec *s);

/* Does the range of the last entry count over all of them? It does when no other has one. */
bool dataset_spec_ranges_all(const struct dataset_spec *s);
/* FL_USAGE when the entry's range is not within `count` records. */
int dataset_spec_check_range(const struct dataset_entry *entry, int64_t count, struct error *e);

#endif
