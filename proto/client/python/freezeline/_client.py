"""One connection a thread, kept open; requests are raw binary or pictures, answers JSON with binary scores."""
from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union
from urllib.parse import quote, urlencode, urlsplit

import numpy as np

Picture = Union[str, "os.PathLike[str]", bytes]
Input = Union[Picture, np.ndarray]

_DTYPES = {"FP32": np.float32, "FP16": np.float16, "UINT8": np.uint8, "INT8": np.int8, "INT16": np.int16,
           "INT32": np.int32, "INT64": np.int64}
_NAMES = {np.dtype(v): k for k, v in _DTYPES.items()}
_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_PAUSE = 0.05  # the first one between two tries; each further one is twice as long


class FreezelineError(Exception):
    """What the pipeline says, or why nobody could be asked. `status`: HTTP's, 0 without a reply. `retry_after`:
    seconds, where load is to blame."""

    def __init__(self, text: str, status: int = 0, retry_after: Optional[float] = None):
        super().__init__(text)
        self.status, self.retry_after = status, retry_after


@dataclass(frozen=True)
class Tensor:
    name: str
    datatype: str
    shape: Tuple[int, ...]  # the first one is the number of rows: -1


@dataclass(frozen=True)
class Model:
    name: str
    inputs: Tuple[Tensor, ...]
    outputs: Tuple[Tensor, ...]


@dataclass(frozen=True)
class Stage:
    """Microseconds of one request in one stage."""
    queue_us: int
    compute_us: int
    lookup_us: int


@dataclass(frozen=True)
class Answer:
    label: int
    name: Optional[str]  # of the class, where the pipeline file has names
    exit: int  # which exit's cache answered; -1: the whole network
    confidence: float
    epoch: int  # of the cache
    layers: int  # with weights, that have run; 0: not told
    time_ms: float  # at the broker
    request: int  # for `feedback`
    scores: np.ndarray  # float32, one per class
    one_hot: bool  # the cache keeps labels alone: `scores` is 1 at the label
    known: bool  # the answer of an earlier request with the same input
    promise: Optional[str]  # what is promised to this request; "nothing" where nothing is
    variant: str = ""  # the variant of the model that answered, where there are several
    stages: Tuple[Stage, ...] = field(default=())

    @property
    def early(self) -> bool:
        return self.exit >= 0


@dataclass(frozen=True)
class Feedback:
    """How many labels were taken, and why others were not."""
    taken: int
    early: int  # their requests are not answered yet
    foreign: int  # of another broker, or of an earlier start
    wrong: int  # no class
    later: int  # too many at once: the last ones, to be sent again


def _many(value: Any, rows: int, kind: Callable[[Any], Any]) -> List[Any]:
    """A parameter of all rows: of several rows they are one text."""
    if rows == 1 or not isinstance(value, str):
        return [kind(value)] * rows
    return [kind(v) for v in value.split(",")]


def _answers(head: Mapping[str, Any], scores: np.ndarray) -> List[Answer]:
    p, rows = head["parameters"], len(scores)
    columns = {name: _many(p[name], rows, kind)
               for name, kind in (("label", int), ("exit", int), ("confidence", float), ("epoch", int),
                                  ("layers", int), ("time_us", int), ("request", int)) if name in p}
    stages: List[List[Stage]] = [[] for _ in range(rows)]
    stage = 0
    while f"stage{stage}_compute_us" in p:
        parts = [_many(p[f"stage{stage}_{part}_us"], rows, int) for part in ("queue", "compute", "lookup")]
        for row in range(rows):
            stages[row].append(Stage(*(part[row] for part in parts)))
        stage += 1
    return [Answer(label=columns["label"][i], name=p.get("class"), exit=columns["exit"][i],
                   confidence=columns["confidence"][i], epoch=columns["epoch"][i],
                   layers=columns.get("layers", [0] * rows)[i], time_ms=columns["time_us"][i] / 1000,
                   request=columns.get("request", [0] * rows)[i], scores=scores[i],
                   one_hot=bool(p.get("one_hot")), known=bool(p.get("known")), promise=p.get("promise"),
                   variant=_many(p.get("variant", "," * (rows - 1)), rows, str)[i],
                   stages=tuple(stages[i])) for i in range(rows)]


class Client:
    """Calls that wait for their answer. Any number of threads may share one.

    addresses: one URL or several of the same pipeline's brokers. timeout: seconds for a whole call, tries included.
    model: its name; asked for where it is not given. token: sent as a bearer token. ca: a file of certificates that
    vouch for the servers, where the system's do not.
    """

    def __init__(self, addresses: Union[str, Sequence[str]], model: Optional[str] = None, timeout: float = 5.0,
                 token: Optional[str] = None, ca: Optional[str] = None):
        self._places = [urlsplit(a if "//" in a else "http://" + a)
                        for a in ([addresses] if isinstance(addresses, str) else addresses)]
        if not self._places or not all(p.hostname for p in self._places):
            raise ValueError("an address is http://HOST:PORT")
        self._timeout, self._token, self._model = timeout, token, model
        self._tls = ssl.create_default_context(cafile=ca) if any(p.scheme == "https" for p in self._places) else None
        self._first = 0  # the address that replied last
        self._own = threading.local()
        self._open: Dict[int, http.client.HTTPConnection] = {}
        self._lock = threading.Lock()
        self._metadata: Optional[Model] = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connections of all threads."""
        with self._lock:
            for connection in self._open.values():
                connection.close()
            self._open.clear()

    # ---- what is asked ----

    def live(self) -> bool:
        return self._is("/v2/health/live")

    def ready(self) -> bool:
        """Is the pipeline ready for requests?"""
        return self._is("/v2/health/ready")

    def model(self) -> Model:
        """What the pipeline takes and gives."""
        if self._metadata is None:
            m = self._json("GET", f"/v2/models/{quote(self.name())}")
            self._metadata = Model(m["name"], *(tuple(Tensor(t["name"], t["datatype"], tuple(t["shape"])) for t in m[k])
                                                for k in ("inputs", "outputs")))
        return self._metadata

    def name(self) -> str:
        if self._model is None:
            self._model = str(self._json("POST", "/v2/repository/index", b"{}")[0]["name"])
        return self._model

    def metrics(self) -> str:
        """All that is counted, as Prometheus text."""
        return self._call("GET", "/metrics", timeout=self._timeout)[1].decode()

    def infer(self, row: Input, timeout: Optional[float] = None, exits: bool = True, priority: int = 0,
              max_accuracy_loss: Optional[float] = None, stream: Optional[str] = None) -> Answer:
        """One request: a picture (a path, or a PNG's or JPEG's bytes), or one row in the model's own layout. `exits`
        False: caches are not asked. priority: 1 goes first, 9 last, 0 is 5. max_accuracy_loss: points; below what the
        caches promise, they answer by the thresholds that are certified for less, or are not asked. stream: the
        name of the video that it is a frame of."""
        if isinstance(row, np.ndarray):
            one = row if row.ndim == len(self.model().inputs[0].shape) else row[np.newaxis]
            if len(one) != 1:
                raise ValueError(f"{len(one)} rows at once: that is infer_batch")
            return self.infer_batch(one, timeout, exits, priority, max_accuracy_loss, stream)[0]
        data = row if isinstance(row, bytes) else open(os.fspath(row), "rb").read()
        kind = next((v for k, v in _KINDS.items() if data.startswith(k)), None)
        if kind is None:
            raise ValueError("neither PNG nor JPEG")
        wishes = self._parameters(timeout, exits, priority, max_accuracy_loss, stream)
        query = urlencode({k: str(v).lower() if isinstance(v, bool) else v for k, v in wishes.items()})
        head = self._json("POST", self._infer_path() + "?" + query, data, {"Content-Type": kind}, timeout)
        return _answers(head, np.asarray(head["outputs"][0]["data"], np.float32)[np.newaxis])[0]

    def infer_batch(self, rows: Union[np.ndarray, Iterable[np.ndarray]], timeout: Optional[float] = None,
                    exits: bool = True, priority: int = 0,
                    max_accuracy_loss: Optional[float] = None, stream: Optional[str] = None) -> List[Answer]:
        """Several rows in one request; each leaves at its own exit."""
        data = np.ascontiguousarray(rows if isinstance(rows, np.ndarray) else np.stack(list(rows)))
        if data.dtype == np.float64:
            data = data.astype(np.float32)
        datatype = _NAMES.get(data.dtype)
        if datatype is None:
            raise ValueError(f"{data.dtype} is no type of an input: {', '.join(_DTYPES)}")
        take, give = self.model().inputs[0], self.model().outputs[0]
        parameters = self._parameters(timeout, exits, priority, max_accuracy_loss, stream)
        head = json.dumps({
            "inputs": [{"name": take.name, "datatype": datatype, "shape": list(data.shape),
                        "parameters": {"binary_data_size": data.nbytes}}],
            "outputs": [{"name": give.name, "parameters": {"binary_data": True}}],
            "parameters": parameters}).encode()
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
        response, body = self._call("POST", self._infer_path(), head + data.tobytes(), headers, timeout)
        end = int(response.getheader("Inference-Header-Content-Length") or len(body))
        told = json.loads(body[:end])
        return _answers(told, np.frombuffer(body[end:], np.float32).reshape(told["outputs"][0]["shape"]))

    def feedback(self, labels: Union[Mapping[int, int], Iterable[Tuple[int, int]]]) -> Feedback:
        """What requests should have been answered: Answer.request to label."""
        items = list(labels.items() if isinstance(labels, Mapping) else labels)
        total = [0] * 5
        names = ("taken", "early", "foreign", "wrong", "later")
        for at in range(0, len(items), 256):
            body = json.dumps({"labels": [{"request": str(r), "label": int(v)} for r, v in items[at:at + 256]]})
            reply = self._json("POST", f"/v2/models/{quote(self.name())}/feedback", body.encode())
            total = [a + reply[n] for a, n in zip(total, names)]
        return Feedback(*total)

    # ---- how it is asked ----

    def _parameters(self, timeout: Optional[float], exits: bool, priority: int, max_accuracy_loss: Optional[float],
                    stream: Optional[str]) -> Dict[str, Any]:
        seconds = self._timeout if timeout is None else timeout
        all_of_them = {"timeout": int(seconds * 1e6), "exits": exits, "priority": priority,
                       "max_accuracy_loss": max_accuracy_loss, "stream": stream}
        return {k: v for k, v in all_of_them.items() if v is not None}

    def _infer_path(self) -> str:
        return f"/v2/models/{quote(self.name())}/infer"

    def _is(self, path: str) -> bool:
        try:
            return self._call("GET", path, timeout=self._timeout, patient=False)[0].status == 200
        except FreezelineError:
            return False

    def _json(self, method: str, path: str, body: Optional[bytes] = None, headers: Optional[Dict[str, str]] = None,
              timeout: Optional[float] = None) -> Any:
        return json.loads(self._call(method, path, body, headers, timeout)[1])

    def _connection(self, place: int, timeout: float) -> http.client.HTTPConnection:
        mine: Dict[int, http.client.HTTPConnection] = self._own.__dict__.setdefault("open", {})
        if place not in mine:
            where = self._places[place]
            if where.scheme == "https":
                mine[place] = http.client.HTTPSConnection(where.hostname or "", where.port, timeout=timeout,
                                                          context=self._tls)
            else:
                mine[place] = http.client.HTTPConnection(where.hostname or "", where.port, timeout=timeout)
            with self._lock:
                self._open[id(mine[place])] = mine[place]
        connection = mine[place]
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection

    def _once(self, place: int, method: str, path: str, body: Optional[bytes], headers: Dict[str, str],
              timeout: float) -> Tuple[http.client.HTTPResponse, bytes]:
        connection = self._connection(place, timeout)
        fresh = connection.sock is None
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response, response.read()
        except (OSError, http.client.HTTPException) as why:
            connection.close()
            # A connection that was kept may have been closed meanwhile: that says nothing about the broker.
            if not fresh and isinstance(why, (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)):
                return self._once(place, method, path, body, headers, timeout)
            raise

    def _call(self, method: str, path: str, body: Optional[bytes] = None, headers: Optional[Dict[str, str]] = None,
              timeout: Optional[float] = None, patient: bool = True) -> Tuple[http.client.HTTPResponse, bytes]:
        until = time.monotonic() + (self._timeout if timeout is None else timeout)
        sent = dict(headers or {})
        if self._token:
            sent["Authorization"] = "Bearer " + self._token
        pause, place, tries = _PAUSE, self._first, 0
        while True:
            left = until - time.monotonic()
            try:
                response, data = self._once(place, method, path, body, sent, max(left, 0.001))
                error = self._error(response, data)
            except (OSError, http.client.HTTPException) as why:
                where = self._places[place]
                error = FreezelineError(f"{where.hostname}:{where.port}: {why}")
            if error is None:
                self._first = place
                return response, data
            tries += 1
            place = (place + 1) % len(self._places)
            wait = 0.0 if tries < len(self._places) else max(error.retry_after or 0, pause * (0.5 + random.random()))
            again = patient and (error.status in (0, 503) or error.status == 429)
            if not again or time.monotonic() + wait >= until:
                raise error
            if wait:
                time.sleep(wait)
                pause = min(2 * pause, 1)

    @staticmethod
    def _error(response: http.client.HTTPResponse, data: bytes) -> Optional[FreezelineError]:
        if response.status == 200:
            return None
        try:
            text = json.loads(data)["error"]
        except (ValueError, KeyError, TypeError):
            text = f"HTTP {response.status} {response.reason}"
        after = response.getheader("Retry-After")
        return FreezelineError(text, response.status, float(after) if after and after.isdigit() else None)


class AsyncClient:
    """The same calls for asyncio. `most`: requests on their way at once."""

    def __init__(self, addresses: Union[str, Sequence[str]], model: Optional[str] = None, timeout: float = 5.0,
                 token: Optional[str] = None, most: int = 32, ca: Optional[str] = None):
        self._client = Client(addresses, model, timeout, token, ca)
        self._threads = ThreadPoolExecutor(most, "freezeline")

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        self._client.close()

    async def _run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    async def live(self) -> bool:
        return bool(await self._run(self._client.live))

    async def ready(self) -> bool:
        return bool(await self._run(self._client.ready))

    async def name(self) -> str:
        return str(await self._run(self._client.name))

    async def metrics(self) -> str:
        return str(await self._run(self._client.metrics))

    async def model(self) -> Model:
        return await self._run(self._client.model)

    async def infer(self, row: Input, timeout: Optional[float] = None, exits: bool = True, priority: int = 0,
                    max_accuracy_loss: Optional[float] = None, stream: Optional[str] = None) -> Answer:
        return await self._run(self._client.infer, row, timeout, exits, priority, max_accuracy_loss, stream)

    async def infer_batch(self, rows: Union[np.ndarray, Iterable[np.ndarray]], timeout: Optional[float] = None,
                          exits: bool = True, priority: int = 0,
                          max_accuracy_loss: Optional[float] = None, stream: Optional[str] = None) -> List[Answer]:
        return await self._run(self._client.infer_batch, rows, timeout, exits, priority, max_accuracy_loss, stream)

    async def feedback(self, labels: Union[Mapping[int, int], Iterable[Tuple[int, int]]]) -> Feedback:
        return await self._run(self._client.feedback, labels)
