// Checks exported files with a JavaScript build of ONNX Runtime, by the rule of exporters/golden.py:
//   node verify.mjs NODE_MODULES onnxruntime-node|onnxruntime-web THREADS FILE.onnx ...
// One JSON line a run, as check.py prints them; exit code 1 if a file lies outside its tolerance.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import process from "node:process";

const [modules, name, threadsText, ...files] = process.argv.slice(2);
const threads = Number(threadsText);
const ort = createRequire(join(modules, "from-here.js"))(name);
const { version } = JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8"));
if (name === "onnxruntime-web") ort.env.wasm.numThreads = threads;

// 8 bytes HEPFLOW1; int64 N, C, Z, D; float64 cond (N, C), noise (N, Z), expected (N, D); little-endian
function readGolden(path) {
  const data = readFileSync(path);
  if (data.toString("latin1", 0, 8) !== "HEPFLOW1") throw new Error(`${path}: not a golden file`);
  const [n, ...widths] = [0, 1, 2, 3].map((i) => Number(data.readBigInt64LE(8 + 8 * i)));
  const length = 40 + 8 * n * widths.reduce((sum, width) => sum + width, 0);
  if (data.length !== length) throw new Error(`${path}: ${data.length} bytes instead of ${length}`);
  let offset = 40;
  const [cond, noise, expected] = widths.map((width) => {
    const values = Float64Array.from({ length: n * width }, (_, i) => data.readDoubleLE(offset + 8 * i));
    offset += 8 * values.length;
    return { width, values };
  });
  return { n, cond, noise, expected };
}

const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

// rows from `start` to `stop` of matrices, side by side
function rows(start, stop, ...parts) {
  const out = [];
  for (let row = start; row < stop; row++)
    for (const { width, values } of parts) out.push(...values.subarray(row * width, (row + 1) * width));
  return Float32Array.from(out);
}

async function evaluate(session, golden, batch) {
  const { n, cond, noise, expected } = golden;
  const sources = { cond: [cond], noise: [noise], input: [noise, cond] };
  const x = new Float64Array(n * expected.width);
  for (let start = 0; start < n; start += batch) {
    const stop = Math.min(n, start + batch);
    const feeds = {};
    for (const input of session.inputNames) {
      const width = sources[input].reduce((sum, part) => sum + part.width, 0);
      feeds[input] = new ort.Tensor("float32", rows(start, stop, ...sources[input]), [stop - start, width]);
    }
    x.set((await session.run(feeds))[session.outputNames[0]].data, start * expected.width);
  }
  return x;
}

// differences of all events in which no element is zero on one side only; such elements are counted
function agreement(x, { n, expected }, steps) {
  const { width, values } = expected;
  const differences = [];
  let flips = 0;
  for (let row = 0; row < n; row++) {
    const here = [];
    let flipped = 0;
    for (let i = row * width; i < (row + 1) * width; i++) {
      if (steps && (x[i] === 0) !== (values[i] === 0)) flipped++;
      const difference = Math.abs(x[i] - values[i]);
      here.push(Number.isNaN(difference) ? Infinity : difference);
    }
    flips += flipped;
    if (!flipped) differences.push(...here);
  }
  differences.sort((a, b) => a - b);
  const quantile = (q) => (differences.length ? differences[Math.floor(q * (differences.length - 1))] : Infinity);
  return { median: quantile(0.5), p999: quantile(0.999), maximum: quantile(1), flips };
}

async function check(path, optimise) {
  const manifest = JSON.parse(readFileSync(path.replace(/\.onnx$/, ".manifest.json"), "utf8"));
  const goldenPath = path.replace(/\.onnx$/, ".golden.bin");
  const failures = [];
  if (sha256(path) !== manifest.model.sha256) failures.push("the model is not the manifest's");
  if (sha256(goldenPath) !== manifest.golden.sha256) failures.push("the golden file is not the manifest's");
  const { golden_bound: bound, steps } = manifest.metadata.tolerance;
  const golden = readGolden(goldenPath);
  const session = await ort.InferenceSession.create(readFileSync(path), {
    executionProviders: [name === "onnxruntime-web" ? "wasm" : "cpu"],
    graphOptimizationLevel: optimise ? "all" : "disabled",
    intraOpNumThreads: threads,
    logSeverityLevel: 3,
  });
  let largest = 0;
  for (const batch of [golden.n, 1, 7, golden.n]) {
    const found = agreement(await evaluate(session, golden, batch), golden, steps);
    largest = Math.max(largest, found.maximum);
    for (const key of ["median", "p999", "maximum"])
      if (!(found[key] <= bound[key])) failures.push(`batches of ${batch}: ${key} ${found[key]} > ${bound[key]}`);
    if (found.flips) failures.push(`batches of ${batch}: ${found.flips} values are zero on one side only`);
  }
  return { off_by: largest, allowed: bound.maximum, failures };
}

let wrong = false;
for (const path of files)
  for (const optimise of [true, false]) {
    const run = {
      runtime: name, version, file: basename(path, ".onnx"), optimisation: optimise ? "on" : "off", threads,
    };
    let outcome;
    try {
      outcome = await check(path, optimise);
    } catch (error) {
      outcome = { failures: [String(error?.message ?? error).split("\n")[0]] };
    }
    wrong ||= outcome.failures.length > 0;
    console.log(JSON.stringify({ ...run, ...outcome }));
  }
process.exit(wrong ? 1 : 0);
