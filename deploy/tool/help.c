/* help.c - see help.h */
#include "help.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"

/* ---- for the terminal ---- */

static void print_text(const struct usage *u, const struct argument *table)
{
    printf("usage: freezeline %s%s%s [options]\n\n%s\n\noptions:\n", u->command, u->operands ? " " : "",
           u->operands ? u->operands : "", u->summary);
    for (const struct argument *a = table; a->kind != ARGUMENT_END; a++) {
        char left[80];
        if (!a->help)
            continue;
        snprintf(left, sizeof left, "%s%c%s--%s%s%s", a->letter ? "-" : " ", a->letter ? a->letter : ' ',
                 a->letter ? ", " : "  ", a->name, a->value ? " " : "", a->value ? a->value : "");
        printf("  %-30s %s\n", left, a->help);
    }
    printf("      %-26s %s\n", "--help", "this text");
    if (u->notes)
        printf("\n%s", u->notes);
}

/* ---- as a manual page ---- */

/* Roff reads backslashes, hyphens that are minus signs, and dots and quotes at the start of a line. */
static void put_roff(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((*s == '.' || *s == '\'') && !i)
            fputs("\\&", stdout);
        if (s[i] == '\\')
            fputs("\\e", stdout);
        else if (s[i] == '-')
            fputs("\\-", stdout);
        else
            putchar(s[i]);
    }
}

static void put_line(const char *s)
{
    put_roff(s, strlen(s));
    putchar('\n');
}

/* Lines as they are. */
static void put_lines(const char *s)
{
    printf(".nf\n");
    while (*s) {
        size_t n = strcspn(s, "\n");
        put_roff(s, n);
        putchar('\n');
        s += n + (s[n] == '\n');
    }
    printf(".fi\n");
}

static void begin_page(const char *name, const char *summary)
{
    char title[64];
    size_t n = strnlen(name, sizeof title);

    for (size_t i = 0; i < n; i++)
        title[i] = (char)toupper((unsigned char)name[i]);
    printf(".TH ");
    put_roff(title, n);
    printf(" 1 \"\" \"Freezeline %s\" \"Freezeline\"\n.SH NAME\n", version_number());
    put_roff(name, strlen(name));
    printf(" \\- ");
    put_line(summary);
}

static void end_page(void)
{
    printf(".SH EXIT STATUS\n0: done; 1: failed; 2: wrong usage or pipeline file.\n.SH SEE ALSO\n");
    printf(".BR freezeline (1)\n");
}

static void print_man(const struct usage *u, const struct argument *table)
{
    char name[64];

    snprintf(name, sizeof name, "freezeline-%s", u->command);
    begin_page(name, u->summary);
    printf(".SH SYNOPSIS\n.B freezeline %s\n", u->command);
    if (u->operands)
        put_line(u->operands);
    printf("[options]\n.SH OPTIONS\n");
    for (const struct argument *a = table; a->kind != ARGUMENT_END; a++) {
        if (!a->help)
            continue;
        printf(".TP\n");
        if (a->letter)
            printf("\\fB\\-%c\\fR, ", a->letter);
        printf("\\fB\\-\\-");
        put_roff(a->name, strlen(a->name));
        printf("\\fR");
        if (a->value) {
            printf(" \\fI");
            put_roff(a->value, strlen(a->value));
            printf("\\fR");
        }
        putchar('\n');
        put_line(a->help);
    }
    if (u->notes) {
        printf(".SH NOTES\n");
        put_lines(u->notes);
    }
    end_page();
}

/* ---- as words ---- */

static void print_words(const struct argument *table)
{
    for (const struct argument *a = table; a->kind != ARGUMENT_END; a++)
        if (a->help)
            printf("--%s%s\n", a->name, a->kind == ARGUMENT_FLAG ? "" : "=");
    printf("--help\n");
}

/* Of "add NAME | list" the first words of each way, of "MODEL.onnx" the ending; other capitals say nothing.
 */
static void print_operand(const char *text)
{
    size_t n = strcspn(text, " ");
    const char *dot = memchr(text, '.', n);

    if (dot && dot[1] != '.')
        printf("*%.*s\n", (int)(n - (size_t)(dot - text)), dot);
    else if (*text >= 'a' && *text <= 'z')
        printf("%.*s\n", (int)n, text);
}

static void print_operands(const struct usage *u, const struct argument *table)
{
    const char *config = NULL;

    for (const struct argument *a = table; a->kind != ARGUMENT_END; a++)
        if (!strcmp(a->name, "config"))
            config = *(const char *const *)a->into;
    if (u->words && config)
        u->words(config);
    for (const char *at = u->words ? NULL : u->operands; at;
         at = strstr(at, " | ") ? strstr(at, " | ") + 3 : NULL)
        print_operand(at);
}

void help_print(const struct usage *u, const struct argument *table, const char *way)
{
    if (!strcmp(way, "man"))
        print_man(u, table);
    else if (!strcmp(way, "words"))
        print_words(table);
    else if (!strcmp(way, "operands"))
        print_operands(u, table);
    else
        print_text(u, table);
}

/* ---- the tool itself ---- */

static void print_tool_text(const char *about, const char *notes, const struct help_command *command, int n)
{
    printf("usage: freezeline COMMAND [options]\n\n%s\n\ncommands:\n", about);
    for (int i = 0; i < n; i++)
        if (command[i].summary)
            printf("  %-14s %s\n", command[i].name, command[i].summary);
    printf("\n%s", notes);
}

static void print_tool_man(const char *about, const char *notes, const struct help_command *command, int n)
{
    begin_page("freezeline", about);
    printf(".SH SYNOPSIS\n.B freezeline\nCOMMAND [options]\n.SH COMMANDS\n");
    for (int i = 0; i < n; i++)
        if (command[i].summary) {
            printf(".TP\n\\fB");
            put_roff(command[i].name, strlen(command[i].name));
            printf("\\fR\n");
            put_line(command[i].summary);
        }
    printf(".SH NOTES\n");
    put_lines(notes);
    printf(".SH SEE ALSO\n.BR freezeline\\-client (3)\n");
}

void help_print_tool(const char *about, const char *notes, const struct help_command *command, int n,
                     const char *way)
{
    if (!strcmp(way, "man"))
        print_tool_man(about, notes, command, n);
    else if (strcmp(way, "words"))
        print_tool_text(about, notes, command, n);
    else
        for (int i = 0; i < n; i++)
            if (command[i].summary)
                puts(command[i].name);
}

const char *help_asked(const char *word)
{
    if (!strcmp(word, "-h"))
        return "";
    if (strncmp(word, "--help", 6) || (word[6] && word[6] != '='))
        return NULL;
    return word[6] ? word + 7 : "";
}
