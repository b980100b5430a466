/** Reads what an adapter adds to the layers of one matrix, or of a layer's experts. Knows no names. */

import { Failure } from "../core/failure.ts";
import type { FileBytes } from "../formats/file-bytes.ts";
import type { SafetensorsTensor } from "../formats/safetensors.ts";
import { evaluate, fromBytes, type MlxArray, toFloat32 } from "../mlx/array.ts";
import { add, astype, concatenate, matmul, multiply, reshape, sum, take, transpose, zeros } from "../mlx/ops.ts";
import type { AdapterFolder, Pieces } from "./adapter-files.ts";
import { type ExpertsPlan, type MatrixPlan, type Plan, rankOf } from "./adapter-plan.ts";
import { FLOAT_DTYPES, toActivationDtype } from "./dense.ts";
import { type ExpertTarget, type Linear, linear, type NativeLinear, type Target, times, weightRows } from "./layers.ts";

/** What is added to a projection: x · down · up. */
export interface Term {
  /** (columns, rank), of experts (experts, columns, rank) */
  readonly down: MlxArray;
  /** (rank, rows), the adapter's scale in it; of experts (experts, rank, rows) */
  readonly up: MlxArray;
  readonly stretch: Stretch | null;
}

/** What brings a projection's own result to the lengths that an adapter has for its rows: (rows) each, y · factors + offsets more. */
export interface Stretch {
  readonly factors: MlxArray;
  readonly offsets: MlxArray;
}

export type OwnTerm = readonly [Target | ExpertTarget, Term];

/** The arrays are `own`'s. */
export function readTerms(file: FileBytes, form: AdapterFolder, plan: Plan, own: DisposableStack): OwnTerm[] {
  const reader = new Reader(file, form, own);
  return plan.kind === "matrix" ? matrixTerms(reader, plan) : [expertTerm(reader, plan)];
}

/** Reads matrices as (…, columns, rank) and (…, rank, rows), the scale in the latter. */
class Reader {
  readonly #file: FileBytes;
  readonly #form: AdapterFolder;
  readonly #own: DisposableStack;

  constructor(file: FileBytes, form: AdapterFolder, own: DisposableStack) {
    this.#file = file;
    this.#form = form;
    this.#own = own;
  }

  keep(array: MlxArray): MlxArray {
    return this.#own.use(array);
  }

  down({ down }: Pieces): MlxArray {
    using stored = this.#read(down);
    return this.#straight(stored);
  }

  up(pieces: Pieces): MlxArray {
    using stored = this.#read(pieces.up);
    using straight = this.#straight(stored);
    return times(straight, this.#form.scaleOf(pieces.name, rankOf(pieces, this.#form)));
  }

  lengths(tensor: SafetensorsTensor): Float32Array {
    using stored = this.#read(tensor);
    return floatsOf(stored);
  }

  #straight(stored: MlxArray): MlxArray {
    if (stored.shape.length === 3) return transpose(stored, [0, 2, 1]);
    return transpose(stored, this.#form.turned ? [1, 0] : [0, 1]);
  }

  #read(tensor: SafetensorsTensor): MlxArray {
    const dtype = FLOAT_DTYPES.get(tensor.dtype);
    if (dtype === undefined) {
      const state = `tensor "${tensor.name}" must have dtype F32, F16 or BF16, found ${tensor.dtype}`;
      throw new Failure("unsupported", `Cannot load ${tensor.file}: ${state}`);
    }
    const bytes = this.#file.read(tensor.offset, tensor.bytes, `tensor "${tensor.name}"`);
    using stored = fromBytes(bytes, tensor.shape, dtype);
    return toActivationDtype(stored);
  }
}

function matrixTerms(reader: Reader, { pieces, layers }: MatrixPlan): OwnTerm[] {
  const down = reader.keep(reader.down(pieces));
  using whole = reader.up(pieces);
  const lengths = pieces.lengths && reader.lengths(pieces.lengths);
  return layers.map((layer): OwnTerm => {
    const rows = layer.target.picked ?? Array.from({ length: layer.target.rows }, (_, row) => row);
    using up = columnsOf(whole, rows);
    if (lengths === null) return [layer.target, { down, up: reader.keep(times(up, 1)), stretch: null }];
    const own = Float32Array.from(rows, (row) => lengths[row] ?? 0);
    return [layer.target, stretchedTerm(reader, layer, { down, up }, own)];
  });
}

function stretchedTerm(
  reader: Reader,
  layer: Linear | NativeLinear,
  { down, up }: Pick<Term, "down" | "up">,
  lengths: Float32Array,
): Term {
  const rows = lengths.length;
  const ratios = rowLengths(layer, down, up, rows).map((length, row) => (lengths[row] ?? 0) / length);
  const factors = ratios.map((ratio) => ratio - 1);
  const biases = biasOf(layer);
  const offsets = factors.map((factor, row) => -factor * (biases[row] ?? 0));
  using stretched = fromBytes(ratios, [rows], "float32");
  return {
    down,
    up: reader.keep(multiply(up, stretched)),
    stretch: {
      factors: reader.keep(fromBytes(factors, [rows], "float32")),
      offsets: reader.keep(fromBytes(offsets, [rows], "float32")),
    },
  };
}

// So many weights are dense at a time: 16 MB in each of a few arrays.
const WEIGHTS_AT_ONCE = 2 ** 22;

/** Of the rows of a layer's matrix with what is added to it. */
function rowLengths(layer: Linear | NativeLinear, down: MlxArray, up: MlxArray, rows: number): Float32Array {
  const lengths = new Float32Array(rows);
  const step = Math.max(1, Math.floor(WEIGHTS_AT_ONCE / layer.target.columns));
  using across = transpose(down, [1, 0]);
  for (let first = 0; first < rows; first += step) {
    const numbers = Array.from({ length: Math.min(step, rows - first) }, (_, row) => first + row);
    using wanted = fromBytes(Uint32Array.from(numbers), [numbers.length], "uint32");
    using own = weightRows(layer, wanted);
    using part = columnsOf(up, numbers);
    using upright = transpose(part, [1, 0]);
    using change = matmul(upright, across);
    using changed = add(own, change);
    using squares = multiply(changed, changed);
    using sums = sum(squares, 1);
    lengths.set(floatsOf(sums).map(Math.sqrt), first);
  }
  return lengths;
}

/** What the layer gives for nothing. */
function biasOf(layer: Linear | NativeLinear): Float32Array {
  using nothing = zeros([1, layer.target.columns], "float32");
  using answer = linear(nothing, layer);
  return floatsOf(answer);
}

function expertTerm(reader: Reader, plan: ExpertsPlan): OwnTerm {
  const { layer, whole, rank } = plan;
  const { count, rows, columns } = layer.expert_target;
  const down = whole === null ? stacked(plan, count, [columns, rank], (each) => reader.down(each)) : reader.down(whole);
  const up = whole === null ? stacked(plan, count, [rank, rows], (each) => reader.up(each)) : reader.up(whole);
  return [layer.expert_target, { down: reader.keep(down), up: reader.keep(up), stretch: null }];
}

/** A matrix of each expert, filled up to one shape with zeros; nothing but zeros where it has none. */
function stacked(
  { each }: ExpertsPlan,
  count: number,
  shape: readonly [number, number],
  read: (pieces: Pieces) => MlxArray,
): MlxArray {
  using stack = new DisposableStack();
  const all = Array.from({ length: count }, (_, expert) => {
    const pieces = each.get(expert);
    if (pieces === undefined) return stack.use(zeros([1, ...shape], "float32"));
    using own = read(pieces);
    using full = filledUp(own, shape);
    return stack.use(reshape(full, [1, ...shape]));
  });
  return concatenate(all, 0);
}

function filledUp(matrix: MlxArray, [rows, columns]: readonly [number, number]): MlxArray {
  const [own_rows = 0, own_columns = 0] = matrix.shape;
  const is_lower = own_rows < rows;
  if (!is_lower && own_columns === columns) return reshape(matrix, [rows, columns]);
  using rest = zeros(is_lower ? [rows - own_rows, columns] : [rows, columns - own_columns], "float32");
  return concatenate([matrix, rest], is_lower ? 0 : 1);
}

function columnsOf(matrix: MlxArray, numbers: readonly number[]): MlxArray {
  using wanted = fromBytes(Int32Array.from(numbers), [numbers.length], "int32");
  return take(matrix, wanted, 1);
}

function floatsOf(array: MlxArray): Float32Array {
  using floats = astype(array, "float32");
  evaluate(floats);
  return toFloat32(floats);
}
