/** A model's file that somebody changes while the model is in use. */

import { expect, test } from "bun:test";
import { closeSync, cpSync, openSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { startEngine } from "../../src/app.ts";
import { wasFileCut } from "../../src/mlx/extras.ts";
import { EngineClient } from "../../src/worker/client.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { engineParts } from "../open-mlx.ts";
import { ROOT } from "../root.ts";

const FOLDER = scratchFolder();
const NEVER = new AbortController().signal;
const TEXT = { token_ids: [101, 7592, 2088, 102], second_at: 4 };
const LONG = { token_ids: [101, ...Array.from({ length: 200 }, (_, index) => 2000 + index), 102], second_at: 202 };

/** An engine with a model of its own files, the path of its weights, and how many engines there were. */
async function serving(isolation: "worker" | "process", name: string) {
  const path = join(FOLDER, `${isolation}-${name}`);
  cpSync(join(ROOT, "build/models/all-MiniLM-L6-v2"), path, { recursive: true });
  const lives = { count: 0 };
  const start = () => {
    lives.count += 1;
    return startEngine(isolation);
  };
  const client = new EngineClient(start, engineParts(FOLDER));
  await client.load("mini", path);
  const read = async () => (await client.read("mini", [TEXT], NEVER))[0];
  return { client, file: join(path, "model.safetensors"), lives, read };
}

function overwrite(file: string, at: number): void {
  const descriptor = openSync(file, "r+");
  writeSync(descriptor, Buffer.alloc(2 ** 20, 60), 0, 2 ** 20, at);
  closeSync(descriptor);
}

for (const isolation of ["worker", "process"] as const) {
  test.if(process.platform === "linux")(
    `(${isolation}) cut while it is read, it ends its engine, and the next one says what is wrong`,
    async () => {
      const { client, file, lives } = await serving(isolation, "cut");
      const reading = client.read("mini", new Array(4000).fill(LONG), NEVER);
      await Bun.sleep(200);
      truncateSync(file, 2 ** 20);
      await expect(reading).rejects.toThrow(/model\.safetensors.*[^.]$/);
      expect(lives.count).toBe(2);
      await client.close();
      wasFileCut(); // this thread has the same library, and reads only whole files
    },
    30_000,
  );

  test(`(${isolation}) written to in place, it is read anew`, async () => {
    const { client, file, lives, read } = await serving(isolation, "written");
    const before = await read();
    overwrite(file, statSync(file).size - 2 ** 22);
    const after = await read();
    expect(after).not.toEqual(before);
    expect(lives.count).toBe(2);
    const fresh = new EngineClient(() => startEngine("worker"), engineParts(FOLDER));
    await fresh.load("mini", join(file, ".."));
    expect((await fresh.read("mini", [TEXT], NEVER))[0]).toEqual(after);
    for (const each of [client, fresh]) await each.close();
  }, 30_000);

  test(`(${isolation}) replaced as a whole or removed, it is there for who uses it`, async () => {
    const { client, file, lives, read } = await serving(isolation, "replaced");
    const before = await read();
    rmSync(file);
    expect(await read()).toEqual(before);
    writeFileSync(file, "another");
    expect(await read()).toEqual(before);
    expect(lives.count).toBe(1);
    await client.close();
  }, 30_000);
}
