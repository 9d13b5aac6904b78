/* yaml_json.h - a JSON document printed as YAML that people read */
#ifndef FREEZELINE_YAML_JSON_H
#define FREEZELINE_YAML_JSON_H

#include <stdio.h>

#include <jansson.h>

/* One document after "---", in block style; keys in the order in which they were put in. Texts of several
 * lines are blocks, all others are quoted where YAML could take them for something else. */
void yaml_json(FILE *to, const json_t *document);

#endif
