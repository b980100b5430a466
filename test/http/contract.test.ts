/** The document and the server, held to each other: every example is of its schema, is taken, and is answered as documented. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { scratchFolder } from "../formats/scratch.ts";
import { type House, openHouse } from "../route/house.ts";
import { strictOpenai } from "../route/strict-openai.ts";
import { ScriptedBackend, serverOf } from "./scripted-backend.ts";

type Schema = Readonly<Record<string, unknown>>;
type Content = Readonly<Record<string, { readonly schema: Schema; readonly example?: unknown }>>;
interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly example?: unknown }[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>;
}
type Ask = (path: string, init: RequestInit) => Promise<Response>;

const { ask } = serverOf(new ScriptedBackend());
const document = (await (await ask("/openapi.json")).json()) as {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
};

const OPERATIONS = Object.entries(document.paths).flatMap(([path, methods]) => {
  return Object.entries(methods).map(([method, operation]) => ({ name: `${method} ${path}`, method, path, operation }));
});
/** What must be there before others can be looked at comes first, and what is removed last. */
const ORDER = ["post", "put", "get", "head", "delete"];
OPERATIONS.sort((one, other) => ORDER.indexOf(one.method) - ORDER.indexOf(other.method));

const validator = new Ajv2020({ strict: false, validateFormats: false });
for (const [name, schema] of Object.entries(document.components.schemas)) {
  validator.addSchema(schema, `#/components/schemas/${name}`);
}

function faults(schema: Schema, value: unknown): unknown {
  return validator.validate(schema, value) ? null : { value, errors: validator.errors };
}

describe("an example", () => {
  for (const { name, operation } of OPERATIONS) {
    test(`of ${name} is there for all that is sent and answered, and is of its schema`, () => {
      const { requestBody, parameters = [], responses } = operation;
      for (const { example } of parameters) expect(example).toBeDefined();
      const contents = [requestBody?.content ?? {}, ...Object.values(responses).map(({ content = {} }) => content)];
      for (const { schema, example } of contents.flatMap((content) => Object.values(content))) {
        expect(example).toBeDefined();
        expect(faults(schema, example)).toBeNull();
      }
    });
  }
});

/** Says nothing where nothing is recorded. */
const UNRECORDED = ["/admin/audit-logs/live", "/admin/audit-logs/export"];

/** Refused whatever is asked, or of what is here. */
const REFUSED = [
  "post /v1/responses/{id}/cancel",
  "post /api/push",
  "post /api/create",
  "post /api/copy",
  "delete /api/delete",
];

describe("what is documented", () => {
  const answered = new Set<string>();
  const provider = strictOpenai("sk-yourKey");
  /** Of the answer that was asked for first. */
  let kept_id: string | null = null;
  let house: House;

  beforeAll(() => {
    house = openHouse({ folder: scratchFolder() });
  });
  afterAll(async () => {
    await house.close();
    provider.stop();
  });

  /** The example as a caller here would send it. */
  const sent = ({ method, path, operation }: (typeof OPERATIONS)[number]): [string, RequestInit] => {
    const [body] = Object.values(operation.requestBody?.content ?? {});
    const own = path.includes("models") ? "tiny" : path.startsWith("/v1/responses/") ? kept_id : null;
    const place = path.replace(/\{(\w+)\}/, (_, part) => {
      return own ?? String(operation.parameters?.find(({ name }) => name === part)?.example);
    });
    if (body === undefined) return [place, { method: method.toUpperCase() }];
    const headers = { "content-type": "application/json" };
    return [place, { method: method.toUpperCase(), headers, body: JSON.stringify(placed(body.example)) }];
  };

  /** With the model and the provider that are here. */
  const placed = (example: unknown): unknown => {
    if (Array.isArray(example) || typeof example !== "object" || example === null) return example;
    const model = "model" in example ? { model: "tiny" } : {};
    return { ...example, ...model, ...("api_key" in example ? { base_url: provider.base_url } : {}) };
  };

  const servers: Record<string, Ask> = {
    "a server with models": ask,
    "a server with providers and rules": (path, init) => fetch(house.url + path, init),
  };
  for (const [server, asking] of Object.entries(servers)) {
    for (const each of OPERATIONS) {
      if (UNRECORDED.includes(each.path.replace(/^\/v1/, "")) && server === "a server with models") continue;
      test(`${each.name} is answered so by ${server}`, async () => {
        const response = await asking(...sent(each));
        const documented = each.operation.responses[String(response.status)];
        expect([response.status, Object.keys(each.operation.responses)]).toEqual([
          response.status,
          expect.arrayContaining([String(response.status)]),
        ]);
        if (response.status === 200) answered.add(each.name);
        if (each.method === "head") return;
        const type = response.headers.get("content-type")?.split(";")[0] ?? "";
        const { schema } = documented?.content?.[type] ?? {};
        expect([type, schema]).toEqual([type, expect.any(Object)]);
        const first = await firstOf(response, type);
        expect(faults(schema ?? {}, first)).toBeNull();
        if (each.name === "post /v1/responses") kept_id = (first as { id: string }).id;
      });
    }
  }

  test("is reached, all of it", () => {
    const missing = OPERATIONS.map(({ name }) => name).filter((name) => !answered.has(name));
    expect(missing).toEqual(REFUSED);
  });
});

/** Of a stream its first item. */
async function firstOf(response: Response, type: string): Promise<unknown> {
  if (type === "application/json" || type === "application/problem+json") return await response.json();
  if (type.startsWith("text/") && type !== "text/event-stream") return await response.text();
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let line: string | undefined;
  for (let text = ""; line === undefined; line = /^(?:data: )?(\{.*)\n/m.exec(text)?.[1]) {
    text += (await reader?.read())?.value ?? "";
  }
  await reader?.cancel();
  return JSON.parse(line);
}
