/** Every answer of Ollama's routes, and every line of a streamed one, against the published description of its API. */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { GenerationEvent } from "../../src/core/generation.ts";
import { ROOT } from "../root.ts";
import { type Script, ScriptedBackend, said, saying, serverOf, USAGE } from "./scripted-backend.ts";

const FILE = join(ROOT, "../shared/data/api-specs/ollama_openapi.yaml");

interface Operation {
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, unknown>> }>>;
  readonly "x-codeSamples"?: readonly { readonly source: string }[];
}

interface Published {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, { readonly properties?: object }>> };
}

const PUBLISHED: Published | null = existsSync(FILE) ? (Bun.YAML.parse(readFileSync(FILE, "utf8")) as Published) : null;

interface Route {
  readonly path: string;
  readonly method: string;
  readonly operation: Operation;
}

const PATHS: readonly Route[] = Object.entries(PUBLISHED?.paths ?? {}).flatMap(([path, operations]) =>
  Object.entries(operations).map(([method, operation]) => ({ path, method, operation })),
);

const MESSAGES = [{ role: "user", content: "hi" }];
const LIKELY = { logprobs: true, top_logprobs: 1 };

/** A request or more of each route, and what its answer must have at least; the description requires nothing. */
const REQUESTS: Readonly<Record<string, { readonly bodies: readonly object[]; readonly required: readonly string[] }>> =
  {
    "/api/generate": {
      bodies: [{ prompt: "hi" }, { prompt: "hi", ...LIKELY }, { prompt: "hi", think: "low" }, {}, { keep_alive: 0 }],
      required: ["model", "created_at", "response", "done"],
    },
    "/api/chat": {
      bodies: [{ messages: MESSAGES }, { messages: MESSAGES, ...LIKELY }, { messages: [] }],
      required: ["model", "created_at", "message", "done"],
    },
    "/api/embed": {
      bodies: [{ input: "a" }, { input: ["a", "b"], truncate: false, dimensions: 3 }],
      required: ["model", "embeddings", "total_duration", "prompt_eval_count"],
    },
    "/api/tags": { bodies: [{}], required: ["models"] },
    "/api/ps": { bodies: [{}], required: ["models"] },
    "/api/show": {
      bodies: [{}, { verbose: true }],
      required: ["details", "capabilities", "modified_at", "model_info"],
    },
    "/api/pull": { bodies: [{}, { model: "org/new" }], required: ["status"] },
    "/api/version": { bodies: [{}], required: ["version"] },
  };

/** What is not done, and is said in one sentence. */
const REFUSED = ["/api/create", "/api/push"];
/** Those whose success the description leaves without a body. */
const SILENT = ["/api/copy", "/api/delete"];

async function* everything(): AsyncGenerator<GenerationEvent, void, undefined> {
  yield { kind: "start", prompt_tokens: 5 };
  yield { kind: "reasoning", choice: 0, text: "Hm" };
  yield said("Let me see");
  yield { kind: "call", choice: 0, index: 0, id: "call_0", name: "weather" };
  yield { kind: "arguments", choice: 0, index: 0, text: '{"city":"Oslo"}' };
  yield { kind: "finish", choice: 0, reason: "tool_calls", stop_text: null };
  yield { kind: "end", usage: USAGE, timing: { load_ms: 1, prompt_ms: 2.5, answer_ms: 3 }, token_ids: [1, 2] };
}

const SCRIPTS: readonly Script[] = [saying, everything];
const END = ["done_reason", "total_duration", "prompt_eval_count", "eval_count"];
/** The description has left it out since it is old; Ollama's own server still tells it. */
const OLD = new Set(["context"]);

describe.skipIf(PUBLISHED === null)("the published description", () => {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  if (PUBLISHED !== null) ajv.addSchema(PUBLISHED, "ollama");

  function expectValid(name: string, value: object, required: readonly string[]) {
    const validate = ajv.getSchema(`ollama#/components/schemas/${name}`);
    if (validate === undefined) throw new Error(`There is no schema ${name}`);
    expect(validate(value) === true ? "" : ajv.errorsText(validate.errors)).toBe("");
    const known = Object.keys(PUBLISHED?.components.schemas[name]?.properties ?? {});
    const beside = LAST[name] ?? [];
    expect(Object.keys(value).filter((key) => ![...known, ...beside, ...OLD].includes(key))).toEqual([]);
    expect(Object.keys(value)).toEqual(expect.arrayContaining([...required]));
  }

  /** The description of a line leaves out what only the last one has, and what an answer may have in each. */
  const LAST: Readonly<Record<string, readonly string[]>> = {
    ChatStreamEvent: Object.keys(PUBLISHED?.components.schemas["ChatResponse"]?.properties ?? {}),
    GenerateStreamEvent: ["logprobs"],
  };

  const schemaOf = (operation: Operation, media_type: string): string => {
    const reference = JSON.stringify(operation.responses["200"]?.content?.[media_type] ?? {});
    return /schemas\/(\w+)"/.exec(reference)?.[1] ?? "none";
  };

  async function expectAnswer(operation: Operation, response: Response, required: readonly string[]) {
    expect(response.status).toBe(200);
    const media_type = response.headers.get("content-type")?.split(";")[0] ?? "";
    const text = await response.text();
    const name = schemaOf(operation, media_type);
    if (media_type === "application/json") return expectValid(name, JSON.parse(text), required);
    const lines = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    for (const line of lines) expectValid(name, line, required);
    expect(lines.filter(({ done, status }) => done === true || status === "success")).toEqual([lines.at(-1)]);
    if ("response" in lines[0] || "message" in lines[0]) expectValid(name, lines.at(-1), [...required, ...END]);
  }

  const isRefused = ({ path }: Route) => REFUSED.includes(path);
  const isAnswered = ({ path }: Route) => ![...REFUSED, ...SILENT].includes(path);

  test.each(PATHS.filter(isRefused))("holds of the refusal of $path", async ({ path }) => {
    const response = await serverOf(new ScriptedBackend()).post(path, { model: "tiny" });
    expect(response.status).toBe(400);
    expectValid("ErrorResponse", (await response.json()) as object, ["error"]);
  });

  test("has no answer of those that tell nothing", () => {
    const silent = PATHS.filter(({ path }) => SILENT.includes(path));
    expect(silent.map(({ operation }) => operation.responses["200"]?.content)).toEqual(SILENT.map(() => undefined));
  });

  test.each(PATHS.filter(isAnswered))("holds of $path, whole and line by line", async ({ path, method, operation }) => {
    const asked = REQUESTS[path];
    if (asked === undefined) throw new Error(`Nothing is asked of ${path}`);
    const is_streamed = schemaOf(operation, "application/x-ndjson") !== "none";
    const streams = is_streamed ? [{ stream: true }, { stream: false }] : [{}];
    const bodies = asked.bodies.flatMap((body) => streams.map((stream) => ({ model: "tiny", ...body, ...stream })));
    for (const script of SCRIPTS) {
      const { ask, post } = serverOf(new ScriptedBackend(script));
      for (const body of bodies) {
        await expectAnswer(operation, method === "get" ? await ask(path) : await post(path, body), asked.required);
      }
    }
  });

  test("has samples, each of which is taken", async () => {
    const posted = PATHS.filter((route) => isAnswered(route) && route.method === "post");
    const samples = posted.flatMap((route) => samplesOf(route).map((json) => ({ ...route, json })));
    expect(samples.length).toBeGreaterThan(15);
    const { post } = serverOf(new ScriptedBackend(everything));
    for (const { path, operation, json } of samples) {
      const response = await post(path, { ...JSON.parse(json), model: "tiny" });
      expect([json, response.status]).toEqual([json, 200]);
      await expectAnswer(operation, response, []);
    }
  });
});

/** What its samples tell curl to send. */
function samplesOf({ operation }: Route): readonly string[] {
  return (operation["x-codeSamples"] ?? []).flatMap(({ source }) => {
    const [, quoted] = /-d '(.+)'/s.exec(source) ?? [];
    return quoted === undefined ? [] : [quoted.replaceAll(/'\\''|'"'"'/g, "'")];
  });
}
