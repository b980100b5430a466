/** Turns a prompt into tokens that its model takes, or says why it cannot. Knows no wire format and no thread. */

import { assert } from "../core/assert.ts";
import type { LoadedModel } from "../core/backend.ts";
import { Failure } from "../core/failure.ts";
import type { GenerationRequest, Message, Prompt } from "../core/generation.ts";
import type { TextClient } from "../text/client.ts";
import { Detokenizer } from "../text/detokenizer.ts";
import type { AnswerForm, TextModel, Vocabulary } from "../text/messages.ts";
import { toolsOffered } from "./answer.ts";
import { continued } from "./continued.ts";
import { readShortest } from "./shorter-talks.ts";

export interface PromptModel {
  readonly path: string;
  readonly loaded: LoadedModel;
  readonly text: TextModel;
}

export interface ReadPrompt {
  readonly prompt_ids: readonly number[];
  /** Of a chat's answer. */
  readonly form: AnswerForm | null;
}

/** At least one token, and room for one more. */
export async function readPrompt(
  request: GenerationRequest,
  { path, loaded, text }: PromptModel,
  client: TextClient,
  signal: AbortSignal,
): Promise<ReadPrompt> {
  const { prompt } = request;
  const reader = { tokens_max: CONTEXTS_COUNTED * loaded.context_length, signal };
  switch (prompt.kind) {
    case "messages": {
      if (!text.has_chat_template) throw new Failure("unsupported", chatless(loaded.model), "messages");
      const tools = toolsOffered(request);
      const { reasoning, template_options, truncation } = request;
      const read = async (messages: readonly Message[], is_cut: boolean) => {
        const place = is_cut ? withRoom(loaded, request) : loaded;
        const contents = messages.map((message) => message.content);
        refuseOversize(contents, text, place);
        const chat = { messages, ends: prompt.ends ?? "answer", tools, reasoning, template_options };
        const { token_ids, form } = await client.encodeChat(path, chat, reader);
        return { prompt_ids: fitting(token_ids, place, "messages", reader.tokens_max), form };
      };
      if (truncation === "disabled") return await read(prompt.messages, false);
      return await readShortest(prompt.messages, read);
    }
    case "continued": {
      if (!text.has_chat_template) throw new Failure("unsupported", chatless(loaded.model), "context");
      const { reasoning, template_options } = request;
      const chat = { tools: toolsOffered(request), reasoning, template_options };
      refuseOversize(
        prompt.messages.map(({ content }) => content),
        text,
        loaded,
      );
      const encode = async (messages: readonly Message[]) => client.encodeChat(path, { ...chat, messages }, reader);
      const { token_ids, form } = await continued(prompt.token_ids, prompt.messages, encode);
      return { prompt_ids: fitting(token_ids, loaded, "context", reader.tokens_max), form };
    }
    case "text": {
      refuseOversize([prompt.text], text, loaded);
      const token_ids = await client.encodeText(path, prompt.text, reader);
      return { prompt_ids: fitting(token_ids, loaded, "prompt", reader.tokens_max), form: null };
    }
    case "fill": {
      refuseOversize([prompt.before, prompt.behind], text, loaded);
      const token_ids = await client.encodeFill(path, prompt, reader);
      return { prompt_ids: fitting(token_ids, loaded, "prompt", reader.tokens_max), form: null };
    }
    case "tokens":
      return { prompt_ids: fitting(prompt.token_ids, loaded, "prompt", Number.POSITIVE_INFINITY), form: null };
  }
}

/** A talk that is cut anyway is cut so far that the answer to it has room. */
function withRoom(loaded: LoadedModel, { tokens_max }: GenerationRequest): LoadedModel {
  const most = Math.floor(loaded.context_length * ANSWER_SHARE_MAX);
  return { ...loaded, context_length: loaded.context_length - Math.min(tokens_max ?? most, most) };
}

const ANSWER_SHARE_MAX = 1 / 4;

/** What a raw prompt says; of token ids what they add to a text. */
export function promptText(prompt: Prompt, vocabulary: Vocabulary): string {
  assert(prompt.kind === "text" || prompt.kind === "tokens", "only what is continued is echoed");
  if (prompt.kind === "text") return prompt.text;
  const words = new Detokenizer(vocabulary, { at_start: true });
  return words.push(prompt.token_ids) + words.flush();
}

/** A prompt that is too long is counted so far: the caller learns by how much, and the text worker is free again soon. */
const CONTEXTS_COUNTED = 2;

export function chatless(model: string): string {
  return `Cannot chat with "${model}": it has no chat template`;
}

/** Even of the longest tokens so much text would fill more than the context: it need not be read. */
function refuseOversize(texts: readonly string[], { token_bytes_max }: TextModel, loaded: LoadedModel): void {
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  if (bytes <= loaded.context_length * token_bytes_max) return;
  const counted = `it has ${bytes} bytes of text, a token at most ${token_bytes_max}`;
  throw overflow(loaded, Math.ceil(bytes / token_bytes_max), counted);
}

/** `counted_max`: with so many tokens or more the text may not have been read to its end. */
function fitting(
  token_ids: readonly number[],
  loaded: LoadedModel,
  parameter: string,
  counted_max: number,
): readonly number[] {
  const { model, context_length, vocabulary_size } = loaded;
  const count = token_ids.length;
  if (count === 0) {
    const state = `it is empty, and "${model}" has no beginning token`;
    throw new Failure("invalid_request", `Cannot use the prompt: ${state}`, parameter);
  }
  if (count >= context_length) {
    throw overflow(loaded, count, count < counted_max ? null : "it was counted so far");
  }
  // A tokenizer may know more tokens than its model: the embedding of one beyond it lies outside its memory.
  const foreign = token_ids.find((id) => id >= vocabulary_size);
  if (foreign === undefined) return token_ids;
  const state = `"${model}" has ${vocabulary_size} tokens, found token ${foreign}`;
  throw new Failure("invalid_request", `Cannot use the prompt: ${state}`, parameter);
}

/** `counted`: why it may be more; null: it is not. Agents look for these words and numbers, to know what they must cut. */
function overflow({ model, context_length }: LoadedModel, tokens_min: number, counted: string | null): Failure {
  const state = `prompt is too long: ${tokens_min} tokens > ${context_length - 1} maximum`;
  const room = `"${model}" takes ${context_length} with the answer`;
  const told = counted === null ? room : `${counted}, and ${room}`;
  return new Failure("context_overflow", `Cannot fit the prompt: ${state}: ${told}`, null);
}
