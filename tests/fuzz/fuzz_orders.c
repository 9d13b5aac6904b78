/* fuzz_orders.c - any line as an order to the supervisor: one within bounds, or refused in one line */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/supervise/orders.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct order *o)
{
    if (o->n < 0 || o->n > ROLES_MAX || (o->kind == ORDER_RESTART && !o->n) || o->kind > ORDER_STOP)
        abort();
    for (int i = 0; i < o->n; i++)
        if (!memchr(o->who[i], 0, sizeof o->who[i]))
            abort();
    if (o->kind == ORDER_SCALE && (o->stage < 0 || o->stage >= PIPELINE_MAX_STAGES || o->replicas < 1 ||
                                   o->replicas > PIPELINE_MAX_REPLICAS))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char line[ORDERS_LINE];
    static struct order o;
    struct error e = {0};

    if (size >= sizeof line)
        return 0;
    memcpy(line, data, size);
    line[size] = '\0';
    if (!order_read(&o, line, &e))
        check(&o);
    else if (!e.text[0] || strchr(e.text, '\n'))
        abort();
    return 0;
}
