/* yaml_json.c - mappings and lists by indentation, scalars as JSON has them */
#include "yaml_json.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static void value(FILE *to, const json_t *v, int indent, bool in_list);

/* Letters first, then what no YAML reader takes for anything but text; none of the words for booleans and
 * null. */
static bool is_plain(const char *s)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(s, words[i]))
            return false;
    return isalpha((unsigned char)*s) &&
           !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")];
}

/* Can it be a block of lines as it is? Not with spaces in front, tabs or control characters. */
static bool is_block(const char *s)
{
    if (!strchr(s, '\n') || *s == ' ' || *s == '\n' || s[strlen(s) - 1] != '\n' || s[strlen(s) - 2] == '\n')
        return false;
    for (; *s; s++)
        if ((unsigned char)*s < ' ' && *s != '\n')
            return false;
    return true;
}

/* JSON's strings are YAML's double quoted ones. */
static void word(FILE *to, const char *s)
{
    json_t *string;

    if (is_plain(s)) {
        fputs(s, to);
        return;
    }
    string = json_string(s);
    json_dumpf(string, to, JSON_ENCODE_ANY);
    json_decref(string);
}

static void block(FILE *to, const char *s, int indent)
{
    fputs("|\n", to);
    for (size_t n; *s; s += n + 1) {
        n = strcspn(s, "\n");
        fprintf(to, "%*s%.*s\n", n ? indent : 0, "", (int)n, s);
    }
}

static void mapping(FILE *to, const json_t *v, int indent, bool in_list)
{
    const char *key;
    json_t *item;

    json_object_foreach((json_t *)(uintptr_t)v, key, item)
    {
        fprintf(to, "%*s", in_list ? 0 : indent, "");
        in_list = false;
        word(to, key);
        fputc(':', to);
        value(to, item, indent + 2, false);
    }
}

static void value(FILE *to, const json_t *v, int indent, bool in_list)
{
    const char *before = in_list ? "" : " ";
    json_t *item;
    size_t i;

    if (json_is_object(v) && json_object_size(v)) {
        if (!in_list)
            fputc('\n', to);
        mapping(to, v, indent, in_list);
    } else if (json_is_array(v) && json_array_size(v)) {
        fputs(in_list ? "" : "\n", to);
        json_array_foreach(v, i, item)
        {
            fprintf(to, "%*s- ", indent - 2, "");
            value(to, item, indent, true);
        }
    } else if (json_is_string(v) && is_block(json_string_value(v))) {
        fputs(before, to);
        block(to, json_string_value(v), indent);
    } else {
        fputs(before, to);
        if (json_is_string(v))
            word(to, json_string_value(v));
        else
            json_dumpf(v, to, JSON_ENCODE_ANY);
        fputc('\n', to);
    }
}

void yaml_json(FILE *to, const json_t *document)
{
    fputs("---\n", to);
    mapping(to, document, 0, false);
}
