/** mlx-lm's own server as a provider: a real one, with a tiny model. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { NO_DEFAULTS } from "../../src/core/routing.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { fixture, prepareFixtures } from "../models/fixtures.ts";
import { PACKAGES } from "../python.ts";
import { type House, openHouse, until } from "./house.ts";

const FOLDER = scratchFolder();
// Python reads some hundred files of its packages before it listens.
const START_MS_MAX = 120_000;

let server: Bun.Subprocess;
let base_url: string;
let house: House;

beforeAll(async () => {
  prepareFixtures();
  const model = join(FOLDER, "model");
  writeModel(model);
  const port = await freePort();
  base_url = `http://127.0.0.1:${port}/v1`;
  const words = ["-m", "mlx_lm", "server", "--model", model, "--host", "127.0.0.1", "--port", String(port)];
  server = Bun.spawn(["python3", ...words, "--max-tokens", "8"], {
    env: { PATH: process.env["PATH"], HOME: FOLDER, PYTHONPATH: PACKAGES, HF_HUB_OFFLINE: "1" },
    stdout: "ignore",
    stderr: "ignore",
  });
  await untilListens(`${base_url.slice(0, -3)}/health`);
  house = openHouse({ folder: join(FOLDER, "home") });
  await house.set("providers", { name: "mlx", api_type: "openai", backend_type: "mlxlm", base_url });
  const rule = { model_pattern: "far", pattern_type: "exact", target: "mlx", target_model: "default_model" };
  await house.set("rules", rule);
}, START_MS_MAX);

afterAll(async () => {
  await house.close();
  server.kill("SIGKILL");
  await server.exited;
});

const HI = [{ role: "user", content: "hi there" }] as const;

test("its models are listed, and auto takes it for what it is, also where it has no cache to list", async () => {
  const tried = await house.send("POST", "/api/settings/providers/mlx/test");
  expect(await tried.json()).toMatchObject({ outcome: "ok", models: [join(FOLDER, "model")] });
  const provider = { name: "mlxlm", api_type: "openai", backend_type: "mlxlm", base_url } as const;
  const looking = openHouse({
    folder: join(FOLDER, "looking"),
    settings: { default_provider: "auto" },
    providers: [{ provider, key: null, defaults: NO_DEFAULTS }],
  });
  const found = async () => (await looking.findDefault(AbortSignal.timeout(20_000)))?.provider;
  expect(await found()).toMatchObject({ name: "mlxlm", base_url });
  rmSync(join(FOLDER, ".cache"), { recursive: true });
  expect(await found()).toMatchObject({ name: "mlxlm", base_url });
  await looking.close();
}, 30_000);

test("the official client gets through Bunsen what it gets from the server itself, whole and as a stream", async () => {
  const direct = new OpenAI({ baseURL: base_url, apiKey: "none", maxRetries: 0 });
  const routed = new OpenAI({ baseURL: `${house.url}/v1`, apiKey: "none", maxRetries: 0 });
  const asked = { messages: [...HI], temperature: 0, max_tokens: 6 };
  const said = async (client: OpenAI, model: string) => {
    const { choices, usage } = await client.chat.completions.create({ ...asked, model });
    const stream = await client.chat.completions.create({
      ...asked,
      model,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await Array.fromAsync(stream);
    const pieces = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "");
    const text = await client.completions.create({ model, prompt: "hi", temperature: 0, max_tokens: 4 });
    return [choices, usage?.completion_tokens, pieces.join(""), chunks.at(-1)?.usage?.completion_tokens, text.choices];
  };
  const own = await said(direct, "default_model");
  expect(await said(routed, "far")).toEqual(own);
  expect(own.slice(1, 4)).toEqual([6, expect.stringMatching(/./), 6]);
  await until(() => house.rows().length === 3);
  const expected = { status: "success", backend: "mlx", model_served: "default_model", left_machine: false };
  expect(house.rows()).toMatchObject([6, 6, 4].map((completion_tokens) => ({ ...expected, completion_tokens })));
}, 60_000);

test("a caller of Anthropic's protocol is answered by it, as a stream and whole", async () => {
  const client = new Anthropic({ baseURL: house.url, apiKey: "none", maxRetries: 0 });
  const asked = { model: "far", messages: [...HI], max_tokens: 5, temperature: 0 };
  const whole = await client.messages.create(asked);
  const streamed = await client.messages.stream(asked).finalMessage();
  expect(whole).toMatchObject({ stop_reason: "max_tokens", usage: { output_tokens: 5 } });
  expect(streamed).toMatchObject({ content: whole.content, stop_reason: "max_tokens" });
}, 60_000);

test("what it does not have or know is told with its own status", async () => {
  const vectors = await house.send("POST", "/v1/embeddings", { model: "far", input: "hi" });
  expect(vectors.status).toBe(404);
  const unknown = await house.chat({ model: "mlx:nobody/nothing", messages: HI });
  expect(unknown.status).toBe(404);
  expect(await unknown.json()).toHaveProperty("error");
}, 60_000);

/** A tokenizer of letters beside random weights. */
function writeModel(folder: string): void {
  // Its list of models reads the cache of the hub, which a new machine does not have.
  mkdirSync(join(FOLDER, ".cache/huggingface/hub"), { recursive: true });
  mkdirSync(folder);
  const { path } = fixture("tied");
  for (const name of ["config.json", "model.safetensors", "model.safetensors.index.json"]) {
    copyFileSync(join(path, name), join(folder, name));
  }
  const letters = Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index));
  const named = ["<unk>", "<|im_start|>", "<|im_end|>", ...letters, "Ġ", "Ċ"];
  const tokens = Array.from({ length: 256 }, (_, id) => named[id] ?? `<${id}>`);
  const added = tokens.slice(0, 3).map((content, id) => {
    return { id, content, special: true, single_word: false, lstrip: false, rstrip: false, normalized: false };
  });
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const tokenizer = {
    version: "1.0",
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: { type: "BPE", vocab, merges: [], unk_token: "<unk>" },
  };
  const template =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";
  const config = { tokenizer_class: "PreTrainedTokenizerFast", eos_token: "<|im_end|>", chat_template: template };
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(config));
}

async function freePort(): Promise<number> {
  const listener = createServer();
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  return address !== null && typeof address === "object" ? address.port : 0;
}

async function untilListens(url: string): Promise<void> {
  while (server.exitCode === null) {
    const answered = await fetch(url).catch(() => null);
    if (answered?.ok) return;
    await Bun.sleep(200);
  }
  throw new Error(`mlx-lm's server ended with ${server.exitCode}; "npm test" installs what it needs`);
}
