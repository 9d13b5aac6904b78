/* ship_scripts.c - POSIX sh and coreutils; lists of what is to be done, then the same few functions over them
 */
#include "ship_scripts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shell_words.h"

/* Before all scripts: the store's folder, made for this user alone. */
static void enter_store(FILE *f, const char *directory)
{
    fputs("umask 077\nstore=", f);
    shell_word(f, directory);
    fputs("\ncase $store in /*) ;; *) store=${HOME:-$PWD}/$store ;; esac\n"
          "mkdir -p \"$store/objects\" && cd \"$store\" || exit 1\n",
          f);
}

/* What host_facts_read reads. The libraries are those of ld.so's cache, by one look for all. */
static const char facts_script[] =
    "echo \"directory $(pwd -P)\"\n"
    "echo \"machine $(uname -s) $(uname -m)\"\n"
    "echo \"glibc $(getconf GNU_LIBC_VERSION 2>/dev/null)\"\n"
    "free=$(df -Pk . | tail -n 1); set -- ${free#* }; echo \"free $3\"\n"
    "PATH=$PATH:/sbin:/usr/sbin\n"
    "stat -L -c 'library %s %n' $(ldconfig -p 2>/dev/null | while read -r name rest; do\n"
    "    case $want in *\" $name \"*) echo \"${rest##*=> }\" ;; esac\n"
    "done) /dev/null 2>/dev/null\n"
    "cd objects && stat -c 'object %s %n' $have /dev/null 2>/dev/null\n"
    ":\n";

char *ship_ask_script(const struct shipment *s, int host, const struct ship_place *at)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        return NULL;
    enter_store(f, at->store);
    fputs("want=' ", f);
    for (int i = 0; i < s->n; i++)
        if (s->file[i].library)
            fprintf(f, "%s ", strrchr(s->file[i].to, '/') + 1);
    fputs("'\nhave='", f);
    for (int i = 0; i < s->n; i++)
        if (s->file[i].host == SHIPMENT_ALL || s->file[i].host == host)
            fprintf(f, "%s %s%s ", s->file[i].object, s->file[i].object, at->part);
    fprintf(f, "'\n%s", facts_script);
    return fclose(f) ? free(text), NULL : text;
}

/* The second script's own part; the list of what is to be done stands before it. */
static const char settle_functions[] =
    "get() { # object, bytes that are there, bytes to come, all: takes them from standard input\n"
    "    if [ \"$2\" = 0 ]; then head -c \"$3\" >\"objects/$1$part\"; else head -c \"$3\" "
    ">>\"objects/$1$part\"; fi ||\n"
    "        { echo \"no space for $4 bytes\"; exit 3; }\n"
    "    [ \"$(stat -c %s \"objects/$1$part\")\" = \"$4\" ] || { echo 'the copy broke off; a new one goes on "
    "there'; exit 1; }\n"
    "    mv -f \"objects/$1$part\" \"objects/$1\" || exit 1\n"
    "}\n"
    "put() { # object, place: a copy where the file system has no hard links\n"
    "    place=$here/$2\n"
    "    [ -d \"${place%/*}\" ] || mkdir -p \"${place%/*}\" || exit 3\n"
    "    [ \"objects/$1\" -ef \"$place\" ] || ln -f \"objects/$1\" \"$place\" 2>/dev/null ||\n"
    "        { cp -p \"objects/$1\" \"$place.new\" && mv -f \"$place.new\" \"$place\"; } || exit 3\n"
    "}\n"
    "node=$(uname -n)\n"
    "mkdir -p \"$here\" || exit 3\n";

static const char keep_others[] = "if [ -f \"$here/.shipped\" ]; then\n"
                                  "    LC_ALL=C sort -u -o \"$here/.shipped.new\" \"$here/.shipped\" "
                                  "\"$here/.shipped.new\" || exit 3\n"
                                  "fi\n";
static const char settle_end[] =
    "[ ! -f \"$here/.shipped\" ] || LC_ALL=C comm -23 \"$here/.shipped\" \"$here/.shipped.new\" |\n"
    "    while read -r file; do rm -f \"$here/$file\"; done\n"
    "mv -f \"$here/.shipped.new\" \"$here/.shipped\" && echo \"$node\" >\"$here/.node\" || exit 3\n"
    "bad=$(printf '%s\\n' $all | \"$here/bin/freezeline\" objects objects 2>&1) || { echo \"$bad\"; exit 4; "
    "}\n"
    "for object in $bad; do rm -f \"objects/$object\"; echo \"bad $object\"; done\n"
    "used=$(du -sk objects); [ \"${used%%[!0-9]*}\" -le \"$most\" ] || echo full\n"
    ":\n";

static int compare_places(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The places of all files of this host, sorted as comm(1) wants them. */
static bool list_places(FILE *f, const struct shipment *s, const struct ship_step *step)
{
    const char **place = calloc((size_t)s->n + 1, sizeof *place);
    int n = 0;

    if (!place)
        return false;
    for (int i = 0; i < s->n; i++)
        if (step[i].wanted)
            place[n++] = s->file[i].to;
    qsort(place, (size_t)n, sizeof *place, compare_places);
    fputs("cat >\"$here/.shipped.new\" <<'end of list' || exit 3\n", f);
    for (int i = 0; i < n; i++)
        fprintf(f, "%s\n", place[i]);
    fputs("end of list\n", f);
    free(place);
    return true;
}

/* What is to be taken from standard input, and put where. */
static void list_steps(FILE *f, const struct shipment *s, const struct ship_step *step)
{
    for (int i = 0; i < s->n; i++)
        if (step[i].sent)
            fprintf(f, "get %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", s->file[i].object, step[i].offset,
                    s->file[i].bytes - step[i].offset, s->file[i].bytes);
    for (int i = 0; i < s->n; i++) {
        if (!step[i].wanted)
            continue;
        if (s->file[i].program)
            fprintf(f, "[ -x objects/%s ] || chmod 700 objects/%s\n", s->file[i].object, s->file[i].object);
        fprintf(f, "put %s ", s->file[i].object);
        shell_word(f, s->file[i].to);
        fputs("\n", f);
    }
}

char *ship_settle_script(const struct shipment *s, const struct ship_step *step, const struct ship_place *at)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    bool listed;

    if (!f)
        return NULL;
    enter_store(f, at->store);
    fprintf(f, "part=%s\nhere=%s\nmost=%" PRId64 "\n%s", at->part, at->folder, at->most_bytes / 1024,
            settle_functions);
    list_steps(f, s, step);
    listed = list_places(f, s, step);
    fputs(s->partial ? keep_others : "", f);
    fputs("all='", f);
    for (int i = 0; i < s->n; i++)
        if (step[i].wanted)
            fprintf(f, "%s ", s->file[i].object);
    fprintf(f, "'\n%s", settle_end);
    return fclose(f) || !listed ? free(text), NULL : text;
}

static const char prune_script[] =
    "full() { used=$(du -sk objects); [ \"${used%%[!0-9]*}\" -gt \"$most\" ]; }\n"
    "unused() { # objects that no pipeline has any more\n"
    "    stat -c '%h %n' objects/* | while read -r links name; do\n"
    "        case $name in *.part) ;; *) [ \"$links\" -gt 1 ] || rm -f \"$name\" ;; esac\n"
    "    done\n"
    "}\n"
    "find objects -name '*.part' -mtime +1 -exec rm -f {} + 2>/dev/null\n"
    "unused\n"
    "running=$(readlink /proc/[0-9]*/exe 2>/dev/null)\n"
    "for list in $(ls -tr pipelines/*/.shipped); do\n"
    "    full || exit 0\n"
    "    old=${list%/.shipped}\n"
    "    case $old in *\"/$id@\"*) continue ;; esac\n"
    "    [ \"$(cat \"$old/.node\")\" = \"$(uname -n)\" ] || continue\n"
    "    case $running in *\"/$old/bin/\"*) continue ;; esac\n"
    "    while read -r file; do rm -f \"$old/$file\"; done <\"$list\"\n"
    "    rm -f \"$list\" \"$old/.node\"\n"
    "    unused\n"
    "done\n";

char *ship_prune_script(const char *id, const struct ship_place *at)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    if (!f)
        return NULL;
    enter_store(f, at->store);
    fprintf(f, "id=%s\nmost=%" PRId64 "\n%s", id, at->most_bytes / 1024, prune_script);
    return fclose(f) ? free(text), NULL : text;
}
