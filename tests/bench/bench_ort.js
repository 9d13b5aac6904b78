// bench_ort.js - ONNX Runtime and freezeline take turns on the same model; prints the ratio of their medians
//
// Each round times RUNS runs of one, then of the other. What else the machine does hits both, so the ratio of a round is
// steadier than either time; the median of the rounds' ratios is printed with the smallest and largest. CLOCK=cpu takes
// the time that each computed, which other work disturbs less still; ours is the difference of two profiles, so that
// loading and warming up do not count.
'use strict';
const {execFileSync, spawnSync} = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const ort = require('onnxruntime-node');

const number = (name, otherwise) => Number(process.env[name] || otherwise);
const rounds = number('ROUNDS', 7), runs = number('RUNS', 60), threads = number('THREADS', 1);
const kernels = (process.env.KERNELS || 'auto,openblas').split(',');
const byCpu = process.env.CLOCK === 'cpu';
const freezeline = path.join('build', 'release', 'freezeline');
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'against-ort-'));

const sorted = (a) => a.slice().sort((x, y) => x - y);
const median = (a) => sorted(a)[Math.floor(a.length / 2)];

// The same numbers for both: a fixed pseudo-random sequence in [-1, 1).
function makeInput(count) {
  const x = new Float32Array(count);
  let seed = 1;
  for (let i = 0; i < count; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    x[i] = (seed >>> 8) / (1 << 23) - 1;
  }
  return x;
}

function writeNpy(file, data, dims) {
  const shape = dims.length === 1 ? `${dims[0]},` : dims.join(', ');
  let header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }`;
  header = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + '\n';
  const head = Buffer.from('\x93NUMPY\x01\x00\x00\x00', 'latin1');
  head.writeUInt16LE(header.length, 8);
  fs.writeFileSync(file, Buffer.concat([head, Buffer.from(header, 'latin1'), Buffer.from(data.buffer)]));
}

async function cpuOfOrt(session, feeds) {
  for (let i = 0; i < 3; i++) await session.run(feeds);
  const from = process.cpuUsage();
  for (let i = 0; i < 2 * runs; i++) await session.run(feeds);
  const used = process.cpuUsage(from);
  return (used.user + used.system) / 1e3 / (2 * runs);
}

async function timeOrt(session, feeds) {
  if (byCpu) return cpuOfOrt(session, feeds);
  const ms = [];
  for (let i = 0; i < runs + 5; i++) {
    const from = process.hrtime.bigint();
    await session.run(feeds);
    if (i >= 5) ms.push(Number(process.hrtime.bigint() - from) / 1e6);
  }
  return median(ms);
}

// A mode is one of --kernels, or a lower precision: ONNX Runtime computes in float32 beside it.
function computing(mode) {
  if (mode === 'bfloat16') return ['--precision', mode];
  return mode === 'int8' ? ['--precision', mode, '--scales', process.env.SCALES || 'scales.txt'] : ['--kernels', mode];
}

function profile(model, mode, count) {
  return [freezeline, 'profile', model, '--json', '--threads', threads, '--batch', 1, '--runs', count, ...computing(mode)]
    .map(String);
}

function cpuOfProfile(model, mode, count) {
  const script = 'TIMEFORMAT="%U %S"; time "$@" >/dev/null';
  const done = spawnSync('bash', ['-c', script, 'bash', ...profile(model, mode, count)], {encoding: 'utf8'});
  if (done.status) throw new Error(done.stderr);
  return done.stderr.trim().split(/\s+/).slice(-2).reduce((a, seconds) => a + 1e3 * Number(seconds), 0);
}

// profile uses half of its runs for the whole, half for the layers.
function timeOurs(model, mode) {
  const [program, ...args] = profile(model, mode, byCpu ? 2 : 2 * runs);
  const p = JSON.parse(execFileSync(program, args, {maxBuffer: 1 << 26}));
  if (byCpu) p.median_ms = (cpuOfProfile(model, mode, 2 + 2 * runs) - cpuOfProfile(model, mode, 2)) / (2 * runs);
  return p;
}

function check(model, mode, inputs, outputs) {
  const args = ['run', model, '--json', ...computing(mode), '--rtol', '1e-4', '--atol', '1e-5'];
  for (const [name, file] of inputs) args.push('--input', `${name}=${file}`);
  for (const [name, file] of outputs) args.push('--expect', `${name}=${file}`);
  try {
    return JSON.parse(execFileSync(freezeline, args, {maxBuffer: 1 << 26}));
  } catch (e) {
    return JSON.parse(e.stdout.toString());
  }
}

async function benchModel(model) {
  const session = await ort.InferenceSession.create(model, {intraOpNumThreads: threads, interOpNumThreads: 1});
  const feeds = {}, inputs = [], outputs = [];
  session.inputNames.forEach((name, i) => {
    const meta = (session.inputMetadata || [])[i];
    const shape = (meta && meta.shape ? meta.shape : [1, 3, 32, 32]).map((d) => (typeof d === 'number' && d > 0 ? d : 1));
    const data = makeInput(shape.reduce((a, b) => a * b, 1));
    const file = path.join(scratch, `in${i}.npy`);
    feeds[name] = new ort.Tensor('float32', data, shape);
    writeNpy(file, data, shape);
    inputs.push([name, file]);
  });
  const answer = await session.run(feeds);
  session.outputNames.forEach((name, i) => {
    const file = path.join(scratch, `out${i}.npy`);
    writeNpy(file, answer[name].data.slice(), answer[name].dims);
    outputs.push([name, file]);
  });
  const result = {model: path.basename(model), threads, rounds, runs, onnxruntime: (ort.env.versions || {}).node || ''};
  const theirs = [], ours = Object.fromEntries(kernels.map((k) => [k, []]));
  for (let r = 0; r < rounds; r++) {
    theirs.push(await timeOrt(session, feeds));
    for (const k of kernels) {
      const p = timeOurs(model, k);
      ours[k].push(p.median_ms);
      result.blas_core = p.blas_core;
    }
  }
  result.ort_median_ms = median(theirs);
  for (const k of kernels) {
    const ratios = sorted(ours[k].map((ms, i) => ms / theirs[i]));
    const errors = check(model, k, inputs, outputs).outputs.map((o) => o.max_rel_error);
    result[k] = {
      median_ms: median(ours[k]), ratio: median(ratios), ratio_min: ratios[0], ratio_max: ratios[ratios.length - 1],
      ratio_of_minima: Math.min(...ours[k]) / Math.min(...theirs), max_rel_error: Math.max(...errors),
    };
  }
  return result;
}

(async () => {
  for (const model of process.argv.slice(2)) {
    const r = await benchModel(model);
    if (process.env.JSON) {
      console.log(JSON.stringify(r));
      continue;
    }
    console.log(`${r.model}, ${r.threads} thread(s), batch 1, BLAS core ${r.blas_core}: ONNX Runtime ${r.onnxruntime} ` +
                `${r.ort_median_ms.toFixed(3)} ms${byCpu ? ' of CPU time' : ''} (median of ${r.rounds} rounds of ${r.runs} runs)`);
    for (const k of kernels)
      console.log(`  ${k.padEnd(9)} ${r[k].median_ms.toFixed(3)} ms, ratio ${r[k].ratio.toFixed(3)} ` +
                  `[${r[k].ratio_min.toFixed(3)} .. ${r[k].ratio_max.toFixed(3)}], of the fastest rounds ` +
                  `${r[k].ratio_of_minima.toFixed(3)}, largest relative error ${Number(r[k].max_rel_error).toExponential(1)}`);
  }
  fs.rmSync(scratch, {recursive: true});
})().catch((e) => { console.error(e.message); process.exit(1); });
