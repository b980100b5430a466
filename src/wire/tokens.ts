/** Texts, tokens and prompts by the names that llama.cpp and vLLM have for them. Knows no HTTP and no tokenizer. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { GenerationRequest } from "../core/generation.ts";
import type { NamedToken } from "../core/tokens.ts";
import { readChat } from "./openai-chat.ts";
import { endParameters } from "./openai-chat-end.ts";
import { messageSchema } from "./openai-messages.ts";
import { tokenId } from "./openai-parameters.ts";
import { toolParameters } from "./openai-tools.ts";
import { optional, strictObject } from "./schema.ts";
import { called } from "./violation.ts";

const model = {
  model: optional(
    Type.String({
      minLength: 1,
      description: "The name of a model; where one alone is in memory, it need not be said.",
    }),
  ),
};

const chat = {
  tools: toolParameters.tools,
  tool_choice: toolParameters.tool_choice,
  reasoning_effort: toolParameters.reasoning_effort,
  chat_template_kwargs: toolParameters.chat_template_kwargs,
  ...endParameters,
};

const LATER = ["chat_template", "mm_processor_kwargs"];

export const tokenizeRequestSchema = strictObject(
  {
    ...model,
    content: optional(Type.String({ description: "A text, as llama.cpp calls it." })),
    prompt: optional(Type.String({ description: "A text, as vLLM calls it." })),
    messages: optional(Type.Array(messageSchema, { minItems: 1, ...called("messages") })),
    ...chat,
    add_special: optional(
      Type.Boolean({ description: "With the tokens that the model wants around a text; `false` unless it is said." }),
    ),
    add_special_tokens: optional(
      Type.Boolean({ description: "The same; with `prompt` it is `true` unless it is said, as in vLLM." }),
    ),
    parse_special: optional(Type.Literal(true, { description: "Special tokens in a text are always recognised." })),
    with_pieces: optional(Type.Boolean({ description: "Each token with its text, or its bytes where they are none." })),
    return_token_strs: optional(Type.Boolean({ description: "The texts of the tokens beside them." })),
  },
  LATER,
  { examples: [{ content: "What is the capital of France?", with_pieces: true }] },
);

export const detokenizeRequestSchema = strictObject({ ...model, tokens: Type.Array(tokenId, called("token ids")) }, []);

export const templateRequestSchema = strictObject(
  { ...model, messages: Type.Array(messageSchema, { minItems: 1, ...called("messages") }), ...chat },
  LATER,
);

type TokenizeRequest = Static<typeof tokenizeRequestSchema>;
type TemplateRequest = Static<typeof templateRequestSchema>;

/** What is to be tokenized. */
type Tokenizable =
  | { readonly kind: "text"; readonly text: string; readonly around: boolean }
  | { readonly kind: "chat"; readonly request: GenerationRequest };

const FORMS = ["content", "prompt", "messages"] as const;
const CHAT_ONLY = [
  "tools",
  "tool_choice",
  "reasoning_effort",
  "chat_template_kwargs",
  "add_generation_prompt",
  "continue_final_message",
] as const;

export function readTokenize(body: TokenizeRequest, model: string, request_id: string): Tokenizable {
  const [form, another] = FORMS.filter((name) => isSaid(body[name]));
  if (form === undefined) {
    const state = '"content" is missing, expected a text, or "messages"';
    throw new Failure("invalid_request", `Cannot use the request: ${state}`, "content");
  }
  if (another !== undefined) throw wrong(another, `"${form}" says what is to be tokenized`);
  const around = aroundOf(body);
  if (body.messages) {
    if (around) throw wrong("add_special_tokens", "the model's chat template says what is around a talk");
    return { kind: "chat", request: readTemplate({ ...body, messages: body.messages }, model, request_id) };
  }
  const chatty = CHAT_ONLY.find((name) => isSaid(body[name]));
  if (chatty !== undefined) throw wrong(chatty, 'it needs "messages"');
  return { kind: "text", text: body.content ?? body.prompt ?? "", around };
}

export function readTemplate(body: TemplateRequest, model: string, request_id: string): GenerationRequest {
  const { messages, tools = null, tool_choice = null, reasoning_effort = null, chat_template_kwargs = null } = body;
  const { continue_final_message = null, add_generation_prompt = null } = body;
  const ends = { continue_final_message, add_generation_prompt };
  const asked = { model, messages, tools, tool_choice, reasoning_effort, chat_template_kwargs, ...ends };
  return readChat(asked, request_id).generation;
}

function aroundOf({ prompt, add_special, add_special_tokens }: TokenizeRequest): boolean {
  if (isSaid(add_special) && isSaid(add_special_tokens) && add_special !== add_special_tokens) {
    throw wrong("add_special_tokens", `"add_special" says ${add_special}, found ${add_special_tokens}`);
  }
  return add_special ?? add_special_tokens ?? isSaid(prompt);
}

function isSaid(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function wrong(parameter: string, state: string): Failure {
  return new Failure("invalid_request", `Cannot use "${parameter}": ${state}`, parameter);
}

export function tokensBody(
  tokens: readonly NamedToken[],
  { with_pieces, return_token_strs }: TokenizeRequest,
  max_model_len: number | null,
) {
  return {
    tokens: with_pieces ? tokens.map((token) => ({ id: token.id, piece: pieceOf(token) })) : tokens.map(({ id }) => id),
    count: tokens.length,
    max_model_len,
    ...(return_token_strs ? { token_strs: tokens.map(({ text }) => text) } : {}),
  };
}

/** llama.cpp's way with bytes that are no text by themselves. */
function pieceOf({ text, bytes }: NamedToken): string | readonly number[] {
  return bytes !== null && !Buffer.from(text).equals(Uint8Array.from(bytes)) ? bytes : text;
}

export const tokensBodySchema = Type.Object({
  tokens: Type.Union([
    Type.Array(Type.Integer()),
    Type.Array(Type.Object({ id: Type.Integer(), piece: Type.Union([Type.String(), Type.Array(Type.Integer())]) })),
  ]),
  count: Type.Integer(),
  max_model_len: Type.Union([Type.Integer(), Type.Null()], {
    description: "Tokens of prompt and answer that a request may have now; null where the model cannot be loaded.",
  }),
  token_strs: Type.Optional(Type.Array(Type.String())),
});

/** The text by both names. */
export const textBodySchema = Type.Object({ content: Type.String(), prompt: Type.String() });
export const promptBodySchema = Type.Object({ prompt: Type.String() });
