#!/usr/bin/env python3
"""Triton's Python client against a server of the Open Inference Protocol: triton.py URL MODEL

What its examples simple_http_{health_metadata,infer_client,async_infer_client,aio_infer_client} do, and, where the
server has none of it, that strings and shared memory are refused so that the client says why; and model control, as in
simple_http_model_control. Exits with 77
and the reason where a package that the client needs is not there (Debian has python3-geventhttpclient, python3-gevent,
python3-rapidjson and python3-aiohttp; tritonclient itself is on PyPI).
"""
import asyncio
import sys

try:
    import numpy as np
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException
except ImportError as why:
    print('no Triton client: %s' % why)
    sys.exit(77)

host, model = sys.argv[1].replace('http://', '').rstrip('/'), sys.argv[2]
client = triton.InferenceServerClient(url=host, concurrency=4)
metadata = client.get_model_metadata(model)
take, give = metadata['inputs'][0], metadata['outputs'][0]
row = [1] + list(take['shape'][1:])
x = np.random.default_rng(7).standard_normal(row).astype(np.float32)


def ask(module, data, binary=True, datatype='FP32'):
    i = module.InferInput(take['name'], list(data.shape), datatype)
    i.set_data_from_numpy(data, binary_data=binary)
    return [i], [module.InferRequestedOutput(give['name'], binary_data=binary)]


def scores(data=x, binary=True, **options):
    inputs, outputs = ask(triton, data, binary)
    return client.infer(model, inputs, outputs=outputs, **options).as_numpy(give['name'])


def refused(call, words):
    try:
        call()
    except InferenceServerException as why:
        assert words in str(why), why
        return
    raise AssertionError('nothing was refused where "%s" is expected' % words)


def health_and_metadata():
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(model)
    assert client.get_server_metadata()['name']
    assert metadata['name'] == model and take['datatype'] == 'FP32'
    assert client.get_model_config(model)['name'] == model
    refused(lambda: client.get_model_metadata('no-such'), 'unknown model')


def infer_binary_and_json():
    want = scores()
    assert want.shape[0] == 1
    assert np.array_equal(scores(binary=False), want)
    assert np.array_equal(scores(np.concatenate([x, x]))[1], want[0])
    inputs, _ = ask(triton, x)
    answer = client.infer(model, inputs, request_id='seven', timeout=20000000, priority=1)
    assert answer.get_response()['id'] == 'seven' and answer.get_response()['parameters']['time_us'] > 0
    assert np.allclose(answer.as_numpy(give['name']), want, atol=1e-4)


def compressed():
    want = scores()
    for coding in 'gzip', 'deflate':
        got = scores(request_compression_algorithm=coding, response_compression_algorithm=coding)
        assert np.array_equal(got, want)


def classes():
    inputs, _ = ask(triton, x)
    outputs = [triton.InferRequestedOutput(give['name'], binary_data=False, class_count=2)]
    best = client.infer(model, inputs, outputs=outputs).as_numpy(give['name'])
    assert best.shape == (1, 2)


def asynchronous():
    want = scores()
    inputs, outputs = ask(triton, x)
    for reply in [client.async_infer(model, inputs, outputs=outputs) for _ in range(8)]:
        assert np.array_equal(reply.get_result().as_numpy(give['name']), want)


def with_asyncio():
    try:
        import tritonclient.http.aio as aio
    except ImportError as why:
        print('asyncio is left out: %s' % why)
        return
    want = scores()

    async def run():
        async with aio.InferenceServerClient(host) as c:
            assert await c.is_model_ready(model)
            inputs, outputs = ask(aio, x)
            answers = await asyncio.gather(*[c.infer(model, inputs, outputs=outputs) for _ in range(4)])
            for answer in answers:
                assert np.array_equal(answer.as_numpy(give['name']), want)
    asyncio.run(run())


def what_is_not_there_is_refused():
    words = np.full(row, b'word', dtype=np.object_)
    inputs, _ = ask(triton, words, datatype='BYTES')
    refused(lambda: client.infer(model, inputs), 'numbers')
    inputs, outputs = ask(triton, x)
    inputs[0].set_shared_memory('region', x.nbytes)
    refused(lambda: client.infer(model, inputs), 'shared_memory')
    refused(lambda: client.register_system_shared_memory('region', '/region', x.nbytes), 'shared memory')
    inputs, outputs = ask(triton, x)
    refused(lambda: client.infer(model, inputs, sequence_id=5), 'sequence_id')


def what_it_counts():
    assert client.get_trace_settings(model)['trace_level'][0] in ('OFF', 'TIMESTAMPS')
    assert client.update_trace_settings(model, {'trace_count': '5'})['trace_count'] == '5'
    assert client.update_trace_settings(model, {'trace_count': None})['trace_count'] == '-1'
    refused(lambda: client.update_trace_settings(model, {'trace_file': '/tmp/x'}), 'trace_file')
    assert client.get_model_repository_index()[0]['name'] == model
    before = client.get_inference_statistics(model)['model_stats'][0]['inference_stats']['success']['count']
    scores()
    after = client.get_inference_statistics(model)['model_stats'][0]['inference_stats']['success']['count']
    assert after == before + 1


def loaded_and_unloaded():
    want = scores()
    client.unload_model(model, unload_dependents=True)
    assert client.is_server_live() and not client.is_model_ready(model)
    entry = client.get_model_repository_index()[0]
    assert entry['state'] == 'UNAVAILABLE' and entry['reason'] == 'unloaded', entry
    refused(scores, "Request for unknown model: '%s' is not at ready state" % model)
    refused(lambda: client.get_model_metadata(model), "is not at ready state")
    client.load_model(model)
    assert client.is_model_ready(model) and client.get_model_repository_index()[0]['state'] == 'READY'
    assert np.array_equal(scores(), want)
    refused(lambda: client.load_model(model, config='{}'), 'pipeline file')
    refused(lambda: client.load_model('no-such'), 'unknown model')
    assert client.is_model_ready(model)


failed = 0
for check in (health_and_metadata, infer_binary_and_json, compressed, classes, asynchronous, with_asyncio,
              what_is_not_there_is_refused, what_it_counts, loaded_and_unloaded):
    try:
        check()
    except Exception as why:  # whatever it is, the other checks go on
        failed += 1
        print('%s: %s: %s' % (check.__name__, type(why).__name__, why))
print('%d failed' % failed)
sys.exit(failed > 0)
