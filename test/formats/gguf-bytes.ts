/** Writes small GGUF files, right or wrong in any field. */

export type Piece = Uint8Array | string;

export interface TensorFields {
  readonly name: Piece;
  /** Fastest first, as the file has them. */
  readonly dimensions: readonly (number | bigint)[];
  readonly type: number;
  /** From the start of the data. */
  readonly offset: number | bigint;
}

export interface GgufFields {
  readonly magic?: string;
  readonly version?: number;
  readonly tensor_count?: bigint;
  readonly metadata_count?: bigint;
  /** Key and encoded value, type number first. */
  readonly metadata?: readonly (readonly [key: Piece, value: Uint8Array])[];
  readonly tensors?: readonly TensorFields[];
  readonly alignment?: number;
  readonly data?: Uint8Array;
}

export function ggufBytes(fields: GgufFields): Uint8Array<ArrayBuffer> {
  const { metadata = [], tensors = [], data = new Uint8Array(0), alignment = 32 } = fields;
  const header = joined(
    new TextEncoder().encode(fields.magic ?? "GGUF"),
    u32(fields.version ?? 3),
    u64(fields.tensor_count ?? tensors.length),
    u64(fields.metadata_count ?? metadata.length),
    ...metadata.map(([key, value]) => joined(string(key), value)),
    ...tensors.map((tensor) =>
      joined(
        string(tensor.name),
        u32(tensor.dimensions.length),
        ...tensor.dimensions.map(u64),
        u32(tensor.type),
        u64(tensor.offset),
      ),
    ),
  );
  return joined(header, new Uint8Array(tensors.length === 0 ? 0 : -header.length & (alignment - 1)), data);
}

export const value = {
  u8: (number: number) => joined(u32(0), Uint8Array.of(number)),
  u32: (number: number) => joined(u32(4), u32(number)),
  bool: (byte: number) => joined(u32(7), Uint8Array.of(byte)),
  string: (text: Piece) => joined(u32(8), string(text)),
  u64: (number: bigint) => joined(u32(10), u64(number)),
  i64: (number: bigint) => joined(u32(11), u64(BigInt.asUintN(64, number))),
  array: (type: number, count: number | bigint, ...items: Uint8Array[]) =>
    joined(u32(9), u32(type), u64(count), ...items),
};

export function string(text: Piece, length?: bigint): Uint8Array<ArrayBuffer> {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  return joined(u64(length ?? bytes.length), bytes);
}

export function u32(number: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Uint32Array([number]).buffer);
}

export function u64(number: number | bigint): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new BigUint64Array([BigInt(number)]).buffer);
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(parts));
}
