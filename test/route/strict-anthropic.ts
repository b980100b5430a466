/**
 * A provider that takes only what Anthropic's protocol and its rules allow, and remembers every byte: it thinks, calls
 * a tool, and then answers.
 */

import { faultOf } from "./anthropic-schema.ts";
import type { Arrived } from "./strict-openai.ts";

interface Block {
  readonly type: string;
  readonly id?: string;
  readonly tool_use_id?: string;
  readonly signature?: string;
  readonly thinking?: string;
}
interface Asked {
  readonly messages: readonly { readonly role: string; readonly content: string | readonly Block[] }[];
  readonly max_tokens: number;
  readonly stream?: boolean;
  readonly thinking?: { readonly type: string; readonly budget_tokens?: number };
}

const SIGNATURE = "EqQBCkgIARABGAIiQ";

const event = (data: { readonly type: string }) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
const block = (index: number, content_block: object, ...deltas: object[]) =>
  [
    { type: "content_block_start", index, content_block },
    ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
    { type: "content_block_stop", index },
  ].map(event);

function answer(stop_reason: string, stop_sequence: string | null, ...blocks: string[][]): string {
  const usage = { input_tokens: 9, cache_read_input_tokens: 4, output_tokens: 1 };
  return [
    event({ type: "message_start", message: { id: "m", role: "assistant", content: [], usage } } as { type: string }),
    event({ type: "ping" }),
    ...blocks.flat(),
    event({ type: "message_delta", delta: { stop_reason, stop_sequence }, usage: { output_tokens: 6 } } as {
      type: string;
    }),
    event({ type: "message_stop" }),
  ].join("");
}

/** Formatted as no serializer would, so that a byte that was written anew shows. */
export const WHOLE = `{ "id":"msg_1","type":"message", "role":"assistant","model":"claude-far", "content":[
  {"type":"text","text":"R\\u0061in"}], "stop_reason":"end_turn","stop_sequence":null,"x_more": 1.0,
  "usage":{"input_tokens":9,"cache_creation_input_tokens":3,"cache_read_input_tokens":4,"output_tokens":6} }`;

const CALLS = answer(
  "tool_use",
  null,
  block(
    0,
    { type: "thinking", thinking: "", signature: "" },
    { type: "thinking_delta", thinking: "I need " },
    { type: "thinking_delta", thinking: "the clock" },
    { type: "signature_delta", signature: SIGNATURE },
  ),
  block(
    1,
    { type: "tool_use", id: "toolu_1", name: "weather", input: {} },
    { type: "input_json_delta", partial_json: "" },
    { type: "input_json_delta", partial_json: '{"city":' },
    { type: "input_json_delta", partial_json: ' "Oslo"}' },
  ),
  block(2, { type: "tool_use", id: "toolu_2", name: "clock", input: {} }),
);
export const ANSWERS = answer(
  "stop_sequence",
  "END",
  block(0, { type: "text", text: "" }, { type: "text_delta", text: "Rain" }),
);

export function strictAnthropic(key: string) {
  const bodies: Asked[] = [];
  const arrived: Arrived[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const text = await request.text();
      const { pathname } = new URL(request.url);
      const headers = request.headers.toJSON();
      arrived.push({ path: pathname, authorization: request.headers.get("authorization"), headers, body: text });
      if (request.headers.get("x-api-key") !== key) return refuse(401, "authentication_error", "invalid x-api-key");
      if (request.headers.get("anthropic-version") === null) return refuse(400, "invalid_request_error", "no version");
      if (pathname !== "/v1/messages") return refuse(404, "not_found_error", "no such path");
      const body = JSON.parse(text) as Asked;
      const wrong = faultOf(body) ?? broken(body);
      if (wrong !== null) return refuse(400, "invalid_request_error", wrong);
      bodies.push(body);
      if (body.stream !== true) return new Response(WHOLE, { headers: { "content-type": "application/json" } });
      return new Response(isAnswered(body) ? ANSWERS : CALLS, { headers: { "content-type": "text/event-stream" } });
    },
  });
  return { base_url: `http://127.0.0.1:${server.port}/v1`, bodies, arrived, stop: async () => await server.stop(true) };
}

function isAnswered({ messages }: Asked): boolean {
  return blocksOf(messages.at(-1)).some(({ type }) => type === "tool_result");
}

function blocksOf(message: Asked["messages"][number] | undefined): readonly Block[] {
  return message === undefined || typeof message.content === "string" ? [] : message.content;
}

/** The rules between the parts of a request. */
function broken({ messages, thinking, max_tokens }: Asked): string | null {
  if ((thinking?.budget_tokens ?? 0) >= max_tokens) return "max_tokens must be greater than thinking.budget_tokens";
  for (const [index, message] of messages.entries()) {
    const blocks = blocksOf(message);
    const calls = blocksOf(messages[index - 1]).filter(({ type }) => type === "tool_use");
    const results = blocks.filter(({ type }) => type === "tool_result");
    const ids = (all: readonly Block[], name: "id" | "tool_use_id") => all.map((each) => each[name]).join();
    if (ids(calls, "id") !== ids(results, "tool_use_id")) return "each tool_use must have its tool_result next to it";
    if (blocks.some(({ type, signature }) => type === "thinking" && signature !== SIGNATURE))
      return "invalid signature";
    const calling = blocks.some(({ type }) => type === "tool_use");
    const thought = blocks[0]?.type === "thinking" && blocks[0].thinking === "I need the clock";
    if (thinking !== undefined && thinking.type !== "disabled" && calling && !thought) return "expected thinking first";
  }
  return null;
}

function refuse(status: number, type: string, message: string): Response {
  return Response.json({ type: "error", error: { type, message }, request_id: "req_far" }, { status });
}
