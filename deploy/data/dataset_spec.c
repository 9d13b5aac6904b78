/* dataset_spec.c - see dataset_spec.h */
#include "dataset_spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *prefix;
    enum dataset_kind kind;
} kinds[] = {{"cifar10:", DATASET_CIFAR10},
             {"cifar100:", DATASET_CIFAR100},
             {"cifar100-coarse:", DATASET_CIFAR100_COARSE},
             {"npy:", DATASET_NPY},
             {"folder:", DATASET_FOLDER},
             {"list:", DATASET_LIST}};

static int parse_range(struct dataset_entry *entry, struct error *e)
{
    char *hash = strrchr(entry->path, '#'), *end, *last;

    if (!hash || !access(entry->path, F_OK))
        return FL_OK;
    errno = 0;
    entry->from = strtoll(hash + 1, &end, 10);
    if (end == hash + 1 || *end != '-' || hash[1] == '-' || hash[1] == '+')
        return error_set(e, FL_USAGE, "'%s': a range is #from-to, like #5000-9999", hash);
    entry->to = strtoll(end + 1, &last, 10);
    if (last == end + 1 || *last || end[1] == '-' || end[1] == '+' || errno || entry->to < entry->from)
        return error_set(e, FL_USAGE, "'%s': a range is #from-to with from <= to, like #5000-9999", hash);
    entry->ranged = true;
    *hash = 0;
    return FL_OK;
}

/* Cuts the text into its paths, in place. */
static int split(struct dataset_spec *s, struct error *e)
{
    const char *commas = s->kind == DATASET_FOLDER || s->kind == DATASET_LIST ? "" : ",";
    char *save = NULL;

    for (char *word = strtok_r(s->text, commas, &save); word; word = strtok_r(NULL, commas, &save)) {
        int rc;
        if (s->n == DATASET_MAX_PARTS)
            return error_set(e, FL_USAGE, "a data set has at most %d files", DATASET_MAX_PARTS);
        s->entry[s->n] = (struct dataset_entry){.path = word};
        if ((rc = parse_range(&s->entry[s->n], e)))
            return rc;
        s->n++;
    }
    return s->n ? FL_OK : error_set(e, FL_USAGE, "the data set names no file");
}

int dataset_spec_parse(struct dataset_spec *out, const char *text, struct error *e)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t n = strlen(kinds[i].prefix);
        if (strncmp(text, kinds[i].prefix, n))
            continue;
        out->kind = kinds[i].kind;
        out->text = strdup(text + n);
        return out->text ? split(out, e) : error_set(e, FL_NOMEM, "no memory for a data set");
    }
    return error_set(
        e, FL_USAGE,
        "'%s': a data set is cifar10:FILE, cifar100:FILE, npy:IMAGES.npy,LABELS.npy, folder:DIR or list:FILE "
        "(see --help)",
        text);
}

void dataset_spec_release(struct dataset_spec *s)
{
    free(s->text);
    s->text = NULL;
}

bool dataset_spec_ranges_all(const struct dataset_spec *s)
{
    for (int i = 0; i < s->n - 1; i++)
        if (s->entry[i].ranged)
            return false;
    return s->entry[s->n - 1].ranged;
}

int dataset_spec_check_range(const struct dataset_entry *entry, int64_t count, struct error *e)
{
    if (entry->ranged && entry->to >= count)
        return error_set(e, FL_USAGE, "#%lld-%lld is out of range: there are records 0 to %lld",
                         (long long)entry->from, (long long)entry->to, (long long)count - 1);
    return FL_OK;
}
