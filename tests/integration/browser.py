"""A headless Chromium, driven by its debugging protocol: a page, what it says, what it looks like."""
import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request


def find():
    """The browser's program, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Socket:
    """A WebSocket client: text frames both ways (RFC 6455)."""

    def __init__(self, url, patience):
        host, path = url[len("ws://"):].split("/", 1)
        name, port = host.rsplit(":", 1)
        self.s = socket.create_connection((name, int(port)), timeout=patience)
        self.s.sendall((f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        self.file = self.s.makefile("rb")
        if b" 101 " not in self.file.readline():
            raise OSError("the browser refuses a WebSocket")
        while self.file.readline().strip():
            pass

    def send(self, text):
        data = text.encode()
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data)) \
            if len(data) < 65536 else b"\xff" + struct.pack(">Q", len(data))
        self.s.sendall(b"\x81" + size + bytes(4) + data)  # masked with zeros

    def receive(self):
        whole = b""
        while True:
            head = self.file.read(2)
            size = head[1] & 127
            if size > 125:
                size = int.from_bytes(self.file.read(2 if size == 126 else 8), "big")
            whole += self.file.read(size)
            if head[0] & 0x80:
                return whole.decode()


class Page:
    """One page in one browser. `errors`: what it logged as errors, and exceptions."""

    def __init__(self, url, width=1240, height=1500, patience=60):
        self.home = tempfile.mkdtemp(prefix="browser")
        self.errors, self.number = [], 0
        self.process = subprocess.Popen(
            [find(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--remote-debugging-port=0", f"--user-data-dir={self.home}", f"--window-size={width},{height}",
             "about:blank"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + patience
        port = os.path.join(self.home, "DevToolsActivePort")
        while not (os.path.exists(port) and open(port).read().count("\n")):
            if time.monotonic() > until or self.process.poll() is not None:
                raise OSError("the browser does not start")
            time.sleep(0.05)
        port = open(port).read().split()[0]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        pages = json.load(opener.open(f"http://127.0.0.1:{port}/json"))
        self.socket = Socket([p for p in pages if p["type"] == "page"][0]["webSocketDebuggerUrl"], patience)
        for domain in "Runtime", "Log", "Page", "DOM":
            self.call(domain + ".enable")
        self.call("Page.navigate", url=url)
        self.wait("document.readyState == 'complete' && location.href != 'about:blank'")

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            m = json.loads(self.socket.receive())
            if m.get("method") == "Runtime.exceptionThrown":
                self.errors.append(m["params"]["exceptionDetails"].get("exception", {}).get("description", "?"))
            if m.get("method") == "Log.entryAdded" and m["params"]["entry"]["level"] == "error":
                self.errors.append(m["params"]["entry"]["text"])
            if m.get("id") == self.number:
                if "error" in m:
                    raise OSError(f"{method}: {m['error']}")
                return m["result"]

    def value(self, script):
        r = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in r:
            raise AssertionError(f"{script}: {r['exceptionDetails']}")
        return r["result"].get("value")

    def wait(self, script, patience=60):
        """Until the script is true; its value then."""
        until = time.monotonic() + patience
        while True:
            value = self.value(script)
            if value:
                return value
            if time.monotonic() > until:
                raise AssertionError(f"never came true: {script}; body: {self.value('document.body.innerText')[:2000]}")
            time.sleep(0.1)

    def picture(self, path, **metrics):
        if metrics:
            self.call("Emulation.setDeviceMetricsOverride", **metrics)
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def close(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)
