/** What a family asks of its weights, whatever file they lie in. Knows no file format. */

import { evaluate, fromBytes, type MlxArray } from "../mlx/array.ts";
import { slice, take, transpose } from "../mlx/ops.ts";
import { type Experts, giveUp, type Linear, weightsOf } from "./layers.ts";

/** Where the matrices of all experts are: stacked in one tensor, or each in its own. */
export interface ExpertNames {
  readonly whole: string;
  each(expert: number): string;
  /** Or in blocks of MXFP4, as `name`_blocks, _scales and _bias: of the rows, every `step`th from `first` on. */
  readonly blocks?: { readonly name: string; readonly first: number; readonly step: number } | undefined;
}

/** Names are those of the Hugging Face layout. Each call throws a `Failure` naming file, tensor and what was expected. */
export interface Weights extends Disposable {
  /** For messages. */
  readonly file: string;
  readonly bytes_resident: number;
  has(name: string): boolean;
  /** A tensor of a block that was read, which nothing has asked for: it would be half of a model without it. */
  readonly left_over: string | null;
  /** Closes the files; the arrays stay. */
  release(): void;
  /** A dense tensor of one axis, `more` added to it; not where the file holds the sum already. */
  vector(name: string, size: number, more?: number): MlxArray;
  /** `name.weight` (rows, columns), dense or quantised, and `name.bias` (rows) when asked for. */
  linear(name: string, rows: number, columns: number, bias: boolean): Linear;
  /** Several projections whose rows lie one behind the other in one such matrix. */
  linears(name: string, rows: readonly number[], columns: number, bias: boolean): Linear[];
  /** Of one such matrix, without a bias, the rows that each of `picks` names, as matrices of their own. */
  picked(name: string, rows: number, columns: number, picks: readonly (readonly number[])[]): Linear[];
  /** `name.weight` of a convolution of each channel by itself, turned to (taps, channels). */
  taps(name: string, channels: number, taps: number): MlxArray;
  /** `count` matrices (rows, columns) of one layer, and their biases (rows) when asked for. */
  experts(names: ExpertNames, count: number, rows: number, columns: number, bias: boolean): Experts;
}

/** The same tensors under other names: `stored` gives the file's for one that is asked for. */
export function renamed(weights: Weights, stored: (name: string) => string): Weights {
  return {
    file: weights.file,
    get bytes_resident() {
      return weights.bytes_resident;
    },
    has: (name) => weights.has(stored(name)),
    get left_over() {
      return weights.left_over;
    },
    release: () => weights.release(),
    vector: (name, size, more) => weights.vector(stored(name), size, more),
    linear: (name, rows, columns, bias) => weights.linear(stored(name), rows, columns, bias),
    linears: (name, rows, columns, bias) => weights.linears(stored(name), rows, columns, bias),
    picked: (name, rows, columns, picks) => weights.picked(stored(name), rows, columns, picks),
    taps: (name, channels, taps) => weights.taps(stored(name), channels, taps),
    experts({ whole, each, blocks }, count, rows, columns, bias) {
      const names = { whole: stored(whole), each: (expert: number) => stored(each(expert)) };
      const own = blocks === undefined ? undefined : { ...blocks, name: stored(blocks.name) };
      return weights.experts({ ...names, blocks: own }, count, rows, columns, bias);
    },
    [Symbol.dispose]: () => weights[Symbol.dispose](),
  };
}

/** Of `names` one in a block of which others were `asked` for, and not itself; but positions as old files hold them. */
export function leftOver(names: Iterable<string>, asked: ReadonlySet<string>): string | null {
  const read = new Set([...asked].flatMap(blockOf));
  const others = [...names].filter((name) => !(asked.has(name) || name.includes("rotary_emb")));
  return others.find((name) => blockOf(name).some((block) => read.has(block))) ?? null;
}

function blockOf(name: string): readonly string[] {
  return /^(?:.*\.)?(?:layers|blk)\.\d+\./.exec(name) ?? [];
}

/** The numbers of each part's rows where those of all parts lie behind each other, `turns` times. */
export function inTurns(turns: number, sizes: readonly number[]): number[][] {
  const whole = sizes.reduce((sum, size) => sum + size, 0);
  let first = 0;
  return sizes.map((size) => {
    const start = first;
    first += size;
    return Array.from({ length: turns * size }, (_, at) => Math.floor(at / size) * whole + start + (at % size));
  });
}

/** Keeps what was loaded until the model goes. Arrays are computed when they come in, so no file stays open for later. */
export class ArrayKeeper implements Disposable {
  readonly #arrays = new DisposableStack();
  readonly #told: (bytes: number) => void;
  #bytes = 0;

  /** `told` of the bytes that are kept, with each array. */
  constructor(told: (bytes: number) => void) {
    this.#told = told;
  }

  get bytes_resident(): number {
    return this.#bytes;
  }

  keep(array: MlxArray): MlxArray {
    this.#bytes += array.bytes;
    return this.view(array);
  }

  /** Keeps what shares the memory of an array that is kept. */
  view(array: MlxArray): MlxArray {
    this.#arrays.use(array);
    evaluate(array);
    this.#told(this.#bytes);
    return array;
  }

  /** One matrix as several of so many rows, which take its place. */
  split(whole: Linear, rows: readonly number[]): Linear[] {
    let end = 0;
    const parts = rows.map((count) => {
      const [first, last] = [end, end + count];
      end = last;
      const picked = Array.from({ length: count }, (_, row) => first + row);
      const cut = (array: MlxArray) => this.view(rowsBetween(array, first, last));
      const bias = whole.bias === null ? null : cut(whole.bias);
      const target = { ...whole.target, picked };
      if (whole.kind === "quantized") {
        const { weight, scales, biases } = whole;
        return { ...whole, weight: cut(weight), scales: cut(scales), biases: biases && cut(biases), bias, target };
      }
      const weight = cut(whole.weight);
      return { ...whole, weight, transposed: this.view(transpose(weight, [1, 0])), bias, target };
    });
    giveUp(whole);
    return parts;
  }

  /** Rows of one matrix by their numbers as several matrices, which take its place. */
  pick(whole: Linear, picks: readonly (readonly number[])[]): Linear[] {
    const parts = picks.map((rows): Linear => {
      using numbers = fromBytes(Int32Array.from(rows), [rows.length], "int32");
      const cut = (array: MlxArray) => this.keep(take(array, numbers, 0));
      const target = { ...whole.target, picked: rows };
      if (whole.kind === "quantized") {
        const { weight, scales, biases } = whole;
        return { ...whole, weight: cut(weight), scales: cut(scales), biases: biases && cut(biases), target };
      }
      const weight = cut(whole.weight);
      return { ...whole, weight, transposed: this.view(transpose(weight, [1, 0])), target };
    });
    for (const array of weightsOf(whole)) this.#bytes -= array?.bytes ?? 0;
    giveUp(whole);
    return parts;
  }

  [Symbol.dispose](): void {
    this.#arrays.dispose();
  }
}

function rowsBetween(array: MlxArray, first: number, last: number): MlxArray {
  const [, ...rest] = array.shape;
  return slice(array, [first, ...rest.map(() => 0)], [last, ...rest]);
}
