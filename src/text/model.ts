/** The text side of one model, built from its files: messages and text to tokens, and what decoding needs. */

import { statSync } from "node:fs";
import { assert } from "../core/assert.ts";
import { Failure } from "../core/failure.ts";
import type { Purpose } from "../core/purpose.ts";
import { readGgufModel } from "../formats/gguf-parts.ts";
import { purposeOf } from "../formats/purpose.ts";
import { formatOf, marksOf } from "./answer/formats.ts";
import { openThought, thoughtEnd, thoughtForm, thoughtMarksOf } from "./answer/thoughts.ts";
import { ChatTemplate } from "./chat-template.ts";
import { ContentGuard, type Rendered } from "./content-guard.ts";
import { endOfTurnIds, isTurnMarker } from "./control-tokens.ts";
import { type Effort, effortOf } from "./effort.ts";
import { readFolder } from "./folder.ts";
import { readGgufSource } from "./gguf-source.ts";
import { type InputEncoder, inputEncoder } from "./inputs.ts";
import type { AnswerForm, Chat, EncodedChat, EncodedInput, Gap, Input, TextModel, Vocabulary } from "./messages.ts";
import type { TextSource } from "./source.ts";
import { ANSWER_SWITCH, renderTo } from "./template-end.ts";
import { type IsEnough, Tokenizer } from "./tokenizer.ts";
import { templateChat } from "./tool-prompt.ts";
import { vocabularyOf } from "./vocabulary.ts";

export class LoadedText {
  readonly #source: TextSource;
  readonly #tokenizer: Tokenizer;
  readonly #purpose: Purpose;
  #inputs: InputEncoder | null = null;
  #template: ChatTemplate | null = null;

  /** `path`: a model folder or a GGUF file. */
  constructor(path: string) {
    this.#source = readSource(path);
    this.#tokenizer = openTokenizer(this.#source);
    this.#purpose = purposeOf(path);
  }

  describe(): TextModel {
    const { added_tokens } = this.#tokenizer;
    // A model that reads writes nothing, so how its tokens become text again does not matter.
    const decoder = this.#purpose.kind === "chat" ? this.#source.tokenizer.partOrNull("decoder") : null;
    const template = this.#source.chat_template;
    const marks = template === null ? [] : marksOf(formatOf(template), thoughtMarksOf(template));
    const vocabulary = vocabularyOf(decoder, this.#tokenizer.vocabulary, added_tokens, marks);
    const added_bytes = added_tokens.map(({ content }) => Buffer.byteLength(content));
    return {
      vocabulary,
      token_bytes_max: Math.max(longestOf(vocabulary), ...added_bytes),
      purpose: this.#purpose,
      has_chat_template: this.#source.chat_template !== null,
      stop_token_ids: this.#stopTokenIds(),
      sampling: this.#source.sampling,
    };
  }

  /** `now`: what a template that prints the date shows. */
  encodeChat(chat: Chat, now: Date, isEnough?: IsEnough): EncodedChat {
    const { text, seams, source, effort } = this.#render(chat, now);
    // A template that wants a beginning token prints it, so nothing is put around the text.
    const token_ids = this.#tokenizer.encodeChat(text, seams, isEnough);
    return { token_ids, form: this.#formOf(source, text, effort, chat.ends === "begun") };
  }

  #render(chat: Chat, now: Date): Rendered & { readonly source: string; readonly effort: Effort } {
    const template = this.#openTemplate();
    template.refuseUnknown(chat.template_options);
    const { messages, tools } = templateChat(chat.messages, chat.tools, template.knows("tools"));
    const guard = new ContentGuard([messages, tools, chat.template_options], this.#tokenizer.controlTokens);
    const guarded = messages.map((message) => ({ ...guard.guardFields(message), role: message.role }));
    const effort = effortOf(template, chat.reasoning);
    const options = {
      tools: tools?.map((tool) => guard.guardFields(tool)) ?? null,
      ...effort.options,
      ...guard.guardFields(chat.template_options),
    };
    if (chat.ends === "bare" && !template.knows(ANSWER_SWITCH)) {
      const state = "the model's chat template always begins an answer";
      throw new Failure("unsupported", `Cannot use "${ANSWER_SWITCH}": ${state}`, ANSWER_SWITCH);
    }
    const text = renderTo(chat.ends ?? "answer", guarded, guard.end, (shown, more) => {
      return template.render(shown, now, { ...options, ...more });
    });
    return { ...guard.unguard(text), source: template.source, effort };
  }

  #formOf(template: string, prompt: string, { tokens_max }: Effort, is_begun: boolean): AnswerForm {
    const format = formatOf(template);
    const thoughts = thoughtMarksOf(template);
    if (is_begun)
      return { format: { ...format, content: null }, thoughts, open_thought: null, thought: null, is_begun };
    const open_thought = openThought(prompt, thoughts);
    const thought = thoughtForm(format, template, prompt, open_thought);
    if (thought === null) return { format, thoughts, open_thought, thought };
    const encode = (text: string) => this.#tokenizer.encodeChat(text, []);
    const content = format.channels === null ? "" : (format.content?.open ?? "");
    const bound = { tokens_max, end_ids: encode(thoughtEnd(thought)), content_ids: encode(content) };
    return { format, thoughts, open_thought, thought: { ...thought, ...bound } };
  }

  encodeText(text: string, around = true, isEnough?: IsEnough): number[] {
    return this.#tokenizer.encode(text, isEnough, around);
  }

  renderChat(chat: Chat, now: Date): string {
    return this.#render(chat, now).text;
  }

  encodeFill({ before, behind }: Gap, tokens_max: number, hasLeft: () => boolean): number[] {
    const [opens, parts, closes] = fillMarks(this.#tokenizer);
    const encode = (text: string) => this.#tokenizer.encodeBare(text, tokens_max, hasLeft).ids;
    return [...this.#tokenizer.around.before, opens, ...encode(before), parts, ...encode(behind), closes];
  }

  /** For a model that reads, each input in at most `tokens_max`. */
  encodeInputs(inputs: readonly Input[], tokens_max: number, hasLeft: () => boolean): EncodedInput[] {
    assert(this.#purpose.kind !== "chat", "only a model that reads is given inputs");
    this.#inputs ??= inputEncoder(this.#tokenizer, this.#purpose, () => this.#openTemplate());
    const encode = this.#inputs;
    return inputs.map((input) => encode(input, hasLeft() ? 0 : tokens_max, hasLeft));
  }

  /** Opened when it is first needed: a model with a bad template still completes text. */
  #openTemplate(): ChatTemplate {
    if (this.#source.chat_template === null) {
      throw new Failure("unsupported", "Cannot render the model's chat template: it has none", "messages");
    }
    this.#template ??= new ChatTemplate(this.#source.chat_template, this.#source.named_tokens);
    return this.#template;
  }

  #stopTokenIds(): readonly number[] {
    const eos = this.#source.named_tokens.get("eos_token");
    const eos_id = eos === undefined ? null : this.#tokenizer.idOf(eos);
    const named = eos_id === null ? [] : [eos_id];
    const known = endOfTurnIds(this.#tokenizer.added_tokens);
    return [...new Set([...this.#source.end_token_ids, ...named, ...known])].sort((a, b) => a - b);
  }
}

/** Tokens before what stands before, before what stands behind, and before the answer; a model has one of these triples. */
const FILL_MARKS = [
  ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
  ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
  ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
] as const;

function fillMarks(tokenizer: Tokenizer): readonly [number, number, number] {
  for (const [before, between, behind] of FILL_MARKS) {
    const ids = [tokenizer.idOf(before), tokenizer.idOf(between), tokenizer.idOf(behind)] as const;
    if (ids[0] !== null && ids[1] !== null && ids[2] !== null) return [ids[0], ids[1], ids[2]];
  }
  throw new Failure("unsupported", 'Cannot use "suffix": the model has no tokens to fill in', "suffix");
}

function longestOf({ offsets }: Vocabulary): number {
  return offsets.reduce((longest, end, id) => Math.max(longest, end - (offsets[id - 1] ?? 0)), 0);
}

function readSource(path: string): TextSource {
  return isFolder(path) ? readFolder(path) : readGgufSource(readGgufModel(path));
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    throw new Failure("unavailable", `Cannot read "${path}": there is no such file or folder, or it may not be read`);
  }
}

function openTokenizer(source: TextSource): Tokenizer {
  const named = new Set(source.named_tokens.values());
  const ends = new Set(source.end_token_ids);
  return new Tokenizer(source.tokenizer, {
    added_tokens: source.added_tokens,
    add_bos: source.add_bos,
    add_eos: source.add_eos,
    bos_token: source.named_tokens.get("bos_token") ?? null,
    eos_token: source.named_tokens.get("eos_token") ?? null,
    isControl: ({ content, id }) => named.has(content) || ends.has(id) || isTurnMarker(content),
  });
}
