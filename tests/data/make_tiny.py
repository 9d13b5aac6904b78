#!/usr/bin/python3
"""Writes tiny.onnx: a residual network of three blocks with random weights, for tests that need a model but no accuracy.

Input "input" [batch,3,16,16], output "logits" [batch,10]. Needs Debian's python3-onnx. Deterministic.
"""
import os
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

rng = np.random.default_rng(7)
nodes, weights = [], []


def weight(name, *shape):
    fan_in = int(np.prod(shape[1:]))
    array = rng.normal(0, np.sqrt(1.2 / fan_in), shape) if len(shape) > 1 else rng.normal(0, 0.1, shape)
    weights.append(numpy_helper.from_array(array.astype(np.float32), name))
    return name


def conv(name, x, c_in, c_out, k, stride=1):
    nodes.append(helper.make_node("Conv", [x, weight(name + ".w", c_out, c_in, k, k), weight(name + ".b", c_out)], [name],
                                  name=name, kernel_shape=[k, k], strides=[stride, stride], pads=[k // 2] * 4))
    return name


def relu(name, x):
    nodes.append(helper.make_node("Relu", [x], [name], name=name))
    return name


def block(name, x, c_in, c_out, stride):
    y = relu(name + ".relu1", conv(name + ".conv1", x, c_in, c_out, 3, stride))
    y = conv(name + ".conv2", y, c_out, c_out, 3)
    short = x if stride == 1 and c_in == c_out else conv(name + ".short", x, c_in, c_out, 1, stride)
    nodes.append(helper.make_node("Add", [y, short], [name + ".add"], name=name + ".add"))
    return relu(name + ".out", name + ".add")


x = relu("stem.out", conv("stem", "input", 3, 8, 3))
x = block("block1", x, 8, 8, 1)
x = block("block2", x, 8, 16, 2)
x = block("block3", x, 16, 16, 1)
nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool"], name="pool"))
nodes.append(helper.make_node("Flatten", ["pool"], ["flat"], name="flat", axis=1))
nodes.append(helper.make_node("Gemm", ["flat", weight("head.w", 10, 16), weight("head.b", 10)], ["logits"], name="head",
                              transB=1))
graph = helper.make_graph(
    nodes, "tiny",
    [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 16, 16])],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])], weights)
model = helper.make_model(graph, producer_name="freezeline", opset_imports=[helper.make_opsetid("", 13)])
model.ir_version = 7
onnx.checker.check_model(model)
onnx.save(model, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny.onnx"))
