/** Texts and pairs to the tokens that a model reads for a vector or a score, cut where it reads no further. */

import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { PairPrompt, ReadingPurpose } from "../core/purpose.ts";
import type { ChatTemplate } from "./chat-template.ts";
import { ContentGuard } from "./content-guard.ts";
import type { EncodedInput, Input } from "./messages.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** `hasLeft`: nobody waits any more, so what comes out need not be right. */
export type InputEncoder = (input: Input, tokens_max: number, hasLeft: () => boolean) => EncodedInput;

export function inputEncoder(
  tokenizer: Tokenizer,
  purpose: ReadingPurpose,
  template: () => ChatTemplate,
): InputEncoder {
  const written = (text: string) => (purpose.reading.lowercase ? text.toLowerCase() : text);
  if (purpose.kind === "embedding") {
    return (input, tokens_max, hasLeft) => {
      assert(typeof input === "string", "a vector is of one text");
      return encodeText(tokenizer, written(input), tokens_max, hasLeft);
    };
  }
  const frame = purpose.score.from === "tokens" ? framer(purpose.score.prompt, template) : null;
  return (input, tokens_max, hasLeft) => {
    assert(typeof input !== "string", "a score is of two texts");
    const [first, second] = [written(input[0]), written(input[1])];
    if (frame === null) return encodePair(tokenizer, first, second, tokens_max, hasLeft);
    return encodeFramed(tokenizer, frame, first, second, tokens_max, hasLeft);
  };
}

function encodeText(tokenizer: Tokenizer, text: string, tokens_max: number, hasLeft: () => boolean): EncodedInput {
  const { before, after } = tokenizer.around;
  const room = Math.max(0, tokens_max - before.length - after.length);
  const { ids, is_cut } = tokenizer.encodeBare(text, room, hasLeft);
  const token_ids = [...before, ...ids, ...after];
  return { token_ids, second_at: token_ids.length, is_cut };
}

/** The longer of both is cut first, as the tokenizers package does. */
function encodePair(
  tokenizer: Tokenizer,
  first: string,
  second: string,
  tokens_max: number,
  hasLeft: () => boolean,
): EncodedInput {
  const { before, between, after, second_type } = tokenizer.around_pair;
  const room = Math.max(0, tokens_max - before.length - between.length - after.length);
  const a = tokenizer.encodeBare(first, room, hasLeft);
  const b = tokenizer.encodeBare(second, room, hasLeft);
  const [first_count, second_count] = shares(a.ids.length, b.ids.length, room);
  const lead = [...before, ...a.ids.slice(0, first_count), ...between];
  const token_ids = [...lead, ...b.ids.slice(0, second_count), ...after];
  const is_cut = a.is_cut || b.is_cut || first_count + second_count < a.ids.length + b.ids.length;
  return { token_ids, second_at: second_type ? lead.length : token_ids.length, is_cut };
}

function shares(first: number, second: number, room: number): readonly [number, number] {
  if (first + second <= room) return [first, second];
  const half = Math.floor(room / 2);
  if (first <= half) return [first, room - first];
  if (second <= half) return [room - second, second];
  return first <= second ? [half, room - half] : [room - half, half];
}

/** What stands before a document, and what behind it. */
type Frame = (query: string) => readonly [string, string];

/** Neither text can spell a control token here: what the model is asked stays ours. */
function encodeFramed(
  tokenizer: Tokenizer,
  frame: Frame,
  query: string,
  document: string,
  tokens_max: number,
  hasLeft: () => boolean,
): EncodedInput {
  const guard = new ContentGuard([query, document], tokenizer.controlTokens);
  const [head, tail] = frame(guard.guard(query));
  const lead = guard.unguard(head + guard.guard(document));
  const end_ids = tokenizer.encodeChat(tail, []);
  const room = Math.max(0, tokens_max - end_ids.length);
  const lead_ids = tokenizer.encodeChat(lead.text, lead.seams, (tokens) => tokens > room || hasLeft());
  const token_ids = [...lead_ids.slice(0, room), ...end_ids];
  return { token_ids, second_at: token_ids.length, is_cut: lead_ids.length > room };
}

function framer(prompt: PairPrompt, template: () => ChatTemplate): Frame {
  return prompt === "qwen" ? qwenFrame : (query) => templateFrame(template(), query);
}

/** What Qwen3-Reranker was trained with. */
function qwenFrame(query: string): readonly [string, string] {
  const task = "Given a web search query, retrieve relevant passages that answer the query";
  const judge =
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. " +
    'Note that the answer can only be "yes" or "no".';
  return [
    `<|im_start|>system\n${judge}<|im_end|>\n<|im_start|>user\n<Instruct>: ${task}\n<Query>: ${query}\n<Document>: `,
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
  ];
}

/** A character of private use: where the document comes. */
const DOCUMENT = "\u{10fffd}";
const NO_TIME = new Date(0);

function templateFrame(template: ChatTemplate, query: string): readonly [string, string] {
  const messages = [
    { role: "query", content: query },
    { role: "document", content: DOCUMENT },
  ];
  const [head, tail, more] = template.render(messages, NO_TIME).split(DOCUMENT);
  if (head !== undefined && tail !== undefined && more === undefined) return [head, tail];
  throw new Failure("unsupported", "Cannot rank with the model: its chat template does not show a document once");
}
