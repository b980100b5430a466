/** Answers that have a form, from the default model through the front door, drawn at temperature 1. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import OpenAI, { BadRequestError } from "openai";
import { ROOT } from "../root.ts";
import { MODEL, Served } from "../served.ts";

const ANSWERS = 20;
/** `scripts/schemas.ts` asks for many answers of each of them. */
const SAMPLE = join(ROOT, "../shared/data/json-schema/sample.jsonl");

let server: Served;
let client: OpenAI;

beforeAll(async () => {
  server = await Served.start([], { variables: { BUNSEN_DRAFT_TOKENS_MAX: "4" } });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
}, 120_000);

afterAll(async () => {
  expect(await server.stop()).toBe(0);
});

const PERSON = {
  type: "object",
  properties: {
    name: { type: "string", minLength: 1, maxLength: 20 },
    age: { type: "integer", minimum: 18, maximum: 99 },
    role: { enum: ["admin", "guest"] },
    tags: { type: "array", items: { type: "string", pattern: "^[a-z]{2,8}$" }, minItems: 1, maxItems: 3 },
  },
  required: ["name", "age", "role", "tags"],
  additionalProperties: false,
};
const TREE = {
  $defs: {
    node: {
      type: "object",
      properties: {
        weight: { type: "number", multipleOf: 0.5, minimum: 0, maximum: 9 },
        next: { type: "array", items: { $ref: "#/$defs/node" }, maxItems: 1 },
      },
      required: ["weight", "next"],
      additionalProperties: false,
    },
  },
  $ref: "#/$defs/node",
};
const SHAPE = {
  oneOf: [
    {
      type: "object",
      properties: { kind: { const: "circle" }, radius: { type: "number", exclusiveMinimum: 0 } },
      required: ["kind", "radius"],
      additionalProperties: false,
    },
    {
      type: "object",
      properties: { kind: { const: "date" }, on: { type: "string", format: "date" } },
      required: ["kind", "on"],
      additionalProperties: false,
    },
  ],
};

type Extra = Record<string, unknown>;

async function answers(extra: Extra, seed: number, count = ANSWERS, tokens_max = 120) {
  const asked = {
    model: MODEL,
    messages: [{ role: "user" as const, content: "Tell me of yourself, as JSON." }],
    temperature: 1,
    n: Math.min(count, 10),
    max_tokens: tokens_max,
    seed,
    ...extra,
  };
  const rounds = Array.from({ length: Math.ceil(count / 10) }, (_, round) =>
    client.chat.completions.create({ ...asked, seed: seed + round * 1000 }),
  );
  return (await Promise.all(rounds)).flatMap(({ choices }) => choices);
}

const format = (schema: unknown) => ({
  response_format: { type: "json_schema", json_schema: { name: "answer", strict: true, schema } },
});

describe("an answer with a schema", () => {
  test.each([
    ["a record", PERSON],
    ["a tree by references", TREE],
    ["one of two", SHAPE],
  ])(
    "%s: satisfies it whenever it ends by itself",
    async (_, schema) => {
      const validate = new Ajv2020({ strict: false, validateFormats: false, multipleOfPrecision: 6 }).compile(schema);
      const all = await answers(format(schema), 11);
      const ended = all.filter(({ finish_reason }) => finish_reason === "stop");
      for (const { message } of ended) {
        const value = JSON.parse(message.content ?? "");
        expect(validate(value), JSON.stringify([value, validate.errors])).toBe(true);
      }
      expect(ended.length).toBeGreaterThan(0);
      expect(all.every(({ finish_reason }) => finish_reason === "stop" || finish_reason === "length")).toBe(true);
    },
    120_000,
  );

  test.skipIf(!existsSync(SAMPLE))(
    "of a published sample satisfies it, or the schema is refused",
    async () => {
      for (const [place, line] of readFileSync(SAMPLE, "utf8").split("\n").slice(0, 6).entries()) {
        const { schema } = JSON.parse(line);
        const all = await answers(format(schema), place, 2, 300).catch((error: unknown) => {
          expect(error).toBeInstanceOf(BadRequestError);
          return [];
        });
        const validate = new Ajv2020({ strict: false, validateFormats: false, logger: false }).compile({
          ...schema,
          $schema: undefined,
        });
        for (const { message, finish_reason } of all) {
          if (finish_reason === "stop") expect(validate(JSON.parse(message.content ?? ""))).toBe(true);
        }
      }
    },
    120_000,
  );

  test("greedy, with penalties, log probabilities and a stop text it is still of its form", async () => {
    const validate = new Ajv2020({ strict: false }).compile(PERSON);
    const [choice] = await answers(
      {
        ...format(PERSON),
        temperature: 0,
        frequency_penalty: 1,
        logprobs: true,
        top_logprobs: 2,
        stop: ["\u0001"],
        n: 1,
      },
      3,
      1,
    );
    expect(choice?.finish_reason).toBe("stop");
    expect(validate(JSON.parse(choice?.message.content ?? ""))).toBe(true);
    const told = choice?.logprobs?.content ?? [];
    expect(told.map(({ token }) => token).join("")).toBe(choice?.message.content ?? "");
  }, 60_000);

  test("the same seed gives the same answer", async () => {
    const [first, second] = await Promise.all([answers(format(PERSON), 5, 3), answers(format(PERSON), 5, 3)]);
    expect(first.map(({ message }) => message.content)).toEqual(second.map(({ message }) => message.content));
  }, 60_000);

  test("what is cut at its most tokens says so", async () => {
    const [choice] = await answers(format(PERSON), 1, 1, 5);
    expect(choice?.finish_reason).toBe("length");
  }, 60_000);

  test("does not change what other rows draw", async () => {
    const plain = {
      model: MODEL,
      messages: [{ role: "user" as const, content: "Count to five." }],
      temperature: 1,
      seed: 9,
      max_tokens: 24,
    };
    const alone = await client.chat.completions.create(plain);
    const [beside] = await Promise.all([client.chat.completions.create(plain), answers(format(PERSON), 2, 4)]);
    expect(beside.choices[0]?.message.content).toBe(alone.choices[0]?.message.content ?? "");
  }, 60_000);
});

describe("other forms", () => {
  test("a JSON object", async () => {
    const all = await answers({ response_format: { type: "json_object" } }, 21, 10);
    for (const { finish_reason, message } of all) {
      if (finish_reason !== "stop") continue;
      const value = JSON.parse(message.content ?? "");
      expect(typeof value === "object" && value !== null && !Array.isArray(value)).toBe(true);
    }
  }, 60_000);

  test("an expression, a choice and a grammar", async () => {
    const [dates, moods, sums] = await Promise.all([
      answers({ structured_outputs: { regex: "\\d{4}-\\d{2}(?:-\\d{2})?" } }, 31, 5),
      answers({ guided_choice: ["good", "bad", "neither nor"] }, 32, 5),
      answers({ guided_grammar: 'root ::= sum "=" [0-9]{1,3}\nsum ::= "(" sum ")" | [0-9] ("+" [0-9])?' }, 33, 5),
    ]);
    for (const { message } of dates) expect(message.content).toMatch(/^\d{4}-\d{2}(?:-\d{2})?$/);
    for (const { message } of moods) expect(["good", "bad", "neither nor"]).toContain(message.content ?? "");
    for (const { message, finish_reason } of sums) {
      if (finish_reason === "stop") expect(message.content).toMatch(/^\(*\d(\+\d)?\)*=\d{1,3}$/);
    }
  }, 60_000);

  test("in a raw completion", async () => {
    const asked = { model: MODEL, prompt: "The sky is", structured_outputs: { choice: [" blue", " red"] } };
    const { choices } = await client.completions.create(asked as OpenAI.CompletionCreateParamsNonStreaming);
    expect([" blue", " red"]).toContain(choices[0]?.text ?? "");
  }, 60_000);
});

describe("calls", () => {
  const tool = (name: string, parameters: Record<string, unknown>) =>
    ({ type: "function", function: { name, parameters } }) as const;
  const tools = [tool("add_person", PERSON), tool("draw", SHAPE)];
  const asked = (extra: object) => ({
    model: MODEL,
    messages: [{ role: "user", content: "Add Ada, who is 36, and draw something." } as const],
    tools,
    max_completion_tokens: 160,
    temperature: 1,
    ...extra,
  });

  test("that are required have arguments that their schemas allow", async () => {
    for (const seed of [1, 2]) {
      const extra = { tool_choice: "required", seed } as const;
      const [choice] = (await client.chat.completions.create(asked(extra))).choices;
      const calls = (choice?.message.tool_calls ?? []).filter((call) => call.type === "function");
      expect(calls.length).toBeGreaterThan(0);
      expect(choice?.message.content).toBeNull();
      const ended = choice?.finish_reason === "tool_calls" ? calls : calls.slice(0, -1);
      for (const { function: called } of ended) {
        const schema = called.name === "draw" ? SHAPE : PERSON;
        expect(new Ajv2020({ strict: false }).validate(schema, JSON.parse(called.arguments))).toBe(true);
      }
    }
  }, 60_000);

  test("of one named tool are one call of that tool", async () => {
    const named = { type: "function", function: { name: "add_person" } } as const;
    const extra = { tool_choice: named, max_completion_tokens: null, seed: 4 };
    const [choice] = (await client.chat.completions.create(asked(extra))).choices;
    const calls = (choice?.message.tool_calls ?? []).filter((call) => call.type === "function");
    expect(calls.map((call) => call.function.name)).toEqual(["add_person"]);
    expect(choice?.finish_reason).toBe("tool_calls");
  }, 60_000);
});

describe("refused with the keyword and its place", () => {
  test.each([
    [format({ properties: { a: { unevaluatedProperties: false } } }), '"unevaluatedProperties" at /properties/a'],
    [format({ type: "string", pattern: "(?=a)b" }), '"pattern" at its root'],
    [format({ $ref: "https://example.com/other" }), "names nothing in it"],
    [format({ type: "string", minLength: 3, maxLength: 2 }), "no value that the model can write"],
    [{ guided_regex: "(a" }, '"(" has no end'],
    [{ guided_grammar: "root ::= root" }, 'the rule "root" begins with itself'],
    [{ guided_choice: ["a"], guided_regex: "b" }, "expected one form"],
  ])(
    "%j",
    async (extra, message) => {
      const error = await answers(extra, 1, 1).then(
        () => null,
        (caught: unknown) => caught,
      );
      expect(error).toBeInstanceOf(BadRequestError);
      expect((error as BadRequestError).message).toContain(message);
      expect((error as BadRequestError).param).toMatch(/^(response_format|guided_|structured)/);
    },
    30_000,
  );
});
