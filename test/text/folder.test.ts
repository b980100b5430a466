/** Which file of a model folder says what, and which word counts when several speak. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { readFolder } from "../../src/text/folder.ts";
import { LoadedText } from "../../src/text/model.ts";
import { failureOf, scratchFolder, write } from "../formats/scratch.ts";
import { userSays } from "./plain-chat.ts";

const ROOT = scratchFolder();
const NOW = new Date(2026, 2, 7);
let made = 0;

const special = (id: number, content: string) => ({ id, content, special: true });

/** Bytes are not needed here: a word for each letter, and the tokens that steer. */
const TOKENIZER = {
  added_tokens: [special(26, "<s>"), special(27, "</s>"), special(28, "<|im_end|>")],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: { type: "Fuse" },
  model: {
    type: "BPE",
    vocab: Object.fromEntries([..."abcdefghijklmnopqrstuvwxyz"].map((c, id) => [c, id])),
    merges: [],
  },
};

function folder(files: Readonly<Record<string, unknown>>): string {
  made += 1;
  const path = join(ROOT, `model-${made}`);
  for (const [name, content] of Object.entries({ "tokenizer.json": TOKENIZER, ...files })) {
    write(join(path, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return path;
}

const config = { bos_token: "<s>", eos_token: { content: "</s>" }, add_bos_token: true };

describe("the chat template", () => {
  const template = (name: string) => `${name}{{ messages[0].content }}`;
  const first = (files: Readonly<Record<string, unknown>>) => readFolder(folder(files)).chat_template?.[0] ?? null;

  test("of chat_template.jinja counts before chat_template.json, and that before tokenizer_config.json", () => {
    const files = {
      "tokenizer_config.json": { chat_template: template("c") },
      "chat_template.json": { chat_template: template("b") },
      "chat_template.jinja": template("a"),
    };
    expect(first(files)).toBe("a");
    expect(first({ ...files, "chat_template.jinja": template("x") })).toBe("x");
    const { "chat_template.jinja": _, ...two } = files;
    expect(first(two)).toBe("b");
    expect(first({ "tokenizer_config.json": files["tokenizer_config.json"] })).toBe("c");
  });

  test("named default is taken from a list", () => {
    const named = [
      { name: "tool_use", template: template("t") },
      { name: "default", template: template("d") },
    ];
    expect(first({ "tokenizer_config.json": { chat_template: named } })).toBe("d");
    expect(first({ "tokenizer_config.json": { chat_template: named.slice(0, 1) } })).toBeNull();
  });

  test("that is missing is told, and text is still completed", () => {
    const model = new LoadedText(folder({}));
    expect(model.describe().has_chat_template).toBe(false);
    expect(model.encodeText("ab")).toEqual([0, 1]);
  });
});

describe("tokens", () => {
  test("that end an answer are those of all files and the known ones of the vocabulary", () => {
    const files = {
      "config.json": { eos_token_id: 5, text_config: { eos_token_id: 6 } },
      "generation_config.json": { eos_token_id: [7, 8] },
      "tokenizer_config.json": config,
    };
    expect(new LoadedText(folder(files)).describe().stop_token_ids).toEqual([5, 6, 7, 8, 27, 28]);
    expect(new LoadedText(folder({})).describe().stop_token_ids).toEqual([28]);
  });

  test("are named by tokenizer_config.json, then by special_tokens_map.json", () => {
    const files = { "tokenizer_config.json": config, "special_tokens_map.json": { bos_token: "a", pad_token: "b" } };
    const { named_tokens } = readFolder(folder(files));
    expect(Object.fromEntries(named_tokens)).toEqual({ bos_token: "<s>", eos_token: "</s>", pad_token: "b" });
  });

  test("begin a completion as tokenizer_config.json says, and a chat as its template says", () => {
    const chat_template = "{{ bos_token }}{{ messages[0].content }}";
    const model = new LoadedText(folder({ "tokenizer_config.json": { ...config, chat_template } }));
    expect(model.encodeText("ab")).toEqual([26, 0, 1]);
    expect(model.encodeChat(userSays("ab"), NOW).token_ids).toEqual([26, 0, 1]);
  });

  test("that only tokenizer_config.json declares count as added", () => {
    const added_tokens_decoder = { "29": { content: "<|user|>", special: false, normalized: false } };
    const chat_template = "<|user|>{{ messages[0].content }}";
    const model = new LoadedText(folder({ "tokenizer_config.json": { added_tokens_decoder, chat_template } }));
    expect(model.encodeText("a<|user|>")).toEqual([0, 29]);
    expect(model.encodeChat(userSays("a<|user|>b"), NOW).token_ids).toEqual([29, 0, 20, 18, 4, 17, 1]);
  });

  test("of Harmony end a turn by <|return|> and <|call|>, not by <|end|>", () => {
    const added_tokens = [special(26, "<|end|>"), special(27, "<|return|>"), special(28, "<|call|>")];
    expect(
      new LoadedText(folder({ "tokenizer.json": { ...TOKENIZER, added_tokens } })).describe().stop_token_ids,
    ).toEqual([27, 28]);
  });
});

describe("sampling", () => {
  const sampling = (generation: object) => readFolder(folder({ "generation_config.json": generation })).sampling;

  test("is what generation_config.json advises", () => {
    expect(sampling({ temperature: 0.6, top_k: 20, top_p: 0.95 })).toEqual({
      temperature: 0.6,
      top_k: 20,
      top_p: 0.95,
      min_p: null,
    });
  });

  test("is greedy when generation_config.json forbids it", () => {
    expect(sampling({ do_sample: false, temperature: 0.6 }).temperature).toBe(0);
  });
});

describe("a folder that cannot be read", () => {
  test("without tokenizer.json says so", () => {
    const path = join(ROOT, "empty");
    write(join(path, "config.json"), "{}");
    expect(failureOf(() => new LoadedText(path)).message).toBe(
      `Cannot read the tokenizer of "${path}": it has no tokenizer.json`,
    );
  });

  test.each([
    ["tokenizer.json", "{", "it is not JSON"],
    ["tokenizer.json", "[]", "its content is [], expected an object"],
    ["tokenizer_config.json", { add_bos_token: "yes" }, 'add_bos_token is "yes", expected true or false'],
    ["tokenizer_config.json", { bos_token: 7 }, "bos_token is 7, expected an object"],
    ["generation_config.json", { temperature: "hot" }, 'temperature is "hot", expected a number'],
    [
      "tokenizer.json",
      { ...TOKENIZER, model: { type: "BPE", vocab: 3, merges: [] } },
      "model/vocab is 3, expected an object",
    ],
    ["tokenizer.json", { ...TOKENIZER, added_tokens: [special(2 ** 40, "x")] }, "added_tokens"],
  ])("with a wrong %s is refused with its name and the place", (name, content, state) => {
    const failure = failureOf(() => new LoadedText(folder({ [name]: content })).describe());
    expect(failure.message).toContain(name);
    expect(failure.message).toContain(state);
  });
});
