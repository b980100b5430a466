/** Tokenizers out of GGUF metadata: the default model's against an independent one, SentencePiece against upstream's cases. */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { GgufFile, GgufValue } from "../../src/formats/gguf.ts";
import { Detokenizer } from "../../src/text/detokenizer.ts";
import { readGgufSource } from "../../src/text/gguf-source.ts";
import { LoadedText } from "../../src/text/model.ts";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { vocabularyOf } from "../../src/text/vocabulary.ts";
import { failureOf } from "../formats/scratch.ts";
import { defaultModel, referenceTokenizer } from "./default-model.ts";
import { askDecode, askEncode } from "./oracle.ts";
import { RandomText, testSeed } from "./random-text.ts";

const MISTRAL = join(import.meta.dir, "../../../shared/data/tokenizers/mistral-v1");

function file(metadata: Readonly<Record<string, GgufValue>>): GgufFile {
  return { path: "model.gguf", metadata: new Map(Object.entries(metadata)), tensors: new Map() };
}

function open(metadata: Readonly<Record<string, GgufValue>>) {
  const source = readGgufSource(file(metadata));
  const tokenizer = new Tokenizer(source.tokenizer, {
    added_tokens: [],
    add_bos: source.add_bos,
    add_eos: source.add_eos,
    bos_token: source.named_tokens.get("bos_token") ?? null,
    eos_token: source.named_tokens.get("eos_token") ?? null,
    isControl: () => false,
  });
  const vocabulary = vocabularyOf(source.tokenizer.part("decoder"), tokenizer.vocabulary, tokenizer.added_tokens);
  const decode = (ids: readonly number[]) => {
    const detokenizer = new Detokenizer(vocabulary, { at_start: true });
    return detokenizer.push(ids) + detokenizer.flush();
  };
  return { source, tokenizer, decode };
}

describe("the default model's file", () => {
  test("encodes and decodes random text as an independent tokenizer does", () => {
    const model = new LoadedText(defaultModel());
    const { vocabulary } = model.describe();
    const texts = new RandomText(testSeed("SmolLM2"), ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "\u00f5"]).texts(
      3000,
    );
    const expected = askEncode({ tokenizer: referenceTokenizer(), texts });
    const ids = texts.map((text) => model.encodeText(text));
    for (const [index, text] of texts.entries()) {
      expect({ text, ids: ids[index] }).toEqual({ text, ids: expected[index] ?? [] });
    }
    const decoded = askDecode({ tokenizer: referenceTokenizer(), ids });
    for (const [index, each] of ids.entries()) {
      const detokenizer = new Detokenizer(vocabulary, { at_start: true });
      expect(detokenizer.push(each) + detokenizer.flush()).toBe(decoded[index] ?? "");
    }
  }, 30_000);

  test("ends a turn with <|im_end|> and a text with <|endoftext|>, and advises no sampling", () => {
    const described = new LoadedText(defaultModel()).describe();
    expect(described.stop_token_ids).toEqual([0, 2]);
    expect(described.has_chat_template).toBe(true);
    expect(described.sampling).toEqual({ temperature: null, top_k: null, top_p: null, min_p: null });
  });
});

/**
 * Llama's vocabularies have the merged pieces in the order of their merges and scores that fall with it; runs of spaces
 * come last.
 */
function mistralMetadata(): Record<string, GgufValue> {
  const { model } = JSON.parse(readFileSync(join(MISTRAL, "tokenizer.json"), "utf8"));
  const tokens: string[] = [];
  for (const [token, id] of Object.entries<number>(model.vocab)) tokens[id] = token;
  return {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.scores": tokens.map((token, id) => (id < 259 ? 0 : /^▁▁+$/.test(token) ? -1e9 : 259 - id)),
    "tokenizer.ggml.token_type": tokens.map((_, id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1)),
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
  };
}

describe.skipIf(!existsSync(MISTRAL))("a SentencePiece vocabulary", () => {
  test("encodes all of upstream's cases with merges made from scores", () => {
    const { tokenizer } = open(mistralMetadata());
    const lines = readFileSync(join(MISTRAL, "cases.jsonl"), "utf8").trim().split("\n");
    expect(lines.length).toBe(83);
    for (const { text, ids } of lines.map((line): { text: string; ids: number[] } => JSON.parse(line))) {
      expect({ text, ids: tokenizer.encode(text) }).toEqual({ text, ids });
    }
  });

  test("encodes and decodes random text as the folder's tokenizer.json does in the reference", () => {
    const { tokenizer, decode } = open(mistralMetadata());
    const path = join(MISTRAL, "tokenizer.json");
    const texts = new RandomText(testSeed("SentencePiece"), [
      "<s>",
      "</s>",
      "====",
      "        ",
      "       ",
      "     ",
    ]).texts(1500);
    const expected = askEncode({ tokenizer: path, texts, add_special: true });
    const ids = texts.map((text) => tokenizer.encode(text));
    for (const [index, text] of texts.entries()) {
      expect({ text, ids: ids[index] }).toEqual({ text, ids: expected[index] ?? [] });
    }
    expect(ids.map(decode)).toEqual(askDecode({ tokenizer: path, ids }));
  });

  test("without add_space_prefix keeps a text's beginning as it is", () => {
    const { tokenizer, decode } = open({
      ...mistralMetadata(),
      "tokenizer.ggml.add_space_prefix": false,
      "tokenizer.ggml.add_bos_token": false,
    });
    expect(tokenizer.encode("Hello")).not.toEqual(tokenizer.encode(" Hello"));
    expect(decode(tokenizer.encode(" Hello"))).toBe(" Hello");
  });
});

/** Pieces a, b, ab, ▁, and what a test adds. */
function pieces(
  more: readonly (readonly [text: string, type: number])[],
  changes: Readonly<Record<string, GgufValue>> = {},
) {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const all = [["<unk>", 2], ["<s>", 3], ["</s>", 3], ...bytes.map((byte) => [byte, 6] as const)] as const;
  const normal = ["ab", "▁", "▁a", "a", "b", "__proto__"].map((text) => [text, 1] as const);
  const tokens = [...all, ...normal, ...more];
  return {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": tokens.map(([text]) => text),
    "tokenizer.ggml.scores": tokens.map((_, id) => -id),
    "tokenizer.ggml.token_type": tokens.map(([, type]) => type),
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    ...changes,
  };
}

const FIRST_PIECE = 259;
const FIRST_ADDED = 265;

describe("GGUF metadata", () => {
  test("user-defined tokens hold raw spaces and newlines and match first, the longest of them", () => {
    const { tokenizer, decode } = open(
      pieces(
        [
          ["\n", 4],
          ["\n\n", 4],
          ["  ", 4],
        ],
        { "tokenizer.ggml.add_space_prefix": false },
      ),
    );
    const ids = tokenizer.encode("ab\n\n\n  b");
    expect(ids).toEqual([1, FIRST_PIECE, FIRST_ADDED + 1, FIRST_ADDED, FIRST_ADDED + 2, FIRST_PIECE + 4]);
    expect(decode(ids)).toBe("ab\n\n\n  b");
  });

  test("a known end-of-turn token is special though its type is normal", () => {
    const { source, tokenizer, decode } = open(
      pieces([["<|im_end|>", 1]], { "tokenizer.ggml.eot_token_id": FIRST_ADDED }),
    );
    expect(tokenizer.encode("a<|im_end|>")).toEqual([1, FIRST_PIECE + 2, FIRST_ADDED]);
    expect(decode([FIRST_PIECE + 2, FIRST_ADDED])).toBe("a");
    expect(source.end_token_ids).toEqual([2, FIRST_ADDED]);
  });

  test("a token spelled __proto__ and an id that is no token do no harm", () => {
    const { source, tokenizer } = open(pieces([], { "tokenizer.ggml.padding_token_id": 4294967295 }));
    expect(tokenizer.idOf("__proto__")).toBe(FIRST_PIECE + 5);
    expect([...source.named_tokens.keys()]).toEqual(["bos_token", "eos_token"]);
  });

  test("sampling values and the chat template are read", () => {
    const { source } = open(
      pieces([], { "general.sampling.temp": 0.5, "general.sampling.top_k": 20, "tokenizer.chat_template": "x" }),
    );
    expect(source.sampling).toEqual({ temperature: 0.5, top_k: 20, top_p: null, min_p: null });
    expect(source.chat_template).toBe("x");
  });

  const byteLevel = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "llama-bpe",
    "tokenizer.ggml.tokens": ["a", "b", "ab", "ba", "<|begin_of_text|>"],
    "tokenizer.ggml.token_type": [1, 1, 1, 1, 3],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": 4,
  };

  test("Llama 3 takes whole words and begins with its beginning token unless the file says otherwise", () => {
    expect(open(byteLevel).tokenizer.encode("ba")).toEqual([4, 3]);
    expect(open({ ...byteLevel, "tokenizer.ggml.add_bos_token": false }).tokenizer.encode("ba")).toEqual([3]);
    expect(open({ ...byteLevel, "tokenizer.ggml.pre": "gpt-2" }).tokenizer.encode("ba")).toEqual([1, 0]);
  });

  const refused: [string, Readonly<Record<string, GgufValue>>, string][] = [
    [
      "an unknown pre-tokenizer",
      { ...byteLevel, "tokenizer.ggml.pre": "martian" },
      'tokenizer.ggml.pre is "martian", known: default, gpt-2',
    ],
    [
      "an unknown model",
      { ...byteLevel, "tokenizer.ggml.model": "rwkv" },
      'tokenizer.ggml.model is "rwkv", known: gpt2, llama',
    ],
    [
      "no pre-tokenizer",
      { ...pieces([]), "tokenizer.ggml.model": "gpt2" },
      "tokenizer.ggml.pre is missing, expected text",
    ],
    ["no tokens", { "tokenizer.ggml.model": "llama" }, "tokenizer.ggml.tokens is missing, expected a list of texts"],
    [
      "tokens that are numbers",
      { ...byteLevel, "tokenizer.ggml.tokens": [1, 2] },
      "tokenizer.ggml.tokens is a list of 2, expected a list of texts",
    ],
    [
      "too few types",
      { ...byteLevel, "tokenizer.ggml.token_type": [1] },
      "tokenizer.ggml.token_type is a list of 1, expected a list of 5 numbers",
    ],
    [
      "no scores",
      { ...pieces([]), "tokenizer.ggml.scores": "x" },
      "tokenizer.ggml.scores is x, expected a list of 265 numbers",
    ],
    [
      "a flag that is a number",
      pieces([], { "tokenizer.ggml.add_bos_token": 1 }),
      "tokenizer.ggml.add_bos_token is 1, expected true or false",
    ],
  ];
  test.each(refused)("%s is refused with the key's name", (_name, metadata, state) => {
    const failure = failureOf(() => open(metadata));
    expect(failure.message).toStartWith('Cannot read the tokenizer of "model.gguf": ');
    expect(failure.message).toContain(state);
  });
});
