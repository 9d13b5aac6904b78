/* orders.h - the supervisor's ear: orders by the unix socket STATE/run/orders, one JSON object a line
 *
 * {"do": "state"}                                  what runs, and what is under way
 * {"do": "restart", "who": ["stage1.0", "broker"]} one after another
 * {"do": "scale", "stage": 1, "replicas": 3}
 * {"do": "take", "together": true, "who": [..]}    the pipeline file as it is now: all stage workers together
 *                                                  where the plan is another one, then who is named
 * {"do": "load"}                                   file and model as they are now, by new stage workers alone
 * {"do": "unload"}                                 stage workers end, until they are loaded again
 * {"do": "cancel"}                                 calls off what this connection has ordered
 * {"do": "stop"}                                   as SIGTERM
 *
 * Lines come back: any number of {"step": 2, "of": 5, "who": "stage1.0"}, then {"done": true, ..} or
 * {"error": NUMBER, "text": "..", "who": ".."}. The socket has mode 0600, and other users than the same one
 * and root are sent away. At most ORDERS_MOST connections; lines of at most ORDERS_LINE bytes.
 */
#ifndef FREEZELINE_ORDERS_H
#define FREEZELINE_ORDERS_H

#include <poll.h>

#include <jansson.h>

#include "deploy/process/roles.h"

#define ORDERS_MOST 8
#define ORDERS_LINE 8192

enum order_kind {
    ORDER_STATE,
    ORDER_RESTART,
    ORDER_SCALE,
    ORDER_TAKE,
    ORDER_LOAD,
    ORDER_UNLOAD,
    ORDER_CANCEL,
    ORDER_STOP,
};

struct order {
    enum order_kind kind;
    int n; /* names */
    char who[ROLES_MAX][32];
    int stage, replicas;
    bool together;
};

/* FL_USAGE: it is no order; the text says why. */
int order_read(struct order *out, const char *line, struct error *e);

struct orders;

int orders_open(struct orders **out, const struct pipeline *p, struct error *e);
/* `keep`: the socket's file is not ours to remove. */
void orders_close(struct orders *o, bool keep);
/* What to wait for; returns how many. */
int orders_poll(const struct orders *o, struct pollfd fd[ORDERS_MOST + 1]);
/* The next order that has come, and by which connection; false: none. What is no order is answered here. */
bool orders_next(struct orders *o, struct order *out, int *from);
/* One line back; takes `line`. One who does not read loses the connection. */
void orders_say(struct orders *o, int to, json_t *line);

#endif
