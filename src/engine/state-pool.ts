/** What recurrent layers keep of sequences, in slots that belong to nobody in particular. Knows no row and no schedule. */

import { assert } from "../core/assert.ts";
import { fromBytes, type MlxArray, memoryOf } from "../mlx/array.ts";
import { type StateShape, stateBytes } from "../models/family.ts";
import type { StateSlots } from "../models/step.ts";

export class StatePool implements StateSlots, Disposable {
  /** Of the arrays of each piece that is saved by itself: their numbers and shapes. */
  readonly #pieces: readonly (readonly (readonly [index: number, shape: StateShape])[])[];
  /** By slot, an array for each shape. A slot nobody has written has none. */
  readonly #slots = new Map<number, (MlxArray | undefined)[]>();

  /** A piece has at most so many bytes, if its arrays have. */
  constructor(shapes: readonly StateShape[], piece_bytes_max = Number.POSITIVE_INFINITY) {
    this.#pieces = inPieces(shapes, piece_bytes_max);
  }

  get piece_bytes(): readonly number[] {
    return this.#pieces.map((piece) => stateBytes(piece.map(([, shape]) => shape)));
  }

  read(slot: number, index: number): MlxArray {
    const array = this.#slots.get(slot)?.[index];
    assert(array !== undefined, "a state is read where one was written");
    return array;
  }

  write(slot: number, index: number, array: MlxArray): void {
    const arrays = this.#slots.get(slot) ?? [];
    arrays[index]?.[Symbol.dispose]();
    arrays[index] = array;
    this.#slots.set(slot, arrays);
  }

  /** Copies out a piece of what a slot holds: `bytes` are as many as it has. */
  save(slot: number, bytes: Uint8Array, piece: number): void {
    let offset = 0;
    for (const [index] of this.#pieces[piece] ?? []) {
      const array = this.read(slot, index);
      bytes.set(memoryOf(array, 0, array.bytes), offset);
      offset += array.bytes;
    }
  }

  /** Puts back what was saved, into this slot or another. */
  load(slot: number, bytes: Uint8Array, piece: number): void {
    let offset = 0;
    for (const [index, shape] of this.#pieces[piece] ?? []) {
      const end = offset + stateBytes([shape]);
      this.write(slot, index, fromBytes(bytes.subarray(offset, end), shape, "float32"));
      offset = end;
    }
  }

  /** Gives back the memory of slots that hold nothing. */
  forget(slots: readonly number[]): void {
    for (const slot of slots) {
      for (const array of this.#slots.get(slot) ?? []) array?.[Symbol.dispose]();
      this.#slots.delete(slot);
    }
  }

  [Symbol.dispose](): void {
    this.forget([...this.#slots.keys()]);
  }
}

function inPieces(shapes: readonly StateShape[], bytes_max: number) {
  const pieces: [number, StateShape][][] = [];
  let bytes = bytes_max;
  for (const [index, shape] of shapes.entries()) {
    const more = stateBytes([shape]);
    if (bytes + more > bytes_max) pieces.push([]);
    bytes = bytes + more > bytes_max ? more : bytes + more;
    pieces.at(-1)?.push([index, shape]);
  }
  return pieces;
}
