/** Ollama's dialect through the front door: what each parameter means and what is refused. */

import { describe, expect, test } from "bun:test";
import { Failure } from "../../src/core/failure.ts";
import { ALL_TOKENS, type GenerationRequest } from "../../src/core/generation.ts";
import { failing, ScriptedBackend, serverOf } from "./scripted-backend.ts";

const CHAT = { model: "tiny", messages: [{ role: "user", content: "hi" }] };
const PROMPT = { model: "tiny", prompt: "hi" };

/** What the backend is asked. */
async function asked(path: string, body: object): Promise<GenerationRequest> {
  const backend = new ScriptedBackend();
  const response = await serverOf(backend).post(path, body);
  expect(`${response.status} ${await response.text()}`).toStartWith("200");
  return backend.last;
}

async function refusal(path: string, body: object): Promise<string> {
  const response = await serverOf(new ScriptedBackend()).post(path, body);
  expect(response.headers.get("content-type")).toBe("application/json");
  const told = (await response.json()) as { error: string };
  expect(Object.keys(told)).toEqual(["error"]);
  return `${response.status} ${told.error}`;
}

async function lines(response: Response): Promise<Record<string, unknown>[]> {
  const text = await response.text();
  expect(text).toEndWith("\n");
  return text
    .slice(0, -1)
    .split("\n")
    .map((line) => JSON.parse(line));
}

describe("an option", () => {
  const optionsOf = async (options: object) => await asked("/api/chat", { ...CHAT, options });

  test("of sampling is asked of the backend by its neutral name", async () => {
    const options = {
      temperature: 0.5,
      top_k: 7,
      top_p: 0.5,
      min_p: 0.1,
      typical_p: 0.9,
      repeat_penalty: 1.5,
      repeat_last_n: 64,
      presence_penalty: 1,
      frequency_penalty: -1,
      seed: 3,
    };
    expect((await optionsOf(options)).sampling).toMatchObject({
      temperature: 0.5,
      top_k: 7,
      top_p: 0.5,
      min_p: 0.1,
      typical_p: 0.9,
      repetition_penalty: 1.5,
      penalty_window: 64,
      presence_penalty: 1,
      frequency_penalty: -1,
      seed: 3,
    });
    const { sampling } = await optionsOf({ repeat_last_n: -1, seed: -1 });
    expect([sampling.penalty_window, sampling.seed]).toEqual([ALL_TOKENS, null]);
  });

  test("bounds the answer and the context", async () => {
    expect((await optionsOf({ num_predict: 5 })).tokens_max).toBe(5);
    expect((await optionsOf({ num_predict: -1 })).tokens_max).toBeNull();
    expect((await optionsOf({ num_predict: -2 })).tokens_max).toBeNull();
    expect((await optionsOf({ num_ctx: 4096 })).context_tokens_max).toBe(4096);
    expect((await optionsOf({ stop: ["a", "b"] })).stop).toEqual(["a", "b"]);
    expect((await optionsOf({ stop: "a" })).stop).toEqual(["a"]);
  });

  test("that tells llama.cpp how to use the machine is taken, and changes nothing", async () => {
    const plain = await optionsOf({});
    const machine = { num_thread: 8, num_gpu: 99, num_batch: 512, use_mmap: true, num_keep: 4, mirostat: 0 };
    expect(await optionsOf(machine)).toEqual(plain);
  });

  test("that would change the answer and cannot is refused by its name", async () => {
    const refused = async (options: object) => await refusal("/api/chat", { ...CHAT, options });
    expect(await refused({ mirostat: 2 })).toBe('400 Cannot use "options.mirostat": expected 0, found 2');
    expect(await refused({ vocab_only: true })).toBe('400 Cannot use "options.vocab_only": it is not supported yet');
    expect(await refused({ temprature: 1 })).toBe(
      '400 Cannot use "options.temprature": there is no such parameter, there is "temperature"',
    );
    expect(await refused({ num_predict: -3 })).toContain('Cannot use "options.num_predict"');
  });

  test("is taken as Ollama's own examples have it", async () => {
    const backend = new ScriptedBackend();
    const options = {
      num_predict: 0,
      mirostat: 0,
      mirostat_tau: 5,
      mirostat_eta: 0.1,
      penalize_newline: true,
      f16_kv: true,
    };
    expect((await serverOf(backend).post("/api/chat", { ...CHAT, options })).status).toBe(200);
    expect(backend.last.tokens_max).toBeNull();
    const text = { model: "tiny", input: "a", options: { num_ctx: 64, temperature: null, mirostat: null } };
    expect((await serverOf(backend).post("/api/embed", text)).status).toBe(200);
    expect(backend.embedded.at(-1)).toMatchObject({ tokens_max: 64 });
  });

  test("of a result may name the tool as older clients do", async () => {
    const backend = new ScriptedBackend();
    const calls = ["a", "b"].map((name) => ({ function: { name, arguments: {} } }));
    const messages = [
      { role: "assistant", tool_calls: calls },
      { role: "tool", name: "b", content: "12" },
    ];
    expect((await serverOf(backend).post("/api/chat", { ...CHAT, messages })).status).toBe(200);
    expect(backend.last.prompt).toMatchObject({ messages: [{}, { role: "tool", tool_call_id: "call_1" }] });
  });
});

describe("keep_alive", () => {
  for (const [said, seconds] of [
    [0, 0],
    [30, 30],
    ["5m", 300],
    ["1h30m", 5400],
    ["0.5s", 0.5],
    ["10", 10],
    [-1, Number.POSITIVE_INFINITY],
    ["-1m", Number.POSITIVE_INFINITY],
  ] as const) {
    test(`${JSON.stringify(said)} keeps the model for ${seconds} seconds`, async () => {
      expect((await asked("/api/generate", { ...PROMPT, keep_alive: said })).keep_s).toBe(seconds);
    });
  }

  test("that is no duration is refused; none leaves it to the owner", async () => {
    expect(await refusal("/api/chat", { ...CHAT, keep_alive: "soon" })).toContain('Cannot use "keep_alive": expected');
    expect((await asked("/api/chat", CHAT)).keep_s).toBeNull();
  });
});

describe("a request", () => {
  test("thinks as it is told", async () => {
    for (const [think, effort] of [
      [false, "none"],
      [true, "medium"],
      ["low", "low"],
      ["max", "max"],
    ] as const) {
      expect((await asked("/api/chat", { ...CHAT, think })).reasoning.effort).toBe(effort);
    }
    expect((await asked("/api/chat", CHAT)).reasoning.effort).toBeNull();
  });

  test("that is raw is continued as it is", async () => {
    const { prompt } = await asked("/api/generate", { ...PROMPT, raw: true });
    expect(prompt).toEqual({ kind: "text", text: "hi" });
    expect(await refusal("/api/generate", { ...PROMPT, raw: true, system: "x" })).toContain('"system"');
    expect(await refusal("/api/generate", { ...PROMPT, raw: true, think: true })).toContain('"think"');
  });

  test("with what is not supported is refused by its name, and taken where that is empty", async () => {
    const wishes = { template: "x" };
    for (const [name, value] of Object.entries(wishes)) {
      expect(await refusal("/api/generate", { ...PROMPT, [name]: value })).toStartWith(`400 Cannot use "${name}": `);
    }
    const empty = { suffix: "", template: "", system: "", context: [], images: [], format: "", options: null };
    await asked("/api/generate", { ...PROMPT, ...empty, _debug_render_only: false });
    const shown = { ...CHAT, messages: [{ role: "system", content: "hi", images: ["aGk="] }] };
    expect(await refusal("/api/chat", shown)).toBe('400 Cannot use "messages[0].images": only a user has images');
    expect(await refusal("/api/chat", { ...CHAT, shift: true })).toContain('"shift": expected false');
  });

  test.each([{ "content-type": "application/x-www-form-urlencoded" }, {}])(
    "is taken as curl and LiteLLM write it, but not from a page: %o",
    async (type) => {
      const { ask } = serverOf(new ScriptedBackend());
      const status = async (headers: Record<string, string>) => {
        const body = new TextEncoder().encode(JSON.stringify({ ...CHAT, stream: false }));
        return (await ask("/api/chat", { method: "POST", body, headers: { ...type, ...headers } })).status;
      };
      expect(await status({})).toBe(200);
      expect(await status({ origin: "http://localhost:3000" })).toBe(415);
    },
  );
});

test("a stream has one last line, and lines of one media type", async () => {
  const response = await serverOf(new ScriptedBackend()).post("/api/generate", PROMPT);
  expect(response.headers.get("content-type")).toBe("application/x-ndjson");
  expect((await lines(response)).map(({ done }) => done)).toEqual([false, false, true]);
});

test("a stream that fails ends with the error and is not done", async () => {
  const backend = new ScriptedBackend(failing(new Failure("engine", "Cannot go on: it died"), 2));
  const told = await lines(await serverOf(backend).post("/api/chat", CHAT));
  expect(told.at(-1)).toEqual({ error: "Cannot go on: it died" });
  expect(told.filter(({ done }) => done === true)).toEqual([]);
});

test("a call whose arguments are no object is the model's failure", async () => {
  const backend = new ScriptedBackend(async function* () {
    yield { kind: "start", prompt_tokens: 5 };
    yield { kind: "call", choice: 0, index: 0, id: "a", name: "weather" };
    yield { kind: "arguments", choice: 0, index: 0, text: "{" };
    yield { kind: "finish", choice: 0, reason: "tool_calls", stop_text: null };
  });
  const told = await lines(await serverOf(backend).post("/api/chat", CHAT));
  expect(told).toEqual([{ error: 'Cannot tell of the call of "weather": the model\'s arguments are no JSON object' }]);
});

test("whoever looks for Ollama finds it, and a browser finds who it is", async () => {
  const { ask } = serverOf(new ScriptedBackend());
  expect(await (await ask("/")).text()).toBe("Ollama is running");
  expect((await ask("/", { method: "HEAD" })).status).toBe(200);
  expect(await (await ask("/", { headers: { accept: "text/html,*/*" } })).text()).toContain("Bunsen 1.2.3");
});

test("errors have Ollama's form on its paths, also where none of them answers", async () => {
  const { ask } = serverOf(new ScriptedBackend());
  const wrong = await ask("/api/chat");
  expect([wrong.status, Object.keys((await wrong.json()) as object)]).toEqual([405, ["error"]]);
  const blobs = await ask("/api/blobs/sha256:00", { method: "POST" });
  expect([blobs.status, Object.keys((await blobs.json()) as object)]).toEqual([404, ["error"]]);
});
