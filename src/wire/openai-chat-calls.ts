/** The calls in an answer of OpenAI's chats: of functions, of custom tools, and the one that there was before tools. */

import { Type } from "@sinclair/typebox";
import type { FinishReason, GenerationEvent, ToolCall } from "../core/generation.ts";
import { CustomInput } from "./openai-custom-input.ts";

/** How its caller is told of a call. */
export interface CallForm {
  /** The names of the tools that take a text. */
  readonly custom: ReadonlySet<string>;
  /** The caller knows functions and no tools: an answer has one call, without an id. */
  readonly is_sole: boolean;
}

type Event<Kind> = Extract<GenerationEvent, { kind: Kind }>;

export class CallWriter {
  readonly #form: CallForm;
  /** Of the custom tool that a choice is calling. */
  readonly #open = new Map<number, { readonly index: number; readonly input: CustomInput }>();

  constructor(form: CallForm) {
    this.#form = form;
  }

  /** What a message says of them. */
  whole(calls: readonly ToolCall[]): object {
    const [first] = calls;
    if (first === undefined) return {};
    if (this.#form.is_sole) return { function_call: { name: first.name, arguments: first.arguments } };
    return { tool_calls: calls.map((call) => this.#callBody(call)) };
  }

  /** The rest is what deltas say. */
  begin({ index, id, name, choice }: Event<"call">): object[] {
    const before = this.end(choice);
    if (this.#form.is_sole) return [{ function_call: { name, arguments: "" } }];
    if (!this.#form.custom.has(name)) {
      return [...before, calling({ index, id, type: "function", function: { name, arguments: "" } })];
    }
    this.#open.set(choice, { index, input: new CustomInput() });
    return [...before, calling({ index, id, type: "custom", custom: { name, input: "" } })];
  }

  more({ choice, index, text }: Event<"arguments">): object[] {
    if (this.#form.is_sole) return [{ function_call: { arguments: text } }];
    const open = this.#open.get(choice);
    if (open === undefined) return [calling({ index, function: { arguments: text } })];
    return inputDelta(index, open.input.add(text));
  }

  /** Of the call that was being written, where it says more by its end. */
  end(choice: number): object[] {
    const open = this.#open.get(choice);
    this.#open.delete(choice);
    return open === undefined ? [] : inputDelta(open.index, open.input.end());
  }

  reason(reason: FinishReason): string {
    return this.#form.is_sole && reason === "tool_calls" ? "function_call" : reason;
  }

  #callBody({ id, name, arguments: json }: ToolCall): object {
    if (!this.#form.custom.has(name)) return { id, type: "function", function: { name, arguments: json } };
    const input = new CustomInput();
    return { id, type: "custom", custom: { name, input: input.add(json) + input.end() } };
  }
}

function calling(call: object): object {
  return { tool_calls: [call] };
}

function inputDelta(index: number, input: string): object[] {
  return input === "" ? [] : [calling({ index, custom: { input } })];
}

const json = Type.String({ description: "JSON, as the model wrote it." });
const input = Type.String({ description: "The text that the tool is given." });

export const callSchema = Type.Union([
  Type.Object({
    id: Type.String(),
    type: Type.Literal("function"),
    function: Type.Object({ name: Type.String(), arguments: json }),
  }),
  Type.Object({
    id: Type.String(),
    type: Type.Literal("custom"),
    custom: Type.Object({ name: Type.String(), input }),
  }),
]);

export const callDeltaSchema = Type.Object({
  index: Type.Integer(),
  id: Type.Optional(Type.String()),
  type: Type.Optional(Type.Union([Type.Literal("function"), Type.Literal("custom")])),
  function: Type.Optional(Type.Object({ name: Type.Optional(Type.String()), arguments: json })),
  custom: Type.Optional(Type.Object({ name: Type.Optional(Type.String()), input })),
});

export const soleCallSchema = Type.Object({ name: Type.String(), arguments: json });

export const soleCallDeltaSchema = Type.Object({ name: Type.Optional(Type.String()), arguments: json });
