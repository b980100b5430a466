/** Published answers of models: what they hold, and that it does not depend on how the text comes. */

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ToolDefinition } from "../../../src/core/generation.ts";
import { formatOf } from "../../../src/text/answer/formats.ts";
import type { AnswerOptions } from "../../../src/text/answer/segments.ts";
import { openThought, thoughtMarksOf } from "../../../src/text/answer/thoughts.ts";
import { ChatTemplate } from "../../../src/text/chat-template.ts";
import { parsed, piecesOf } from "./samples.ts";

const SHARED = join(import.meta.dir, "../../../../shared/data");
const CASES = join(SHARED, "tool-calls/cases.jsonl");
const TEMPLATES = join(SHARED, "chat-templates/templates");

interface Case {
  readonly template: string;
  readonly source_line: number;
  readonly input: string;
  readonly tools: readonly { name: string; description?: string; parameters: Record<string, unknown> }[] | null;
  readonly reasoning_format: string;
  readonly enable_thinking: boolean | null;
  readonly expect: {
    readonly content: string;
    readonly reasoning: string;
    readonly tool_calls: readonly { name: string; arguments: string; id: string }[];
  };
}

/** What we answer otherwise, each with its reason. */
const DIFFERENT: Readonly<Record<string, string>> = {
  "LFM2-8B-A1B.jinja:3688":
    "the call is Python, where backslash n in a string is a line end, as readers by Python's own grammar have it",
};

/** Templates that are not among the shared ones: what they say of answers. */
const STAND_INS: Readonly<Record<string, string>> = {
  "MiniMax-M2.jinja": "]~b]ai\n{{ '<think>\n' }}{# calls: <minimax:tool_call> #}",
};

const titleOf = ({ template, source_line }: Case) => `${template}:${source_line}`;

function optionsOf({ template, tools, reasoning_format, enable_thinking }: Case): AnswerOptions {
  const source = STAND_INS[template] ?? readTemplate(template);
  const thoughts = thoughtMarksOf(source);
  const definitions: ToolDefinition[] = (tools ?? []).map(({ name, description, parameters }) => {
    return { name, description: description ?? null, parameters, strict: false };
  });
  const prompt = new ChatTemplate(source, new Map()).render([{ role: "user", content: "Hi" }], new Date(0), {
    tools: (tools ?? []).map((tool) => ({ type: "function", function: tool })),
    ...(enable_thinking === null ? {} : { enable_thinking }),
  });
  return {
    format: formatOf(source),
    thoughts,
    open_thought: openThought(prompt, thoughts),
    tools: definitions,
    reads_calls: true,
    parts_reasoning: reasoning_format !== "none",
  };
}

function readTemplate(name: string): string {
  const file = readdirSync(TEMPLATES).find((each) => each.endsWith(`_${name}`));
  return readFileSync(join(TEMPLATES, file ?? name), "utf8");
}

/** Complete arguments by value, cut ones by their text. */
function comparable(text: string): unknown {
  try {
    return JSON.parse(text === "" ? '""' : text);
  } catch {
    return text.trim();
  }
}

describe.skipIf(!existsSync(CASES))("published answers", () => {
  const cases: Case[] = readFileSync(CASES, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

  test("hold the content, reasoning and calls that their authors say, but for those that are listed", () => {
    const wrong: unknown[] = [];
    for (const each of cases) {
      const { content, reasoning, tool_calls, reports } = parsed(optionsOf(each), [each.input]);
      const ours = {
        content,
        reasoning,
        tool_calls: tool_calls.map((call) => ({ ...call, arguments: comparable(call.arguments), id: call.id ?? "" })),
      };
      const theirs = {
        ...each.expect,
        tool_calls: each.expect.tool_calls.map((call) => ({ ...call, arguments: comparable(call.arguments) })),
      };
      if (!Bun.deepEquals(ours, theirs)) wrong.push({ title: titleOf(each), input: each.input, ours, theirs, reports });
    }
    const unlisted = wrong.filter((each) => !((each as { title: string }).title in DIFFERENT));
    expect(unlisted).toEqual([]);
    expect(wrong.length).toBe(Object.keys(DIFFERENT).length);
  });

  test("are the same wherever their text is cut", () => {
    for (const each of cases) {
      const options = optionsOf(each);
      const whole = parsed(options, [each.input]);
      const points = Array.from(each.input);
      const cuts = points.map((_, at) => [points.slice(0, at).join(""), points.slice(at).join("")]);
      const ways = [...cuts, ...[1, 3, 7].map((length) => piecesOf(each.input, length))];
      for (const pieces of ways) expect({ pieces, ...parsed(options, pieces) }).toEqual({ pieces, ...whole });
    }
  }, 60_000);
});
