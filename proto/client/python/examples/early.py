#!/usr/bin/env python3
"""Send pictures to a pipeline and draw where they left.

    early.py http://127.0.0.1:8000 [PICTURE ..] [--plot early.svg]

A notebook as a script: Jupyter (by jupytext) and editors run it cell by cell, Python from top to bottom. Without
PICTUREs, 64 inputs of random numbers are sent. It needs the package and numpy alone; the plot is an SVG file.
"""
# %% What to ask, and whom
import argparse
import collections
from html import escape

import numpy as np

from freezeline import Client

options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
options.add_argument("address")
options.add_argument("picture", nargs="*")
options.add_argument("--plot", metavar="FILE.svg", help="draw there")
options = options.parse_args()

# %% Ask: pictures as they are, or rows of numbers in one request
with Client(options.address) as client:
    model = client.model()
    if options.picture:
        answers = [client.infer(p) for p in options.picture]
    else:
        shape = model.inputs[0].shape[1:]
        answers = client.infer_batch(np.random.default_rng(1).normal(size=(64, *shape)).astype(np.float32))

# %% Where they left, and how long that took at the broker
left = collections.defaultdict(list)
for a in answers:
    left[f"exit {a.exit}" if a.early else "whole network"].append(a)
for place in sorted(left):
    times = np.median([a.time_ms for a in left[place]])
    print(f"{place:15} {len(left[place]):4} {'#' * round(40 * len(left[place]) / len(answers)):40} {times:8.2f} ms")


# %% The same as a plot: a dot for each answer, by the time that it took
def plot(title, width=640, row=44, side=130):
    slowest = max(a.time_ms for a in answers) or 1
    height = row * (len(left) + 1) + 30
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
           f'font-size="13"><rect width="100%" height="100%" fill="white"/><text x="12" y="24">{escape(title)}</text>']
    for i, place in enumerate(sorted(left)):
        y = row * (i + 1) + 12
        svg.append(f'<text x="12" y="{y + 4}">{place}</text>'
                   f'<line x1="{side}" x2="{width - 20}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        for a in left[place]:
            x = side + (width - side - 20) * a.time_ms / slowest
            svg.append(f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{"#0b7a75" if a.early else "#5a4fcf"}" '
                       f'fill-opacity="0.5"><title>{escape(a.name or str(a.label))}, {a.time_ms:.2f} ms</title></circle>')
    svg.append(f'<text x="{side}" y="{height - 10}">0</text>'
               f'<text x="{width - 20}" y="{height - 10}" text-anchor="end">{slowest:.1f} ms at the broker</text></svg>')
    return "\n".join(svg)


drawing = plot(f"{model.name}: where {len(answers)} requests left, and when")
if options.plot:
    with open(options.plot, "w", encoding="utf-8") as out:
        out.write(drawing)
