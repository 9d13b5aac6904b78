/* named_hosts.c - the hosts of two files as one list */
#include "named_hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/whole_file.h"
#include "config/yaml_reader.h"

/* What the pipeline file itself says of a host; texts are the entries'. */
struct said {
    const char *name, *address, *ssh, *slots;
};

static int read_said(struct said said[PIPELINE_MAX_HOSTS], int *n, const struct yaml_entries *y)
{
    *n = 0;
    for (int i = 0; i < y->n; i++) {
        int index, at = 0;
        const char *word;
        if (sscanf(y->item[i].path, "hosts.%d.%n", &index, &at) != 1 || !at || index < 0 ||
            index >= PIPELINE_MAX_HOSTS)
            continue;
        word = y->item[i].path + at;
        *n = index >= *n ? index + 1 : *n;
        if (!strcmp(word, "name"))
            said[index].name = y->item[i].text;
        else if (!strcmp(word, "address"))
            said[index].address = y->item[i].text;
        else if (!strcmp(word, "ssh"))
            said[index].ssh = y->item[i].text;
        else if (!strcmp(word, "slots"))
            said[index].slots = y->item[i].text;
    }
    return *n;
}

static void print_key(FILE *to, const char *key, const char *text)
{
    if (!text)
        return;
    fprintf(to, ", %s: ", key);
    yaml_print_quoted(to, text);
}

static void print_host(FILE *to, const struct said *s, const struct host_line *line)
{
    char ssh[HOST_NAME_BYTES + 80], slots[16];

    snprintf(ssh, sizeof ssh, "%s@%s", line && line->user[0] ? line->user : "",
             s->address ? s->address
             : s->name  ? s->name
                        : "");
    snprintf(slots, sizeof slots, "%d", line ? line->slots : 0);
    fputs("{name: ", to);
    yaml_print_quoted(to, s->name ? s->name : "");
    print_key(to, "address", s->address);
    print_key(to, "ssh", line && line->user[0] ? ssh : s->ssh);
    print_key(to, "slots", line && line->slots ? slots : s->slots);
    fputc('}', to);
}

static const struct host_line *line_of(const struct host_file *f, const struct said *s)
{
    for (int i = 0; i < f->n; i++)
        if ((s->name && !strcmp(f->line[i].name, s->name)) ||
            (s->address && !strcmp(f->line[i].name, s->address)))
            return &f->line[i];
    return NULL;
}

/* `others`: lines that stand for no host of the file are hosts, too. */
static char *print_all(const struct said *said, int n, const struct host_file *f, bool others)
{
    bool used[HOST_FILE_MAX] = {false};
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);

    if (!to)
        return NULL;
    fputs("hosts=[", to);
    for (int i = 0; i < n; i++) {
        const struct host_line *line = line_of(f, &said[i]);
        fputs(i ? ", " : "", to);
        print_host(to, &said[i], line);
        if (line)
            used[line - f->line] = true;
    }
    for (int i = 0; others && i < f->n; i++)
        if (!used[i]) {
            fputs(n++ ? ", " : "", to);
            print_host(to, &(struct said){.name = f->line[i].name}, &f->line[i]);
        }
    fputc(']', to);
    if (fclose(to)) {
        free(text);
        return NULL;
    }
    return text;
}

/* Gives each host of the file that no line names one of the other lines as its address. */
static int assign(struct said *said, int n, const struct host_file *f, struct error *e)
{
    bool used[HOST_FILE_MAX] = {false};
    int next = 0;

    for (int i = 0; i < n; i++)
        if (line_of(f, &said[i]))
            used[line_of(f, &said[i]) - f->line] = true;
    for (int i = 0; i < n; i++) {
        if (line_of(f, &said[i]))
            continue;
        while (next < f->n && used[next])
            next++;
        if (next == f->n)
            return error_set(e, FL_CONFIG, "the file names %d hosts, but there are %d machines", n, f->n);
        said[i].address = f->line[next++].name;
    }
    return FL_OK;
}

/* Puts one --set before all others. */
static int add(struct pipeline_arguments *a, const struct host_file *f, bool in_order, char **text,
               struct error *e)
{
    struct said said[PIPELINE_MAX_HOSTS] = {{0}};
    struct yaml_entries y = {0};
    void *file = NULL;
    size_t size;
    int n, rc;

    if (a->sets.n == ARGUMENTS_MAX_LIST)
        return error_set(e, FL_USAGE, "too many --set");
    if (!(rc = file_read(&file, &size, a->path, YAML_MAX_BYTES, e)) &&
        !(rc = yaml_read(&y, file, size, a->path, NULL, e))) {
        read_said(said, &n, &y);
        if ((!in_order || !(rc = assign(said, n, f, e))) && !(*text = print_all(said, n, f, !in_order || !n)))
            rc = error_set(e, FL_NOMEM, "no memory");
    }
    if (!rc) {
        memmove(&a->sets.item[1], &a->sets.item[0], (size_t)a->sets.n++ * sizeof a->sets.item[0]);
        a->sets.item[0] = *text;
    }
    yaml_entries_free(&y);
    free(file);
    return rc;
}

int named_hosts(struct pipeline_arguments *a, const char *host_file, char **text, struct error *e)
{
    struct host_file *f = malloc(sizeof *f);
    int rc;

    *text = NULL;
    if (!a->path)
        rc = error_set(e, FL_USAGE, "-c P.yaml is missing: which pipeline?");
    else if (!f)
        rc = error_set(e, FL_NOMEM, "no memory");
    else if (!(rc = host_file_load(f, host_file, e)))
        rc = add(a, f, false, text, e);
    free(f);
    return rc;
}

int named_hosts_in_order(struct pipeline_arguments *a, const struct host_file *f, char **text,
                         struct error *e)
{
    *text = NULL;
    return add(a, f, true, text, e);
}
