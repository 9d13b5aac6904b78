#!/usr/bin/env python3
"""Send pictures to a pipeline and draw where they left.

    early.py http://127.0.0.1:8000 PICTURE.. --plot early.svg

Without PICTUREs, 64 inputs of random numbers are sent. --plot wants matplotlib, and draws a file of the kind that its
name says.
"""
import argparse
import collections

import numpy as np

from freezeline import Client


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("address")
    options.add_argument("picture", nargs="*")
    options.add_argument("--plot", help="draw there (needs matplotlib)")
    options = options.parse_args()

    with Client(options.address) as client:
        shape = client.model().inputs[0].shape[1:]
        if options.picture:
            answers = [client.infer(p) for p in options.picture]
        else:
            answers = client.infer_batch(np.random.default_rng(1).normal(size=(64, *shape)).astype(np.float32))

    left = collections.Counter(f"exit {a.exit}" if a.early else "whole network" for a in answers)
    times = {k: np.median([a.time_ms for a in answers if k == (f"exit {a.exit}" if a.early else "whole network")])
             for k in left}
    for place in sorted(left):
        print(f"{place:15} {left[place]:4} {'#' * round(40 * left[place] / len(answers)):40} {times[place]:8.2f} ms")
    if options.plot:
        from matplotlib import pyplot
        pyplot.bar(sorted(left), [left[k] for k in sorted(left)])
        pyplot.ylabel("answers")
        pyplot.savefig(options.plot)


main()
