/** What the answers to Ollama's chats and prompts share: whole, or line by line. Knows no HTTP. */

import { Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type {
  DrawnReport,
  FinishReason,
  GenerationEvent,
  ParseReport,
  Timing,
  TokenReport,
  ToolCall,
  Usage,
} from "../core/generation.ts";
import type { Answer, AnswerWriter } from "./openai-answer.ts";
import { parseReportSchema, reported } from "./parse-report.ts";

/** What an answer is written with. */
export interface OllamaHead {
  /** As its caller wrote it. */
  readonly model: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds since the request came. */
  readonly elapsed_ms: () => number;
  readonly tells_logprobs: boolean;
}

/** A piece of an answer, or all of it. */
export interface Said {
  readonly content: string;
  readonly thinking: string;
  readonly tool_calls: readonly ToolCall[];
}

interface Finish {
  readonly reason: FinishReason;
  readonly reports?: readonly ParseReport[];
}

type End = Pick<Answer, "usage" | "timing" | "token_ids">;

const NOTHING: Said = { content: "", thinking: "", tool_calls: [] };

/** `fields`: what a route makes of what was said. */
export function ollamaWriter(head: OllamaHead, fields: (said: Said) => object): AnswerWriter {
  const line = (said: Said, tokens: readonly DrawnReport[] = []) => ({
    model: head.model,
    created_at: new Date(head.now()).toISOString(),
    ...fields(said),
    ...(head.tells_logprobs && tokens.length > 0 ? { logprobs: tokens.map(tellDrawn) } : {}),
  });
  const last = ({ reason, reports }: Finish, { usage, timing, token_ids }: End) => ({
    done: true,
    done_reason: reason === "length" ? "length" : "stop",
    ...(token_ids === null ? {} : { context: token_ids }),
    ...reported(reports),
    ...figures(usage, timing, head.elapsed_ms()),
  });
  const calls = new Calls();
  let finish: Finish = { reason: "stop" };
  return {
    body: ({ choices: [choice], ...end }) => {
      const { text = "", reasoning = "", tool_calls = [], tokens = [] } = choice ?? {};
      return { ...line({ content: text, thinking: reasoning, tool_calls }, tokens), ...last(choice ?? finish, end) };
    },
    chunks: (event: GenerationEvent) => {
      switch (event.kind) {
        case "start":
          return [];
        case "text":
          return [{ ...line({ ...NOTHING, content: event.text }, event.tokens), done: false }];
        case "reasoning":
          return [{ ...line({ ...NOTHING, thinking: event.text }), done: false }];
        case "call":
        case "arguments":
        case "finish": {
          if (event.kind === "finish") finish = event;
          return calls.next(event).map((call) => ({ ...line({ ...NOTHING, tool_calls: [call] }), done: false }));
        }
        case "end": {
          const { usage, timing = null, token_ids = null } = event;
          return [{ ...line(NOTHING), ...last(finish, { usage, timing, token_ids }) }];
        }
      }
    },
  };
}

/** What `keep_alive` did to the model, where nothing else was asked. */
export function keptBody(head: OllamaHead, fields: (said: Said) => object, keep_s: number | null): object {
  return {
    model: head.model,
    created_at: new Date(head.now()).toISOString(),
    ...fields(NOTHING),
    done: true,
    done_reason: keep_s === 0 ? "unload" : "load",
  };
}

/** Ollama's calls are never in pieces: one is told when the next thing comes. */
class Calls {
  #open: { readonly id: string; readonly name: string; text: string } | null = null;

  next(event: GenerationEvent & { kind: "call" | "arguments" | "finish" }): ToolCall[] {
    if (event.kind === "arguments") {
      if (this.#open !== null) this.#open.text += event.text;
      return [];
    }
    const ended = this.#open === null ? [] : [{ ...this.#open, arguments: this.#open.text }];
    this.#open = event.kind === "call" ? { id: event.id, name: event.name, text: "" } : null;
    return ended;
  }
}

/** `index`: the first call's place in the answer. */
export function callBody({ id, name, arguments: json }: ToolCall, index: number) {
  return { id, function: { index, name, arguments: argumentsOf(name, json) } };
}

function argumentsOf(name: string, json: string): object {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new Failure("engine", `Cannot tell of the call of "${name}": the model's arguments are no JSON object`);
}

/** What nobody measured is left out. */
function figures(usage: Usage, timing: Timing | null, elapsed_ms: number) {
  const measured = timing && {
    load_duration: nanoseconds(timing.load_ms),
    prompt_eval_duration: nanoseconds(timing.prompt_ms),
    eval_duration: nanoseconds(timing.answer_ms),
  };
  return {
    total_duration: nanoseconds(elapsed_ms),
    prompt_eval_count: usage.prompt_tokens,
    eval_count: usage.completion_tokens,
    ...measured,
  };
}

export function nanoseconds(ms: number): number {
  return Math.round(ms * 1e6);
}

function tellDrawn(token: DrawnReport) {
  return { ...tell(token), top_logprobs: token.top.map(tell) };
}

function tell({ text, logprob, bytes }: TokenReport | DrawnReport) {
  return { token: text, logprob, ...(bytes === null ? {} : { bytes }) };
}

const duration = (description: string) =>
  Type.Optional(Type.Integer({ description: `Nanoseconds ${description}. In the last line only.` }));
const tokenProperties = {
  token: Type.String(),
  logprob: Type.Number(),
  bytes: Type.Optional(Type.Array(Type.Integer())),
};

/** Of a whole answer, and of each line of a streamed one. */
export const answerProperties = {
  model: Type.String(),
  created_at: Type.String({ format: "date-time" }),
  done: Type.Boolean(),
  done_reason: Type.Optional(
    Type.Union((["stop", "length", "load", "unload"] as const).map((reason) => Type.Literal(reason))),
  ),
  parse_report: parseReportSchema,
  total_duration: duration("from the request to its end"),
  load_duration: duration("until the model was in memory"),
  prompt_eval_count: Type.Optional(Type.Integer({ description: "Tokens of the prompt." })),
  prompt_eval_duration: duration("from then on until the first token"),
  eval_count: Type.Optional(Type.Integer({ description: "Tokens of the answer." })),
  eval_duration: duration("from the first token to the last"),
  logprobs: Type.Optional(
    Type.Array(Type.Object({ ...tokenProperties, top_logprobs: Type.Array(Type.Object(tokenProperties)) })),
  ),
};
