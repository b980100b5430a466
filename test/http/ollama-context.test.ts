/** What an answer of `/api/generate` remembers of its talk, and what is left of a chat that does not fit: by the real templates. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { scratchFolder } from "../formats/scratch.ts";
import { type ScriptedModel, scriptedModel } from "./scripted-model.ts";

// As SmolLM2's: it says something of its own where nobody says what the system does.
const TEMPLATE = `{%- if messages[0].role != "system" %}<s>You are small</s>{% endif -%}
{%- for m in messages %}<{{ m.role[0] }}>{{ m.content }}</{{ m.role[0] }}>
{% endfor -%}
{%- if add_generation_prompt %}<a>{% endif -%}`;

const FOLDER = scratchFolder();
let model: ScriptedModel;
beforeAll(() => {
  model = scriptedModel(FOLDER, TEMPLATE);
});
afterAll(async () => await model[Symbol.asyncDispose]());
beforeEach(() => {
  model.answers.length = 0;
  model.prompts.length = 0;
  model.prompt_ids.length = 0;
});

interface Told {
  readonly response: string;
  readonly context?: readonly number[];
}

async function told(body: object, path = "/api/generate"): Promise<Told> {
  const response = await model.server.post(path, { model: "tiny", stream: false, ...body });
  expect(response.status).toBe(200);
  return (await response.json()) as Told;
}

async function refusal(body: object, path = "/api/generate"): Promise<string> {
  const response = await model.server.post(path, { model: "tiny", stream: false, ...body });
  return `${response.status} ${((await response.json()) as { error: string }).error}`;
}

const chat = (...contents: readonly string[]) =>
  contents.map((content, place) => ({ role: place % 2 === 0 ? "user" : "assistant", content }));

describe("a context", () => {
  test("is the tokens of prompt and answer, in the last line of a stream too", async () => {
    model.answers.push("Paris.", "Paris.");
    const { context, response } = await told({ prompt: "Capital?" });
    expect(response).toBe("Paris.");
    const [prompt = []] = model.prompt_ids;
    expect(context?.slice(0, prompt.length)).toEqual([...prompt]);
    expect(String.fromCharCode(...(context?.slice(prompt.length) ?? []))).toBe("Paris.");
    const streamed = await model.server.post("/api/generate", { model: "tiny", prompt: "Capital?" });
    const lines = (await streamed.text())
      .trim()
      .split("\n")
      .map((line): Told => JSON.parse(line));
    expect(lines.at(-1)?.context).toEqual(context);
    expect(lines.slice(0, -1).some((line) => "context" in line)).toBeFalse();
    expect(await told({ messages: chat("Hi") }, "/api/chat")).not.toHaveProperty("context");
    expect(await told({ prompt: "Hi", raw: true })).not.toHaveProperty("context");
  });

  test("given back, the prompt goes on as in a chat of all that was said", async () => {
    model.answers.push("Paris.", "Oslo.", "Rome.");
    const first = await told({ prompt: "France?" });
    const second = await told({ prompt: "Norway?", context: first.context });
    await told({ prompt: "Italy?", context: second.context });
    await told({ messages: chat("France?", "Paris.", "Norway?", "Oslo.", "Italy?") }, "/api/chat");
    expect(model.prompts[2]).toBe(model.prompts[3] ?? "");
    expect(model.prompts[2]?.split("You are small")).toHaveLength(2);
  });

  test("has one system, which may be said again and not be another", async () => {
    model.answers.push("Yes.", "No.");
    const system = "Be brief";
    const { context } = await told({ prompt: "Is it?", system });
    await told({ prompt: "Sure?", system, context });
    await told({ messages: [{ role: "system", content: system }, ...chat("Is it?", "Yes.", "Sure?")] }, "/api/chat");
    expect(model.prompts[1]).toBe(model.prompts[2] ?? "");
    const other = await refusal({ prompt: "Sure?", system: "Be long", context });
    expect(other).toBe(
      '400 Cannot use "system": the talk of "context" did not begin with it, and it cannot be said later',
    );
  });

  test("that is no model's, or has no place, is refused", async () => {
    expect(await refusal({ prompt: "a", context: [4000] })).toContain(
      '400 Cannot use the prompt: "tiny" has 400 tokens',
    );
    expect(await refusal({ prompt: "a", context: [-1] })).toContain('400 Cannot use "context[0]"');
    expect(await refusal({ prompt: "a", context: [1], raw: true })).toContain('400 Cannot use "context"');
    expect(await refusal({ prompt: "a", context: [1], suffix: "b" })).toContain('400 Cannot use "context"');
    const long = Array.from({ length: 8192 }, () => 65);
    expect(await refusal({ prompt: "a", context: long })).toContain("400 Cannot fit the prompt");
  });
});

describe("a chat that does not fit", () => {
  const talk = Array.from({ length: 40 }, (_, place) => [`q${place} ${"x".repeat(300)}`, `a${place}`]).flat();
  const messages = [{ role: "system", content: "Be kind" }, ...chat(...talk, "Last?")];

  test("loses its oldest turns, and keeps the system's words and the last", async () => {
    for (const wish of [{}, { truncate: true }, { truncate: null }]) {
      model.prompts.length = 0;
      model.answers.push("Yes.");
      await told({ messages, ...wish }, "/api/chat");
      const [prompt = ""] = model.prompts;
      expect(prompt).toStartWith("<s>Be kind</s>\n<u>q");
      expect(prompt).toEndWith("<u>Last?</u>\n<a>");
      expect(prompt).not.toContain("q0 ");
    }
  });

  test("is refused where its caller wants that, and where the last message alone is too long", async () => {
    expect(await refusal({ messages, truncate: false }, "/api/chat")).toStartWith("400 Cannot fit the prompt");
    expect(await refusal({ messages: chat("x".repeat(9000)) }, "/api/chat")).toStartWith("400 Cannot fit the prompt");
    expect(await refusal({ prompt: "x".repeat(9000) })).toStartWith("400 Cannot fit the prompt");
    expect(await refusal({ messages, shift: true }, "/api/chat")).toContain('"shift": expected false');
  });
});
