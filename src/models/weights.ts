/** What a family asks of its weights, whatever file they lie in. Knows no file format. */

import { evaluate, type MlxArray } from "../mlx/array.ts";
import type { Linear } from "./layers.ts";

/** Names are those of the Hugging Face layout. Each call throws a `Failure` naming file, tensor and what was expected. */
export interface Weights extends Disposable {
  /** For messages. */
  readonly file: string;
  readonly bytes_resident: number;
  has(name: string): boolean;
  /** Closes the files; the arrays stay. */
  release(): void;
  /** A dense tensor of one axis. */
  vector(name: string, size: number): MlxArray;
  /** `name.weight` (rows, columns), dense or quantised, and `name.bias` (rows) when asked for. */
  linear(name: string, rows: number, columns: number, bias: boolean): Linear;
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

  [Symbol.dispose](): void {
    this.#arrays.dispose();
  }
}
