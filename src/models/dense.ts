/** Tensors from a file's bytes to arrays. Knows no file format. */

import type { FileBytes } from "../formats/file-bytes.ts";
import { type Dtype, fromBytes, type MlxArray } from "../mlx/array.ts";
import { mapFile } from "../mlx/extras.ts";
import { library } from "../mlx/library.ts";
import { astype } from "../mlx/ops.ts";

/** The dense floats, by the name both file formats give them. */
export const FLOAT_DTYPES: ReadonlyMap<string, Dtype> = new Map([
  ["F32", "float32"],
  ["F16", "float16"],
  ["BF16", "bfloat16"],
]);

/** Where a tensor lies in its file. */
export interface StoredTensor {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

// Less is read sooner than it is mapped.
const MAPPED_BYTES_MIN = 64 * 1024;

/** As it lies in the file where the library can and the place suits its items, else a copy. */
export function stored(file: FileBytes, tensor: StoredTensor, shape: readonly number[], dtype: Dtype): MlxArray {
  const { offset, bytes } = tensor;
  const what = `tensor "${tensor.name}"`;
  const item_bytes = bytes / shape.reduce((product, size) => product * size, 1);
  const suits = bytes >= MAPPED_BYTES_MIN && offset % item_bytes === 0;
  const mapped = suits ? mapFile(file.lend(offset, bytes, what), offset, shape, dtype) : null;
  return mapped ?? fromBytes(file.read(offset, bytes, what), shape, dtype);
}

/** In the dtype the model computes in: on the CPU, half precision is 10 to 50 times slower than float32. */
export function toActivationDtype(array: MlxArray): MlxArray {
  return astype(array, library().device === "gpu" ? array.dtype : "float32");
}
