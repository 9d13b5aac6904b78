#!/usr/bin/python3
"""Make the networks that table.py compares with ONNX Runtime, with seeded random weights.

    tests/bench/networks.py [--dir build/networks] [NAME ...]          (those that table.py has steps for)
    tests/bench/networks.py --all                                      (every network below, 1.7 GB)

torchvision's networks, in exports of three ages; DeiT-tiny (12 blocks of width 192 with 3 heads over 197 tokens; query,
key and value from one product, as timm writes it); a block of BERT-base over 128 tokens (three products, as Hugging
Face writes it), also in opset 17, which has LayerNormalization; torch.nn.TransformerEncoderLayer of the same size; two
Conv1D of 64 channels and width 9 over 1,000 steps, and one of them; two Conv3D, 3x3x3, 32 and 64 channels over 8x28x28;
the product of queries and keys of DeiT-tiny. The exporter writes what users' models consist of. Activations stay
finite and of ordinary size: statistics of BatchNorm are measured on noise. What is there already is kept.

Needs Debian's python3-torch and python3-onnx, and python3-torchvision for its networks.
"""
import argparse
import os
import sys

import torch
from torch import nn
from torch.nn import functional

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Name in torchvision, "_" and a remark where there are several; ONNX opset.
TORCHVISION = {"resnet18": 13, "resnet34": 13, "resnet50": 11, "vgg11": 13, "vgg16": 13, "alexnet": 13,
               "squeezenet1_0": 13, "squeezenet1_1": 11, "googlenet": 13, "inception_v3": 13, "mobilenet_v2": 13,
               "mobilenet_v3_small": 16, "mobilenet_v3_large": 13, "densenet121": 13, "shufflenet_v2_x1_0": 13,
               "efficientnet_b0": 16, "efficientnet_b0_opset13": 13, "shufflenet_v2_x0_5": 11,
               "mobilenet_v2_opset16": 16}
OF_THE_TABLE = ("mobilenet_v2", "resnet50", "vgg16", "densenet121", "deit_tiny", "bert_block", "conv1d", "conv3d")


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


class Product(nn.Module):
    def forward(self, q, k):
        return q @ k


def convolutions(kind, width, channels):
    steps = []
    for of, to in zip(channels, channels[1:]):
        steps += [kind(of, to, width, padding=width // 2), nn.ReLU()]
    return nn.Sequential(*steps)


def randomise(network, side):
    """Seeded BatchNorm parameters, then statistics as they are on noise."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for m in norms:
        nn.init.uniform_(m.weight, 0.7, 1.3)
        nn.init.normal_(m.bias, 0.0, 0.2)
        m.momentum = None
    if norms:
        network.train()
        for m in network.modules():
            if isinstance(m, (nn.Dropout, nn.Dropout2d)):
                m.eval()
        with torch.no_grad():
            network(torch.randn(4, 3, side, side))
    return network.eval()


def torchvision_network(name, side):
    from torchvision import models
    base, options = name.split("_opset")[0], {"weights": None}
    if base in ("googlenet", "inception_v3"):
        options.update(aux_logits=False, init_weights=False, transform_input=False)
    return randomise(getattr(models, base)(**options), side)


def description(name):
    """-> (a function that makes the network, its inputs, opset)"""
    text, steps = torch.zeros(1, 128, 768), torch.zeros(1, 64, 1000)
    bert = (text, torch.zeros(1, 1, 1, 128))
    if name in TORCHVISION:
        side = 299 if name.startswith("inception") else 224
        return lambda: torchvision_network(name, side), (torch.zeros(1, 3, side, side),), TORCHVISION[name]
    return {
        "deit_tiny": (Deit, (torch.zeros(1, 3, 224, 224),), 13),
        "bert_block": (Bert, bert, 13),
        "bert_block_17": (Bert, bert, 17),
        "torch_encoder": (lambda: nn.TransformerEncoderLayer(768, 12, 3072, activation="gelu", batch_first=True),
                          (text,), 14),
        "conv1d": (lambda: convolutions(nn.Conv1d, 9, (64, 64, 64)), (steps,), 13),
        "conv1d_one": (lambda: convolutions(nn.Conv1d, 9, (64, 64))[0], (steps,), 13),
        "conv3d": (lambda: convolutions(nn.Conv3d, 3, (32, 32, 64)), (torch.zeros(1, 32, 8, 28, 28),), 13),
        "attention": (Product, (torch.zeros(1, 3, 197, 64), torch.zeros(1, 3, 64, 197)), 13),
    }.get(name)


def export(name, path):
    make, inputs, opset = description(name)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    names = ["input", "other"][:len(inputs)]
    free = {"input": {0: "batch"}} if len(inputs) == 1 else None
    torch.onnx.export(make().eval(), inputs, path + ".part", opset_version=opset, input_names=names,
                      output_names=["output"], dynamic_axes=free)
    os.rename(path + ".part", path)


def main():
    every = list(TORCHVISION) + ["deit_tiny", "bert_block", "bert_block_17", "torch_encoder", "conv1d", "conv1d_one",
                                 "conv3d", "attention"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(every))
    parser.add_argument("--dir", default=os.path.join(ROOT, "build", "networks"))
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    os.makedirs(args.dir, exist_ok=True)
    status = 0
    for name in args.names or (every if args.all else OF_THE_TABLE):
        path = os.path.join(args.dir, name + ".onnx")
        if name not in every:
            parser.error(f"no network {name}")
        try:
            if not os.path.exists(path):
                export(name, path)
            print(path)
        except ImportError as e:
            print(f"networks.py: {name}: {e}: apt-get install python3-torchvision", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
