#!/usr/bin/python3
"""How late our alarm is against MAPIE's risk monitoring (Podkopaev and Ramdas 2022) on the same streams of audits.

    tests/bench/alarm_mapie.py MAPIE [--streams 100] [--program build/release/tests/bench/bench_alarm]

MAPIE is a checkout of scikit-learn-contrib/MAPIE; of it risk_monitoring.py runs, and what that imports. Its threshold
is the budget. It spends half of test_level on the reference, and half of the rest on the bound's other side; so that
all of it watches, as ours does, test_level is four times delta. With --documented it is delta, as its manual says.

RiskMonitoring.update computes the bounds of all audits anew each time. Here a bound is computed only where it can
exceed the threshold, which takes seconds instead of days; on --whole streams of each kind RiskMonitoring itself runs
and must say the same. A stream in which it never alarms counts as if it did at the end.

Needs Debian's python3-numpy and python3-scipy.
"""
import argparse
import importlib
import os
import subprocess
import sys
import types
import warnings

import numpy

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def load_mapie(path):
    """Modules without the packages' __init__, which import scikit-learn."""
    for name in ("mapie", "mapie.risk_control", "mapie.exchangeability_testing"):
        package = types.ModuleType(name)
        package.__path__ = [os.path.join(path, *name.split("."))]
        sys.modules[name] = package
    return (importlib.import_module("mapie.exchangeability_testing.risk_monitoring").RiskMonitoring,
            importlib.import_module("mapie.exchangeability_testing.bounds").GammaExponentialMixtureBound)


def by_class(monitoring, loss, budget, level):
    """The first audit after which it sees a harmful shift, counted from 1; None: never."""
    watch = monitoring("accuracy", test_level=level, threshold=budget, warn=False)
    watch.update(numpy.zeros(len(loss), dtype=int), loss)
    over = numpy.nonzero(watch.online_risk_lower_bound_sequence_history > budget)[0]
    return int(over[0]) + 1 if len(over) else None


def by_bound(mixture_class, loss, budget, level):
    """The same: the bound grows with the variance seen, so a mean that the last bound allows needs no new one."""
    alpha = level / 2
    mixture = mixture_class(v_opt=1, c=1, alpha_opt=alpha / 2)
    number = numpy.arange(1, len(loss) + 1)
    mean = numpy.cumsum(loss) / number
    variance = numpy.cumsum((loss - numpy.append(0.5, mean[:-1])) ** 2)
    excess = (mean - budget) * number
    start, known = 0, 0.0
    while True:
        over = numpy.nonzero(excess[start:] > known)[0]
        if not len(over):
            return None
        start += int(over[0])
        known = mixture(v=float(variance[start]), alpha=alpha / 2)
        if mean[start] - known / number[start] > budget:
            return start + 1


def read(program, streams):
    for line in subprocess.run([program, str(streams)], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
        head, lost = line.split(":")
        budget, delta, change, after, audits, delay, since = (float(x) for x in head.split())
        loss = numpy.zeros(int(audits), dtype=int)
        loss[[int(x) for x in lost.split()]] = 1
        yield budget, delta, int(change), after, loss, int(delay), int(since)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mapie")
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--whole", type=int, default=1)
    parser.add_argument("--documented", action="store_true")
    parser.add_argument("--program", default=os.path.join(ROOT, "build/release/tests/bench/bench_alarm"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    monitoring, mixture = load_mapie(args.mapie)
    kinds = {}
    for budget, delta, change, after, loss, ours, since in read(args.program, args.streams):
        level = delta if args.documented else 4 * delta
        kind = kinds.setdefault((change, after), [])
        theirs = by_bound(mixture, loss, budget, level)
        if len(kind) < args.whole:
            short = loss[:min(len(loss), theirs or len(loss)) + 100][:8000]
            assert by_class(monitoring, short, budget, level) == (theirs if theirs and theirs <= len(short) else None)
        kind.append((ours if ours > 0 else len(loss) if ours == -1 else None,
                     None if theirs and theirs <= change else (theirs or len(loss)) - change, since - change))
    print("change after   ours  theirs  ratio   blamed (10%, 50%, 90%)  false alarms (ours, theirs)")
    ratios = []
    for (change, after), kind in kinds.items():
        both = [k for k in kind if k[0] is not None and k[1] is not None]
        ours, theirs = (float(numpy.median([k[i] for k in both])) for i in (0, 1))
        ratios += [k[0] / k[1] for k in both]
        blamed = numpy.percentile([k[2] for k in both], (10, 50, 90))
        print("%6d %5g %6.0f %7.0f %6.2f   %6.0f %6.0f %6.0f   %d %d" % (
            change, after, ours, theirs, ours / theirs, *blamed, sum(k[0] is None for k in kind),
            sum(k[1] is None for k in kind)))
    print("median over all streams of ours / theirs: %.3f" % numpy.median(ratios))


if __name__ == "__main__":
    main()
