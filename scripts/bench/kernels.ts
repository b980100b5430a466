/**
 * Measures the products a step is made of against what this machine can do at most: bytes read a second and float32
 * multiply-adds a second. Opens the built library and keeps weights as the engine does; knows no model and no server.
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Dtype, evaluate, fromBytes, type MlxArray } from "../../src/mlx/array.ts";
import { findLibrary } from "../../src/mlx/discovery.ts";
import { openExtras } from "../../src/mlx/extras.ts";
import { openLibrary } from "../../src/mlx/library.ts";
import { add, transpose } from "../../src/mlx/ops.ts";
import { giveUp, type Linear } from "../../src/models/layers.ts";
import { projection } from "../../src/models/projection.ts";
import { median, table } from "./numbers.ts";

const HELP = `bun scripts/bench/kernels.ts [options]

  --shapes LIST    ROWSxCOLUMNS of the weights, 576x576,… unless given
  --bits LIST      4,8 unless given
  --groups LIST    32 unless given (32, 64, 128 are known)
  --batch LIST     rows of the other factor, 1,2,4,8,16,128,512 unless given
  --rounds N       measured rounds, 9 unless given; the fastest is printed (one more goes before, unmeasured)
  --budget-ms N    length of a round at most, 60 unless given
  --json           print for programs

Weights are cold: each operation of a round takes another copy, until the copies fill 128 MB, so none is found in a cache.
Bytes are those the engine holds: packed weights with float16 scales and biases, or bfloat16. Limits are the best of many rounds too: both
say what this machine does when nothing else runs on it.
`;

const ROOT = join(import.meta.dir, "../..");
const SHAPES = "576x576,192x576,1536x576,576x1536,49152x576,1024x3072,3072x1024,4096x4096,151936x1024";
const COLD_BYTES = 128 * 2 ** 20; // several times the last-level cache
const OPERATIONS_MAX = 400; // of one evaluation
const SMALL_CHAIN = 100;
const SMALL_TURNS = 200;

interface Limits {
  readonly threads: number;
  readonly read_gb_per_s: number;
  readonly multiply_add_gflop_per_s: number;
}

interface Product {
  readonly what: string;
  readonly batch: number;
  readonly operations: number;
  readonly operation_us: number;
  readonly gb_per_s: number;
  readonly gflop_per_s: number;
}

/** A product with one of several copies of its weight, so that two in a row never take the same. */
interface Case {
  readonly what: string;
  readonly rows: number;
  readonly columns: number;
  readonly weight_bytes: number;
  product(x: MlxArray, copy: number): MlxArray;
  release(): void;
}

const { values } = parseArgs({
  options: {
    shapes: { type: "string", default: SHAPES },
    bits: { type: "string", default: "4,8" },
    groups: { type: "string", default: "32" },
    batch: { type: "string", default: "1,2,4,8,16,128,512" },
    rounds: { type: "string", default: "9" },
    "budget-ms": { type: "string", default: "60" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (values.help) process.stdout.write(HELP);
else main();

function main(): void {
  const limits = measureLimits();
  const places = { named: null, own_folder: join(ROOT, "build/native"), homebrew_folders: ["/opt/homebrew/lib"] };
  const library = findLibrary(places, process.platform);
  openLibrary(library);
  openExtras(library, true);
  const small = measureSmall();
  if (!values.json) printLimits(limits, small);
  const products: Product[] = [];
  for (const make of cases()) {
    const product_case = make();
    const measured = numbersOf(values.batch).map((batch) => measure(product_case, batch));
    product_case.release();
    products.push(...measured);
    if (!values.json) printProducts(measured, limits);
  }
  if (values.json) process.stdout.write(`${JSON.stringify({ limits, small, products })}\n`);
}

/** Compiled here and now, for this processor: the two limits have no meaning on another one. */
function measureLimits(): Limits {
  const program = join(ROOT, "build/machine-limits");
  const source = join(import.meta.dir, "machine-limits.cpp");
  mkdirSync(join(ROOT, "build"), { recursive: true });
  run(["g++", "-std=c++20", "-O3", "-march=native", "-pthread", "-o", program, source]);
  return JSON.parse(run([program, String(navigator.hardwareConcurrency)])) as Limits;
}

function run(command: readonly string[]): string {
  const result = Bun.spawnSync([...command], { stderr: "inherit" });
  if (!result.success) throw new Error(`Cannot measure: ${command[0]} exited with ${result.exitCode}`);
  return result.stdout.toString();
}

function cases(): (() => Case)[] {
  const shapes = values.shapes.split(",").map((shape) => shape.split("x").map(Number));
  const quantized = shapes.flatMap(([rows = 0, columns = 0]) =>
    numbersOf(values.bits).flatMap((bits) =>
      numbersOf(values.groups).map((group_size) => () => quantizedCase(rows, columns, group_size, bits)),
    ),
  );
  const dense = shapes
    .filter(([rows = 0, columns = 0]) => rows * columns * 2 <= COLD_BYTES)
    .map(
      ([rows = 0, columns = 0]) =>
        () =>
          denseCase(rows, columns),
    );
  return [...quantized, ...dense];
}

function quantizedCase(rows: number, columns: number, group_size: number, bits: number): Case {
  const packed = new Uint32Array((rows * columns * bits) / 32).map((_, word) => Math.imul(word + 1, 0x9e3779b1));
  const groups = (rows * columns) / group_size;
  const halves = (value: number) => new Uint8Array(Float16Array.from({ length: groups }, () => value).buffer);
  const [scales, biases] = [halves(0.01), halves(-0.01 * 2 ** (bits - 1))];
  const stored = (part: Uint8Array) => fromBytes(part, [rows, columns / group_size], "float16");
  return caseOf(`${bits} bits, groups of ${group_size}`, rows, columns, {
    bytes: packed.byteLength + scales.byteLength + biases.byteLength,
    make: () => ({
      ...alone(rows, columns),
      kind: "quantized",
      weight: fromBytes(packed, [rows, (columns * bits) / 32], "uint32"),
      scales: stored(scales),
      biases: stored(biases),
      how: { mode: "affine", group_size, bits },
    }),
  });
}

function denseCase(rows: number, columns: number): Case {
  const dtype: Dtype = "bfloat16";
  const upper_halves = new Uint16Array(noise(rows * columns).buffer).filter((_, half) => half % 2 === 1);
  return caseOf(dtype, rows, columns, {
    bytes: upper_halves.byteLength,
    make: () => {
      const weight = fromBytes(upper_halves, [rows, columns], dtype);
      return { ...alone(rows, columns), kind: "dense", weight, transposed: transpose(weight, [1, 0]) };
    },
  });
}

function alone(rows: number, columns: number) {
  return { bias: null, target: { name: "", rows, columns, picked: null } };
}

function caseOf(
  what: string,
  rows: number,
  columns: number,
  { bytes, make }: { readonly bytes: number; readonly make: () => Linear },
): Case {
  const layers = Array.from({ length: copiesOf(bytes) }, () => {
    const linear = make();
    return { linear, kept: projection(linear, columns) };
  });
  return {
    what: `${rows}x${columns} ${what}`,
    rows,
    columns,
    weight_bytes: bytes,
    product(x, copy) {
      const taken = layers[copy % layers.length];
      if (taken === undefined) throw new Error("a case has at least one copy");
      return taken.kept.apply(x);
    },
    release() {
      for (const { linear, kept } of layers) {
        kept[Symbol.dispose]();
        giveUp(linear);
      }
    },
  };
}

function copiesOf(weight_bytes: number): number {
  return Math.max(1, Math.ceil(COLD_BYTES / weight_bytes));
}

function measure(product_case: Case, batch: number): Product {
  const { what, rows, columns, weight_bytes } = product_case;
  using x = fromBytes(noise(batch * columns), [batch, columns], "float32");
  let copy = 0;
  const evaluated_s = (operations: number) => {
    const results = Array.from({ length: operations }, () => product_case.product(x, copy++));
    const start_ms = performance.now();
    evaluate(...results);
    const duration_ms = performance.now() - start_ms;
    for (const result of results) result[Symbol.dispose]();
    return duration_ms / 1000;
  };
  evaluated_s(1); // warms threads and allocators
  const probe_s = Math.min(evaluated_s(1), evaluated_s(1));
  const fitting = Math.floor(Number(values["budget-ms"]) / 1000 / probe_s);
  const operations = Math.max(1, Math.min(OPERATIONS_MAX, fitting));
  evaluated_s(operations);
  const operation_s = Math.min(...numbersTo(Number(values.rounds)).map(() => evaluated_s(operations) / operations));
  return {
    what,
    batch,
    operations,
    operation_us: operation_s * 1e6,
    gb_per_s: weight_bytes / operation_s / 1e9,
    gflop_per_s: (2 * rows * columns * batch) / operation_s / 1e9,
  };
}

interface Small {
  /** Making the operation, evaluating it and waiting, one at a time. */
  readonly alone_us: number;
  /** Each of a chain where one needs the one before; all made first, then evaluated once. */
  readonly chained_us: number;
  /** Making it only: what the bridge costs. */
  readonly made_us: number;
}

/** The addition of two vectors of 576: what an operation costs that computes next to nothing. */
function measureSmall(): Small {
  using a = fromBytes(noise(576), [1, 576], "float32");
  using zero = fromBytes(new Float32Array(576), [1, 576], "float32");
  const alone = () => {
    const start_ms = performance.now();
    using y = add(a, zero);
    evaluate(y);
    return performance.now() - start_ms;
  };
  const chained = () => {
    const start_ms = performance.now();
    const chain = [add(a, zero)];
    for (let link = 1; link < SMALL_CHAIN; link++) chain.push(add(chain.at(-1) ?? a, zero));
    const made_ms = performance.now() - start_ms;
    evaluate(chain.at(-1) ?? a);
    const all_ms = performance.now() - start_ms;
    for (const link of chain) link[Symbol.dispose]();
    return { made_ms: made_ms / SMALL_CHAIN, all_ms: all_ms / SMALL_CHAIN };
  };
  const alones = numbersTo(SMALL_TURNS)
    .map(alone)
    .slice(SMALL_TURNS / 4);
  const chains = numbersTo(SMALL_TURNS)
    .map(chained)
    .slice(SMALL_TURNS / 4); // the first quarter warms the JIT
  return {
    alone_us: median(alones) * 1000,
    chained_us: median(chains.map((chain) => chain.all_ms)) * 1000,
    made_us: median(chains.map((chain) => chain.made_ms)) * 1000,
  };
}

function printLimits(limits: Limits, small: Small): void {
  const rows = [
    [`read from memory, ${limits.threads} threads`, `${limits.read_gb_per_s.toFixed(1)} GB/s`],
    [`float32 multiply-adds, ${limits.threads} threads`, `${limits.multiply_add_gflop_per_s.toFixed(1)} GFLOP/s`],
    ["small operation, alone", `${small.alone_us.toFixed(1)} µs`],
    [`small operation, in a chain of ${SMALL_CHAIN}`, `${small.chained_us.toFixed(1)} µs`],
    ["  of that, making it", `${small.made_us.toFixed(1)} µs`],
  ];
  process.stdout.write(`${table(rows)}\n`);
}

function printProducts(products: readonly Product[], limits: Limits): void {
  const share = (part: number, whole: number) => `${Math.round((100 * part) / whole)} %`;
  const head = [products[0]?.what ?? "", "rows", "µs", "GB/s", "of memory", "GFLOP/s", "of peak"];
  const rows = products.map((product) => [
    "",
    String(product.batch),
    product.operation_us.toFixed(1),
    product.gb_per_s.toFixed(1),
    share(product.gb_per_s, limits.read_gb_per_s),
    product.gflop_per_s.toFixed(1),
    share(product.gflop_per_s, limits.multiply_add_gflop_per_s),
  ]);
  process.stdout.write(`${table([head, ...rows])}\n`);
}

/** Values between -1 and 1 that are the same in every run. */
function noise(length: number): Float32Array {
  return new Float32Array(length).map((_, index) => (Math.imul(index + 1, 0x9e3779b1) | 0) / 2 ** 31);
}

function numbersOf(list: string): number[] {
  return list.split(",").map(Number);
}

function numbersTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
