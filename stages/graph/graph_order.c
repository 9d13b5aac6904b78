/* graph_order.c - topological order, and removal of what nothing needs
 *
 * Both passes are linear in the graph and keep no recursion on the stack, so a long chain in a hostile file
 * is harmless.
 */
#include <stdlib.h>
#include <string.h>

#include "graph_build.h"

enum visit { UNSEEN, OPEN, DONE };

struct sorter {
    struct graph *g;
    unsigned char *state; /* enum visit, per node */
    int *stack, *next;    /* path of open nodes, and which input of each is looked at next */
    int *order, n;        /* finished nodes */
};

static int producer_of(const struct graph *g, int value)
{
    return value == GRAPH_NONE ? GRAPH_NONE : g->values[value].producer;
}

/* Depth-first from one node: inputs first. GRAPH_NONE, or a node of a cycle. */
static int visit_from(struct sorter *s, int root)
{
    int depth = 0;
    s->stack[0] = root;
    s->next[0] = 0;
    s->state[root] = OPEN;
    while (depth >= 0) {
        const struct node *n = &s->g->nodes[s->stack[depth]];
        int p;
        if (s->next[depth] == n->n_in) {
            s->state[s->stack[depth]] = DONE;
            s->order[s->n++] = s->stack[depth--];
            continue;
        }
        p = producer_of(s->g, n->in[s->next[depth]++]);
        if (p == GRAPH_NONE || s->state[p] == DONE)
            continue;
        if (s->state[p] == OPEN)
            return p;
        s->state[p] = OPEN;
        s->stack[++depth] = p;
        s->next[depth] = 0;
    }
    return GRAPH_NONE;
}

static void set_producers(struct graph *g)
{
    for (int i = 0; i < g->n_values; i++)
        g->values[i].producer = GRAPH_NONE;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; g->nodes[i].op && k < g->nodes[i].n_out; k++)
            if (g->nodes[i].out[k] != GRAPH_NONE)
                g->values[g->nodes[i].out[k]].producer = i;
}

static int reorder(struct sorter *s)
{
    struct graph *g = s->g;
    struct node *nodes = calloc((size_t)g->n_nodes + 1, sizeof *nodes);
    if (!nodes)
        return FL_NOMEM;
    for (int i = 0; i < s->n; i++)
        nodes[i] = g->nodes[s->order[i]];
    for (int i = 0; i < g->n_nodes; i++)
        if (!g->nodes[i].op)
            node_release(&g->nodes[i]);
    free(g->nodes);
    g->nodes = nodes;
    g->n_nodes = s->n;
    set_producers(g);
    return FL_OK;
}

static int sort(struct sorter *s, struct error *e)
{
    set_producers(s->g);
    for (int i = 0; i < s->g->n_nodes; i++) {
        int stuck;
        if (!s->g->nodes[i].op || s->state[i] != UNSEEN)
            continue;
        stuck = visit_from(s, i);
        if (stuck != GRAPH_NONE)
            return error_set(e, FL_MODEL, "node '%s' (%s) depends on its own output: the graph has a cycle",
                             s->g->nodes[stuck].name, s->g->nodes[stuck].op->name);
    }
    return reorder(s) ? error_set(e, FL_NOMEM, "out of memory") : FL_OK;
}

int graph_sort(struct graph *g, struct error *e)
{
    size_t n = (size_t)g->n_nodes + 1;
    struct sorter s = {
        g, calloc(n, 1), calloc(n, sizeof(int)), calloc(n, sizeof(int)), calloc(n, sizeof(int)), 0};
    int code =
        s.state && s.stack && s.next && s.order ? sort(&s, e) : error_set(e, FL_NOMEM, "out of memory");
    free(s.state);
    free(s.stack);
    free(s.next);
    free(s.order);
    return code;
}

/* A node that stays needs its inputs, and keeps its first output even if only others are read. */
static void mark(const struct node *n, unsigned char *needed)
{
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] != GRAPH_NONE)
            needed[n->in[k]] = 1;
    if (n->out[0] != GRAPH_NONE)
        needed[n->out[0]] = 1;
}

bool node_makes_needed(const struct node *n, const unsigned char *needed)
{
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] != GRAPH_NONE && needed[n->out[k]])
            return true;
    return false;
}

/* Nodes backwards: one that makes nothing needed goes, one that stays needs its inputs. */
static void sweep_nodes(struct graph *g, unsigned char *needed)
{
    int kept = 0;
    for (int i = g->n_nodes - 1; i >= 0; i--)
        if (node_makes_needed(&g->nodes[i], needed))
            mark(&g->nodes[i], needed);
        else
            node_release(&g->nodes[i]);
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op) {
            struct node n = g->nodes[i];
            memset(&g->nodes[i], 0, sizeof n);
            g->nodes[kept++] = n;
        }
    g->n_nodes = kept;
}

static int renamed(const int *moved, int value)
{
    return value == GRAPH_NONE ? GRAPH_NONE : moved[value];
}

static void sweep_values(struct graph *g, const unsigned char *needed, int *moved)
{
    int kept = 0;
    for (int i = 0; i < g->n_values; i++) {
        struct value v = g->values[i];
        moved[i] = needed[i] ? kept : GRAPH_NONE;
        memset(&g->values[i], 0, sizeof v);
        if (needed[i])
            g->values[kept++] = v;
        else
            value_release(&v);
    }
    g->n_values = kept;
    for (int i = 0; i < g->n_nodes; i++) {
        for (int k = 0; k < g->nodes[i].n_in; k++)
            g->nodes[i].in[k] = renamed(moved, g->nodes[i].in[k]);
        for (int k = 0; k < g->nodes[i].n_out; k++)
            g->nodes[i].out[k] = renamed(moved, g->nodes[i].out[k]);
    }
    for (int i = 0; i < g->n_inputs; i++)
        g->inputs[i] = moved[g->inputs[i]];
    for (int i = 0; i < g->n_outputs; i++)
        g->outputs[i] = moved[g->outputs[i]];
}

int graph_sweep(struct graph *g, struct error *e)
{
    unsigned char *needed = calloc((size_t)g->n_values + 1, 1);
    int *moved = calloc((size_t)g->n_values + 1, sizeof *moved);
    int code = needed && moved ? FL_OK : error_set(e, FL_NOMEM, "out of memory");
    if (!code) {
        for (int i = 0; i < g->n_outputs; i++)
            needed[g->outputs[i]] = 1;
        for (int i = 0; i < g->n_inputs; i++)
            needed[g->inputs[i]] = 1;
        sweep_nodes(g, needed);
        sweep_values(g, needed, moved);
        set_producers(g);
    }
    free(needed);
    free(moved);
    return code;
}
