/* yaml_reader.c - libyaml's document tree walked into a flat list, with limits */
#include "yaml_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

struct walk {
    struct yaml_entries *to;
    yaml_document_t *document;
    const char *name;
    bool set; /* the document is the value of a --set */
    struct error *e;
    const yaml_node_t *key; /* of the value that comes next; NULL for items of lists */
    int depth;
    const yaml_node_t *ancestor[YAML_MAX_DEPTH];
    char path[YAML_MAX_PATH];
};

static int refuse(struct walk *w, const yaml_node_t *node, const char *why)
{
    if (w->set)
        return error_set(w->e, FL_CONFIG, "--set %s: %s", w->path, why);
    return error_set(w->e, FL_CONFIG, "%s:%zu:%zu: %s", w->name, node->start_mark.line + 1,
                     node->start_mark.column + 1, why);
}

static struct yaml_entry *append(struct yaml_entries *to, enum yaml_kind kind, const char *path,
                                 const char *text)
{
    struct yaml_entry *entry;
    if (to->n == to->capacity) {
        int capacity = to->capacity ? 2 * to->capacity : 64;
        struct yaml_entry *item = realloc(to->item, (size_t)capacity * sizeof *item);
        if (!item)
            return NULL;
        to->item = item;
        to->capacity = capacity;
    }
    entry = &to->item[to->n];
    *entry = (struct yaml_entry){.kind = kind, .path = strdup(path), .text = text ? strdup(text) : NULL};
    if (!entry->path || (text && !entry->text)) {
        free(entry->path);
        free(entry->text);
        return NULL;
    }
    to->n++;
    return entry;
}

static int add(struct walk *w, const yaml_node_t *node, enum yaml_kind kind, const char *text)
{
    struct yaml_entry *entry;
    if (w->to->n >= YAML_MAX_ENTRIES)
        return refuse(w, node, "the file has too many values");
    entry = append(w->to, kind, w->path, text);
    if (!entry)
        return error_set(w->e, FL_NOMEM, "out of memory while reading %s", w->name);
    if (!w->set) {
        const yaml_node_t *key = w->key ? w->key : node;
        entry->line = (int)node->start_mark.line + 1;
        entry->column = (int)node->start_mark.column + 1;
        entry->key_line = (int)key->start_mark.line + 1;
        entry->key_column = (int)key->start_mark.column + 1;
    }
    w->key = NULL;
    return FL_OK;
}

static int walk_node(struct walk *w, int id);

/* Visits a child under `name`; the path is as before afterwards. */
static int walk_child(struct walk *w, const yaml_node_t *parent, const char *name, int id)
{
    size_t length = strlen(w->path);
    int rc;
    if (length + strlen(name) + 2 > sizeof w->path)
        return refuse(w, parent, "keys are nested too deeply");
    sprintf(w->path + length, "%s%s", length ? "." : "", name);
    rc = walk_node(w, id);
    w->path[length] = '\0';
    return rc;
}

static bool is_null(const yaml_node_t *node)
{
    const char *text = (const char *)node->data.scalar.value;
    return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*text || !strcmp(text, "~") || !strcmp(text, "null"));
}

static int walk_scalar(struct walk *w, const yaml_node_t *node)
{
    const char *text = (const char *)node->data.scalar.value;
    if (node->data.scalar.length > YAML_MAX_SCALAR)
        return refuse(w, node, "the value is too long");
    if (strlen(text) != node->data.scalar.length)
        return refuse(w, node, "the value has a NUL character");
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return refuse(w, node, "the value has a control character");
    return is_null(node) ? add(w, node, YAML_IS_NULL, NULL) : add(w, node, YAML_IS_SCALAR, text);
}

static int check_key(struct walk *w, const yaml_node_t *map, const yaml_node_pair_t *pair)
{
    const yaml_node_t *key = yaml_document_get_node(w->document, pair->key);
    const char *text;
    if (!key || key->type != YAML_SCALAR_NODE)
        return refuse(w, key ? key : map, "a key must be a word");
    text = (const char *)key->data.scalar.value;
    if (!*text || strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-<") !=
                      key->data.scalar.length)
        return refuse(w, key, "a key must be a word of letters, digits, `_` and `-`");
    for (const yaml_node_pair_t *other = map->data.mapping.pairs.start; other < pair; other++) {
        const yaml_node_t *twin = yaml_document_get_node(w->document, other->key);
        if (!strcmp((const char *)twin->data.scalar.value, text)) {
            char why[200];
            snprintf(why, sizeof why, "key `%.100s` is there twice", text);
            return refuse(w, key, why);
        }
    }
    return FL_OK;
}

static int walk_map(struct walk *w, const yaml_node_t *node)
{
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    int rc = add(w, node, YAML_IS_MAP, NULL);
    if (!rc && node->data.mapping.pairs.top - pair > YAML_MAX_KEYS)
        return refuse(w, node, "the mapping has too many keys");
    for (; !rc && pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(w->document, pair->key);
        w->key = key;
        if (!(rc = check_key(w, node, pair)))
            rc = walk_child(w, node, (const char *)key->data.scalar.value, pair->value);
    }
    return rc;
}

static int walk_list(struct walk *w, const yaml_node_t *node)
{
    const yaml_node_item_t *first = node->data.sequence.items.start;
    int rc = add(w, node, YAML_IS_LIST, NULL);
    for (const yaml_node_item_t *item = first; !rc && item < node->data.sequence.items.top; item++) {
        char name[16];
        snprintf(name, sizeof name, "%d", (int)(item - first));
        rc = walk_child(w, node, name, *item);
    }
    return rc;
}

static int walk_node(struct walk *w, int id)
{
    const yaml_node_t *node = yaml_document_get_node(w->document, id);
    int rc;
    if (!node)
        return error_set(w->e, FL_CONFIG, "%s: the file is empty", w->name);
    if (node->type == YAML_SCALAR_NODE)
        return walk_scalar(w, node);
    for (int i = 0; i < w->depth; i++)
        if (w->ancestor[i] == node)
            return refuse(w, node, "an alias leads back to what it stands in");
    if (w->depth == YAML_MAX_DEPTH)
        return refuse(w, node, "values are nested too deeply");
    w->ancestor[w->depth++] = node;
    rc = node->type == YAML_MAPPING_NODE ? walk_map(w, node) : walk_list(w, node);
    w->depth--;
    return rc;
}

/* Line and column (from 1) of a byte offset: libyaml gives no mark when it cannot even decode the characters.
 */
static void locate(const char *text, size_t size, size_t offset, size_t *line, size_t *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < offset && i < size; i++) {
        *column = text[i] == '\n' ? 1 : *column + 1;
        *line += text[i] == '\n';
    }
}

/* Is there a tab? What libyaml says of one that indents tells nobody to look for it. */
static bool is_tab(const char *text, size_t size, size_t line, size_t column)
{
    size_t at_line = 1, at = 0;
    while (at < size && at_line < line)
        at_line += text[at++] == '\n';
    return at + column - 1 < size && text[at + column - 1] == '\t';
}

static int parser_error(const yaml_parser_t *parser, const char *text, size_t size, struct walk *w)
{
    size_t line = parser->problem_mark.line + 1, column = parser->problem_mark.column + 1;
    const char *problem = parser->problem ? parser->problem : "not understood";
    if (parser->error == YAML_MEMORY_ERROR)
        return error_set(w->e, FL_NOMEM, "out of memory while reading %s", w->name);
    if (w->set)
        return error_set(w->e, FL_CONFIG, "--set %s: not valid YAML: %s", w->path, problem);
    if (parser->error == YAML_READER_ERROR)
        locate(text, size, parser->problem_offset, &line, &column);
    if (is_tab(text, size, line, column))
        return error_set(w->e, FL_CONFIG, "%s:%zu:%zu: not valid YAML: a tab: indent with blanks", w->name,
                         line, column);
    return error_set(w->e, FL_CONFIG, "%s:%zu:%zu: not valid YAML: %s%s%s", w->name, line, column, problem,
                     parser->context ? " " : "", parser->context ? parser->context : "");
}

static int read_document(yaml_parser_t *parser, const char *text, size_t size, struct walk *w)
{
    yaml_document_t document, second;
    const yaml_node_t *root;
    int rc;
    if (!yaml_parser_load(parser, &document))
        return parser_error(parser, text, size, w);
    w->document = &document; /* cppcheck-suppress autoVariables ; taken back below */
    root = yaml_document_get_root_node(&document);
    if (!root)
        rc = error_set(w->e, FL_CONFIG, "%s: the file is empty", w->name);
    else if (!w->set && root->type != YAML_MAPPING_NODE)
        rc = refuse(w, root, "the file must be a mapping of keys, such as `model: FILE.onnx`");
    else
        rc = walk_node(w, 1);
    yaml_document_delete(&document);
    w->document = NULL;
    if (rc)
        return rc;
    if (!yaml_parser_load(parser, &second))
        return parser_error(parser, text, size, w);
    root = yaml_document_get_root_node(&second);
    if (root)
        rc = refuse(w, root, "the file has a second document");
    yaml_document_delete(&second);
    return rc;
}

int yaml_read(struct yaml_entries *to, const char *text, size_t size, const char *name, const char *prefix,
              struct error *e)
{
    struct walk w = {.to = to, .name = name, .set = prefix != NULL, .e = e};
    yaml_parser_t parser;
    int rc;

    if (size > YAML_MAX_BYTES)
        return error_set(e, FL_CONFIG, "%s: larger than %d bytes, which no pipeline file is", name,
                         YAML_MAX_BYTES);
    if (prefix && snprintf(w.path, sizeof w.path, "%s", prefix) >= (int)sizeof w.path)
        return error_set(e, FL_CONFIG, "--set %.100s...: the key is too long", prefix);
    if (!yaml_parser_initialize(&parser))
        return error_set(e, FL_NOMEM, "out of memory while reading %s", name);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    rc = read_document(&parser, text, size, &w);
    yaml_parser_delete(&parser);
    return rc;
}

int yaml_append(struct yaml_entries *to, const char *path, const char *text, struct error *e)
{
    if (!append(to, YAML_IS_SCALAR, path, text))
        return error_set(e, FL_NOMEM, "out of memory");
    return FL_OK;
}

void yaml_entries_free(struct yaml_entries *y)
{
    for (int i = 0; i < y->n; i++) {
        free(y->item[i].path);
        free(y->item[i].text);
    }
    free(y->item);
    *y = (struct yaml_entries){0};
}

bool yaml_pattern(const char *path, char *pattern, size_t size, int index[YAML_MAX_INDICES])
{
    size_t out = 0;
    int n = 0;
    for (const char *c = path; *c;) {
        size_t length = strcspn(c, ".");
        bool number = length > 0 && strspn(c, "0123456789") >= length;
        if (number && (n == YAML_MAX_INDICES || length > 5))
            return false;
        if (out + (number ? 1 : length) + 2 > size)
            return false;
        if (number)
            index[n++] = atoi(c);
        memcpy(pattern + out, number ? "#" : c, number ? 1 : length);
        out += number ? 1 : length;
        c += length;
        if (*c == '.')
            pattern[out++] = *c++;
    }
    pattern[out] = '\0';
    return true;
}

void yaml_print_quoted(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            fprintf(to, "\\%c", *text);
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            fprintf(to, "\\x%02x", (unsigned char)*text);
        else
            fputc(*text, to);
    fputc('"', to);
}
