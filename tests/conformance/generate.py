#!/usr/bin/python3
"""generate.py - write the conformance cases (Debian: python3-onnx, python3-numpy, python3-torch)

Each case is a folder of the ONNX project's backend format: model.onnx and test_data_set_0/{input,output}_K.pb. Expected
outputs come from numpy and PyTorch, never from Freezeline. Run it only to add cases: the folders are committed.
"""
import math
import os
import shutil
import sys

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases")
rng = np.random.RandomState(7)


def f32(*shape):
    return rng.uniform(-1.5, 1.5, shape).astype(np.float32)


def i64(*values):
    return np.array(values, np.int64)


def t(a):
    return torch.from_numpy(np.ascontiguousarray(a))


def save(name, opset, nodes, inputs, outputs, constants=None, free=False):
    """inputs, outputs, constants: dicts of name -> array; `free` leaves dim 0 of inputs and outputs open."""
    def info(k, a):
        shape = ["n"] + list(a.shape[1:]) if free and a.ndim else list(a.shape)
        return helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(a.dtype)
                                             if hasattr(helper, "np_dtype_to_tensor_dtype")
                                             else onnx.mapping.NP_TYPE_TO_TENSOR_TYPE[a.dtype], shape)
    graph = helper.make_graph(nodes, name, [info(k, a) for k, a in inputs.items()],
                              [info(k, a) for k, a in outputs.items()],
                              [numpy_helper.from_array(a, k) for k, a in (constants or {}).items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="freezeline-tests")
    model.ir_version = 7
    folder = os.path.join(OUT, name)
    if os.path.exists(folder):
        sys.exit("case %s is there twice" % name)
    os.makedirs(folder + "/test_data_set_0")
    with open(folder + "/model.onnx", "wb") as f:
        f.write(model.SerializeToString())
    for kind, arrays in (("input", inputs), ("output", outputs)):
        for k, (key, a) in enumerate(arrays.items()):
            with open("%s/test_data_set_0/%s_%d.pb" % (folder, kind, k), "wb") as f:
                f.write(numpy_helper.from_array(np.array(a, order="C"), key).SerializeToString())


def one(name, opset, op, ins, outs, constants=(), free=False, **attributes):
    """One node; ins is a list of arrays (None: absent), those whose index is in `constants` are initializers."""
    names = ["" if a is None else "in%d" % k for k, a in enumerate(ins)]
    outs = outs if isinstance(outs, (list, tuple)) else [outs]
    onames = ["" if a is None else "out%d" % k for k, a in enumerate(outs)]
    node = helper.make_node(op, names, onames, name=name, **attributes)
    save(name, opset, [node], {n: a for k, (n, a) in enumerate(zip(names, ins)) if n and k not in constants},
         {n: np.asarray(a) for n, a in zip(onames, outs) if n},
         {n: a for k, (n, a) in enumerate(zip(names, ins)) if n and k in constants}, free)


def convolutions():
    def conv(name, x, w, b, opset=11, pad=(0, 0), free=False, **a):
        fn = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.ndim]
        xp = F.pad(t(x), pad) if len(pad) == 2 * (x.ndim - 2) else t(x)
        y = fn(xp, t(w), None if b is None else t(b), stride=a.get("strides", 1), dilation=a.get("dilations", 1),
               groups=a.get("group", 1)).numpy()
        one(name, opset, "Conv", [x, w] + ([] if b is None else [b]), y, (1, 2), free, **a)
    x = f32(2, 6, 9, 8)
    conv("conv_plain", x, f32(5, 6, 3, 3), None)
    conv("conv_bias_pads_strides", x, f32(5, 6, 3, 3), f32(5), pad=(1, 1, 1, 1), pads=[1, 1, 1, 1], strides=[2, 2])
    conv("conv_pads_uneven", x, f32(5, 6, 3, 2), f32(5), pad=(0, 1, 2, 1), pads=[2, 0, 1, 1])
    conv("conv_dilated", x, f32(4, 6, 3, 3), f32(4), pad=(2, 2, 2, 2), pads=[2, 2, 2, 2], dilations=[2, 2])
    conv("conv_groups", x, f32(6, 2, 3, 3), f32(6), group=3)
    conv("conv_depthwise", f32(1, 16, 7, 7), f32(16, 1, 3, 3), f32(16), pad=(1, 1, 1, 1), pads=[1, 1, 1, 1], group=16)
    conv("conv_depthwise_multiplier", x, f32(12, 1, 3, 3), None, group=6, strides=[2, 1])
    conv("conv_1x1", f32(2, 16, 5, 5), f32(8, 16, 1, 1), f32(8))
    conv("conv_1x1_stride", f32(2, 16, 6, 6), f32(8, 16, 1, 1), f32(8), strides=[2, 2])
    conv("conv_7x7", f32(1, 3, 20, 20), f32(16, 3, 7, 7), f32(16), pad=(3, 3, 3, 3), pads=[3, 3, 3, 3], strides=[2, 2])
    conv("conv_free_batch", f32(3, 4, 6, 6), f32(8, 4, 3, 3), f32(8), free=True, pad=(1, 1, 1, 1), pads=[1, 1, 1, 1])
    conv("conv_1d", f32(2, 4, 12), f32(3, 4, 3), f32(3), strides=[2])
    conv("conv_3d", f32(1, 2, 5, 5, 4), f32(3, 2, 2, 3, 2), f32(3))
    conv("conv_opset7", x, f32(5, 6, 3, 3), f32(5), opset=7, kernel_shape=[3, 3])
    conv("conv_valid", x, f32(5, 6, 3, 3), None, auto_pad="VALID")
    # 9 x 8, kernel 4 x 3, stride 2: outputs 5 x 4; paddings 3 and 1 in all
    conv("conv_same_upper", x, f32(5, 6, 4, 3), None, pad=(0, 1, 1, 2), auto_pad="SAME_UPPER", strides=[2, 2])
    conv("conv_same_lower", x, f32(5, 6, 4, 3), None, pad=(1, 0, 2, 1), auto_pad="SAME_LOWER", strides=[2, 2])


def pools():
    x = f32(2, 4, 9, 8)
    y, i = F.max_pool2d(t(x), 3, 2, 1, return_indices=True)
    planes = np.arange(8).reshape(2, 4, 1, 1) * 72
    one("maxpool_pads_strides", 8, "MaxPool", [x], y.numpy(), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    one("maxpool_indices", 12, "MaxPool", [x], [y.numpy(), i.numpy() + planes], kernel_shape=[3, 3], strides=[2, 2],
        pads=[1, 1, 1, 1])
    one("maxpool_indices_column_major", 12, "MaxPool", [x],
        [y.numpy(), i.numpy() // 8 + i.numpy() % 8 * 9 + planes], kernel_shape=[3, 3], strides=[2, 2],
        pads=[1, 1, 1, 1], storage_order=1)
    one("maxpool_ceil", 10, "MaxPool", [x], F.max_pool2d(t(x), 3, 2, ceil_mode=True).numpy(), kernel_shape=[3, 3],
        strides=[2, 2], ceil_mode=1)
    one("maxpool_dilated", 10, "MaxPool", [x], F.max_pool2d(t(x), 2, 1, 0, 3).numpy(), kernel_shape=[2, 2],
        dilations=[3, 3])
    v = f32(2, 3, 9)
    one("maxpool_1d", 12, "MaxPool", [v], F.max_pool1d(t(v), 2, 2).numpy(), kernel_shape=[2], strides=[2])
    v = f32(1, 2, 5, 6, 5)
    one("maxpool_3d", 12, "MaxPool", [v], F.max_pool3d(t(v), 2, 2).numpy(), kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    one("maxpool_same_upper", 12, "MaxPool", [x], F.max_pool2d(F.pad(t(x), (0, 0, 0, 1), value=-9), 2, 2).numpy(),
        kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    u = rng.randint(0, 255, (1, 2, 6, 6)).astype(np.uint8)
    one("maxpool_uint8", 12, "MaxPool", [u], F.max_pool2d(t(u.astype(np.float32)), 2, 2).numpy().astype(np.uint8),
        kernel_shape=[2, 2], strides=[2, 2])
    for include in (0, 1):
        one("averagepool_pads_%d" % include, 7, "AveragePool", [x],
            F.avg_pool2d(t(x), 3, 2, 1, count_include_pad=bool(include)).numpy(), kernel_shape=[3, 3],
            strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=include)
    one("averagepool_ceil", 10, "AveragePool", [x], F.avg_pool2d(t(x), 3, 2, ceil_mode=True).numpy(),
        kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    w = np.zeros((4, 1, 2, 2), np.float32) + 0.25
    one("averagepool_dilated", 19, "AveragePool", [x], F.conv2d(t(x), t(w), dilation=2, groups=4).numpy(),
        kernel_shape=[2, 2], dilations=[2, 2])
    one("globalaveragepool", 7, "GlobalAveragePool", [x], x.mean((2, 3), keepdims=True))
    one("globalmaxpool", 7, "GlobalMaxPool", [x], x.max((2, 3), keepdims=True))
    one("globalaveragepool_3d", 7, "GlobalAveragePool", [v], v.mean((2, 3, 4), keepdims=True))


def norms():
    x = f32(2, 5, 6, 4)
    s, b, m, v = f32(5), f32(5), f32(5), np.abs(f32(5)) + 0.2
    bn = lambda a, eps: F.batch_norm(t(a), t(m), t(v), t(s), t(b), eps=eps).numpy()
    for opset in (7, 9, 14, 15):
        one("batchnorm_%d" % opset, opset, "BatchNormalization", [x, s, b, m, v], bn(x, 1e-3), (1, 2, 3, 4), epsilon=1e-3)
    flat = f32(3, 5)
    one("batchnorm_rank2", 15, "BatchNormalization", [flat, s, b, m, v], bn(flat, 1e-5), (1, 2, 3, 4))
    one("instancenorm", 7, "InstanceNormalization", [x, s, b], F.instance_norm(t(x), weight=t(s), bias=t(b)).numpy(), (1, 2))
    w4 = f32(4)
    one("layernorm", 17, "LayerNormalization", [x, w4, f32(4) * 0 + 1], F.layer_norm(t(x), (4,), t(w4), torch.ones(4)).numpy(), (1, 2))
    x = f32(1, 8, 3, 3)
    one("lrn", 13, "LRN", [x], F.local_response_norm(t(x), 5, 0.3, 0.6, 1.5).numpy(), size=5, alpha=0.3, beta=0.6, bias=1.5)
    one("lrn_default", 7, "LRN", [x], F.local_response_norm(t(x), 3).numpy(), size=3)


def activations():
    x = f32(2, 3, 4, 5) * 3
    tx = t(x)
    for op, opset, y, a in [
            ("Relu", 6, F.relu(tx), {}), ("Relu", 14, F.relu(tx), {}), ("LeakyRelu", 7, F.leaky_relu(tx, 0.1), {"alpha": 0.1}),
            ("LeakyRelu", 16, F.leaky_relu(tx, 0.01), {}), ("Sigmoid", 13, torch.sigmoid(tx), {}),
            ("HardSigmoid", 13, torch.clamp(tx * 0.2 + 0.5, 0, 1), {}),
            ("HardSigmoid", 7, torch.clamp(tx * 0.3 + 0.4, 0, 1), {"alpha": 0.3, "beta": 0.4}),
            ("HardSwish", 14, F.hardswish(tx), {}), ("Tanh", 13, torch.tanh(tx), {}), ("Erf", 9, torch.erf(tx), {}),
            ("Elu", 7, F.elu(tx, 0.7), {"alpha": 0.7}), ("Selu", 7, F.selu(tx), {}), ("Softplus", 7, F.softplus(tx), {}),
            ("Softsign", 7, F.softsign(tx), {}), ("Mish", 18, F.mish(tx), {}), ("Gelu", 20, F.gelu(tx), {}),
            ("Gelu", 21, F.gelu(tx, approximate="tanh"), {"approximate": "tanh"}),
            ("Exp", 13, torch.exp(tx), {}), ("Abs", 13, torch.abs(tx), {}), ("Neg", 13, -tx, {}), ("Floor", 13, torch.floor(tx), {}),
            ("Ceil", 13, torch.ceil(tx), {}), ("Round", 11, torch.round(tx), {}), ("Sign", 13, torch.sign(tx), {}),
            ("Sin", 7, torch.sin(tx), {}), ("Cos", 7, torch.cos(tx), {}), ("Reciprocal", 13, 1 / tx, {})]:
        one("%s_%d" % (op.lower(), opset), opset, op, [x], y.numpy(), **a)
    p = np.abs(x) + 0.1
    one("sqrt", 13, "Sqrt", [p], np.sqrt(p))
    one("log", 13, "Log", [p], np.log(p))
    for name, slope in (("scalar", f32(1)), ("channels", f32(3, 1, 1)), ("full", f32(3, 4, 5))):
        one("prelu_" + name, 9, "PRelu", [x, slope], np.where(x < 0, x * slope, x), (1,))
    one("clip_6", 6, "Clip", [x], np.clip(x, -1, 1.5), min=-1.0, max=1.5)
    one("clip_6_relu6", 10, "Clip", [x * 4], np.clip(x * 4, 0, 6), min=0.0, max=6.0)
    low, high = np.float32(-1), np.float32(2)
    one("clip_11", 11, "Clip", [x, np.array(low), np.array(high)], np.clip(x, low, high), (1, 2))
    one("clip_12_max_only", 12, "Clip", [x, None, np.array(high)], np.minimum(x, high), (2,))
    one("clip_13_inputs", 13, "Clip", [x, np.array(low), np.array(high)], np.clip(x, low, high))
    k = rng.randint(-9, 9, (3, 4)).astype(np.int64)
    one("clip_int64", 13, "Clip", [k, np.array(-3, np.int64), np.array(4, np.int64)], np.clip(k, -3, 4), (1, 2))
    for log, op, fn in ((0, "Softmax", F.softmax), (1, "LogSoftmax", F.log_softmax)):
        one(op.lower() + "_13", 13, op, [x], fn(tx, -1).numpy())
        one(op.lower() + "_13_axis1", 13, op, [x], fn(tx, 1).numpy(), axis=1)
        one(op.lower() + "_11", 11, op, [x], fn(tx.reshape(2, -1), 1).reshape(x.shape).numpy())
        one(op.lower() + "_7_axis2", 7, op, [x], fn(tx.reshape(6, -1), 1).reshape(x.shape).numpy(), axis=2)
    one("softmax_large", 13, "Softmax", [np.array([[1e4, 1e4 + 1, -1e4]], np.float32)],
        F.softmax(torch.tensor([[0., 1., -2e4]]), 1).numpy())


def arithmetic():
    pairs = [("same", f32(2, 3, 4), f32(2, 3, 4)), ("channel", f32(2, 3, 4, 5), f32(3, 1, 1)), ("scalar", f32(2, 3, 4), np.array(0.7, np.float32)),
             ("both", f32(2, 1, 4, 1), f32(3, 1, 5)), ("longer_second", f32(5), f32(2, 3, 5)), ("channel_first", f32(1, 3, 1, 1), f32(2, 3, 4, 4))]
    for name, a, b in pairs:
        for op, fn in (("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide)):
            one("%s_%s" % (op.lower(), name), 14 if name != "same" else 7, op, [a, b], fn(a, b))
    a, b = rng.randint(-20, 20, (2, 3)), rng.randint(1, 5, (3,))
    for dtype in (np.int32, np.int64):
        for op, y in (("Add", a + b), ("Sub", a - b), ("Mul", a * b), ("Div", np.trunc(a / b))):
            one("%s_%s" % (op.lower(), np.dtype(dtype).name), 14, op, [a.astype(dtype), b.astype(dtype)], y.astype(dtype))
    d, e = f32(2, 3).astype(np.float64), f32(3).astype(np.float64)
    one("add_float64", 14, "Add", [d, e], d + e)
    p = np.abs(f32(2, 3)) + 0.1
    q = f32(3)
    one("pow_7", 7, "Pow", [p, q], np.power(p, q))
    one("pow_15_int_exponent", 15, "Pow", [f32(2, 3) * 0 + p, i64(2, 3, 1)], np.power(p, i64(2, 3, 1)).astype(np.float32))
    x, y, z = f32(2, 3), f32(3), f32(2, 1)
    one("min_13", 13, "Min", [x, y, z], np.minimum(np.minimum(x, y), z))
    one("max_8", 8, "Max", [x, y, z], np.maximum(np.maximum(x, y), z))
    one("max_int64", 13, "Max", [a.astype(np.int64), b.astype(np.int64)], np.maximum(a, b).astype(np.int64))
    one("sum_13", 13, "Sum", [x, y, z], x + y + z)
    one("mean_13", 13, "Mean", [x, y, z], (x + y + z) / 3)
    one("mod_int64", 13, "Mod", [a.astype(np.int64), b.astype(np.int64)], np.mod(a, b).astype(np.int64))
    one("mod_fmod", 13, "Mod", [x, y], np.fmod(x, y), fmod=1)
    i, j = rng.randint(0, 3, (2, 3)).astype(np.int64), rng.randint(0, 3, (3,)).astype(np.int64)
    for op, fn in (("Equal", np.equal), ("Less", np.less), ("Greater", np.greater), ("LessOrEqual", np.less_equal), ("GreaterOrEqual", np.greater_equal)):
        one(op.lower(), 13, op, [i, j], fn(i, j))
        one(op.lower() + "_float", 13, op, [i.astype(np.float32), j.astype(np.float32)], fn(i, j))
    u, v = i > 0, j > 1
    for op, fn in (("And", np.logical_and), ("Or", np.logical_or), ("Xor", np.logical_xor)):
        one(op.lower(), 7, op, [u, v], fn(u, v))
    one("not", 7, "Not", [u], ~u)
    one("where", 9, "Where", [u, x, y], np.where(u, x, y))
    one("where_int64", 16, "Where", [u, i, j], np.where(u, i, j))


def matrices():
    a, b, c = f32(3, 4), f32(4, 5), f32(5)
    one("gemm", 13, "Gemm", [a, b, c], a @ b + c)
    one("gemm_no_bias", 11, "Gemm", [a, b], a @ b, (1,))
    one("gemm_all_attributes", 7, "Gemm", [a.T.copy(), b.T.copy(), f32(3, 1) * 0 + 2], (0.5 * (a @ b) + 0.3 * 2).astype(np.float32),
        transA=1, transB=1, alpha=0.5, beta=0.3)
    w = f32(6, 4)
    one("gemm_linear_free_batch", 13, "Gemm", [a, w, f32(6) * 0 + 1], a @ w.T + 1, (1, 2), True, transB=1)
    for name, x, y in (("2d", a, b), ("3d", f32(2, 3, 4), f32(2, 4, 5)), ("4d", f32(1, 2, 3, 4), f32(1, 2, 4, 3)),
                       ("broadcast", f32(2, 3, 4), f32(4, 5)), ("vector_matrix", f32(4), f32(4, 5)),
                       ("matrix_vector", f32(2, 3, 4), f32(4)), ("vectors", f32(4), f32(4)), ("outer_batch", f32(2, 1, 3, 4), f32(3, 4, 2))):
        one("matmul_" + name, 13, "MatMul", [x, y], np.matmul(x, y))
    one("matmul_constant", 13, "MatMul", [a, b], a @ b, (1,), True)


def reductions():
    x = f32(2, 3, 4, 5)
    k = rng.randint(-5, 5, (3, 4)).astype(np.int64)
    for op, fn in (("Mean", np.mean), ("Sum", np.sum), ("Max", np.max), ("Min", np.min), ("Prod", np.prod)):
        new = 13 if op == "Sum" else 18
        low = "reduce" + op.lower()
        one(low + "_attr", 11, "Reduce" + op, [x], fn(x, (2, 3)), axes=[2, 3], keepdims=0)
        one(low + "_keep", 11, "Reduce" + op, [x], fn(x, (1,), keepdims=True), axes=[-3])
        one(low + "_all", 11, "Reduce" + op, [x], fn(x, keepdims=True))
        one(low + "_input", new, "Reduce" + op, [x, i64(-1, 2)], fn(x, (2, 3)), (1,), keepdims=0)
        one(low + "_input_noop", new, "Reduce" + op, [x, i64()], x, (1,), noop_with_empty_axes=1)
        one(low + "_fed_axes", new, "Reduce" + op, [x, i64(0)], fn(x, 0, keepdims=True))
    one("reducesum_int64", 13, "ReduceSum", [k, i64(1)], k.sum(1, keepdims=True), (1,))
    one("reducemax_int64", 13, "ReduceMax", [k], k.max(0), axes=[0], keepdims=0)
    one("argmax", 13, "ArgMax", [x], x.argmax(1), axis=1, keepdims=0)
    one("argmax_keep", 7, "ArgMax", [x], np.expand_dims(x.argmax(3), 3), axis=3)
    one("argmin", 13, "ArgMin", [x], x.argmin(-1), axis=-1, keepdims=0)
    r = np.array([[2, 7, 7, 1]], np.float32)
    one("argmax_last", 13, "ArgMax", [r], np.array([[2]]), axis=1, select_last_index=1)


def shapes():
    x = f32(2, 3, 4)
    for name, shape in (("plain", (4, 6)), ("minus_one", (3, -1)), ("zero", (0, -1))):
        y = x.reshape([d if d else x.shape[k] for k, d in enumerate(shape)])
        one("reshape_" + name, 13, "Reshape", [x, i64(*shape)], y, (1,))
        one("reshape_fed_" + name, 14, "Reshape", [x, i64(*shape)], y)
    v = f32(3, 2, 2, 4)
    one("reshape_free_batch", 13, "Reshape", [v, i64(-1, 16)], v.reshape(3, 16), (1,), True)
    one("reshape_allowzero", 14, "Reshape", [np.zeros((0, 3), np.float32), i64(3, 0)], np.zeros((3, 0), np.float32), (1,), allowzero=1)
    for axis in (0, 1, 2, -1):
        one("flatten_%d" % axis, 11, "Flatten", [v], v.reshape(int(np.prod(v.shape[:axis])), -1), axis=axis)
    one("flatten_default", 9, "Flatten", [v], v.reshape(3, -1), (), True)
    s = f32(1, 3, 1, 4)
    one("squeeze_attr", 11, "Squeeze", [s], s.reshape(3, 1, 4), axes=[0])
    one("squeeze_input", 13, "Squeeze", [s, i64(-2)], s.reshape(1, 3, 4), (1,))
    one("squeeze_all", 13, "Squeeze", [s], s.reshape(3, 4))
    one("unsqueeze_attr", 11, "Unsqueeze", [x], x.reshape(1, 2, 3, 1, 4), axes=[0, 3])
    one("unsqueeze_input", 13, "Unsqueeze", [x, i64(-1, 0)], x.reshape(1, 2, 3, 4, 1), (1,))
    one("unsqueeze_fed", 13, "Unsqueeze", [x, i64(1)], x.reshape(2, 1, 3, 4))
    one("transpose_default", 13, "Transpose", [x], x.T)
    one("transpose_perm", 13, "Transpose", [v], v.transpose(0, 2, 3, 1), perm=[0, 2, 3, 1])
    one("transpose_nhwc_to_nchw", 13, "Transpose", [v], v.transpose(0, 3, 1, 2), (), True, perm=[0, 3, 1, 2])
    for axis in (0, 1, 3, -1):
        w = f32(3, 2, 2, 4)
        one("concat_%d" % axis, 13, "Concat", [v, w], np.concatenate([v, w], axis), axis=axis)
    one("concat_constant", 11, "Concat", [v, w, v], np.concatenate([v, w, v], 1), (1,), axis=1)
    x = f32(2, 6, 3, 3)
    one("split_equal", 11, "Split", [x], [x[:, :3], x[:, 3:]], axis=1)
    one("split_attr", 11, "Split", [x], [x[:, :1], x[:, 1:3], x[:, 3:]], axis=1, split=[1, 2, 3])
    one("split_input", 13, "Split", [x, i64(2, 4)], [x[:, :2], x[:, 2:]], (1,), axis=1)
    one("split_num_outputs", 18, "Split", [x], [x[:, :2], x[:, 2:4], x[:, 4:]], axis=1, num_outputs=3)
    one("split_uneven", 18, "Split", [x[:, :5].copy()], [x[:, :2], x[:, 2:4], x[:, 4:5]], axis=1, num_outputs=3)
    one("split_second_only", 13, "Split", [x, i64(2, 4)], [None, x[:, 2:]], (1,), axis=1)
    one("slice_attr", 9, "Slice", [x], x[:, 1:4, :, 0:2], axes=[1, 3], starts=[1, 0], ends=[4, -1])
    one("slice_attr_no_axes", 1, "Slice", [x], x[1:2, 2:], starts=[1, 2], ends=[9, 6])
    one("slice_input", 10, "Slice", [x, i64(1), i64(5), i64(1), i64(2)], x[:, 1:5:2], (1, 2, 3, 4))
    one("slice_backwards", 13, "Slice", [x, i64(-1, 2), i64(-10, -99), i64(1, 2), i64(-2, -1)], x[:, ::-2, ::-1], (1, 2, 3, 4))
    one("slice_empty", 13, "Slice", [x, i64(3), i64(3), i64(1)], x[:, 3:3], (1, 2, 3))
    one("slice_fed", 13, "Slice", [x, i64(0, 1), i64(2, -1)], x[0:2, 1:-1])
    one("slice_int32", 13, "Slice", [x, np.array([1], np.int32), np.array([3], np.int32), np.array([-1], np.int32)], x[..., 1:3], (1, 2, 3))
    index = np.array([[0, 5], [-1, 2]], np.int64)
    one("gather_axis0", 13, "Gather", [x.reshape(6, 18)[:, :4].copy(), index], np.take(x.reshape(6, 18)[:, :4], index, 0))
    one("gather_axis1", 7, "Gather", [x, index], np.take(x, index, 1), (1,), axis=1)
    one("gather_scalar", 11, "Gather", [x, np.array(2, np.int64)], x[:, 2], (1,), axis=1)
    one("gather_int32", 11, "Gather", [x, np.array([2, 0], np.int32)], x[..., [2, 0]], (1,), axis=-1)
    e = f32(3, 1)
    one("expand", 8, "Expand", [e, i64(2, 1, 4)], np.broadcast_to(e, (2, 3, 4)), (1,))
    one("expand_fed", 13, "Expand", [e, i64(3, 4)], np.broadcast_to(e, (3, 4)))
    one("tile", 13, "Tile", [x, i64(1, 2, 1, 3)], np.tile(x, (1, 2, 1, 3)), (1,))
    one("shape", 13, "Shape", [x], i64(2, 6, 3, 3))
    one("shape_15", 15, "Shape", [x], i64(6, 3), start=1, end=-1)
    one("size", 13, "Size", [x], np.array(108, np.int64))
    one("identity", 13, "Identity", [x], x)
    one("dropout_7", 7, "Dropout", [x], x, ratio=0.3)
    one("dropout_12_mask", 12, "Dropout", [x, np.array(0.3, np.float32)], [x, np.ones(x.shape, bool)], (1,))
    one("constantofshape", 9, "ConstantOfShape", [i64(2, 3)], np.full((2, 3), 7, np.int64), (0,), value=helper.make_tensor("v", TensorProto.INT64, [1], [7]))
    one("constantofshape_fed", 9, "ConstantOfShape", [i64(4, 0)], np.zeros((4, 0), np.float32))
    one("constant_tensor", 13, "Constant", [], e, value=numpy_helper.from_array(e, "v"))
    one("constant_float", 13, "Constant", [], np.array(2.5, np.float32), value_float=2.5)
    one("constant_ints", 13, "Constant", [], i64(3, 1, 4), value_ints=[3, 1, 4])
    one("range_int64", 11, "Range", [np.array(10, np.int64), np.array(4, np.int64), np.array(-2, np.int64)], i64(10, 8, 6), (0, 1, 2))
    one("range_float", 11, "Range", [np.array(1, np.float32), np.array(2.1, np.float32), np.array(0.5, np.float32)], np.array([1, 1.5, 2], np.float32))
    types = {np.float32: 1, np.uint8: 2, np.int8: 3, np.int32: 6, np.int64: 7, np.bool_: 9, np.float16: 10, np.float64: 11}
    for a, na in types.items():
        for b, nb in types.items():
            if (a is np.float32) != (b is np.float32):
                src = np.array([[0, 1, 2.75, 100]]).astype(a)
                one("cast_%s_%s" % (np.dtype(a).name, np.dtype(b).name), 13, "Cast", [src], src.astype(b), to=nb)


def pads():
    x = f32(1, 2, 3, 4)
    p = [0, 0, 1, 2, 0, 1, 0, 3]
    widths = [(0, 0), (0, 1), (1, 0), (2, 3)]
    one("pad_2_constant", 2, "Pad", [x], np.pad(x, widths, constant_values=1.5), pads=p, value=1.5)
    one("pad_10_default", 10, "Pad", [x], np.pad(x, widths), pads=p)
    one("pad_11_constant", 11, "Pad", [x, i64(*p), np.array(-2, np.float32)], np.pad(x, widths, constant_values=-2), (1, 2))
    one("pad_13_fed", 13, "Pad", [x, i64(*p)], np.pad(x, widths))
    for mode in ("reflect", "edge"):
        one("pad_" + mode, 13, "Pad", [x, i64(0, 0, 1, 2, 0, 0, 2, 3)], np.pad(x, [(0, 0), (0, 0), (1, 2), (2, 3)], mode), (1,), mode=mode)
    one("pad_wrap", 19, "Pad", [x, i64(0, 0, 1, 2, 0, 0, 2, 3)], np.pad(x, [(0, 0), (0, 0), (1, 2), (2, 3)], "wrap"), (1,), mode="wrap")
    one("pad_18_axes", 18, "Pad", [x, i64(1, 2), None, i64(-1)], np.pad(x, [(0, 0)] * 3 + [(1, 2)]), (1, 3))
    one("pad_negative", 13, "Pad", [x, i64(0, 0, -1, 1, 0, 0, 0, -2)], np.pad(x[:, :, 1:, :-2], [(0, 0)] * 3 + [(1, 0)]), (1,))


def resizes():
    x = f32(1, 2, 4, 5)
    tx = t(x)
    near = F.interpolate(tx, scale_factor=2, mode="nearest").numpy()
    one("upsample_7_nearest", 7, "Upsample", [x], near, mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])
    one("upsample_9_nearest", 9, "Upsample", [x, np.array([1, 1, 2, 2], np.float32)], near, (1,))
    one("resize_10_nearest", 10, "Resize", [x, np.array([1, 1, 2, 2], np.float32)], near, (1,), mode="nearest")
    scales = lambda *s: np.array(s, np.float32)
    none = np.zeros(0, np.float32)
    one("resize_11_nearest_floor", 11, "Resize", [x, none, scales(1, 1, 2, 2)], near, (1, 2), mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    one("resize_13_nearest_sizes", 13, "Resize", [x, None, None, i64(1, 2, 8, 10)], near, (3,), mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    one("resize_13_nearest_fed_sizes", 13, "Resize", [x, None, None, i64(1, 2, 8, 10)], near, mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    one("resize_13_half_pixel_nearest", 13, "Resize", [x, None, scales(1, 1, 2, 2)], near, (2,))
    for name, mode, align in (("half_pixel", "half_pixel", False), ("pytorch_half_pixel", "pytorch_half_pixel", False), ("align_corners", "align_corners", True)):
        for label, size in (("up", (7, 9)), ("down", (2, 3))):
            y = F.interpolate(tx, size=size, mode="bilinear", align_corners=align).numpy()
            one("resize_linear_%s_%s" % (name, label), 13, "Resize", [x, None, None, i64(1, 2, *size)], y, (3,), mode="linear", coordinate_transformation_mode=mode)
    y = F.interpolate(tx, scale_factor=2, mode="bilinear", align_corners=False).numpy()
    one("resize_linear_scales_free_batch", 11, "Resize", [np.concatenate([x, x]), none, scales(1, 1, 2, 2)], np.concatenate([y, y]), (1, 2), True, mode="linear")
    one("resize_18_axes", 18, "Resize", [x, None, scales(2, 2)], y, (2,), mode="linear", axes=[2, 3])
    v = f32(1, 1, 6)
    one("resize_linear_1d", 13, "Resize", [v, None, None, i64(1, 1, 9)], F.interpolate(t(v), size=9, mode="linear", align_corners=False).numpy(), (3,), mode="linear")
    v = f32(1, 1, 3, 3, 3)
    one("resize_linear_3d", 13, "Resize", [v, None, None, i64(1, 1, 4, 5, 6)], F.interpolate(t(v), size=(4, 5, 6), mode="trilinear", align_corners=False).numpy(), (3,), mode="linear")
    # nearest modes at a scale of 1.5 with half_pixel: positions -1/6, 0.5, 7/6, 11/6, 2.5, 19/6
    r = f32(1, 1, 1, 4)
    pos = (np.arange(6) + 0.5) / 1.5 - 0.5
    for mode, fn in (("round_prefer_floor", lambda p: np.ceil(p - 0.5)), ("round_prefer_ceil", lambda p: np.floor(p + 0.5)), ("floor", np.floor), ("ceil", np.ceil)):
        at = np.clip(fn(pos), 0, 3).astype(int)
        one("resize_nearest_" + mode, 13, "Resize", [r, None, scales(1, 1, 1, 1.5)], r[..., at], (2,), mode="nearest", nearest_mode=mode)


def graphs():
    """What exporters write: fusions, shape arithmetic, a batch that is free."""
    N = helper.make_node
    x, w, b = f32(2, 4, 6, 6), f32(4, 4, 3, 3), f32(4)
    conv = F.conv2d(t(x), t(w), t(b), padding=1)
    C = N("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1])
    k = {"w": w, "b": b}
    acts = {"relu": ([N("Relu", ["s"], ["y"])], F.relu), "silu": ([N("Sigmoid", ["s"], ["g"]), N("Mul", ["s", "g"], ["y"])], F.silu),
            "hardswish": ([N("HardSigmoid", ["s"], ["g"], alpha=1 / 6, beta=0.5), N("Mul", ["g", "s"], ["y"])], F.hardswish),
            "hardswish_op": ([N("HardSwish", ["s"], ["y"])], F.hardswish), "relu6": ([N("Clip", ["s", "lo", "hi"], ["y"])], F.relu6),
            "leaky": ([N("LeakyRelu", ["s"], ["y"], alpha=0.2)], lambda v: F.leaky_relu(v, 0.2)), "sigmoid": ([N("Sigmoid", ["s"], ["y"])], torch.sigmoid)}
    for name, (nodes, fn) in acts.items():
        c = dict(k, lo=np.array(0, np.float32), hi=np.array(6, np.float32)) if name == "relu6" else k
        renamed = N("Conv", ["x", "w", "b"], ["s"], pads=[1, 1, 1, 1])
        save("graph_conv_" + name, 14, [renamed] + nodes, {"x": x}, {"y": fn(conv).numpy()}, c, True)
        save("graph_conv_residual_" + name, 14, [C, N("Add", ["x", "c"], ["s"])] + nodes, {"x": x}, {"y": fn(conv + t(x)).numpy()}, c, True)
    s, sh, m, v = f32(4), f32(4), f32(4), np.abs(f32(4)) + 0.3
    bn = F.batch_norm(conv, t(m), t(v), t(s), t(sh))
    norm = dict(k, s=s, sh=sh, m=m, v=v)
    save("graph_conv_batchnorm_relu", 13, [C, N("BatchNormalization", ["c", "s", "sh", "m", "v"], ["n"]), N("Relu", ["n"], ["y"])],
         {"x": x}, {"y": F.relu(bn).numpy()}, norm, True)
    save("graph_batchnorm_relu_conv", 13, [N("BatchNormalization", ["x", "s", "sh", "m", "v"], ["n"]), N("Relu", ["n"], ["r"]),
         N("Conv", ["r", "w", "b"], ["y"])], {"x": x}, {"y": F.conv2d(F.relu(F.batch_norm(t(x), t(m), t(v), t(s), t(sh))), t(w), t(b)).numpy()}, norm, True)
    save("graph_conv_then_bias", 13, [N("Conv", ["x", "w"], ["c"]), N("Add", ["c", "bb"], ["s"]), N("Relu", ["s"], ["y"])], {"x": x},
         {"y": F.relu(F.conv2d(t(x), t(w), t(b))).numpy()}, {"w": w, "bb": b.reshape(1, 4, 1, 1)}, True)
    save("graph_pad_conv", 13, [N("Pad", ["x", "p"], ["q"]), N("Conv", ["q", "w", "b"], ["y"], strides=[2, 2])], {"x": x},
         {"y": F.conv2d(F.pad(t(x), (0, 1, 0, 1)), t(w), t(b), stride=2).numpy()}, dict(k, p=i64(0, 0, 0, 0, 0, 0, 1, 1)), True)
    for p in ((0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 2, 0)):
        save("graph_pad_%d%d%d%d_averagepool" % p, 11, [N("Pad", ["x", "p"], ["q"]), N("AveragePool", ["q"], ["y"], kernel_shape=[3, 3], strides=[2, 2])],
             {"x": x}, {"y": F.avg_pool2d(F.pad(t(x), (p[1], p[3], p[0], p[2])), 3, 2).numpy()}, {"p": i64(0, 0, p[0], p[1], 0, 0, p[2], p[3])}, True)
    save("graph_two_convs_add", 13, [C, N("Conv", ["x", "w"], ["d"], pads=[1, 1, 1, 1]), N("Add", ["c", "d"], ["a"]), N("Relu", ["a"], ["y"])],
         {"x": x}, {"y": F.relu(conv + F.conv2d(t(x), t(w), padding=1)).numpy()}, k, True)
    save("graph_value_read_twice", 13, [C, N("Relu", ["c"], ["r"]), N("Add", ["r", "c"], ["y"])], {"x": x}, {"y": (F.relu(conv) + conv).numpy()}, k, True)
    save("graph_intermediate_output", 13, [C, N("Relu", ["c"], ["y"])], {"x": x}, {"c": conv.numpy(), "y": F.relu(conv).numpy()}, k, True)
    mw, mb = f32(6, 5), f32(5)
    row = f32(3, 6)
    save("graph_matmul_add_relu", 13, [N("MatMul", ["x", "w"], ["m"]), N("Add", ["b", "m"], ["s"]), N("Relu", ["s"], ["y"])], {"x": row},
         {"y": np.maximum(row @ mw + mb, 0)}, {"w": mw, "b": mb}, True)
    # x.view(x.size(0), -1) as PyTorch writes it
    flat = [N("Shape", ["x"], ["sh"]), N("Gather", ["sh", "zero"], ["n"], axis=0), N("Unsqueeze", ["n", "ax"], ["n1"]), N("Concat", ["n1", "minus"], ["to"], axis=0),
            N("Reshape", ["x", "to"], ["y"])]
    save("graph_view_free_batch", 13, flat, {"x": x}, {"y": x.reshape(2, -1)}, {"zero": np.array(0, np.int64), "ax": i64(0), "minus": i64(-1)}, True)
    # channel shuffle, batch from Shape
    shuffle = [N("Shape", ["x"], ["sh"]), N("Slice", ["sh", "a", "e"], ["n"]), N("Concat", ["n", "five"], ["to"], axis=0), N("Reshape", ["x", "to"], ["r"]),
               N("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]), N("Concat", ["n", "four"], ["back"], axis=0), N("Reshape", ["t", "back"], ["y"])]
    save("graph_channel_shuffle", 13, shuffle, {"x": x}, {"y": x.reshape(2, 2, 2, 6, 6).transpose(0, 2, 1, 3, 4).reshape(2, 4, 6, 6)},
         {"a": i64(0), "e": i64(1), "five": i64(2, 2, 6, 6), "four": i64(4, 6, 6)}, True)
    sw = f32(4, 4, 1, 1)
    se = [N("GlobalAveragePool", ["x"], ["p"]), N("Conv", ["p", "sw"], ["q"]), N("HardSigmoid", ["q"], ["g"]), N("Mul", ["g", "x"], ["y"])]
    gate = torch.clamp(F.conv2d(t(x).mean((2, 3), keepdim=True), t(sw)) * 0.2 + 0.5, 0, 1)
    save("graph_squeeze_excite", 13, se, {"x": x}, {"y": (gate * t(x)).numpy()}, {"sw": sw}, True)
    save("graph_concat_branches", 13, [C, N("Relu", ["c"], ["r"]), N("MaxPool", ["x"], ["p"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]), N("Concat", ["r", "p", "x"], ["y"], axis=1)],
         {"x": x}, {"y": np.concatenate([F.relu(conv).numpy(), F.max_pool2d(t(x), 3, 1, 1).numpy(), x], 1)}, k, True)
    save("graph_resize_to_shape", 13, [N("Shape", ["z"], ["sz"]), N("Slice", ["sz", "two", "nine"], ["hw"]), N("Shape", ["x"], ["sx"]), N("Slice", ["sx", "zero", "two"], ["nc"]),
         N("Concat", ["nc", "hw"], ["to"], axis=0), N("Resize", ["x", "", "", "to"], ["y"], mode="linear")], {"x": x, "z": f32(2, 1, 9, 11)},
         {"y": F.interpolate(t(x), size=(9, 11), mode="bilinear", align_corners=False).numpy()}, {"two": i64(2), "nine": i64(9), "zero": i64(0)}, True)
    fixed = f32(1, 4, 6, 6)
    save("graph_fixed_batch_view", 11, [N("Conv", ["x", "w", "b"], ["c"]), N("Reshape", ["c", "to"], ["y"])], {"x": fixed},
         {"y": F.conv2d(t(fixed), t(w), t(b)).numpy().reshape(1, -1)}, dict(k, to=i64(1, -1)))


def gathers():
    """Einsum, Reduce*, gathers and scatters, orders, transposed convolutions, group norms, cubic resizes."""
    r = np.random.RandomState(11)
    f = lambda *s: r.uniform(-1.5, 1.5, s).astype(np.float32)
    for name, eq, shapes in (("attention", "bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]), ("transpose", "ij->ji", [(3, 4)]),
                             ("trace", "ii->", [(4, 4)]), ("diagonal", "bii->bi", [(2, 3, 3)]), ("implicit", "ik,kj", [(3, 4), (4, 2)]),
                             ("ellipsis", "...ik,kj->...ij", [(2, 3, 4, 5), (5, 2)]), ("ellipsis_broadcast", "...i,...i->...", [(2, 1, 4), (3, 4)]),
                             ("three", " ab , bc , cd -> ad", [(2, 3), (3, 4), (4, 5)]), ("sum", "ijk->j", [(2, 3, 4)])):
        ins = [f(*s) for s in shapes]
        one("einsum_" + name, 12, "Einsum", ins, np.asarray(np.einsum(eq, *ins), np.float32), equation=eq)
    x = f(2, 3, 4, 5)
    k = r.randint(-5, 5, (3, 4)).astype(np.int64)
    lse = lambda a, ax, **kw: np.log(np.sum(np.exp(a), ax, **kw))
    for op, fn in (("L1", lambda a, ax, **kw: np.abs(a).sum(ax, **kw)), ("L2", lambda a, ax, **kw: np.sqrt((a * a).sum(ax, **kw))),
                   ("LogSum", lambda a, ax, **kw: np.log(a.sum(ax, **kw))), ("LogSumExp", lse), ("SumSquare", lambda a, ax, **kw: (a * a).sum(ax, **kw))):
        a = np.abs(x) if op == "LogSum" else x
        one("reduce%s_attr" % op.lower(), 11, "Reduce" + op, [a], fn(a, (2, 3)), axes=[2, 3], keepdims=0)
        one("reduce%s_input" % op.lower(), 18, "Reduce" + op, [a, i64(1)], fn(a, (1,), keepdims=True), (1,))
    one("reducelogsumexp_large", 18, "ReduceLogSumExp", [np.array([[1e3, 1e3]], np.float32)], np.array([[1e3 + math.log(2)]], np.float32))
    one("reducel1_int64", 18, "ReduceL1", [k, i64(1)], np.abs(k).sum(1, keepdims=True), (1,))
    one("reducesumsquare_int64", 18, "ReduceSumSquare", [k, i64(0)], (k * k).sum(0, keepdims=True), (1,))
    at = r.randint(-3, 3, (2, 2, 4, 5)).astype(np.int64)
    one("gatherelements", 13, "GatherElements", [x, at], np.take_along_axis(x, at % 3, 1), axis=1)
    one("gatherelements_int32", 11, "GatherElements", [k, np.array([[0, -1]], np.int32)], np.take_along_axis(k[:1], np.array([[0, 3]]), 1), axis=-1)
    nd = np.array([[[0, 1], [1, -1]]], np.int64)
    one("gathernd", 13, "GatherND", [x, nd], x[nd[..., 0], nd[..., 1]])
    one("gathernd_full", 11, "GatherND", [k, np.array([[0, 0], [2, 3]], np.int64)], k[[0, 2], [0, 3]])
    bd = np.array([[[1]], [[2]]], np.int64)
    one("gathernd_batch", 13, "GatherND", [x, bd], np.stack([x[0, [1]], x[1, [2]]]), batch_dims=1)
    y = x.copy()
    u = f(2, 1, 4, 5)
    np.put_along_axis(y, np.full((2, 1, 4, 5), 2), u, 1)
    one("scatterelements", 13, "ScatterElements", [x, np.full((2, 1, 4, 5), -1, np.int64), u], y, axis=1)
    for op, fn in (("add", np.add), ("mul", np.multiply), ("max", np.maximum), ("min", np.minimum)):
        y = x.copy()
        fn.at(y, (1, 2), u[0, 0])
        fn.at(y, (1, 2), u[1, 0])
        one("scatternd_" + op, 18, "ScatterND", [x, np.array([[1, 2], [-1, -1]], np.int64), u[:, 0]], y, reduction=op)
        v, w = np.zeros((3, 4), np.float32) + 1, np.array([[2, 3]], np.float32)
        z = v.copy()
        for j in range(2):
            z[1, 2] = fn(z[1, 2], w[0, j])
        one("scatterelements_" + op, 18, "ScatterElements", [v.T.copy(), np.array([[2], [2]], np.int64), w.T.copy()], np.where(np.arange(4)[:, None] == 2, np.array([[fn(fn(1.0, 2.0), 3.0), 1, 1]]), v.T).astype(np.float32), reduction=op)
    y = x.copy()
    y[[0, 1], [1, 0]] = u[:, 0]
    one("scatternd", 13, "ScatterND", [x, np.array([[0, 1], [1, 0]], np.int64), u[:, 0]], y)
    y = k.copy()
    y[2] = [7, 8, 9, 10]
    one("scatternd_rows_int64", 11, "ScatterND", [k, np.array([[2]], np.int64), np.array([[7, 8, 9, 10]], np.int64)], y)
    order = np.argsort(-x, 3, kind="stable")
    one("topk", 11, "TopK", [x, i64(3)], [np.take_along_axis(x, order, 3)[..., :3], order[..., :3]], (1,))
    one("topk_attr", 1, "TopK", [x], [np.take_along_axis(x, order, 3)[..., :2], order[..., :2]], k=2)
    order = np.argsort(x, 1, kind="stable")
    one("topk_smallest", 11, "TopK", [x, i64(2)], [np.take_along_axis(x, order, 1)[:, :2], order[:, :2]], (1,), axis=1, largest=0)
    ties = np.array([[3, 1, 3, 2, 3]], np.int64)
    one("topk_ties_int64", 11, "TopK", [ties, i64(2)], [np.array([[3, 3]]), np.array([[0, 2]])], (1,))
    one("topk_indices_only", 11, "TopK", [ties, i64(1)], [None, np.array([[0]])], (1,))
    one("cumsum", 11, "CumSum", [x, np.array(2, np.int64)], np.cumsum(x, 2), (1,))
    one("cumsum_reverse", 14, "CumSum", [x, np.array(-1, np.int32)], np.cumsum(x[..., ::-1], 3)[..., ::-1], (1,), reverse=1)
    ex = np.concatenate([np.zeros_like(k[:, :1]), np.cumsum(k, 1)[:, :-1]], 1)
    one("cumsum_exclusive_int64", 14, "CumSum", [k, np.array(1, np.int64)], ex, (1,), exclusive=1)
    one("trilu_upper", 14, "Trilu", [x], np.triu(x))
    one("trilu_lower_k", 14, "Trilu", [x, np.array(-1, np.int64)], np.tril(x, -1), (1,), upper=0)
    one("trilu_far", 14, "Trilu", [k, np.array(2**62, np.int64)], np.zeros_like(k), (1,))
    d = f(2, 8, 3, 2)
    dcr = d.reshape(2, 2, 2, 2, 3, 2).transpose(0, 3, 4, 1, 5, 2).reshape(2, 2, 6, 4)
    crd = d.reshape(2, 2, 2, 2, 3, 2).transpose(0, 1, 4, 2, 5, 3).reshape(2, 2, 6, 4)
    one("depthtospace", 11, "DepthToSpace", [d], dcr, (), True, blocksize=2)
    one("depthtospace_crd", 13, "DepthToSpace", [d], crd, (), True, blocksize=2, mode="CRD")
    one("spacetodepth", 13, "SpaceToDepth", [dcr], d, (), True, blocksize=2)
    n, s, b = f(2, 6, 3, 4), f(2), f(2)
    sc, sh = f(6), f(6)
    one("groupnorm_18", 18, "GroupNormalization", [n, s, b], F.group_norm(t(n), 2, t(np.repeat(s, 3)), t(np.repeat(b, 3))).numpy(), (1, 2), num_groups=2)
    one("groupnorm_21", 21, "GroupNormalization", [n, sc, sh], F.group_norm(t(n), 2, t(sc), t(sh), eps=1e-3).numpy(), (1, 2), True, num_groups=2, epsilon=1e-3)
    x, w, b = f(2, 4, 5, 4), f(4, 3, 3, 3), f(3)
    ct = lambda x, w, b=None, **a: F.conv_transpose2d(t(x), t(w), None if b is None else t(b), **a).numpy()
    one("convtranspose", 11, "ConvTranspose", [x, w], ct(x, w), (1,), True)
    one("convtranspose_strides", 11, "ConvTranspose", [x, w, b], ct(x, w, b, stride=2, padding=1, output_padding=1), (1, 2), True, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
    one("convtranspose_dilated", 11, "ConvTranspose", [x, w], ct(x, w, dilation=2), (1,), dilations=[2, 2])
    one("convtranspose_groups", 11, "ConvTranspose", [x, f(4, 3, 2, 2) * 0 + w[:, :, :2, :2]], ct(x, w[:, :, :2, :2], groups=2, stride=(2, 1)), (1,), group=2, strides=[2, 1])
    full = ct(x, w, stride=2)  # 11 x 9
    one("convtranspose_output_shape", 11, "ConvTranspose", [x, w], full[:, :, 1:11, 1:9], (1,), strides=[2, 2], output_shape=[10, 8])
    one("convtranspose_same_upper", 11, "ConvTranspose", [x, w], full[:, :, :10, :8], (1,), strides=[2, 2], auto_pad="SAME_UPPER")
    one("convtranspose_pads_uneven", 11, "ConvTranspose", [x, w], full[:, :, 1:, :7], (1,), strides=[2, 2], pads=[1, 0, 0, 2])
    v, vw = f(2, 3, 6), f(3, 2, 3)
    one("convtranspose_1d", 11, "ConvTranspose", [v, vw], F.conv_transpose1d(t(v), t(vw), stride=2).numpy(), (1,), strides=[2])
    x = f(1, 2, 4, 5)
    for label, size in (("up", (7, 9)), ("down", (2, 3))):
        one("resize_cubic_" + label, 13, "Resize", [x, None, None, i64(1, 2, *size)], F.interpolate(t(x), size=size, mode="bicubic", align_corners=False).numpy(), (3,), mode="cubic")
        one("resize_cubic_align_corners_" + label, 13, "Resize", [x, None, None, i64(1, 2, *size)], F.interpolate(t(x), size=size, mode="bicubic", align_corners=True).numpy(), (3,), mode="cubic", coordinate_transformation_mode="align_corners")


def transformers():
    """What exporters write for LayerNorm, GELU and attention, in parts."""
    r = np.random.RandomState(15)
    f = lambda *shape: r.uniform(-1.5, 1.5, shape).astype(np.float32)
    N, c = helper.make_node, lambda x: np.array(x, np.float32)
    width, heads, tokens = 16, 2, 7
    x, scale, shift = f(3, tokens, width), f(width), f(width)
    k = {"g": scale, "b": shift, "e": c(1e-3), "two": c(2)}
    normal = F.layer_norm(t(x), (width,), t(scale), t(shift), 1e-3).numpy()

    def norm(square):
        return [N("ReduceMean", ["x"], ["m"], axes=[-1]), N("Sub", ["x", "m"], ["d"]), square, N("ReduceMean", ["q"], ["v"], axes=[-1]),
                N("Add", ["v", "e"], ["ve"]), N("Sqrt", ["ve"], ["s"]), N("Div", ["d", "s"], ["n"]), N("Mul", ["n", "g"], ["ng"]), N("Add", ["ng", "b"], ["y"])]
    save("graph_layer_norm", 13, norm(N("Pow", ["d", "two"], ["q"])), {"x": x}, {"y": normal}, k, True)
    save("graph_layer_norm_product", 13, norm(N("Mul", ["d", "d"], ["q"])), {"x": x}, {"y": normal}, k, True)
    # The same nodes with a mean over another axis are none.
    other = [N("ReduceMean", ["x"], ["m"], axes=[1]), N("Sub", ["x", "m"], ["y"])]
    save("graph_centred_columns", 13, other, {"x": x}, {"y": x - x.mean(1, keepdims=True)}, {}, True)
    k = {"root": c(math.sqrt(2)), "inverse": c(math.sqrt(0.5)), "one": c(1), "half": c(0.5), "three": c(3), "a": c(math.sqrt(2 / math.pi)), "cube": c(0.044715)}
    erf = [N("Div", ["x", "root"], ["u"]), N("Erf", ["u"], ["v"]), N("Add", ["v", "one"], ["w"])]
    gelu = F.gelu(t(x)).numpy()
    save("graph_gelu", 13, erf + [N("Mul", ["x", "w"], ["p"]), N("Mul", ["p", "half"], ["y"])], {"x": x}, {"y": gelu}, k, True)
    save("graph_gelu_half_first", 13, [N("Mul", ["x", "inverse"], ["u"])] + erf[1:] + [N("Mul", ["half", "x"], ["p"]), N("Mul", ["p", "w"], ["y"])], {"x": x}, {"y": gelu}, k, True)
    bend = [N("Pow", ["x", "three"], ["x3"]), N("Mul", ["cube", "x3"], ["c3"]), N("Add", ["x", "c3"], ["s"]), N("Mul", ["s", "a"], ["u"]), N("Tanh", ["u"], ["v"]),
            N("Add", ["one", "v"], ["w"]), N("Mul", ["x", "half"], ["p"]), N("Mul", ["p", "w"], ["y"])]
    save("graph_gelu_tanh", 13, bend, {"x": x}, {"y": F.gelu(t(x), approximate="tanh").numpy()}, k, True)
    # One factor is not one half: no Gelu.
    save("graph_nearly_gelu", 13, erf + [N("Mul", ["x", "w"], ["p"]), N("Mul", ["p", "root"], ["y"])], {"x": x}, {"y": gelu * np.float32(2 * math.sqrt(2))}, k, True)

    # Attention as timm writes it: one product for all three, then views of it.
    each = width // heads
    wqkv, bqkv, wo, bo = f(width, 3 * width), f(3 * width), f(width, width), f(width)
    q, kk, v = (t(x) @ t(wqkv) + t(bqkv)).reshape(3, tokens, 3, heads, each).permute(2, 0, 3, 1, 4).unbind(0)
    context = (((q @ kk.transpose(-2, -1)) * each ** -0.5).softmax(-1) @ v).transpose(1, 2).reshape(3, tokens, width)
    timm = [N("MatMul", ["x", "w"], ["a"]), N("Add", ["wb", "a"], ["b"]), N("Reshape", ["b", "five"], ["r"]), N("Transpose", ["r"], ["p"], perm=[2, 0, 3, 1, 4]),
            N("Split", ["p"], ["q1", "k1", "v1"], axis=0), N("Squeeze", ["q1", "ax"], ["q"]), N("Squeeze", ["k1", "ax"], ["k"]), N("Squeeze", ["v1", "ax"], ["v"]),
            N("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]), N("MatMul", ["q", "kt"], ["s"]), N("Mul", ["s", "scale"], ["ss"]), N("Softmax", ["ss"], ["sm"], axis=-1),
            N("MatMul", ["sm", "v"], ["c"]), N("Transpose", ["c"], ["ct"], perm=[0, 2, 1, 3]), N("Reshape", ["ct", "back"], ["cr"]),
            N("MatMul", ["cr", "wo"], ["o"]), N("Add", ["o", "bo"], ["ob"]), N("Add", ["x", "ob"], ["y"])]
    k = {"w": wqkv, "wb": bqkv, "wo": wo, "bo": bo, "five": i64(-1, tokens, 3, heads, each), "ax": i64(0), "scale": c(each ** -0.5), "back": i64(-1, tokens, width)}
    save("graph_attention_one_product", 13, timm, {"x": x}, {"y": (t(x) + context @ t(wo) + t(bo)).numpy()}, k, True)
    # The same by Gather, and the context as it is: what is transposed is the output.
    picked = timm[:4] + [N("Gather", ["p", str(j)], [n], axis=0) for j, n in enumerate("qkv")] + timm[8:13] + [N("Transpose", ["c"], ["y"], perm=[0, 2, 1, 3])]
    save("graph_attention_gathered", 13, picked, {"x": x}, {"y": context.reshape(3, tokens, heads, each).numpy()}, {**k, **{str(j): np.array(j, np.int64) for j in range(3)}}, True)
    # As Hugging Face's BERT writes it: three products, a mask.
    w3, b3 = f(3, width, width), f(3, width)
    mask = np.where(r.rand(3, 1, 1, tokens) < 0.3, -10000, 0).astype(np.float32)
    mask[:, :, :, 0] = 0
    q, kk, v = ((t(x) @ t(w3[j]) + t(b3[j])).reshape(3, tokens, heads, each).permute(0, 2, 1, 3) for j in range(3))
    context = ((q @ kk.transpose(-2, -1) / math.sqrt(each) + t(mask)).softmax(-1) @ v).permute(0, 2, 1, 3).reshape(3, tokens, width)
    bert, k = [], {"four": i64(-1, tokens, heads, each), "root": c(math.sqrt(each)), "back": i64(-1, tokens, width)}
    for j, n in enumerate("qkv"):
        k["w" + n], k["b" + n] = w3[j], b3[j]
        bert += [N("MatMul", ["x", "w" + n], [n + "0"]), N("Add", [n + "0", "b" + n], [n + "1"]), N("Reshape", [n + "1", "four"], [n + "2"]),
                 N("Transpose", [n + "2"], [n], perm=[0, 2, 3, 1] if n == "k" else [0, 2, 1, 3])]
    bert += [N("MatMul", ["q", "k"], ["s"]), N("Div", ["s", "root"], ["ss"]), N("Add", ["ss", "mask"], ["sa"]), N("Softmax", ["sa"], ["sm"], axis=3),
             N("MatMul", ["sm", "v"], ["c"]), N("Transpose", ["c"], ["ct"], perm=[0, 2, 1, 3]), N("Reshape", ["ct", "back"], ["y"])]
    save("graph_attention_three_products", 13, bert, {"x": x, "mask": mask}, {"y": context.numpy()}, k, True)
    # One of the views is read twice, one is an output: neither may be lost.
    save("graph_attention_views_read_twice", 13, bert + [N("Relu", ["q"], ["qr"])], {"x": x, "mask": mask},
         {"y": context.numpy(), "v": v.numpy(), "qr": q.relu().numpy()}, k, True)
    # Patches of an image as tokens.
    image, w, first = f(2, 3, 8, 8), f(6, 3, 4, 4), f(1, 1, 6)
    y = torch.cat([t(first).expand(2, -1, -1), F.conv2d(t(image), t(w), stride=4).flatten(2).transpose(1, 2)], 1).numpy()
    save("graph_patches", 13, [N("Conv", ["x", "w"], ["c"], strides=[4, 4]), N("Reshape", ["c", "flat"], ["r"]), N("Transpose", ["r"], ["p"], perm=[0, 2, 1]),
                               N("Expand", ["first", "to"], ["fs"]), N("Concat", ["fs", "p"], ["y"], axis=1)], {"x": image}, {"y": y},
         {"w": w, "flat": i64(0, 6, -1), "first": first, "to": i64(2, 1, 1)})
    # More tokens than a tile, with bias by position on the products of all heads.
    q, kk, v = f(1, 3, 50, 24), f(1, 3, 50, 24), f(1, 3, 50, 24)
    bias = f(1, 3, 50, 50)
    y = ((t(q) @ t(kk).transpose(-2, -1) + t(bias)).softmax(-1) @ t(v)).numpy()
    save("graph_attention_biased", 13, [N("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]), N("MatMul", ["q", "kt"], ["s"]), N("Add", ["s", "bias"], ["sb"]),
                                        N("Softmax", ["sb"], ["sm"], axis=-1), N("MatMul", ["sm", "v"], ["y"])], {"q": q, "k": kk, "v": v}, {"y": y}, {"bias": bias})


def joins():
    """Concats of channels whose parts can be written where they belong."""
    r, N = np.random.RandomState(13), helper.make_node
    f = lambda *s: r.uniform(-1, 1, s).astype(np.float32)
    x, constants, nodes, names = f(2, 5, 9, 9), {}, [], ["m"]
    y = [F.max_pool2d(t(x), 3, 2, 1)]
    nodes.append(N("MaxPool", ["x"], ["m"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]))
    for i in range(3):  # as in DenseNet: each layer reads all before it
        c = torch.cat(y, 1)
        k = {"s": f(c.shape[1]), "b": f(c.shape[1]), "mean": f(c.shape[1]), "var": np.abs(f(c.shape[1])) + 0.3, "w": f(20, c.shape[1], 1, 1), "v": f(6, 20, 3, 3)}
        constants.update({"%s%d" % (key, i): a for key, a in k.items()})
        wide = F.conv2d(F.relu(F.batch_norm(c, t(k["mean"]), t(k["var"]), t(k["s"]), t(k["b"]))), t(k["w"]))
        y.append(F.conv2d(F.relu(wide), t(k["v"]), padding=1))
        at = lambda *names: ["%s%d" % (n, i) for n in names]
        nodes += [N("Concat", list(names), at("c"), axis=1), N("BatchNormalization", at("c", "s", "b", "mean", "var"), at("n")), N("Relu", at("n"), at("r")),
                  N("Conv", at("r", "w"), at("d")), N("Relu", at("d"), at("e")), N("Conv", at("e", "v"), at("f"), pads=[1, 1, 1, 1])]
        names.append("f%d" % i)
    nodes += [N("Concat", names, ["all"], axis=1), N("AveragePool", ["all"], ["y"], kernel_shape=[2, 2], strides=[2, 2])]
    save("graph_dense_block", 13, nodes, {"x": x}, {"y": F.avg_pool2d(torch.cat(y, 1), 2).numpy()}, constants, True)
    w, v = f(8, 5, 1, 1), f(6, 5, 3, 3)
    a, b = F.conv2d(t(x), t(w)), F.conv2d(t(x), t(v), padding=1)
    # One part is read elsewhere too, one twice; the first result is a part of the second.
    nodes = [N("Conv", ["x", "w"], ["a"]), N("Conv", ["x", "v"], ["b"], pads=[1, 1, 1, 1]), N("Concat", ["a", "b"], ["c"], axis=1), N("Relu", ["b"], ["r"]),
             N("Concat", ["c", "r", "b", "b"], ["d"], axis=1), N("Concat", ["c", "r"], ["e"], axis=-3), N("GlobalAveragePool", ["e"], ["g"]),
             N("GlobalMaxPool", ["d"], ["h"])]
    d, e = torch.cat([a, b, F.relu(b), b, b], 1), torch.cat([a, b, F.relu(b)], 1)
    save("graph_concats_share", 13, nodes, {"x": x}, {"g": e.mean((2, 3), keepdim=True).numpy(), "h": d.amax((2, 3), keepdim=True).numpy()}, {"w": w, "v": v}, True)


def main():
    torch.manual_seed(0)
    shutil.rmtree(OUT, ignore_errors=True)
    for part in (convolutions, pools, norms, activations, arithmetic, matrices, reductions, shapes, pads, resizes, graphs, gathers, transformers, joins):
        part()
    print(len(os.listdir(OUT)), "cases")


main()
