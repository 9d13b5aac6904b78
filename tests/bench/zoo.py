#!/usr/bin/python3
"""Compare freezeline with ONNX Runtime on torchvision's networks.

    tests/bench/zoo.py [--only resnet18,vgg11] [--dir build/zoo] [--runs 20] [--freezeline build/freezeline]

Each network gets seeded random weights, BatchNorm statistics measured on noise (so that activations stay finite and
of ordinary size), and is exported to ONNX. The same input goes through ONNX Runtime and through `freezeline run
--expect`; `freezeline profile` gives the time. Printed per network: the largest difference of logits relative to the
largest logit, both times (median, batch 1, one thread), their ratio. Exit status 1 when a network fails or differs
by more than 1e-4.

Needs python3-torchvision, node and npm; onnxruntime-node is installed into build/onnxruntime (--ignore-scripts: the
package carries the CPU library). Exports take about 1.5 GB under --dir and are made once.
"""
import argparse
import json
import os
import subprocess
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ORT_VERSION = "1.30.0"
LIMIT = 1e-4
# name -> ONNX opset; three ages of exports
ZOO = {"resnet18": 13, "resnet34": 13, "resnet50": 11, "vgg11": 13, "vgg16": 13, "alexnet": 13, "squeezenet1_0": 13,
       "squeezenet1_1": 11, "googlenet": 13, "inception_v3": 13, "mobilenet_v2": 13, "mobilenet_v3_small": 16,
       "mobilenet_v3_large": 13, "densenet121": 13, "shufflenet_v2_x1_0": 13, "efficientnet_b0": 16,
       "efficientnet_b0_opset13": 13, "shufflenet_v2_x0_5": 11, "mobilenet_v2_opset16": 16}
NODE = r"""
const ort = require('onnxruntime-node'), fs = require('fs');
const [model, input, output, runs] = process.argv.slice(1);
(async () => {
  const s = await ort.InferenceSession.create(model, {intraOpNumThreads: 1, interOpNumThreads: 1});
  const raw = fs.readFileSync(input), side = Math.sqrt(raw.length / 12);
  const x = new ort.Tensor('float32', new Float32Array(raw.buffer, raw.byteOffset, raw.length / 4), [1, 3, side, side]);
  let y, ms = [];
  for (let i = 0; i < 3 + Number(runs); i++) {
    const t = process.hrtime.bigint();
    y = (await s.run({[s.inputNames[0]]: x}))[s.outputNames[0]];
    ms.push(Number(process.hrtime.bigint() - t) / 1e6);
  }
  fs.writeFileSync(output, Buffer.from(y.data.buffer, y.data.byteOffset, y.data.byteLength));
  ms = ms.slice(3).sort((a, b) => a - b);
  console.log(JSON.stringify({median_ms: ms[ms.length >> 1], min_ms: ms[0]}));
})().catch(e => { console.error(String(e)); process.exit(1); });
"""


def randomise(network, side):
    """Seeded BatchNorm parameters, then statistics as they are on noise."""
    import torch
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for m in norms:
        torch.nn.init.uniform_(m.weight, 0.7, 1.3)
        torch.nn.init.normal_(m.bias, 0.0, 0.2)
        m.momentum = None
    if norms:
        network.train()
        for m in network.modules():
            if isinstance(m, (torch.nn.Dropout, torch.nn.Dropout2d)):
                m.eval()
        with torch.no_grad():
            network(torch.randn(4, 3, side, side))
    return network.eval()


def export(name, path):
    import torch
    import torchvision
    torch.manual_seed(1)
    torch.set_num_threads(1)
    options = {"weights": None}
    base = name.split("_opset")[0]
    if base in ("googlenet", "inception_v3"):
        options.update(aux_logits=False, init_weights=False, transform_input=False)
    side = 299 if base == "inception_v3" else 224
    network = randomise(getattr(torchvision.models, base)(**options), side)
    torch.onnx.export(network, torch.zeros(1, 3, side, side), path + ".part", opset_version=ZOO[name],
                      input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}})
    os.rename(path + ".part", path)


def find_ort():
    folder = os.environ.get("ORT_DIR", os.path.join(ROOT, "build", "onnxruntime"))
    if not os.path.isdir(os.path.join(folder, "node_modules", "onnxruntime-node")):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--ignore-scripts", "--no-fund", "--no-audit", "--prefix", folder,
                        f"onnxruntime-node@{ORT_VERSION}"], check=True, stdout=subprocess.DEVNULL)
    return folder


def command_json(command, **more):
    """-> (JSON that it printed, or None; the last line of its errors)"""
    done = subprocess.run(command, capture_output=True, text=True, **more)
    error = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    try:
        return json.loads(done.stdout), error
    except ValueError:
        return None, error


def measure(name, args, ort):
    """-> dict with error, ms, ort_ms, or `failure`"""
    model = os.path.join(args.dir, name + ".onnx")
    if not os.path.exists(model):
        subprocess.run([sys.executable, os.path.abspath(__file__), "--export", name, "--dir", args.dir], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    side = 299 if name.startswith("inception") else 224
    x = np.random.RandomState(1).randn(1, 3, side, side).astype(np.float32)
    at = {k: os.path.join(args.dir, k) for k in ("x.npy", "x.raw", "y.npy", "y.raw")}
    np.save(at["x.npy"], x)
    x.tofile(at["x.raw"])
    theirs, why = command_json(["node", "-e", NODE, "--", model, at["x.raw"], at["y.raw"], str(args.runs)], cwd=ort)
    if not theirs:
        return {"failure": "ONNX Runtime: " + why}
    y = np.fromfile(at["y.raw"], np.float32).reshape(1, -1)
    np.save(at["y.npy"], y)
    ours, why = command_json([args.freezeline, "run", model, "--input", at["x.npy"], "--expect", at["y.npy"], "--json"])
    if not ours:
        return {"failure": why}
    error = ours["outputs"][0]["max_abs_error"]
    error = float("nan") if error is None else error / float(np.abs(y).max())
    profile, why = command_json([args.freezeline, "profile", model, "--threads", "1", "--batch", "1", "--runs",
                                 str(args.runs), "--json"])
    if not profile:
        return {"failure": f"error {error:.1e}, but no times: {why}"}
    return {"error": error, "ms": profile["median_ms"], "ort_ms": theirs["median_ms"], "largest": float(np.abs(y).max())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="networks, by name, with commas")
    parser.add_argument("--dir", default=os.path.join(ROOT, "build", "zoo"))
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--freezeline", default=os.path.join(ROOT, "build", "freezeline"))
    parser.add_argument("--export", help=argparse.SUPPRESS)
    parser.add_argument("--export-all", action="store_true", help="make the ONNX files, nothing else")
    args = parser.parse_args()
    args.dir = os.path.abspath(args.dir)
    os.makedirs(args.dir, exist_ok=True)
    names = args.only.split(",") if args.only else list(ZOO)
    if args.export:
        return export(args.export, os.path.join(args.dir, args.export + ".onnx"))
    if args.export_all:
        for name in names:
            if not os.path.exists(os.path.join(args.dir, name + ".onnx")):
                subprocess.run([sys.executable, os.path.abspath(__file__), "--export", name, "--dir", args.dir])
        return 0
    ort, bad = find_ort(), 0
    print(f"| {'network':<24} | opset |   error | freezeline ms | ONNX Runtime ms | ratio |")
    print("|" + "-" * 26 + "|------:|--------:|--------------:|----------------:|------:|")
    for name in names:
        r = measure(name, args, ort)
        if "failure" in r:
            print(f"| {name:<24} | {ZOO[name]:>5} | {r['failure']}")
        else:
            print(f"| {name:<24} | {ZOO[name]:>5} | {r['error']:.1e} | {r['ms']:>13.2f} | {r['ort_ms']:>15.2f} |"
                  f" {r['ms'] / r['ort_ms']:>5.2f} |")
        bad += "failure" in r or not r["error"] <= LIMIT
        sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
