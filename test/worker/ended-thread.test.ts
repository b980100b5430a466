/** What a thread of the engine that is ended leaves behind: a thread cannot free what it holds once it is told to end. */

import { dlopen, ptr, read } from "bun:ffi";
import { beforeAll, expect, test } from "bun:test";
import { startEngine } from "../../src/app.ts";
import { fromBytes } from "../../src/mlx/array.ts";
import { add } from "../../src/mlx/ops.ts";
import { EngineClient } from "../../src/worker/client.ts";
import { GREEDY_ROW } from "../engine/greedy-row.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { engineParts, LIBRARY } from "../open-mlx.ts";

const FOLDER = scratchFolder();
const NEVER = new AbortController().signal;

beforeAll(prepareFixtures, 120_000);

test.if(process.platform === "linux")("a thread that is ended gives back the model and the cache it held", async () => {
  const { path, expected } = fixture("untied");
  const { prompt_ids } = expected;
  const row = { ...GREEDY_ROW, model: "untied", prompt_ids, tokens_max: 8, tokens: null };
  const before = activeBytes();
  for (let life = 0; life < 3; life++) {
    const port = startEngine("worker");
    const client = new EngineClient(() => port, engineParts(FOLDER));
    await client.load("untied", path);
    for await (const _ of client.generate(row, NEVER));
    expect(activeBytes()).toBeGreaterThan(before + 1e6);
    port.terminate();
    for (let wait = 0; wait < 300 && activeBytes() > before; wait++) await Bun.sleep(10);
    expect(activeBytes()).toBe(before);
    await client.close();
  }
});

test("an error of this thread is told here after another thread has ended", async () => {
  const port = startEngine("worker");
  const client = new EngineClient(() => port, engineParts(FOLDER));
  await client.device();
  port.terminate();
  await Bun.sleep(100);
  using two = fromBytes(Float32Array.of(1, 2), [2], "float32");
  using three = fromBytes(Float32Array.of(1, 2, 3), [3], "float32");
  expect(() => add(two, three)).toThrow("cannot be broadcast");
  await client.close();
});

/** What MLX's allocator has given to all threads of this process. */
function activeBytes(): number {
  const slot = new BigUint64Array(1);
  expect(library.mlx_get_active_memory(slot)).toBe(0);
  return Number(read.u64(ptr(slot), 0));
}

const { symbols: library } = dlopen(LIBRARY, { mlx_get_active_memory: { args: ["ptr"], returns: "i32" } });
