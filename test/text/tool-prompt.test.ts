/** Chats with tools: what templates are given that know of tools, and those that do not. */

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Message } from "../../src/core/generation.ts";
import { ChatTemplate } from "../../src/text/chat-template.ts";
import { templateChat } from "../../src/text/tool-prompt.ts";

const TEMPLATES = join(import.meta.dir, "../../../shared/data/chat-templates/templates");
const CITY = { type: "object", properties: { city: { type: "string", description: "Its name" } }, required: ["city"] };
const WEATHER = { name: "get_weather", description: "Tells the weather", parameters: CITY };
const TOOLS = [{ ...WEATHER, strict: false }];
const CALL = { id: "call00001", name: "get_weather", arguments: '{"city": "Oslo"}' };
const CHAT: readonly Message[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "How is it in Oslo?" },
  { role: "assistant", content: "", reasoning: null, tool_calls: [CALL] },
  { role: "tool", content: '{"sky": "clear"}', tool_call_id: "call00001" },
];

test("a template that knows tools gets them, the calls as values and the results with the name of their tool", () => {
  const { messages, tools } = templateChat(CHAT, TOOLS, true);
  expect(tools).toEqual([{ type: "function", function: WEATHER }]);
  const call = { id: "call00001", type: "function", function: { name: "get_weather", arguments: { city: "Oslo" } } };
  expect(messages[2]).toEqual({ role: "assistant", content: "", tool_calls: [call] });
  expect(messages[3]).toMatchObject({ ...CHAT[3], name: "get_weather" });
});

test("a template that knows none is told of them in the messages, whose roles take turns", () => {
  const again: Message = { role: "tool", content: "1", tool_call_id: "b" };
  const { messages, tools } = templateChat([...CHAT, again], TOOLS, false);
  expect(tools).toBeNull();
  expect(messages).toEqual([
    { role: "system", content: expect.stringMatching(/<tools>\n.*"get_weather".*\n<\/tools>[\s\S]*Be brief\.$/) },
    { role: "user", content: "How is it in Oslo?" },
    { role: "assistant", content: '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>' },
    {
      role: "user",
      content: '<tool_response>\n{"sky": "clear"}\n</tool_response>\n\n<tool_response>\n1\n</tool_response>',
    },
  ]);
  expect(templateChat([{ role: "user", content: "x" }], [], false).messages).toEqual([{ role: "user", content: "x" }]);
});

/** Templates that print no tools, each with its reason. */
const SILENT: Readonly<Record<string, string>> = {
  "002_fireworks-ai-llama-3-firefunction-v2.jinja": "wants a variable of its own, functions, and a date",
  "018_Kimi-K2-Instruct.jinja": "changes a list, which Jinja2's sandbox refuses too",
  "019_Kimi-K2-Thinking.jinja": "changes a list, which Jinja2's sandbox refuses too",
  "023_MiroThinker.jinja": "uses a variable that it has not set, which Jinja2 refuses too",
  "039_fireworks-ai-llama-3-firefunction-v2.jinja": "wants a variable of its own, functions, and a date",
  "040_google-gemma-2-2b-it.jinja": "takes no system message",
};
const NAMED = new Map([
  ["bos_token", "<s>"],
  ["eos_token", "</s>"],
]);

describe.skipIf(!existsSync(TEMPLATES))("real templates", () => {
  test("print a tool and its result, but for those that are listed", () => {
    const silent = readdirSync(TEMPLATES)
      .sort()
      .filter((name) => {
        const template = new ChatTemplate(readFileSync(join(TEMPLATES, name), "utf8"), NAMED);
        const { messages, tools } = templateChat(CHAT, TOOLS, template.knows("tools"));
        try {
          const text = template.render(messages, new Date(0), { tools });
          return !(text.includes("Tells the weather") && text.includes("Oslo") && text.includes("clear"));
        } catch {
          return true;
        }
      });
    expect(silent).toEqual(Object.keys(SILENT));
  });
});
