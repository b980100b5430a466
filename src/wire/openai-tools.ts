/** The parameters of OpenAI's chats that offer tools and ask for thought, and what they mean. Knows no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { ChatWishes, ReasoningEffort, ToolChoice, ToolDefinition } from "../core/generation.ts";
import { customDefinition, customGrammar } from "./openai-custom-input.ts";
import { reasoningWith, relativeParameters, templateOptionsWith } from "./openai-relatives.ts";
import { optional, strictObject } from "./schema.ts";
import { called } from "./violation.ts";

/** OpenAI's own limit. */
export const TOOLS_MAX = 128;

export const toolName = Type.String({ pattern: "^[a-zA-Z0-9_.:-]{1,128}$" });

const EFFORTS: readonly ReasoningEffort[] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

export const effort = Type.Union(
  EFFORTS.map((effort) => Type.Literal(effort)),
  { description: "How much the model thinks before it answers, as far as its chat template has a switch for it." },
);

/** A JSON Schema of a tool's arguments. */
export const toolSchema = Type.Record(Type.String(), Type.Unknown(), { description: "A JSON Schema of an object." });

export const templateOptions = Type.Record(Type.String(), Type.Unknown(), {
  description: "Variables of the model's own chat template.",
});

const functionTool = strictObject(
  {
    type: Type.Literal("function"),
    function: strictObject(
      {
        name: toolName,
        description: optional(Type.String()),
        parameters: optional(toolSchema),
        strict: optional(
          Type.Boolean({ description: "Arguments that break the schema are never given: the answer fails instead." }),
        ),
      },
      [],
    ),
  },
  [],
);

const customTool = strictObject(
  {
    type: Type.Literal("custom"),
    custom: strictObject(
      {
        name: toolName,
        description: optional(Type.String()),
        format: optional(
          Type.Union([
            strictObject({ type: Type.Literal("text") }, []),
            strictObject({ type: Type.Literal("grammar"), grammar: strictObject(customGrammar, []) }, []),
          ]),
        ),
      },
      [],
    ),
  },
  [],
);

const named = Type.Union([
  strictObject({ type: Type.Literal("function"), function: strictObject({ name: toolName }, []) }, []),
  strictObject({ type: Type.Literal("custom"), custom: strictObject({ name: toolName }, []) }, []),
]);

const allowed = strictObject(
  {
    type: Type.Literal("allowed_tools"),
    allowed_tools: strictObject(
      {
        mode: Type.Union([Type.Literal("auto"), Type.Literal("required")]),
        tools: Type.Array(named, { minItems: 1, ...called("tools") }),
      },
      [],
    ),
  },
  [],
);

export const toolParameters = {
  tools: optional(
    Type.Array(Type.Union([functionTool, customTool]), {
      maxItems: TOOLS_MAX,
      ...called("tools"),
      description: "What the model may call.",
    }),
  ),
  tool_choice: optional(
    Type.Union([Type.Literal("none"), Type.Literal("auto"), Type.Literal("required"), named, allowed], {
      description: "Whether it calls: never, as it likes, at least once, one by its name, or only some of them.",
    }),
  ),
  parallel_tool_calls: optional(Type.Boolean({ description: "`false`: an answer has at most one call." })),
  reasoning_effort: optional(effort),
  chat_template_kwargs: optional(templateOptions),
};

/** A thought ends after so many tokens, by the names that vLLM, llama.cpp and Qwen have for it. */
const budget = optional(
  Type.Integer({ minimum: 0, description: "The most tokens of a thought: then it ends, and the answer goes on." }),
);
const BUDGETS = ["thinking_token_budget", "thinking_budget_tokens", "thinking_budget"] as const;

export const budgetParameters = {
  thinking_token_budget: budget,
  thinking_budget_tokens: budget,
  thinking_budget: budget,
};

const toolBody = Type.Object({ ...toolParameters, ...budgetParameters, ...relativeParameters });
type ToolBody = Static<typeof toolBody>;

export function chatWishesOf(body: ToolBody): ChatWishes {
  const tools = (body.tools ?? []).map(toolOf);
  refuseTwice(tools, (index) => `tools[${index}].${body.tools?.[index]?.type}.name`);
  return {
    ...chosenOf(body.tool_choice ?? "auto", tools),
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    reasoning: reasoningWith({ effort: body.reasoning_effort ?? null, tokens_max: budgetOf(body) }, body),
    template_options: templateOptionsWith(body.chat_template_kwargs ?? {}, body),
  };
}

/** The model is not told of tools that it may not call. */
function chosenOf(
  choice: NonNullable<ToolBody["tool_choice"]>,
  tools: readonly ToolDefinition[],
): Pick<ChatWishes, "tools" | "tool_choice"> {
  if (typeof choice === "string") return { tools, tool_choice: choiceOf(choice, tools) };
  if (choice.type !== "allowed_tools") return { tools, tool_choice: choiceOf({ name: nameOf(choice) }, tools) };
  const { mode, tools: wanted } = choice.allowed_tools;
  const names = wanted.map(nameOf);
  for (const name of names) choiceOf({ name }, tools);
  return { tools: tools.filter(({ name }) => names.includes(name)), tool_choice: { kind: mode } };
}

function budgetOf(body: ToolBody): number | null {
  const [first, second] = BUDGETS.filter((name) => typeof body[name] === "number");
  if (first === undefined) return null;
  if (second === undefined || body[first] === body[second]) return body[first] ?? null;
  const state = `"${first}" says ${body[first]}, found ${body[second]}`;
  throw new Failure("invalid_request", `Cannot use "${second}": ${state}`, second);
}

/** Without parameters a tool takes none. */
export const NO_PARAMETERS = { type: "object", properties: {} };

type Tool = NonNullable<ToolBody["tools"]>[number];

function toolOf(tool: Tool): ToolDefinition {
  if (tool.type === "custom") {
    const { name, description, format } = tool.custom;
    return customDefinition(name, description ?? null, format?.type === "grammar" ? format.grammar : null);
  }
  const { name, description, parameters, strict } = tool.function;
  return { name, description: description ?? null, parameters: parameters ?? NO_PARAMETERS, strict: strict ?? false };
}

export function refuseTwice(tools: readonly ToolDefinition[], placeOf: (index: number) => string): void {
  const names = tools.map(({ name }) => name);
  const index = names.findIndex((name, index) => names.indexOf(name) < index);
  if (index < 0) return;
  const parameter = placeOf(index);
  throw new Failure("invalid_request", `Cannot use "${parameter}": two tools are named "${names[index]}"`, parameter);
}

function nameOf(tool: Static<typeof named>): string {
  return tool.type === "custom" ? tool.custom.name : tool.function.name;
}

/** The names of the tools that take a text, and no JSON. */
export function customNames({ tools }: Pick<ToolBody, "tools">): ReadonlySet<string> {
  return new Set((tools ?? []).flatMap((tool) => (tool.type === "custom" ? [tool.custom.name] : [])));
}

/** A way to choose, or the tool that is chosen. */
export function choiceOf(
  choice: Exclude<ToolChoice["kind"], "named"> | { readonly name: string },
  tools: readonly ToolDefinition[],
  parameter = "tool_choice",
): ToolChoice {
  if (tools.length === 0 && choice !== "none" && choice !== "auto") {
    throw wrongChoice(parameter, "there are no tools to choose from");
  }
  if (typeof choice === "string") return { kind: choice };
  const { name } = choice;
  if (!tools.some((tool) => tool.name === name)) throw wrongChoice(parameter, `no tool is named "${name}"`);
  return { kind: "named", name };
}

function wrongChoice(parameter: string, state: string): Failure {
  return new Failure("invalid_request", `Cannot use "${parameter}": ${state}`, parameter);
}
