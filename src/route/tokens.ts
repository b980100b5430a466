/** Texts to tokens and back by a model's own tokenizer, with nothing of it in the engine. Knows no thread. */

import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { GenerationRequest } from "../core/generation.ts";
import type { NamedToken } from "../core/tokens.ts";
import type { TextClient } from "../text/client.ts";
import { Detokenizer } from "../text/detokenizer.ts";
import type { Chat, Vocabulary } from "../text/messages.ts";
import { tokenText } from "../text/token-text.ts";
import { toolsOffered } from "./answer.ts";
import { chatless } from "./prompt.ts";

/** A model's text side. */
export interface TokenModel {
  readonly name: string;
  readonly path: string;
  readonly text: TextClient;
}

/** About a second of the worker that all texts share, and some megabytes of an answer. */
const TOKENS_MAX = 1_000_000;

export async function tokenize(
  { path, text }: TokenModel,
  words: string,
  around: boolean,
  signal: AbortSignal,
): Promise<readonly NamedToken[]> {
  const { vocabulary } = await text.load(path);
  const ids = await text.encodeText(path, words, { tokens_max: TOKENS_MAX, signal }, around);
  return named(within(ids), vocabulary);
}

export async function tokenizeChat(
  model: TokenModel,
  request: GenerationRequest,
  signal: AbortSignal,
): Promise<readonly NamedToken[]> {
  const { path, text } = model;
  const { vocabulary } = await text.load(path);
  const chat = await chatOf(model, request);
  const { token_ids } = await text.encodeChat(path, chat, { tokens_max: TOKENS_MAX, signal });
  return named(within(token_ids), vocabulary);
}

export async function detokenize(
  { name, path, text }: TokenModel,
  token_ids: readonly number[],
  signal: AbortSignal,
): Promise<string> {
  const { vocabulary } = await text.load(path);
  signal.throwIfAborted();
  const size = vocabulary.offsets.length - 1;
  const foreign = token_ids.findIndex((id) => id >= size);
  if (foreign >= 0) {
    const place = `tokens[${foreign}]`;
    const state = `"${name}" has ${size} tokens, found token ${token_ids[foreign]}`;
    throw new Failure("invalid_request", `Cannot use "${place}": ${state}`, place);
  }
  const encoder = new TextEncoder();
  const spoken = new Map([...vocabulary.names].map(([id, name]) => [id, encoder.encode(name)]));
  const detokenizer = new Detokenizer(vocabulary, { at_start: true, spoken });
  return detokenizer.push(token_ids) + detokenizer.flush();
}

export async function applyTemplate(
  model: TokenModel,
  request: GenerationRequest,
  signal: AbortSignal,
): Promise<string> {
  return await model.text.renderChat(model.path, await chatOf(model, request), signal);
}

async function chatOf({ name, path, text }: TokenModel, request: GenerationRequest): Promise<Chat> {
  const { prompt, reasoning, template_options } = request;
  const { has_chat_template } = await text.load(path);
  if (!has_chat_template) throw new Failure("unsupported", chatless(name), "messages");
  assert(prompt.kind === "messages", "only a chat is written by a template");
  const { messages, ends = "answer" } = prompt;
  return { messages, ends, tools: toolsOffered(request), reasoning, template_options };
}

function within(ids: readonly number[]): readonly number[] {
  if (ids.length < TOKENS_MAX) return ids;
  throw new Failure("too_large", `Cannot tokenize the text: it has more than ${TOKENS_MAX} tokens`);
}

function named(ids: readonly number[], vocabulary: Vocabulary): readonly NamedToken[] {
  return ids.map((id) => ({ id, ...tokenText(vocabulary, id) }));
}
