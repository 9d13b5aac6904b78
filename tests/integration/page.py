"""What test_page.sh asks of a page: page.py http://HOST:PORT/ STATE."""
import base64
import json
import os
import re
import signal
import sys
import urllib.request
import zlib

from browser import Page
from pictures import png

URL, STATE = sys.argv[1:]
OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def metrics():
    text = OPEN(URL + "metrics").read().decode()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[0] != "#"}


def metric(name):
    return sum(v for k, v in metrics().items() if re.match(name + r"\{", k))


def post(data, kind):
    name = re.search(r'model="([^"]+)"', str(metrics())).group(1)
    request = urllib.request.Request(URL + f"v2/models/{name}/infer", data, {"Content-Type": kind})
    try:
        return 200, json.load(OPEN(request))
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)


def pictures():
    status, body = post(png(), "image/png")
    p = body["parameters"]
    assert status == 200 and p["layers"] > 0 and 0 <= p["label"] < 10 and p["stage0_compute_us"] > 0, body
    assert len(body["outputs"][0]["data"]) == 10, body
    for bad, code in (png()[:-20], 400), (b"GIF89a" + bytes(20), 501), (b"", 400):
        status, body = post(bad, "image/png")
        assert status == code and body["error"], (status, body)


def compressed():
    request = urllib.request.Request(URL + "metrics", headers={
        "Accept-Encoding": "br, gzip", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    reply = OPEN(request)
    assert reply.headers["Content-Encoding"] == "gzip" and b"freezeline_up" in zlib.decompress(reply.read(), 47)
    assert reply.headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-"), reply.headers


def agrees(page):
    """The pipeline is at rest, so the page and the metrics tell the same numbers."""
    page.wait("document.getElementById('ready').textContent == 'ready'")
    answered = int(metric("freezeline_requests_answered_total"))
    page.wait(f"last.answered == {answered} && $('f-answered').textContent == count({answered})")
    for exit_, answers in page.value("last.exits.map(x => [x.name, x.answered])"):
        assert [v for k, v in metrics().items() if k.startswith("freezeline_answers_total{") and f'exit="{exit_}"' in k] \
            == [answers], exit_
    assert metric("freezeline_request_seconds_count") == answered
    assert page.value("last.took.reduce((a, b) => a + b)") == answered
    assert page.value("$('processes').tBodies[0].rows.length") == page.value("last.processes.length") >= 4
    assert page.value("document.querySelectorAll('#pipe rect').length") == 1 + page.value("about.stages")


def drop(page):
    data = base64.b64encode(png()).decode()
    page.value(f"""(() => {{
        const bytes = Uint8Array.from(atob('{data}'), c => c.charCodeAt(0)), all = new DataTransfer();
        all.items.add(new File([bytes], 'x.png', {{type: 'image/png'}}));
        document.dispatchEvent(new DragEvent('drop', {{dataTransfer: all}}));
    }})()""")
    text = page.wait("/at the broker/.test($('told').innerText) && $('told').innerText")
    assert "layers" in text or "whole network" in text, text
    assert page.value("$('told').querySelector('strong').textContent") in page.value("about.labels"), text
    page.wait("$('told').querySelectorAll('.bar').length == 5")  # an early one's, too
    page.value("ask(new File(['no picture'], 'x.png', {type: 'image/png'}))")
    page.wait("/no answer: .*PNG/.test($('told').innerText)")


def a_stopped_worker_shows(page):
    with open(os.path.join(STATE, "run", "stage0.0.pid")) as f:
        pid = int(f.read().split()[0])
    os.kill(pid, signal.SIGKILL)
    page.wait("/stage 0.0/.test($('events').innerText)")
    page.wait("last.ready && $('ready').textContent == 'ready'")


def main():
    pictures()
    compressed()
    page = Page(URL)
    try:
        agrees(page)
        drop(page)
        a_stopped_worker_shows(page)
        assert not page.errors or all("501" in e for e in page.errors), page.errors
        size = len(OPEN(URL).read())
        assert size < 100 << 10, size
    finally:
        page.close()


main()
