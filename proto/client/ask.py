#!/usr/bin/python3
"""ask.py - ask a running pipeline from Python. usage: ask.py ENDPOINT[,ENDPOINT...] INPUT.npy

Where there are several brokers (broker.replicas), name them all: the next is asked when one does not answer. ENDPOINT
is `broker.requests` (ipc://... or tcp://...; `freezeline status` shows it). INPUT.npy holds one input as the model
takes it: here float32, already normalised. Needs Debian's python3-zmq, python3-protobuf, python3-numpy, and the
messages in Python: protoc --python_out=. freezeline.proto (package protobuf-compiler)."""
import secrets
import sys
import time
import numpy as np
import zmq
try:
    import freezeline_pb2 as messages
except ImportError as missing:
    if __name__ != "__main__":
        raise
    sys.exit(f"ask.py: {missing}. Make it beside this file: protoc --python_out=. freezeline.proto")


UNAVAILABLE = 14  # a broker that cannot serve: another one may
PATIENCE = 1.0  # seconds without an answer, after which the next broker is asked as well


def question_of(x, number):
    """The frames of a request: float32, as ONNX numbers element types; a key, by which a broker knows it again."""
    question = messages.Envelope(version=1)
    question.request.id = number
    question.request.input.dtype = 1
    question.request.input.dim.extend(x.shape)
    question.request.key_low, question.request.key_high = secrets.randbits(64), secrets.randbits(64)
    return [question.SerializeToString(), np.ascontiguousarray(x, "<f4").tobytes()]


def answer_in(frames):
    """(answer, scores or None) of a message; RuntimeError says why there is no answer."""
    answer = messages.Envelope.FromString(frames[0]).answer
    if answer.error:
        raise RuntimeError(answer.text)
    return answer, np.frombuffer(frames[1], "<f4") if len(frames) > 1 else None


def ask(socket, x, number=1):
    """One input [1, ...] as float32 to (answer, scores or None)."""
    socket.send_multipart(question_of(x, number))
    return answer_in(socket.recv_multipart())


def ask_any(sockets, x, number=1, seconds=10):
    """The same of several brokers, one after the other; the first answer counts. zmq.Again: none came in time."""
    question, until, asked, poller = question_of(x, number), time.monotonic() + seconds, 0, zmq.Poller()
    while time.monotonic() < until:
        if asked < len(sockets):
            asked += 1
            try:
                sockets[asked - 1].send_multipart(question)
                poller.register(sockets[asked - 1], zmq.POLLIN)
            except zmq.Again:
                continue  # it is not there
        left = until - time.monotonic()
        for socket, _ in poller.poll(1000 * max(0, min(left, PATIENCE) if asked < len(sockets) else left)):
            frames = socket.recv_multipart()
            answer = messages.Envelope.FromString(frames[0]).answer
            if answer.id == number and (answer.error != UNAVAILABLE or asked == len(sockets)):
                return answer_in(frames)
    raise zmq.Again


def tell(socket, labels):
    """True labels, [(answer.request, label), ...] of at most 256, to the broker's word on what it took."""
    message = messages.Envelope(version=1)
    for request, label in labels:
        message.feedback.item.add(request=request, label=label)
    socket.send_multipart([message.SerializeToString()])
    return messages.Envelope.FromString(socket.recv_multipart()[0]).feedback


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with zmq.Context() as context:
        sockets = [context.socket(zmq.DEALER) for _ in sys.argv[1].split(",")]
        for socket, endpoint in zip(sockets, sys.argv[1].split(",")):
            socket.linger, socket.sndtimeo, socket.immediate = 0, 300, 1
            socket.connect(endpoint)
        try:
            answer, scores = ask_any(sockets, np.load(sys.argv[2]))
        except zmq.Again:
            sys.exit(f"nobody answers at {sys.argv[1]}")
        except RuntimeError as why:
            sys.exit(str(why))
        finally:
            for socket in sockets:
                socket.close()
        shown = None if scores is None else scores.round(4).tolist()
        print(answer.label, "exit", answer.exit, "scores", shown, "request", answer.request)
