/* error.c - texts of errors */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *e, enum fl_code code, const char *format, ...)
{
    va_list args;
    if (!e)
        return (int)code;
    e->code = code;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    return (int)code;
}

int error_wrap(struct error *e, enum fl_code code, const char *format, ...)
{
    char inner[ERROR_TEXT_BYTES];
    size_t used;
    va_list args;
    if (!e)
        return (int)code;
    memcpy(inner, e->text, sizeof inner);
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, ": %s", inner);
    return (int)e->code;
}

static const char *const names[][2] = {
#define X(name, wire, text) {wire, text},
    FL_ERRORS(X)
#undef X
};

const char *error_name(int code)
{
    return code >= 0 && code < FL_CODES ? names[code][0] : "unknown";
}

const char *error_sentence(int code)
{
    return code >= 0 && code < FL_CODES ? names[code][1] : "unknown error";
}

int error_exit_status(int code)
{
    if (code == FL_OK)
        return 0;
    return code == FL_USAGE || code == FL_CONFIG ? 2 : 1;
}
