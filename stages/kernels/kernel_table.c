/* kernel_table.c - all kernels, best guess first; the reference stands last */
#include <string.h>

#include "kernels.h"
#include "kernels_list.h"

static bool reference_accepts(const struct kernel_task *t)
{
    for (int i = 0; i < t->call.n_in; i++)
        if (view_is_low(&t->call.in[i]))
            return false;
    for (int i = 0; i < t->call.n_out; i++)
        if (view_is_low(&t->call.out[i]))
            return false;
    return t->call.node->op->reference != NULL;
}

static int reference_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct post *p = &c->node->post;
    int rc = c->node->op->reference(c);
    (void)state;
    (void)r;
    if (!rc && (p->residual != GRAPH_NONE || p->activation != ACT_NONE))
        post_apply(p, p->residual == GRAPH_NONE ? NULL : &c->in[p->residual], &c->out[0]);
    return rc;
}

static const struct kernel kernel_reference = {
    .name = "reference",
    .family = KERNEL_REFERENCE,
    .accepts = reference_accepts,
    .run = reference_run,
};

const struct kernel *const *kernel_table(void)
{
    static const struct kernel *const table[] = {
#define X(name) &kernel_##name,
#if defined(FREEZELINE_DNNL)
        KERNELS_ONEDNN_LIST(X)
#endif
                KERNELS_LIST(X)
#undef X
            & kernel_reference,
        NULL,
    };
    return table;
}

const struct kernel *kernel_find(const char *name)
{
    for (const struct kernel *const *k = kernel_table(); *k; k++)
        if (!strcmp((*k)->name, name))
            return *k;
    return NULL;
}

unsigned kernel_families(enum exec_kernels mode)
{
    switch (mode) {
    case KERNELS_REFERENCE:
        return KERNEL_REFERENCE;
    case KERNELS_OPENBLAS:
        return KERNEL_REFERENCE | KERNEL_PLAIN | KERNEL_OPENBLAS;
    case KERNELS_ONEDNN:
        return KERNEL_REFERENCE | KERNEL_PLAIN | KERNEL_OPENBLAS | KERNEL_ONEDNN | KERNEL_LOW;
    default:
        return KERNEL_REFERENCE | KERNEL_PLAIN | KERNEL_OPENBLAS | KERNEL_ONEDNN | KERNEL_NATIVE | KERNEL_LOW;
    }
}
