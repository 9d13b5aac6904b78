#!/usr/bin/python3
"""A network and what `freezeline compress` made of it, in our engine and in ONNX Runtime, one core each.

    ORT=FOLDER tests/bench/compressed.py ORIGINAL.onnx COMPRESSED.onnx [ROUNDS]

Rounds go in turn; a round's figure is the CPU time of one run. The outputs of both engines on the same pseudo-random
inputs are compared. Without ONNX Runtime (npm install --prefix build/ort --ignore-scripts onnxruntime-node@1.30) only
ours is measured. Exit status 1: outputs differ.
"""
import argparse
import statistics
import sys
import tempfile

from table_parts import Workshop

ENGINES = ("ours", "ONNX Runtime")
ALLOWED = 1e-3  # of the largest number


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original")
    parser.add_argument("compressed")
    parser.add_argument("rounds", type=int, nargs="?", default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(given, folder)
        try:
            return measure(shop, given)
        finally:
            shop.close()


def measure(shop, given):
    cpu = {}
    for which, path in (("original", given.original), ("compressed", given.compressed)):
        shop.model(f"ours {which}", path, "--milliseconds", 300)
        shop.ort(f"ONNX Runtime {which}", path)
        cpu.update({f"{e} {which}": [] for e in ENGINES})
    for name in cpu:
        shop.start(name)
    for _ in range(given.rounds):
        for name, all_of_it in cpu.items():
            figures = shop.round(name)
            if figures:
                all_of_it.append(figures["cpu"])
    rc = 0
    print(f"{'':14}{'original ms':>14}{'compressed ms':>15}{'ratio':>8}")
    for engine in ENGINES:
        was, now = cpu[f"{engine} original"], cpu[f"{engine} compressed"]
        if was and now:
            ratio = statistics.median(b / a for a, b in zip(was, now))
            print(f"{engine:14}{statistics.median(was):14.3f}{statistics.median(now):15.3f}{ratio:8.2f}")
    for which in ("original", "compressed"):
        off = shop.difference(f"ours {which}", f"ONNX Runtime {which}")
        if off is not None:
            print(f"{which}: outputs of both engines differ by {off:.1e} of the largest number")
            rc |= off > ALLOWED
    for name, why in shop.missing.items():
        print(f"{name}: {why}", file=sys.stderr)
    return int(rc or not cpu["ours compressed"])


if __name__ == "__main__":
    sys.exit(main())
