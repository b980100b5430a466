/** The OpenAPI document tells of every route, and its page needs no other host. */

import { describe, expect, test } from "bun:test";
import { ScriptedBackend, serverOf } from "./scripted-backend.ts";

interface Operation {
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content: Content }>>;
}
type Content = Readonly<Record<string, { readonly schema: Schema }>>;
type Schema = Readonly<Record<string, unknown>>;
interface Document {
  readonly openapi: string;
  readonly info: Schema;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const { app, ask } = serverOf(new ScriptedBackend());

async function readDocument(): Promise<Document> {
  return (await (await ask("/openapi.json")).json()) as Document;
}

/** Each dialect's clients read errors of their own. */
/** Of errors, by the tag of who reads them. */
const FORMS: Readonly<Record<string, readonly [string, string]>> = {
  Anthropic: ["application/json", "AnthropicError"],
  Ollama: ["application/json", "OllamaError"],
};

function expectProblems({ tags, responses }: Operation): void {
  const problems = Object.entries(responses).filter(([status]) => status !== "200");
  expect(problems.length).toBeGreaterThan(0);
  const [type, name] = FORMS[tags?.[0] ?? ""] ?? ["application/problem+json", "Problem"];
  for (const [, problem] of problems) {
    expect(problem.content[type]?.schema).toEqual({ $ref: `#/components/schemas/${name}` });
  }
}

const PAGES = ["/docs", "/docs/start.js", "/docs/swagger-ui.js", "/docs/swagger-ui.css", "/openapi.json"];

describe("the document", () => {
  test("has every route but its own pages", async () => {
    const { paths } = await readDocument();
    const told = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const served = app.routes
      .filter((route) => !PAGES.includes(route.path) && !route.path.endsWith("*"))
      .map((route) => `${route.method} ${route.path.replace(/:(\w+)/, "{$1}")}`);
    expect(told.sort()).toEqual(served.sort());
    expect(told).toContain("POST /v1/chat/completions");
    expect(told).toContain("GET /v1/models/{id}");
  });

  test("has no words of its own beside the standard's", async () => {
    const words = new Set<string>();
    JSON.stringify(await readDocument(), (key, value) => {
      words.add(key);
      return value;
    });
    expect(words).toContain("minItems");
    // The one that is a parameter, of Codex's.
    expect([...words].filter((word) => word.startsWith("x-"))).toEqual(["x-codex-window-id"]);
  });

  test("gives each a summary, the schema of a good answer and the problems it may meet", async () => {
    const document = await readDocument();
    expect(document.components.schemas["Problem"]).toHaveProperty("properties.request_id");
    expect(document.components.schemas["Problem"]).not.toHaveProperty("$id"); // moves the base of references
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        expect(operation.summary).toMatch(/^[A-Z]/);
        const [good] = Object.values(operation.responses["200"]?.content ?? {});
        if (path !== "/") expect(good?.schema).toHaveProperty("properties");
        expectProblems(operation);
        const streams = operation.responses["200"]?.content["text/event-stream"] !== undefined;
        const route = `${method} ${path}`;
        expect([route, streams]).toEqual([
          route,
          /\/(?:completions|messages|v1\/responses|loading-progress|live)$|^get \/v1\/responses\/\{id\}$/.test(route),
        ]);
      }
    }
  });

  test("gives requests the schema they are held to", async () => {
    const { paths } = await readDocument();
    const body = paths["/v1/chat/completions"]?.["post"]?.requestBody;
    expect(Object.keys(body?.content ?? {})).toEqual(["application/json"]);
    const schema = body?.content["application/json"]?.schema;
    expect(schema).toMatchObject({ type: "object", additionalProperties: false, required: ["messages", "model"] });
    expect(schema).toHaveProperty("properties.temperature.anyOf.0.maximum", 2);
  });

  test("names the version of the server", async () => {
    const { openapi, info } = await readDocument();
    expect(openapi).toBe("3.1.0");
    expect(info).toMatchObject({ title: "Bunsen", version: "1.2.3" });
  });
});

describe("the page", () => {
  test("loads only what this server has, and says so to the browser", async () => {
    const page = await ask("/docs");
    expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(page.headers.get("content-security-policy")).toStartWith("default-src 'self';");
    const html = await page.text();
    const loaded = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map((match) => match[1] ?? "");
    expect(loaded.length).toBeGreaterThan(2);
    for (const address of loaded.filter((address) => address !== "data:,")) {
      expect(address).toMatch(/^\/docs\//);
      const part = await ask(address);
      expect(part.status).toBe(200);
      expect((await part.text()).length).toBeGreaterThan(10);
    }
    expect(html).not.toMatch(/https?:/);
  });

  test("loads nothing from elsewhere by its style or its first script", async () => {
    expect(await (await ask("/docs/swagger-ui.css")).text()).not.toMatch(/url\(["']?(?:https?:|\/\/)|@import/);
    const start = await (await ask("/docs/start.js")).text();
    expect(start).not.toMatch(/https?:/);
    expect(start).toContain("validatorUrl: null");
  });

  test("reads the document from this server", async () => {
    expect(await (await ask("/docs/start.js")).text()).toContain('url: "/openapi.json"');
  });
});
