/** The default model's own file, fetched from a hub by the running server and by the command line, and asked at once. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Ollama } from "ollama";
import { scratchFolder } from "../formats/scratch.ts";
import { type FileHub, fileHub } from "../hub/file-hub.ts";
import { ROOT } from "../root.ts";
import { MODEL, runToEnd, Served } from "../served.ts";

const PACKED = readFileSync(join(ROOT, `build/models/${MODEL}/${MODEL}.Q4_1.gguf`));
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

test("the command line fetches by the same names, tells what is there, and what it cannot", async () => {
  const given = { home: HOME, variables: { HF_ENDPOINT: hub.url } };
  expect(await runToEnd(["pull", "org/small-gguf"], given)).toMatchObject({ code: 0, output: "org/Small-GGUF\n" });
  rmSync(join(HOME, ".cache/huggingface/hub"), { recursive: true });
  const fetched = await runToEnd(["pull", "org/Small-GGUF", "--json"], given);
  expect(fetched.errors).toMatch(/^pulling [0-9a-f]{12}, 98\.\d MB\n$/);
  expect(JSON.parse(fetched.output)).toMatchObject({ name: "org/Small-GGUF" });
  const refused = await runToEnd(["pull", "none"], given);
  expect([refused.code, refused.errors]).toEqual([1, expect.stringContaining('Cannot pull model "none"')]);
}, 60_000);
