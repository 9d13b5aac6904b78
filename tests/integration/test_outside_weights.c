/* test_outside_weights.c - weights beside the .onnx are the model as much as those in it
 *
 * The same .onnx with another data file is another network: the caches of the old one are refused, and
 * `build` takes none of the activations that it stored for the old one.
 */
#include "tool_world.h"

#include "onnx.pb-c.h"

static const char yaml[] = "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
                           "exits: [{name: a, after: /blocks.1/Relu_1}, {name: b, after: /blocks.3/Relu_1}]\n"
                           "cache: {kind: kmeans, grids: [1], nodes: 32, train_epochs: 1}\n";

struct writer {
    struct harness *h;
    FILE *weights, *other; /* net.onnx_data; the same with the classifier's rows moved on by one */
    size_t at;
};

static FILE *create(struct harness *h, const char *name)
{
    char path[HARNESS_PATH];
    FILE *f;
    snprintf(path, sizeof path, "%.400s/%s", harness_dir(h), name);
    assert_non_null(f = fopen(path, "wb"));
    return f;
}

static Onnx__StringStringEntryProto *entry(const char *key, const char *value)
{
    Onnx__StringStringEntryProto *e = malloc(sizeof *e);
    assert_non_null(e);
    onnx__string_string_entry_proto__init(e);
    e->key = strdup(key);
    e->value = strdup(value);
    return e;
}

static void move_out(struct writer *w, Onnx__TensorProto *t, bool rolled)
{
    size_t size = t->raw_data.len, row = rolled && t->n_dims ? size / (size_t)t->dims[0] : 0;
    char offset[32], length[32];
    assert_int_equal(fwrite(t->raw_data.data, 1, size, w->weights), size);
    assert_int_equal(fwrite(t->raw_data.data + row, 1, size - row, w->other), size - row);
    assert_int_equal(fwrite(t->raw_data.data, 1, row, w->other), row);
    snprintf(offset, sizeof offset, "%zu", w->at);
    snprintf(length, sizeof length, "%zu", size);
    w->at += size;
    free(t->raw_data.data);
    t->raw_data = (ProtobufCBinaryData){0, NULL};
    t->has_raw_data = 0;
    t->has_data_location = 1;
    t->data_location = 1;
    t->n_external_data = 3;
    t->external_data = malloc(3 * sizeof *t->external_data);
    assert_non_null(t->external_data);
    t->external_data[0] = entry("location", "net.onnx_data");
    t->external_data[1] = entry("offset", offset);
    t->external_data[2] = entry("length", length);
}

static bool is_head(const Onnx__GraphProto *g, const char *name)
{
    const Onnx__NodeProto *last = g->node[g->n_node - 1];
    for (size_t i = 1; i < last->n_input; i++)
        if (!strcmp(last->input[i], name))
            return true;
    return false;
}

/* The demo's network, its weights in a file beside it. */
static void put_model(struct harness *h)
{
    static uint8_t bytes[4 << 20];
    FILE *in = fopen("configs/demo/demo.onnx", "rb"), *out;
    struct writer w = {h, create(h, "net.onnx_data"), create(h, "other.onnx_data"), 0};
    Onnx__ModelProto *m;
    size_t size;
    assert_non_null(in);
    size = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    assert_non_null(m = onnx__model_proto__unpack(NULL, size, bytes));
    for (size_t i = 0; i < m->graph->n_initializer; i++) {
        Onnx__TensorProto *t = m->graph->initializer[i];
        if (t->data_type == 1 && t->raw_data.len > sizeof(float))
            move_out(&w, t, is_head(m->graph, t->name));
    }
    assert_int_equal(fclose(w.weights), 0);
    assert_int_equal(fclose(w.other), 0);
    out = create(h, "net.onnx");
    size = onnx__model_proto__pack(m, bytes);
    assert_int_equal(fwrite(bytes, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
    onnx__model_proto__free_unpacked(m, NULL);
}

static void build(struct harness *h)
{
    char arguments[900];
    snprintf(arguments, sizeof arguments,
             "--train cifar10:%.400s/d.bin#0-299 --calibrate cifar10:%.400s/d.bin#300-499", harness_dir(h),
             harness_dir(h));
    tool_ok(h, "build", arguments);
}

/* Share of the requests that the caches answer as the network does. */
static double agreement(struct harness *h)
{
    char arguments[600];
    json_t *root;
    double share;
    snprintf(arguments, sizeof arguments, "--data cifar10:%.400s/d.bin#500-599", harness_dir(h));
    root = tool_json(h, "eval", arguments);
    share = json_number_value(json_object_get(root, "agreement"));
    json_decref(root);
    return share;
}

static void other_weights_are_another_model(void **state)
{
    struct harness *h = harness_new("net.onnx", yaml);
    char line[1200];
    put_model(h);
    snprintf(line, sizeof line, "%s/freezeline generate --count 600 --output %.400s/d.bin", tool_folder(),
             harness_dir(h));
    assert_int_equal(shell(line), 0);
    build(h);
    assert_true(agreement(h) > 0.8);
    snprintf(line, sizeof line, "cd %.400s && mv other.onnx_data net.onnx_data", harness_dir(h));
    assert_int_equal(shell(line), 0);
    snprintf(line, sizeof line, "--data cifar10:%.400s/d.bin#500-599", harness_dir(h));
    assert_int_equal(tool(h, "eval", line), 1);
    assert_said("were built for another model");
    build(h);
    assert_true(agreement(h) > 0.8); /* a third, with labels that were stored for the old weights */
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(other_weights_are_another_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
