#!/usr/bin/env python3
"""suite.py - does a server keep to the Open Inference Protocol (KServe V2) over HTTP?

usage: suite.py http[s]://HOST:PORT MODEL [--ca FILE] [--token TOKEN] [--freezeline] [--control]

Asks for the model's metadata, then sends requests of all forms for its one input, which takes rows (first dim -1) of
numbers. Standard library alone. Prints a line for each check that fails, then "N passed, M failed"; ends with 1 when
one failed. --ca: who vouches for the server, PEM. --token: sent with each request, as a bearer token. --freezeline: also
what this server promises beyond the protocol. --control: the model may be unloaded and loaded (Triton's extension).
"""
import gzip
import http.client
import json
import random
import socket
import ssl
import struct
import sys
import urllib.parse
import zlib

HEADER = 'Inference-Header-Content-Length'
checks = []


def check(f):
    checks.append((f, None))
    return f


def ours(f):
    checks.append((f, '--freezeline'))
    return f


def control(f):
    checks.append((f, '--control'))
    return f


class Server:
    def __init__(self, url, model, ca=None, token=None):
        parts = urllib.parse.urlsplit(url)
        self.tls = ssl.create_default_context(cafile=ca) if parts.scheme == 'https' else None
        self.host, self.port, self.name = parts.hostname, parts.port or (443 if self.tls else 80), model
        self.base = '/v2/models/' + model
        self.who = {'Authorization': 'Bearer ' + token} if token else {}
        if self.tls:
            self.connection = http.client.HTTPSConnection(self.host, self.port, timeout=60, context=self.tls)
        else:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=60)

    def dial(self):
        plain = socket.create_connection((self.host, self.port), 60)
        return self.tls.wrap_socket(plain, server_hostname=self.host) if self.tls else plain

    def ask(self, method, path, body=None, headers=None, **how):
        """Status, headers (lower case), body."""
        headers = dict(self.who, **(headers or {}))
        try:
            self.connection.request(method, path, body, headers, **how)
            r = self.connection.getresponse()
        except (http.client.HTTPException, ConnectionError):  # the server had closed it after an error
            self.connection.close()
            self.connection.request(method, path, body, headers, **how)
            r = self.connection.getresponse()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()

    def json(self, method, path, body=None, headers=None, **how):
        status, _, text = self.ask(method, path, body, headers, **how)
        assert status == 200, (status, text[:300])
        return json.loads(text)

    def learn(self):
        m = self.json('GET', self.base)
        self.input, self.output = m['inputs'][0], m['outputs'][0]
        assert self.input['datatype'] == 'FP32', 'the suite sends FP32'
        self.row = [int(d) for d in self.input['shape'][1:]]
        self.size = 1
        for d in self.row:
            self.size *= d

    def numbers(self, rows=1, seed=1):
        r = random.Random(seed)
        return [struct.unpack('<f', struct.pack('<f', r.uniform(-1, 1)))[0] for _ in range(rows * self.size)]

    def request(self, data, rows=1, **more):
        i = {'name': self.input['name'], 'shape': [rows] + self.row, 'datatype': 'FP32', 'data': data}
        return dict({'inputs': [i]}, **more)

    def infer(self, request, headers=None, **how):
        return self.json('POST', self.base + '/infer', json.dumps(request), headers, **how)

    def scores(self, rows=1, seed=1):
        return self.infer(self.request(self.numbers(rows, seed), rows))['outputs'][0]['data']

    def refused(self, body, statuses=range(400, 500), headers=None):
        """The error of a request that must not be answered."""
        if not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        status, _, text = self.ask('POST', self.base + '/infer', body, headers)
        assert status in statuses, (status, text[:300])
        error = json.loads(text)['error']
        assert isinstance(error, str) and error, text
        return error

    def binary(self, data, rows=1, datatype='FP32', header=None, **more):
        i = {'name': self.input['name'], 'shape': [rows] + self.row, 'datatype': datatype,
             'parameters': {'binary_data_size': len(data)}}
        text = json.dumps(dict({'inputs': [i]}, **more)).encode()
        return text + data, {HEADER: str(len(text) if header is None else header)}


def near(a, b):
    assert len(a) == len(b), (len(a), len(b))
    assert all(abs(x - y) <= 1e-5 * max(1, abs(y)) for x, y in zip(a, b)), (a[:5], b[:5])


def nested(flat, shape):
    if not shape:
        return flat[0]
    n = len(flat) // shape[0]
    return [nested(flat[i * n:(i + 1) * n], shape[1:]) for i in range(shape[0])]


def halves(headers, body):
    n = int(headers[HEADER.lower()])
    return json.loads(body[:n]), body[n:]


@check
def server_metadata(s):
    m = s.json('GET', '/v2')
    assert isinstance(m['name'], str) and isinstance(m['version'], str) and isinstance(m['extensions'], list)


@check
def live_and_ready(s):
    for path in '/v2/health/live', '/v2/health/ready', s.base + '/ready':
        status, _, _ = s.ask('GET', path)
        assert status == 200, (path, status)


@check
def model_metadata(s):
    m = s.json('GET', s.base)
    assert m['name'] == s.name and isinstance(m['platform'], str)
    for t in m['inputs'] + m['outputs']:
        assert isinstance(t['name'], str) and isinstance(t['datatype'], str)
        assert all(isinstance(d, int) for d in t['shape'])


@check
def versions(s):
    for v in s.json('GET', s.base).get('versions', []):
        m = s.json('GET', s.base + '/versions/' + v)
        assert m['name'] == s.name
        answer = s.json('POST', s.base + '/versions/' + v + '/infer', json.dumps(s.request(s.numbers())))
        assert answer.get('model_version', v) == v


@check
def unknown_model(s):
    for method, path in ('GET', '/v2/models/no-such'), ('POST', '/v2/models/no-such/infer'):
        status, _, text = s.ask(method, path, json.dumps(s.request(s.numbers())) if method == 'POST' else None)
        assert 400 <= status < 500, status
        assert json.loads(text)['error']


@check
def json_infer(s):
    status, headers, text = s.ask('POST', s.base + '/infer', json.dumps(s.request(s.numbers())))
    assert status == 200 and headers['content-type'].startswith('application/json'), (status, headers)
    answer = json.loads(text)
    assert answer['model_name'] == s.name
    out = answer['outputs'][0]
    count = 1
    for d in out['shape']:
        count *= d
    assert out['name'] == s.output['name'] and out['datatype'] == s.output['datatype'] and len(out['data']) == count
    assert out['shape'][0] == 1


@check
def nested_data(s):
    data = nested(s.numbers(), [1] + s.row)
    near(s.infer(s.request(data))['outputs'][0]['data'], s.scores())


@check
def keys_in_any_order(s):
    r = s.request(s.numbers())
    r['inputs'] = [dict(reversed(list(r['inputs'][0].items())))]
    text = json.dumps(dict(reversed(list(dict(r, id='7').items()))), indent=2)
    near(s.json('POST', s.base + '/infer', text)['outputs'][0]['data'], s.scores())


@check
def same_again(s):
    assert s.scores() == s.scores()


@check
def id_is_echoed(s):
    assert s.infer(s.request(s.numbers(), id='a "b" \u00e9'))['id'] == 'a "b" \u00e9'
    assert not s.infer(s.request(s.numbers())).get('id')


@check
def chosen_output(s):
    r = s.request(s.numbers(), outputs=[{'name': s.output['name']}])
    assert [o['name'] for o in s.infer(r)['outputs']] == [s.output['name']]


@check
def rows_are_separate(s):
    width = len(s.scores())
    three = s.scores(3)
    one = s.numbers(3)
    for i in range(3):
        r = s.request(one[i * s.size:(i + 1) * s.size])
        near(three[i * width:(i + 1) * width], s.infer(r)['outputs'][0]['data'])


@check
def binary_input(s):
    body, headers = s.binary(struct.pack('<%df' % s.size, *s.numbers()))
    near(s.json('POST', s.base + '/infer', body, headers)['outputs'][0]['data'], s.scores())


@check
def binary_output(s):
    r = s.request(s.numbers(), outputs=[{'name': s.output['name'], 'parameters': {'binary_data': True}}])
    for request in r, s.request(s.numbers(), parameters={'binary_data_output': True}):
        _, headers, text = s.ask('POST', s.base + '/infer', json.dumps(request))
        head, tail = halves(headers, text)
        assert 'data' not in head['outputs'][0]
        assert head['outputs'][0]['parameters']['binary_data_size'] == len(tail)
        near(struct.unpack('<%df' % (len(tail) // 4), tail), s.scores())


@check
def binary_both_ways_in_rows(s):
    body, headers = s.binary(struct.pack('<%df' % (2 * s.size), *s.numbers(2)), 2,
                             parameters={'binary_data_output': True})
    _, back, text = s.ask('POST', s.base + '/infer', body, headers)
    head, tail = halves(back, text)
    assert head['outputs'][0]['shape'][0] == 2
    near(struct.unpack('<%df' % (len(tail) // 4), tail), s.scores(2))


@check
def wrong_requests(s):
    good = s.numbers()
    s.refused('')
    s.refused('{')
    s.refused('[]')
    s.refused({})
    s.refused({'inputs': []})
    s.refused(s.request(good[:-1]))
    s.refused(s.request(good + [1]))
    s.refused(s.request(['a'] * s.size))
    s.refused(s.request(good, outputs=[{'name': 'no-such-output'}]))
    for key, value in ('name', 'no-such-input'), ('datatype', 'FP31'), ('shape', [1] + s.row + [1]), ('shape', 7):
        r = s.request(good)
        r['inputs'][0][key] = value
        s.refused(r)
    for key in 'name', 'datatype', 'shape', 'data':
        r = s.request(good)
        del r['inputs'][0][key]
        s.refused(r)


@check
def wrong_binary(s):
    data = struct.pack('<%df' % s.size, *s.numbers())
    for cut in data[:-1], data[:-4], b'':
        body, headers = s.binary(cut)
        s.refused(body, headers=headers)
    body, headers = s.binary(data)
    s.refused(body[:-1], headers=headers)
    s.refused(body, headers={HEADER: str(len(body) + 1)})
    s.refused(body, headers={HEADER: '-1'})
    s.refused(body, headers={HEADER: 'x'})


@check
def not_for_this_method(s):
    for method, path in ('GET', '/infer'), ('POST', ''), ('DELETE', ''):
        status, _, _ = s.ask(method, s.base + path, '{}' if method == 'POST' else None)
        assert 400 <= status < 500, (method, path, status)


@check
def chunked(s):
    text = json.dumps(s.request(s.numbers())).encode()
    pieces = (text[i:i + 1000] for i in range(0, len(text), 1000))
    near(s.json('POST', s.base + '/infer', pieces, {'Transfer-Encoding': 'chunked'}, encode_chunked=True)
         ['outputs'][0]['data'], s.scores())


def raw(s, data, replies):
    """Sends bytes on a connection of their own; status lines and bodies of so many replies."""
    with s.dial() as c:
        c.sendall(data)
        f = c.makefile('rb')
        out = []
        while len(out) < replies:
            line = f.readline()
            assert line, 'the connection ended after %d replies' % len(out)
            length = 0
            while True:
                h = f.readline().strip().lower()
                if not h:
                    break
                if h.startswith(b'content-length:'):
                    length = int(h.split(b':')[1])
            status = int(line.split()[1])
            body = f.read(length)
            if status != 100:
                out.append((status, body))
        return out


def post(s, body, *headers):
    head = ['POST %s/infer HTTP/1.1' % s.base, 'host: %s' % s.host, 'content-length: %d' % len(body)] + list(headers)
    head += ['%s: %s' % h for h in s.who.items()]
    return '\r\n'.join(head).encode() + b'\r\n\r\n' + body


@check
def pipelined_with_small_letters(s):
    bodies = [json.dumps(s.request(s.numbers(1, i), id=str(i))).encode() for i in range(3)]
    replies = raw(s, b''.join(post(s, b) for b in bodies), 3)
    assert [json.loads(b)['id'] for _, b in replies] == ['0', '1', '2']


@check
def expect_100(s):
    body = json.dumps(s.request(s.numbers())).encode()
    (status, _), = raw(s, post(s, body, 'expect: 100-continue'), 1)
    assert status == 200


@check
def framing_that_is_in_doubt(s):
    body = json.dumps(s.request(s.numbers())).encode()
    for more in 'content-length: %d' % (len(body) - 1), 'transfer-encoding: chunked':
        with s.dial() as c:
            c.sendall(post(s, body, more))
            f = c.makefile('rb')
            assert f.readline().split()[1] == b'400', more
            assert f.read().count(b'HTTP/1.1 ') == 0, more  # and the connection ends


@check
def alive_after_all_that(s):
    status, _, _ = s.ask('GET', '/v2/health/live')
    assert status == 200


@ours
def health_bodies_are_empty(s):
    for path in '/v2/health/live', '/v2/health/ready':
        assert s.ask('GET', path)[2] == b''
        answer = s.json('GET', path, headers={'Accept': '*/*'})  # KServe's client reads it
        assert answer == {path.rpartition('/')[2]: True}, answer
    assert s.json('GET', s.base + '/ready', headers={'Accept': 'application/json'}) == {'name': s.name, 'ready': True}


@ours
def slashes_queries_head(s):
    assert s.json('GET', s.base + '/?x=1')['name'] == s.name
    assert s.json('GET', 'http://any.host' + s.base)['name'] == s.name
    status, headers, text = s.ask('HEAD', s.base)
    assert status == 200 and text == b'' and int(headers['content-length']) > 0


# As `kserve` sends them: parameters that are empty or null, the model's name in the body, lower-case headers.
@check
def forms_of_kserve(s):
    request = s.request(s.numbers())
    want = s.scores()
    request.update({'id': 'k', 'model_name': s.name, 'model_version': None, 'parameters': {}})
    request['inputs'][0]['parameters'] = {}
    answer = s.infer(request)
    assert answer['id'] == 'k'
    near(answer['outputs'][0]['data'], want)
    numbers = struct.pack('<%df' % s.size, *s.numbers())
    del request['inputs'][0]['data']
    request['inputs'][0]['parameters'] = {'binary_data_size': len(numbers)}
    head = json.dumps(request).encode()
    status, _, text = s.ask('POST', s.base + '/infer', head + numbers, {
        'inference-header-content-length': str(len(head)), 'content-type': 'application/octet-stream'})
    assert status == 200, text
    near(json.loads(text)['outputs'][0]['data'], want)


# As clients send them that write all keys there are, MLServer's among them.
@check
def null_is_as_good_as_absent(s):
    request = s.request(s.numbers(), id=None, parameters=None, outputs=None, model_version=None)
    request['inputs'][0]['parameters'] = None
    answer = s.infer(request)
    assert not answer.get('id')
    near(answer['outputs'][0]['data'], s.scores())
    request = s.request(s.numbers(), parameters={'timeout': None, 'priority': None},
                        outputs=[{'name': s.output['name'], 'parameters': None}])
    near(s.infer(request)['outputs'][0]['data'], s.scores())
    for key in 'name', 'datatype', 'shape', 'data':
        request = s.request(s.numbers())
        request['inputs'][0][key] = None
        s.refused(request)


@ours
def statuses(s):
    status, _, text = s.ask('GET', '/v2/models/no-such')
    assert status == 404 and 'Request for unknown model' in json.loads(text)['error']
    status, headers, _ = s.ask('GET', s.base + '/infer')
    assert status == 405 and headers['allow'] == 'POST'
    assert s.ask('GET', '/nowhere')[0] == 404
    s.refused(s.request(s.numbers(), parameters={'sequence_id': 1}), [501])
    s.refused(b'x', [501], {'Content-Encoding': 'br'})
    s.refused(b'x', [400], {'Content-Encoding': 'gzip'})


@ours
def parameters_say_how(s):
    p = s.infer(s.request(s.numbers()))['parameters']
    assert p['layers'] > 0 and p['stage0_compute_us'] >= 0 and p['stage0_queue_us'] >= 0 and p['promise'], p
    assert p['exit'] >= -1 and 0 <= p['confidence'] <= 1 and p['epoch'] >= 0 and p['time_us'] > 0 and p['label'] >= 0
    p = s.infer(s.request(s.numbers(2), 2))['parameters']
    assert len(p['exit'].split(',')) == 2 and len(p['confidence'].split(',')) == 2
    p = s.infer(s.request(s.numbers(), parameters={'exits': False, 'timeout': 60000000}))['parameters']
    assert p['exit'] == -1
    p = s.infer(s.request(s.numbers(), parameters={'max_accuracy_loss': 0, 'priority': 1}))['parameters']
    assert p['exit'] == -1
    assert s.infer(s.request(s.numbers(), parameters={'stream': 'camera 1'}))['parameters']['exit'] >= -1
    s.refused(s.request(s.numbers(), parameters={'stream': 1}), [400])
    s.refused(s.request(s.numbers(), parameters={'max_accuracy_loss': -1}), [400])
    s.refused(s.request(s.numbers(), parameters={'priority': 99}), [400])
    s.refused(s.request(s.numbers(), parameters={'exits': 'no'}), [400])
    s.infer(s.request(s.numbers(), parameters={'exits': None, 'stream': None, 'max_accuracy_loss': None}))


@ours
def raw_body(s):
    data = struct.pack('<%df' % (2 * s.size), *s.numbers(2))
    _, headers, text = s.ask('POST', s.base + '/infer', data, {HEADER: '0'})
    head, tail = halves(headers, text)
    assert head['outputs'][0]['shape'][0] == 2
    near(struct.unpack('<%df' % (len(tail) // 4), tail), s.scores(2))
    s.refused(data[:-1], [400], {HEADER: '0'})
    path = s.base + '/infer?exits=false&id=a%20b&binary_data_output=false&unknown='
    answer = s.json('POST', path, data, {HEADER: '0'})
    assert answer['id'] == 'a b' and answer['parameters']['exit'] == '-1,-1' and len(answer['outputs'][0]['data']) > 0
    for wrong in 'exits=no', 'timeout=x', 'timeout=-1', 'priority=[1]', 'id=%ff':
        status, _, text = s.ask('POST', s.base + '/infer?' + wrong, data, {HEADER: '0'})
        assert status == 400 and json.loads(text)['error'], (wrong, status)


# Its sender has sent all of it before it reads why not; chunks have no length to see that by.
@ours
def too_large(s):
    body = bytes(24 << 20)
    status, _, text = s.ask('POST', s.base + '/infer', body, {HEADER: '0'})
    assert status == 413 and 'max_request_mb' in json.loads(text)['error'], status
    status, _, text = s.ask('POST', s.base + '/infer', iter([body]), {HEADER: '0', 'Transfer-Encoding': 'chunked'},
                            encode_chunked=True)
    assert status == 413 and 'max_request_mb' in json.loads(text)['error'], status
    with s.dial() as c:  # nobody takes so much: it is said before anything comes
        c.sendall(('POST %s/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n' % (
            s.base, 1 << 40, ''.join('%s: %s\r\n' % h for h in s.who.items()))).encode())
        assert b' 413 ' in c.makefile('rb').readline()


@ours
def compressed(s):
    body, headers = s.binary(struct.pack('<%df' % s.size, *s.numbers()))
    for coding, pack in ('gzip', gzip.compress), ('deflate', zlib.compress):
        answer = s.json('POST', s.base + '/infer', pack(body), dict(headers, **{'Content-Encoding': coding}))
        near(answer['outputs'][0]['data'], s.scores())
    headers['Content-Encoding'] = 'gzip'
    pieces = b''.join(gzip.compress(body[i:i + 5000]) for i in range(0, len(body), 5000))
    near(s.json('POST', s.base + '/infer', pieces + gzip.compress(b''), headers)['outputs'][0]['data'], s.scores())
    for wrong in pieces[:-1], pieces + b'x', pieces + pieces[:40]:
        s.refused(wrong, [400], headers)


@ours
def exact_conversions(s):
    r = random.Random(2)
    for datatype, code, low, high in (('UINT8', 'B', 0, 255), ('INT32', 'i', -2 ** 24, 2 ** 24),
                                      ('INT64', 'q', -2 ** 24, 2 ** 24), ('FP16', 'e', -8, 8)):
        values = [r.randint(low, high) for _ in range(s.size)]
        want = s.infer(s.request(values))['outputs'][0]['data']
        body, headers = s.binary(struct.pack('<%d%s' % (s.size, code), *values), datatype=datatype)
        near(s.json('POST', s.base + '/infer', body, headers)['outputs'][0]['data'], want)
        if datatype != 'FP16':
            request = s.request(values)
            request['inputs'][0]['datatype'] = datatype
            near(s.infer(request)['outputs'][0]['data'], want)
    request = s.request([2 ** 24 + 1] * s.size)
    request['inputs'][0]['datatype'] = 'INT32'
    s.refused(request, [400])


@ours
def classification(s):
    scores = s.scores()
    p = {'classification': 3}
    data = s.infer(s.request(s.numbers(), outputs=[{'name': s.output['name'], 'parameters': p}]))['outputs'][0]
    assert data['datatype'] == 'BYTES' and data['shape'] == [1, 3]
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[:3]
    assert [int(d.split(':')[1]) for d in data['data']] == best


@ours
def what_clients_of_triton_ask(s):
    c = s.json('GET', s.base + '/config')
    assert c['input'][0]['dims'] == s.row and c['input'][0]['data_type'] == 'TYPE_FP32' and c['max_batch_size'] > 0
    assert s.json('POST', '/v2/repository/index', '{}')[0]['state'] == 'READY'
    before = s.json('GET', '/v2/models/stats')['model_stats'][0]
    s.scores(2)
    after = s.json('GET', s.base + '/stats')['model_stats'][0]
    assert after['last_inference'] > 1.7e12 and after['inference_count'] == before['inference_count'] + 2
    # perf_analyzer reads all of these, and gives up where it has other counts of computing's parts.
    more = {k: (v['count'] - before['inference_stats'][k]['count'], v['ns'] - before['inference_stats'][k]['ns'])
            for k, v in after['inference_stats'].items()}
    assert more['success'][0] == 1 and more['fail'] == more['cache_hit'] == more['cache_miss'] == (0, 0), more
    for part in 'queue', 'compute_input', 'compute_infer', 'compute_output':
        assert more[part][0] == 2 and 0 < more[part][1] < more['success'][1] * 2, more
    assert s.json('GET', s.base + '/trace/setting') == s.json('GET', '/v2/trace/setting')
    for path in '/v2/systemsharedmemory/region/a/register', '/v2/logging':
        status, _, text = s.ask('POST', path, '{}')
        assert status == 501 and json.loads(text)['error'], (path, status)


def control_of(s, what, body=None):
    status, _, text = s.ask('POST', '/v2/repository/models/%s/%s' % (s.name, what), body)
    return status, json.loads(text) if text else {}


@control
def unload_and_load(s):
    want = s.scores()
    assert control_of(s, 'unload', '{"parameters": {"unload_dependents": false}}') == (200, {})
    assert s.ask('GET', '/v2/health/live')[0] == 200
    assert s.ask('GET', s.base + '/ready')[0] != 200
    entry = s.json('POST', '/v2/repository/index', '{}')[0]
    assert entry['name'] == s.name and entry['state'] == 'UNAVAILABLE' and entry['reason'], entry
    assert not s.json('POST', '/v2/repository/index', '{"ready": true}')
    assert 'not at ready state' in s.refused(s.request(s.numbers()), range(400, 600))
    assert control_of(s, 'load') == (200, {})
    assert s.ask('GET', s.base + '/ready')[0] == 200
    assert s.json('POST', '/v2/repository/index', '{"ready": true}')[0]['state'] == 'READY'
    near(s.scores(), want)


@control
def what_cannot_be_loaded(s):
    status, _, text = s.ask('POST', '/v2/repository/models/no-such/load')
    assert 400 <= status < 500 and json.loads(text)['error'], status
    for body in '[]', '{', '{"parameters": {"no-such": 1}}', '{"parameters": 1}':
        status, answer = control_of(s, 'load', body)
        assert 400 <= status < 500 and answer['error'], (body, status)
    assert s.ask('GET', s.base + '/ready')[0] == 200


@control
def settings_of_traces(s):
    before = s.json('GET', '/v2/trace/setting')
    assert s.json('POST', '/v2/trace/setting', json.dumps({'trace_count': '7'}))['trace_count'] == '7'
    assert s.json('GET', s.base + '/trace/setting') == dict(before, trace_count='7')
    assert s.json('POST', s.base + '/trace/setting', json.dumps(before)) == before  # as it was told
    for wrong in {'trace_file': '/tmp/x'}, {'trace_level': ['TENSORS']}, {'trace_rate': '0'}, {'no-such': '1'}:
        status, _, text = s.ask('POST', '/v2/trace/setting', json.dumps(wrong))
        assert status == 400 and list(wrong)[0] in json.loads(text)['error'], (wrong, status)
    assert s.json('GET', '/v2/trace/setting') == before


@ours
def who_may_load(s):
    """Not a page in a browser; what comes with a request to load stays where it is."""
    repository = '/v2/repository/models/' + s.name
    for header in {'Origin': 'http://elsewhere'}, {'Sec-Fetch-Site': 'same-origin'}:
        for path in repository + '/load', repository + '/unload', '/v2/trace/setting':
            status, _, text = s.ask('POST', path, '{}', header)
            assert status == 403 and json.loads(text)['error'], status
    if '--control' not in sys.argv:
        assert control_of(s, 'unload')[0] == 403
        assert s.ask('POST', s.base + '/trace/setting', '{"trace_level": ["OFF"]}')[0] == 403
        return
    for key in 'config', 'file:1/model.onnx':
        assert control_of(s, 'load', json.dumps({'parameters': {key: 'x'}}))[0] == 501
    assert control_of(s, 'unload', '{"parameters": {"unload_dependents": 1}}')[0] == 400
    assert control_of(s, 'load', ' ' * 100000)[0] == 501 and control_of(s, 'unload', ' ' * 100000)[0] == 413
    assert s.ask('GET', '/v2/repository/models/%s/load' % s.name)[0] == 405


@ours
def metrics(s):
    def read():
        status, headers, text = s.ask('GET', '/metrics')
        assert status == 200 and headers['content-type'].startswith('text/plain; version=0.0.4')
        lines = [line for line in text.decode().splitlines() if not line.startswith('#')]
        return {line.rpartition(' ')[0]: float(line.rpartition(' ')[2]) for line in lines}
    before = read()
    s.scores(3)
    name = 'freezeline_http_inference_seconds_count{model="%s"}' % s.name
    assert read()[name] == before[name] + 1
    answered = 'freezeline_requests_answered_total{model="%s"}' % s.name
    while read()[answered] < before[answered] + 3:  # what is told is a tenth of a second old, at most
        pass


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    value = {k: sys.argv[i + 1] for i, k in enumerate(sys.argv[:-1]) if k in ('--ca', '--token')}
    s = Server(sys.argv[1], sys.argv[2], value.get('--ca'), value.get('--token'))
    s.learn()
    passed = failed = 0
    for f, option in checks:
        if option and option not in sys.argv[3:]:
            continue
        try:
            f(s)
            passed += 1
        except Exception as why:  # whatever it is, the other checks go on
            print('%s: %s: %s' % (f.__name__, type(why).__name__, why))
            failed += 1
    print('%d passed, %d failed' % (passed, failed))
    sys.exit(failed > 0)


main()
