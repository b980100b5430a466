/** A block from disk is the block that was kept, or a miss. */

import { describe, expect, test } from "bun:test";
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { BlockFiles } from "../../src/engine/block-files.ts";
import type { BlockContent } from "../../src/engine/block-store.ts";
import { blockKey, DiskTier } from "../../src/engine/disk-tier.ts";
import { StatePool } from "../../src/engine/state-pool.ts";
import { fromBytes, toFloat32 } from "../../src/mlx/array.ts";
import { scratchFolder, write } from "../formats/scratch.ts";
import "../open-mlx.ts";
import { integer, seeded } from "../random.ts";
import { contentOf, WRITER_BLOCK_BYTES, writtenBytes } from "./written-blocks.ts";

const SCRATCH = scratchFolder();
const fresh = () => mkdtempSync(join(SCRATCH, "tier-"));

/** A tier whose blocks are in this process, each of one kind of bytes. */
class Blocks {
  readonly folder: string;
  readonly files: BlockFiles;
  readonly tier: DiskTier;
  readonly memory = new Map<number, Uint8Array>();

  constructor(folder = fresh(), { bytes_max = 2 ** 30, key = "writer" } = {}) {
    this.folder = folder;
    this.files = new BlockFiles(folder, bytes_max, () => performance.timeOrigin + performance.now());
    const memory = {
      save: (block: number, bytes: Uint8Array) => bytes.set(this.memory.get(block) ?? bytes),
      load: (block: number, bytes: Uint8Array) => void this.memory.set(block, bytes.slice()),
    };
    this.tier = new DiskTier(this.files, key, memory, WRITER_BLOCK_BYTES);
  }

  async evict(...numbers: readonly number[]): Promise<void> {
    for (const number of numbers) {
      this.memory.set(0, writtenBytes(number));
      this.tier.evicted(0, contentOf(number));
    }
    await this.files.settled();
  }

  /** What comes back for a content; null for a miss. */
  restored(content: BlockContent): Uint8Array | null {
    this.memory.delete(1);
    return this.tier.restore(1, content, 0) ? (this.memory.get(1) ?? null) : null;
  }
}

test("a block comes back in another process as it was", async () => {
  const first = new Blocks();
  await first.evict(1, 2);
  const next = new Blocks(first.folder);
  expect(next.restored(contentOf(2))).toEqual(writtenBytes(2));
  expect(next.restored(contentOf(1))).toEqual(writtenBytes(1));
  expect(next.restored(contentOf(3))).toBeNull();
});

test("a block that waits to be written comes back too, as it was when it was evicted", () => {
  const blocks = new Blocks();
  blocks.memory.set(0, writtenBytes(1));
  blocks.tier.evicted(0, contentOf(1));
  blocks.memory.set(0, writtenBytes(2));
  expect(blocks.restored(contentOf(1))).toEqual(writtenBytes(1));
});

test("a state in pieces is there when all of them are, each in its file", async () => {
  const shapes = [[4], [2, 4], [3], [20]];
  using pool = new StatePool(shapes, 48);
  expect(pool.piece_bytes).toEqual([48, 12, 80]);
  const values = shapes.map((shape, index) =>
    Array.from({ length: shape.reduce((a, b) => a * b) }, (_, at) => index + at),
  );
  for (const [index, each] of values.entries()) {
    pool.write(0, index, fromBytes(Float32Array.from(each), shapes[index] ?? [], "float32"));
  }
  const { files, folder } = new Blocks();
  const tier = new DiskTier(files, "states", pool, ...pool.piece_bytes);
  tier.evicted(0, contentOf(1));
  await files.settled();
  expect(readdirSync(folder).length).toBe(3);
  for (let piece = 0; piece < tier.pieces; piece++) expect(tier.restore(1, contentOf(1), piece)).toBe(true);
  expect(shapes.map((_, index) => [...toFloat32(pool.read(1, index))])).toEqual(values);
  files.remove(readdirSync(folder).at(-1) ?? "");
  expect(tier.has(contentOf(1))).toBe(false);
  expect(tier.restore(1, contentOf(1), 0)).toBe(false);
});

test("a state is prepared piece by piece, and what is left of it is taken where it is evicted", async () => {
  const saved: number[] = [];
  const memory = {
    save: (_: number, bytes: Uint8Array, piece: number) => saved.push(bytes.length, piece),
    load: () => {},
  };
  const { files } = new Blocks();
  const tier = new DiskTier(files, "states", memory, 48, 12, 80);
  tier.prepare(0, contentOf(1));
  expect(saved).toEqual([48, 0]);
  tier.prepare(0, contentOf(1));
  expect(saved).toEqual([48, 0, 12, 1]);
  expect(tier.has(contentOf(1))).toBe(false);
  tier.evicted(0, contentOf(1));
  expect(saved).toEqual([48, 0, 12, 1, 80, 2]);
  expect(tier.has(contentOf(1))).toBe(true);
  tier.prepare(0, contentOf(1));
  tier.evicted(0, contentOf(1));
  expect(saved).toHaveLength(6);
  await files.settled();
});

test("another key finds nothing", async () => {
  const first = new Blocks();
  await first.evict(1);
  expect(new Blocks(first.folder, { key: "reader" }).restored(contentOf(1))).toBeNull();
});

test("what is in memory is kept while it is there, the last used first and as much as fits", async () => {
  const blocks = new Blocks(fresh(), { bytes_max: 3 * (WRITER_BLOCK_BYTES + 256) });
  const contents = [5, 4, 3, 2, 1].map((number) => {
    blocks.memory.set(number, writtenBytes(number));
    return { block: number, content: contentOf(number) };
  });
  let asked = 0;
  await blocks.tier.keep(contents, () => asked++ < 2);
  const kept = () => [1, 2, 3, 4, 5].filter((number) => blocks.restored(contentOf(number)) !== null);
  expect(kept()).toEqual([4, 5]);
  await blocks.tier.keep(contents, () => true);
  expect(kept()).toEqual([3, 4, 5]);
  // of those the third is the least recently used
  await blocks.evict(6);
  expect(kept()).toEqual([4, 5]);
});

test("what the disk has dropped is not brought there again and again", async () => {
  const blocks = new Blocks(fresh(), { bytes_max: WRITER_BLOCK_BYTES + 256 });
  blocks.memory.set(1, writtenBytes(1));
  const contents = [{ block: 1, content: contentOf(1) }];
  await blocks.tier.keep(contents, () => true);
  await blocks.evict(2);
  await blocks.tier.keep(contents, () => true);
  expect(blocks.restored(contentOf(2))).toEqual(writtenBytes(2));
});

describe("a damaged file is a miss, and is gone:", () => {
  const damages: Record<string, (path: string, other: string) => void> = {
    "cut short": (path) => truncateSync(path, 30_000),
    "cut in its head": (path) => truncateSync(path, 100),
    empty: (path) => truncateSync(path, 0),
    longer: (path) => appendFileSync(path, "x"),
    "zeros, as after a power cut": (path) => writeFileSync(path, new Uint8Array(statSync(path).size)),
    "of another version": (path) => patch(path, 13, "2"),
    "of another key": (path) => patch(path, 16, "reader"),
    "of other tokens": (path) => patch(path, 96, "\u0009"),
    "another block's": (path, other) => copyFileSync(other, path),
    "swapped with another's": (path, other) => {
      renameSync(path, `${path}-aside`);
      renameSync(other, path);
      renameSync(`${path}-aside`, other);
    },
    "a folder": (path) => {
      rmSync(path);
      mkdirSync(path);
    },
    "a link": (path, other) => {
      rmSync(path);
      symlinkSync(other, path);
    },
  };

  for (const [how, damage] of Object.entries(damages)) {
    for (const when of ["before", "after"]) {
      test(`${how}, ${when} the start`, async () => {
        const first = new Blocks();
        await first.evict(1, 2);
        const [path = "", other = ""] = [1, 2].map((number) => join(first.folder, nameOf(number)));
        const started = when === "after" ? new Blocks(first.folder) : null;
        damage(path, other);
        const blocks = started ?? new Blocks(first.folder);
        expect(blocks.restored(contentOf(1))).toBeNull();
        expect(blocks.files.has(nameOf(1))).toBe(false);
        const found = blocks.restored(contentOf(2));
        if (!how.startsWith("swapped")) expect(found).toEqual(writtenBytes(2));
        else expect(found).toBeNull();
      });
    }
  }

  test("any flipped bit (seed 7)", async () => {
    const random = seeded(7);
    const first = new Blocks();
    await first.evict(1);
    const path = join(first.folder, nameOf(1));
    const whole = readFileSync(path);
    let misses = 0;
    for (let turn = 0; turn < 300; turn++) {
      const damaged = Uint8Array.from(whole);
      const at = integer(random, 0, turn % 2 === 0 ? 255 : whole.length - 1);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << integer(random, 0, 7));
      writeFileSync(path, damaged);
      const found = new Blocks(first.folder).restored(contentOf(1));
      if (found === null) misses += 1;
      else expect([at, found]).toEqual([at, writtenBytes(1)]);
    }
    expect(misses).toBeGreaterThan(250); // the rest fell between the checksum and the tensors
  });
});

test("a process killed while it writes leaves only whole blocks, and within the cap", async () => {
  const folder = fresh();
  const bytes_max = 4_000_000;
  for (let round = 0; round < 5; round++) {
    const writer = spawnWriter(folder, bytes_max);
    while (readdirSync(folder).length < 30 + 10 * round) await Bun.sleep(1);
    writer.kill("SIGKILL");
    await writer.exited;
    expect(bytesIn(folder)).toBeLessThanOrEqual(bytes_max);
  }
  expectWhole(new Blocks(folder, { bytes_max }), 60);
}, 20_000);

test("two processes on one folder give each other whole blocks", async () => {
  const folder = fresh();
  const bytes_max = 4_000_000;
  const writers = [spawnWriter(folder, bytes_max), spawnWriter(folder, bytes_max)];
  const random = seeded(8);
  for (let seen = 0; seen < 200; ) {
    await Bun.sleep(10);
    const blocks = new Blocks(folder, { bytes_max });
    for (let turn = 0; turn < 50; turn++) {
      const number = integer(random, 0, 499);
      const found = blocks.restored(contentOf(number));
      if (found === null) continue;
      expect(found).toEqual(writtenBytes(number));
      seen += 1;
    }
  }
  for (const writer of writers) writer.kill("SIGKILL");
  for (const writer of writers) await writer.exited;
  const blocks = new Blocks(folder, { bytes_max });
  expect(bytesIn(folder)).toBeLessThanOrEqual(bytes_max);
  expectWhole(blocks, 10);
}, 20_000);

describe("the key of a model's blocks", () => {
  const SHAPE = { layers: 2, kv_heads: 1, head_dim: 8 };
  const folder = fresh();
  const model = join(folder, "model");
  const library = write(join(folder, "library.so"), "library");
  write(join(model, "config.json"), "{}");
  const weights = write(join(model, "model.safetensors"), "weights");
  const HOW = { kv_bits: 32, precision: "exact" } as const;
  const key = (version = "1", shape = SHAPE, path = model) => blockKey(path, library, version, shape, HOW);

  test("is the same for the same model", () => {
    expect(key()).toBe(key());
    expect(key()).toMatch(/^[0-9a-f]{16}$/);
  });

  test("is another for another version, shape, file or model", () => {
    const keys = [key(), key("2"), key("1", { ...SHAPE, kv_heads: 2 }), key("1", SHAPE, weights)];
    write(join(model, "README.md"), "says nothing");
    expect(key()).toBe(keys[0] ?? "");
    write(join(model, "model-2.safetensors"), "more");
    keys.push(key());
    expect(new Set(keys).size).toBe(keys.length);
  });

  test("is another for keys and values in fewer bits, and for what was computed less exactly", () => {
    const others = [{ kv_bits: 8 }, { precision: "fast" }] as const;
    const keys = others.map((other) => blockKey(model, library, "1", SHAPE, { ...HOW, ...other }));
    expect(new Set([key(), ...keys]).size).toBe(3);
  });

  test("is another for other weights of the same size and date", async () => {
    const before = key();
    const { atime, mtime } = statSync(weights);
    await Bun.sleep(20);
    writeFileSync(weights, "WEIGHTS");
    utimesSync(weights, atime, mtime);
    expect(statSync(weights).mtimeMs).toBe(mtime.getTime());
    expect(key()).not.toBe(before);
  });

  test("is another for another library", () => {
    const before = key();
    write(library, "another library");
    expect(key()).not.toBe(before);
  });
});

function nameOf(number: number): string {
  return `writer-${contentOf(number).chain_hash}`;
}

function patch(path: string, at: number, text: string): void {
  const bytes = readFileSync(path);
  bytes.write(text, at);
  writeFileSync(path, bytes);
}

function spawnWriter(folder: string, bytes_max: number) {
  const script = Bun.fileURLToPath(import.meta.resolve("./block-writer.ts"));
  const words = [process.execPath, script, folder, String(bytes_max)];
  return Bun.spawn(words, { stdout: "ignore", stderr: "inherit" });
}

function bytesIn(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

/** All that is found is whole, and so many are. */
function expectWhole(blocks: Blocks, least: number): void {
  let found = 0;
  for (let number = 0; number < 500; number++) {
    const bytes = blocks.restored(contentOf(number));
    if (bytes === null) continue;
    expect(bytes).toEqual(writtenBytes(number));
    found += 1;
  }
  expect(found).toBeGreaterThan(least);
}
