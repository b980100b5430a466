/**
 * The ggml blocks that are no MLX form as they lie: Q5_0, Q5_1, Q4_K, Q5_K, IQ4_NL and IQ4_XS become affine groups of
 * 32 without loss, Q2_K, Q3_K and Q6_K, whose groups are of 16, become floats. Knows no files.
 */

import { assert } from "../core/assert.ts";

export type GroupedType = "Q5_0" | "Q5_1" | "Q4_K" | "Q5_K" | "IQ4_NL" | "IQ4_XS";
export type SixteenType = "Q2_K" | "Q3_K" | "Q6_K";

/** A matrix of MLX affine groups of 32: weight = scale * q + bias, element k of a row at bit k * bits. */
export interface FloatGroups {
  /** [rows, columns * bits / 32] */
  readonly packed: Uint32Array<ArrayBuffer>;
  /** [rows, columns / 32] */
  readonly scales: Float32Array<ArrayBuffer>;
  /** [rows, columns / 32] */
  readonly biases: Float32Array<ArrayBuffer>;
  readonly bits: 4 | 5 | 8;
}

export function isGrouped(type: string): type is GroupedType {
  return Object.hasOwn(GROUPED, type);
}

export function isSixteen(type: string): type is SixteenType {
  return Object.hasOwn(SIXTEENS, type);
}

/**
 * Bit for bit ggml's own values in float32, fused or not: a scale (11 bits of a half by 6) times at most 5 bits is
 * exact, and what is added to it rounds once, as there. Of IQ4_XS, whose values have 8 bits, a product may round too.
 */
export function groupBlocks(type: GroupedType, blocks: Uint8Array): FloatGroups {
  const { block_bytes, block_groups, bits, unpack } = GROUPED[type];
  assert(blocks.length % block_bytes === 0, `${blocks.length} bytes are whole blocks of ${type}`);
  const count = blocks.length / block_bytes;
  const groups = count * block_groups;
  const packed = new Uint32Array(groups * bits);
  const scales = new Float32Array(groups);
  const biases = new Float32Array(groups);
  const block: Block = {
    scales: new Float32Array(block_groups),
    biases: new Float32Array(block_groups),
    q: new Uint8Array(block_groups * GROUP),
  };
  for (let index = 0; index < count; index++) {
    unpack(blocks, index * block_bytes, block);
    const first = index * block_groups;
    scales.set(block.scales, first);
    biases.set(block.biases, first);
    for (let group = 0; group < block_groups; group++)
      pack(block.q, group * GROUP, bits, packed, (first + group) * bits);
  }
  return { packed, scales, biases, bits };
}

/** ggml's own values in float32. */
export function dequantizeBlocks(type: SixteenType, blocks: Uint8Array): Float32Array<ArrayBuffer> {
  const { block_bytes, unpack } = SIXTEENS[type];
  assert(blocks.length % block_bytes === 0, `${blocks.length} bytes are whole blocks of ${type}`);
  const values = new Float32Array((blocks.length / block_bytes) * K_BLOCK);
  for (let index = 0; index * K_BLOCK < values.length; index++) {
    unpack(blocks, index * block_bytes, values, index * K_BLOCK);
  }
  return values;
}

const GROUP = 32;
/** Elements in a block of the K types. */
const K_BLOCK = 256;

/** One block of several groups, unpacked. */
interface Block {
  readonly scales: Float32Array;
  readonly biases: Float32Array;
  readonly q: Uint8Array;
}

// In the loops below the index is always inside the array: `as number` keeps the check of the compiler from costing time.
const HALVES = Float32Array.from(new Float16Array(new Uint16Array(65_536).map((_, bits) => bits).buffer));

function half(bytes: Uint8Array, at: number): number {
  return HALVES[(bytes[at] as number) | ((bytes[at + 1] as number) << 8)] as number;
}

/** 32 numbers of so many bits, one behind the other from the lowest bit on. */
function pack(q: Uint8Array, from: number, bits: number, packed: Uint32Array, to: number): void {
  for (let element = 0; element < GROUP; element++) {
    const value = q[from + element] as number;
    const bit = element * bits;
    const word = to + (bit >> 5);
    packed[word] = (packed[word] as number) | (value << (bit & 31));
    if ((bit & 31) + bits > 32) packed[word + 1] = value >> (32 - (bit & 31));
  }
}

type UnpackGroups = (bytes: Uint8Array, at: number, block: Block) => void;

/** Low nibbles are the elements 0 to 15, high ones 16 to 31; their fifth bits lie apart, in the order of the elements. */
function fiveBits(bytes: Uint8Array, high_at: number, q: Uint8Array): void {
  for (let element = 0; element < GROUP; element++) {
    const nibbles = bytes[high_at + 4 + (element & 15)] as number;
    const high = ((bytes[high_at + (element >> 3)] as number) >> (element & 7)) & 1;
    q[element] = (element < 16 ? nibbles & 15 : nibbles >> 4) | (high << 4);
  }
}

/** Block: f16 d, 32 high bits, 16 bytes. weight = d * (q - 16). */
const unpackQ5Zero: UnpackGroups = (bytes, at, { scales, biases, q }) => {
  const scale = half(bytes, at);
  scales[0] = scale;
  biases[0] = -16 * scale;
  fiveBits(bytes, at + 2, q);
};

/** Block: f16 d, f16 m, 32 high bits, 16 bytes. weight = d * q + m. */
const unpackQ5One: UnpackGroups = (bytes, at, { scales, biases, q }) => {
  scales[0] = half(bytes, at);
  biases[0] = half(bytes, at + 2);
  fiveBits(bytes, at + 4, q);
};

/** f16 d, f16 dmin, then eight scales and eight minima of six bits in 12 bytes. weight = d * scale * q - dmin * minimum. */
function sixBitScales(bytes: Uint8Array, at: number, { scales, biases }: Block): void {
  const d = half(bytes, at);
  const dmin = half(bytes, at + 2);
  const byte = (index: number) => bytes[at + 4 + index] as number;
  for (let group = 0; group < 4; group++) {
    scales[group] = d * (byte(group) & 63);
    biases[group] = -dmin * (byte(4 + group) & 63);
    scales[4 + group] = d * ((byte(8 + group) & 15) | ((byte(group) >> 2) & 48));
    biases[4 + group] = -dmin * ((byte(8 + group) >> 4) | ((byte(4 + group) >> 2) & 48));
  }
}

/** Block: the scales, 128 bytes; each 32 bytes hold a group in their low halves and the next in their high ones. */
const unpackQ4K: UnpackGroups = (bytes, at, block) => {
  sixBitScales(bytes, at, block);
  for (let element = 0; element < K_BLOCK; element++) {
    const low = bytes[at + 16 + (element >> 6) * GROUP + (element & 31)] as number;
    block.q[element] = (low >> ((element >> 3) & 4)) & 15;
  }
};

/** Block: the scales, 32 bytes of which bit g belongs to group g, 128 bytes as in Q4_K. */
const unpackQ5K: UnpackGroups = (bytes, at, block) => {
  sixBitScales(bytes, at, block);
  for (let element = 0; element < K_BLOCK; element++) {
    const low = bytes[at + 48 + (element >> 6) * GROUP + (element & 31)] as number;
    const high = ((bytes[at + 16 + (element & 31)] as number) >> (element >> 5)) & 1;
    block.q[element] = ((low >> ((element >> 3) & 4)) & 15) | (high << 4);
  }
};

/** The 16 values of IQ4, of which the least is -127. */
const IQ4_VALUES = Uint8Array.of(0, 23, 44, 62, 78, 92, 105, 117, 128, 140, 152, 165, 180, 196, 216, 240);

/** One group, whose low nibbles are the elements 0 to 15, high ones 16 to 31. weight = scale * (q - 127). */
function iq4Group(bytes: Uint8Array, at: number, scale: number, group: number, { scales, biases, q }: Block): void {
  scales[group] = scale;
  biases[group] = -127 * scale;
  for (let element = 0; element < GROUP; element++) {
    const nibbles = bytes[at + (element & 15)] as number;
    q[group * GROUP + element] = IQ4_VALUES[element < 16 ? nibbles & 15 : nibbles >> 4] as number;
  }
}

/** Block: f16 d, 16 bytes. */
const unpackIq4Nl: UnpackGroups = (bytes, at, block) => iq4Group(bytes, at + 2, half(bytes, at), 0, block);

/** Block: f16 d, two high bits of each of eight scales, their low halves in 4 bytes, 128 bytes. */
const unpackIq4Xs: UnpackGroups = (bytes, at, block) => {
  const d = half(bytes, at);
  for (let group = 0; group < 8; group++) {
    const low = ((bytes[at + 4 + (group >> 1)] as number) >> (4 * (group & 1))) & 15;
    const high = ((bytes[at + 2 + (group >> 2)] as number) >> (2 * (group & 3))) & 3;
    iq4Group(bytes, at + 8 + 16 * group, d * ((low | (high << 4)) - 32), group, block);
  }
};

type GroupedForm = { block_bytes: number; block_groups: number; bits: FloatGroups["bits"]; unpack: UnpackGroups };

const GROUPED: Record<GroupedType, GroupedForm> = {
  Q5_0: { block_bytes: 22, block_groups: 1, bits: 5, unpack: unpackQ5Zero },
  Q5_1: { block_bytes: 24, block_groups: 1, bits: 5, unpack: unpackQ5One },
  Q4_K: { block_bytes: 144, block_groups: 8, bits: 4, unpack: unpackQ4K },
  Q5_K: { block_bytes: 176, block_groups: 8, bits: 5, unpack: unpackQ5K },
  IQ4_NL: { block_bytes: 18, block_groups: 1, bits: 8, unpack: unpackIq4Nl },
  IQ4_XS: { block_bytes: 136, block_groups: 8, bits: 8, unpack: unpackIq4Xs },
};

type UnpackFloats = (bytes: Uint8Array, at: number, values: Float32Array, to: number) => void;

/** Two bits of an element: of each 128, four lie in one byte, 32 apart. */
function twoBits(bytes: Uint8Array, at: number, element: number): number {
  const byte = bytes[at + (element >> 7) * GROUP + (element & 31)] as number;
  return (byte >> (2 * ((element >> 5) & 3))) & 3;
}

/** Block: 16 bytes of a scale (low) and a minimum (high), 64 bytes, f16 d, f16 dmin. */
const unpackQ2K: UnpackFloats = (bytes, at, values, to) => {
  const d = half(bytes, at + 80);
  const dmin = half(bytes, at + 82);
  for (let element = 0; element < K_BLOCK; element++) {
    const both = bytes[at + (element >> 4)] as number;
    values[to + element] = d * (both & 15) * twoBits(bytes, at + 16, element) - dmin * (both >> 4);
  }
};

/** Block: 32 bytes of third bits, 64 bytes, 16 scales of six bits in 12 bytes, f16 d. weight = d * (scale - 32) * (q - 4). */
const unpackQ3K: UnpackFloats = (bytes, at, values, to) => {
  const d = half(bytes, at + 108);
  for (let element = 0; element < K_BLOCK; element++) {
    const group = element >> 4;
    const low = ((bytes[at + 96 + (group & 7)] as number) >> (group < 8 ? 0 : 4)) & 15;
    const high = ((bytes[at + 104 + (group & 3)] as number) >> (2 * (group >> 2))) & 3;
    const third = ((bytes[at + (element & 31)] as number) >> (element >> 5)) & 1;
    values[to + element] = d * ((low | (high << 4)) - 32) * (twoBits(bytes, at + 32, element) + 4 * third - 4);
  }
};

/** Block: 128 bytes, 64 bytes of fifth and sixth bits, 16 signed scales, f16 d. weight = d * scale * (q - 32). */
const unpackQ6K: UnpackFloats = (bytes, at, values, to) => {
  const d = half(bytes, at + 208);
  for (let element = 0; element < K_BLOCK; element++) {
    const low = bytes[at + (element >> 7) * 64 + (element & 63)] as number;
    const scale = ((bytes[at + 192 + (element >> 4)] as number) << 24) >> 24;
    const q = ((low >> ((element >> 4) & 4)) & 15) | (twoBits(bytes, at + 128, element) << 4);
    values[to + element] = d * scale * (q - 32);
  }
};

const SIXTEENS: Record<SixteenType, { block_bytes: number; unpack: UnpackFloats }> = {
  Q2_K: { block_bytes: 84, unpack: unpackQ2K },
  Q3_K: { block_bytes: 110, unpack: unpackQ3K },
  Q6_K: { block_bytes: 210, unpack: unpackQ6K },
};
