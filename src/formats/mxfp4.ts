/**
 * Weights of four bits with a power of two for every 32 (MXFP4 of the OCP's microscaling formats) as affine groups of
 * five bits: its sixteen values are half steps from -6 to 6, so that nothing is lost. Knows no file.
 */

/** As stored: weights in 4 bits, low nibble first, an exponent for each group. */
export const MXFP4 = { group_size: 32, bits: 4 } as const;

/** As given back: weight = scale · q + bias. */
export const MXFP4_AFFINE = { group_size: 32, bits: 5 } as const;

export interface AffineFives {
  /** 20 bytes a group, element k at bit 5k. */
  readonly packed: Uint8Array;
  /** bfloat16, one a group. */
  readonly scales: Uint16Array;
  readonly biases: Uint16Array;
}

/** `nibbles`: 16 bytes a group; `exponents`: one a group, of two, 127 above. */
export function affineFromMxfp4(nibbles: Uint8Array, exponents: Uint8Array): AffineFives {
  const packed = new Uint8Array((nibbles.length / 4) * 5);
  for (let from = 0, to = 0; from < nibbles.length; from += 4, to += 5) {
    // eight weights: four bytes become five
    const first = pairOf(nibbles, from) | (pairOf(nibbles, from + 1) << 10);
    const second = pairOf(nibbles, from + 2) | (pairOf(nibbles, from + 3) << 10);
    packed[to] = first;
    packed[to + 1] = first >>> 8;
    packed[to + 2] = (first >>> 16) | (second << 4);
    packed[to + 3] = second >>> 4;
    packed[to + 4] = second >>> 12;
  }
  return {
    packed,
    scales: Uint16Array.from(exponents, (exponent) => HALF_STEPS[exponent] ?? 0),
    biases: Uint16Array.from(exponents, (exponent) => LOWEST[exponent] ?? 0),
  };
}

/** In half steps above -6: sign, then 0, ½, 1, 1½, 2, 3, 4 and 6. */
const STEPS = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

/** Both weights of a byte, in ten bits. */
const PAIRS = Uint16Array.from({ length: 256 }, (_, byte) => stepsOf(byte & 15) | (stepsOf(byte >>> 4) << 5));

/** ½ · 2^(exponent - 127) in bfloat16, which has the same exponents. */
const HALF_STEPS = Uint16Array.from({ length: 256 }, (_, exponent) => bfloat16(0.5 * 2 ** (exponent - 127)));

/** -6 · 2^(exponent - 127) */
const LOWEST = Uint16Array.from({ length: 256 }, (_, exponent) => bfloat16(-6 * 2 ** (exponent - 127)));

function stepsOf(nibble: number): number {
  return STEPS[nibble] ?? 0;
}

function pairOf(nibbles: Uint8Array, at: number): number {
  return PAIRS[nibbles[at] ?? 0] ?? 0;
}

/** Of a value that bfloat16 holds. */
function bfloat16(value: number): number {
  const [bits = 0] = new Uint32Array(Float32Array.of(value).buffer);
  return bits >>> 16;
}
