"""The parts of table.py: processes that measure one thing, a round at a time.

A part is started once and measures whenever it is told to. `round` gives a dict of figures, with what the part said
when it was ready; Missing says why there are none, and stays said.
"""
import array
import json
import os
import re
import select
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("FREEZELINE_BUILD", os.path.join(ROOT, "build", "release"))
TOOL = os.path.join(BUILD, "freezeline")
PATIENCE_S = 180


class Missing(Exception):
    """Why something is not measured, and what to do."""


def last_line(text):
    return (text.strip().splitlines() or ["no word why"])[-1]


def call(*command):
    """-> what the command printed"""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Missing(last_line(done.stderr or done.stdout))
    return done.stdout


class Process:
    """A program that prints a line of JSON when ready and one for each line that it reads (rounds.h)."""

    def __init__(self, *command, env=None):
        self.command, self.env, self.child = [str(c) for c in command], env, None

    def start(self):
        if not os.path.exists(self.command[0]) and os.sep in self.command[0]:
            raise Missing(f"{os.path.basename(self.command[0])} was not built")
        self.errors = open(os.path.join(self.folder, f"{id(self)}.err"), "w+")
        self.child = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                      text=True, env={**os.environ, **(self.env or {})})
        self.ready = self.line()

    def line(self):
        there = select.select([self.child.stdout], [], [], PATIENCE_S)[0]
        text = self.child.stdout.readline() if there else ""
        if not text:
            self.errors.seek(0)
            raise Missing(last_line(self.errors.read()) if there else "no answer")
        return json.loads(text)

    def round(self):
        try:
            self.child.stdin.write("\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            pass
        return {**self.ready, **self.line()}

    def stop(self):
        """The end of its input is the end, and it cleans up."""
        if self.child:
            self.child.stdin.close()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class Pipeline:
    """A pipeline that is up as long as a part needs it; one that was up before stays so."""

    def __init__(self, config):
        self.config, self.state = config, None

    def up(self):
        if self.state:
            return
        if subprocess.run([TOOL, "status", "-c", self.config], capture_output=True).returncode == 0:
            self.state = "was up"
            return
        call(TOOL, "up", "-c", self.config)
        self.state = "up"

    def down(self):
        if self.state == "up":
            subprocess.run([TOOL, "down", "-c", self.config], capture_output=True)


def computed_ns(pids):
    """CPU time of these processes' threads, but for those of ZeroMQ that only move messages."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/comm") as name, open(f"/proc/{pid}/task/{task}/schedstat") as times:
                total += 0 if name.read().startswith("ZMQ") else int(times.read().split()[0])
    return total


class Load:
    """Some requests to a pipeline with `freezeline bench`; its document, and what the stages computed meanwhile."""

    def __init__(self, pipeline, data, *options, early=False):
        self.pipeline, self.data, self.options, self.early, self.rounds = pipeline, data, options, early, 0

    def bench(self, *options):
        return json.loads(call(TOOL, "bench", "-c", self.pipeline.config, "--data", self.data(), "--json", *options))

    def start(self):
        self.pipeline.up()
        warm = self.bench(*self.options)
        if self.early and not sum(x["answered"] for x in warm["exits"][:-1]):
            raise Missing("no cache answers: `make demo` builds those of the demo, `freezeline build` others")
        self.stages = [p["pid"] for p in warm["processes"] if p["role"] == "stage" and p["pid"]]

    def round(self):
        before = computed_ns(self.stages)
        self.rounds += 1
        document = self.bench("--no-warm-up", "--traffic", "shuffled", "--seed", str(self.rounds), *self.options)
        if document["errors"]:
            raise Missing(f"{document['errors']} requests failed")
        return {**document, "computed_s": (computed_ns(self.stages) - before) / 1e9}

    def stop(self):
        self.pipeline.down()


class Once:
    """What takes long and does not vary: a function that is called in the first round."""

    def __init__(self, function):
        self.function, self.result = function, None

    def start(self):
        pass

    def round(self):
        self.result = self.result or self.function()
        return self.result

    def stop(self):
        pass


class Workshop:
    """Makes parts by name, starts them, remembers what is missing."""

    def __init__(self, arguments, folder):
        self.arguments, self.folder = arguments, folder
        self.makers, self.parts, self.missing = {}, {}, {}
        self.generated, self.calibrated, self.up = None, False, {}

    def add(self, name, make):
        """`make` gives a part, or raises Missing."""
        self.makers.setdefault(name, make)

    def attempt(self, name, action):
        if name in self.missing:
            return None
        try:
            return action()
        except (Missing, OSError, ValueError, KeyError) as e:
            self.missing[name] = str(e)
            return None

    def start(self, name):
        def begin():
            part = self.makers[name]()
            part.folder = self.folder
            self.parts[name] = part
            part.start()
        self.attempt(name, begin)

    def round(self, name):
        return self.attempt(name, lambda: self.parts[name].round())

    def close(self):
        for part in self.parts.values():
            part.stop()

    # --- what parts are made of ---

    def program(self, name):
        return os.path.join(BUILD, "tests", "bench", name)

    def data(self):
        """The requests: those that were given, or pictures that are drawn now."""
        if self.arguments.data:
            return self.arguments.data
        if not self.generated:
            path = os.path.join(self.folder, "pictures.bin")
            call(TOOL, "generate", "--count", 2000, "--output", path)
            self.generated = "cifar10:" + path
        return self.generated

    def output(self, name):
        return os.path.join(self.folder, re.sub(r"\W", "_", name) + ".raw")

    def model(self, name, path, *options):
        """bench_model of this file; options that are functions are asked when it starts, and so is the path."""
        def make():
            at, *given = [x() if callable(x) else x for x in (path, *options)]
            if not os.path.exists(at):
                raise Missing(f"{os.path.basename(at)} is not there: tests/bench/networks.py makes it")
            return Process(self.program("bench_model"), at, "--output", self.output(name), *given)
        self.add(name, make)

    def ort(self, name, path, batch=1):
        """ONNX Runtime on this file."""
        def make():
            at = path() if callable(path) else path
            folder = os.environ.get("ORT", os.path.join(ROOT, "build", "ort"))
            modules = os.path.join(folder, "node_modules")
            if not os.path.isdir(os.path.join(modules, "onnxruntime-node")):
                raise Missing("npm install --prefix build/ort --ignore-scripts onnxruntime-node@1.30 (or ORT=FOLDER)")
            script = os.path.join(ROOT, "tests", "bench", "bench_ort.js")
            return Process("node", script, at, batch, 300, self.output(name), env={"NODE_PATH": modules})
        self.add(name, make)

    def difference(self, ours, theirs):
        """Of their outputs, relative to the largest number."""
        both = []
        for name in (ours, theirs):
            values = array.array("f")
            try:
                with open(self.output(name), "rb") as f:
                    values.frombytes(f.read())
            except (OSError, ValueError):
                return None
            both.append(values)
        if len(both[0]) != len(both[1]) or not both[0]:
            return None
        largest = max(abs(y) for y in both[1])
        return max(abs(x - y) for x, y in zip(*both)) / largest if largest else None

    def bare(self, name, stages):
        """A pipeline of the model without caches, cut into so many stages."""
        config = os.path.join(self.folder, name + ".yaml")
        text = f"model: {self.model_path()}\nname: {name}\nstate: {self.folder}/{name}\n{self.input_section()}"
        with open(config, "w") as f:
            f.write(text + "exits: none\ncache: {kind: none}\nstages:\n" + "  - {threads: 1}\n" * stages)
        call(TOOL, "plan", "-c", config, "--stages", stages)
        return Pipeline(config)

    def running(self, config):
        """The pipeline of this file, which several parts may ask."""
        return self.up.setdefault(config, Pipeline(config))

    # --- the pipeline file, as far as it matters here ---

    def pipelines(self):
        demo = os.path.join(ROOT, "configs", "demo", "demo-learned.yaml")
        return self.arguments.pipeline or ([] if self.arguments.model else [demo])

    def key(self, config, name):
        """A value at the top of the file, None where it is not there."""
        with open(config) as f:
            found = re.search(rf"^{name}:[ \t]*([^#\n]*?)[ \t]*(#.*)?$", f.read(), re.M)
        return found and found.group(1).strip("\"'")

    def path_key(self, config, name):
        value = self.key(config, name)
        return value and os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(config)), value))

    def input_section(self):
        if not self.pipelines():
            return ""
        with open(self.pipelines()[0]) as f:
            found = re.search(r"^input:.*\n([ \t].*\n)*", f.read(), re.M)
        return found.group(0) if found else ""

    def model_path(self):
        own = self.arguments.model
        return os.path.abspath(own) if own else self.path_key(self.pipelines()[0], "model")

    def calibrate(self):
        """Scales and a QDQ file of the first pipeline's network, where there is data to choose them from."""
        if not (self.arguments.calibrate and self.pipelines()):
            return
        if not self.calibrated:
            self.calibrated = True
            call(TOOL, "quantize", "-c", self.pipelines()[0], "--set", f"state={self.folder}/int8", "--data",
                 self.arguments.calibrate, "--output", os.path.join(self.folder, "qdq.onnx"))

    def scales(self):
        state = self.pipelines() and self.path_key(self.pipelines()[0], "state")
        self.calibrate()
        for path in (self.arguments.scales, f"{self.folder}/int8/scales.txt", state and f"{state}/scales.txt"):
            if path and os.path.exists(path):
                return path
        raise Missing("no scales: give --calibrate DATA, or --scales of `freezeline quantize`")

    def qdq(self):
        self.calibrate()
        for path in (self.arguments.qdq, os.path.join(self.folder, "qdq.onnx")):
            if path and os.path.exists(path):
                return path
        raise Missing("no QDQ file: give --calibrate DATA, or --qdq of `freezeline quantize --output`")
