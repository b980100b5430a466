/** Whether the scales of quantised weights are numbers: one that is not would spoil every answer. Knows no file format. */

import { Failure } from "../core/failure.ts";
import { type MlxArray, memoryOf } from "../mlx/array.ts";
import type { Quantization } from "../mlx/ops.ts";

interface Scaled {
  readonly scales: MlxArray;
  readonly biases: MlxArray | null;
  readonly how: Quantization;
}

/** Throws where a scale or a bias, as computed and row by row in memory, is no finite number. */
export function refuseNonFinite(file: string, name: string, { scales, biases, how }: Scaled): void {
  const is_good = biases === null ? areSmallFloats(scales, how) : areFinite(scales) && areFinite(biases);
  if (is_good) return;
  throw new Failure("unavailable", `Cannot load ${file}: tensor "${name}" has a scale that is no finite number`);
}

function areSmallFloats(scales: MlxArray, { mode }: Quantization): boolean {
  const bytes = memoryOf(scales, 0, scales.bytes);
  // E4M3 has a NaN of each sign, powers of two one
  return mode === "nvfp4" ? !(bytes.includes(0x7f) || bytes.includes(0xff)) : !bytes.includes(0xff);
}

function areFinite(array: MlxArray): boolean {
  const { buffer, byteOffset, byteLength } = memoryOf(array, 0, array.bytes);
  if (array.dtype === "float32") return hasNone(new Uint32Array(buffer, byteOffset, byteLength / 4), 0x7f800000);
  return hasNone(new Uint16Array(buffer, byteOffset, byteLength / 2), array.dtype === "float16" ? 0x7c00 : 0x7f80);
}

/** Infinities and what is no number have all bits of the exponent. */
function hasNone(words: Uint16Array | Uint32Array, exponent: number): boolean {
  for (let at = 0; at < words.length; at++) if (((words[at] as number) & exponent) === exponent) return false;
  return true;
}
