#!/usr/bin/python3
"""Make transformers and 1-D and 3-D convolutions with seeded random weights, for against_ort.sh.

    tests/bench/blocks.py DIR

DIR/deit_tiny.onnx        DeiT-tiny: 12 blocks of width 192 with 3 heads over 197 tokens, a 16x16 patch embedding, 1,000
                          classes; query, key and value from one product, as timm writes it
DIR/bert_block.onnx       one block of BERT-base, 128 tokens: three products, as Hugging Face writes it; opset 13
DIR/bert_block_17.onnx    the same in opset 17, which has LayerNormalization
DIR/torch_encoder.onnx    torch.nn.TransformerEncoderLayer of the same size
DIR/conv1d.onnx           two Conv1D of 64 channels, width 9, over 1,000 steps
DIR/conv1d_one.onnx       one of them alone
DIR/conv3d.onnx           two Conv3D, 3x3x3, 32 and 64 channels over 8x28x28
DIR/attention.onnx        the product of queries and keys of DeiT-tiny, from inputs

Needs Debian's python3-torch and python3-onnx. The exporter writes what users' models consist of: LayerNorm and GELU in
their parts, reshapes and transposes around each head.
"""
import os
import sys

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    """timm's."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = ((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Deit(nn.Module):
    def __init__(self, width=192, heads=3, depth=12, side=224, patch=16, classes=1000):
        super().__init__()
        tokens = (side // patch) ** 2 + 1
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.first = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.position = nn.Parameter(torch.randn(1, tokens, width) * 0.02)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.first.expand(x.shape[0], -1, -1), x), dim=1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class Bert(nn.Module):
    """One layer of Hugging Face's BertModel, with its mask of zeros."""

    def __init__(self, width=768, heads=12):
        super().__init__()
        self.heads, self.each = heads, width // heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)

    def split(self, x):
        return x.view(x.size()[:-1] + (self.heads, self.each)).permute(0, 2, 1, 3)

    def forward(self, x, mask):
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        scores = torch.matmul(q, k.transpose(-1, -2)) / self.each ** 0.5 + mask
        context = torch.matmul(functional.softmax(scores, dim=-1), v).permute(0, 2, 1, 3).contiguous()
        x = self.norm1(self.out(context.view(context.size()[:-2] + (-1,))) + x)
        return self.norm2(self.down(functional.gelu(self.up(x))) + x)


def conv1d(layers):
    steps = []
    for _ in range(layers):
        steps += [nn.Conv1d(64, 64, 9, padding=4), nn.ReLU()]
    return nn.Sequential(*steps)


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    image, text, steps = torch.zeros(1, 3, 224, 224), torch.zeros(1, 128, 768), torch.zeros(1, 64, 1000)
    mask = torch.zeros(1, 1, 1, 128)
    conv3d = lambda: nn.Sequential(nn.Conv3d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv3d(32, 64, 3, padding=1),
                                   nn.ReLU())
    product = type("Product", (nn.Module,), {"forward": lambda self, q, k: q @ k})
    models = [("deit_tiny", Deit, (image,), 13), ("bert_block", Bert, (text, mask), 13),
              ("bert_block_17", Bert, (text, mask), 17),
              ("torch_encoder", lambda: nn.TransformerEncoderLayer(768, 12, 3072, activation="gelu", batch_first=True),
               (text,), 14),
              ("conv1d", lambda: conv1d(2), (steps,), 13), ("conv1d_one", lambda: conv1d(1)[0], (steps,), 13),
              ("conv3d", conv3d, (torch.zeros(1, 32, 8, 28, 28),), 13),
              ("attention", product, (torch.zeros(1, 3, 197, 64), torch.zeros(1, 3, 64, 197)), 13)]
    for name, make, inputs, opset in models:
        torch.manual_seed(1)
        network = make().eval()
        path = os.path.join(folder, name + ".onnx")
        free = {"input": {0: "batch"}} if len(inputs) == 1 else None
        torch.onnx.export(network, inputs, path, opset_version=opset, input_names=["input", "other"][:len(inputs)],
                          dynamic_axes=free)
        print(path)


if __name__ == "__main__":
    main()
