/** Writes the tokenizer in a GGUF file's metadata as a tokenizer.json. Knows the names GGUF uses; encodes nothing. */

import type { GgufFile } from "../formats/gguf.ts";
import { isEndOfTurn } from "./control-tokens.ts";
import { GgufMetadata } from "./gguf-metadata.ts";
import { PRE_TOKENIZERS } from "./gguf-pre-tokenizers.ts";
import { JsonPart } from "./json-part.ts";
import { mergesOf } from "./sentencepiece-merges.ts";
import type { TextHeader, TextSource } from "./source.ts";

export function readGgufSource(file: GgufFile): TextSource {
  const metadata = new GgufMetadata(file);
  const made = make(metadata);
  const named = NAMED_TOKENS.flatMap(([name, key]): [string, string][] => {
    const text = made.textOf(metadata.idOrNull(key));
    return text === null ? [] : [[name, text]];
  });
  const ends = END_TOKENS.map((key) => metadata.idOrNull(key));
  return {
    tokenizer: new JsonPart(made.json, file.path),
    added_tokens: [],
    add_bos: metadata.flag("tokenizer.ggml.add_bos_token", made.adds_bos),
    add_eos: metadata.flag("tokenizer.ggml.add_eos_token", false),
    named_tokens: new Map(named),
    end_token_ids: ends.filter((id) => id !== null),
    ...headerOf(metadata),
  };
}

export function readGgufHeader(file: GgufFile): TextHeader {
  const metadata = new GgufMetadata(file);
  if (makerOf(metadata) === makeByteLevel) preTokenizerOf(metadata);
  return headerOf(metadata);
}

function headerOf(metadata: GgufMetadata): TextHeader {
  return {
    chat_template: metadata.textOrNull("tokenizer.chat_template"),
    sampling: {
      temperature: metadata.numberOrNull("general.sampling.temp"),
      top_k: metadata.numberOrNull("general.sampling.top_k"),
      top_p: metadata.numberOrNull("general.sampling.top_p"),
      min_p: metadata.numberOrNull("general.sampling.min_p"),
    },
  };
}

const NAMED_TOKENS = [
  ["bos_token", "tokenizer.ggml.bos_token_id"],
  ["eos_token", "tokenizer.ggml.eos_token_id"],
  ["unk_token", "tokenizer.ggml.unknown_token_id"],
  ["pad_token", "tokenizer.ggml.padding_token_id"],
  // The missing "a" is the format's.
  ["sep_token", "tokenizer.ggml.seperator_token_id"],
  ["mask_token", "tokenizer.ggml.mask_token_id"],
] as const;

const END_TOKENS = [
  "tokenizer.ggml.eos_token_id",
  "tokenizer.ggml.eot_token_id",
  "tokenizer.ggml.eom_token_id",
] as const;

/** `tokenizer.ggml.token_type` */
const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;

interface Token {
  readonly id: number;
  readonly text: string;
  readonly type: number;
}

interface Made {
  readonly json: object;
  /** What holds when the file does not say. */
  readonly adds_bos: boolean;
  textOf(id: number | null): string | null;
}

function make(metadata: GgufMetadata): Made {
  const maker = makerOf(metadata);
  const texts = metadata.texts("tokenizer.ggml.tokens");
  const types = metadata.numbersOrNull("tokenizer.ggml.token_type", texts.length);
  const tokens = texts.map((text, id) => ({ id, text, type: types?.[id] ?? NORMAL }));
  const textOf = (id: number | null) => (id === null ? null : (texts[id] ?? null));
  return { ...maker(metadata, tokens, textOf), textOf };
}

type Maker = (metadata: GgufMetadata, tokens: readonly Token[], textOf: Made["textOf"]) => Omit<Made, "textOf">;

function makerOf(metadata: GgufMetadata): Maker {
  const maker = MAKERS.get(metadata.text("tokenizer.ggml.model"));
  if (maker === undefined) throw metadata.unsupported("tokenizer.ggml.model", [...MAKERS.keys()]);
  return maker;
}

const MAKERS: ReadonlyMap<string, Maker> = new Map<string, Maker>([
  ["gpt2", makeByteLevel],
  ["llama", makeSentencePiece],
]);

function preTokenizerOf(metadata: GgufMetadata) {
  const pre = PRE_TOKENIZERS.get(metadata.text("tokenizer.ggml.pre"));
  if (pre === undefined) throw metadata.unsupported("tokenizer.ggml.pre", [...PRE_TOKENIZERS.keys()]);
  return pre;
}

function makeByteLevel(metadata: GgufMetadata, tokens: readonly Token[]): Omit<Made, "textOf"> {
  const pre = preTokenizerOf(metadata);
  const byte_level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  const split = (Regex: string) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false });
  const added_tokens = addedTokens(metadata, tokens);
  const json = {
    added_tokens,
    normalizer: pre.normalizes === null ? null : { type: pre.normalizes },
    pre_tokenizer: { type: "Sequence", pretokenizers: [...pre.expressions.map(split), byte_level] },
    decoder: byte_level,
    model: {
      type: "BPE",
      vocab: vocabularyOf(tokens, added_tokens),
      merges: metadata.texts("tokenizer.ggml.merges"),
      ignore_merges: pre.ignores_merges,
    },
  };
  return { json, adds_bos: pre.adds_bos };
}

function makeSentencePiece(
  metadata: GgufMetadata,
  tokens: readonly Token[],
  textOf: Made["textOf"],
): Omit<Made, "textOf"> {
  const scores = metadata.numbers("tokenizer.ggml.scores", tokens.length);
  const pieces = tokens.filter((token) => token.type === NORMAL);
  const has_prefix = metadata.flag("tokenizer.ggml.add_space_prefix", true);
  const prefix = has_prefix ? [{ type: "Prepend", prepend: "▁" }] : [];
  const strip = has_prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : [];
  const added_tokens = addedTokens(metadata, tokens);
  const json = {
    added_tokens,
    normalizer: {
      type: "Sequence",
      normalizers: [...prefix, { type: "Replace", pattern: { String: " " }, content: "▁" }],
    },
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...strip,
      ],
    },
    model: {
      type: "BPE",
      vocab: vocabularyOf(tokens, []),
      merges: mergesOf(pieces.map((token) => ({ text: token.text, score: scores[token.id] ?? 0 }))),
      unk_token: textOf(metadata.idOrNull("tokenizer.ggml.unknown_token_id") ?? 0),
      fuse_unk: true,
      byte_fallback: true,
    },
  };
  return { json, adds_bos: true };
}

/** A map, as an object of so many fields takes long to make. */
function vocabularyOf(tokens: readonly Token[], without: readonly { readonly id: number }[]): Map<string, number> {
  const left_out = new Set(without.map((token) => token.id));
  const ids = new Map<string, number>();
  for (const { id, text } of tokens) if (!left_out.has(id)) ids.set(text, id);
  return ids;
}

/** Files mark some control tokens as normal; those that end a text or a turn are known by key or by name. */
function addedTokens(metadata: GgufMetadata, tokens: readonly Token[]) {
  const ends = new Set(["tokenizer.ggml.bos_token_id", ...END_TOKENS].map((key) => metadata.idOrNull(key)));
  const isControl = (token: Token) =>
    token.type === CONTROL || token.type === UNKNOWN || ends.has(token.id) || isEndOfTurn(token.text);
  const added = tokens.filter((token) => token.text !== "" && (token.type === USER_DEFINED || isControl(token)));
  return added.map((token) => ({
    id: token.id,
    content: token.text,
    // User-defined tokens hold raw spaces and newlines: they are found before normalisation.
    normalized: false,
    special: isControl(token),
  }));
}
