#!/usr/bin/python3
"""Print step, ours, peer, limit and ratio for what Freezeline wants to be fast at.

    tests/bench/table.py [--pipeline P.yaml ...] [--data D] [--calibrate D] [--only STEP,...] [--rounds N] ...
    tests/bench/table.py --compare M.onnx ...                     only these models against ONNX Runtime

All steps take part in one run: each round lets every part (a process that measures one thing) measure once, in turn,
so that whatever else the machine does meets ours and the peer alike. Printed are medians over the rounds, and the
range of the ratio or of the figure that is wanted. A step's limit is computed: FLOPs at the core's measured peak or
weights at its measured bandwidth, whichever takes longer; bytes and bare wake-ups. Where a peer, a network or data is
not there, the table says so, and what to install or to give. The defaults take about ten minutes; run it on a quiet
machine.

Without options the embedded network is measured, with the caches that `make demo` leaves behind. For a network of yours
give a pipeline file whose caches are built (--pipeline; twice where float32 and a lower precision have files of their
own), requests (--data), and pictures that no network has seen (--calibrate), from which int8 gets its scales.

Needs `make bench-programs` first; ONNX Runtime for Node and FAISS are optional.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time

from table_parts import BUILD, Missing, ROOT, Workshop
from table_steps import steps_of


def progress(text):
    """One line that changes, or one for each where nobody looks."""
    start, end = ("\r\033[K", "") if sys.stderr.isatty() else ("", "\n")
    print(start + text, end=end, file=sys.stderr, flush=True)


def flags():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith(("flags", "Features")):
                return set(line.split(":")[1].split())
    return set()


def machine():
    with open("/proc/cpuinfo") as f:
        names = [line.split(":")[1].strip() for line in f if line.startswith("model name")]
    have = flags()
    instructions = [(name, any(flag in have for flag in of)) for name, of in
                    (("AMX", ("amx_int8",)), ("VNNI", ("avx512_vnni", "avx_vnni")), ("AVX-512 BF16", ("avx512_bf16",)))]
    return {"cpu": names[0] if names else os.uname().machine, "cores": os.cpu_count(),
            "instructions": dict(instructions)}


def number(x):
    """Three digits that say something."""
    if x is None:
        return "-"
    if x == 0:
        return "0"
    digits = max(0, 2 - int(f"{abs(x):e}".split("e")[1]))
    return f"{x:,.{min(digits, 4)}f}"


def spread(values):
    return f"{number(statistics.median(values))} [{number(min(values))} .. {number(max(values))}]"


def result_of(step, history):
    """-> dict of a row; `why` where nothing was measured"""
    row = {"step": step.name, "what": step.title, "unit": step.unit}
    try:
        triples, row["note"] = step.values(history)
    except Missing as e:
        return {**row, "why": str(e)}
    triples = [t for t in triples if t and t[0] is not None]
    if not triples:
        return {**row, "why": "no figures: " + (row["note"] or "nothing was answered")}
    columns = [[t[i] for t in triples if t[i] is not None] for i in range(3)]
    row["ratios"] = [t[0] / t[1] for t in triples if t[1]]
    row["all"] = columns[0]
    row["ours"], row["peer"], row["limit"] = [statistics.median(c) if c else None for c in columns]
    row["ratio"] = statistics.median(row["ratios"]) if row["ratios"] else None
    if step.wanted:
        of, most, figure = step.wanted
        value = row[of]
        row["wanted"] = f"{of} {'<=' if most else '>='} {number(figure)}"
        row["met"] = None if value is None else value <= figure if most else value >= figure
    return row


def lines_of(rows):
    yield ["step", "ours", "peer", "limit", "ratio", "wanted"]
    for r in rows:
        title = r["what"] + (f", {r['unit']}" if r["unit"] else "")
        if "why" in r:
            yield [title, "not measured: " + r["why"]]
            continue
        ratio = spread(r["ratios"]) if r["ratios"] else "-"
        ours = number(r["ours"]) if r["ratios"] else spread(r["all"])
        verdict = {None: "", True: " met", False: " MISSED"}[r.get("met")]
        wanted = r.get("wanted", "") + verdict + (f"  ({r['note']})" if r["note"] else "")
        yield [title, ours, number(r["peer"]), number(r["limit"]), ratio, wanted]


def print_table(rows):
    lines = list(lines_of(rows))
    width = [max(len(line[i]) for line in lines if len(line) > 2) for i in range(6)]
    width[0] = max(len(line[0]) for line in lines)
    for line in lines:
        cells = [line[0].ljust(width[0])]
        cells += [c.rjust(w) for c, w in zip(line[1:5], width[1:5])] if len(line) > 2 else line[1:]
        print("  ".join(cells + line[5:]).rstrip())


def print_machine(m, history):
    limits = [r["limits"] for r in history if r.get("limits")]
    engines = sorted({part["engine"] for r in history for part in r.values() if part and "engine" in part})
    have = ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in m["instructions"].items())
    print(f"{m['cpu']}, {m['cores']} cores; {have}")
    if engines:
        print("; ".join(engines))
    if limits:
        middle = {k: statistics.median(r[k] for r in limits) for k in ("float32", "bfloat16", "int8", "read")
                  if limits[0].get(k)}
        print("one core, 10^9 operations per second: " +
              ", ".join(f"{k} {number(v)}" for k, v in middle.items() if k != "read") +
              f"; reads {number(middle['read'])} GB/s")
    print()


def measure(workshop, names, rounds):
    """Starts the parts, then lets each measure in turn. -> a dict {part: result} for each round"""
    history, began = [], time.monotonic()
    for i, name in enumerate(names):
        progress(f"{i + 1}/{len(names)} starting {name}")
        workshop.start(name)
    for i in range(rounds):
        found = {}
        for k, name in enumerate(names if i % 2 == 0 else reversed(names)):
            seconds = time.monotonic() - began
            progress(f"round {i + 1}/{rounds}, {k + 1}/{len(names)} {name}, {seconds:.0f} s")
            found[name] = workshop.round(name)
        history.append(found)
        yield history


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", metavar="M.onnx", help="the network (that of the first pipeline)")
    p.add_argument("--pipeline", metavar="P.yaml", action="append", default=[], help="with built caches")
    p.add_argument("--data", metavar="D", help="requests, as `freezeline bench` takes them (pictures, generated)")
    p.add_argument("--calibrate", metavar="D", help="makes scales and a QDQ file first, which takes a minute or two")
    p.add_argument("--scales", metavar="FILE", help="of int8 instead (STATE/scales.txt of the first pipeline)")
    p.add_argument("--qdq", metavar="FILE.onnx", help="what `freezeline quantize --output` wrote, instead")
    p.add_argument("--networks", metavar="DIR", default=os.path.join(ROOT, "build", "networks"),
                   help="what networks.py made (build/networks)")
    p.add_argument("--compare", metavar="M.onnx", nargs="+", default=[], help="only these models")
    p.add_argument("--kernels", default="auto", help="of --compare: auto, onednn, openblas or reference")
    p.add_argument("--batch", type=int, default=1, help="of --compare")
    p.add_argument("--only", metavar="STEP", action="append", default=[], help="steps by the beginning, with commas")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--cpu", action="store_true", help="models by CPU time, for a machine with other work")
    p.add_argument("--json", action="store_true", help="machine-readable output")
    p.add_argument("--list", action="store_true", help="the names of the steps")
    a = p.parse_args()
    if a.rounds < 1:
        p.error("--rounds is at least 1")
    a.only = [name for text in a.only for name in text.split(",")]
    return a


def chosen(steps, only):
    unknown = [name for name in only if not any(s.name.startswith(name) for s in steps)]
    if unknown:
        sys.exit(f"table.py: no step {unknown[0]}; --list names them")
    return [s for s in steps if not only or any(s.name.startswith(name) for name in only)]


def main():
    a = arguments()
    for text in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, text), lambda *_: sys.exit(1))
    if not os.path.exists(os.path.join(BUILD, "tests", "bench", "bench_model")):
        sys.exit("table.py: build the parts first: make bench-programs")
    folder, history = tempfile.mkdtemp(prefix="freezeline-table-"), []
    facts = machine()
    workshop = Workshop(a, folder)
    try:
        steps = chosen(steps_of(a, workshop, facts["instructions"]), a.only)
        if a.list:
            print("\n".join(f"{s.name:<24} {s.title}" for s in steps))
            return 0
        names = list(dict.fromkeys(name for s in steps for name in s.parts))
        try:
            for history in measure(workshop, names, a.rounds):
                pass
            progress("done\n" if sys.stderr.isatty() else "done")
        except KeyboardInterrupt:
            progress("\ninterrupted: what follows is of the rounds that were complete\n")
        rows = [result_of(s, history) for s in steps]
    finally:
        workshop.close()
        shutil.rmtree(folder, ignore_errors=True)
    if a.json:
        limits = [r.get("limits") for r in history]
        print(json.dumps({"machine": facts, "rounds": len(history), "limits": limits, "steps": rows}, indent=2))
    else:
        print_machine(facts, history)
        print_table(rows)
    return 0 if history else 1


if __name__ == "__main__":
    sys.exit(main())
