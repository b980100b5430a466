/**
 * Opens the tokenizer library on the parts of a tokenizer.json it is right about, after checking what it takes on trust.
 * Byte pairs are ours: the library takes half a second to set up a large vocabulary's.
 */

import { Tokenizer as Library } from "@huggingface/tokenizers";
import { Failure, toRecord } from "../core/failure.ts";
import { BytePairs } from "./byte-pairs.ts";
import type { JsonPart } from "./json-part.ts";
import { libraryNormalizer, libraryPreTokenizer, SPLIT_AT_SPACES } from "./tokenizer-parts.ts";
import type { WordModel } from "./word-model.ts";

/** What makes words of a text. */
export interface Splitter {
  normalize(text: string): string;
  readonly normalizes: boolean;
  /** `at_start`: it begins the whole text. */
  words(text: string, at_start: boolean): readonly string[];
}

/** `model` is the part of `json` by that name. */
export function openLibrary(json: JsonPart, model: JsonPart): { splitter: Splitter; model: WordModel } {
  const type = typeOf(model);
  const byte_pairs = type === "BPE" ? new BytePairs(model) : null;
  const own_pre_tokenizer = libraryPreTokenizer(json.partOrNull("pre_tokenizer"));
  const pre_tokenizer =
    own_pre_tokenizer ?? (byte_pairs !== null && isCutAtSpaces(model, byte_pairs) ? SPLIT_AT_SPACES : null);
  const fields = Object.fromEntries(model.keys().map((key) => [key, model.value(key)]));
  const parts = {
    // Without added tokens: the library would put them into the model's vocabulary and find them in plain text.
    added_tokens: [],
    normalizer: libraryNormalizer(json.partOrNull("normalizer")),
    pre_tokenizer,
    post_processor: null,
    decoder: null,
    model: byte_pairs === null ? { ...fields, type } : NO_BYTE_PAIRS,
  };
  try {
    const library = new Library(parts, {});
    return { splitter: splitterOf(library), model: byte_pairs ?? libraryModel(library, model) };
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure("unavailable", `Cannot read "${json.file}": ${toRecord(error, "unavailable").message}`);
  }
}

/** The library has no tokenizer without a model. */
const NO_BYTE_PAIRS = { type: "BPE", vocab: {}, merges: [] };

function splitterOf({ normalizer, pre_tokenizer }: Library): Splitter {
  return {
    normalize: (text) => normalizer?.normalize(text) ?? text,
    normalizes: normalizer !== null,
    // The library's name for "this is where the text begins" is section 0.
    words: (text, at_start) => pre_tokenizer?.pre_tokenize(text, { section_index: at_start ? 0 : 1 }) ?? [text],
  };
}

function libraryModel({ model }: Library, part: JsonPart): WordModel {
  if (model === null) throw part.unsupported("an absent model");
  return {
    ids: model.tokens_to_ids,
    texts: model.vocab,
    unknown: model.unk_token ?? null,
    unknown_id: model.unk_token_id ?? null,
    bounds_words: model.config.type === "WordPiece",
    known: (word) => word,
    // One word at a time: the library would fuse unknown tokens of neighbouring words.
    tokens: (word) => model([word]),
  };
}

function typeOf(model: JsonPart): string {
  const type = model.textOrNull("type") ?? (model.value("merges") === null ? "absent" : "BPE");
  switch (type) {
    case "BPE":
      if ((model.textOrNull("continuing_subword_prefix") ?? "") === "") return type;
      throw model.unsupported("a BPE model with continuing_subword_prefix");
    case "WordPiece":
      model.part("vocab").idsByText();
      return type;
    case "Unigram":
      if (model.flag("byte_fallback", false)) throw model.unsupported("a Unigram model with byte_fallback");
      if (model.list("vocab").every(isScored)) return type;
      throw model.damaged("vocab", "a list of texts with scores");
    default:
      throw model.unsupported(`the model ${type}`);
  }
}

function isScored(entry: unknown): boolean {
  return Array.isArray(entry) && typeof entry[0] === "string" && typeof entry[1] === "number";
}

/**
 * SentencePiece style: ▁ begins words, and no merge puts it behind another character. Where a character can have no token
 * at all, two ▁ around it would merge.
 */
function isCutAtSpaces(model: JsonPart, { ids, unknown_id }: BytePairs): boolean {
  if (unknown_id === null || !ids.has("▁")) return false;
  if (model.flag("ignore_merges", false)) return false;
  const crosses = (merge: unknown) => {
    const [left, right] = Array.isArray(merge) ? merge : String(merge).split(" ");
    return /[^▁]▁/.test(`${left}${right}`);
  };
  return !model.list("merges").some(crosses);
}
