// bench_ort.js - the same as bench_model, with ONNX Runtime: a line of JSON when ready, then one for each line read
//
// usage: node bench_ort.js MODEL.onnx [BATCH [MILLISECONDS [OUTPUT]]]        (1, 300)
//
// A part of table.py, on the same pseudo-random inputs as bench_model.c and with one thread. OUTPUT gets the raw
// outputs of the first run.
'use strict';
const fs = require('fs');
const ort = require('onnxruntime-node');

const [model, batch = '1', milliseconds = '300', output] = process.argv.slice(2);

// What profile_fill (stages/exec/profile.c) makes, on through all inputs.
let seed = 1;
function fill(count) {
  const x = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    x[i] = (seed >>> 8) / (1 << 23) - 1;
  }
  return x;
}

// Sizes that the model leaves open: the batch, and that of a picture for CIFAR-10 where it says nothing at all.
function tensors(session) {
  const feeds = {};
  session.inputNames.forEach((name, i) => {
    const meta = (session.inputMetadata || [])[i];
    const known = meta && meta.shape ? meta.shape : [0, 3, 32, 32];
    const shape = known.map((d, k) => (typeof d === 'number' && d > 0 ? d : k ? 1 : Number(batch)));
    feeds[name] = new ort.Tensor('float32', fill(shape.reduce((a, b) => a * b, 1)), shape);
  });
  return feeds;
}

async function round(session, feeds) {
  const ms = [], from = process.cpuUsage();
  let sum = 0;
  while (ms.length < 2 || sum < Number(milliseconds)) {
    const start = process.hrtime.bigint();
    await session.run(feeds);
    ms.push(Number(process.hrtime.bigint() - start) / 1e6);
    sum += ms[ms.length - 1];
  }
  const used = process.cpuUsage(from), n = ms.length;
  ms.sort((a, b) => a - b);
  return {ms: ms[Math.ceil(n / 2) - 1], mean: sum / n, p99: ms[Math.ceil(0.99 * n) - 1],
          cpu: (used.user + used.system) / 1e3 / n, runs: n};
}

(async () => {
  const session = await ort.InferenceSession.create(model, {intraOpNumThreads: 1, interOpNumThreads: 1});
  const feeds = tensors(session);
  const answer = await session.run(feeds);
  for (let i = 0; i < 2; i++) await session.run(feeds);
  if (output) fs.writeFileSync(output, Buffer.concat(session.outputNames.map((name) => {
    const data = answer[name].data;
    return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  })));
  console.log(JSON.stringify({engine: 'ONNX Runtime ' + ((ort.env.versions || {}).node || '')}));
  for await (const line of require('readline').createInterface({input: process.stdin}))
    console.log(JSON.stringify(await round(session, feeds)));
})().catch((e) => { console.error(e.message); process.exit(1); });
