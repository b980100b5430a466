/** Reads the text part of a model folder in Hugging Face layout. Knows the files; builds nothing from them. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../core/failure.ts";
import { FileBytes } from "../formats/file-bytes.ts";
import { readJson } from "../formats/json.ts";
import { type AddedToken, addedToken } from "./added-tokens.ts";
import { isTokenId, JsonPart } from "./json-part.ts";
import type { TextModel } from "./messages.ts";
import type { TextHeader, TextSource } from "./source.ts";

export function readFolder(folder: string): TextSource {
  const tokenizer = optional(folder, TOKENIZER);
  if (tokenizer === null) throw withoutTokenizer(folder);
  const config = optional(folder, "tokenizer_config.json");
  const generation = optional(folder, "generation_config.json");
  const model = optional(folder, "config.json");
  const endings = [generation, model, model?.partOrNull("text_config") ?? null];
  return {
    tokenizer,
    added_tokens: config === null ? [] : declaredTokens(config),
    add_bos: config?.flagOrNull("add_bos_token") ?? null,
    add_eos: config?.flagOrNull("add_eos_token") ?? null,
    named_tokens: namedTokens([config, optional(folder, "special_tokens_map.json")]),
    end_token_ids: endings.flatMap((part) => (part === null ? [] : endTokenIds(part))),
    chat_template: chatTemplate(folder, config),
    sampling: samplingOf(generation),
  };
}

export function readFolderHeader(folder: string): TextHeader {
  if (!existsSync(join(folder, TOKENIZER))) throw withoutTokenizer(folder);
  const config = optional(folder, "tokenizer_config.json");
  return {
    chat_template: chatTemplate(folder, config),
    sampling: samplingOf(optional(folder, "generation_config.json")),
  };
}

const TOKENIZER = "tokenizer.json";

function withoutTokenizer(folder: string): Failure {
  return new Failure("unsupported", `Cannot read the tokenizer of "${folder}": it has no ${TOKENIZER}`);
}

const NO_SAMPLING: TextModel["sampling"] = { temperature: null, top_k: null, top_p: null, min_p: null };

/** The longest template in use has 50 KB. */
const TEMPLATE_BYTES_MAX = 2 ** 20;

const TOKEN_NAMES = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

function optional(folder: string, name: string): JsonPart | null {
  const path = join(folder, name);
  return existsSync(path) ? new JsonPart(readJson(path), path) : null;
}

/** `added_tokens_decoder`: `{"32000": {"content": "<|im_start|>", …}}` */
function declaredTokens(config: JsonPart): AddedToken[] {
  const declared = config.partOrNull("added_tokens_decoder");
  if (declared === null) return [];
  return declared.keys().map((key) => {
    const id = Number(key);
    if (!isTokenId(id)) throw config.damaged("added_tokens_decoder", "an object with token ids as keys");
    return addedToken(declared.part(key), id);
  });
}

/** A token is named by its text or by an object with its text; the first file that names it wins. */
function namedTokens(files: readonly (JsonPart | null)[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const file of files) {
    for (const name of TOKEN_NAMES) {
      const value = file?.value(name) ?? null;
      if (file === null || value === null || found.has(name)) continue;
      found.set(name, typeof value === "string" ? value : file.part(name).text("content"));
    }
  }
  return found;
}

function endTokenIds(part: JsonPart): readonly number[] {
  const value = part.value("eos_token_id");
  if (value === null) return [];
  return Array.isArray(value) ? part.tokenIds("eos_token_id") : [part.tokenId("eos_token_id")];
}

function chatTemplate(folder: string, config: JsonPart | null): string | null {
  const path = join(folder, "chat_template.jinja");
  if (existsSync(path)) return readText(path);
  for (const part of [optional(folder, "chat_template.json"), config]) {
    const template = part === null ? null : templateOf(part);
    if (template !== null) return template;
  }
  return null;
}

/** One template, or a list of named ones of which "default" is for plain conversations. */
function templateOf(part: JsonPart): string | null {
  if (!Array.isArray(part.value("chat_template"))) return part.textOrNull("chat_template");
  const named = part.parts("chat_template");
  return named.find((each) => each.text("name") === "default")?.text("template") ?? null;
}

function readText(path: string): string {
  using file = new FileBytes(path);
  if (file.bytes <= TEMPLATE_BYTES_MAX) return new TextDecoder().decode(file.read(0, file.bytes, "the template"));
  const state = `it has ${file.bytes} bytes, at most ${TEMPLATE_BYTES_MAX} are read of a template`;
  throw new Failure("unsupported", `Cannot read "${path}": ${state}`);
}

function samplingOf(generation: JsonPart | null): TextModel["sampling"] {
  if (generation === null) return NO_SAMPLING;
  const is_greedy = generation.flagOrNull("do_sample") === false;
  return {
    temperature: is_greedy ? 0 : generation.numberOrNull("temperature"),
    top_k: generation.numberOrNull("top_k"),
    top_p: generation.numberOrNull("top_p"),
    min_p: generation.numberOrNull("min_p"),
  };
}
