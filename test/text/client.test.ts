/** The text worker behind its thread boundary: the default model's chat, and a worker that dies. */

import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Failure } from "../../src/core/failure.ts";
import { startTextWorker, type TextClient } from "../../src/text/client.ts";
import { Detokenizer } from "../../src/text/detokenizer.ts";
import { scratchFolder, write } from "../formats/scratch.ts";
import { defaultModel, referenceTokenizer } from "./default-model.ts";
import { askEncode } from "./oracle.ts";

const ENTRY = new URL("../../src/text/main.ts", import.meta.url).href;
const FOLDER = scratchFolder();

let clients: TextClient[] = [];

afterEach(() => {
  for (const client of clients) client.close();
  clients = [];
});

function start(url: string = ENTRY, silence_ms_max?: number): TextClient {
  const client = startTextWorker(url, silence_ms_max);
  clients.push(client);
  return client;
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const error = await promise.then(
    () => null,
    (reason) => reason,
  );
  if (error instanceof Failure) return error;
  throw new Error(`not a failure: ${error}`);
}

/** A model folder of one letter with a template. */
function folder(name: string, chat_template: string): string {
  const path = join(FOLDER, name);
  const model = { type: "BPE", vocab: { a: 0 }, merges: [] };
  write(join(path, "tokenizer.json"), JSON.stringify({ added_tokens: [], model, decoder: null }));
  write(join(path, "chat_template.jinja"), chat_template);
  return path;
}

describe("the default model", () => {
  test("chats: messages to tokens, tokens to text", async () => {
    const client = start();
    const path = defaultModel();
    const text = await client.load(path);
    const question = "What is the capital of France?";
    const ids = await client.encodeChat(path, [{ role: "user", content: question }]);

    const intro = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
    const chat = `<|im_start|>system\n${intro}<|im_end|>\n<|im_start|>user\n${question}<|im_end|>\n<|im_start|>assistant\n`;
    expect([ids]).toEqual(askEncode({ tokenizer: referenceTokenizer(), texts: [chat] }));

    const answer = await client.encodeText(path, "The capital of France is Paris.");
    const detokenizer = new Detokenizer(text.vocabulary, { at_start: true });
    expect(answer.map((id) => detokenizer.push([id])).join("") + detokenizer.flush()).toBe(
      "The capital of France is Paris.",
    );
    expect(text.stop_token_ids).toContain(2);
  });

  test("is loaded once", async () => {
    const client = start();
    const path = defaultModel();
    const [first, second] = await Promise.all([client.load(path), client.load(path)]);
    expect(second).toBe(first);
    expect(await client.load(path)).toBe(first);
  });
});

describe("failures", () => {
  test("cross the thread with their kind, and a failed load is tried again", async () => {
    const client = start();
    const path = join(FOLDER, "later");
    expect(await failureOf(client.load(path))).toMatchObject({ kind: "unavailable", parameter: null });
    folder("later", "{{ raise_exception('no') }}");
    expect((await client.load(path)).has_chat_template).toBe(true);
    const refused = await failureOf(client.encodeChat(path, [{ role: "user", content: "a" }]));
    expect(refused).toMatchObject({ kind: "invalid_request", parameter: "messages" });
    expect(await client.encodeText(path, "a")).toEqual([0]);
  });

  test("of a worker that cannot start end every call that waits", async () => {
    const client = start(new URL("no-such-worker.ts", import.meta.url).href);
    const failures = await Promise.all([failureOf(client.load("x")), failureOf(client.encodeText("x", "a"))]);
    for (const failure of failures) {
      expect(failure.kind).toBe("unavailable");
      expect(failure.message).toStartWith("Cannot read text: the text worker stopped: ");
    }
  });

  test("of a worker that dies end its calls, and the next call starts a new one", async () => {
    // Comes before the real worker's listener, and is killed by one text.
    write(
      join(FOLDER, "killer.ts"),
      'self.addEventListener("message", ({ data }) => { if (data.call.text === "die") throw new Error("killed"); });',
    );
    const fragile = write(join(FOLDER, "fragile.ts"), `import "./killer.ts"; import ${JSON.stringify(ENTRY)};`);
    const client = start(Bun.pathToFileURL(fragile).href);
    const path = folder("fragile", "a");
    expect(await client.encodeText(path, "a")).toEqual([0]);
    const [died, waiting] = await Promise.all([
      failureOf(client.encodeText(path, "die")),
      failureOf(client.encodeText(path, "a")),
    ]);
    expect(died).toMatchObject({ kind: "unavailable", message: "Cannot read text: the text worker stopped: killed" });
    expect(waiting.message).toBe(died.message);
    expect(await client.encodeText(path, "aa")).toEqual([0, 0]);
  });

  test("of a template that never ends stop the worker, and others are served again", async () => {
    const client = start(ENTRY, 400);
    const loop = "{% for x in range(100000) %}".repeat(3);
    const path = folder("endless", `${loop}${"{% endfor %}".repeat(3)}`);
    await client.load(path);
    const failure = await failureOf(client.encodeChat(path, [{ role: "user", content: "a" }]));
    expect(failure.message).toEndWith("it gave no answer for 400 ms");
    expect(await client.encodeText(path, "a")).toEqual([0]);
  });

  test("of a closed client end its calls", async () => {
    const client = start();
    const waiting = failureOf(client.load(defaultModel()));
    client.close();
    expect((await waiting).message).toEndWith("it was closed");
  });
});
