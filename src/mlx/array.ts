/** Arrays and who owns them: `using x = add(a, b)` frees `x` at the end of its block. Knows no operation. */

import { read, toArrayBuffer } from "bun:ffi";
import { assert } from "../core/assert.ts";
import { check, emptySlot, type Handle, library, slotHandle } from "./library.ts";

/** The numbers of `mlx_dtype`. */
export const dtypes = {
  bool: 0,
  uint8: 1,
  uint16: 2,
  uint32: 3,
  uint64: 4,
  int8: 5,
  int16: 6,
  int32: 7,
  int64: 8,
  float16: 9,
  float32: 10,
  float64: 11,
  bfloat16: 12,
  complex64: 13,
} as const;

export type Dtype = keyof typeof dtypes;

const dtype_names = Object.keys(dtypes) as Dtype[];

let alive = 0;
let caught = 0;

// The net under `using`: what it catches is a bug, counted so that a test can demand zero.
const net = new FinalizationRegistry<Handle>((handle) => {
  caught += 1;
  alive -= 1;
  library().native.mlx_array_free(handle);
});

/** An array of MLX, of any shape and dtype; possibly not computed yet. */
export class MlxArray {
  #handle: Handle | null;

  constructor(handle: Handle) {
    this.#handle = handle;
    alive += 1;
    net.register(this, handle, this);
  }

  get handle(): Handle {
    assert(this.#handle !== null, "an array is not used after it was freed");
    return this.#handle;
  }

  get shape(): number[] {
    const { native } = library();
    const rank = Number(native.mlx_array_ndim(this.handle));
    const dims = native.mlx_array_shape(this.handle);
    return dims === null ? [] : Array.from({ length: rank }, (_, axis) => read.i32(dims, axis * 4));
  }

  get dtype(): Dtype {
    const name = dtype_names[library().native.mlx_array_dtype(this.handle)];
    assert(name !== undefined, "mlx-c names a dtype of the ABI");
    return name;
  }

  get bytes(): number {
    return Number(library().native.mlx_array_nbytes(this.handle));
  }

  [Symbol.dispose](): void {
    if (this.#handle === null) return;
    net.unregister(this);
    library().native.mlx_array_free(this.#handle);
    this.#handle = null;
    alive -= 1;
  }
}

/** How many arrays are owned now, and how many the finalizer had to free because no owner did. */
export function arrayCounts(): { alive: number; caught: number } {
  return { alive, caught };
}

/** A copy of `data` as an array; `data` holds `shape` row-major in `dtype`. */
export function fromBytes(data: NodeJS.TypedArray, shape: readonly number[], dtype: Dtype): MlxArray {
  const bytes = data.byteLength;
  const handle = library().native.mlx_array_new_data(
    bytes === 0 ? null : data,
    Int32Array.from([...shape, 0]), // never empty: Bun has no pointer to an empty array
    shape.length,
    dtypes[dtype],
  );
  assert(handle !== null, "mlx_array_new_data gave an array");
  return new MlxArray(handle);
}

export function fromTokens(token_ids: readonly number[]): MlxArray {
  return fromBytes(Uint32Array.from(token_ids), [token_ids.length], "uint32");
}

export function scalar(value: number): MlxArray {
  const handle = library().native.mlx_array_new_float32(value);
  assert(handle !== null, "mlx_array_new_float32 gave an array");
  return new MlxArray(handle);
}

/** The array that the last operation wrote to the out-slot. */
export function fromSlot(operation: string, code: number): MlxArray {
  check(operation, code);
  return new MlxArray(slotHandle());
}

/** The `count` arrays of the vector that the last operation wrote to the out-slot. */
export function fromVectorSlot(count: number): MlxArray[] {
  const { native } = library();
  const vector = slotHandle();
  try {
    return Array.from({ length: count }, (_, place) =>
      fromSlot("mlx_vector_array_get", native.mlx_vector_array_get(emptySlot(), vector, place)),
    );
  } finally {
    native.mlx_vector_array_free(vector);
  }
}

/** Computes the arrays and waits for them. */
export function evaluate(...arrays: readonly MlxArray[]): void {
  withVector(arrays, (vector) => check("mlx_eval", library().native.mlx_eval(vector)));
}

/** Lends the arrays to `use` in the form mlx-c takes several. */
export function withVector<Result>(arrays: readonly MlxArray[], use: (vector: Handle) => Result): Result {
  const { native } = library();
  const handles = BigUint64Array.from([...arrays.map((array) => BigInt(array.handle)), 0n]);
  const vector = native.mlx_vector_array_new_data(handles, arrays.length);
  assert(vector !== null, "mlx_vector_array_new_data gave a vector");
  try {
    return use(vector);
  } finally {
    native.mlx_vector_array_free(vector);
  }
}

/** The values of a uint32 array, row-major. */
export function toUint32(array: MlxArray): Uint32Array {
  assert(array.dtype === "uint32", "toUint32 reads uint32 arrays");
  return new Uint32Array(copyOf(array));
}

/** The values of a float32 array, row-major. */
export function toFloat32(array: MlxArray): Float32Array {
  assert(array.dtype === "float32", "toFloat32 reads float32 arrays");
  return new Float32Array(copyOf(array));
}

/** Fills `target` with the values of a float32 array, row-major, from value `start` on. */
export function readFloat32(array: MlxArray, start: number, target: Float32Array): void {
  assert(array.dtype === "float32", "readFloat32 reads float32 arrays");
  const { BYTES_PER_ELEMENT, length } = target;
  using rows = inRows(array);
  evaluate(rows);
  target.set(new Float32Array(toArrayBuffer(addressOf(rows), start * BYTES_PER_ELEMENT, length * BYTES_PER_ELEMENT)));
}

/** Part of the memory of a computed, row-major array, to read and to write; it is there as long as the array is. */
export function memoryOf(array: MlxArray, offset: number, bytes: number): Uint8Array {
  return new Uint8Array(toArrayBuffer(addressOf(array), offset, bytes));
}

function copyOf(array: MlxArray): ArrayBuffer {
  using rows = inRows(array);
  evaluate(rows);
  const bytes = rows.bytes;
  return bytes === 0 ? new ArrayBuffer(0) : toArrayBuffer(addressOf(rows), 0, bytes).slice(0);
}

/** The same values row-major, in memory of their own where they are but a part of a larger array. */
export function inRows(array: MlxArray): MlxArray {
  const { native, stream } = library();
  return fromSlot("mlx_contiguous", native.mlx_contiguous(emptySlot(), array.handle, false, stream));
}

function addressOf(array: MlxArray): Handle {
  const data = library().native.mlx_array_data_uint32(array.handle); // an address, whatever the dtype
  assert(data !== null, "a computed array has data");
  return data;
}
