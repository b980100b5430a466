/** The engine behind its thread boundary: real worker or process, real MLX, small models. */

import { afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startEngine } from "../../src/app.ts";
import type { AdapterMemory } from "../../src/core/adapter.ts";
import { Failure } from "../../src/core/failure.ts";
import { EngineClient, type RowRequest } from "../../src/worker/client.ts";
import type { EngineParts, EnginePort, FromEngine, RowProgress } from "../../src/worker/messages.ts";
import { EngineProcess } from "../../src/worker/process.ts";
import { GREEDY_ROW } from "../engine/greedy-row.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { familyFixture, fixture, prepareFixtures } from "../models/fixtures.ts";
import { engineParts } from "../open-mlx.ts";
import { ROOT } from "../root.ts";

// Processes begin and end here, on machines that do other things too.
setDefaultTimeout(30_000);

const FOLDER = scratchFolder();
const NEVER = new AbortController().signal;

let spawned: EnginePort[] = [];
let clients: EngineClient[] = [];

beforeAll(prepareFixtures, 120_000);

afterEach(async () => {
  for (const client of clients) await client.close();
  clients = [];
  spawned = [];
});

function startWith(spawn: () => EnginePort, parts: EngineParts): EngineClient {
  const client = new EngineClient(() => {
    const port = spawn();
    spawned.push(port);
    return port;
  }, parts);
  clients.push(client);
  return client;
}

function row(model: string, changes: Partial<RowRequest> = {}): RowRequest {
  const { prompt_ids } = fixture(model).expected;
  return { ...GREEDY_ROW, model, prompt_ids, tokens_max: 20, tokens: null, ...changes };
}

async function tokens(rows: AsyncIterable<RowProgress>): Promise<number[]> {
  const all: number[] = [];
  for await (const { token_ids } of rows) all.push(...token_ids);
  return all;
}

async function failureOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => "no failure",
    (error: Error) => error.message,
  );
}

describe.each(["worker", "process"] as const)("in a %s", (isolation) => {
  const startClient = (parts = engineParts(FOLDER)) => startWith(() => startEngine(isolation), parts);

  test("a row's tokens come through the worker", async () => {
    const client = startClient();
    const { path, expected } = fixture("untied");
    const loaded = await client.load("untied", path);
    expect(loaded.vocabulary_size).toBe(256);
    expect(loaded.bytes_resident).toBeGreaterThan(100_000);
    expect(await tokens(client.generate(row("untied"), NEVER))).toEqual(expected.token_ids.slice(0, 20));
  });

  test("rows of two models at once give each what it gives alone", async () => {
    const client = startClient();
    for (const name of ["untied", "biases"]) await client.load(name, fixture(name).path);
    const together = ["untied", "biases", "untied", "biases"].map((name) => tokens(client.generate(row(name), NEVER)));
    const expected = (name: string) => fixture(name).expected.token_ids.slice(0, 20);
    const [first, second, third, fourth] = await Promise.all(together);
    expect([first, third]).toEqual([expected("untied"), expected("untied")]);
    expect([second, fourth]).toEqual([expected("biases"), expected("biases")]);
  });

  test("a row whose reader leaves stops within one step", async () => {
    const client = startClient();
    await client.load("untied", fixture("untied").path);
    for await (const _ of client.generate(row("untied", { tokens_max: 400 }), NEVER)) break;
    const late: FromEngine[] = [];
    spawned[0]?.addEventListener("message", (event) => late.push(event.data));
    await tokens(client.generate(row("untied"), NEVER));
    const ids = late.flatMap((message) => (message.kind === "step" ? message.rows.map(({ id }) => id) : []));
    expect(ids.filter((id) => id === 1).length).toBeLessThanOrEqual(2);
    expect(ids.filter((id) => id === 2).length).toBe(20);
  });

  test("an aborted row throws the signal's reason", async () => {
    const client = startClient();
    await client.load("untied", fixture("untied").path);
    const controller = new AbortController();
    const reading = tokens(client.generate(row("untied", { tokens_max: 400 }), controller.signal));
    controller.abort(new Error("the client left"));
    expect(await failureOf(reading)).toBe("the client left");
  });

  test("of a dead engine's rows those that had begun end with a typed failure, the others are answered by a new one", async () => {
    const client = startClient();
    const { path, expected } = fixture("untied");
    await client.load("untied", path);
    const begun = client.generate(row("untied", { tokens_max: 400 }), NEVER);
    await begun.next();
    const waiting = tokens(client.generate(row("untied"), NEVER));
    spawned[0]?.terminate();
    const failure = await tokens(begun).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Failure);
    expect((failure as Failure).kind).toBe("engine");
    expect((failure as Failure).message).toStartWith("Cannot go on: the engine stopped: its ");
    expect(await waiting).toEqual(expected.token_ids.slice(0, 20));
    expect(spawned.length).toBe(2);
  });

  test("what an engine lost is asked of one more, and not of a third", async () => {
    const client = startWith(() => {
      const port = startEngine(isolation);
      port.terminate();
      return port;
    }, engineParts(FOLDER));
    expect(await failureOf(client.load("untied", fixture("untied").path))).toStartWith(
      "Cannot go on: the engine stopped",
    );
    expect(spawned.length).toBe(2);
    expect(await failureOf(tokens(client.generate(row("untied"), NEVER)))).toStartWith(
      "Cannot go on: the engine stopped",
    );
    expect(spawned.length).toBe(4);
  });

  test("an engine that fails by a bug of ours is started again", async () => {
    const client = startClient();
    const { path, expected } = fixture("untied");
    await client.load("untied", path);
    const begun = client.generate(row("untied", { tokens_max: 400 }), NEVER);
    await begun.next();
    spawned[0]?.postMessage({ kind: "explain", id: 1, model: "untied", prompt_ids: null } as never);
    const reason = isolation === "worker" ? "null is not an object" : "its process ended with code 1";
    const failure = await failureOf(tokens(begun));
    expect(failure).toStartWith(`Cannot go on: the engine stopped: ${reason}`);
    expect(failure).not.toContain("\n");
    expect(await tokens(client.generate(row("untied"), NEVER))).toEqual(expected.token_ids.slice(0, 20));
    expect(spawned.length).toBe(2);
  });

  test("after a death a model is resident again when it is asked for", async () => {
    const client = startClient();
    for (const name of ["untied", "biases"]) await client.load(name, fixture(name).path);
    spawned[0]?.terminate();
    const rows = ["untied", "biases"].map((name) => tokens(client.generate(row(name), NEVER)));
    expect(await Promise.all(rows)).toEqual(
      ["untied", "biases"].map((name) => fixture(name).expected.token_ids.slice(0, 20)),
    );
  });

  test("a closed engine is not started again", async () => {
    const client = startClient();
    await client.load("untied", fixture("untied").path);
    const reading = tokens(client.generate(row("untied", { tokens_max: 400 }), NEVER));
    await client.close();
    expect(await failureOf(reading)).toBe("Cannot go on: the engine stopped: it was closed");
    expect(await failureOf(tokens(client.generate(row("untied"), NEVER)))).toBe("Cannot go on: the engine was closed");
    expect(spawned.length).toBe(1);
  });

  test("each chunk of a prompt is told as progress, and a row that leaves within is not computed further", async () => {
    const client = startClient(engineParts(FOLDER, { chunk_tokens_max: 32 }));
    await client.load("untied", fixture("untied").path);
    const controller = new AbortController();
    let empty_steps = 0;
    spawned[0]?.addEventListener("message", ({ data }) => {
      if (data.kind !== "step" || data.rows.length > 0) return;
      empty_steps += 1;
      if (empty_steps === 3) controller.abort(new Error("the client left"));
    });
    const prompt_ids = Array.from({ length: 480 }, (_, index) => (index * 11) % 256);
    expect(await failureOf(tokens(client.generate(row("untied", { prompt_ids }), controller.signal)))).toBe(
      "the client left",
    );
    await tokens(client.generate(row("untied"), NEVER));
    expect(empty_steps).toBeGreaterThanOrEqual(3);
    expect(empty_steps).toBeLessThan(14);
  });

  test("a library that is not one is told in a sentence, also to who only loads a model", async () => {
    const folder = mkdtempSync(join(FOLDER, "library-"));
    const path = join(folder, "libmlxc.so");
    writeFileSync(path, "not a library");
    const client = startClient({ ...engineParts(folder), library: path });
    const asked = [client.device(), client.load("untied", fixture("untied").path)];
    for (const promise of asked) {
      const failure = await promise.then(String, (error: unknown) => error);
      expect(failure).toBeInstanceOf(Failure);
      expect(failure).toMatchObject({ kind: "unavailable" });
      expect((failure as Failure).message).toStartWith(`Cannot open the MLX library ${path}: `);
    }
  });

  test("a model that cannot be loaded leaves running rows alone and may be tried again", async () => {
    const client = startClient();
    const { path, expected } = fixture("untied");
    await client.load("untied", path);
    const reading = tokens(client.generate(row("untied"), NEVER));
    const broken = mkdtempSync(join(FOLDER, "broken-"));
    writeFileSync(join(broken, "config.json"), '{"model_type": "telepathy"}');
    const attempt = () => failureOf(client.load("broken", broken));
    expect(await attempt()).toContain("it has no .safetensors file");
    writeFileSync(join(broken, "model.safetensors"), new Uint8Array([2, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d]));
    expect(await attempt()).toContain('its family is "telepathy", known: ');
    expect(await reading).toEqual(expected.token_ids.slice(0, 20));
  });

  test("a row for a model the engine does not hold fails alone", async () => {
    const client = startClient();
    await client.load("untied", fixture("untied").path);
    const lost = tokens(client.generate({ ...row("untied"), model: "other" }, NEVER));
    expect(await failureOf(lost)).toContain('the engine holds no model "other"');
    expect((await tokens(client.generate(row("untied"), NEVER))).length).toBe(20);
  });

  describe("the prefix cache on disk", () => {
    const prompt_ids = Array.from({ length: 150 }, (_, index) => (index * 7) % 256);
    const ask = async (client: EngineClient, name = "untied") => {
      const path = name === "untied" ? fixture(name).path : familyFixture(name).path;
      await client.load(name, path);
      const answer = { token_ids: [] as number[], cached_tokens: 0 };
      const asked = { ...row("untied", { prompt_ids }), model: name };
      for await (const { token_ids, cached_tokens } of client.generate(asked, NEVER)) {
        answer.token_ids.push(...token_ids);
        answer.cached_tokens = cached_tokens;
      }
      return answer;
    };

    test.each(["untied", "lfm2", "qwen3_next-4bit"])(
      "is there after the engine was closed and started again: %s",
      async (name) => {
        const parts = engineParts(mkdtempSync(join(FOLDER, "closed-")));
        const first = startClient(parts);
        const cold = await ask(first, name);
        await first.close();
        const warm = await ask(startClient(parts), name);
        expect([cold.cached_tokens, warm.cached_tokens]).toEqual([0, 128]);
        expect(warm.token_ids).toEqual(cold.token_ids);
      },
    );

    test("is there when the engine was idle for a second and was killed then", async () => {
      const parts = engineParts(mkdtempSync(join(FOLDER, "killed-")));
      await ask(startClient(parts));
      await Bun.sleep(2000);
      spawned[0]?.terminate();
      expect((await ask(startClient(parts))).cached_tokens).toBe(128);
    });

    test("is another one for another version of the program", async () => {
      const parts = engineParts(mkdtempSync(join(FOLDER, "version-")));
      const first = startClient(parts);
      await ask(first);
      await first.close();
      const newer = { ...parts, blocks: { ...parts.blocks, version: "newer" } };
      expect((await ask(startClient(newer))).cached_tokens).toBe(0);
    });

    test("keeps nothing when it may have no bytes", async () => {
      const folder = mkdtempSync(join(FOLDER, "none-"));
      const first = startClient(engineParts(folder, { kv_disk_bytes_max: 0 }));
      await ask(first);
      await first.close();
      expect(readdirSync(join(folder, "blocks"))).toEqual([]);
    });

    test("needs no folder: what cannot be kept is computed again", async () => {
      const folder = join(mkdtempSync(join(FOLDER, "file-")), "file");
      writeFileSync(folder, "no folder");
      const first = startClient(engineParts(folder));
      const cold = await ask(first);
      await first.close();
      const again = await ask(startClient(engineParts(folder)));
      expect(again).toEqual(cold);
    });
  });
});

describe("an engine without progress", () => {
  const STALL_MS = 1500;
  const silent = () => new Worker(join(ROOT, "test/worker/silent-engine.ts"));

  test("is started again: a busy thread is ended, its row answered by the next", async () => {
    const { path, expected } = fixture("untied");
    const spawns = [silent, () => startEngine("worker")];
    const client = startWith(() => (spawns.shift() ?? silent)(), engineParts(FOLDER, { stall_ms_max: STALL_MS }));
    const adapters: AdapterMemory[] = [];
    client.watchAdapters((_, memory) => adapters.push(memory));
    await client.load("untied", path);
    const began_ms = performance.now();
    expect(await tokens(client.generate(row("untied"), NEVER))).toEqual(expected.token_ids.slice(0, 20));
    expect(performance.now() - began_ms).toBeGreaterThan(STALL_MS);
    expect(spawned.length).toBe(2);
    const none = { bytes: 0, idle_bytes: 0 };
    expect(adapters).toEqual([none, { bytes: 5, idle_bytes: 3 }, none, none]); // with the engine they are gone
  });

  test("is started again: a process that hangs is ended, and a row that had begun says why", async () => {
    const { path, expected } = fixture("untied");
    const client = startWith(() => startEngine("process"), engineParts(FOLDER, { stall_ms_max: STALL_MS }));
    await client.load("untied", path);
    const begun = client.generate(row("untied", { tokens_max: 400 }), NEVER);
    await begun.next();
    process.kill(pidOf(spawned[0]), "SIGSTOP");
    const waiting = tokens(client.generate(row("untied"), NEVER));
    const state = `it had work and made no progress for ${STALL_MS} ms`;
    expect(await failureOf(tokens(begun))).toBe(`Cannot go on: the engine stopped: ${state}`);
    expect(await waiting).toEqual(expected.token_ids.slice(0, 20));
  });

  test("is left alone while it tells of a load, or has nothing to do", async () => {
    const client = startWith(silent, engineParts(FOLDER, { stall_ms_max: 500 }));
    expect((await client.load("slow", "/slow")).model).toBe("slow"); // after a second and a half
    await Bun.sleep(1000);
    expect(spawned.length).toBe(1);
  });
});

test("a closed engine does not hold up the end of its program", async () => {
  const script = `
    import { startEngine } from ${JSON.stringify(join(ROOT, "src/app.ts"))};
    import { EngineClient } from ${JSON.stringify(join(ROOT, "src/worker/client.ts"))};
    const client = new EngineClient(() => startEngine("worker"), ${JSON.stringify(engineParts(FOLDER))});
    await client.device();
    await client.close();
    console.log("closed");`;
  const program = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit", cwd: ROOT });
  await program.stdout.getReader().read();
  const closed_ms = performance.now();
  expect(await program.exited).toBe(0);
  expect(performance.now() - closed_ms).toBeLessThan(2000); // a kept timer would take three seconds
});

test("a process of the engine ends with its parent, however that ended", async () => {
  const script = `
    import { startEngine } from ${JSON.stringify(join(ROOT, "src/app.ts"))};
    const engine = startEngine("process");
    engine.addEventListener("message", () => console.log(engine.pid));
    engine.postMessage(${JSON.stringify({ kind: "start", parts: engineParts(FOLDER) })});`;
  const parent = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit", cwd: ROOT });
  const { value } = await parent.stdout.getReader().read();
  const pid = Number(new TextDecoder().decode(value));
  expect(isAlive(pid)).toBe(true);
  parent.kill("SIGKILL");
  for (let count = 0; count < 200 && isAlive(pid); count++) await Bun.sleep(10);
  expect(isAlive(pid)).toBe(false);
});

function pidOf(port: EnginePort | undefined): number {
  if (port instanceof EngineProcess) return port.pid;
  throw new Error("the engine has no process of its own");
}

/** Also one that has ended counts until its parent has noticed. */
function isAlive(pid: number): boolean {
  const stat = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, "utf8") : "";
  return stat !== "" && !stat.includes(") Z ");
}
