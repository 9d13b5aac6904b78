"""The steps of table.py: which parts each needs, and what its figures are in a round.

A step's `values` takes the history, one dict of results by part for each round, and gives a triple (ours, peer, limit)
for each round, None where a figure is not known, and a note. Times are ms unless the title says otherwise.
"""
import json
import os
import statistics

from table_parts import Load, Missing, Once, Process, TOOL, call

NETWORKS = ("mobilenet_v2", "resnet50", "vgg16", "densenet121")
BATCHES = (1, 8)
OTHERS = (("deit_tiny", 1.0), ("bert_block", 1.0), ("conv1d", 1.2), ("conv3d", 1.2))
HOP_BYTES = 256 << 10
WAKE_UPS = 4  # client, broker, stage, broker, client: what an answer of the first exit wakes


def at_most(figure, of="ratio"):
    return (of, True, figure)


def at_least(figure, of="ours"):
    return (of, False, figure)


class Step:
    def __init__(self, name, title, unit, parts, value, wanted=None, note=None, peer=None):
        self.name, self.title, self.unit, self.wanted = name, title, unit, wanted
        self.parts, self.value, self.note, self.peer = parts, value, note, peer
        self.workshop = None

    def there(self, history):
        """The rounds in which all parts measured; the peer alone may be missing."""
        needs = [part for part in self.parts if part != self.peer or part not in self.workshop.missing]
        for part in needs:
            if part in self.workshop.missing:
                raise Missing(self.workshop.missing[part])
        return [r for r in history if all(r.get(part) for part in needs)]

    def values(self, history):
        rounds = self.there(history)
        note = self.note(rounds) if self.note and rounds else ""
        if self.peer in self.workshop.missing:
            note = "peer not measured: " + self.workshop.missing[self.peer]
        return [self.value(r) for r in rounds], note


class Worst(Step):
    """The case of the grid of look-ups with the highest ratio, or the one in the middle."""

    def __init__(self, name, title, rank):
        super().__init__(name, title, "us", ["limits", "flat"], None, at_most(1.0))
        self.rank = rank

    def values(self, history):
        rounds = self.there(history)
        cases = list(zip(*(r["flat"]["cases"] for r in rounds)))
        if not cases:
            return [], ""
        cases.sort(key=lambda of: statistics.median(c["ours"] / c["faiss"] for c in of))
        case = cases[round(self.rank * (len(cases) - 1))]
        first, same = case[0], min(c["same"] for of in cases for c in of)
        note = "d {d}, {points} points, k {k}, batch {batch}".format(**first)
        return [(c["ours"], c["faiss"], flat_us(c, r["limits"])) for c, r in zip(case, rounds)], \
            f"{note}; all {len(cases)}: {100 * same:.2f}% of the neighbours at least are the same"


def flat_us(case, limits):
    """All products of a batch with all points, or reading the points as halves once."""
    operations, size = 2 * case["d"] * case["points"] * case["batch"], 2 * case["d"] * case["points"]
    return max(operations / limits["float32"], size / limits["read"] if size > 1 << 24 else 0) / 1e3


def model_limit(result, limits, precision="float32"):
    """ms: its operations at the core's peak, or its weights through the core, whichever takes longer."""
    peak = limits.get(precision)
    return peak and max(result["flops"] / peak, result["bytes"] / limits["read"]) / 1e6


def steps_of(a, shop, instructions):
    time = "cpu" if a.cpu else "ms"
    shop.add("limits", lambda: Process(shop.program("bench_limits")))
    steps = compared(a, shop, time) if a.compare else \
        hops(shop) + stages(shop) + caches(a, shop, instructions) + precisions(a, shop, time, instructions) + \
        networks(a, shop, time) + look_ups(shop) + allocations(shop)
    for s in steps:
        s.workshop = shop
    return steps


# --- a model against ONNX Runtime ---

def against_ort(shop, name, title, ours, theirs, time, wanted=None, precision="float32"):
    def note(_):
        difference = shop.difference(ours, theirs) if precision == "float32" else None
        return "" if difference is None else f"largest difference {difference:.0e}"
    return Step(name, title, "ms", ["limits", ours, theirs],
                lambda r: (r[ours][time], r[theirs] and r[theirs][time], model_limit(r[ours], r["limits"], precision)),
                wanted, note, theirs)


def pair(shop, name, path, time, wanted, batch=1, *options):
    shop.model(name, path, "--batch", batch, *options)
    shop.ort("ort " + name, path, batch)
    return against_ort(shop, name, f"{name} float32", name, "ort " + name, time, wanted)


def compared(a, shop, time):
    return [pair(shop, os.path.basename(path), path, time, None, a.batch, "--kernels", a.kernels) for path in a.compare]


def networks(a, shop, time):
    def path(name):
        return os.path.join(a.networks, name + ".onnx")
    steps = [pair(shop, f"{name}/{batch}", path(name), time, at_most(1.0), batch)
             for name in NETWORKS for batch in BATCHES]
    names = [s.name for s in steps]
    middle = Step("networks", "the median of these ratios", "", [p for s in steps for p in s.parts],
                  lambda r: (statistics.median(r[n][time] / r["ort " + n][time] for n in names), None, None),
                  at_most(0.75, "ours"))
    return steps + [middle] + [pair(shop, name, path(name), time, at_most(most)) for name, most in OTHERS]


def precisions(a, shop, time, instructions):
    path = shop.model_path()
    title = os.path.splitext(os.path.basename(path))[0]
    amx, vnni, bf16 = instructions["AMX"], instructions["VNNI"], instructions["AVX-512 BF16"]
    shop.ort("ort", path)
    shop.model("bfloat16", path, "--precision", "bfloat16")
    shop.model("int8", path, "--precision", "int8", "--scales", shop.scales)
    shop.model("qdq", shop.qdq)
    shop.ort("ort qdq", shop.qdq)
    low16 = at_most(0.25 if amx else 0.5) if amx or bf16 else None
    low8 = at_most(0.12 if amx else 0.3) if amx or vnni else None
    steps = [
        against_ort(shop, "float32", f"{title} float32", "whole", "ort", time, at_most(0.6)),
        against_ort(shop, "bfloat16", f"{title} bfloat16, theirs float32", "bfloat16", "ort", time, low16, "bfloat16"),
        against_ort(shop, "int8", f"{title} int8, theirs float32", "int8", "ort", time, low8, "int8"),
        against_ort(shop, "qdq", f"{title} as a QDQ file, both in int8", "qdq", "ort qdq", time, at_most(0.8), "int8"),
    ]
    shop.add("agreement", lambda: Once(lambda: agreement(a, shop)))
    steps.append(Step("agreement", "int8 answers as float32", "%", ["agreement"],
                      lambda r: (100 * r["agreement"]["network_agreement"], None, None), at_least(98.5),
                      lambda rounds: f"{rounds[0]['agreement']['requests']} requests"))
    return steps


def agreement(a, shop):
    """Of the whole network, without caches, over all requests that were given."""
    if not a.data or not shop.pipelines():
        raise Missing("give --pipeline and --data")
    state = os.path.dirname(os.path.abspath(shop.scales()))
    return json.loads(call(TOOL, "eval", "-c", shop.pipelines()[0], "--set", "cache.kind=none", "--set",
                           "precision=int8", "--set", f"state={state}", "--data", a.data, "--threads", os.cpu_count(),
                           "--json"))


# --- between processes ---

def hop_limit(hop, limits):
    return hop["bare"] + HOP_BYTES / limits["read"] / 1e3


def hops(shop):
    for name, pause, count in (("hop", 0, 500), ("hop-idle", 3, 100)):
        shop.add(name, lambda pause=pause, count=count: Process(shop.program("bench_lane"), HOP_BYTES, pause, count))
    return [Step("hop", "256 KiB to the next process, peer ZeroMQ", "us", ["limits", "hop"],
                 lambda r: (r["hop"]["lane"], r["hop"]["zmq"], hop_limit(r["hop"], r["limits"])), at_most(25, "ours")),
            Step("hop-idle", "the same after 3 ms, peer a bare wake-up", "us", ["limits", "hop-idle"],
                 lambda r: (r["hop-idle"]["lane"], r["hop-idle"]["bare"], hop_limit(r["hop-idle"], r["limits"])),
                 at_most(1.3))]


def stages(shop):
    shop.model("whole", shop.model_path(), "--milliseconds", 1500)
    for n, options in ((4, ("--closed", "1", "--requests", "200")), (2, ("--closed", "16", "--duration", "2"))):
        shop.add(f"{n} stages", lambda n=n, options=options: Load(shop.bare(f"bare{n}", n), shop.data, *options))

    def quantile(name, of_whole):
        return lambda r: (r["4 stages"]["latency_ms"][name], r["whole"][of_whole], model_limit(r["whole"], r["limits"]))
    parts = ["limits", "whole", "4 stages"]
    return [Step("stages-p50", "4 stages, no caches, peer one process: p50", "ms", parts, quantile("p50", "ms"),
                 at_most(1.05)),
            Step("stages-p99", "the same: p99", "ms", parts, quantile("p99", "p99"), at_most(1.15)),
            Step("throughput", "2 stages, 16 in flight, peer one process", "1/s", ["whole", "2 stages"],
                 lambda r: (r["2 stages"]["achieved_rps"], 1e3 / r["whole"]["mean"], 2e3 / r["whole"]["mean"]),
                 at_least(1.85, "ratio"))]


# --- with caches ---

def caches(a, shop, instructions):
    steps = []
    for i, config in enumerate(shop.pipelines()):
        precision = shop.key(config, "precision") or "float32"
        name = "caches" + (str(i + 1) if i else "")
        shop.add(name, cached(shop, config, "--closed", "1", "--requests", "300"))
        shop.ort("ort", shop.model_path())
        steps.append(system(shop, name, precision, instructions))
        if not i:
            shop.add("caches-16", cached(shop, config, "--closed", "16", "--duration", "2"))
            steps += [first_exit(name), miss(name), busy()]
    return steps


def cached(shop, config, *options):
    return lambda: Load(shop.running(config), shop.data, *options, early=True)


def system(shop, name, precision, instructions):
    wanted = 0.25 if precision == "float32" else 0.08 if instructions["AMX"] else 0.15

    def value(r):
        answer, whole = r[name], r["whole"]
        limit = model_limit(whole, r["limits"]) * answer["parts_ms"]["compute"] / whole["mean"]
        return answer["latency_ms"]["mean"], r["ort"] and r["ort"]["mean"], limit if precision == "float32" else None

    def note(rounds):
        right = [r[name]["accuracy"] for r in rounds if r[name]["accuracy"] is not None]
        return f"{rounds[0][name]['pipeline']['promise'] or 'no promise'}" + \
            (f"; accuracy {100 * statistics.mean(right):.1f}%" if right else "")
    return Step("system" + name[6:], f"the whole system with caches, {precision}: mean", "ms",
                ["limits", "whole", "ort", name], value, at_most(wanted), note, "ort")


def total_ms(parts):
    return sum(parts.values())


def first_exit(name):
    def value(r):
        parts = r[name]["exits"][0]["parts_ms"]
        if parts["compute"] is None:
            return None
        beyond = total_ms(parts) - parts["compute"] - (r[name]["answering_lookup_ms"]["service"] or 0)
        return 1e3 * beyond, None, WAKE_UPS * r["hop"]["bare"]
    return Step("first-exit", "first exit: beyond computing and the look-up", "us", ["hop", name], value,
                at_most(150, "ours"), lambda rounds: f"{rounds[-1][name]['exits'][0]['answered']} of the last round")


def miss(name):
    def value(r):
        parts = r[name]["exits"][-1]["parts_ms"]
        return None if parts["compute"] is None else (100 * parts["lookup"] / total_ms(parts), None, 0)
    return Step("miss", "look-ups of a request that no cache answers", "%", [name], value, at_most(1, "ours"))


def busy():
    def value(r):
        load, cores = r["caches-16"], min(2, os.cpu_count())
        return 100 * load["computed_s"] / load["seconds"] / cores, None, 100
    return Step("busy", "16 in flight: share of two cores in the stages' threads", "%", ["caches-16"], value,
                at_least(90))


# --- the rest ---

def look_ups(shop):
    shop.add("flat", lambda: flat(shop))
    return [Worst("faiss-worst", "look-ups, peer FAISS flat: the worst of the grid", 1),
            Worst("faiss-median", "the same: the median", 0.5)]


def flat(shop):
    if not os.path.exists(shop.program("bench_flat")):
        raise Missing("apt-get install libfaiss-dev, then make bench-programs")
    return Process(shop.program("bench_flat"))


def allocations(shop):
    shop.model("whole, 2 threads", shop.model_path(), "--threads", 2)
    return [Step(f"allocations-{n}", f"allocations per inference, {n} thread{'s'[:n - 1]}", "", [part],
                 lambda r, part=part: (r[part]["allocations"], None, 0), at_most(0, "ours"),
                 lambda rounds, part=part: f"{rounds[0][part]['of_libraries']:g} of them in libraries")
            for n, part in ((1, "whole"), (2, "whole, 2 threads"))]
