// system_ort.js - a served pipeline and ONNX Runtime running the whole model take turns; prints the ratio of the means
//
// usage: NODE_PATH=.../node_modules node tests/bench/system_ort.js MODEL.onnx PIPELINE.yaml DATA [KEY=VALUE ...]
// The pipeline is up. Each round sends RUNS requests, one after the other, and times as many runs of ONNX Runtime in
// float32 (or of ORT_MODEL, a QDQ file, say). Ours is what a client waits: the way through all processes, look-ups and
// caches included. Rounds go on through the records of DATA.
'use strict';
const {execFileSync} = require('child_process');
const path = require('path');
const ort = require('onnxruntime-node');

const number = (name, otherwise) => Number(process.env[name] || otherwise);
const rounds = number('ROUNDS', 9), runs = number('RUNS', 300);
const [model, pipeline, data, ...sets] = process.argv.slice(2);
if (!data) {
  console.error('usage: system_ort.js MODEL.onnx PIPELINE.yaml DATA [KEY=VALUE ...]');
  process.exit(2);
}
const median = (a) => a.slice().sort((x, y) => x - y)[a.length >> 1];
const mean = (a) => a.reduce((x, y) => x + y, 0) / a.length;

function ours(round) {
  const args = ['bench', '-c', pipeline, '--data', `${data}#${round * runs}-${(round + 1) * runs - 1}`, '--closed', '1',
    '--requests', String(runs), '--json', ...sets.flatMap((s) => ['--set', s])];
  const p = JSON.parse(execFileSync(path.join('build', 'release', 'freezeline'), args,
    {maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'ignore']}));
  return p;
}

async function theirs(session, feeds) {
  const ms = [];
  for (let i = 0; i < runs + 5; i++) {
    const from = process.hrtime.bigint();
    await session.run(feeds);
    if (i >= 5) ms.push(Number(process.hrtime.bigint() - from) / 1e6);
  }
  return mean(ms);
}

(async () => {
  const session = await ort.InferenceSession.create(process.env.ORT_MODEL || model,
    {intraOpNumThreads: 1, interOpNumThreads: 1});
  const meta = (session.inputMetadata || [])[0];
  const shape = (meta && meta.shape ? meta.shape : [1, 3, 32, 32]).map((d) => (typeof d === 'number' && d > 0 ? d : 1));
  const x = Float32Array.from({length: shape.reduce((a, b) => a * b, 1)}, (_, i) => Math.sin(i));
  const feeds = {[session.inputNames[0]]: new ort.Tensor('float32', x, shape)};
  const us = [], them = [], p50 = [];
  for (let r = 0; r < rounds; r++) {
    them.push(await theirs(session, feeds));
    const p = ours(r);
    us.push(p.latency_ms.mean);
    p50.push(p.latency_ms.p50);
  }
  const ratios = us.map((ms, i) => ms / them[i]).sort((a, b) => a - b);
  const ratio = (mean(us) / mean(them)).toFixed(3), spread = `${ratios[0].toFixed(3)} .. ${ratios.at(-1).toFixed(3)}`;
  console.log(`ours ${mean(us).toFixed(3)} ms (p50 ${median(p50).toFixed(3)}), ONNX Runtime ` +
    `${mean(them).toFixed(3)} ms; ratio of the means ${ratio} [${spread}], ${rounds} rounds of ${runs}`);
})().catch((e) => { console.error(e.message); process.exit(1); });
