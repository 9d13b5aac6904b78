/* pass_identity.c */
#include "graph_build.h"
int pass_identity(struct graph *g, struct error *e)
{
    (void)g;
    (void)e;
    return 0;
}
int pass_norm(struct graph *g, struct error *e)
{
    (void)g;
    (void)e;
    return 0;
}
int pass_pad(struct graph *g, struct error *e)
{
    (void)g;
    (void)e;
    return 0;
}
