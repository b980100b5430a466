/** What recurrent layers keep of sequences, in slots that belong to nobody in particular. Knows no row and no schedule. */

import { assert } from "../core/assert.ts";
import { fromBytes, type MlxArray, memoryOf } from "../mlx/array.ts";
import type { StateShape } from "../models/family.ts";
import type { StateSlots } from "../models/step.ts";

const FLOAT_BYTES = 4;

export class StatePool implements StateSlots, Disposable {
  readonly #shapes: readonly StateShape[];
  /** By slot, an array for each shape. A slot nobody has written has none. */
  readonly #slots = new Map<number, (MlxArray | undefined)[]>();

  constructor(shapes: readonly StateShape[]) {
    this.#shapes = shapes;
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

  /** Copies out all that a slot holds: `bytes` are as many as `stateBytes`. */
  save(slot: number, bytes: Uint8Array): void {
    let offset = 0;
    for (const index of this.#shapes.keys()) {
      const array = this.read(slot, index);
      bytes.set(memoryOf(array, 0, array.bytes), offset);
      offset += array.bytes;
    }
  }

  /** Puts back what was saved, into this slot or another. */
  load(slot: number, bytes: Uint8Array): void {
    let offset = 0;
    for (const [index, shape] of this.#shapes.entries()) {
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

/** Bytes of one sequence over all layers. */
export function stateBytes(shapes: readonly StateShape[]): number {
  return shapes.reduce((sum, shape) => sum + shape.reduce((product, size) => product * size, FLOAT_BYTES), 0);
}
