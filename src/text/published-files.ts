/** The tokenizer of a GGUF file as the files of a Hugging Face folder, for the tools that read those. Knows no weights. */

import { readGgufModel } from "../formats/gguf-parts.ts";
import { readGgufSource } from "./gguf-source.ts";
import type { TextSource } from "./source.ts";

/** By name. Throws a `Failure` where the tokenizer is not one we read. */
export function publishedFiles(path: string): ReadonlyMap<string, string> {
  const source = readGgufSource(readGgufModel(path));
  return new Map([
    ["tokenizer.json", written(tokenizerJson(source))],
    ["tokenizer_config.json", written(tokenizerConfig(source))],
    ["generation_config.json", written(generationConfig(source))],
  ]);
}

function written(value: object): string {
  return `${JSON.stringify(value, null, 1)}\n`;
}

/** What is ours to leave out, the format demands. */
function tokenizerJson(source: TextSource): object {
  const { tokenizer } = source;
  const model = tokenizer.part("model");
  const added = tokenizer.parts("added_tokens").map((token) => ({
    id: token.value("id"),
    content: token.text("content"),
    ...{ single_word: false, lstrip: false, rstrip: false },
    normalized: token.value("normalized"),
    special: token.value("special"),
  }));
  const vocab = {
    ...Object.fromEntries(model.part("vocab").idsByText()),
    ...Object.fromEntries(added.map(({ content, id }) => [content, id])),
  };
  return {
    version: "1.0",
    ...{ truncation: null, padding: null },
    ...tokenizer.fields(),
    model: { ...model.fields(), vocab }, // one that is not in it would get another id
    added_tokens: added,
    post_processor: postProcessor(source, added),
  };
}

/** Readers of tokenizer.json alone put the first token before a text by this. */
function postProcessor(
  { add_bos, add_eos, named_tokens }: TextSource,
  added: readonly { readonly id: unknown; readonly content: string }[],
): object | null {
  const around = [add_bos === true ? "bos_token" : null, add_eos === true ? "eos_token" : null].map((name) => {
    const content = name === null ? undefined : named_tokens.get(name);
    return added.find((token) => token.content === content);
  });
  if (around.every((token) => token === undefined)) return null;
  const [bos, eos] = around.map((token) =>
    token === undefined ? [] : [{ SpecialToken: { id: token.content, type_id: 0 } }],
  );
  const sequence = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
  const tokens = around.flatMap((token) => (token === undefined ? [] : [token]));
  return {
    type: "TemplateProcessing",
    single: [...(bos ?? []), sequence("A", 0), ...(eos ?? [])],
    pair: [...(bos ?? []), sequence("A", 0), ...(eos ?? []), sequence("B", 1), ...(eos ?? [])],
    special_tokens: Object.fromEntries(
      tokens.map(({ id, content }) => [content, { id: content, ids: [id], tokens: [content] }]),
    ),
  };
}

function tokenizerConfig({ add_bos, add_eos, named_tokens, chat_template }: TextSource): object {
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    ...{ add_bos_token: add_bos === true, add_eos_token: add_eos === true },
    clean_up_tokenization_spaces: false,
    ...Object.fromEntries(named_tokens),
    ...(chat_template === null ? {} : { chat_template }),
  };
}

function generationConfig({ end_token_ids, sampling }: TextSource): object {
  const said = Object.entries(sampling).filter(([, value]) => value !== null);
  const ends = [...new Set(end_token_ids)];
  return { ...(ends.length === 0 ? {} : { eos_token_id: ends }), ...Object.fromEntries(said) };
}
