/** Every parameter, block and tool that the types of Anthropic's own client name: each is honoured or refused by its name. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../root.ts";
import { ScriptedBackend, serverOf } from "./scripted-backend.ts";

const PATH = "/v1/messages";
const HI = { model: "tiny", max_tokens: 64, messages: [{ role: "user", content: "hi" }] };
const TYPES = ["messages", "beta/messages"].map((folder) => {
  const file = `node_modules/@anthropic-ai/sdk/resources/${folder}/messages.d.ts`;
  return readFileSync(join(ROOT, file), "utf8").replace(/\/\*\*[\s\S]*?\*\//g, "");
});
const [PLAIN = "", BETA = ""] = TYPES;

/** The names of an interface's properties. */
function propertiesOf(types: string, name: string, only_required = false): string[] {
  const [, inner = ""] = new RegExp(`export interface ${name} \\{(.*?)\\n\\}`, "s").exec(types) ?? [];
  const names = [...inner.matchAll(/^ {4}(\w+)(\??):/gm)];
  return names.filter(([, , mark]) => !(only_required && mark === "?")).map(([, name = ""]) => name);
}

/** The values that `type` may have in the members of a union. */
function tagsOf(types: string, union: string): string[] {
  const [, members = ""] = new RegExp(`export type ${union} = ([^;]+);`).exec(types) ?? [];
  return members.split("|").flatMap((name) => {
    const [, inner = ""] = new RegExp(`export interface ${name.trim()} \\{(.*?)\\n\\}`, "s").exec(types) ?? [];
    const [, values = ""] = /^ {4}type\??: ([^;]+);/m.exec(inner) ?? [];
    return [...values.matchAll(/'([^']+)'/g)].map(([, value = ""]) => value);
  });
}

async function answerTo(body: object, path = PATH): Promise<string> {
  const response = await serverOf(new ScriptedBackend()).post(path, { ...HI, ...body });
  const { error } = (await response.json()) as { error?: { message: string } };
  return `${response.status} ${error?.message ?? ""}`.trim();
}

describe("known and never ignored is", () => {
  const parameters = new Set(TYPES.flatMap((types) => propertiesOf(types, "MessageCreateParamsBase")));
  parameters.delete("betas"); // the client makes a header of it
  test("each parameter", async () => {
    expect(parameters.size).toBeGreaterThan(25);
    for (const name of parameters) {
      const refused = await answerTo({ [name]: { odd: 1 } });
      expect(refused).toMatch(new RegExp(`^400 Cannot use .*"${name}`));
      expect(refused).not.toContain(`"${name}": there is no such parameter`);
    }
  });

  const text = { type: "text", text: "x" };
  const image = { type: "image", source: { type: "url", url: "https://example.com/a.png" } };
  const mark = { cache_control: { type: "ephemeral", ttl: "1h" } };
  const HONOURED: Readonly<Record<string, { readonly block: object; readonly role: "user" | "assistant" }>> = {
    text: { role: "user", block: { ...text, ...mark, citations: [] } },
    image: { role: "user", block: { ...image, ...mark } },
    document: {
      role: "user",
      block: { type: "document", source: { type: "content", content: [text, image] }, title: "T", ...mark },
    },
    search_result: {
      role: "user",
      block: { type: "search_result", source: "s", title: "t", content: [text], ...mark },
    },
    thinking: { role: "assistant", block: { type: "thinking", thinking: "hm", signature: "" } },
    redacted_thinking: { role: "assistant", block: { type: "redacted_thinking", data: "x" } },
    tool_use: { role: "assistant", block: { type: "tool_use", id: "a", name: "f", input: {}, ...mark } },
    tool_result: { role: "user", block: { type: "tool_result", tool_use_id: "a", content: [text, image], ...mark } },
  };
  const called = { role: "assistant", content: [HONOURED["tool_use"]?.block] };
  const blocks = new Set([...tagsOf(PLAIN, "ContentBlockParam"), ...tagsOf(BETA, "BetaContentBlockParam")]);
  test.each([...blocks])("a block of the type %s", async (type) => {
    const honoured = HONOURED[type];
    if (honoured !== undefined) {
      const turn = { role: honoured.role, content: [honoured.block] };
      const talk = [...HI.messages, ...(type === "tool_result" ? [called] : []), turn, ...HI.messages];
      return expect(await answerTo({ messages: talk })).toBe("200");
    }
    for (const role of ["user", "assistant"]) {
      const refused = await answerTo({ messages: [{ role, content: [{ type }] }] });
      expect(refused).toStartWith(`400 Cannot use "messages[0].content[0].type": "${type}" is not supported yet`);
    }
  });

  test.each([...new Set([...tagsOf(PLAIN, "ToolUnion"), ...tagsOf(BETA, "BetaToolUnion")])])(
    "a tool of the type %s",
    async (type) => {
      const answer = await answerTo({ tools: [{ type, name: "f", input_schema: { type: "object" } }] });
      const refused = `400 Cannot use "tools[0].type": "${type}" is not supported yet, expected "custom"`;
      expect(answer).toBe(type === "custom" ? "200" : refused);
    },
  );
});

test("an answer has what the client's types want of it, whole and in its stream", async () => {
  const { post } = serverOf(new ScriptedBackend());
  const whole = (await (await post(PATH, HI)).json()) as Record<string, object>;
  expect(Object.keys(whole)).toEqual(expect.arrayContaining(propertiesOf(PLAIN, "Message", true)));
  expect(Object.keys(whole["usage"] ?? {})).toEqual(expect.arrayContaining(propertiesOf(PLAIN, "Usage", true)));
  const stream = await (await post(PATH, { ...HI, stream: true })).text();
  const events = [...stream.matchAll(/^data: (.*)$/gm)].map(([, data = ""]) => JSON.parse(data));
  expect(Object.keys(events[0].message)).toEqual(expect.arrayContaining(propertiesOf(PLAIN, "Message", true)));
  const delta = events.at(-2);
  expect(Object.keys(delta.usage)).toEqual(expect.arrayContaining(propertiesOf(PLAIN, "MessageDeltaUsage", true)));
  expect(Object.keys(delta.delta).sort()).toEqual(["container", "stop_details", "stop_reason", "stop_sequence"]);
});

describe("what a user and a tool show is told to the model", () => {
  const messagesOf = async (messages: object[], more: object = {}) => {
    const backend = new ScriptedBackend();
    const response = await serverOf(backend).post(PATH, { ...HI, ...more, messages });
    expect(response.status).toBe(200);
    const { prompt } = backend.last;
    return prompt.kind === "messages" ? prompt.messages : [];
  };
  const url = "https://example.com/a.png";
  const image = { type: "image", source: { type: "url", url } };
  const document = {
    type: "document",
    source: { type: "text", media_type: "text/plain", data: "Fish swim." },
    title: "Fish",
    context: "A book",
  };

  test("a document and what was found, between tags", async () => {
    const found = {
      type: "search_result",
      source: "s.org",
      title: "S",
      content: [{ type: "text", text: "Birds fly." }],
    };
    const content = [document, found, { type: "text", text: "Who swims?" }];
    expect(await messagesOf([{ role: "user", content }])).toEqual([
      {
        role: "user",
        content:
          "<document>\n<title>Fish</title>\n<context>A book</context>\nFish swim.\n</document>\n\n" +
          "<search_result>\n<title>S</title>\n<source>s.org</source>\nBirds fly.\n</search_result>\n\nWho swims?",
      },
    ]);
  });

  test("a picture in a result, and in a document, where it stands", async () => {
    const call = { role: "assistant", content: [{ type: "tool_use", id: "a", name: "f", input: {} }] };
    const text = { type: "text", text: "See" };
    const inner = { type: "document", source: { type: "content", content: [text, image] } };
    const result = { type: "tool_result", tool_use_id: "a", is_error: true, content: [text, image, inner] };
    const [, , told] = await messagesOf([...HI.messages, call, { role: "user", content: [result] }]);
    const content = "Error: See\n\n<document>\nSee\n</document>";
    const source = { kind: "url", url } as const;
    expect(told).toEqual({
      role: "tool",
      tool_call_id: "a",
      content,
      images: [
        { at: "Error: See".length, source },
        { at: content.indexOf("\n</document>"), source },
      ],
    });
  });

  test("examples of a tool's input, behind its description", async () => {
    const backend = new ScriptedBackend();
    const tool = { name: "f", description: "Does", input_schema: { type: "object" }, input_examples: [{ a: 1 }] };
    const direct = { allowed_callers: ["direct"], defer_loading: false, type: null };
    await serverOf(backend).post(PATH, { ...HI, tools: [{ ...tool, ...direct }] });
    expect(backend.last.tools[0]?.description).toBe('Does\nExample of its input: {"a":1}');
  });
});
