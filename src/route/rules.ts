/** What an answer must be: the caller's own form, or calls in the form of the model. Knows no grammar. */

import { Failure } from "../core/failure.ts";
import type { GenerationRequest, ToolDefinition } from "../core/generation.ts";
import type { CallShape, Constraint } from "../core/grammar.ts";
import type { AnswerForm } from "../text/messages.ts";
import { toolsOffered } from "./answer.ts";
import type { CheckedAnswer } from "./choice.ts";

export interface AnswerRules {
  /** Held from the first token on. */
  readonly constraint: Constraint | null;
  /** Tools whose arguments are looked at before the answer is called finished. */
  readonly checked_tools: readonly ToolDefinition[];
}

export interface Check {
  readonly constraint: Constraint;
  readonly text: string;
}

/** `form`: of a chat. */
export function answerRules(request: GenerationRequest, form: AnswerForm | null): AnswerRules {
  const { constraint, tool_choice } = request;
  const tools = toolsOffered(request);
  if (form === null || tools.length === 0) return { constraint, checked_tools: [] };
  if (constraint !== null) {
    const state = 'with "tools" it is not supported yet';
    throw new Failure("unsupported", `Cannot use "${constraint.parameter}": ${state}`, constraint.parameter);
  }
  if (tool_choice.kind === "auto") return { constraint, checked_tools: tools.filter(({ strict }) => strict) };
  const called = tool_choice.kind === "named" ? tools.filter(({ name }) => name === tool_choice.name) : tools;
  return { constraint: callsIn(called, form, request.parallel_tool_calls), checked_tools: called };
}

/** What of a finished answer is looked at again. */
export function checksOf({ constraint, checked_tools }: AnswerRules, { text, calls }: CheckedAnswer): readonly Check[] {
  const own = constraint === null || constraint.kind === "calls" ? [] : [{ constraint, text }];
  const called = calls.flatMap((call) => {
    const tool = checked_tools.find(({ name }) => name === call.name);
    return tool === undefined ? [] : [{ constraint: parametersOf(tool), text: call.arguments }];
  });
  return [...own, ...called];
}

export function parametersOf({ parameters }: ToolDefinition): Constraint {
  return { kind: "json_schema", parameter: "tools", schema: parameters };
}

/** How calls are written where they can be enforced: what stands around the arguments, and between two calls. */
const SHAPES: Readonly<Record<string, { between: string; around: (name: string) => [before: string, after: string] }>> =
  {
    hermes: {
      between: "\n",
      around: (name) => [`<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": `, "}\n</tool_call>"],
    },
    llama: { between: "; ", around: (name) => [`{"name": ${JSON.stringify(name)}, "parameters": `, "}"] },
  };

function callsIn(tools: readonly ToolDefinition[], form: AnswerForm, is_parallel: boolean): Constraint {
  const shape = SHAPES[form.format.name];
  if (shape === undefined) {
    const state = `calls in this model's form, "${form.format.name}", cannot be enforced yet`;
    throw new Failure("unsupported", `Cannot use "tool_choice": ${state}`, "tool_choice");
  }
  const calls = tools.map(({ name, parameters }): CallShape => {
    const [before, after] = shape.around(name);
    return { before, schema: parameters, after };
  });
  // A thought that the prompt has begun ends first: what is said in it is no call.
  const begin = form.open_thought === null ? "" : `${form.open_thought.close}\n\n`;
  return { kind: "calls", parameter: "tool_choice", begin, between: is_parallel ? shape.between : null, calls };
}
