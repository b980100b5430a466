/** Blocks of keys and values: their bytes given back, copied whole, and room for all of them. */

import { afterAll, describe, expect, test } from "bun:test";
import { blockBytes, KvPool } from "../../src/engine/kv-pool.ts";
import { openExtras } from "../../src/mlx/extras.ts";
import { LIBRARY, WITH_EXTRAS } from "../open-mlx.ts";
import { seeded } from "../random.ts";

const SHAPE = { layers: 3, kv_heads: 2, head_dim: 16 };

afterAll(() => openExtras(LIBRARY, WITH_EXTRAS));

function someBytes(seed: number): Uint8Array {
  const random = seeded(seed);
  return Uint8Array.from({ length: blockBytes(SHAPE) }, () => 256 * random());
}

function saved(pool: KvPool, block: number): Uint8Array {
  const bytes = new Uint8Array(blockBytes(SHAPE));
  pool.save(block, bytes);
  return bytes;
}

describe.each([
  ["reserved whole", true],
  ["that grows", false],
])("a pool %s", (_, extras) => {
  test("gives back a block's bytes, and leaves its neighbours alone", () => {
    openExtras(LIBRARY, extras);
    using pool = new KvPool(SHAPE, 10);
    for (const block of [3, 4, 5]) pool.load(block, someBytes(block));
    pool.load(4, someBytes(7));
    expect([3, 4, 5].map((block) => saved(pool, block))).toEqual([someBytes(3), someBytes(7), someBytes(5)]);
  });

  test("copies a block whole", () => {
    openExtras(LIBRARY, extras);
    using pool = new KvPool(SHAPE, 10);
    pool.load(1, someBytes(1));
    pool.copy([
      { from: 1, to: 2 },
      { from: 1, to: 9 },
    ]);
    expect([1, 2, 9].map((block) => saved(pool, block))).toEqual([someBytes(1), someBytes(1), someBytes(1)]);
  });

  test("has room for every block it may have, whoever comes first there", () => {
    openExtras(LIBRARY, extras);
    using pool = new KvPool(SHAPE, 1000);
    pool.load(0, someBytes(0));
    pool.copy([{ from: 0, to: 100 }]);
    pool.load(500, someBytes(5));
    pool.cover(999);
    expect([0, 100, 500].map((block) => saved(pool, block))).toEqual([someBytes(0), someBytes(0), someBytes(5)]);
  });
});

test.if(process.platform === "linux")(
  "memory of blocks that hold nothing goes back to the machine, their neighbours stay",
  () => {
    openExtras(LIBRARY, true);
    const shape = { layers: 2, kv_heads: 8, head_dim: 128 };
    const blocks = Array.from({ length: 128 }, (_, block) => block);
    const bytes = new Uint8Array(blockBytes(shape));
    using pool = new KvPool(shape, blocks.length);
    for (const block of blocks) pool.load(block, bytes.fill(block));
    const before = process.memoryUsage.rss();
    pool.forget(blocks.filter((block) => block !== 77).reverse());
    expect(before - process.memoryUsage.rss()).toBeGreaterThan(50 * 2 ** 20);
    const found = new Uint8Array(bytes.length);
    pool.save(77, found);
    expect(found.every((byte) => byte === 77)).toBe(true);
  },
);
