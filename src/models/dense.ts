/** Dense tensors from a file's bytes to arrays in the dtype the model computes in. Knows no file format. */

import { type Dtype, fromBytes, type MlxArray } from "../mlx/array.ts";
import { library } from "../mlx/library.ts";
import { astype } from "../mlx/ops.ts";

/** The dense floats, by the name both file formats give them. */
export const FLOAT_DTYPES: ReadonlyMap<string, Dtype> = new Map([
  ["F32", "float32"],
  ["F16", "float16"],
  ["BF16", "bfloat16"],
]);

/** `bytes` hold `shape` row-major in `stored`. */
export function toActivations(bytes: Uint8Array, shape: readonly number[], stored: Dtype): MlxArray {
  const array = fromBytes(bytes, shape, stored);
  // On the CPU, arithmetic in half precision is 10 to 50 times slower than in float32.
  if (library().device === "gpu" || stored === "float32") return array;
  using half = array;
  return astype(half, "float32");
}
