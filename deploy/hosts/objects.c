/* objects.c - `freezeline objects`: which files of a store do not have the content that their name says */
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"

int command_objects(int argc, char **argv, struct error *e)
{
    static const struct usage usage = {
        .command = "objects",
        .operands = "FOLDER",
        .summary = "Reads names of files in FOLDER on standard input and prints those whose content has "
                   "another digest "
                   "than the name says.",
        .min_operands = 1,
        .max_operands = 1,
    };
    const struct argument table[] = {{0}};
    struct argument_list folder = {0};
    char name[DIGEST_TEXT_BYTES], path[4096], text[DIGEST_TEXT_BYTES];
    int rc = arguments_parse(&usage, table, argc, argv, &folder, e);

    while (!rc && scanf("%32s", name) == 1) {
        uint8_t digest[DIGEST_BYTES];
        uint64_t bytes;
        snprintf(path, sizeof path, "%.4000s/%s", folder.item[0], name);
        if (digest_of_file(digest, &bytes, path, NULL) || strcmp(digest_text(digest, text), name))
            puts(name);
    }
    return rc;
}
