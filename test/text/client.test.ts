/** The text worker behind its thread boundary: the default model's chat, and a worker that dies. */

import { afterEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../src/core/failure.ts";
import { startTextWorker, type TextClient } from "../../src/text/client.ts";
import { Detokenizer } from "../../src/text/detokenizer.ts";
import { scratchFolder, write } from "../formats/scratch.ts";
import { defaultModel, referenceTokenizer } from "./default-model.ts";
import { askEncode } from "./oracle.ts";
import { userSays } from "./plain-chat.ts";

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

/** The entry of the real worker with a listener before its own. */
function preceded(name: string, code: string): string {
  write(join(FOLDER, `${name}-first.ts`), code);
  const entry = write(join(FOLDER, `${name}.ts`), `import "./${name}-first.ts"; import ${JSON.stringify(ENTRY)};`);
  return Bun.pathToFileURL(entry).href;
}

/** Killed by one text. */
const DIES =
  'self.addEventListener("message", ({ data }) => { if (data.call.text === "die") throw new Error("killed"); });';

describe("the default model", () => {
  test("chats: messages to tokens, tokens to text", async () => {
    const client = start();
    const path = defaultModel();
    const text = await client.load(path);
    const question = "What is the capital of France?";
    const { token_ids: ids } = await client.encodeChat(path, userSays(question));

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

describe("a caller who leaves", () => {
  const anyone = { tokens_max: Number.POSITIVE_INFINITY };

  test("while the worker has another's call is not read for", async () => {
    const client = start(preceded("waiting", DIES));
    const path = folder("waiting", "a");
    const leaving = new AbortController();
    const first = client.encodeText(path, "a");
    const second = client.encodeText(path, "die", { ...anyone, signal: leaving.signal });
    const third = client.encodeText(path, "aa");
    leaving.abort(new Error("gone"));
    expect(await second.then(String, (error: Error) => error.message)).toBe("gone");
    expect(await Promise.all([first, third])).toEqual([[0], [0, 0]]);
  });

  test("before is not read for either", async () => {
    const client = start(preceded("before", DIES));
    const path = folder("before", "a");
    const gone = client.encodeText(path, "die", { ...anyone, signal: AbortSignal.abort(new Error("gone")) });
    expect(await gone.then(String, (error: Error) => error.message)).toBe("gone");
    expect(await client.encodeText(path, "a")).toEqual([0]);
  });

  test("while his text is read ends that at the next word", async () => {
    const counts = join(FOLDER, "counts.txt");
    const report = `import { appendFileSync } from "node:fs";
      const post = self.postMessage.bind(self);
      self.postMessage = (...words) => {
        appendFileSync(${JSON.stringify(counts)}, words[0].value.length + " ");
        post(...words);
      };`;
    const client = start(preceded("counting", report));
    const path = folder("counting", "a");
    const leaving = new AbortController();
    const long = client.encodeText(path, "a".repeat(1_000_000), { ...anyone, signal: leaving.signal });
    leaving.abort(new Error("gone"));
    expect(await long.then(String, (error: Error) => error.message)).toBe("gone");
    expect(await client.encodeText(path, "aaa")).toEqual([0, 0, 0]);
    expect(readFileSync(counts, "utf8")).toBe("0 3 ");
  });
});

test("a text is read to as many tokens as its reader wants", async () => {
  const client = start();
  const path = folder("cut", "{{ messages[0].content }}");
  const reader = { tokens_max: 10, signal: new AbortController().signal };
  const content = "a".repeat(100_000);
  for (const ids of [
    await client.encodeText(path, content, reader),
    (await client.encodeChat(path, userSays(content), reader)).token_ids,
  ]) {
    expect(ids.length).toBeGreaterThanOrEqual(10);
    expect(ids.length).toBeLessThan(10_000);
  }
});

test("the memory that a long text took is given back", async () => {
  const client = start();
  const path = defaultModel();
  await client.encodeText(path, "warm");
  const bytes_before = process.memoryUsage.rss();
  const bytesMore = () => process.memoryUsage.rss() - bytes_before;
  const reader = { tokens_max: 10, signal: new AbortController().signal };
  await client.encodeText(path, "hello world ".repeat(1_200_000), reader);
  const deadline_ms = performance.now() + 3000;
  while (bytesMore() > 300e6 && performance.now() < deadline_ms) await Bun.sleep(50);
  expect(bytesMore()).toBeLessThan(300e6);
}, 60_000);

describe("failures", () => {
  test("cross the thread with their kind, and a failed load is tried again", async () => {
    const client = start();
    const path = join(FOLDER, "later");
    expect(await failureOf(client.load(path))).toMatchObject({ kind: "unavailable", parameter: null });
    folder("later", "{{ raise_exception('no') }}");
    expect((await client.load(path)).has_chat_template).toBe(true);
    const refused = await failureOf(client.encodeChat(path, userSays("a")));
    expect(refused).toMatchObject({ kind: "invalid_request", parameter: "messages" });
    expect(await client.encodeText(path, "a")).toEqual([0]);
  });

  test("of a worker that cannot start end every call that waits", async () => {
    const client = start(new URL("no-such-worker.ts", import.meta.url).href);
    const failures = await Promise.all([failureOf(client.load("x")), failureOf(client.encodeText("x", "a"))]);
    for (const failure of failures) {
      expect(failure.kind).toBe("engine");
      expect(failure.message).toStartWith("Cannot read text: the text worker stopped: ");
    }
  });

  test("of a worker that dies end the call it has, and the next is answered by a new one", async () => {
    const client = start(preceded("fragile", DIES));
    const path = folder("fragile", "a");
    expect(await client.encodeText(path, "a")).toEqual([0]);
    const [died, waiting] = await Promise.all([
      failureOf(client.encodeText(path, "die")),
      client.encodeText(path, "aa"),
    ]);
    expect(died).toMatchObject({ kind: "engine", message: "Cannot read text: the text worker stopped: killed" });
    expect(waiting).toEqual([0, 0]);
  });

  test("of a template that never ends stop the worker, and others are served again", async () => {
    const client = start(ENTRY, 2000);
    const loop = "{% for x in range(100000) %}".repeat(3);
    const path = folder("endless", `${loop}${"{% endfor %}".repeat(3)}`);
    await client.load(path);
    const failure = await failureOf(client.encodeChat(path, userSays("a")));
    expect(failure.message).toEndWith("it gave no answer for 2000 ms");
    expect(await client.encodeText(path, "a")).toEqual([0]);
  });

  test("of a closed client end its calls", async () => {
    const client = start();
    const calls = Promise.all([failureOf(client.load(defaultModel())), failureOf(client.encodeText("x", "a"))]);
    client.close();
    for (const failure of await calls) expect(failure.message).toEndWith("it was closed");
  });
});
