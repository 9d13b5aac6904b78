/* picture_list.c - see picture_list.h */
#include "picture_list.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/nearest_word.h"

#define MOST_PICTURES INT32_MAX
#define MOST_NAMES    ((size_t)4 << 30)
#define MOST_DEPTH    8 /* of folders below a class */

struct listed {
    size_t name;   /* in names */
    int32_t label; /* -1: none */
    int32_t turn;  /* its number among its class's */
};

/* ---- pictures ---- */

static bool grow(void **array, size_t need, size_t *room, size_t item)
{
    size_t more = *room ? *room : 256;
    void *bigger;

    if (need <= *room)
        return true;
    while (more < need)
        more *= 2;
    if (!(bigger = realloc(*array, more * item)))
        return false;
    *array = bigger;
    *room = more;
    return true;
}

static int add(struct picture_list *l, const char *name, int32_t label, struct error *e)
{
    size_t n = strlen(name) + 1, room = (size_t)l->room;
    void *item = l->item, *names = l->names;
    bool done = l->n < MOST_PICTURES && l->used + n < MOST_NAMES &&
                grow(&item, (size_t)l->n + 1, &room, sizeof *l->item);

    l->item = item;
    l->room = (int64_t)room;
    done = done && grow(&names, l->used + n, &l->size, 1);
    l->names = names;
    if (!done)
        return error_set(e, FL_NOMEM, "no memory for a list of %lld pictures", (long long)l->n);
    memcpy(l->names + l->used, name, n);
    l->item[l->n++] = (struct listed){l->used, label, 0};
    l->used += n;
    return FL_OK;
}

void picture_list_release(struct picture_list *l)
{
    free(l->item);
    free(l->names);
    free(l->root);
    *l = (struct picture_list){0};
}

int32_t picture_list_label(const struct picture_list *l, int64_t i)
{
    return l->item[i].label;
}

char *picture_list_path(const struct picture_list *l, int64_t i, char *buf, size_t size)
{
    const char *name = l->names + l->item[i].name;

    if (*name == '/' || !*l->root)
        snprintf(buf, size, "%s", name);
    else
        snprintf(buf, size, "%s/%s", l->root, name);
    return buf;
}

bool picture_list_is_picture(const char *name)
{
    static const char *const ends[] = {".png", ".jpg", ".jpeg", ".ppm",  ".pgm",
                                       ".bmp", ".gif", ".tif",  ".tiff", ".webp"};
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && i < sizeof ends / sizeof *ends; i++)
        if (!strcasecmp(dot, ends[i]))
            return true;
    return false;
}

/* ---- a folder per class ---- */

struct folders {
    int n;
    char *name[PIPELINE_MAX_LABELS]; /* in alphabetical order */
    int64_t pictures;                /* that lie beside them */
};

static void folders_free(struct folders *f)
{
    for (int i = 0; f && i < f->n; i++)
        free(f->name[i]);
    free(f);
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int seen(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int list_names(const char *dir, struct dirent ***names, int *n, struct error *e)
{
    *n = scandir(dir, names, seen, by_bytes);
    return *n < 0 ? error_set(e, FL_IO, "cannot list %s: %s", dir, strerror(errno)) : FL_OK;
}

static void free_names(struct dirent **names, int n)
{
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

/* Adds the pictures of root/`name` and of the folders below it. */
static int walk(struct picture_list *l, const char *name, int32_t label, int depth, struct error *e)
{
    char path[PATH_MAX], inside[PATH_MAX];
    struct dirent **names;
    struct stat st;
    int n, rc;

    snprintf(path, sizeof path, "%s/%s", l->root, name);
    if ((rc = list_names(path, &names, &n, e)))
        return rc;
    for (int i = 0; i < n && !rc; i++) {
        const char *slash = *name ? "/" : "";
        if (snprintf(inside, sizeof inside, "%s%s%s", name, slash, names[i]->d_name) >= (int)sizeof inside ||
            snprintf(path, sizeof path, "%s/%s", l->root, inside) >= (int)sizeof path)
            rc = error_set(e, FL_IO, "%s/%s: a path that is too long", l->root, name);
        else if (picture_list_is_picture(inside))
            rc = add(l, inside, label, e);
        else if (depth < MOST_DEPTH && label >= 0 && !lstat(path, &st) && S_ISDIR(st.st_mode))
            rc = walk(l, inside, label, depth + 1, e);
    }
    free_names(names, n);
    return rc;
}

static int find_folders(struct folders *out, const char *dir, struct error *e)
{
    char path[PATH_MAX];
    struct dirent **names;
    struct stat st;
    int n, rc = list_names(dir, &names, &n, e);

    for (int i = 0; !rc && i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        if (stat(path, &st) || !S_ISDIR(st.st_mode))
            out->pictures += picture_list_is_picture(path);
        else if (out->n == PIPELINE_MAX_LABELS)
            rc = error_set(e, FL_VALUE, "%s has more than %d folders", dir, PIPELINE_MAX_LABELS);
        else if (!(out->name[out->n++] = strdup(names[i]->d_name)))
            rc = error_set(e, FL_NOMEM, "no memory for a list of folders");
    }
    if (!rc || n >= 0)
        free_names(names, n);
    return rc;
}

static int label_named(const struct pipeline *p, const char *name)
{
    for (int i = 0; i < p->n_labels; i++)
        if (!strcmp(p->label[i], name))
            return i;
    return -1;
}

/* By name. Where the alphabet would give other numbers, that is worth a word. */
static int match_labels(int32_t *label, const struct folders *f, const char *dir, const struct pipeline *p,
                        FILE *notes, struct error *e)
{
    int other = -1;

    for (int i = 0; i < f->n; i++) {
        const char *near = nearest_word(f->name[i], (const char *const *)p->label, p->n_labels);
        if ((label[i] = label_named(p, f->name[i])) < 0)
            return pipeline_error(p, "labels", e,
                                  "%.150s/%.60s: no class in `labels` is called so%s%.60s: name folders and "
                                  "labels alike, labels "
                                  "in the model's order",
                                  dir, f->name[i], near ? "; the nearest is " : "", near ? near : "");
        if (label[i] != i && other < 0)
            other = i;
    }
    if (notes && f->n < p->n_labels)
        fprintf(notes, "note: %s has folders for %d of the %d classes\n", dir, f->n, p->n_labels);
    else if (notes && other >= 0)
        fprintf(notes, "note: %s: folders go by `labels`: %s is class %d, though number %d in the alphabet\n",
                dir, f->name[other], label[other], other);
    return FL_OK;
}

static int match_alphabet(int32_t *label, const struct folders *f, const char *dir, int classes, FILE *notes,
                          struct error *e)
{
    if (classes > 0 && f->n != classes)
        return error_set(e, FL_VALUE,
                         "%s has %d folders, the model has %d classes: name the classes under `labels` in "
                         "the pipeline file, "
                         "in the model's order, as the folders are called",
                         dir, f->n, classes);
    for (int i = 0; i < f->n; i++)
        label[i] = i;
    if (notes)
        fprintf(notes,
                "note: %s: classes in alphabetical order of the folders, %s is 0 and %s is %d (`labels` "
                "would name "
                "them)\n",
                dir, f->name[0], f->name[f->n - 1], f->n - 1);
    return FL_OK;
}

static int by_turn(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;

    if (x->turn != y->turn)
        return x->turn < y->turn ? -1 : 1;
    return (x->label > y->label) - (x->label < y->label);
}

static int walk_folders(struct picture_list *l, const struct folders *f, const int32_t *label, FILE *notes,
                        struct error *e)
{
    int rc = FL_OK;

    for (int i = 0; !rc && i < f->n; i++) {
        int64_t first = l->n;
        rc = walk(l, f->name[i], label[i], 0, e);
        for (int64_t k = first; k < l->n; k++)
            l->item[k].turn = (int32_t)(k - first);
        if (!rc && notes && first == l->n)
            fprintf(notes, "note: %s/%s has no pictures\n", l->root, f->name[i]);
    }
    if (!rc && notes && f->pictures)
        fprintf(notes, "note: %lld pictures lie beside the class folders of %s and are left out\n",
                (long long)f->pictures, l->root);
    if (!rc && l->n)
        qsort(l->item, (size_t)l->n, sizeof *l->item, by_turn);
    return rc;
}

int picture_list_folder(struct picture_list *out, const char *dir, const struct pipeline *p, int classes,
                        FILE *notes, struct error *e)
{
    struct folders *f = calloc(1, sizeof *f);
    int32_t *label = calloc(PIPELINE_MAX_LABELS, sizeof *label);
    int rc;

    *out = (struct picture_list){.root = strdup(dir)};
    if (!f || !label || !out->root)
        rc = error_set(e, FL_NOMEM, "no memory for a list of pictures");
    else if (!(rc = find_folders(f, dir, e)) && !f->n)
        rc = walk(out, "", -1, 0, e);
    else if (!rc && !(rc = p->n_labels ? match_labels(label, f, dir, p, notes, e)
                                       : match_alphabet(label, f, dir, classes, notes, e)))
        rc = walk_folders(out, f, label, notes, e);
    out->labelled = f && f->n > 0;
    if (!rc && !out->n)
        rc = error_set(e, FL_VALUE, "%s has no pictures (.png, .jpg, .jpeg), nor folders with some", dir);
    folders_free(f);
    free(label);
    return rc;
}

/* ---- a list file ---- */

/* Cuts the label off a line; NULL: it has none. */
static char *cut_label(char *line)
{
    static const char separators[] = "\t, ";
    char *at = NULL;

    for (const char *c = separators; *c && !at; c++)
        at = strrchr(line, *c);
    if (!at)
        return NULL;
    *at = '\0';
    for (char *end = at; end > line && strchr(" \t", end[-1]); end--)
        end[-1] = '\0';
    return at + 1 + strspn(at + 1, " \t");
}

static int read_label(int32_t *out, const char *text, const struct pipeline *p)
{
    char *end;
    long n;

    if ((*out = label_named(p, text)) >= 0)
        return FL_OK;
    errno = 0;
    n = strtol(text, &end, 10);
    if (errno || end == text || *end || n < 0 || n > INT32_MAX)
        return FL_VALUE;
    *out = (int32_t)n;
    return FL_OK;
}

static int read_line(struct picture_list *l, char *line, int64_t number, const char *path,
                     const struct pipeline *p, struct error *e)
{
    int32_t label = -1;
    char *text;

    line[strcspn(line, "\r\n")] = '\0';
    for (size_t n = strlen(line); n && strchr(" \t", line[n - 1]); n--)
        line[n - 1] = '\0';
    if (!*line || *line == '#')
        return FL_OK;
    text = cut_label(line);
    if (text && read_label(&label, text, p))
        return error_set(e, FL_CORRUPT, "%s:%lld: '%s' is no label: a number from 0%s", path,
                         (long long)number, text,
                         p->n_labels ? ", or a name in `labels` of the pipeline file" : "");
    if (l->n && l->labelled != (text != NULL))
        return error_set(e, FL_CORRUPT, "%s:%lld: either all pictures have a label or none", path,
                         (long long)number);
    l->labelled = text != NULL;
    return add(l, line, label, e);
}

int picture_list_file(struct picture_list *out, const char *path, const struct pipeline *p, struct error *e)
{
    const char *slash = strrchr(path, '/');
    FILE *f = fopen(path, "re");
    char line[PATH_MAX + 512];
    struct stat st;
    int rc = FL_OK;

    *out = (struct picture_list){.root = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path))
                                               : strdup("")};
    if (!f)
        return error_set(e, FL_IO, "cannot open %s: %s", path, strerror(errno));
    if (!out->root)
        rc = error_set(e, FL_NOMEM, "no memory for a list of pictures");
    else if (fstat(fileno(f), &st) || !S_ISREG(st.st_mode))
        rc = error_set(e, FL_IO, "%s: not a text file", path);
    for (int64_t number = 1; !rc && fgets(line, sizeof line, f); number++)
        rc =
            strchr(line, '\n') || (feof(f) && *line)
                ? read_line(out, line, number, path, p, e)
                : error_set(e, FL_CORRUPT, "%s:%lld: no line of a list of pictures", path, (long long)number);
    if (!rc && ferror(f))
        rc = error_set(e, FL_IO, "cannot read %s: %s", path, strerror(errno));
    if (!rc && !out->n)
        rc = error_set(e, FL_CORRUPT, "%s lists no pictures", path);
    fclose(f);
    return rc;
}
