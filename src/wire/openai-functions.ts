/** The functions that OpenAI's chats could call before there were tools, as the tools that they are. Knows no messages. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { ChatWishes } from "../core/generation.ts";
import { choiceOf, NO_PARAMETERS, refuseTwice, TOOLS_MAX, toolName, toolSchema } from "./openai-tools.ts";
import { optional, strictObject } from "./schema.ts";
import { called } from "./violation.ts";

export const functionParameters = {
  functions: optional(
    Type.Array(
      strictObject({ name: toolName, description: optional(Type.String()), parameters: optional(toolSchema) }, []),
      {
        minItems: 1,
        maxItems: TOOLS_MAX,
        ...called("functions"),
        description: "What `tools` say today; an answer has at most one call, its `function_call`.",
      },
    ),
  ),
  function_call: optional(
    Type.Union([Type.Literal("none"), Type.Literal("auto"), strictObject({ name: toolName }, [])], {
      description: "What `tool_choice` says today.",
    }),
  ),
};

const functionBody = Type.Object({ ...functionParameters, tools: optional(Type.Unknown()) });

/** null: the body has no functions. */
export function functionWishesOf(
  body: Static<typeof functionBody>,
): Pick<ChatWishes, "tools" | "tool_choice" | "parallel_tool_calls"> | null {
  const { functions, function_call } = body;
  if (!functions) {
    if (function_call && typeof function_call === "object") throw wrong("function_call", "there are no functions");
    return null;
  }
  if (body.tools) throw wrong("functions", '"tools" says what the model may call');
  const tools = functions.map(({ name, description, parameters }) => {
    return { name, description: description ?? null, parameters: parameters ?? NO_PARAMETERS, strict: false };
  });
  refuseTwice(tools, (index) => `functions[${index}].name`);
  const tool_choice = choiceOf(function_call ?? "auto", tools, "function_call");
  return { tools, tool_choice, parallel_tool_calls: false };
}

function wrong(parameter: string, state: string): Failure {
  return new Failure("invalid_request", `Cannot use "${parameter}": ${state}`, parameter);
}
