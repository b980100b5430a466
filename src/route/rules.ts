/**
 * What an answer must be: the caller's own form, calls in the form of the model, or either, behind its thought. Knows
 * no grammar.
 */

import { Failure } from "../core/failure.ts";
import type { GenerationRequest, ToolDefinition } from "../core/generation.ts";
import type { Constraint, Form, ThoughtForm } from "../core/grammar.ts";
import type { AnswerForm } from "../text/messages.ts";
import { callsMax, toolsOffered } from "./answer.ts";
import type { CheckedAnswer } from "./choice.ts";

export interface AnswerRules {
  /** Held from the first token on. */
  readonly constraint: Constraint | null;
  /** What content is checked for before the answer is called finished. */
  readonly checked_content: Constraint | null;
  /** Tools whose arguments are. */
  readonly checked_tools: readonly ToolDefinition[];
}

export interface Check {
  readonly constraint: Constraint;
  readonly text: string;
}

/** `form`: of a chat. */
export function answerRules(request: GenerationRequest, form: AnswerForm | null): AnswerRules {
  const { constraint: wanted, tool_choice } = request;
  const tools = form === null ? [] : toolsOffered(request);
  if (form === null) return { constraint: wanted, checked_content: wanted, checked_tools: [] };
  if (tools.length === 0) {
    const constraint = wanted === null ? null : behindThought({ ...wanted, ...contentOf(wanted, form) }, form);
    return { constraint, checked_content: wanted, checked_tools: [] };
  }
  if (tool_choice.kind === "auto" && wanted === null) {
    return { constraint: null, checked_content: null, checked_tools: tools.filter(({ strict }) => strict) };
  }
  const called = tool_choice.kind === "named" ? tools.filter(({ name }) => name === tool_choice.name) : tools;
  const parameter = tool_choice.kind === "auto" && wanted !== null ? wanted.parameter : "tool_choice";
  if (form.is_begun && tool_choice.kind !== "auto") {
    throw new Failure("invalid_request", `Cannot use "tool_choice": ${BEGUN}`, "tool_choice");
  }
  const calls = callsIn(called, form, callsMax(request) > 1);
  const is_free = tool_choice.kind === "auto" && wanted !== null;
  const either: Form = is_free ? { kind: "either", forms: [contentOf(wanted, form), calls] } : calls;
  return {
    constraint: behindThought({ parameter, ...either }, form),
    checked_content: is_free ? wanted : null,
    checked_tools: called,
  };
}

const BEGUN = "the last message has begun the answer with text, and a call that must come would begin it";

/** What of a finished answer is looked at again. */
export function checksOf(
  { checked_content, checked_tools }: AnswerRules,
  { text, calls }: CheckedAnswer,
): readonly Check[] {
  const own = checked_content === null || calls.length > 0 ? [] : [{ constraint: checked_content, text }];
  const called = calls.flatMap((call) => {
    const tool = checked_tools.find(({ name }) => name === call.name);
    return tool === undefined ? [] : [{ constraint: parametersOf(tool), text: call.arguments }];
  });
  return [...own, ...called];
}

export function parametersOf({ parameters }: ToolDefinition): Constraint {
  return { kind: "json_schema", parameter: "tools", schema: parameters };
}

/** Where a model puts content between marks, a form of the content is within them. */
function contentOf({ parameter: _, ...form }: Constraint, { format }: AnswerForm): Form {
  return format.content === null ? form : { kind: "within", ...format.content, form };
}

function behindThought({ parameter, ...form }: Constraint, { thought }: AnswerForm): Constraint {
  if (thought === null) return { parameter, ...form };
  const { open, close, is_open, behind }: ThoughtForm = thought;
  return { parameter, kind: "after_thought", thought: { open, close, is_open, behind }, form };
}

function callsIn(tools: readonly ToolDefinition[], { format }: AnswerForm, is_parallel: boolean): Form {
  const shapes = tools.map(({ name, parameters }) => ({ name, schema: parameters }));
  return { kind: "calls", style: format.writes, is_parallel, tools: shapes };
}
