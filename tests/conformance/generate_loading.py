#!/usr/bin/python3
"""generate_loading.py - write the conformance cases that are about loading (Debian: python3-onnx, python3-numpy)

What exporters old and new write around the operators: weights among the inputs, training's leftovers, branches,
functions, quantized weights, sizes that are free. Expected outputs come from numpy. Folders as in generate.py, whose
names do not begin with load_. Run it only to add cases: the folders are committed.
"""
import glob
import os
import shutil

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases")
N = helper.make_node
TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "bool": TensorProto.BOOL, "int8": TensorProto.INT8,
         "uint8": TensorProto.UINT8, "int32": TensorProto.INT32}


def numbers(seed):
    r = np.random.RandomState(seed)
    return lambda *shape: r.uniform(-1.5, 1.5, shape).astype(np.float32)


def i64(*values):
    return np.array(values, np.int64)


def info(name, a, shape=None):
    return helper.make_tensor_value_info(name, TYPES[a.dtype.name], list(a.shape) if shape is None else shape)


def save(name, opset, nodes, inputs, outputs, constants=None, shapes=None, listed=False, ir=8, domains=(), functions=()):
    """Dicts of name -> array; `shapes`: as declared, for inputs; `listed`: weights stand among the inputs too."""
    constants = constants or {}
    graph = helper.make_graph(
        nodes, name, [info(k, a, (shapes or {}).get(k)) for k, a in inputs.items()] +
        ([info(k, a) for k, a in constants.items()] if listed else []),
        [helper.make_tensor_value_info(k, TYPES[a.dtype.name], None) for k, a in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), k) for k, a in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in [("", opset)] + list(domains)],
                              producer_name="freezeline-tests", functions=list(functions))
    model.ir_version = ir
    folder = os.path.join(OUT, "load_" + name)
    os.makedirs(folder + "/test_data_set_0")
    with open(folder + "/model.onnx", "wb") as f:
        f.write(model.SerializeToString())
    for kind, arrays in (("input", inputs), ("output", outputs)):
        for k, (key, a) in enumerate(arrays.items()):
            with open("%s/test_data_set_0/%s_%d.pb" % (folder, kind, k), "wb") as f:
                f.write(numpy_helper.from_array(np.array(a, order="C"), key).SerializeToString())


def conv1x1(x, w, b):
    return np.einsum("nchw,oc->nohw", x, w[:, :, 0, 0]) + b.reshape(1, -1, 1, 1)


def head(x, w, b):
    """Conv 1x1, Relu, mean of each channel: a whole classifier of the simplest kind."""
    return np.maximum(conv1x1(x, w, b), 0).mean((2, 3), keepdims=True)


HEAD = [N("Conv", ["x", "w", "b"], ["c"], name="conv"), N("Relu", ["c"], ["r"], name="relu"),
        N("GlobalAveragePool", ["r"], ["p"], name="mean")]


def versions():
    f = numbers(1)
    x, w, b = f(2, 3, 4, 4), f(5, 3, 1, 1), f(5)
    for opset in (22, 23, 24):
        save("opset_%d" % opset, opset, HEAD + [N("Flatten", ["p"], ["y"])], {"x": x}, {"y": head(x, w, b).reshape(2, 5)},
             {"w": w, "b": b}, {"x": ["n", 3, 4, 4]}, ir=11)
    rows, m = f(2, 4), f(4, 3)
    save("matmul_opset_6", 6, [N("MatMul", ["x", "m"], ["y"])], {"x": rows}, {"y": rows @ m}, {"m": m})


def old_exporters():
    """ir_version 3: every weight is an input as well; networks of a few hundred weights."""
    f = numbers(2)
    x = f(1, 2, 3, 3)
    nodes, constants, y = [], {}, x
    for i in range(150):
        scale, shift = 1 + f(1, 2, 1, 1) / 50, f(1, 2, 1, 1) / 50
        constants["s%d" % i], constants["b%d" % i] = scale, shift
        nodes += [N("Mul", ["v%d" % i if i else "x", "s%d" % i], ["m%d" % i]),
                  N("Add", ["m%d" % i, "b%d" % i], ["v%d" % (i + 1) if i < 149 else "y"])]
        y = y * scale + shift
    save("300_listed_weights", 8, nodes, {"x": x}, {"y": y}, constants, listed=True, ir=3)
    # ONNX's light models: weights by ConstantOfShape, a scale and shift with Unsqueeze, scores of rank 4
    filled = {"w": (5, 3, 1, 1), "b": (5,), "s": (5,), "t": (5,), "m": (5,), "v": (5,)}
    value = {"w": 0.02, "b": 0.5, "s": 0.5, "t": 0.1, "m": 0.3, "v": 0.9}
    fill = [N("ConstantOfShape", [k + "_shape"], [k], value=helper.make_tensor("", TensorProto.FLOAT, [1], [value[k]])) for k in filled]
    x = f(1, 3, 4, 4)
    c = conv1x1(x, np.full(filled["w"], np.float32(0.02)), np.full(5, np.float32(0.5)))
    n = (c - 0.3) / np.sqrt(0.9 + 1e-5) * 0.5 + 0.1
    y = np.maximum(n * np.float32(0.5) + np.float32(0.1), 0).mean((2, 3), keepdims=True).astype(np.float32)
    save("light", 9, fill + [HEAD[0], N("BatchNormalization", ["c", "s", "t", "m", "v"], ["n"]),
         N("Unsqueeze", ["s"], ["s3"], axes=[1, 2]), N("Unsqueeze", ["t"], ["t3"], axes=[1, 2]), N("Mul", ["n", "s3"], ["k"]),
         N("Add", ["k", "t3"], ["a"]), N("Relu", ["a"], ["r"]), N("GlobalAveragePool", ["r"], ["y"])], {"x": x}, {"y": y},
         {k + "_shape": i64(*s) for k, s in filled.items()}, listed=True, ir=3)


def training():
    """BatchNormalization by the statistics of its batch; in a network with a free batch, too."""
    f = numbers(4)
    x, s, b, m, v = f(2, 3, 4, 4), f(3), f(3), f(3), np.abs(f(3)) + np.float32(0.1)
    c = {"s": s, "b": b, "m": m, "v": v}
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    per = lambda a: a.reshape(1, -1, 1, 1)
    for name, opset, n, a in (("7", 7, 5, {"momentum": 0.3}), ("9", 9, 5, {}), ("9_first_only", 9, 5, {}), ("15", 15, 3, {"training_mode": 1, "epsilon": 0.1})):
        k, deviation = a.get("momentum", 0.9), np.sqrt(var + a.get("epsilon", 1e-5))
        y = (x - per(mean)) / per(deviation) * per(s) + per(b)
        outs = [y, m * k + mean * (1 - k), v * k + var * (1 - k), mean, 1 / deviation]
        names = ["y", "running_mean", "running_var", "saved_mean", "saved_var"][:n]
        given = {o: t.astype(np.float32) for o, t in zip(names, outs)}
        node = N("BatchNormalization", ["x", "s", "b", "m", "v"], names, **a)
        save("batchnorm_trains_" + name, opset, [node], {"x": x}, {"y": given["y"]} if "only" in name else given, c)
    w, wb = f(3, 3, 1, 1), f(3)
    z = conv1x1(x, w, wb)
    z = (z - per(z.mean((0, 2, 3)))) / np.sqrt(per(z.var((0, 2, 3))) + 1e-5) * per(s) + per(b)
    save("batchnorm_trains_after_conv", 9, [N("Conv", ["x", "w", "wb"], ["c"]), N("BatchNormalization", ["c", "s", "b", "m", "v"], ["y", "o1", "o2", "o3", "o4"])],
         {"x": x}, {"y": z.astype(np.float32)}, dict(c, w=w, wb=wb), {"x": ["n", 3, 4, 4]})


def quantized():
    """DequantizeLinear in front of weights, of every granularity; QuantizeLinear around an activation."""
    f, r = numbers(5), np.random.RandomState(5)
    x, b = f(2, 3, 4, 4), f(5)
    for name, dtype, opset, axis in (("int8", np.int8, 13, 0), ("uint8", np.uint8, 13, -4), ("int32", np.int32, 19, 0), ("tensor", np.int8, 10, None)):
        q = r.randint(0 if dtype == np.uint8 else -127, 127, (5, 3, 1, 1)).astype(dtype)
        n = 5 if axis is not None else 1
        scale = (np.abs(f(n)) * 0.01 + 0.001).astype(np.float32)
        zero = np.zeros(n, dtype) if name == "int32" else r.randint(0, 9, n).astype(dtype)
        if axis is None:
            scale, zero = scale[0], zero[0]
        w = (q.astype(np.int64) - np.reshape(zero, (-1, 1, 1, 1)).astype(np.int64)).astype(np.float32) * np.reshape(scale, (-1, 1, 1, 1))
        a = {} if axis is None else {"axis": axis}
        c = {"q": q, "s": scale, "b": b} if name == "int32" else {"q": q, "s": scale, "z": zero, "b": b}
        save("dequantize_" + name, opset, [N("DequantizeLinear", ["q", "s"] + (["z"] if "z" in c else []), ["w"], **a)] + HEAD,
             {"x": x}, {"p": head(x, w, b)}, c, {"x": ["n", 3, 4, 4]})
    q = r.randint(-127, 127, (4, 10)).astype(np.int8)
    scale, zero = (np.abs(f(4, 3)) * 0.01 + 0.001).astype(np.float32), r.randint(-9, 9, (4, 3)).astype(np.int8)
    wide = lambda a: np.repeat(a, 4, 1)[:, :10]
    y = (q.astype(np.float32) - wide(zero)) * wide(scale)
    save("dequantize_blocks", 21, [N("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1, block_size=4)], {"q": q}, {"y": y}, {"s": scale, "z": zero})
    v, s, z = f(2, 3, 4, 4) * 4, np.float32(0.03), np.uint8(120)
    y = (np.clip(np.rint(v / s) + z, 0, 255) - z) * s
    save("quantize_and_back", 13, [N("QuantizeLinear", ["x", "s", "z"], ["q"]), N("DequantizeLinear", ["q", "s", "z"], ["y"])],
         {"x": v}, {"y": y.astype(np.float32)}, {"s": s, "z": z}, {"x": ["n", 3, 4, 4]})
    s, z = np.array([0.5, 0.02, 0.1], np.float32), np.array([0, -3, 5], np.int8)
    y = np.clip(np.rint(v / s.reshape(1, 3, 1, 1)) + z.reshape(1, 3, 1, 1), -128, 127).astype(np.int8)
    save("quantize_channels", 13, [N("QuantizeLinear", ["x", "s", "z"], ["y"], axis=1)], {"x": v}, {"y": y}, {"s": s, "z": z})
    ties = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 300, -300]], np.float32)
    save("quantize_ties", 10, [N("QuantizeLinear", ["x", "s"], ["y"])], {"x": ties}, {"y": np.clip(np.rint(ties), 0, 255).astype(np.uint8)}, {"s": np.float32(1)})


def branch(name, nodes, *outputs, constants=None):
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
                             [numpy_helper.from_array(np.asarray(a), k) for k, a in (constants or {}).items()])


def branches():
    """If: conditions that are constant, computed from constants, from shapes; branches that would not work."""
    f = numbers(6)
    x, w, b = f(2, 3, 4, 4), f(5, 3, 1, 1), f(5)
    scores = head(x, w, b).reshape(2, 5)
    c = {"w": w, "b": b}
    squeeze = branch("t", [N("Squeeze", ["p", "ax"], ["a"])], "a", constants={"ax": i64(2, 3)})
    keep = branch("e", [N("Identity", ["p"], ["z"])], "z")
    for name, value in (("then", True), ("else", False)):
        save("if_%s" % name, 13, HEAD + [N("If", ["c0"], ["y"], then_branch=squeeze, else_branch=keep)], {"x": x},
             {"y": scores if value else scores.reshape(2, 5, 1, 1)}, dict(c, c0=np.array(value)), {"x": ["n", 3, 4, 4]})
    # PyTorch's squeeze(2).squeeze(2) of a dim that may be 1: asked of the shape; the branch not taken fails
    one = [N("Shape", ["p"], ["sh"]), N("Gather", ["sh", "two"], ["d"], axis=0), N("Equal", ["d", "one"], ["c0"])]
    save("if_shape", 13, HEAD + one + [N("If", ["c0"], ["y"], then_branch=squeeze, else_branch=keep)], {"x": x}, {"y": scores},
         dict(c, two=np.array(2), one=np.array(1)), {"x": ["n", 3, 4, 4]})
    wrong = branch("t", [N("Squeeze", ["r", "ax"], ["a"]), N("NoSuchThing", ["a"], ["q"], domain="elsewhere")], "q", constants={"ax": i64(2, 3)})
    save("if_branch_that_fails", 13, HEAD + [N("Shape", ["r"], ["sh"]), N("Gather", ["sh", "two"], ["d"], axis=0),
         N("Equal", ["d", "one"], ["c0"]), N("If", ["c0"], ["y"], then_branch=wrong, else_branch=keep)], {"x": x},
         {"y": scores.reshape(2, 5, 1, 1)}, dict(c, two=np.array(2), one=np.array(1)), {"x": ["n", 3, 4, 4]})
    # it depends on the batch: right for one size alone
    save("if_batch", 13, [N("Shape", ["x"], ["sh"]), N("Gather", ["sh", "zero"], ["n"], axis=0), N("Equal", ["n", "one"], ["c0"]),
         N("If", ["c0"], ["y"], then_branch=branch("t", [N("Neg", ["x"], ["a"])], "a"), else_branch=branch("e", [N("Abs", ["x"], ["z"])], "z"))],
         {"x": x}, {"y": np.abs(x)}, {"zero": np.array(0), "one": np.array(1)}, {"x": ["n", 3, 4, 4]})
    # nested, several outputs, one of them an outer value; weights chosen
    inner = N("If", ["no"], ["i"], then_branch=branch("it", [N("Neg", ["x"], ["a"])], "a"), else_branch=branch("ie", [N("Exp", ["x"], ["z"])], "z"))
    outer = branch("t", [N("Not", ["yes"], ["no"]), inner, N("Add", ["i", "k"], ["u"])], "u", "k2", constants={"k": np.float32(2), "k2": np.float32(3)})
    other = branch("e", [N("Sqrt", ["x"], ["u2"]), N("Identity", ["x"], ["v2"])], "u2", "v2")
    save("if_nested", 13, [N("If", ["yes"], ["u", "v"], then_branch=outer, else_branch=other), N("Mul", ["u", "v"], ["y"])], {"x": x},
         {"y": (np.exp(x) + 2) * 3}, {"yes": np.array(True)}, {"x": ["n", 3, 4, 4]})


def functions():
    """Functions: attributes given, by default, left out; nested; inputs left out; an opset of their own."""
    f = numbers(7)
    x = f(2, 3, 4, 4)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]

    def function(name, inputs, outputs, nodes, attributes=(), defaults=(), opset=13):
        p = helper.make_function("own", name, inputs, outputs, nodes, [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)], list(attributes))
        for a in defaults:  # attribute_proto, field 11, which this version of onnx does not know
            raw = a.SerializeToString()
            assert len(raw) < 128
            p.MergeFromString(bytes([0x5a, len(raw)]) + raw)
        return p

    def refer(node, name, attribute, kind):
        a = node.attribute.add()
        a.name, a.ref_attr_name, a.type = name, attribute, kind
        return node
    leaky = function("Bent", ["a"], ["b"], [refer(N("LeakyRelu", ["a"], ["b"]), "alpha", "slope", 1)], ["slope"])
    leak = lambda v, s: np.where(v < 0, v * np.float32(s), v)
    save("function", 13, [N("Bent", ["x"], ["u"], domain="own", slope=0.3), N("Bent", ["u"], ["y"], domain="own")], {"x": x},
         {"y": leak(leak(x, 0.3), 0.01)}, {}, {"x": ["n", 3, 4, 4]}, domains=[("own", 1)], functions=[leaky])
    # calls of calls; the same names inside and outside; a constant from an attribute; an input handed through
    scaled = function("Scaled", ["x", "y"], ["z", "x"], [refer(N("Constant", [], ["k"]), "value_float", "by", 1),
                      N("Mul", ["x", "k"], ["t"]), N("Add", ["t", "y"], ["z"])], ["by"])
    twice = function("Twice", ["v"], ["y"], [refer(N("Scaled", ["v", "v"], ["x", "same"], domain="own"), "by", "factor", 1),
                     N("Scaled", ["x", "same"], ["y"], domain="own", by=-1.0)], ["factor"])
    save("function_nested", 13, [N("Twice", ["x"], ["k"], domain="own", factor=2.0), N("Scaled", ["k", "x"], ["y", "unread"], domain="own", by=0.5)],
         {"x": x}, {"y": ((x * 2 + x) * -1 + x) * np.float32(0.5) + x}, {}, {"x": ["n", 3, 4, 4]}, domains=[("own", 1)], functions=[scaled, twice])
    # Clip's bounds: one left out by the caller
    bounded = function("Bounded", ["v", "low", "high"], ["o"], [N("Clip", ["v", "low", "high"], ["o"])])
    save("function_absent_input", 13, [N("Bounded", ["x", "", "half"], ["y"], domain="own")], {"x": x}, {"y": np.minimum(x, np.float32(0.5))},
         {"half": np.float32(0.5)}, {"x": ["n", 3, 4, 4]}, domains=[("own", 1)], functions=[bounded])
    # Softmax as opset 11 means it (ONNX Runtime takes the model's opset; the function's own is what the text names)
    old = function("Old", ["v"], ["o"], [N("Softmax", ["v"], ["o"])], opset=11)
    power = np.exp(x.reshape(2, -1))
    save("function_opset", 13, [N("Old", ["x"], ["y"], domain="own")], {"x": x}, {"y": (power / power.sum(1, keepdims=True)).reshape(x.shape)},
         {}, {"x": ["n", 3, 4, 4]}, domains=[("own", 1)], functions=[old])
    pick = N("If", ["c0"], ["o"], then_branch=branch("t", [refer(N("LeakyRelu", ["v"], ["a"]), "alpha", "slope", 1)], "a"),
             else_branch=branch("e", [N("Identity", ["v"], ["z"])], "z"))
    chosen = function("Chosen", ["v", "c0"], ["o"], [pick], ["slope"], [helper.make_attribute("slope", 0.25)])
    save("function_choice", 13, [N("Chosen", ["x", "yes"], ["u"], domain="own"), N("Chosen", ["u", "yes"], ["v"], domain="own", slope=2.0), N("Chosen", ["v", "no"], ["y"], domain="own")],
         {"x": x}, {"y": leak(leak(x, 0.25), 2.0)}, {"yes": np.array(True), "no": np.array(False)}, {"x": ["n", 3, 4, 4]}, domains=[("own", 1)], functions=[chosen])


def free_sizes():
    f = numbers(3)
    x, w, b = f(2, 3, 6, 5), f(5, 3, 1, 1), f(5)
    whole = HEAD + [N("Flatten", ["p"], ["y"])]
    for name, shape in (("height_and_width", ["n", 3, "h", "w"]), ("all", ["n", "c", "h", "w"]), ("but_batch", [2, None, None, None])):
        save("free_" + name, 13, whole, {"x": x}, {"y": head(x, w, b).reshape(2, 5)}, {"w": w, "b": b}, {"x": shape})
    save("scores_4d", 13, HEAD, {"x": x}, {"p": head(x, w, b)}, {"w": w, "b": b}, {"x": ["n", 3, "h", "w"]})
    x, z = f(2, 4, 3), f(2, 4, 7)
    save("free_two_inputs", 13, [N("Concat", ["x", "z"], ["y"], axis=2)], {"x": x, "z": z}, {"y": np.concatenate([x, z], 2)},
         shapes={"x": ["n", "c", "l"], "z": ["n", "c", "m"]})


def main():
    for folder in glob.glob(OUT + "/load_*"):
        shutil.rmtree(folder)
    for part in (versions, old_exporters, free_sizes, training, quantized, branches, functions):
        part()
    print(len(glob.glob(OUT + "/load_*")), "cases")


main()
