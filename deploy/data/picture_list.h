/* picture_list.h - the pictures of a data set by name, and their labels: a folder per
 * class, or a list file */
#ifndef FREEZELINE_PICTURE_LIST_H
#define FREEZELINE_PICTURE_LIST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "config/pipeline.h"

struct picture_list {
    int64_t n;
    bool labelled;
    struct listed *item; /* [n] */
    char *root;          /* paths are relative to it */
    char *names;         /* all of them, one after the other */
    int64_t room;
    size_t used, size;
};

/* DIR's folders are classes: those of the same name in p's labels or, where p has none, the `classes` of the
 * model in alphabetical order. Classes take turns, each in the order of its files' names, those in folders
 * below included. Without any folder, DIR's own pictures, without labels. What may surprise goes to `notes`
 * (NULL: nowhere). FL_IO, FL_VALUE when the folders are not the model's classes, FL_NOMEM. Release in any
 * case. */
int picture_list_folder(struct picture_list *out, const char *dir, const struct pipeline *p, int classes,
                        FILE *notes, struct error *e);

/* A line for each picture: its path, relative to the file, then a tab, a comma or a blank (the first of these
 * that the line has, its last place), then its label, a number or a name in p's labels. No line has a label,
 * or all have. Empty lines and those that begin with # are skipped. FL_IO, FL_CORRUPT with the line's number,
 * FL_NOMEM. Release in any case. */
int picture_list_file(struct picture_list *out, const char *path, const struct pipeline *p, struct error *e);

void picture_list_release(struct picture_list *l);

int32_t picture_list_label(const struct picture_list *l, int64_t i); /* -1: none */
/* Writes the path, cut to `size`; returns buf. */
char *picture_list_path(const struct picture_list *l, int64_t i, char *buf, size_t size);

/* Does a file's name end as pictures do, also such as cannot be read here? */
bool picture_list_is_picture(const char *name);

#endif
