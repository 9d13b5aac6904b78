#!/usr/bin/python3
"""Train the demo's network and export it as ONNX.

    freezeline generate --count 200000 --seed 1 --morph-from 0.1 --output train.bin
    freezeline generate --count 10000 --seed 2 --output test.bin
    configs/demo/train.py --train train.bin --test test.bin --output configs/demo/demo.onnx

Needs Debian 12's python3-torch, python3-onnx and python3-numpy. A CIFAR-style residual network: 3x3 stem, then eight
basic blocks of 24, 24, 24, 48, 48, 48, 96, 96 channels (0.44 M parameters). One pass over pictures with somewhat
gentler morphs than those that are served; one thread, nine minutes of one core; products in bfloat16, weights in
float32. demo.onnx was made so, with seed 1: 92.9% on test.bin. The caches' data (deploy/scripts/demo.sh) have other seeds,
so the network has seen none of them.
"""
import argparse
import json
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

MEAN, STD = 128.0, 64.0  # of every channel; demo.yaml says the same
BLOCKS = [(24, 1), (24, 1), (24, 1), (48, 2), (48, 1), (48, 1), (96, 2), (96, 1)]  # channels, stride


class Block(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity()
        if stride != 1 or before != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False),
                                          nn.BatchNorm2d(channels))

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class Network(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        channels = BLOCKS[0][0]
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
        blocks = []
        for width, stride in BLOCKS:
            blocks.append(Block(channels, width, stride))
            channels = width
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def read_records(path):
    """-> images uint8 [n,3,32,32], labels int64 [n]"""
    records = np.memmap(path, np.uint8, "r").reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32), torch.from_numpy(records[:, 0].astype(np.int64))


def normalised(images):
    x = torch.from_numpy(np.ascontiguousarray(images)).float()
    return ((x - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def train(network, images, labels, epochs, batch, peak):
    steps = epochs * (len(labels) // batch)
    optimiser = torch.optim.SGD(network.parameters(), lr=peak, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps, pct_start=0.2)
    network.train()
    step, start, right = 0, time.time(), 0.0
    for _ in range(epochs):
        order = np.random.permutation(len(labels))
        for at in range(0, len(order) - batch + 1, batch):
            pick = np.sort(order[at:at + batch])
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = network(normalised(images[pick])).float()
            loss = F.cross_entropy(logits, labels[pick])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            step += 1
            right += (logits.argmax(1) == labels[pick]).float().mean().item()
            if step % 100 == 0:
                print(f"step {step}/{steps}  accuracy {right:.1f}%  {time.time() - start:.0f} s", flush=True)
                right = 0.0


def accuracy(network, images, labels):
    network.eval()
    right = 0
    with torch.no_grad():
        for at in range(0, len(labels), 500):
            right += (network(normalised(images[at:at + 500])).argmax(1) == labels[at:at + 500]).sum().item()
    return right / len(labels)


def export(network, path):
    network.eval()
    torch.onnx.export(network.to(memory_format=torch.contiguous_format), torch.zeros(1, 3, 32, 32), path,
                      opset_version=13, input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--weights", help="keep the unfolded weights here as well (for probes)")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--peak", type=float, default=0.1, help="largest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    network = Network().to(memory_format=torch.channels_last)
    start = time.time()
    train(network, *read_records(args.train), args.epochs, args.batch, args.peak)
    test = accuracy(network, *read_records(args.test))
    if args.weights:
        torch.save(network.state_dict(), args.weights)
    export(network, args.output)
    print(json.dumps({"seed": args.seed, "epochs": args.epochs, "batch": args.batch, "test_accuracy": test,
                      "parameters": sum(p.numel() for p in network.parameters()),
                      "seconds": round(time.time() - start)}))


if __name__ == "__main__":
    main()
