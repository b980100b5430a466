/** OpenAI's responses: their answer as it is written, item by item, and its events. Knows no HTTP. */

import { assert } from "../core/assert.ts";
import type { DrawnReport, GenerationEvent, ParseReport, Usage } from "../core/generation.ts";
import type { KeptResponse } from "../core/responses.ts";
import { signatureOf } from "./anthropic-signature.ts";
import type { Answer, AnswerWriter } from "./openai-answer.ts";
import { CustomInput } from "./openai-custom-input.ts";
import { chatLogprobs } from "./openai-logprobs.ts";
import { obfuscated } from "./openai-obfuscation.ts";
import { responseBody, type Status } from "./openai-response-body.ts";
import { type CalledTool, calledAs, isCustom } from "./openai-response-tools.ts";
import { type AskedResponse, responseId, tellsHidden } from "./openai-responses.ts";
import { reported } from "./parse-report.ts";
import { statement } from "./problem.ts";

/** The item that is being written. */
interface OpenItem {
  readonly kind: "message" | "reasoning" | "function_call" | "custom_tool_call";
  readonly id: string;
  /** What it says, so far; of a call its arguments, or its input. */
  text: string;
  readonly tokens: DrawnReport[];
  /** Of a call. */
  readonly call: (CalledTool & { readonly call_id: string }) | null;
  /** Of a call of a custom tool. */
  readonly input: CustomInput | null;
}

export interface ResponseParts {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Called with an answer that has ended, before its caller knows. */
  readonly keep: (response: KeptResponse) => void;
}

export class ResponseWriter implements AnswerWriter {
  readonly #asked: AskedResponse;
  readonly #parts: ResponseParts;
  readonly #created_at: number;
  readonly #output: object[] = [];
  #open: OpenItem | null = null;
  #status: "queued" | "in_progress" = "queued";
  #is_cut = false;
  #reports: readonly ParseReport[] = [];
  #has_ended = false;
  /** As far as anybody has counted. */
  #usage: Usage = { prompt_tokens: 0, cached_tokens: 0, completion_tokens: 0, reasoning_tokens: null };
  #sequence = 0;

  constructor(asked: AskedResponse, parts: ResponseParts) {
    this.#asked = asked;
    this.#parts = parts;
    this.#created_at = secondsOf(parts.now());
  }

  /** The events of the whole, of which only the last counts. */
  body({ choices, usage }: Answer): object {
    const [choice] = choices;
    assert(choice !== undefined, "an answer has a choice");
    const { reasoning, text, tokens, tool_calls, reason, stop_text, reports } = choice;
    if (reasoning !== "") this.#think(reasoning);
    this.#say(text, tokens);
    for (const { id, name, arguments: json } of tool_calls) {
      this.#call(id, name);
      this.#argue(json);
    }
    this.#finish({ kind: "finish", choice: 0, reason, stop_text, reports });
    return this.#end(usage);
  }

  chunks(event: GenerationEvent): readonly object[] {
    switch (event.kind) {
      case "start": {
        this.#usage = { ...this.#usage, prompt_tokens: event.prompt_tokens };
        this.#status = "in_progress";
        const response = this.current();
        const created = this.#sequence === 0 ? [this.#event("response.created", { response })] : [];
        return [...created, this.#event("response.in_progress", { response })];
      }
      case "reasoning":
        return this.#think(event.text);
      case "text":
        return this.#say(event.text, event.tokens);
      case "call":
        return this.#call(event.id, event.name);
      case "arguments":
        return this.#argue(event.text);
      case "finish":
        return this.#finish(event);
      case "end": {
        const response = this.#end(event.usage);
        return [this.#event(this.#is_cut ? "response.incomplete" : "response.completed", { response })];
      }
    }
  }

  /** The last event of an answer that had begun well. */
  failed(error: unknown): object {
    const response = this.#broken(error);
    return this.#event("response.failed", { response });
  }

  /** What is told of an answer that nobody need wait for, before anything of it has come. */
  queued(): readonly object[] {
    const response = this.current();
    this.#parts.keep(this.#record(response));
    return [this.#event("response.created", { response }), this.#event("response.queued", { response })];
  }

  /** Its items that are whole, until it has ended. */
  current(): object {
    return this.#response(this.#status);
  }

  #broken(error: unknown): object {
    const { kind, message } = statement(error, `req_${this.#asked.mark}`);
    if (this.#open !== null) this.#output.push(this.#item(this.#open, "incomplete"));
    this.#open = null;
    const told = kind === "cancelled" ? null : { code: CODES[kind] ?? "server_error", message };
    const response = { ...this.#response(told === null ? "cancelled" : "failed"), error: told };
    this.#keep(response);
    return response;
  }

  #think(text: string): object[] {
    const events = this.#in("reasoning");
    const told = this.#tellsSummary ? "response.reasoning_summary_text.delta" : "response.reasoning_text.delta";
    return [...events, this.#event(told, { ...this.#place(), delta: this.#add(text) })];
  }

  #say(text: string, tokens: readonly DrawnReport[]): object[] {
    if (text === "" && tokens.length === 0) return [];
    const events = this.#in("message");
    this.#open?.tokens.push(...tokens);
    const delta = { ...this.#place(), delta: this.#add(text), logprobs: logprobs(tokens) };
    return [...events, this.#event("response.output_text.delta", delta)];
  }

  #call(call_id: string, name: string): object[] {
    const tools = this.#asked.wishes.tools ?? [];
    const kind = isCustom(tools, name) ? "custom_tool_call" : "function_call";
    return [...this.#close("completed"), ...this.#begin(kind, { call_id, ...calledAs(tools, name) })];
  }

  #argue(json: string): object[] {
    const input = this.#open?.input ?? null;
    return this.#give(input === null ? json : input.add(json));
  }

  #give(text: string): object[] {
    if (text === "") return [];
    const name = this.#open?.input === null ? "function_call_arguments" : "custom_tool_call_input";
    return [this.#event(`response.${name}.delta`, { ...this.#place(), delta: this.#add(text) })];
  }

  #finish({ reason, reports = [] }: Extract<GenerationEvent, { kind: "finish" }>): object[] {
    this.#is_cut = reason === "length";
    this.#reports = reports;
    // An answer without a word is an empty message, so that its turn in the talk is there.
    const empty = this.#open === null && this.#output.length === 0 ? this.#in("message") : [];
    return [...empty, ...this.#close(this.#is_cut ? "incomplete" : "completed")];
  }

  #end(usage: Usage): object {
    this.#usage = usage;
    const response = this.#response(this.#is_cut ? "incomplete" : "completed");
    this.#keep(response);
    return response;
  }

  /** Once: where it cannot be kept, it fails, and neither can that be kept. */
  #keep(body: object): void {
    if (!this.#asked.is_kept || this.#has_ended) return;
    this.#has_ended = true;
    this.#parts.keep(this.#record(body));
  }

  #record(body: object): KeptResponse {
    const { mark, input, wishes } = this.#asked;
    return { id: responseId(mark), previous_id: wishes.previous_response_id ?? null, input, body };
  }

  #in(kind: "message" | "reasoning"): object[] {
    if (this.#open?.kind === kind) return [];
    return [...this.#close("completed"), ...this.#begin(kind, null)];
  }

  #begin(kind: OpenItem["kind"], call: OpenItem["call"]): object[] {
    const id = `${PREFIXES[kind]}_${this.#asked.mark}_${this.#output.length}`;
    this.#open = {
      kind,
      id,
      text: "",
      tokens: [],
      call,
      input: kind === "custom_tool_call" ? new CustomInput() : null,
    };
    const item = this.#item(this.#open, "in_progress");
    const added = this.#event("response.output_item.added", { output_index: this.#output.length, item });
    if (call !== null) return [added];
    const name = this.#tellsSummary && kind === "reasoning" ? "reasoning_summary_part" : "content_part";
    return [added, this.#event(`response.${name}.added`, { ...this.#place(), part: this.#part(this.#open) })];
  }

  #close(status: Status): object[] {
    const open = this.#open;
    if (open === null) return [];
    const rest = this.#give(open.input?.end() ?? "");
    const item = this.#item(open, status);
    const output_index = this.#output.length;
    const events = [...rest, ...this.#done(open), this.#event("response.output_item.done", { output_index, item })];
    this.#output.push(item);
    this.#open = null;
    return events;
  }

  #done(open: OpenItem): object[] {
    const place = this.#place();
    const { text } = open;
    const done = (type: string, fields: object) => this.#event(`response.${type}.done`, { ...place, ...fields });
    const part = this.#part(open);
    switch (open.kind) {
      case "function_call":
        return [done("function_call_arguments", { name: open.call?.name, arguments: text })];
      case "custom_tool_call":
        return [done("custom_tool_call_input", { input: text })];
      case "message":
        return [done("output_text", { text, logprobs: logprobs(open.tokens) }), done("content_part", { part })];
      case "reasoning":
        if (!this.#tellsSummary) return [done("reasoning_text", { text }), done("content_part", { part })];
        return [done("reasoning_summary_text", { text }), done("reasoning_summary_part", { part })];
    }
  }

  /** `in_progress`: as it is when nothing has come of it. */
  #item(open: OpenItem, status: Status): object {
    const { kind, id, text, call } = open;
    const parts = status === "in_progress" ? [] : [this.#part(open)];
    switch (kind) {
      case "function_call":
        return { type: kind, id, ...call, arguments: text, status };
      case "custom_tool_call":
        return { type: kind, id, ...call, input: text, status };
      case "message":
        return { type: kind, id, status, role: "assistant", content: parts };
      case "reasoning": {
        const hidden = tellsHidden(this.#asked.wishes) && status !== "in_progress";
        const told = this.#tellsSummary ? { summary: parts } : { summary: [], content: parts };
        return { type: kind, id, ...told, ...(hidden ? { encrypted_content: signatureOf(text) } : {}), status };
      }
    }
  }

  #part({ kind, text, tokens }: OpenItem): object {
    if (kind === "message") return { type: "output_text", text, annotations: [], logprobs: logprobs(tokens) };
    return { type: this.#tellsSummary ? "summary_text" : "reasoning_text", text };
  }

  /** Of the open item, where a delta belongs. */
  #place(): object {
    assert(this.#open !== null, "what is said is said in an item");
    const { kind, id, call } = this.#open;
    const place = { item_id: id, output_index: this.#output.length };
    if (call !== null) return place;
    return this.#tellsSummary && kind === "reasoning" ? { ...place, summary_index: 0 } : { ...place, content_index: 0 };
  }

  #add(text: string): string {
    assert(this.#open !== null, "what is said is said in an item");
    this.#open.text += text;
    return text;
  }

  get #tellsSummary(): boolean {
    return Boolean(this.#asked.wishes.reasoning?.summary);
  }

  #event(type: string, fields: object): object {
    const event = { type, sequence_number: this.#sequence++, ...fields };
    const is_padded = this.#asked.wishes.stream_options?.include_obfuscation === true && type.endsWith(".delta");
    return is_padded ? obfuscated(event) : event;
  }

  #response(status: Status): object {
    const now_at = secondsOf(this.#parts.now());
    const { mark, wishes, is_kept } = this.#asked;
    const head = { id: responseId(mark), created_at: this.#created_at, is_kept };
    const body = responseBody(wishes, { ...head, now_at, status, output: [...this.#output], usage: this.#usage });
    return { ...body, ...reported(this.#reports) };
  }
}

const PREFIXES = { message: "msg", reasoning: "rs", function_call: "fc", custom_tool_call: "ctc" } as const;

const CODES: Readonly<Partial<Record<string, string>>> = {
  overloaded: "rate_limit_exceeded",
  invalid_request: "invalid_prompt",
  context_overflow: "invalid_prompt",
};

function secondsOf(time_ms: number): number {
  return Math.floor(time_ms / 1000);
}

/** The protocol has no null for the bytes of a token without text. */
function logprobs(tokens: readonly DrawnReport[]): object[] {
  const bytesOf = <Token extends { readonly bytes: readonly number[] | null }>(token: Token) => {
    return { ...token, bytes: token.bytes ?? [] };
  };
  return chatLogprobs(tokens).content.map((token) => {
    return { ...bytesOf(token), top_logprobs: token.top_logprobs.map(bytesOf) };
  });
}
