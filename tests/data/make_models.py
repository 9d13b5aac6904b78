#!/usr/bin/python3
"""Writes the models of tests that need one but no accuracy; weights are random.

tiny.onnx   input [batch,3,16,16], three residual blocks
wide.onnx   input [batch,3,224,224], as networks for photographs have it: a 7x7 stem of stride 2 and max pooling, two
            residual blocks, an inverted one with a depthwise convolution
bytes.onnx  input [batch,16,16,3] of uint8, channels last: made floats, channels first and smaller by the model itself
slow.onnx   input [batch,3,16,16], padded to a picture of 1,164 x 1,164: one convolution that takes long

The output of all is "logits" [batch,10]. Needs Debian's python3-onnx. Deterministic.
"""
import os
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto


class Model:
    def __init__(self, name, seed):
        self.name, self.rng, self.nodes, self.weights = name, np.random.default_rng(seed), [], []

    def weight(self, name, *shape):
        fan_in = int(np.prod(shape[1:]))
        array = self.rng.normal(0, np.sqrt(1.2 / fan_in), shape) if len(shape) > 1 else self.rng.normal(0, 0.1, shape)
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def node(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(self, name, x, c_in, c_out, k, stride=1, group=1):
        w, b = self.weight(name + ".w", c_out, c_in // group, k, k), self.weight(name + ".b", c_out)
        extra = {"group": group} if group > 1 else {}
        return self.node("Conv", [x, w, b], name, kernel_shape=[k, k], strides=[stride, stride], pads=[k // 2] * 4, **extra)

    def block(self, name, x, c_in, c_out, stride):
        y = self.node("Relu", [self.conv(name + ".conv1", x, c_in, c_out, 3, stride)], name + ".relu1")
        y = self.conv(name + ".conv2", y, c_out, c_out, 3)
        short = x if stride == 1 and c_in == c_out else self.conv(name + ".short", x, c_in, c_out, 1, stride)
        return self.node("Relu", [self.node("Add", [y, short], name + ".add")], name + ".out")

    def inverted(self, name, x, c, factor):
        y = self.node("Relu", [self.conv(name + ".expand", x, c, c * factor, 1)], name + ".relu1")
        y = self.node("Relu", [self.conv(name + ".depthwise", y, c * factor, c * factor, 3, 1, c * factor)], name + ".relu2")
        return self.node("Add", [x, self.conv(name + ".project", y, c * factor, c, 1)], name + ".out")

    def save(self, x, channels, side, as_bytes=False):
        self.node("GlobalAveragePool", [x], "pool")
        self.node("Flatten", ["pool"], "flat", axis=1)
        self.node("Gemm", ["flat", self.weight("head.w", 10, channels), self.weight("head.b", 10)], "logits", transB=1)
        self.nodes[-1].name = "head"
        graph = helper.make_graph(
            self.nodes, self.name,
            [helper.make_tensor_value_info("input", TensorProto.UINT8, ["batch", side, side, 3]) if as_bytes else
             helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, side, side])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])], self.weights)
        model = helper.make_model(graph, producer_name="freezeline", opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 7
        onnx.checker.check_model(model)
        onnx.save(model, os.path.join(os.path.dirname(os.path.abspath(__file__)), self.name + ".onnx"))


def tiny():
    m = Model("tiny", 7)
    x = m.node("Relu", [m.conv("stem", "input", 3, 8, 3)], "stem.out")
    x = m.block("block1", x, 8, 8, 1)
    x = m.block("block2", x, 8, 16, 2)
    m.save(m.block("block3", x, 16, 16, 1), 16, 16)


def wide():
    m = Model("wide", 3)
    x = m.node("Relu", [m.conv("stem", "input", 3, 6, 7, 2)], "stem.relu")
    x = m.node("MaxPool", [x], "stem.out", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = m.block("block1", x, 6, 6, 1)
    x = m.block("block2", x, 6, 12, 2)
    m.save(m.inverted("block3", x, 12, 3), 12, 224)


def bytes_last():
    m = Model("bytes", 5)
    x = m.node("Cast", ["input"], "cast", to=TensorProto.FLOAT)
    x = m.node("Transpose", [x], "planes", perm=[0, 3, 1, 2])
    m.weights.append(numpy_helper.from_array(np.float32(1 / 64), "scale"))
    x = m.node("Mul", [x, "scale"], "scaled")
    x = m.node("Relu", [m.conv("stem", x, 3, 6, 3)], "stem.out")
    x = m.block("block1", x, 6, 6, 1)
    m.save(m.block("block2", x, 6, 8, 2), 8, 16, as_bytes=True)


def slow():
    m = Model("slow", 9)
    m.node("Conv", ["input", m.weight("huge.w", 4, 3, 9, 9), m.weight("huge.b", 4)], "huge",
           kernel_shape=[9, 9], pads=[574] * 4)
    m.save("huge", 4, 16)


tiny()
wide()
bytes_last()
slow()
