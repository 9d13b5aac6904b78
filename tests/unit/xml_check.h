/* xml_check.h - is a text well-formed XML? Enough for what the tool writes: elements, attributes, entities,
 * UTF-8 */
#ifndef FREEZELINE_XML_CHECK_H
#define FREEZELINE_XML_CHECK_H

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define XML_DEPTH 64

static const char *xml_name(const char *p, char name[32])
{
    int n = 0;
    while (isalnum((unsigned char)*p) || *p == '-' || *p == ':' || *p == '_')
        if (n < 31)
            name[n++] = *p++;
        else
            p++;
    name[n] = 0;
    return n ? p : NULL;
}

/* "&amp;" and its like; a bare & is an error. */
static const char *xml_entity(const char *p)
{
    const char *end = strchr(p, ';');
    return end && end - p < 10 && end > p + 1 ? end + 1 : NULL;
}

/* One character: no control characters, no broken UTF-8. */
static const char *xml_character(const char *p)
{
    unsigned char c = (unsigned char)*p;
    int more = c < 0x80 ? 0 : c >= 0xf0 && c < 0xf5 ? 3 : c >= 0xe0 ? 2 : c >= 0xc2 && c < 0xe0 ? 1 : -1;

    if (more < 0 || (c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c >= 0xf5)
        return NULL;
    while (more-- > 0)
        if (((unsigned char)*++p & 0xc0) != 0x80)
            return NULL;
    return p + 1;
}

static const char *xml_attributes(const char *p)
{
    char name[32];

    for (;;) {
        p += strspn(p, " \n\t");
        if (*p == '>' || *p == '/')
            return p;
        if (!(p = xml_name(p, name)) || p[0] != '=' || p[1] != '"')
            return NULL;
        for (p += 2; *p != '"';)
            if (!*p || *p == '<' || !(p = *p == '&' ? xml_entity(p) : xml_character(p)))
                return NULL;
        p++;
    }
}

/* A line on stderr says where it is not. "<!doctype html>" may stand first. */
static bool xml_well_formed(const char *text)
{
    char open[XML_DEPTH][32], name[32];
    int depth = 0, roots = 0;
    const char *p = text, *at = p;

    if (!strncmp(p, "<!doctype html>", 15))
        p += 15;
    while (p && *(at = p)) {
        if (p[0] == '<' && p[1] == '/') {
            p = xml_name(p + 2, name);
            if (!p || *p++ != '>' || !depth || strcmp(open[--depth], name) != 0)
                break;
        } else if (p[0] == '<') {
            if (!(p = xml_name(p + 1, name)) || !(p = xml_attributes(p)) || depth == XML_DEPTH)
                break;
            roots += depth == 0;
            if (p[0] == '/' && p[1] == '>')
                p += 2;
            else if (*p++ == '>')
                strcpy(open[depth++], name);
            else
                break;
        } else
            p = *p == '&' ? xml_entity(p) : xml_character(p);
    }
    if (p && !*p && !depth && roots == 1)
        return true;
    fprintf(stderr, "not well-formed, depth %d, at: %.80s\n", depth, at);
    return false;
}

#endif
