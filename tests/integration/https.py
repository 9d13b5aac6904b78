"""https.py - who may ask over HTTPS, seen from outside: statuses, challenges, certificates, a revoked token

usage: https.py http[s]://HOST:PORT KEYS CLIENT-TOKEN OPERATOR-TOKEN REVOKE-COMMAND
"""
import base64
import http.client
import json
import socket
import ssl
import sys
import time
import urllib.parse

url, keys, client, operator, revoke = sys.argv[1:6]
at = urllib.parse.urlsplit(url)
trust = ssl.create_default_context(cafile=keys + '/http.crt')


def ask(path, headers=None, body=None, context=trust):
    c = http.client.HTTPSConnection(at.hostname, at.port, timeout=30, context=context)
    c.request('POST' if body is not None else 'GET', path, body, headers or {})
    r = c.getresponse()
    text = r.read() if path != '/live' else b''
    c.close()
    return r.status, r.getheader('WWW-Authenticate'), text


def bearer(token):
    return {'Authorization': 'Bearer ' + token}


def is_(got, status):
    assert got[0] == status, got


model = json.loads(ask('/v2/repository/index', bearer(client), b'{}')[2])[0]['name']
infer = '/v2/models/%s/infer' % model
for path in '/v2/health/live', '/v2/health/ready', '/v2/models/%s/ready' % model:
    is_(ask(path), 200)
for path in '/v2', '/v2/models/' + model, '/v2/models/no-such', '/nowhere', '/metrics', '/':
    status, challenge, text = ask(path)
    assert status == 401 and challenge.split()[0] == ('Basic' if path == '/' else 'Bearer') and b'error' in text
is_(ask(infer, {}, b'x' * 100000), 401)
is_(ask(infer, bearer(client), b'{}'), 400)
for path in '/metrics', '/', '/live':
    is_(ask(path, bearer(client)), 403)
    is_(ask(path, bearer(operator)), 200)
for what in 'load', 'unload':
    change = '/v2/repository/models/%s/%s' % (model, what)
    is_(ask(change, {}, b''), 401)
    is_(ask(change, bearer(client), b''), 403)
    is_(ask(change, dict(bearer(operator), Origin=url), b''), 403)  # a page, with the operator's password
for path in '/v2/trace/setting', '/v2/models/%s/trace/setting' % model:
    is_(ask(path, {}, b'{}'), 401)
    is_(ask(path, bearer(client), b'{}'), 403)
    is_(ask(path, bearer(operator), b'{"trace_count": "3"}'), 200)
is_(ask(infer, bearer(client), b'{}'), 400)
is_(ask('/v2/repository/models/%s/unload' % model, bearer(operator), b''), 200)
is_(ask(infer, bearer(client), b'{}'), 400)  # malformed comes first
is_(ask('/v2/models/' + model, bearer(client)), 503)
is_(ask('/v2/repository/models/%s/load' % model, bearer(operator), b''), 200)
is_(ask('/v2/models/' + model, bearer(client)), 200)
assert 'insufficient_scope' in ask('/metrics', bearer(client))[1]
is_(ask('/', {'Authorization': 'Basic ' + base64.b64encode(b'me:' + operator.encode()).decode()}), 200)
for wrong in client[:-1], client + 'x', client.swapcase(), 'x' * 5000, '':
    is_(ask('/v2', bearer(wrong)), 401)

# the Python client
sys.path.insert(0, 'proto/client/python')
try:
    from freezeline import Client, FreezelineError
except ImportError:
    pass  # it takes numpy
else:
    with Client(url, token=client, ca=keys + '/http.crt') as c:
        assert c.ready() and c.model().name == model
    with Client([url, url], ca=keys + '/http.crt', model=model, timeout=1) as c:
        try:
            c.model()
            raise AssertionError('without a token')
        except FreezelineError as why:
            assert why.status == 401, why

# a certificate instead of a token, and one that nobody vouches for
named = ssl.create_default_context(cafile=keys + '/http.crt')
named.load_cert_chain(keys + '/carol.crt', keys + '/carol.key')
is_(ask('/v2', context=named), 200)
is_(ask('/metrics', context=named), 403)
strange = ssl.create_default_context(cafile=keys + '/http.crt')
strange.load_cert_chain(keys + '/strange.crt', keys + '/strange.key')
try:
    is_(ask('/v2', context=strange), 401)
except (ssl.SSLError, ConnectionError):
    pass  # refused in the handshake

# without TLS, and with an old one
with socket.create_connection((at.hostname, at.port), 30) as plain:
    plain.sendall(b'GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n')
    assert b'200' not in plain.recv(100)
old = ssl.create_default_context(cafile=keys + '/http.crt')
old.maximum_version = ssl.TLSVersion.TLSv1_1
try:
    ask('/v2/health/live', context=old)
    raise AssertionError('TLS 1.1 was accepted')
except (ssl.SSLError, ConnectionError, ValueError):
    pass

# who is revoked is refused within a second or two, on a connection that is there, too
import subprocess
kept = http.client.HTTPSConnection(at.hostname, at.port, timeout=30, context=trust)
subprocess.run(revoke, shell=True, check=True, stdout=subprocess.DEVNULL)
until = time.monotonic() + 30
status = 200
while status == 200 and time.monotonic() < until:
    kept.request('GET', '/v2', headers=bearer(client))
    r = kept.getresponse()
    status = r.status
    r.read()
assert status == 401, status
is_(ask('/v2', bearer(operator)), 200)
print('all as it should be')
