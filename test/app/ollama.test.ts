/** Ollama's own client and the default model, through every thread. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { Ollama } from "ollama";
import { MODEL, Served } from "../served.ts";

const MESSAGES = [{ role: "user", content: "What is the capital of France?" }];

let server: Served;
let client: Ollama;

beforeAll(async () => {
  server = await Served.start();
  client = new Ollama({ host: server.url });
}, 120_000);

afterAll(async () => {
  expect(await server.stop()).toBe(0);
});

/** When the model leaves memory, in milliseconds since the epoch; null: it is not there. */
async function expiry(): Promise<number | null> {
  const { models } = await client.ps();
  const found = models.find(({ name }) => name === MODEL);
  return found === undefined ? null : new Date(found.expires_at).getTime();
}

test("it answers, and tells where the time went", async () => {
  const answer = await client.chat({ model: `${MODEL}:latest`, messages: MESSAGES, options: { num_predict: 16 } });
  expect(answer.message.content).toContain("Paris");
  const { load_duration, prompt_eval_duration, eval_duration, total_duration } = answer;
  const parts = [load_duration, prompt_eval_duration, eval_duration];
  expect(parts.every((part) => Number.isInteger(part) && part >= 0)).toBeTrue();
  expect(eval_duration).toBeGreaterThan(0);
  expect(total_duration).toBeGreaterThanOrEqual(parts.reduce((sum, part) => sum + part, 0));
  expect(answer.prompt_eval_count).toBeGreaterThan(10);
}, 60_000);

test("num_ctx bounds prompt and answer together", async () => {
  const options = { num_ctx: 48, temperature: 0 };
  const messages = [{ role: "user", content: "Count from one to one thousand." }];
  const { prompt_eval_count, eval_count, done_reason } = await client.chat({ model: MODEL, messages, options });
  expect([prompt_eval_count + eval_count, done_reason]).toEqual([48, "length"]);
  const refused = await client.chat({ model: MODEL, messages, options: { num_ctx: 8 } }).catch(String);
  expect(refused).toContain("takes 8 with the answer");
}, 60_000);

test("an answer has the form that is asked for", async () => {
  const format = {
    type: "object",
    properties: { capital: { type: "string", maxLength: 12 } },
    required: ["capital"],
    additionalProperties: false,
  };
  const { message } = await client.chat({ model: MODEL, messages: MESSAGES, format });
  expect(JSON.parse(message.content)).toEqual({ capital: expect.any(String) });
}, 60_000);

test("keep_alive says how long the model stays, and 0 unloads it, preloaded as it was", async () => {
  const options = { num_predict: 1 };
  await client.generate({ model: MODEL, prompt: "hi", options, keep_alive: 0 });
  while ((await expiry()) !== null) await Bun.sleep(20);
  await client.generate({ model: MODEL, prompt: "hi", options, keep_alive: "10m" });
  const minutes = ((await expiry()) ?? 0) - Date.now();
  expect(minutes).toBeGreaterThan(9 * 60_000);
  expect(minutes).toBeLessThanOrEqual(10 * 60_000);
  await client.generate({ model: MODEL, prompt: "hi", options, keep_alive: -1 });
  expect(new Date((await expiry()) ?? 0).getUTCFullYear()).toBe(9999);
  expect((await client.generate({ model: MODEL, prompt: "", keep_alive: 0 })).done_reason).toBe("unload");
  expect(await expiry()).toBeNull();
  expect((await client.generate({ model: MODEL, prompt: "" })).done_reason).toBe("load");
  expect(await expiry()).not.toBeNull();
}, 60_000);

test("the model is listed and shown", async () => {
  const { models } = await client.list();
  expect(models[0]).toMatchObject({ name: MODEL, details: { format: "gguf" } });
  expect(models[0]?.size).toBeGreaterThan(90e6);
  expect(models[0]?.details).toMatchObject({ family: "llama", parameter_size: "134.5M", quantization_level: "Q4_1" });
  const { capabilities, template, model_info } = await client.show({ model: MODEL });
  expect(capabilities).toEqual(["completion", "tools"]);
  expect(template).toContain("<|im_start|>");
  expect(model_info).toMatchObject({ "llama.block_count": 30, "llama.embedding_length": 576 });
});

test("a copy is another name, which answers until it is deleted", async () => {
  await client.copy({ source: MODEL, destination: "other" });
  expect((await client.list()).models.map(({ name }) => name)).toEqual([MODEL, "other"]);
  const asked = { messages: MESSAGES, options: { num_predict: 4, temperature: 0 } };
  const answers = [
    await client.chat({ model: MODEL, ...asked }),
    await client.chat({ model: "other:latest", ...asked }),
  ];
  expect(answers[0]?.message).toEqual(answers[1]?.message as never);
  await client.delete({ model: "other" });
  expect((await client.list()).models.map(({ name }) => name)).toEqual([MODEL]);
  const refusals = [
    client.delete({ model: MODEL }),
    client.copy({ source: "none", destination: "x" }),
    client.copy({ source: MODEL, destination: MODEL }),
  ].map((refused: Promise<unknown>) => refused.then(() => "", String));
  const [kept, missing, taken] = await Promise.all(refusals);
  expect(kept).toContain("it was not fetched by this server, and stays in ");
  expect(missing).toContain("model not found");
  expect(taken).toContain(`a model has the name "${MODEL}"`);
}, 60_000);
