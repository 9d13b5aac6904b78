#!/usr/bin/python3
"""ask.py - ask a running pipeline from Python. usage: ask.py ENDPOINT INPUT.npy

ENDPOINT is `broker.requests` (ipc://... or tcp://...; `freezeline status` shows it). INPUT.npy holds one input as the
model takes it: here float32, already normalised. Needs Debian's python3-zmq, python3-protobuf, python3-numpy, and the
messages in Python: protoc --python_out=. freezeline.proto (package protobuf-compiler)."""
import sys
import numpy as np
import zmq
import freezeline_pb2 as messages


def ask(socket, x, number=1):
    """One input [1, ...] as float32 to (answer, scores or None); RuntimeError says why there is no answer."""
    question = messages.Envelope(version=1)
    question.request.id = number
    question.request.input.dtype = 1  # float32, as ONNX numbers element types
    question.request.input.dim.extend(x.shape)
    socket.send_multipart([question.SerializeToString(), np.ascontiguousarray(x, "<f4").tobytes()])
    frames = socket.recv_multipart()
    answer = messages.Envelope.FromString(frames[0]).answer
    if answer.error:
        raise RuntimeError(answer.text)
    return answer, np.frombuffer(frames[1], "<f4") if len(frames) > 1 else None


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
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.rcvtimeo = 10000
        socket.connect(sys.argv[1])
        try:
            answer, scores = ask(socket, np.load(sys.argv[2]))
        except zmq.Again:
            sys.exit(f"nobody answers at {sys.argv[1]}")
        except RuntimeError as why:
            sys.exit(str(why))
        shown = None if scores is None else scores.round(4).tolist()
        print(answer.label, "exit", answer.exit, "scores", shown, "request", answer.request)
