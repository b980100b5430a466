/** Dense tensors from a file's bytes to arrays. Knows no file format. */

import type { Dtype, MlxArray } from "../mlx/array.ts";
import { library } from "../mlx/library.ts";
import { astype } from "../mlx/ops.ts";

/** The dense floats, by the name both file formats give them. */
export const FLOAT_DTYPES: ReadonlyMap<string, Dtype> = new Map([
  ["F32", "float32"],
  ["F16", "float16"],
  ["BF16", "bfloat16"],
]);

/** In the dtype the model computes in: on the CPU, half precision is 10 to 50 times slower than float32. */
export function toActivationDtype(array: MlxArray): MlxArray {
  return astype(array, library().device === "gpu" ? array.dtype : "float32");
}
