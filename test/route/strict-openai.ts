/** A provider that takes only what OpenAI's published schema allows, and remembers every byte that came. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { ROOT } from "../root.ts";

const FILE = join(ROOT, "../shared/data/api-specs/openai_schemas_subset.json");

export const HAS_SCHEMAS = existsSync(FILE);

export interface Arrived {
  readonly path: string;
  readonly authorization: string | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const SCHEMAS: Readonly<Record<string, string>> = {
  "/v1/chat/completions": "CreateChatCompletionRequest",
  "/v1/completions": "CreateCompletionRequest",
  "/v1/embeddings": "CreateEmbeddingRequest",
  "/v1/responses": "CreateResponse",
};

/** Formatted as no serializer would, so that a byte that was written anew shows. */
export const WHOLE = `{ "id":"chatcmpl-1", "object":"chat.completion","created":1,
  "model":"gpt-far-2026", "choices":[{"index":0,"finish_reason":"tool_calls","logprobs":null,
  "message":{"role":"assistant","content":null,"refusal":null,"reasoning_content":"h\\u006dm",
  "tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\\"city\\": \\"Oslo\\"}"}}]}}],
  "usage":{"prompt_tokens":81,"completion_tokens":17,"total_tokens":98,"prompt_tokens_details":{"cached_tokens":64}}, "x_more": 1.0 }`;

const chunk = (delta: string, finish = "null") =>
  `data: {"id":"chatcmpl-1", "object":"chat.completion.chunk","created":1,"model":"gpt-far-2026","choices":[{"index":0,"delta":${delta},"finish_reason":${finish}}],"usage":null}\n\n`;

export const STREAM = [
  chunk('{"role":"assistant","content":null,"reasoning_content":"h\\u006dm"}'),
  ": keep-alive\n\n",
  chunk('{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":""}}]}'),
  chunk('{"tool_calls":[{"index":0,"function":{"arguments":"{\\"city\\": \\"Oslo\\"}"}}]}'),
  chunk("{}", '"tool_calls"'),
  'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-far-2026","choices":[],"usage":{"prompt_tokens":81,"completion_tokens":17,"total_tokens":98,"prompt_tokens_details":{"cached_tokens":64}}}\n\n',
  "data: [DONE]\n\n",
].join("");

const USAGE =
  '{"input_tokens":81,"input_tokens_details":{"cached_tokens":64},"output_tokens":17,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":98}';

export const RESPONSE_WHOLE = `{ "id":"resp_far", "object":"response",
  "output":[], "usage":${USAGE}, "x_more": 1.0 }`;

export const RESPONSE_STREAM = [
  'event: response.created\ndata: {"type":"response.created","sequence_number":0, "response":{"id":"resp_far","usage":null}}\n\n',
  'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"h\\u006dm"}\n\n',
  `event: response.completed\ndata: {"type":"response.completed","sequence_number":9,"response":{"id":"resp_far","usage":${USAGE}}}\n\n`,
].join("");

export function strictOpenai(key: string) {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  if (HAS_SCHEMAS) ajv.addSchema(JSON.parse(readFileSync(FILE, "utf8")), "openai");
  const arrived: Arrived[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const { pathname } = new URL(request.url);
      const authorization = request.headers.get("authorization");
      const body = await request.text();
      arrived.push({ path: pathname, authorization, headers: request.headers.toJSON(), body });
      if (authorization !== `Bearer ${key}`) return refuse(401, `Incorrect API key provided: ${authorization}`);
      if (pathname === "/v1/models")
        return Response.json({ object: "list", data: [{ id: "gpt-far", object: "model" }] });
      const name = SCHEMAS[pathname];
      const validate = name === undefined ? undefined : ajv.getSchema(`openai#/components/schemas/${name}`);
      if (validate === undefined) return refuse(404, `Unknown path ${pathname}`);
      const value: { readonly stream?: boolean } = JSON.parse(body);
      if (!validate(value)) return refuse(400, ajv.errorsText(validate.errors));
      return answer(pathname, value.stream === true);
    },
  });
  return {
    base_url: `http://127.0.0.1:${server.port}/v1`,
    arrived,
    stop: async () => await server.stop(true),
  };
}

function answer(pathname: string, streams: boolean): Response {
  const [whole, stream] = pathname === "/v1/responses" ? [RESPONSE_WHOLE, RESPONSE_STREAM] : [WHOLE, STREAM];
  const type = streams ? "text/event-stream; charset=utf-8" : "application/json";
  return new Response(streams ? stream : whole, { headers: { "content-type": type } });
}

function refuse(status: number, message: string): Response {
  return Response.json({ error: { message, type: "invalid_request_error", param: null, code: null } }, { status });
}
