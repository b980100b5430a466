/** Tokens back to text: the decoders of tokenizer.json files, piece by piece. */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Detokenizer } from "../../src/text/detokenizer.ts";
import { JsonPart } from "../../src/text/json-part.ts";
import type { Vocabulary } from "../../src/text/messages.ts";
import { Tokenizer } from "../../src/text/tokenizer.ts";
import { vocabularyOf } from "../../src/text/vocabulary.ts";
import { failureOf } from "../formats/scratch.ts";
import { integer, seeded } from "../random.ts";
import { askDecode } from "./oracle.ts";
import { RandomText, testSeed } from "./random-text.ts";

const SHARED = join(import.meta.dir, "../../../shared/data");
const NO_EXTRAS = {
  added_tokens: [],
  add_bos: null,
  add_eos: null,
  bos_token: null,
  eos_token: null,
  isControl: () => false,
};

function open(path: string): { tokenizer: Tokenizer; vocabulary: Vocabulary } {
  const json = new JsonPart(JSON.parse(readFileSync(path, "utf8")), path);
  const tokenizer = new Tokenizer(json, NO_EXTRAS);
  const vocabulary = vocabularyOf(json.partOrNull("decoder"), tokenizer.vocabulary, tokenizer.added_tokens);
  return { tokenizer, vocabulary };
}

function decode(vocabulary: Vocabulary, ids: readonly number[], at_start = true, chunk = ids.length): string {
  const detokenizer = new Detokenizer(vocabulary, { at_start });
  let text = "";
  for (let at = 0; at < ids.length; at += chunk) text += detokenizer.push(ids.slice(at, at + chunk));
  return text + detokenizer.flush();
}

function table(tokens: readonly (string | Uint8Array)[], strips_leading_space = false): Vocabulary {
  const parts = tokens.map((token) => Buffer.from(token));
  const offsets = Uint32Array.from([0, ...parts.map((_, index) => Buffer.concat(parts.slice(0, index + 1)).length)]);
  return {
    bytes: new Uint8Array(Buffer.concat(parts)),
    offsets,
    names: new Map(),
    marks: new Map(),
    strips_leading_space,
  };
}

describe.skipIf(!existsSync(SHARED))("real vocabularies", () => {
  const names = ["tokenizers/gpt2", "tokenizers/starcoder", "tokenizers/mistral-v1", "tokenizers/phi3", "stories260K"];

  test.each(names)("%s decodes what it encodes as the reference does, in any chunks", (name) => {
    const path = join(SHARED, name, "tokenizer.json");
    const { tokenizer, vocabulary } = open(path);
    const random = new RandomText(testSeed(name));
    const ids = random.texts(800).map((text) => tokenizer.encode(text));
    const expected = askDecode({ tokenizer: path, ids });
    for (const [index, each] of ids.entries()) {
      expect(decode(vocabulary, each)).toBe(expected[index] ?? "");
      expect(decode(vocabulary, each, true, random.integer(1, 3))).toBe(expected[index] ?? "");
    }
  });

  test.each(["tokenizers/gpt2", "tokenizers/starcoder"])(
    "%s decodes any byte-level tokens as the reference does",
    (name) => {
      const path = join(SHARED, name, "tokenizer.json");
      const { vocabulary } = open(path);
      const random = seeded(testSeed(name));
      const ids = Array.from({ length: 400 }, () => Array.from({ length: 12 }, () => integer(random, 1, 20_000)));
      const expected = askDecode({ tokenizer: path, ids });
      for (const [index, each] of ids.entries()) expect(decode(vocabulary, each, true, 1)).toBe(expected[index] ?? "");
    },
  );

  test("upstream's decoded texts come out, but for the spaces that its clean-up removes", () => {
    const folder = join(SHARED, "tokenizers/gpt2");
    const { vocabulary } = open(join(folder, "tokenizer.json"));
    const lines = readFileSync(join(folder, "cases.jsonl"), "utf8").trim().split("\n");
    const cases = lines.map((line): { text: string; ids: number[]; decoded?: string } => JSON.parse(line));
    const decoded = cases.filter((each) => each.decoded !== undefined);
    expect(decoded.length).toBeGreaterThan(40);
    for (const { ids, decoded: expected = "" } of decoded) {
      expect(decode(vocabulary, ids).replaceAll(" ", "")).toBe(expected.replaceAll(" ", ""));
    }
  });
});

describe("Detokenizer", () => {
  test("holds back the bytes of an unfinished character", () => {
    const detokenizer = new Detokenizer(table([...Buffer.from("é🥰")].map((byte) => Uint8Array.of(byte))), {
      at_start: true,
    });
    expect([0, 1, 2, 3, 4, 5].map((id) => detokenizer.push([id]))).toEqual(["", "é", "", "", "", "🥰"]);
    expect(detokenizer.flush()).toBe("");
  });

  test("gives U+FFFD only when nothing can complete the character", () => {
    const detokenizer = new Detokenizer(table([Uint8Array.of(0xe2), Uint8Array.of(0x82), "a"]), { at_start: true });
    expect(detokenizer.push([0, 1])).toBe("");
    expect(detokenizer.push([2])).toBe("\ufffda");
    expect(detokenizer.push([0])).toBe("");
    expect(detokenizer.flush()).toBe("\ufffd");
  });

  test("never splits a text of any bytes otherwise than the whole is decoded", () => {
    const random = seeded(testSeed("bytes"));
    const bytes = table(Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)));
    for (let round = 0; round < 5000; round++) {
      const ids = Array.from({ length: 8 }, () => integer(random, random() < 0.3 ? 0 : 0x80, 255));
      const whole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(ids));
      expect(decode(bytes, ids, true, integer(random, 1, 4))).toBe(whole);
    }
  });

  test("drops one leading space where a text begins, and none where it goes on", () => {
    const vocabulary = table([" Hello", " world", "", "  two"], true);
    expect(decode(vocabulary, [2, 0, 1], true, 1)).toBe("Hello world");
    expect(decode(vocabulary, [0, 1], false)).toBe(" Hello world");
    expect(decode(vocabulary, [3], true)).toBe(" two");
    expect(decode(table([" Hello"]), [0], true)).toBe(" Hello");
  });

  test("keeps the mark U+FEFF and gives no text for ids beyond the vocabulary", () => {
    expect(decode(table(["\ufeffa"]), [0, 1, 7_000_000], true, 1)).toBe("\ufeffa");
  });
});

describe("decoders of a tokenizer.json", () => {
  const decoderOf = (decoder: object | null) =>
    decoder === null ? null : new JsonPart(decoder, "tokenizer.json", "decoder");
  const texts = ["▁a", "<0xC3>", "<0xA9>", "##b", "<s>"];
  const special = {
    id: 4,
    content: "<s>",
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  };
  const decodeWith = (decoder: object | null, ids: readonly number[]) =>
    decode(vocabularyOf(decoderOf(decoder), texts, [special]), ids);

  test("special tokens yield no text, others that were added do", () => {
    const added = vocabularyOf(decoderOf({ type: "ByteLevel" }), ["<x y>", "<s>"], [{ ...special, id: 1 }]);
    expect(decode(added, [1, 0, 1])).toBe("<x y>");
  });

  test("Metaspace, ByteFallback, WordPiece and none", () => {
    expect(decodeWith({ type: "Metaspace", replacement: "▁", prepend_scheme: "always" }, [4, 0, 0])).toBe("a a");
    expect(decodeWith({ type: "Metaspace", replacement: "▁", prepend_scheme: "never" }, [0])).toBe(" a");
    expect(decodeWith({ type: "ByteFallback" }, [0, 1, 2])).toBe("▁aé");
    expect(decodeWith({ type: "WordPiece", prefix: "##", cleanup: false }, [0, 3])).toBe("▁ab");
    expect(decodeWith(null, [0, 3])).toBe("▁a ##b");
  });

  test("an id without a token yields no text", () => {
    expect(decode(vocabularyOf(decoderOf({ type: "Fuse" }), ["a", undefined, "b"], []), [0, 1, 2])).toBe("ab");
  });

  const refused: [object, string][] = [
    [{ type: "CTC" }, "the decoder CTC is not supported"],
    [{ type: "WordPiece", prefix: "##", cleanup: true }, "a WordPiece decoder with cleanup is not supported"],
    [
      { type: "Sequence", decoders: [{ type: "Fuse" }, { type: "ByteFallback" }] },
      "the decoder ByteFallback after Fuse is not supported",
    ],
    [
      { type: "Sequence", decoders: [{ type: "Fuse" }, { type: "Strip", content: " ", start: 0, stop: 1 }] },
      "a Strip of other than one leading space is not supported",
    ],
  ];
  test.each(refused)("%j is refused by name", (decoder, state) => {
    const failure = failureOf(() => vocabularyOf(decoderOf(decoder), texts, []));
    expect([failure.kind, failure.message]).toEqual(["unsupported", expect.stringContaining(state)]);
  });
});
