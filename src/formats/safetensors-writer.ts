/** Writes a `.safetensors` file tensor by tensor, each in its turn. Knows no values. */

import { closeSync, openSync, writeSync } from "node:fs";
import { assert } from "../core/assert.ts";

export interface PlannedTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
}

export class SafetensorsWriter implements Disposable {
  readonly #file: number;
  readonly #left: PlannedTensor[];

  /** The header says all of them, so what comes is known before it does. */
  constructor(path: string, tensors: readonly PlannedTensor[]) {
    let end = 0;
    const entries = tensors.map(({ name, dtype, shape, bytes }) => {
      const data_offsets = [end, end + bytes];
      end += bytes;
      return [name, { dtype, shape, data_offsets }];
    });
    const header = JSON.stringify({ __metadata__: { format: "mlx" }, ...Object.fromEntries(entries) });
    const padded = Buffer.from(header.padEnd(Math.ceil(header.length / 8) * 8)); // the tensors begin on a word
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(padded.length));
    this.#left = [...tensors];
    this.#file = openSync(path, "wx");
    writeAll(this.#file, length);
    writeAll(this.#file, padded);
  }

  /** The next tensor's values. */
  write(values: Uint8Array): void {
    const next = this.#left.shift();
    assert(next !== undefined && next.bytes === values.byteLength, "tensors come as they were planned");
    writeAll(this.#file, values);
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength; ) done += writeSync(file, bytes, done);
}
