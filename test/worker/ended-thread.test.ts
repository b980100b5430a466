/** What a thread of the engine that is ended leaves behind: a thread cannot free what it holds once it is told to end. */

import { dlopen, ptr, read } from "bun:ffi";
import { beforeAll, expect, test } from "bun:test";
import { startEngine } from "../../src/app.ts";
import { PLAIN_SAMPLING } from "../../src/core/generation.ts";
import { fromBytes } from "../../src/mlx/array.ts";
import { add } from "../../src/mlx/ops.ts";
import { EngineClient } from "../../src/worker/client.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { AT_ONCE, engineParts, LIBRARY } from "../open-mlx.ts";

const FOLDER = scratchFolder();
const NEVER = new AbortController().signal;

beforeAll(prepareFixtures, 120_000);

test.if(process.platform === "linux")("a thread that is ended gives back the model and the cache it held", async () => {
  const { path, expected } = fixture("untied");
  const { prompt_ids } = expected;
  const limits = {
    tokens_max: 8,
    tokens_min: 0,
    stop_token_ids: [],
    adapter: null,
    adapter_bytes_max: 0,
    grammar: null,
    thought: null,
    prompt_logprobs: false,
    tokens: null,
    urgency: AT_ONCE,
  };
  const sampling = { ...PLAIN_SAMPLING, temperature: 0, seed: 0 };
  const before = activeBytes();
  for (let life = 0; life < 3; life++) {
    const port = startEngine("worker");
    const client = new EngineClient(() => port, engineParts(FOLDER));
    await client.load("untied", path);
    for await (const _ of client.generate({ model: "untied", prompt_ids, sampling, logprobs: null, ...limits }, NEVER));
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
