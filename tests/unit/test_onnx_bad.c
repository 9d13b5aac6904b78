/* test_onnx_bad.c - model files that are wrong: each gets its code and one clear line
 *
 * Models are written by a tiny protobuf writer below, so that what no ONNX tool would write can be written
 * too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/testing.h"
#include "stages/graph/graph.h"
#include "stages/onnx/onnx_tensor.h"

struct bytes {
    uint8_t data[65536];
    size_t size;
};

static void put_varint(struct bytes *b, uint64_t x)
{
    for (; x > 127; x >>= 7)
        b->data[b->size++] = (uint8_t)(x | 128);
    b->data[b->size++] = (uint8_t)x;
}

static void put_int(struct bytes *b, int field, int64_t x)
{
    put_varint(b, (uint64_t)field << 3);
    put_varint(b, (uint64_t)x);
}

static void put_raw(struct bytes *b, int field, const void *data, size_t size)
{
    put_varint(b, (uint64_t)field << 3 | 2);
    put_varint(b, size);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void put_text(struct bytes *b, int field, const char *s)
{
    put_raw(b, field, s, strlen(s));
}

static void put_message(struct bytes *b, int field, const struct bytes *m)
{
    put_raw(b, field, m->data, m->size);
}

/* ValueInfoProto of float32 (or `type`) with these dims; -1 is a dim by name. */
static void put_value(struct bytes *graph, int field, const char *name, int type, int rank,
                      const int64_t *dim)
{
    static struct bytes value, proto, tensor, shape, d;
    value.size = proto.size = tensor.size = shape.size = 0;
    for (int i = 0; i < rank; i++) {
        d.size = 0;
        if (dim[i] < 0)
            put_text(&d, 2, "n");
        else
            put_int(&d, 1, dim[i]);
        put_message(&shape, 1, &d);
    }
    put_int(&tensor, 1, type);
    put_message(&tensor, 2, &shape);
    put_message(&proto, 1, &tensor);
    put_text(&value, 1, name);
    put_message(&value, 2, &proto);
    put_message(graph, field, &value);
}

static const char *domain; /* of the nodes that put_node writes */

static void put_node(struct bytes *graph, const char *op, const char *name, const char *in, const char *in2,
                     const char *out, const struct bytes *attribute)
{
    static struct bytes node;
    node.size = 0;
    if (in)
        put_text(&node, 1, in);
    if (in2)
        put_text(&node, 1, in2);
    if (out)
        put_text(&node, 2, out);
    put_text(&node, 3, name);
    put_text(&node, 4, op);
    if (domain)
        put_text(&node, 7, domain);
    if (attribute)
        put_message(&node, 5, attribute);
    put_message(graph, 1, &node);
}

static void put_tensor(struct bytes *graph, const char *name, int type, int rank, const int64_t *dim,
                       size_t raw)
{
    static struct bytes t;
    static const uint8_t zeros[4096];
    t.size = 0;
    for (int i = 0; i < rank; i++)
        put_int(&t, 1, dim[i]);
    put_int(&t, 2, type);
    put_text(&t, 8, name);
    put_raw(&t, 9, zeros, raw);
    put_message(graph, 5, &t);
}

static const int64_t image[4] = {-1, 3, 8, 8};

static void wrap(struct bytes *model, const struct bytes *graph, int64_t opset)
{
    static struct bytes set;
    model->size = set.size = 0;
    put_int(model, 1, 7);
    put_int(&set, 2, opset);
    put_message(model, 8, &set);
    put_message(model, 7, graph);
}

/* Loads the model; wants `code` and a line that has `text`. */
static void refuse(const struct bytes *model, int code, const char *text)
{
    struct error e = {FL_OK, ""};
    struct graph *g = NULL;
    uint8_t *exact = malloc(model->size + 1);
    int got;
    memcpy(exact, model->data, model->size);
    got = graph_load_bytes(&g, exact, model->size, NULL, &e);
    free(exact);
    if (got != code || !strstr(e.text, text) || strchr(e.text, '\n') || g)
        print_error("code %d, text '%s'; wanted %d, '%s'\n", got, e.text, code, text);
    assert_int_equal(got, code);
    assert_non_null(strstr(e.text, text));
    assert_null(strchr(e.text, '\n'));
    assert_null(g);
}

static struct bytes graph, model, attribute;

static void begin(void)
{
    graph.size = attribute.size = 0;
    put_value(&graph, 11, "x", 1, 4, image);
}

static void end(int code, const char *text)
{
    put_value(&graph, 12, "y", 1, 4, image);
    wrap(&model, &graph, 13);
    refuse(&model, code, text);
}

static void test_not_a_model(void **state)
{
    model.size = 0;
    refuse(&model, FL_MODEL, "not an ONNX model");
    memset(model.data, 0xff, 100);
    model.size = 100;
    refuse(&model, FL_MODEL, "not an ONNX model");
}

static void test_every_truncation_is_refused_or_sound(void **state)
{
    struct bytes whole;
    begin();
    put_node(&graph, "Relu", "r", "x", NULL, "y", NULL);
    put_value(&graph, 12, "y", 1, 4, image);
    wrap(&whole, &graph, 13);
    for (size_t n = 0; n < whole.size; n++) {
        struct error e = {FL_OK, ""};
        struct graph *g = NULL;
        assert_int_not_equal(graph_load_bytes(&g, whole.data, n, NULL, &e), FL_OK);
        assert_null(strchr(e.text, '\n'));
    }
}

static void test_versions(void **state)
{
    begin();
    put_node(&graph, "Relu", "r", "x", NULL, "y", NULL);
    put_value(&graph, 12, "y", 1, 4, image);
    wrap(&model, &graph, 99);
    refuse(&model, FL_UNSUPPORTED, "opset 99 is not supported");
    wrap(&model, &graph, 3);
    refuse(&model, FL_UNSUPPORTED, "operator 'Relu' (node 'r', opset 3) is not supported");
}

static void test_unknown_operator_is_named(void **state)
{
    begin();
    put_node(&graph, "Foo", "bar\n", "x", NULL, "y", NULL);
    end(FL_UNSUPPORTED, "operator 'Foo' (node 'bar?', opset 13) is not supported");
}

/* A function FX of domain "own" that reads a and makes b by nodes that are put with put_node. */
static void put_function(struct bytes *to, const char *name, const struct bytes *nodes)
{
    static struct bytes f;
    size_t at = 0;
    f.size = 0;
    put_text(&f, 1, name);
    put_text(&f, 4, "a");
    put_text(&f, 5, "b");
    put_text(&f, 10, "own");
    /* put_node writes field 1 of a graph; here it is field 7, with the same contents. */
    memcpy(f.data + f.size, nodes->data, nodes->size);
    while (at < nodes->size) {
        size_t length = 0, shift = 0;
        f.data[f.size + at++] = 7 << 3 | 2;
        for (bool more = true; more; shift += 7) {
            length |= (size_t)(nodes->data[at] & 127) << shift;
            more = nodes->data[at++] & 128;
        }
        at += length;
    }
    f.size += nodes->size;
    put_message(to, 25, &f);
}

static struct bytes functions, body;

/* The model y = F(x), with these functions. */
static void use_function(const char *name, int code, const char *text)
{
    begin();
    domain = "own";
    put_node(&graph, name, "use", "x", NULL, "y", NULL);
    domain = NULL;
    put_value(&graph, 12, "y", 1, 4, image);
    wrap(&model, &graph, 13);
    memcpy(model.data + model.size, functions.data, functions.size);
    model.size += functions.size;
    refuse(&model, code, text);
    functions.size = body.size = 0;
}

static void test_functions(void **state)
{
    functions.size = body.size = 0;
    put_raw(&functions, 25, "f", 1);
    use_function("F", FL_MODEL, "not an ONNX model");
    use_function("F", FL_UNSUPPORTED, "operator 'F' (node 'use') of domain 'own' is not supported");
    put_node(&body, "Relu", "r", "a", NULL, "c", NULL);
    put_function(&functions, "F", &body);
    use_function("F", FL_MODEL, "function 'F' does not make its output 'b'");
    put_node(&body, "Relu", "r", "a", NULL, "a", NULL);
    put_function(&functions, "F", &body);
    use_function("F", FL_MODEL, "value 'a' is made twice (second time by node 'r')");
    put_node(&body, "Relu", "r", "x", NULL, "b", NULL);
    put_function(&functions, "F", &body);
    use_function("F", FL_MODEL, "node 'use/r' (Relu) reads 'x', which nothing makes");
    put_node(&body, "Relu", "r", "a", NULL, "b", NULL);
    put_function(&functions, "F", &body);
    put_function(&functions, "F", &body);
    use_function("F", FL_MODEL, "function 'F' is given twice");
    put_node(&body, "Foo", "r", "a", NULL, "b", NULL);
    put_function(&functions, "F", &body);
    use_function("F", FL_UNSUPPORTED, "operator 'Foo' (node 'use/r', opset 13) is not supported");
}

/* Functions that call themselves, or one another ten times each, twenty deep. */
static void test_functions_stay_bounded(void **state)
{
    functions.size = body.size = 0;
    domain = "own";
    put_node(&body, "F", "again", "a", NULL, "b", NULL);
    put_function(&functions, "F", &body);
    use_function("F", FL_UNSUPPORTED, "functions and branches lie more than 24 deep");
    for (int i = 0; i < 20; i++) {
        char name[16], next[16], out[16];
        snprintf(name, sizeof name, "F%d", i);
        snprintf(next, sizeof next, "F%d", i + 1);
        body.size = 0;
        domain = i < 19 ? "own" : NULL;
        for (int k = 0; k < 10; k++) {
            snprintf(out, sizeof out, k ? "c%d" : "b", k);
            put_node(&body, i < 19 ? next : "Relu", "n", "a", NULL, out, NULL);
        }
        put_function(&functions, name, &body);
    }
    use_function("F0", FL_UNSUPPORTED, "become too large when they are put where they are used");
}

static struct bytes branch, branches;

/* Attribute `which`: a graph that gives `out` by op(x), or, where the node has an attribute, by op(c). */
static void put_branch(struct bytes *to, const char *which, const char *op, const char *out,
                       const struct bytes *more)
{
    static struct bytes g, a;
    g.size = a.size = 0;
    put_node(&g, op, "inner", more ? "c" : "x", NULL, out, more);
    put_value(&g, 12, out, 1, 4, image);
    put_text(&a, 1, which);
    put_message(&a, 6, &g);
    put_int(&a, 20, 5);
    to->size = 0;
    memcpy(to->data, a.data, a.size);
    to->size = a.size;
}

/* y = If(c) with the attributes then_branch and, unless it is NULL, else_branch. */
static void use_branches(const struct bytes *yes, const struct bytes *no, bool known, int code,
                         const char *text)
{
    static struct bytes node;
    begin();
    if (known)
        put_tensor(&graph, "c", 9, 0, NULL, 1);
    else
        put_value(&graph, 11, "c", 9, 0, NULL);
    node.size = 0;
    put_text(&node, 1, "c");
    put_text(&node, 2, "y");
    put_text(&node, 3, "choice");
    put_text(&node, 4, "If");
    put_message(&node, 5, yes);
    if (no)
        put_message(&node, 5, no);
    put_message(&graph, 1, &node);
    end(code, text);
}

static void test_branches(void **state)
{
    put_branch(&branches, "then_branch", "Relu", "t", NULL);
    use_branches(&branches, NULL, true, FL_MODEL, "node 'choice' (If) has no else_branch");
    put_branch(&branch, "else_branch", "Foo", "e", NULL);
    use_branches(&branches, &branch, true, FL_UNSUPPORTED,
                 "operator 'Foo' is not supported"); /* c is false */
    put_branch(&branch, "else_branch", "Conv", "e", NULL);
    use_branches(&branches, &branch, true, FL_MODEL, "operator 'Conv' (node 'choice/inner', opset 13) takes");
    put_branch(&branch, "else_branch", "Relu", "x", NULL);
    use_branches(&branches, &branch, true, FL_MODEL, "cycle");
    put_branch(&branch, "else_branch", "Relu", "e", NULL);
    use_branches(&branches, &branch, false, FL_UNSUPPORTED,
                 "node 'choice' (If): its condition is known only while the model runs");
    branch.size = 0;
    put_text(&branch, 1, "else_branch");
    put_raw(&branch, 6, "nonsense", 8);
    use_branches(&branches, &branch, true, FL_MODEL, "its else_branch is no graph, or cut short");
}

static void test_branches_stay_bounded(void **state)
{
    put_branch(&branch, "then_branch", "Relu", "t", NULL);
    for (int i = 0; i < 30; i++)
        put_branch(&branch, "then_branch", "If", "t", &branch);
    put_branch(&branches, "else_branch", "Relu", "e", NULL);
    use_branches(&branch, &branches, true, FL_UNSUPPORTED, "functions and branches lie more than 24 deep");
}

static void test_other_subgraphs(void **state)
{
    begin();
    put_text(&attribute, 1, "body");
    put_raw(&attribute, 6, "", 0);
    put_int(&attribute, 20, 5);
    put_node(&graph, "Loop", "again", "x", NULL, "y", &attribute);
    end(FL_UNSUPPORTED, "operator 'Loop' (node 'again', opset 13) is not supported");
    begin();
    put_text(&attribute, 1, "axis");
    put_text(&attribute, 21, "of_function");
    put_int(&attribute, 20, 2);
    put_node(&graph, "Softmax", "s", "x", NULL, "y", &attribute);
    end(FL_MODEL, "attribute 'axis' refers to a function's attribute, but is in none");
}

static void test_cycle(void **state)
{
    begin();
    put_node(&graph, "Add", "a", "x", "q", "p", NULL);
    put_node(&graph, "Relu", "b", "p", NULL, "q", NULL);
    put_node(&graph, "Relu", "c", "q", NULL, "y", NULL);
    end(FL_MODEL, "cycle");
}

static void test_names(void **state)
{
    begin();
    put_node(&graph, "Relu", "r", "nowhere", NULL, "y", NULL);
    end(FL_MODEL, "node 'r' (Relu) reads 'nowhere', which nothing makes");
    begin();
    put_node(&graph, "Relu", "r", "x", NULL, "y", NULL);
    put_node(&graph, "Tanh", "s", "x", NULL, "y", NULL);
    end(FL_MODEL, "'y' is made twice (second time by node 's')");
    begin();
    put_node(&graph, "Relu", "r", "x", NULL, "x", NULL);
    end(FL_MODEL, "'x' is made twice");
    begin();
    put_node(&graph, "Relu", "r", "x", NULL, "z", NULL);
    end(FL_MODEL, "output 'y' is made by nothing");
    begin();
    put_node(&graph, "Relu", "r", "x", "x", "y", NULL);
    end(FL_MODEL, "takes 1 to 1 inputs, it has 2");
    begin();
    put_node(&graph, "Conv", "c", "", "x", "y", NULL);
    end(FL_MODEL, "lacks its input 0");
}

/* Weights may stand among the inputs in any number; what is fed may not. */
static void test_too_many_inputs(void **state)
{
    char name[16];
    begin();
    for (int i = 0; i < 256; i++) {
        snprintf(name, sizeof name, "x%d", i);
        put_value(&graph, 11, name, 1, 4, image);
    }
    put_node(&graph, "Relu", "r", "x", NULL, "y", NULL);
    end(FL_UNSUPPORTED, "more than 256 inputs besides its weights");
}

static void test_initializers(void **state)
{
    const int64_t huge[2] = {INT64_MAX, 4}, negative[1] = {-5}, wide[1] = {100}, much[2] = {1 << 20, 1 << 20};
    begin();
    put_tensor(&graph, "w", 1, 2, huge, 16);
    end(FL_MODEL, "tensor 'w' has impossible dims");
    begin();
    put_tensor(&graph, "w", 1, 1, negative, 16);
    end(FL_MODEL, "tensor 'w' has impossible dims");
    begin();
    put_tensor(&graph, "w", 1, 1, wide, 16);
    end(FL_MODEL, "tensor 'w' has 16 bytes of data, its dims ask for 400");
    begin();
    put_tensor(&graph, "w", 1, 2, much, 0);
    end(FL_MODEL, "its dims ask for");
    begin();
    put_tensor(&graph, "w", 8, 1, wide, 16);
    end(FL_UNSUPPORTED, "element type string");
    begin();
    put_tensor(&graph, "w", 1, 0, NULL, 4);
    put_tensor(&graph, "w", 1, 0, NULL, 4);
    end(FL_MODEL, "initializer 'w' is given twice");
}

static void test_shapes(void **state)
{
    const int64_t weights[4] = {2, 7, 1, 1}, list[1] = {3};
    begin();
    put_tensor(&graph, "w", 1, 4, weights, 56);
    put_node(&graph, "Conv", "c", "x", "w", "y", NULL);
    end(FL_MODEL, "node 'c' (Conv, opset 13): 3 input channels in 1 groups do not fit weights 2 x 7");
    begin();
    put_tensor(&graph, "w", 1, 1, list, 12);
    put_node(&graph, "Add", "a", "x", "w", "y", NULL);
    end(FL_MODEL, "cannot be broadcast");
    begin();
    put_tensor(&graph, "w", 7, 1, list, 24);
    put_node(&graph, "Add", "a", "x", "w", "y", NULL);
    end(FL_MODEL, "its inputs have types float32 and int64");
    begin();
    put_node(&graph, "Reshape", "s", "x", "x", "y", NULL);
    end(FL_MODEL, "list of integers");
}

/* Few bytes that ask for much memory or time. */
static void test_hostile_sizes(void **state)
{
    const int64_t vast[4] = {1, 1 << 20, 1 << 20, 1 << 20}, list[1] = {512};
    graph.size = 0;
    put_value(&graph, 11, "x", 1, 4, vast);
    put_node(&graph, "Relu", "r", "x", NULL, "y", NULL);
    end(FL_UNSUPPORTED, "impossible size");
    begin();
    put_tensor(&graph, "w", 7, 1, list, 4096);
    put_node(&graph, "ConstantOfShape", "z", "w", NULL, "y", NULL);
    end(FL_MODEL, "at most 8 make sense");
    begin();
    put_text(&attribute, 1, "kernel_shape");
    put_int(&attribute, 8, 1 << 20);
    put_int(&attribute, 8, 1 << 20);
    put_int(&attribute, 20, 7);
    put_node(&graph, "MaxPool", "p", "x", NULL, "y", &attribute);
    end(FL_MODEL, "larger than its padded input");
}

static void test_open_dims(void **state)
{
    const int64_t open[4] = {-1, 3, -1, 8};
    graph.size = 0;
    put_value(&graph, 11, "x", 1, 4, open);
    put_node(&graph, "Relu", "r", "x", NULL, "y", NULL);
    end(FL_UNSUPPORTED,
        "such as --shape x=1x3x224x8, or in a pipeline file `input: {shape: [1, 3, 224, 8]}`");
}

static int64_t external_elements = 2;

static void put_external(struct bytes *to, const char *location, int number)
{
    static struct bytes t, entry;
    char name[16];
    t.size = entry.size = 0;
    snprintf(name, sizeof name, "w%d", number);
    put_int(&t, 1, external_elements);
    put_int(&t, 2, 1);
    put_text(&t, 8, name);
    put_text(&entry, 1, "location");
    put_text(&entry, 2, location);
    put_message(&t, 13, &entry);
    put_int(&t, 14, 1);
    put_message(to, 5, &t);
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

/* A model whose weights, `times` over, lie at `location`. */
static void write_external(const char *path, const char *location, int times)
{
    begin();
    for (int i = 0; i < times; i++)
        put_external(&graph, location, i);
    put_node(&graph, "Relu", "r", "x", NULL, "y", NULL);
    put_value(&graph, 12, "y", 1, 4, image);
    wrap(&model, &graph, 13);
    write_file(path, model.data, model.size);
}

static uint8_t loaded[16]; /* digest of the model that load_path loaded last */

static int load_path(const char *path, struct error *e)
{
    struct graph *g = NULL;
    int code = graph_load(&g, path, NULL, e);
    if (!code)
        memcpy(loaded, g->digest, sizeof loaded);
    graph_free(g);
    return code;
}

static int load_external(const char *dir, const char *location, struct error *e)
{
    char path[300];
    int code;
    snprintf(path, sizeof path, "%s/m.onnx", dir);
    write_external(path, location, 1);
    code = load_path(path, e);
    unlink(path);
    return code;
}

static void test_external_data_stays_in_its_folder(void **state)
{
    char dir[] = "/tmp/freezeline-onnx-XXXXXX", path[300];
    struct error e = {FL_OK, ""};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/w.bin", dir);
    write_file(path, "12345678", 8);
    assert_int_equal(load_external(dir, "w.bin", &e), FL_OK);
    assert_int_equal(truncate(path, 7), 0);
    assert_int_equal(load_external(dir, "w.bin", &e), FL_MODEL);
    assert_non_null(strstr(e.text, "too short"));
    assert_int_equal(load_external(dir, "../../etc/passwd", &e), FL_MODEL);
    assert_non_null(strstr(e.text, "must be a relative path without '..'"));
    assert_int_equal(load_external(dir, "w.bin/..", &e), FL_MODEL);
    assert_int_equal(load_external(dir, "/etc/passwd", &e), FL_MODEL);
    assert_int_equal(load_external(dir, "none.bin", &e), FL_IO);
    assert_non_null(strstr(e.text, "belongs beside the model"));
    assert_int_equal(load_external(dir, ".", &e), FL_MODEL);
    unlink(path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(load_external(dir, "w.bin", &e), FL_MODEL);
    assert_non_null(strstr(e.text, "is a link to /etc/passwd, which lies neither beside the model"));
    unlink(path);
    rmdir(dir);
}

/* Told before the file is opened, which could hold them with holes. */
static void test_external_data_beyond_the_memory(void **state)
{
    char dir[] = "/tmp/freezeline-onnx-XXXXXX";
    struct error e = {FL_OK, ""};
    assert_non_null(mkdtemp(dir));
    external_elements = (int64_t)1 << 50;
    assert_int_equal(load_external(dir, "none.bin", &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "m.onnx: external data needs"));
    external_elements = (int64_t)1 << 62; /* times 4 bytes is no number */
    assert_int_equal(load_external(dir, "none.bin", &e), FL_MODEL);
    external_elements = 2;
    rmdir(dir);
}

/* The .onnx stays as it is: only what lies beside it changes. */
static void test_digest_covers_external_data(void **state)
{
    char dir[] = "/tmp/freezeline-onnx-XXXXXX", path[300];
    uint8_t before[sizeof loaded];
    struct error e = {FL_OK, ""};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/w.bin", dir);
    write_file(path, "12345678", 8);
    assert_int_equal(load_external(dir, "w.bin", &e), FL_OK);
    memcpy(before, loaded, sizeof before);
    write_file(path, "12345679", 8);
    assert_int_equal(load_external(dir, "w.bin", &e), FL_OK);
    assert_memory_not_equal(before, loaded, sizeof before);
    write_file(path, "12345678, and more", 18); /* that no tensor refers to */
    assert_int_equal(load_external(dir, "w.bin", &e), FL_OK);
    assert_memory_equal(before, loaded, sizeof before);
    unlink(path);
    rmdir(dir);
}

/* DIR/blobs/{model,data}, and names for them in DIR/names. */
static void make_cache(char *dir, const char *data_link)
{
    char path[300], link[300];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/blobs", dir);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/names", dir);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/blobs/model", dir);
    write_external(path, "w.bin", 1);
    snprintf(path, sizeof path, "%s/blobs/data", dir);
    write_file(path, "12345678", 8);
    snprintf(path, sizeof path, "%s/refs", dir);
    write_file(path, "12345678", 8);
    snprintf(link, sizeof link, "%s/names/m.onnx", dir);
    assert_int_equal(symlink("../blobs/model", link), 0);
    snprintf(link, sizeof link, "%s/names/w.bin", dir);
    if (data_link)
        assert_int_equal(symlink(data_link, link), 0);
}

static void remove_cache(const char *dir)
{
    static const char *const made[] = {"names/m.onnx", "names/w.bin", "blobs/model", "blobs/data",
                                       "blobs/w.bin",  "names",       "blobs",       "refs"};
    char path[300];
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, made[i]);
        remove(path);
    }
    assert_int_equal(rmdir(dir), 0);
}

static void test_links_of_a_download_cache(void **state)
{
    static const struct {
        const char *data_link;
        int code;
    } cases[] = {{"../blobs/data", FL_OK}, {"../refs", FL_MODEL}, {"/etc/passwd", FL_MODEL}, {NULL, FL_IO}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char dir[] = "/tmp/freezeline-onnx-XXXXXX", path[300];
        struct error e = {FL_OK, ""};
        make_cache(dir, cases[i].data_link);
        snprintf(path, sizeof path, "%s/names/m.onnx", dir);
        assert_int_equal(load_path(path, &e), cases[i].code);
        remove_cache(dir);
    }
}

/* A link to a model somewhere else: its data may have stayed there. */
static void test_data_beside_the_file_that_a_link_leads_to(void **state)
{
    char dir[] = "/tmp/freezeline-onnx-XXXXXX", path[300];
    struct error e = {FL_OK, ""};
    make_cache(dir, NULL);
    snprintf(path, sizeof path, "%s/blobs/w.bin", dir);
    write_file(path, "12345678", 8);
    snprintf(path, sizeof path, "%s/names/m.onnx", dir);
    assert_int_equal(load_path(path, &e), FL_OK);
    remove_cache(dir);
}

/* Shared bytes are fine, a thousand tensors made of one file are not. */
static void test_external_data_is_not_multiplied(void **state)
{
    char dir[] = "/tmp/freezeline-onnx-XXXXXX", path[300], model_path[300];
    struct error e = {FL_OK, ""};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/w.bin", dir);
    snprintf(model_path, sizeof model_path, "%s/m.onnx", dir);
    write_file(path, "", 0);
    external_elements = 1 << 18;
    assert_int_equal(truncate(path, external_elements * 4), 0);
    write_external(model_path, "w.bin", 60);
    assert_int_equal(load_path(model_path, &e), FL_OK);
    write_external(model_path, "w.bin", 80);
    assert_int_equal(load_path(model_path, &e), FL_MODEL);
    assert_non_null(strstr(e.text, "many times the bytes"));
    external_elements = 2;
    unlink(path);
    unlink(model_path);
    rmdir(dir);
}

static void test_files(void **state)
{
    struct graph_options small = {.max_bytes = 10};
    struct error e = {FL_OK, ""};
    struct graph *g = NULL;
    struct tensor t;
    assert_int_equal(graph_load(&g, "/nonexistent/m.onnx", NULL, &e), FL_IO);
    assert_int_equal(graph_load(&g, "/tmp", NULL, &e), FL_IO);
    assert_int_equal(graph_load(&g, "/dev/null", NULL, &e), FL_IO);
    assert_int_equal(graph_load(&g, "/etc/passwd", &small, &e), FL_TOO_LARGE);
    assert_int_equal(onnx_tensor_read(&t, "/nonexistent/t.pb", &e), FL_IO);
    assert_int_equal(onnx_tensor_read(&t, "/etc/passwd", &e), FL_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_a_model),
        cmocka_unit_test(test_every_truncation_is_refused_or_sound),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_unknown_operator_is_named),
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_functions_stay_bounded),
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_branches_stay_bounded),
        cmocka_unit_test(test_other_subgraphs),
        cmocka_unit_test(test_cycle),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_too_many_inputs),
        cmocka_unit_test(test_initializers),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_hostile_sizes),
        cmocka_unit_test(test_open_dims),
        cmocka_unit_test(test_external_data_stays_in_its_folder),
        cmocka_unit_test(test_external_data_beyond_the_memory),
        cmocka_unit_test(test_digest_covers_external_data),
        cmocka_unit_test(test_links_of_a_download_cache),
        cmocka_unit_test(test_data_beside_the_file_that_a_link_leads_to),
        cmocka_unit_test(test_external_data_is_not_multiplied),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
