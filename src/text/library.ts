/** Opens the tokenizer library on the parts of a tokenizer.json it is right about, after checking what it takes on trust. */

import { Tokenizer as Library } from "@huggingface/tokenizers";
import { Failure, toRecord } from "../core/failure.ts";
import type { JsonPart } from "./json-part.ts";
import { libraryNormalizer, libraryPreTokenizer, SPLIT_AT_SPACES } from "./tokenizer-parts.ts";

/** `model` is the part of `json` by that name. */
export function openLibrary(json: JsonPart, model: JsonPart): Library {
  const type = model.textOrNull("type") ?? (model.value("merges") === null ? "absent" : "BPE");
  if (!["BPE", "WordPiece", "Unigram"].includes(type)) throw model.unsupported(`the model ${type}`);
  if ((model.textOrNull("continuing_subword_prefix") ?? "") !== "" && type === "BPE") {
    throw model.unsupported("a BPE model with continuing_subword_prefix");
  }
  if (model.flag("byte_fallback", false) && type === "Unigram") {
    throw model.unsupported("a Unigram model with byte_fallback");
  }
  checkModel(model, type);
  const pre_tokenizer = libraryPreTokenizer(json.partOrNull("pre_tokenizer"));
  const parts = {
    // Without added tokens: the library would put them into the model's vocabulary and find them in plain text.
    added_tokens: [],
    normalizer: libraryNormalizer(json.partOrNull("normalizer")),
    pre_tokenizer: pre_tokenizer ?? (type === "BPE" && isCutAtSpaces(model) ? SPLIT_AT_SPACES : null),
    post_processor: null,
    decoder: null,
    model: { ...Object.fromEntries(model.keys().map((key) => [key, model.value(key)])), type },
  };
  try {
    return new Library(parts, {});
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure("unavailable", `Cannot read "${json.file}": ${toRecord(error, "unavailable").message}`);
  }
}

function checkModel(model: JsonPart, type: string): void {
  if (type === "Unigram") {
    if (!model.list("vocab").every(isScored)) throw model.damaged("vocab", "a list of texts with scores");
    return;
  }
  model.part("vocab").checkTokenIds();
  if (type === "BPE" && !model.list("merges").every(isMerge))
    throw model.damaged("merges", "a list of pairs of tokens");
}

function isScored(entry: unknown): boolean {
  return Array.isArray(entry) && typeof entry[0] === "string" && typeof entry[1] === "number";
}

/** "a b" or ["a", "b"] */
function isMerge(merge: unknown): boolean {
  if (typeof merge === "string") return merge.indexOf(" ") > 0;
  return Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === "string");
}

/**
 * SentencePiece style: ▁ begins words, and no merge puts it behind another character. Where a character can have no token
 * at all, two ▁ around it would merge.
 */
function isCutAtSpaces(model: JsonPart): boolean {
  const vocabulary = model.part("vocab");
  const unknown = model.textOrNull("unk_token");
  if (unknown === null || vocabulary.value(unknown) === null || vocabulary.value("▁") === null) return false;
  if (model.flag("ignore_merges", false)) return false;
  const crosses = (merge: unknown) => {
    const [left, right] = Array.isArray(merge) ? merge : String(merge).split(" ");
    return /[^▁]▁/.test(`${left}${right}`);
  };
  return !model.list("merges").some(crosses);
}
