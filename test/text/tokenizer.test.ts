/** Encoding against upstream's cases and the reference implementation. */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PRE_TOKENIZERS } from "../../src/text/gguf-pre-tokenizers.ts";
import { JsonPart } from "../../src/text/json-part.ts";
import { Tokenizer, type TokenizerExtras } from "../../src/text/tokenizer.ts";
import { failureOf } from "../formats/scratch.ts";
import { askEncode } from "./oracle.ts";
import { RandomText, testSeed } from "./random-text.ts";

const SHARED = join(import.meta.dir, "../../../shared/data");
const TOKENIZERS = join(SHARED, "tokenizers");
const ROUNDS = 1500;

const PLAIN: TokenizerExtras = {
  added_tokens: [],
  add_bos: null,
  add_eos: null,
  bos_token: null,
  eos_token: null,
  isControl: () => false,
};

function open(json: unknown, extras: Partial<TokenizerExtras> = {}): Tokenizer {
  return new Tokenizer(new JsonPart(json, "tokenizer.json"), { ...PLAIN, ...extras });
}

function readJson(path: string) {
  return JSON.parse(readFileSync(path, "utf8"));
}

/** The first text on which the reference disagrees. */
function firstDifference(tokenizer: string, json: unknown, texts: readonly string[]): object | null {
  const ours = open(json);
  const theirs = askEncode({ tokenizer, texts, add_special: true });
  for (const [index, text] of texts.entries()) {
    const ids = ours.encode(text);
    const expected = theirs[index] ?? [];
    if (!Bun.deepEquals(ids, expected)) return { text, ids, expected };
  }
  return null;
}

interface Case {
  readonly src: string;
  readonly text: string;
  readonly add_special: boolean;
  readonly ids: number[];
}

describe.skipIf(!existsSync(SHARED))("real tokenizers", () => {
  test.each(["gpt2", "mistral-v1", "phi3", "starcoder"])("%s encodes all of upstream's cases", (name) => {
    const tokenizer = open(readJson(join(TOKENIZERS, name, "tokenizer.json")));
    const lines = readFileSync(join(TOKENIZERS, name, "cases.jsonl"), "utf8")
      .trim()
      .split("\n");
    expect(lines.length).toBeGreaterThan(40);
    for (const { src, text, add_special, ids } of lines.map((line): Case => JSON.parse(line))) {
      const found = add_special ? tokenizer.encode(text) : tokenizer.encodeChat(text, []);
      expect({ src, text, ids: found }).toEqual({ src, text, ids });
    }
  });

  const folders = ["gpt2", "mistral-v1", "phi3", "starcoder"].map((name) => join(TOKENIZERS, name));
  test.each([...folders, join(SHARED, "stories260K")])("%s encodes random text as the reference does", (folder) => {
    const path = join(folder, "tokenizer.json");
    const json = readJson(path);
    const specials: string[] = json.added_tokens.slice(0, 20).map((token: { content: string }) => token.content);
    const texts = new RandomText(testSeed(folder), specials).texts(ROUNDS);
    expect(firstDifference(path, json, texts)).toBeNull();
  });

  test("a WordPiece model encodes text as the reference does", () => {
    const path = join(TOKENIZERS, "all-minilm-l6-v2", "tokenizer.json");
    // The reference's tables of marks are of an old Unicode: no random characters here.
    const words = [
      "Hello",
      " World!",
      " naïve",
      " 日本語",
      " 🥰",
      "\t",
      "\u0000",
      " ΑΣ",
      "İstanbul",
      " don't",
      " [SEP]",
      "½",
    ];
    const random = new RandomText(testSeed("WordPiece"));
    const texts = Array.from({ length: 500 }, () =>
      Array.from({ length: random.integer(1, 8) }, () => random.pick(words)).join(""),
    );
    expect(firstDifference(path, readJson(path), texts)).toBeNull();
  });
});

/** All bytes, and a few merges that make whole words. */
function smallVocabulary() {
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const isPrintable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let next = 256;
  const alphabet = bytes.map((byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
  const merges = [
    "h e",
    "l l",
    "he ll",
    "hell o",
    "Ġ t",
    "Ġt he",
    "Ġ Ġ",
    "Ċ Ċ",
    "' s",
    "1 2",
    "12 3",
    "Ã ©",
    "Å ¿",
    "Å¿ t",
    "â ĸ",
    "âĸ ģ",
  ];
  const words = [...alphabet, ...merges.map((merge) => merge.replace(" ", ""))];
  return { vocab: Object.fromEntries(words.map((word, id) => [word, id])), merges };
}

/** The first id after the small vocabulary. */
const NEW = Object.keys(smallVocabulary().vocab).length;

/** Characters, ▁ and their merges, without bytes. */
function smallPieces() {
  const characters = [..."▁abcdehlotrwz'.,!?123-_<>/|½é日本"];
  const merges = ["▁ t", "▁t h", "▁th e", "h e", "l l", "he ll", "hell o", "▁ ▁", "1 2"];
  const words = ["<unk>", ...characters, ...merges.map((merge) => merge.replace(" ", "")), "th"];
  return { vocab: Object.fromEntries(words.map((word, id) => [word, id])), merges };
}

const LLAMA3 = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
const regexSplit = (Regex: string, behavior = "Isolated", invert = false) => ({
  type: "Split",
  pattern: { Regex },
  behavior,
  invert,
});
const inSequence = (...pretokenizers: object[]) => ({ type: "Sequence", pretokenizers });
const added = (id: number, content: string, fields: object = {}) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
  ...fields,
});

function byteLevelJson(changes: object, model: object = {}) {
  const parts = { version: "1.0", truncation: null, padding: null, added_tokens: [], post_processor: null };
  const { vocab, merges } = smallVocabulary();
  const bpe = { type: "BPE", dropout: null, unk_token: null, fuse_unk: false, byte_fallback: false, vocab, merges };
  return {
    ...parts,
    normalizer: null,
    pre_tokenizer: { ...byteLevel, use_regex: true },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { ...bpe, ...model },
    ...changes,
  };
}

function piecesJson(changes: object, model: object = {}) {
  const { vocab, merges } = smallPieces();
  const bpe = { type: "BPE", dropout: null, unk_token: "<unk>", fuse_unk: true, byte_fallback: false, vocab, merges };
  return byteLevelJson({ decoder: null, pre_tokenizer: null, ...changes }, { ...bpe, ...model });
}

/** Scores without ties: of two equally good ways the two implementations may take different ones. */
function unigramJson() {
  const sorted = Object.entries(smallPieces().vocab).sort((a, b) => a[1] - b[1]);
  const pieces = [...sorted.map(([piece]) => piece), "hell", "ello", "world", "▁he", "<s>"];
  const vocab = pieces.map((piece, id) => [piece, id === 0 ? 0 : -2 - Math.sqrt(id * 7.3)]);
  const model = { type: "Unigram", unk_id: 0, vocab, byte_fallback: false };
  const pre_tokenizer = { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true };
  return { ...byteLevelJson({ pre_tokenizer, decoder: null }), model };
}

/** A merge that puts ▁ behind another character: words cannot be cut at spaces. */
function acrossSpaces() {
  const { vocab, merges } = smallPieces();
  return { vocab: { ...vocab, "o▁": Object.keys(vocab).length }, merges: [...merges, "o ▁"] };
}

function without(character: string) {
  const { vocab, merges } = smallVocabulary();
  const { [character]: _, ...rest } = vocab;
  return { vocab: rest, merges };
}

describe("parts of a tokenizer.json agree with the reference", () => {
  const pieceReplace = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const cases: [string, object][] = [
    [
      "ByteLevel with a prefix space",
      byteLevelJson({ pre_tokenizer: { ...byteLevel, add_prefix_space: true, use_regex: true } }),
    ],
    [
      "the words of Llama 3",
      byteLevelJson({ pre_tokenizer: inSequence(regexSplit(LLAMA3), byteLevel) }, { ignore_merges: true }),
    ],
    ["NFC", byteLevelJson({ normalizer: { type: "NFC" } })],
    [
      "Lowercase and Strip",
      byteLevelJson({
        normalizer: {
          type: "Sequence",
          normalizers: [{ type: "Lowercase" }, { type: "Strip", strip_left: true, strip_right: true }],
        },
      }),
    ],
    [
      "Replace with a dollar",
      byteLevelJson({ normalizer: { type: "Replace", pattern: { Regex: "\\s+" }, content: "$&$1" } }),
    ],
    ["Digits", byteLevelJson({ pre_tokenizer: inSequence({ type: "Digits", individual_digits: false }, byteLevel) })],
    [
      "individual Digits",
      byteLevelJson({ pre_tokenizer: inSequence({ type: "Digits", individual_digits: true }, byteLevel) }),
    ],
    [
      "Punctuation",
      byteLevelJson({ pre_tokenizer: inSequence({ type: "Punctuation", behavior: "Contiguous" }, byteLevel) }),
    ],
    ["Split that removes", byteLevelJson({ pre_tokenizer: inSequence(regexSplit("\\s+", "Removed"), byteLevel) })],
    [
      "Split that keeps",
      byteLevelJson({ pre_tokenizer: inSequence(regexSplit("\\w+|[^\\w\\s]+", "Removed", true), byteLevel) }),
    ],
    [
      "Split merged with the previous",
      byteLevelJson({ pre_tokenizer: inSequence(regexSplit("l", "MergedWithPrevious"), byteLevel) }),
    ],
    [
      "Split merged with the next",
      byteLevelJson({
        pre_tokenizer: inSequence(
          { ...regexSplit(""), pattern: { String: "l" }, behavior: "MergedWithNext" },
          byteLevel,
        ),
      }),
    ],
    ["Split inverted", byteLevelJson({ pre_tokenizer: inSequence(regexSplit("[a-z]+", "Isolated", true), byteLevel) })],
    ["Whitespace", byteLevelJson({ pre_tokenizer: inSequence({ type: "Whitespace" }, byteLevel) })],
    ["WhitespaceSplit", byteLevelJson({ pre_tokenizer: inSequence({ type: "WhitespaceSplit" }, byteLevel) })],
    [
      "CharDelimiterSplit",
      byteLevelJson({ pre_tokenizer: inSequence({ type: "CharDelimiterSplit", delimiter: "l" }, byteLevel) }),
    ],
    [
      "Metaspace always",
      piecesJson({ pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true } }),
    ],
    [
      "Metaspace first",
      piecesJson({
        pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: false },
        added_tokens: [added(0, "<unk>")],
      }),
    ],
    [
      "Metaspace never",
      piecesJson({ pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "never", split: true } }),
    ],
    ["Unigram", unigramJson()],
    ["unknown characters one by one", piecesJson({ normalizer: pieceReplace }, { fuse_unk: false })],
    ["unknown characters together", piecesJson({ normalizer: pieceReplace })],
    ["characters without any token", piecesJson({ normalizer: pieceReplace }, { unk_token: null })],
    ["bytes without a token", byteLevelJson({}, without("z"))],
  ];

  test.each(cases)("%s", (name, json) => {
    const texts = new RandomText(testSeed(name), [
      "hello",
      " the the",
      "hell",
      "thel",
      "'ſtx",
      "helzlo",
      "zthze",
      "a-b--c",
      "<unk>",
    ]).texts(400);
    expect(firstDifference(JSON.stringify(json), json, texts)).toBeNull();
  });

  test.each([...PRE_TOKENIZERS])("the words of GGUF's %s", (name, { expressions, normalizes, ignores_merges }) => {
    const pre_tokenizer = inSequence(...expressions.map((expression) => regexSplit(expression)), byteLevel);
    const normalizer = normalizes === null ? null : { type: normalizes };
    const json = byteLevelJson({ pre_tokenizer, normalizer }, { ignore_merges: ignores_merges });
    const texts = new RandomText(testSeed(name), ["hello", "HELLOhello", "l'Hell", "a/\n", "1234567"]).texts(300);
    expect(firstDifference(JSON.stringify(json), json, texts)).toBeNull();
  });

  const flags: [string, object][] = [
    ["plain", {}],
    ["lstrip", { lstrip: true }],
    ["rstrip", { rstrip: true }],
    ["lstrip and rstrip", { lstrip: true, rstrip: true }],
    ["single_word", { single_word: true }],
    ["normalized", { normalized: true }],
    ["not special", { special: false }],
  ];
  test.each(flags)("an added token that is %s", (name, fields) => {
    const added_tokens = [added(NEW, "<x>", fields), added(NEW + 1, "<x>y", fields), added(NEW + 2, "the", fields)];
    const json = byteLevelJson({ added_tokens, normalizer: { type: "Lowercase" } });
    const texts = new RandomText(testSeed(name), ["<x>", "<X>", "<x>y", " <x> ", "the", "other", "\n<x>\n"]).texts(400);
    expect(firstDifference(JSON.stringify(json), json, texts)).toBeNull();
  });

  test("tokens put around a text by TemplateProcessing and RobertaProcessing", () => {
    const template = {
      type: "TemplateProcessing",
      single: [
        { SpecialToken: { id: "B", type_id: 0 } },
        { Sequence: { id: "A", type_id: 0 } },
        { SpecialToken: { id: "E", type_id: 0 } },
      ],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
      special_tokens: {
        B: { id: "B", ids: [NEW, NEW + 1], tokens: ["<s>", "<x>"] },
        E: { id: "E", ids: [NEW + 2], tokens: ["</s>"] },
      },
    };
    const roberta = {
      type: "RobertaProcessing",
      sep: ["</s>", NEW + 2],
      cls: ["<s>", NEW],
      trim_offsets: true,
      add_prefix_space: true,
    };
    const added_tokens = [added(NEW, "<s>"), added(NEW + 1, "<x>"), added(NEW + 2, "</s>")];
    for (const post_processor of [template, roberta, { type: "Sequence", processors: [byteLevel, template] }]) {
      const json = byteLevelJson({ added_tokens, post_processor });
      expect(firstDifference(JSON.stringify(json), json, ["hello", "", "<s>hello</s>"])).toBeNull();
    }
  });
});

describe("what a tokenizer's other files say", () => {
  const added_tokens = [added(NEW, "<s>"), added(NEW + 1, "</s>")];
  const named = { bos_token: "<s>", eos_token: "</s>" };
  const h = smallVocabulary().vocab["h"] ?? -1;

  test("add_bos_token and add_eos_token put the tokens around a text, and only once", () => {
    const json = byteLevelJson({ added_tokens });
    expect(open(json, { ...named, add_bos: true, add_eos: true }).encode("h")).toEqual([NEW, h, NEW + 1]);
    const post_processor = { type: "BertProcessing", cls: ["<s>", NEW], sep: ["</s>", NEW + 1] };
    const both = byteLevelJson({ added_tokens, post_processor });
    expect(open(both, { ...named, add_bos: true, add_eos: null }).encode("h")).toEqual([NEW, h, NEW + 1]);
    expect(open(both, { ...named, add_bos: false, add_eos: false }).encode("h")).toEqual([h]);
  });

  test("a token that only tokenizer_config.json declares is recognised", () => {
    const declared = { ...added(300, "<|im_end|>"), normalized: false };
    expect(open(byteLevelJson({}), { added_tokens: [declared] }).encode("h<|im_end|>")).toEqual([h, 300]);
  });

  test("an empty text has only the tokens around it", () => {
    expect(open(byteLevelJson({ added_tokens }), { ...named, add_bos: true }).encode("")).toEqual([NEW]);
  });
});

describe("a word too long to be merged at once", () => {
  const whole = { type: "Metaspace", replacement: "▁", prepend_scheme: "never", split: false };
  const unsplit: [string, object][] = [
    ["of bytes", byteLevelJson({ pre_tokenizer: byteLevel })],
    ["of pieces that reach across spaces", piecesJson({ pre_tokenizer: whole }, acrossSpaces())],
    ["of pieces with unknown characters together", piecesJson({ pre_tokenizer: null }, acrossSpaces())],
    ["of scored pieces", { ...unigramJson(), pre_tokenizer: whole }],
  ];
  test.each(unsplit)("%s has the tokens that the reference gives it", (name, json) => {
    const random = new RandomText(testSeed(name), ["hello", " the the", "hell", " world", "a-b--c", "z'"]);
    const texts = [20_000, 4097, 12_000].map((length) => random.texts(length).join("").slice(0, length).toWellFormed());
    expect(firstDifference(JSON.stringify(json), json, texts)).toBeNull();
  });

  test("is cut where it must be if no place is good", () => {
    const { vocab, merges } = smallVocabulary();
    const triple = { vocab: { ...vocab, lll: NEW }, merges: [...merges, "ll l"] };
    const tokenizer = open(byteLevelJson({}, triple));
    const [single, double] = [vocab["l"] ?? -1, vocab["ll"] ?? -1];
    expect(tokenizer.encode("l".repeat(4095))).toEqual([...new Array(2046).fill(double), NEW]);
    // Merged at once, the last three would be one token here too.
    expect(tokenizer.encode("l".repeat(4097))).toEqual([...new Array(2048).fill(double), single]);
  });

  test("is not cut inside a character", () => {
    const { vocab, merges } = smallPieces();
    const json = piecesJson({}, { vocab: { ...vocab, "🥰": 100, "🥰🥰": 101 }, merges: [...merges, "🥰 🥰"] });
    const pairs = (count: number) => new Array(count).fill(101);
    const ids = open(json).encode(`h${"🥰".repeat(2100)}`);
    expect(ids).toEqual([vocab["h"] ?? -1, ...pairs(1023), 100, ...pairs(26), 100]);
  });
});

test("a text is read no further than its reader wants", () => {
  const tokenizer = open(byteLevelJson({ added_tokens: [added(NEW, "<x>")] }));
  const upTo = (most: number) => (tokens: number) => tokens >= most;
  for (const text of ["hello the ".repeat(1000), "<x>".repeat(1000), "<x>hello".repeat(1000), "l".repeat(100_000)]) {
    const ids = tokenizer.encode(text);
    const some = tokenizer.encode(text, upTo(100));
    expect(some.length).toBeGreaterThanOrEqual(100);
    expect(some.length).toBeLessThan(100 + 4096);
    expect(some).toEqual(ids.slice(0, some.length));
    expect(tokenizer.encode(text, upTo(0))).toEqual([]);
  }
});

describe("a chat", () => {
  test("has no control token from ordinary text, though the model's own vocabulary holds its spelling", () => {
    const json = unigramJson();
    const id = json.model.vocab.findIndex(([piece]) => piece === "<s>");
    const tokenizer = open({ ...json, added_tokens: [added(id, "<s>")] });
    expect(tokenizer.encode("a<s>b")).toContain(id);
    expect(tokenizer.encodeChat("a<s>b", [])).toContain(id);
    expect(tokenizer.encodeChat("a<s>b", [2])).not.toContain(id);
    expect(tokenizer.encodeChat("a<s>b<s>", [2]).filter((each) => each === id)).toEqual([id]);
  });

  test("finds control tokens as they are spelled where a normalizer would make others the same", () => {
    const added_tokens = [added(NEW, "<x>", { normalized: true })];
    const tokenizer = open(byteLevelJson({ added_tokens, normalizer: { type: "Lowercase" } }));
    expect(tokenizer.encode("<X><x>")).toEqual([NEW, NEW]);
    expect(tokenizer.encodeChat("<X><x>", []).filter((id) => id === NEW)).toEqual([NEW]);
  });
});

describe("what cannot be read exactly is refused by name", () => {
  const refusals: [string, object, string][] = [
    [
      "a normalizer",
      byteLevelJson({ normalizer: { type: "Precompiled", precompiled_charsmap: "" } }),
      "normalizer: the normalizer Precompiled is not supported",
    ],
    [
      "a pre-tokenizer",
      byteLevelJson({ pre_tokenizer: inSequence({ type: "UnicodeScripts" }) }),
      "pre_tokenizer/pretokenizers/0: the pre-tokenizer UnicodeScripts is not supported",
    ],
    ["a model", byteLevelJson({}, { type: "WordLevel" }), "model: the model WordLevel is not supported"],
    [
      "a prefix inside words",
      byteLevelJson({}, { continuing_subword_prefix: "##" }),
      "continuing_subword_prefix is not supported",
    ],
    [
      "a post-processor",
      byteLevelJson({ post_processor: { type: "Other" } }),
      "the post-processor Other is not supported",
    ],
  ];
  test.each(refusals)("%s", (_name, json, state) => {
    const failure = failureOf(() => open(json));
    expect(failure.kind).toBe("unsupported");
    expect(failure.message).toEndWith(state);
  });

  test("a field of the wrong type is named with its place", () => {
    const json = byteLevelJson({ added_tokens: [{ id: "7", content: "x" }] });
    expect(failureOf(() => open(json)).message).toBe(
      'Cannot read "tokenizer.json": added_tokens/0/id is "7", expected a token id from 0 to 4194304',
    );
  });
});
