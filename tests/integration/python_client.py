"""The Python package against a real pipeline: python_client.py http://HOST:PORT FOLDER (for files)."""
import asyncio
import os
import subprocess
import sys
from xml.etree import ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.join(HERE, "../../proto/client/python")
sys.path.insert(0, PACKAGE)

import numpy as np

from freezeline import AsyncClient, Client, FreezelineError
from pictures import png

URL, FOLDER = sys.argv[1:]


def fails(call, *arguments, error=FreezelineError, says=""):
    try:
        call(*arguments)
    except error as e:
        assert says in str(e), e
        return e
    raise AssertionError(f"{call} did not fail")


async def together(rows):
    async with AsyncClient(URL, timeout=30) as client:
        same = [n for n in dir(Client) if n[0] != "_" and n != "close"]
        assert all(asyncio.iscoroutinefunction(getattr(client, n)) for n in same), same
        assert await client.live() and await client.ready() and (await client.model()).name == await client.name()
        assert "freezeline_up" in await client.metrics()
        assert [a.exit for a in await client.infer_batch(rows, exits=False)] == [-1] * len(rows)
        return await asyncio.gather(*(client.infer(r) for r in rows))


def main():
    rows = np.random.default_rng(7).normal(size=(5, 3, 32, 32)).astype(np.float32)
    with Client(URL, timeout=30) as client:
        model = client.model()
        assert client.live() and client.ready() and model.inputs[0].shape == (-1, 3, 32, 32), model
        alone = [client.infer(r) for r in rows]
        batch = client.infer_batch(rows)
        full = client.infer_batch(list(rows), exits=False)
        full += client.infer_batch(rows, priority=1, max_accuracy_loss=0)
        assert all(a.exit == -1 and not a.early and not a.one_hot for a in full)
        for a, b, f, t in zip(alone, batch, full, asyncio.run(together(rows))):
            assert a.label == b.label == t.label and a.exit == b.exit == t.exit, (a, b, t)
            assert a.early or a.label == f.label == int(np.argmax(f.scores))
            assert 0 < a.layers <= f.layers and a.time_ms > 0 and len(a.stages) >= 1 and a.request != b.request
            assert a.scores.shape == f.scores.shape == (10,) and np.allclose(b.scores, a.scores)
        path = os.path.join(FOLDER, "x.png")
        with open(path, "wb") as out:
            out.write(png())
        picture = client.infer(path)
        assert picture.name in ("disc", "ring", "square", "frame", "triangle", "cross", "star", "stripes", "checker", "dots")
        assert client.infer(png()).label == picture.label
        assert client.infer(rows[0].astype(np.float64)).label == alone[0].label
        assert "freezeline_requests_answered_total" in client.metrics()

        fails(client.infer, rows, error=ValueError, says="infer_batch")
        whole = client.infer(path, priority=1, exits=False, stream="camera & 1")
        assert whole.exit == -1 and not whole.one_hot, whole
        assert client.infer(path, max_accuracy_loss=0).exit == -1
        assert fails(lambda: client.infer(path, priority=10), says="priority").status == 400
        assert fails(lambda: client.infer(rows[0], priority=10), says="priority").status == 400
        fails(client.infer, b"GIF89a", error=ValueError, says="neither")
        fails(client.infer_batch, rows.astype(complex), error=ValueError, says="complex")
        assert fails(client.infer, rows[0][:, :8], says="takes rows").status == 400
        assert fails(client.infer, rows[0] * np.nan).status == 400
        # This pipeline learns nothing from labels, or says what it took: never silence.
        try:
            said = client.feedback({a.request: 3 for a in alone})
            assert said.taken + said.early + said.foreign + said.wrong + said.later == len(alone), said
        except FreezelineError as e:
            assert e.status in (501, 503), e

    with Client(URL, model="nothing") as client:
        assert fails(client.model, says="unknown model").status == 404
    with Client(["http://127.0.0.1:9", URL], timeout=30) as client:  # nobody listens at the first one
        assert client.infer(rows[0]).label == alone[0].label
    assert fails(Client("127.0.0.1:9", timeout=0.3).infer, rows[0], says="127.0.0.1:9").status == 0
    fails(Client, "http://", error=ValueError)

    plot = os.path.join(FOLDER, "early.svg")
    for pictures, dots in ([path, path], 2), ([], 64):
        example = subprocess.run(
            [sys.executable, os.path.join(PACKAGE, "examples/early.py"), URL, *pictures, "--plot", plot],
            env={**os.environ, "PYTHONPATH": PACKAGE}, capture_output=True, text=True, check=True)
        counts = [int(line[15:20]) for line in example.stdout.splitlines()]
        assert sum(counts) == dots and "####" in example.stdout, example.stdout
        assert len(ElementTree.parse(plot).getroot().findall("{http://www.w3.org/2000/svg}circle")) == dots
    print("ok")


main()
