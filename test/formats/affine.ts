/** The weights that MLX makes of affine groups, by its definition and in plain sight. */

import type { AffineGroups } from "../../src/formats/ggml-blocks.ts";
import type { FloatGroups } from "../../src/formats/ggml-k-blocks.ts";

/** scale * q + bias in float32, with one rounding after each operation, or fused with one rounding in all. */
export function affineWeights(groups: AffineGroups, arithmetic: "stepwise" | "fused"): Float32Array {
  const { packed, bits } = groups;
  const scales = new Float16Array(groups.scales.buffer);
  const biases = new Float16Array(groups.biases.buffer);
  const weights = new Float32Array(scales.length * 32);
  for (let element = 0; element < weights.length; element++) {
    const bit = element * bits;
    const q = ((packed[bit >> 5] ?? 0) >>> (bit & 31)) & (2 ** bits - 1);
    const group = element >> 5;
    const product = (scales[group] ?? 0) * q;
    // The product of a half float and 8 bits is exact in a double, and so is its sum with another half float: one rounding at the end.
    weights[element] = (arithmetic === "fused" ? product : Math.fround(product)) + (biases[group] ?? 0);
  }
  return weights;
}

/** The same of scales and biases in float32; the bits of a number may lie in two words. */
export function groupedWeights({ packed, scales, biases, bits }: FloatGroups): Float32Array {
  const weights = new Float32Array(scales.length * 32);
  for (let element = 0; element < weights.length; element++) {
    const bit = element * bits;
    const two_words = (BigInt(packed[(bit >> 5) + 1] ?? 0) << 32n) | BigInt(packed[bit >> 5] ?? 0);
    const q = Number((two_words >> BigInt(bit & 31)) & (2n ** BigInt(bits) - 1n));
    const group = element >> 5;
    weights[element] = Math.fround((scales[group] ?? 0) * q) + (biases[group] ?? 0);
  }
  return weights;
}

/** The bits of float32 values; a negative zero counts as zero. */
function bitsOf(values: Float32Array): Uint32Array {
  const bits = new Uint32Array(new Float32Array(values).buffer);
  return bits.map((word) => (word === 0x80000000 ? 0 : word));
}

/** Where two sets of weights first differ in a bit; null: nowhere. */
export function firstDifference(found: Float32Array, expected: Float32Array): string | null {
  if (found.length !== expected.length) return `${found.length} values, expected ${expected.length}`;
  const [a, b] = [bitsOf(found), bitsOf(expected)];
  const at = a.findIndex((word, index) => word !== b[index]);
  return at === -1 ? null : `value ${at} is ${found[at]}, expected ${expected[at]}`;
}
