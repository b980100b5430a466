/** The tools of OpenAI's responses: functions, also those of a namespace. Knows no talk and no chat template. */

import { type Static, Type } from "@sinclair/typebox";
import type { ToolChoice, ToolDefinition } from "../core/generation.ts";
import { customDefinition, customGrammar } from "./openai-custom-input.ts";
import { choiceOf, NO_PARAMETERS, refuseTwice, toolName, toolSchema } from "./openai-tools.ts";
import { optional, strictObject } from "./schema.ts";
import { called, notYet } from "./violation.ts";

/** OpenAI's own limit. */
const TOOLS_MAX = 128;

/** Tools that OpenAI runs itself. */
const FOREIGN_TOOLS = [
  "apply_patch",
  "code_interpreter",
  "computer",
  "computer_use_preview",
  "file_search",
  "image_generation",
  "local_shell",
  "mcp",
  "programmatic_tool_calling",
  "shell",
  "tool_search",
  "web_search",
  "web_search_2025_08_26",
  "web_search_preview",
  "web_search_preview_2025_03_11",
];

const functionTool = strictObject(
  {
    type: Type.Literal("function"),
    name: toolName,
    description: optional(Type.String()),
    parameters: optional(toolSchema),
    strict: optional(
      Type.Boolean({ description: "Arguments that break the schema are never given: the answer fails instead." }),
    ),
  },
  ["allowed_callers", "defer_loading", "output_schema"],
);

const customTool = strictObject(
  {
    type: Type.Literal("custom"),
    name: toolName,
    description: optional(Type.String()),
    format: optional(
      Type.Union([
        strictObject({ type: Type.Literal("text") }, []),
        strictObject({ type: Type.Literal("grammar"), ...customGrammar }, []),
      ]),
    ),
  },
  ["allowed_callers", "defer_loading"],
);

const namespaceTool = strictObject(
  {
    type: Type.Literal("namespace"),
    name: toolName,
    description: Type.String(),
    tools: Type.Array(Type.Union([functionTool], notYet("custom")), { minItems: 1, ...called("tools") }),
  },
  [],
);

const named = strictObject(
  { type: Type.Union([Type.Literal("function"), Type.Literal("custom")]), name: Type.String() },
  [],
);

const toolChoice = Type.Union(
  [
    Type.Literal("none"),
    Type.Literal("auto"),
    Type.Literal("required"),
    named,
    strictObject(
      {
        type: Type.Literal("allowed_tools"),
        mode: Type.Union([Type.Literal("auto"), Type.Literal("required")]),
        tools: Type.Array(named, { minItems: 1, ...called("tools") }),
      },
      [],
    ),
  ],
  { ...notYet(...FOREIGN_TOOLS), description: "Whether it calls, and which of the tools." },
);

export const responseTools = {
  tools: optional(
    Type.Array(Type.Union([functionTool, customTool, namespaceTool], notYet(...FOREIGN_TOOLS)), {
      maxItems: TOOLS_MAX,
      ...called("tools"),
    }),
  ),
  tool_choice: optional(toolChoice),
  parallel_tool_calls: optional(Type.Boolean({ description: "`false`: an answer has at most one call." })),
};

const toolBody = Type.Object(responseTools);
type ToolBody = Static<typeof toolBody>;
export type ResponseTool = NonNullable<ToolBody["tools"]>[number];

type ToolWishes = {
  readonly tools: readonly ToolDefinition[];
  readonly tool_choice: ToolChoice;
  readonly parallel_tool_calls: boolean;
};

export function toolWishesOf(body: ToolBody): ToolWishes {
  const placed = (body.tools ?? []).flatMap((tool, index) => definitionsOf(tool, `tools[${index}]`));
  const tools = placed.map(({ tool }) => tool);
  refuseTwice(tools, (index) => `${placed[index]?.place}.name`);
  const parallel_tool_calls = body.parallel_tool_calls ?? true;
  const choice = body.tool_choice ?? "auto";
  if (typeof choice === "string" || choice.type !== "allowed_tools") {
    return { tools, tool_choice: choiceOf(choice, tools), parallel_tool_calls };
  }
  for (const { name } of choice.tools) choiceOf({ name }, tools);
  const allowed = tools.filter((tool) => choice.tools.some(({ name }) => name === tool.name));
  return { tools: allowed, tool_choice: { kind: choice.mode }, parallel_tool_calls };
}

/** What a model calls a tool of a namespace: most forms of calls know one name and no dots. */
export function flatName(namespace: string | null | undefined, name: string): string {
  return namespace ? `${namespace}__${name}` : name;
}

export interface CalledTool {
  readonly name: string;
  readonly namespace?: string;
}

/** The names by which its caller knows a tool. */
export function calledAs(tools: readonly ResponseTool[], flat: string): CalledTool {
  for (const tool of tools) {
    if (tool.type !== "namespace") continue;
    const found = tool.tools.find(({ name }) => flatName(tool.name, name) === flat);
    if (found !== undefined) return { name: found.name, namespace: tool.name };
  }
  return { name: flat };
}

/** Whether a tool takes a text, and no JSON. */
export function isCustom(tools: readonly ResponseTool[], name: string): boolean {
  return tools.some((tool) => tool.type === "custom" && tool.name === name);
}

/** With what was left unsaid. */
export function toolInFull(tool: ResponseTool): object {
  if (tool.type === "namespace") return { ...tool, tools: tool.tools.map(toolInFull) };
  if (tool.type === "custom") return { ...tool, format: tool.format ?? { type: "text" } };
  const { name, description, parameters, strict } = tool;
  const told = { description: description ?? null, parameters: parameters ?? null, strict: strict ?? false };
  return { type: "function", name, ...told };
}

interface PlacedTool {
  readonly tool: ToolDefinition;
  readonly place: string;
}

function definitionsOf(tool: ResponseTool, place: string): PlacedTool[] {
  if (tool.type === "function") return [{ tool: definitionOf(tool), place }];
  if (tool.type === "custom") {
    const { name, description, format } = tool;
    const grammar = format?.type === "grammar" ? format : null;
    return [{ tool: customDefinition(name, description ?? null, grammar), place }];
  }
  return tool.tools.map((inner, index) => {
    const description = [tool.description, inner.description ?? ""].filter((text) => text !== "").join(" ");
    const definition = { ...definitionOf(inner), name: flatName(tool.name, inner.name), description };
    return { tool: definition, place: `${place}.tools[${index}]` };
  });
}

function definitionOf({ name, description, parameters, strict }: Static<typeof functionTool>): ToolDefinition {
  return { name, description: description ?? null, parameters: parameters ?? NO_PARAMETERS, strict: strict ?? false };
}
