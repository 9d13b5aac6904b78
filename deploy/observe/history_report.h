/* history_report.h - events of the caches' history, for people and as JSON */
#ifndef FREEZELINE_HISTORY_REPORT_H
#define FREEZELINE_HISTORY_REPORT_H

#include <stdio.h>

#include <jansson.h>

#include "cache_service/store/store_history.h"

#define HISTORY_TIME_BYTES 32

/* Whether what serves after such an event is the epoch that it names. */
bool history_serves(enum history_kind kind);
/* Of events, the newest first: the serial of the epoch that serves; false: they do not tell. */
bool history_serving(const struct history_event *event, int n, uint64_t *serial);

/* Local time, "11-29 08:00:00". Returns `text`. */
char *history_time(uint64_t at_ms, char text[HISTORY_TIME_BYTES]);
/* A table of all of them. */
int history_table(const struct history_event *event, int n, struct error *e);
/* The newest events from Redis, a line each; nothing where there is no Redis or no history. */
void history_print_last(const struct pipeline *p, int most, FILE *to);
json_t *history_last_json(const struct pipeline *p, int most); /* [] where there is none */
json_t *history_json(const struct history_event *event);

#endif
