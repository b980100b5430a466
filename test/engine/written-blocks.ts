/** Blocks by number: what each contains, and the bytes that a tier is to give back for it. */

import { type BlockContent, chainHash } from "../../src/engine/block-store.ts";
import { BLOCK_TOKENS } from "../../src/models/block.ts";
import { seeded } from "../random.ts";

export const WRITER_BLOCK_BYTES = 50_000;

export function contentOf(number: number): BlockContent {
  const token_ids = Array.from({ length: BLOCK_TOKENS }, (_, index) => number * 100 + index);
  return { parent: null, root: "", token_ids, chain_hash: chainHash("", token_ids) };
}

export function writtenBytes(number: number): Uint8Array {
  const random = seeded(number);
  return Uint8Array.from({ length: WRITER_BLOCK_BYTES }, () => 256 * random());
}
