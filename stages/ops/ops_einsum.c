/* ops_einsum.c - Einsum: sums of products, as an equation over the dims of the inputs says
 *
 * Each letter, and each dim that an ellipsis stands for, is a label with one size. Labels of the output are
 * walked; all others are summed over.
 */
#include <string.h>

#include "ops.h"

#define LETTERS   52
#define LABELS    (LETTERS + TENSOR_MAX_RANK) /* after the letters: dims of an ellipsis, aligned right */
#define INPUT_MAX 8

struct einsum {
    int n_in, n_out, n_sum;
    int in[INPUT_MAX][TENSOR_MAX_RANK]; /* label of each dim */
    int out[TENSOR_MAX_RANK], sum[LABELS];
    int64_t size[LABELS]; /* 0: not used yet */
};

static int letter(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : -1;
}

/* Reads labels up to the end of a term; `dims` is how many the term must have, -1: as many as there are, with
 * an ellipsis of `dots` dims. Returns their number, or -1. */
static int read_term(const char **text, int *label, int dims, int dots)
{
    const char *s = *text;
    int n = 0, letters = 0;

    for (const char *t = s; *t && *t != ',' && *t != '-'; t++)
        letters += letter(*t) >= 0;
    if (dims >= 0)
        dots = dims - letters;
    for (; *s && *s != ',' && *s != '-'; s++) {
        if (*s == ' ')
            continue;
        if (!strncmp(s, "...", 3)) {
            if (dots < 0 || n + dots > TENSOR_MAX_RANK)
                return -1;
            for (int k = 0; k < dots; k++)
                label[n++] = LABELS - dots + k;
            dots = -1; /* a second one is refused */
            s += 2;
        } else if (letter(*s) >= 0 && n < TENSOR_MAX_RANK)
            label[n++] = letter(*s);
        else
            return -1;
    }
    *text = s;
    return dims >= 0 && n != dims ? -1 : n;
}

/* Without "->": the dims of the ellipsis, then each letter that stands in one place only, in order. */
static int implicit_output(struct einsum *m, const int *rank)
{
    int seen[LABELS] = {0}, n = 0;

    for (int k = 0; k < m->n_in; k++)
        for (int d = 0; d < rank[k]; d++)
            seen[m->in[k][d]]++;
    for (int pass = 0; pass < 2; pass++)
        for (int l = pass ? 0 : LETTERS; l < (pass ? LETTERS : LABELS); l++)
            if (pass ? seen[l] == 1 : seen[l]) {
                if (n == TENSOR_MAX_RANK)
                    return -1;
                m->out[n++] = l;
            }
    return n;
}

static bool take_size(struct einsum *m, int label, int64_t size, bool *used)
{
    if (!used[label] || m->size[label] == 1)
        m->size[label] = size;
    used[label] = true;
    return m->size[label] == size || size == 1;
}

/* False when the equation does not fit the inputs. */
static bool parse(struct einsum *m, const char *equation, int n_in, const int *rank,
                  const int64_t *const *dim)
{
    bool used[LABELS] = {false}, out[LABELS] = {false};
    int dots = 0;

    memset(m, 0, sizeof *m);
    m->n_in = n_in;
    for (int k = 0; k < n_in; k++) {
        if (read_term(&equation, m->in[k], rank[k], 0) < 0 || (k < n_in - 1 && *equation++ != ','))
            return false;
        for (int d = 0; d < rank[k]; d++) {
            dots = m->in[k][d] >= LETTERS && LABELS - m->in[k][d] > dots ? LABELS - m->in[k][d] : dots;
            if (!take_size(m, m->in[k][d], dim[k][d], used))
                return false;
        }
    }
    if (*equation == '-') {
        if (equation[1] != '>')
            return false;
        equation += 2;
        m->n_out = read_term(&equation, m->out, -1, dots);
    } else
        m->n_out = implicit_output(m, rank);
    if (m->n_out < 0 || *equation)
        return false;
    for (int d = 0; d < m->n_out; d++) {
        if (!used[m->out[d]] || out[m->out[d]])
            return false;
        out[m->out[d]] = true;
    }
    for (int l = 0; l < LABELS; l++)
        if (used[l] && !out[l])
            m->sum[m->n_sum++] = l;
    return true;
}

int einsum_infer(struct op_infer *i)
{
    const char *equation = attr_string(i->node, "equation", "");
    const int64_t *dim[INPUT_MAX];
    int rank[INPUT_MAX], code;
    struct einsum m;

    if (i->n_in > INPUT_MAX)
        return infer_unsupported(i, "more than %d inputs are not supported", INPUT_MAX);
    for (int k = 0; k < i->n_in; k++) {
        if ((code = infer_dtype(i, k, DT_FLOAT)))
            return code;
        if (i->in[k].dtype != i->in[0].dtype)
            return infer_fail(i, "its inputs have different types");
        rank[k] = i->in[k].rank;
        dim[k] = i->in[k].dim;
    }
    if (!parse(&m, equation, i->n_in, rank, dim))
        return infer_fail(i, "its equation '%.100s' does not fit its inputs", equation);
    i->out[0] = (struct tensor){.dtype = i->in[0].dtype, .rank = m.n_out};
    for (int d = 0; d < m.n_out; d++)
        i->out[0].dim[d] = m.size[m.out[d]];
    return FL_OK;
}

/* Elements to step in input k when a label grows by one: a diagonal steps along several dims at once. */
static int64_t label_stride(const struct einsum *m, const struct view *v, int k, int label)
{
    int64_t stride = 0;
    for (int d = 0; d < v->rank; d++)
        if (m->in[k][d] == label && v->dim[d] > 1)
            stride += v->stride[d];
    return stride;
}

int einsum_reference(const struct op_call *c)
{
    int64_t at[TENSOR_MAX_RANK] = {0}, outer[INPUT_MAX][TENSOR_MAX_RANK], inner[INPUT_MAX][LABELS],
            limit[LABELS];
    const int64_t *dim[INPUT_MAX];
    const struct view *y = &c->out[0];
    int rank[INPUT_MAX];
    bool empty = false;
    struct einsum m;

    for (int k = 0; k < c->n_in; k++) {
        rank[k] = c->in[k].rank;
        dim[k] = c->in[k].dim;
    }
    if (!parse(&m, attr_string(c->node, "equation", ""), c->n_in, rank, dim))
        return FL_VALUE;
    for (int k = 0; k < m.n_in; k++) {
        for (int d = 0; d < m.n_out; d++)
            outer[k][d] = label_stride(&m, &c->in[k], k, m.out[d]);
        for (int s = 0; s < m.n_sum; s++)
            inner[k][s] = label_stride(&m, &c->in[k], k, m.sum[s]);
    }
    for (int s = 0; s < m.n_sum; s++) {
        limit[s] = m.size[m.sum[s]];
        empty |= !limit[s];
    }
    if (!view_count(y))
        return FL_OK;
    do {
        int64_t index[LABELS] = {0};
        double sum = 0;
        if (!empty)
            do {
                double product = 1;
                for (int k = 0; k < m.n_in; k++)
                    product *= real_at(&c->in[k], index_offset(at, outer[k], m.n_out) +
                                                      index_offset(index, inner[k], m.n_sum));
                sum += product;
            } while (index_advance(index, limit, m.n_sum));
        put_real(y, index_offset(at, y->stride, y->rank), sum);
    } while (index_advance(at, y->dim, y->rank));
    return FL_OK;
}
