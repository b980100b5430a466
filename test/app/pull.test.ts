/** The default model's own file, fetched from a hub by the running server and by the command line, and asked at once. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { Ollama } from "ollama";
import { scratchFolder } from "../formats/scratch.ts";
import { type FileHub, fileHub } from "../hub/file-hub.ts";
import { ROOT } from "../root.ts";
import { MODEL, runToEnd, Served } from "../served.ts";

const PACKED = readFileSync(join(ROOT, `build/models/${MODEL}/${MODEL}.Q4_1.gguf`));
/** In place of a model, where it is not asked for anything. */
const SMALL = Uint8Array.from({ length: 1_100_000 }, (_, place) => place % 251);
const HOME = scratchFolder();
const ASKED = {
  messages: [{ role: "user", content: "What is the capital of France?" }],
  options: { num_predict: 8, temperature: 0 },
};

let hub: FileHub;
let server: Served;
let client: Ollama;

beforeAll(async () => {
  hub = await fileHub({ "org/Small-GGUF": { files: { "Small-Q4_1.gguf": PACKED } } });
  server = await Served.start([], { home: HOME, variables: { HF_ENDPOINT: hub.url } });
  client = new Ollama({ host: server.url });
}, 120_000);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await hub[Symbol.asyncDispose]();
});

test("a model that was pulled is listed, and answers by each way to write its name, without a restart", async () => {
  const lines = await Array.fromAsync(await client.pull({ model: "hf.co/org/Small-GGUF:Q4_1", stream: true }));
  const words = lines.map(({ status }) => status.replace(/[0-9a-f]{12}$/, "DIGEST"));
  expect([...new Set(words)]).toEqual([
    "pulling manifest",
    "pulling DIGEST",
    "verifying sha256 digest",
    "writing manifest",
    "success",
  ]);
  const bytes = lines.filter(({ digest }) => digest).map(({ completed, total }) => [completed, total]);
  expect(bytes.at(-1)).toEqual([PACKED.length, PACKED.length]);
  const found = (await client.list()).models.find(({ name }) => name === "org/Small-GGUF");
  expect(found).toMatchObject({ size: PACKED.length, details: { family: "llama", quantization_level: "Q4_1" } });
  for (const model of ["hf.co/org/Small-GGUF:Q4_1", "ORG/small-gguf:latest", "org/Small-GGUF"]) {
    expect((await client.chat({ model, ...ASKED })).message.content).toContain("Paris");
    expect((await client.show({ model })).details.family).toBe("llama");
  }
  const before = hub.asked.length;
  expect((await client.pull({ model: "org/small-gguf:q4_1" })).status).toBe("success");
  expect(hub.asked.length).toBe(before);
}, 60_000);

test("what the hub refuses is an error of the client, in a stream too", async () => {
  const errorOf = async (act: Promise<unknown>) =>
    String(
      await act.then(
        () => "",
        (error: Error) => error.message,
      ),
    );
  const state = "it is private or gated, or is not there; there is no token to ask with";
  expect(await errorOf(client.pull({ model: "org/none" }))).toBe(`Cannot read "org/none" on the hub: ${state}`);
  const stream = async () => await Array.fromAsync(await client.pull({ model: "org/none", stream: true }));
  expect(await errorOf(stream())).toBe(`Cannot read "org/none" on the hub: ${state}`);
  expect(await errorOf(client.pull({ model: "llama3.2" }))).toContain("it is no name of a repository on the hub");
  expect(await errorOf(client.pull({ model: "org/other", insecure: true }))).toContain('Cannot use "insecure"');
});

test("a pull stops when its client leaves, and the next goes on from there", async () => {
  hub.repositories["org/later"] = { files: { "later.gguf": SMALL } };
  hub.trouble = (_, begin) => (begin === 0 ? { kind: "silent", after: 500_000 } : null);
  const { body } = await fetch(`${server.url}/api/pull`, { method: "POST", body: '{"model":"org/later"}' });
  const folder = join(HOME, ".cache/huggingface/hub");
  const blobs = join(folder, "models--org--later/blobs");
  while (!existsSync(blobs) || readdirSync(blobs).every((name) => statSync(join(blobs, name)).size === 0)) {
    await Bun.sleep(5);
  }
  expect(readdirSync(join(folder, ".locks"))).toHaveLength(1);
  await body?.cancel();
  hub.trouble = () => null;
  while (readdirSync(join(folder, ".locks")).length > 0) await Bun.sleep(20);
  expect((await client.pull({ model: "org/later" })).status).toBe("success");
  expect(hub.asked.at(-1)).toMatch(/^\/store\/org\/later\/later.gguf bytes=[1-9]\d+-$/);
}, 60_000);

test("a model that was pulled can be deleted, while it is in memory too, and pulled again", async () => {
  const model = "org/Small-GGUF";
  await client.generate({ model, prompt: "Hi", options: { num_predict: 1 } });
  expect((await client.ps()).models.map(({ name }) => name)).toContain(model);
  expect((await client.delete({ model: "hf.co/org/small-gguf:latest" })).status).toBe("success");
  expect((await client.list()).models.map(({ name }) => name)).not.toContain(model);
  expect((await client.ps()).models.map(({ name }) => name)).not.toContain(model);
  expect(existsSync(join(HOME, ".cache/huggingface/hub/models--org--Small-GGUF"))).toBeFalse();
  await client.pull({ model });
  expect((await client.chat({ model, ...ASKED })).message.content).toContain("Paris");
}, 60_000);

test("one that is being deleted is asked for no more, while what it answers comes to its end", async () => {
  const model = "org/Small-GGUF";
  const options = { num_predict: 300, temperature: 0 };
  const stream = await client.generate({ model, prompt: "One, two, three,", options, stream: true });
  const answer = Array.fromAsync(stream);
  while ((await client.ps()).models.every(({ name }) => name !== model)) await Bun.sleep(5);
  const deleted = client.delete({ model });
  await Bun.sleep(50);
  const refused = await client.chat({ model, ...ASKED }).catch((error: Error) => error);
  expect(refused).toMatchObject({ status_code: 404 });
  expect((await answer).at(-1)).toMatchObject({ done: true, eval_count: 300 });
  expect((await deleted).status).toBe("success");
  expect((await client.ps()).models.map(({ name }) => name)).not.toContain(model);
  await client.pull({ model });
}, 60_000);

test("the command line fetches by the same names, tells what is there, and what it cannot", async () => {
  hub.repositories["org/Tiny"] = { files: { "Tiny-F32.gguf": SMALL } };
  const given = { home: HOME, variables: { HF_ENDPOINT: hub.url } };
  expect(await runToEnd(["pull", "org/small-gguf"], given)).toMatchObject({ code: 0, output: "org/Small-GGUF\n" });
  const fetched = await runToEnd(["pull", "org/Tiny:F32", "--json"], given);
  expect(fetched.errors).toMatch(/^pulling [0-9a-f]{12}, 1.1 MB\n$/);
  expect(JSON.parse(fetched.output)).toMatchObject({ name: "org/Tiny" });
  const refused = await runToEnd(["pull", "none"], given);
  expect([refused.code, refused.errors]).toEqual([1, expect.stringContaining('Cannot pull model "none"')]);
}, 60_000);
