/**
 * The memory of all layers: blocks of those that see a whole text, slots of those that see a window of it, and how many
 * there may be of each. Knows no row and no schedule.
 */

import { assert } from "../core/assert.ts";
import { divideWindows } from "../core/cache-shares.ts";
import type { EngineSettings, KvBits } from "../core/settings.ts";
import { BLOCK_TOKENS, rowSlots } from "../models/block.ts";
import type { CacheShape } from "../models/family.ts";
import type { LayerCache } from "../models/step.ts";
import { blockBytes, KvPool } from "./kv-pool.ts";

/** How many blocks there may be, and slots for layers that see so many positions; null: every layer sees all. */
export interface CacheRoom {
  readonly blocks_max: number;
  readonly block_bytes: number;
  readonly windows: { readonly positions: number; readonly slots_max: number } | null;
  readonly slot_bytes: number;
}

export class LayerPools implements Disposable {
  readonly layers: readonly LayerCache[];
  readonly blocks: KvPool;
  readonly slots: KvPool | null;

  constructor(shape: CacheShape, { blocks_max, windows }: CacheRoom, bits: KvBits) {
    const { whole, windowed } = partsOf(shape, windows?.positions ?? null);
    this.blocks = new KvPool(whole, blocks_max, bits);
    this.slots = windows === null ? null : new KvPool(windowed, windows.slots_max, bits);
    const [blocks, slots] = [this.blocks.layers.values(), this.slots?.layers.values()];
    this.layers = Array.from({ length: shape.layers }, (_, layer) => {
      const cache = (windows !== null && isWindowed(shape, layer) ? slots : blocks)?.next().value;
      assert(cache !== undefined, "each pool has its kind's layers");
      return cache;
    });
  }

  [Symbol.dispose](): void {
    this.blocks[Symbol.dispose]();
    this.slots?.[Symbol.dispose]();
  }
}

/** One row at least may finish, however small the budget. */
export function roomFor(shape: CacheShape, context_length: number, settings: EngineSettings): CacheRoom {
  const { kv_bytes_max, kv_bits, rows_max, chunk_tokens_max } = settings;
  const row_blocks = Math.ceil(context_length / BLOCK_TOKENS);
  const positions = Math.max(0, ...(shape.windows ?? []).map((window) => window ?? 0));
  const sees_less = positions > 0 && positions < context_length;
  const { whole, windowed } = partsOf(shape, sees_less ? positions : null);
  const [block_bytes, slot_bytes] = [blockBytes(whole, kv_bits), blockBytes(windowed, kv_bits)];
  if (!sees_less) {
    const blocks_max = Math.min(Math.max(1, Math.floor(kv_bytes_max / block_bytes)), row_blocks * rows_max);
    return { blocks_max, block_bytes, windows: null, slot_bytes };
  }
  const units = { block_bytes, slot_bytes, row_blocks, row_slots: rowSlots(positions, chunk_tokens_max) };
  const { blocks_max, slots_max } = divideWindows(kv_bytes_max, units, rows_max);
  return { blocks_max, block_bytes, windows: { positions, slots_max }, slot_bytes };
}

function isWindowed({ windows }: CacheShape, layer: number): boolean {
  return (windows?.[layer] ?? null) !== null;
}

/** The shapes of both kinds of layers; `positions` null: all are of the first. */
function partsOf(shape: CacheShape, positions: number | null): { whole: CacheShape; windowed: CacheShape } {
  const { kv_heads, head_dim } = shape;
  const count = Array.from({ length: shape.layers }, (_, layer) => isWindowed(shape, layer)).filter(Boolean).length;
  const layers = positions === null ? 0 : count;
  return {
    whole: { layers: shape.layers - layers, kv_heads, head_dim },
    windowed: { layers, kv_heads, head_dim },
  };
}
