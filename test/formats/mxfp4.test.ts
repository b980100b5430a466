/** MXFP4 to affine groups of five bits: every value of every nibble at every exponent. */

import { expect, test } from "bun:test";
import { affineFromMxfp4 } from "../../src/formats/mxfp4.ts";

const VALUES = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6];

function float(bfloat16: number): number {
  return new Float32Array(Uint32Array.of(bfloat16 << 16).buffer)[0] ?? Number.NaN;
}

test("nothing is lost, whatever the nibbles, from the smallest exponent that floats hold to the largest", () => {
  // every byte twice: 16 groups
  const nibbles = Uint8Array.from({ length: 256 }, (_, at) => at);
  for (let exponent = 3; exponent < 252; exponent++) {
    const { packed, scales, biases } = affineFromMxfp4(nibbles, new Uint8Array(16).fill(exponent));
    const bits = [...packed].map((byte) => [...byte.toString(2).padStart(8, "0")].toReversed().join("")).join("");
    for (let at = 0; at < 512; at++) {
      const q = Number.parseInt([...bits.slice(5 * at, 5 * at + 5)].toReversed().join(""), 2);
      const group = Math.floor(at / 32);
      const found = float(scales[group] ?? 0) * q + float(biases[group] ?? 0);
      const nibble = at % 2 === 0 ? (at >> 1) & 15 : at >> 5;
      expect(found === (VALUES[nibble] ?? Number.NaN) * 2 ** (exponent - 127)).toBe(true);
    }
  }
});
