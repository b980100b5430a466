/** Examples for the OpenAPI document: of bodies by hand where a caller begins, of the rest made from their schemas. */

type Schema = Readonly<Record<string, unknown>>;
type Schemas = Readonly<Record<string, Schema>>;
type Content = Record<string, { schema?: Schema; example?: unknown }>;
interface Operation {
  readonly requestBody?: { readonly content: Content };
  readonly parameters?: { name: string; in: string; schema?: Schema; example?: unknown }[];
  readonly responses: Readonly<Record<string, { readonly content?: Content }>>;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Schemas };
}

const MODEL = "SmolLM2-135M-Instruct";
const MESSAGES = [{ role: "user", content: "What is the capital of France?" }];
const RULE = { model_pattern: "gpt-*", pattern_type: "glob", target: "openai", fallbacks: [`local:${MODEL}`] };
const PROFILE = { name: "terse", model: MODEL, system_prompt: "Answer in one sentence.", temperature: 0.2 };
const PAIR = { query: "What is a panda?", documents: ["A bear of China", "A city of France"] };

/** What is sent, by path. */
const REQUESTS: Readonly<Record<string, object>> = {
  "/v1/chat/completions": { model: MODEL, messages: MESSAGES },
  "/v1/completions": { model: MODEL, prompt: "The capital of France is", max_tokens: 16 },
  "/v1/messages": { model: MODEL, messages: MESSAGES, max_tokens: 64 },
  "/v1/messages/count_tokens": { model: MODEL, messages: MESSAGES },
  "/v1/embeddings": { model: "all-MiniLM-L6-v2", input: ["A bear of China", "A city of France"] },
  "/v1/rerank": { model: "Qwen3-Reranker-0.6B", ...PAIR },
  "/v1/score": { model: "Qwen3-Reranker-0.6B", text_1: PAIR.query, text_2: PAIR.documents },
  "/v1/debug/prefix": { model: MODEL, messages: MESSAGES },
  "/api/chat": { model: MODEL, messages: MESSAGES, stream: false },
  "/api/generate": { model: MODEL, prompt: "Why is the sky blue?", stream: false },
  "/api/embed": { model: "all-MiniLM-L6-v2", input: "A bear of China" },
  "/api/embeddings": { model: "all-MiniLM-L6-v2", prompt: "A bear of China" },
  "/v1/responses/input_tokens": { model: MODEL, input: "What is the capital of France?" },
  "/v1/responses/compact": { model: MODEL, input: "What is the capital of France?" },
  "/apply-template": { model: MODEL, messages: MESSAGES },
  "/api/show": { model: MODEL },
  "/api/pull": { model: MODEL, stream: false },
  "/api/settings/providers": { name: "openai", api_type: "openai", api_key: "sk-yourKey" },
  "/api/settings/rules": RULE,
  "/api/settings/rules/{id}": RULE,
  "/api/settings/rules/test": { pattern_type: "glob", model_pattern: "gpt-*", models: ["gpt-4o", "llama"] },
  "/api/settings/prompts": { volatile_lines: "keep" },
  "/api/settings/responses": { responses_days: 7 },
  "/api/settings/pool": { memory_limit_mode: "gb", memory_limit_value: 16, contention: "wait" },
  "/api/settings/engine": { rows_max: 8 },
  "/api/settings/timeouts": { chat_timeout_s: 300 },
  "/api/settings/routing": { enable_cloud_routing: "off" },
  "/api/settings/audit": { audit_days: 7 },
  "/api/settings/server": { port: 8080 },
  "/api/settings/huggingface": { token: "hf_yourToken" },
  "/api/settings/keys": { name: "laptop", privacy: "local-only" },
  "/api/settings/keys/{id}": { name: "laptop", admin: true },
  "/api/profiles": PROFILE,
  "/api/profiles/{id}": PROFILE,
  "/admin/route/explain": { model: "gpt-4o" },
};

/** Of a path's parts, by the path's beginning. */
const PARTS: readonly (readonly [prefix: string, value: string])[] = [
  ["/v1/responses/", "resp_0123456789ab"],
  ["/admin/requests/", "req_0123456789ab"],
  ["/api/profiles/", "1"],
  ["/api/settings/rules/", "1"],
  ["/api/settings/keys/", "1"],
  ["/api/settings/providers/", "openai"],
];

/** Gives every body and every part of a path its example; those that have one keep it. */
export function withExamples({ paths, components: { schemas } }: Document): void {
  for (const [given, operations] of Object.entries(paths)) {
    const path = given.replace(/^\/v1(?=\/admin)/, "");
    for (const operation of Object.values(operations)) exemplify(path, operation, schemas);
  }
}

function exemplify(path: string, { requestBody, parameters = [], responses }: Operation, schemas: Schemas): void {
  const sent = Object.values(requestBody?.content ?? {});
  const answered = Object.values(responses).flatMap(({ content = {} }) => Object.values(content));
  for (const body of sent) body.example ??= REQUESTS[path];
  for (const body of [...sent, ...answered]) body.example ??= exampleOf(body.schema ?? {}, schemas);
  for (const parameter of parameters) parameter.example ??= partOf(path, parameter.schema ?? {}, schemas);
}

function partOf(path: string, schema: Schema, schemas: Schemas): unknown {
  const [, known] = PARTS.find(([prefix]) => path.startsWith(prefix)) ?? [];
  return known ?? (path.includes("{id}") ? MODEL : exampleOf(schema, schemas));
}

/** A value of the schema, as short as it may be; what has an example of its own is that. */
function exampleOf(schema: Schema, schemas: Schemas): unknown {
  const { $ref, examples, const: only, default: otherwise, enum: values, anyOf, oneOf, allOf } = schema;
  if (typeof $ref === "string") return exampleOf(schemas[$ref.split("/").at(-1) ?? ""] ?? {}, schemas);
  if (Array.isArray(examples)) return examples[0];
  if (only !== undefined) return only;
  if (otherwise !== undefined) return otherwise;
  if (Array.isArray(values)) return values[0];
  const choices = [anyOf, oneOf].find(Array.isArray) as readonly Schema[] | undefined;
  if (choices !== undefined) return exampleOf(choices.find(({ type }) => type !== "null") ?? {}, schemas);
  if (Array.isArray(allOf)) return Object.assign({}, ...allOf.map((part: Schema) => exampleOf(part, schemas)));
  return ofType(schema, schemas);
}

function ofType(schema: Schema, schemas: Schemas): unknown {
  const { type, properties = {}, required = [], items, minimum, maximum, format, minItems } = schema;
  switch (type) {
    case "object": {
      const named = Object.entries(properties as Record<string, Schema>).filter(([name, property]) => {
        return (required as readonly string[]).includes(name) || "examples" in property;
      });
      return Object.fromEntries(named.map(([name, property]) => [name, exampleOf(property, schemas)]));
    }
    case "array":
      return items === undefined && minItems === undefined ? [] : [exampleOf((items ?? {}) as Schema, schemas)];
    case "string":
      return format === "date-time" ? "2026-01-01T00:00:00.000Z" : "text";
    case "integer":
    case "number":
      return Math.min(Math.max(1, Number(minimum ?? 1)), Number(maximum ?? Number.POSITIVE_INFINITY));
    case "boolean":
      return true;
    case "null":
      return null;
    default:
      return {};
  }
}
