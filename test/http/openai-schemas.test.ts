/** Every body and chunk against the schemas that OpenAI publishes for its API. */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { Failure } from "../../src/core/failure.ts";
import { ROOT } from "../root.ts";
import { failing, readEvents, type Script, ScriptedBackend, saying, serverOf, USAGE } from "./scripted-backend.ts";

const FILE = join(ROOT, "../shared/data/api-specs/openai_schemas_subset.json");
const HI = { model: "tiny", messages: [{ role: "user", content: "hi" }] };
const SAY = { model: "tiny", prompt: "Say" };

interface Logged {
  choices: { logprobs: { content: object[] } | null }[];
}

describe.skipIf(!existsSync(FILE))("OpenAI's own schema of", () => {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  if (existsSync(FILE)) ajv.addSchema(JSON.parse(readFileSync(FILE, "utf8")), "openai");

  /** What the schema finds wrong; empty when nothing. */
  function faults(name: string, value: unknown): string {
    const validate = ajv.getSchema(`openai#/components/schemas/${name}`);
    if (validate === undefined) throw new Error(`There is no schema ${name}`);
    return validate(value) === true ? "" : ajv.errorsText(validate.errors);
  }

  const server = (script?: Script) => serverOf(new ScriptedBackend(script));

  /** Without any one of its required properties the value must fail, or the schema sees nothing. */
  function expectValid(name: string, value: unknown, required: readonly string[]) {
    expect(faults(name, value)).toBe("");
    for (const key of required) {
      const { [key]: _, ...rest } = value as Record<string, unknown>;
      expect(faults(name, rest)).toContain(`'${key}'`);
    }
  }

  test.each([
    ["CreateChatCompletionRequest", "/v1/chat/completions", HI, ["seed", "prediction"]],
    ["CreateCompletionRequest", "/v1/completions", SAY, ["suffix", "best_of"]],
  ])("%s has no parameter that is unknown here", async (name, path, body, some) => {
    const names = parametersOf(name);
    expect(names).toEqual(expect.arrayContaining(some));
    for (const parameter of names) {
      const refused = await server().post(path, { ...body, [parameter]: { odd: 1 } });
      expect(`${parameter} ${refused.status}`).toBe(`${parameter} 400`);
      const { detail } = (await refused.json()) as { detail: string };
      expect(detail).not.toBe(`Cannot use "${parameter}": there is no such parameter`);
    }
  });

  function parametersOf(name: string): readonly string[] {
    const { schemas } = JSON.parse(readFileSync(FILE, "utf8")).components;
    const own = schemas[name];
    const inherited = (own.allOf ?? []).flatMap((part: { $ref?: string; properties?: object }) =>
      part.$ref === undefined ? Object.keys(part.properties ?? {}) : parametersOf(part.$ref.split("/").at(-1) ?? ""),
    );
    return [...inherited, ...Object.keys(own.properties ?? {})];
  }

  test("a chat completion", async () => {
    const body = await (await server().post("/v1/chat/completions", HI)).json();
    expectValid("CreateChatCompletionResponse", body, ["choices", "created", "id", "model", "object"]);
  });

  test("a completion", async () => {
    const body = await (await server().post("/v1/completions", SAY)).json();
    expectValid("CreateCompletionResponse", body, ["choices", "created", "id", "model", "object"]);
  });

  test("answers with choices and log probabilities", async () => {
    const chat = { ...HI, n: 2, logprobs: true, top_logprobs: 2 };
    const { post } = server(saying);
    const body = (await (await post("/v1/chat/completions", chat)).json()) as Logged;
    expectValid("CreateChatCompletionResponse", body, ["choices"]);
    expect(body.choices[1]?.logprobs?.content).toHaveLength(2);
    const completion = { ...SAY, n: 2, logprobs: 2, prompt: ["a", "b"] };
    expectValid("CreateCompletionResponse", await (await post("/v1/completions", completion)).json(), ["choices"]);
    for (const chunk of (await readEvents(await post("/v1/chat/completions", { ...chat, stream: true }))).slice(
      0,
      -1,
    )) {
      expectValid("CreateChatCompletionStreamResponse", chunk, ["choices"]);
    }
  });

  test("the chunks of a chat", async () => {
    const body = { ...HI, stream: true, stream_options: { include_usage: true } };
    const chunks = (await readEvents(await server().post("/v1/chat/completions", body))).slice(0, -1);
    expect(chunks).toHaveLength(5);
    for (const chunk of chunks) expectValid("CreateChatCompletionStreamResponse", chunk, ["choices", "id", "object"]);
  });

  test("the chunks of a completion, which have the form of a whole one", async () => {
    const chunks = (await readEvents(await server().post("/v1/completions", { ...SAY, stream: true }))).slice(0, -1);
    expect(chunks).toHaveLength(3);
    for (const chunk of chunks as { choices: { finish_reason: string | null }[] }[]) {
      // OpenAI's schema knows only the last chunk; before it the API sends null, as we do.
      const choices = chunk.choices.map((choice) => ({ ...choice, finish_reason: choice.finish_reason ?? "stop" }));
      expectValid("CreateCompletionResponse", { ...chunk, choices }, ["choices", "id", "object"]);
    }
  });

  test("calls, whole and streamed, with what was predicted in the usage", async () => {
    const call = { kind: "call", choice: 0 } as const;
    const script: Script = async function* () {
      yield { kind: "start", prompt_tokens: 5 };
      yield { kind: "reasoning", choice: 0, text: "hm" };
      for (const index of [0, 1]) {
        yield { ...call, index, id: `call_${index}`, name: "look" };
        for (const text of ['{"a"', ":1}"]) yield { kind: "arguments", choice: 0, index, text };
      }
      yield { kind: "finish", choice: 0, reason: "tool_calls", stop_text: null };
      yield { kind: "end", usage: { ...USAGE, predicted: { accepted_tokens: 2, rejected_tokens: 1 } } };
    };
    const tools = [{ type: "function", function: { name: "look", parameters: { type: "object" } } }];
    const asked = { ...HI, tools, prediction: { type: "content", content: [{ type: "text", text: "x" }] } };
    expect(faults("CreateChatCompletionRequest", asked)).toBe("");
    const { post } = server(script);
    const body = (await (await post("/v1/chat/completions", asked)).json()) as {
      usage: { completion_tokens_details: object };
    };
    expectValid("CreateChatCompletionResponse", body, ["choices"]);
    expectValid("CompletionUsage", body.usage, ["prompt_tokens", "completion_tokens", "total_tokens"]);
    const details = { accepted_prediction_tokens: 2, rejected_prediction_tokens: 1 };
    expect(body.usage.completion_tokens_details).toMatchObject(details);
    const streamed = { ...asked, stream: true, stream_options: { include_usage: true } };
    const chunks = (await readEvents(await post("/v1/chat/completions", streamed))).slice(0, -1);
    for (const chunk of chunks) expectValid("CreateChatCompletionStreamResponse", chunk, ["choices", "id", "object"]);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens_details: details } });
  });

  test("vectors, as numbers", async () => {
    const asked = { model: "tiny", input: ["a", "b"], encoding_format: "float" };
    expect(faults("CreateEmbeddingRequest", asked)).toBe("");
    const body = await (await server().post("/v1/embeddings", asked)).json();
    expectValid("CreateEmbeddingResponse", body, ["object", "data", "model", "usage"]);
  });

  test("the list of models and a model", async () => {
    const { ask } = server();
    expectValid("ListModelsResponse", await (await ask("/v1/models")).json(), ["object", "data"]);
    const model = await (await ask("/v1/models/org/name")).json();
    expectValid("Model", model, ["id", "object", "created", "owned_by"]);
  });

  test("an error, as a body and as the last event of a stream", async () => {
    const { ask, post } = server(failing(new Failure("engine", "Cannot go on: it died", "model"), 1));
    const bodies = [
      await (await ask("/nowhere")).json(),
      await (await post("/v1/chat/completions", { ...HI, temperature: 3 })).json(),
      await (await post("/v1/chat/completions", HI)).json(),
      (await readEvents(await post("/v1/chat/completions", { ...HI, stream: true }))).at(-1),
    ];
    for (const body of bodies) {
      expectValid("ErrorResponse", body, ["error"]);
      expectValid("Error", (body as { error: unknown }).error, ["type", "message", "param", "code"]);
    }
  });

  test("a request: what it allows of our parameters we take", async () => {
    const shared = [
      { temperature: null, top_p: null, max_tokens: null, stop: null, stream: null, seed: null, stream_options: null },
      { temperature: 0, top_p: 0 },
      { temperature: 2, top_p: 1, seed: -1 },
      { stop: "x" },
      { stop: ["a", "b", "c", "d"] },
      { stream: true, stream_options: { include_usage: true } },
      { stream: true, stream_options: {} },
      { max_tokens: 1 },
      { n: 2, presence_penalty: -2, frequency_penalty: 2, logit_bias: { 5: -100 } },
      { n: null, presence_penalty: null, frequency_penalty: null, logit_bias: null, logprobs: null },
    ];
    const roles = ["system", "developer", "user", "assistant"];
    const text = [{ type: "text", text: "x" }];
    const chats = roles
      .flatMap((role) => [
        { role, content: "x" },
        { role, content: text },
      ])
      .map((m) => ({ messages: [m] }));
    const prompts = ["", [5], ["a", "b"], [[1, 2], [3]]].map((prompt) => ({ prompt }));
    const completions = [...prompts, { logprobs: 5 }, { echo: true }, { best_of: 3, n: 2 }];
    const cases: [string, string, object[]][] = [
      [
        "CreateChatCompletionRequest",
        "/v1/chat/completions",
        [...shared, ...chats, { logprobs: true, top_logprobs: 20 }].map((more) => ({ ...HI, ...more })),
      ],
      ["CreateCompletionRequest", "/v1/completions", [...shared, ...completions].map((more) => ({ ...SAY, ...more }))],
    ];
    for (const [schema, path, bodies] of cases) {
      for (const body of bodies) {
        expect(`${JSON.stringify(body)} ${faults(schema, body)}`).toEndWith(" ");
        const response = await server(saying).post(path, body);
        expect(`${JSON.stringify(body)} ${response.status}`).toEndWith(" 200");
        await response.text();
      }
    }
  });
});
