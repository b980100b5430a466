/** Weights in E4M3 with a scale for each block of rows and columns, as bfloat16. Knows no files. */

import { assert } from "../core/assert.ts";

export interface Fp8Matrix {
  /** Row-major. */
  readonly values: Uint8Array;
  readonly rows: number;
  readonly columns: number;
  /** Of each block, row-major; those at the ends may be cut. */
  readonly scales: Float32Array;
  readonly block_rows: number;
  readonly block_columns: number;
}

/** Each value times the scale of its block, rounded to the nearest, ties to even. */
export function fp8ToBfloat16(matrix: Fp8Matrix): Uint16Array<ArrayBuffer> {
  const { values, rows, columns, scales, block_rows, block_columns } = matrix;
  const across = Math.ceil(columns / block_columns);
  assert(scales.length === Math.ceil(rows / block_rows) * across, "each block has a scale");
  assert(values.length === rows * columns, "each weight has a byte");
  const products = new Float32Array(columns);
  const bits = new Uint32Array(products.buffer);
  const halves = new Uint16Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const first = Math.floor(row / block_rows) * across;
    const start = row * columns;
    for (let column = 0; column < columns; column++) {
      const scale = scales[first + Math.floor(column / block_columns)] as number;
      products[column] = (E4M3[values[start + column] as number] as number) * scale;
    }
    for (let column = 0; column < columns; column++) {
      const word = bits[column] as number;
      halves[start + column] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
    }
  }
  return halves;
}

/** By byte: a sign, four bits of exponent, three of fraction; no infinities. */
const E4M3 = Float32Array.from({ length: 256 }, (_, byte) => {
  const [exponent, fraction] = [(byte >> 3) & 15, byte & 7];
  if (exponent === 15 && fraction === 7) return Number.NaN;
  const size = exponent === 0 ? fraction * 2 ** -9 : (8 + fraction) * 2 ** (exponent - 10);
  return byte < 128 ? size : -size;
});
