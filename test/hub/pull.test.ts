/** Models fetched from a hub over a socket: cut, wrong, refused, twice at once; and what lies in the cache then. */

import { afterEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../src/core/failure.ts";
import type { PullStep } from "../../src/core/hub.ts";
import { cachedModels } from "../../src/hub/cache.ts";
import { type HubAccess, modelOnHub } from "../../src/hub/client.ts";
import { removalOf } from "../../src/hub/fetched.ts";
import { type PullPlace, Pulls, readHubName } from "../../src/hub/pulls.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { MODEL_FILES } from "./cache-folder.ts";
import { type FileHub, fileHub, type HubRepository } from "./file-hub.ts";
import { TOKEN } from "./strict-hub.ts";

const FOLDER = scratchFolder();
const NEVER = new AbortController().signal;
const IMPATIENT = { silence_ms_max: 600, pause_ms: 1, tries_max: 3 };

const bytesOf = (content: string | Uint8Array) => new Uint8Array(Buffer.from(content));
/** Each byte differs from its neighbours. */
const weights = (count: number, first = 0) => Uint8Array.from({ length: count }, (_, place) => (place + first) % 251);
const FOLDER_MODEL = Object.fromEntries(Object.entries(MODEL_FILES).map(([path, each]) => [path, bytesOf(each)]));
const BIG = weights(300_000);
const REPOSITORIES: Readonly<Record<string, HubRepository>> = {
  "org/folder": { files: { ...FOLDER_MODEL, "README.md": bytesOf("no"), "1_Pooling/config.json": bytesOf("{}") } },
  "org/packed": {
    files: {
      "Name-Q4_K_M.gguf": BIG,
      "Name-Q8_0.gguf": weights(400_000, 7),
      "Name-mmproj.gguf": bytesOf("no"),
      "README.md": bytesOf("no"),
    },
  },
  "org/gated": { files: FOLDER_MODEL, is_gated: true },
  "org/liar": { files: { "model.gguf": BIG }, lies: true },
  "org/split": {
    files: { "Q4_K_M/a-Q4_K_M-00001-of-00002.gguf": bytesOf("a"), "Q4_K_M/a-Q4_K_M-00002-of-00002.gguf": bytesOf("b") },
  },
  "org/half": { files: { "Q4_K_M/a-Q4_K_M-00001-of-00002.gguf": bytesOf("a") } },
  "org/tokens": { files: { "tokenizer.json": bytesOf("{}"), "onnx/model_q4.onnx": bytesOf("1") } },
};

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each[Symbol.asyncDispose]();
});

let places = 0;

async function hubBefore(more: Partial<PullPlace> = {}, token: string | null = null) {
  const hub = await fileHub({ ...REPOSITORIES });
  open.push(hub);
  const folder = join(FOLDER, String(places++));
  const arrived: string[] = [];
  const place = { folder, arrived: (path: string) => arrived.push(path), patience: IMPATIENT, ...more };
  const access: HubAccess = { endpoint: hub.url, token };
  const pulls = new Pulls(place);
  const pull = (name: string, signal = NEVER) => pulls.follow(access, readHubName(name), signal);
  return { hub, folder, arrived, pull, blobs: join(folder, "models--org--packed", "blobs") };
}

const kinds = (steps: readonly PullStep[]) =>
  steps.map(({ kind }) => kind).filter((kind, at, all) => kind !== all[at - 1]);

async function refusal(steps: AsyncIterable<PullStep>): Promise<Failure> {
  try {
    await Array.fromAsync(steps);
  } catch (error) {
    expect(error).toBeInstanceOf(Failure);
    return error as Failure;
  }
  throw new Error("nothing was thrown");
}

const asksForBytes = ({ asked }: FileHub) => asked.filter((line) => line.startsWith("/store/"));

test("a folder's files come as Hugging Face keeps them, and are a model then", async () => {
  const { folder, pull, arrived, hub } = await hubBefore();
  const steps = await Array.fromAsync(pull("https://huggingface.co/org/folder"));
  expect(kinds(steps)).toEqual(["listing", "file", "placing", "done"]);
  expect(steps.at(-1)).toEqual({ kind: "done", model: "org/folder" });
  expect(cachedModels(folder).map(({ name }) => name)).toEqual(["org/folder"]);
  const repository = join(folder, "models--org--folder");
  expect(arrived).toEqual([repository]);
  expect(readFileSync(join(repository, "refs/main"), "utf8")).toBe("0123abcd");
  const snapshot = join(repository, "snapshots/0123abcd");
  expect(readFileSync(join(snapshot, "1_Pooling/config.json"), "utf8")).toBe("{}");
  expect(readdirSync(snapshot).sort()).toEqual(["1_Pooling", "config.json", "model.safetensors", "tokenizer.json"]);
  const asked = hub.asked.length;
  await Array.fromAsync(pull("org/folder"));
  expect(
    hub.asked.slice(asked).every((line) => line.startsWith("/api/models/") || line.endsWith("config.json")),
  ).toBeTrue();
});

test("of several GGUF files it is the one that is named, else the one that most people take", async () => {
  const { folder, pull } = await hubBefore();
  const steps = await Array.fromAsync(pull("hf.co/org/packed"));
  expect(kinds(steps)).toEqual(["listing", "file", "verifying", "placing", "done"]);
  const files = steps.filter((step) => step.kind === "file");
  expect(files.at(-1)).toMatchObject({ bytes_here: BIG.length, bytes_total: BIG.length });
  expect(files[0]?.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(cachedModels(folder).map(({ name, bytes }) => [name, bytes])).toEqual([["org/packed", BIG.length]]);
  await Array.fromAsync(pull("hf://org/packed:q8_0"));
  expect(cachedModels(folder).map(({ name }) => name)).toEqual(["org/packed:Name-Q4_K_M", "org/packed:Name-Q8_0"]);
});

test("a split GGUF file comes whole, under one name", async () => {
  const { folder, pull } = await hubBefore();
  await Array.fromAsync(pull("org/split:q4_k_m"));
  expect(cachedModels(folder).map(({ name, bytes }) => [name, bytes])).toEqual([["org/split", 2]]);
});

test("a cut download goes on where it was, within one pull and in the next", async () => {
  const { hub, pull, blobs, folder } = await hubBefore();
  hub.trouble = (_, begin) => (begin < 150_000 ? { kind: "cut", after: 100_000 } : null);
  await Array.fromAsync(pull("org/packed"));
  const ranges = () => asksForBytes(hub).map((line) => /bytes=(\d+)-/.exec(line)?.[1]);
  expect(ranges()[0]).toBeUndefined();
  expect(ranges().length).toBeGreaterThanOrEqual(3);
  expect(readFileSync(cachedModels(folder)[0]?.path ?? "")).toEqual(Buffer.from(BIG));

  const begun = asksForBytes(hub).length;
  let cuts = 0;
  hub.trouble = () => (cuts++ === 0 ? { kind: "silent", after: 150_000 } : { kind: "status", status: 503 });
  const failed = await refusal(pull("org/packed:Q8_0"));
  expect(failed.kind).toBe("upstream");
  expect(failed.message).toMatch(
    /answered with 503, 3 times; \d+ of 400000 bytes of "Name-Q8_0.gguf" are here and stay$/,
  );
  const [part = ""] = readdirSync(blobs).filter((name) => name.endsWith(".bunsen-part"));
  const { size } = statSync(join(blobs, part));
  expect(size).toBeGreaterThan(0);
  hub.trouble = () => null;
  await Array.fromAsync(pull("org/packed:Q8_0"));
  expect(ranges().slice(begun).at(-1)).toBe(String(size));
  expect(readFileSync(cachedModels(folder)[1]?.path ?? "")).toEqual(Buffer.from(weights(400_000, 7)));
  expect(readdirSync(blobs).filter((name) => name.includes("part"))).toEqual([]);
});

test("a hub that gives the whole for a part, and one that falls silent, are borne", async () => {
  const { hub, pull, folder } = await hubBefore();
  let count = 0;
  const troubles = [{ kind: "silent", after: 100_000 }, { kind: "whole" }] as const;
  hub.trouble = () => troubles[count++] ?? null;
  await Array.fromAsync(pull("org/packed"));
  expect(count).toBe(2);
  expect(readFileSync(cachedModels(folder)[0]?.path ?? "")).toEqual(Buffer.from(BIG));
});

test("bytes with another checksum are no model, and are not gone on from", async () => {
  const { folder, pull, hub } = await hubBefore();
  const { message, kind } = await refusal(pull("org/liar"));
  expect(message).toMatch(
    /^Cannot pull "org\/liar": "model.gguf" has the checksum [0-9a-f]{64}, the hub tells [0-9a-f]{64};/,
  );
  expect(kind).toBe("upstream");
  expect(cachedModels(folder)).toEqual([]);
  expect(readdirSync(join(folder, "models--org--liar/blobs"))).toEqual([]);
  hub.repositories["org/liar"] = { files: { "model.gguf": BIG } };
  await Array.fromAsync(pull("org/liar"));
  expect(cachedModels(folder)).toHaveLength(1);
});

test("a part of other bytes that lies there is found out", async () => {
  const { pull, blobs } = await hubBefore();
  const first = await refusal((await hubBefore()).pull("org/none"));
  expect(first.kind).toBe("forbidden");
  const sum = new Bun.CryptoHasher("sha256").update(BIG).digest("hex");
  mkdirSync(blobs, { recursive: true });
  writeFileSync(join(blobs, `${sum}.bunsen-part`), weights(1000, 9));
  expect((await refusal(pull("org/packed"))).message).toContain("has the checksum");
  await Array.fromAsync(pull("org/packed"));
  expect(readFileSync(join(blobs, sum))).toEqual(Buffer.from(BIG));
});

test("two who ask at once follow one download, and a later one hears what was", async () => {
  const { hub, pull, arrived } = await hubBefore();
  const { promise, resolve } = Promise.withResolvers<void>();
  hub.ready = promise;
  const first = Array.fromAsync(pull("org/packed"));
  while (asksForBytes(hub).length === 0) await Bun.sleep(5);
  const second = Array.fromAsync(pull("ORG/Packed:latest"));
  resolve();
  expect(kinds(await second)).toEqual(kinds(await first));
  expect(asksForBytes(hub)).toHaveLength(1);
  expect(arrived).toHaveLength(1);
});

test("two forms of one model that have files in common are fetched one after the other", async () => {
  const { hub, pull } = await hubBefore();
  await Promise.all([pull("org/packed"), pull("org/packed:Q4_K_M")].map((steps) => Array.fromAsync(steps)));
  expect(asksForBytes(hub)).toHaveLength(1);
});

test("one that leaves while it waits for its turn lets nobody go before", async () => {
  const { hub, pull } = await hubBefore();
  const { promise, resolve } = Promise.withResolvers<void>();
  hub.ready = promise;
  const leaves = new AbortController();
  const first = Array.fromAsync(pull("org/packed:Q4_K_M"));
  while (asksForBytes(hub).length === 0) await Bun.sleep(5);
  const second = Array.fromAsync(pull("org/packed:Q8_0", leaves.signal)).catch(() => "left");
  const lists = () => hub.asked.filter((line) => line.startsWith("/api/models/")).length;
  while (lists() < 2) await Bun.sleep(5);
  await Bun.sleep(50); // it has what it asked for
  leaves.abort();
  expect(await second).toBe("left");
  const third = Array.fromAsync(pull("org/packed"));
  while (lists() < 3) await Bun.sleep(5);
  await Bun.sleep(50);
  expect(asksForBytes(hub)).toHaveLength(1);
  resolve();
  await Promise.all([first, third]);
  expect(asksForBytes(hub)).toHaveLength(1);
});

test("names of files that lead elsewhere are none of the model's", async () => {
  const { hub, pull, folder } = await hubBefore();
  for (const path of ["../a-Q4_K_M.gguf", "./a-Q4_K_M.gguf", "..\\a.gguf", "/a.gguf", "a/../../b.gguf", "-/a.gguf"]) {
    hub.repositories["org/odd"] = { files: { [path]: bytesOf("x") } };
    expect([path, (await refusal(pull("org/odd"))).kind]).toEqual([path, "unsupported"]);
  }
  expect(existsSync(join(folder, "models--org--odd"))).toBeFalse();
});

test("a redirect leads to a server, and nowhere else", async () => {
  for (const location of ["file:///etc/hostname", "data:application/json,{}", "s3://bucket/key"]) {
    using hub = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => new Response(null, { status: 302, headers: { location } }),
    });
    const access = { endpoint: `http://127.0.0.1:${hub.port}`, token: null };
    const { protocol } = new URL(location);
    expect((await modelOnHub(access, "org/odd", NEVER).catch((error) => error)).message).toBe(
      `Cannot ask the hub at ${access.endpoint}: it redirects to "${protocol}", expected "http:" or "https:"`,
    );
  }
});

test("it stops when the last has left, keeps what is here, and can be asked for again at once", async () => {
  const { hub, pull, blobs, folder } = await hubBefore();
  const left = new AbortController();
  const stays = new AbortController();
  hub.trouble = (_, begin) => (begin === 0 ? { kind: "silent", after: 200_000 } : null);
  const both = [left, stays].map(({ signal }) => Array.fromAsync(pull("org/packed", signal)).catch(() => "left"));
  const part = () => readdirSync(existsSync(blobs) ? blobs : FOLDER).find((name) => name.endsWith(".bunsen-part"));
  while (part() === undefined || statSync(join(blobs, part() ?? "")).size < 100_000) await Bun.sleep(2);
  left.abort();
  expect(await both[0]).toBe("left");
  stays.abort();
  const again = pull("org/packed");
  expect(await both[1]).toBe("left");
  const steps = await Array.fromAsync(again);
  expect(steps.find((step) => step.kind === "file")).toMatchObject({ bytes_here: expect.any(Number) });
  expect(asksForBytes(hub).at(-1)).toMatch(/bytes=\d{5,}-$/);
  expect(cachedModels(folder)).toHaveLength(1);
});

test("what may not be read, is not there, or cannot be served is told apart", async () => {
  const { pull, hub } = await hubBefore();
  const gated = await refusal(pull("org/gated"));
  expect([gated.kind, gated.message]).toEqual([
    "forbidden",
    'Cannot read "org/gated" on the hub: it is private or gated, or is not there; there is no token to ask with',
  ]);
  expect((await refusal(pull("org/packed:Q2_K"))).message).toBe(
    'Cannot pull "org/packed": it has no GGUF file "Q2_K"; it has Name-Q4_K_M, Name-Q8_0',
  );
  expect((await refusal(pull("org/half"))).message).toContain(
    'its file "Q4_K_M/a-Q4_K_M-00002-of-00002.gguf" is missing',
  );
  expect((await refusal(pull("org/tokens"))).message).toBe(
    'Cannot pull "org/tokens": it has no safetensors and no GGUF file, and "onnx/model_q4.onnx" is of a form that is not read',
  );
  expect(asksForBytes(hub)).toEqual([]);
  const known = await hubBefore({}, TOKEN);
  expect((await refusal(known.pull("org/none"))).kind).toBe("not_found");
  await Array.fromAsync(known.pull("org/gated"));
  expect(known.hub.asked.every((line) => line.includes(TOKEN))).toBeTrue();
  const other = await hubBefore({}, "hf_another");
  expect((await refusal(other.pull("org/gated"))).message).toContain("the token may not read it");
  for (const name of ["llama3.2", "org/a/b", "../x", "org/na--me", "org/name:"]) {
    expect(() => readHubName(name)).toThrow(`Cannot pull model "${name}"`);
  }
});

test("the token goes to the hub, and not to where it redirects", async () => {
  const { pull, hub } = await hubBefore({}, TOKEN);
  await Array.fromAsync(pull("org/packed"));
  const [stored = ""] = asksForBytes(hub);
  expect(stored).not.toContain(TOKEN);
});

test("a disk without room is told before anything is fetched", async () => {
  const { pull, hub, folder } = await hubBefore({ bytesFree: async () => 1000 });
  const { message, kind } = await refusal(pull("org/packed"));
  expect(message).toBe(
    `Cannot pull "org/packed": 300000 bytes are to be fetched, and the disk of ${folder}/models--org--packed has 1000 free`,
  );
  expect([kind, asksForBytes(hub)]).toEqual(["unavailable", []]);
});

test.skipIf(process.platform !== "linux")("a disk that is full meanwhile is told", async () => {
  const { pull, blobs } = await hubBefore();
  mkdirSync(blobs, { recursive: true });
  const sum = new Bun.CryptoHasher("sha256").update(BIG).digest("hex");
  symlinkSync("/dev/full", join(blobs, `${sum}.bunsen-part`));
  const { message, kind } = await refusal(pull("org/packed"));
  expect([kind, message]).toEqual([
    "unavailable",
    'Cannot pull "org/packed": the disk is full, and what is here of "Name-Q4_K_M.gguf" stays',
  ]);
});

test("what another process fetches is left to it, unless it is gone", async () => {
  const { pull, folder } = await hubBefore();
  const lock = join(folder, ".locks/bunsen-org--packed.pid");
  mkdirSync(join(folder, ".locks"), { recursive: true });
  writeFileSync(lock, String(process.ppid));
  expect((await refusal(pull("org/packed"))).message).toBe(
    `Cannot pull "org/packed": process ${process.ppid} is fetching it`,
  );
  writeFileSync(lock, "");
  await Array.fromAsync(pull("org/packed"));
  expect(existsSync(lock)).toBeFalse();
});

test("what was fetched can be removed, file by file; what others put there, or still use, stays", async () => {
  const { folder, pull } = await hubBefore();
  await Array.fromAsync(pull("org/packed"));
  await Array.fromAsync(pull("org/packed:Q8_0"));
  await Array.fromAsync(pull("org/folder"));
  const remove = async (name: string) => {
    const { path = "" } = cachedModels(folder).find((model) => model.name === name) ?? {};
    await (await removalOf(folder, name, path))();
  };
  const repository = join(folder, "models--org--packed");
  await remove("org/packed:Name-Q8_0");
  expect(cachedModels(folder).map(({ name }) => name)).toEqual(["org/folder", "org/packed"]);
  expect(readdirSync(join(repository, "blobs"))).toHaveLength(1);
  await remove("org/folder");
  await Array.fromAsync(pull("org/split"));
  await remove("org/split");
  expect(existsSync(join(folder, "models--org--split"))).toBeFalse();
  expect(existsSync(join(folder, "models--org--folder"))).toBeFalse();
  const sum = new Bun.CryptoHasher("sha256").update(BIG).digest("hex");
  mkdirSync(join(repository, "snapshots/other"));
  symlinkSync(join(repository, "blobs", sum), join(repository, "snapshots/other/theirs.gguf"));
  await remove("org/packed");
  expect(readFileSync(join(repository, "snapshots/other/theirs.gguf"))).toEqual(Buffer.from(BIG));
  for (const path of [join(repository, "snapshots/other/theirs.gguf"), "/elsewhere/model.gguf", folder]) {
    const { message } = await removalOf(folder, "theirs", path).then(
      () => new Error("it was removed"),
      (error: Error) => error,
    );
    expect(message).toBe(`Cannot delete model "theirs": it was not fetched by this server, and stays in ${path}`);
  }
});
