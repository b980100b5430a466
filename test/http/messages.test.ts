/** Anthropic's messages: what is refused and how, and in which order events come. */

import { describe, expect, test } from "bun:test";
import { Failure } from "../../src/core/failure.ts";
import type { GenerationEvent } from "../../src/core/generation.ts";
import { integer, seeded } from "../random.ts";
import { type Script, ScriptedBackend, said, serverOf, USAGE } from "./scripted-backend.ts";

const PATH = "/v1/messages";
const HI = { model: "tiny", max_tokens: 64, messages: [{ role: "user", content: "hi" }] };
const user = (...content: object[]) => ({ messages: [{ role: "user", content }] });

const SCHEMA = { type: "json_schema", schema: { type: "object" } };

describe("refused by name", () => {
  const cases: [object, string][] = [
    [{ max_tokens: undefined }, 'Cannot use the request: "max_tokens" is missing, expected an integer of at least 0'],
    [{ temperature: 1.5 }, 'Cannot use "temperature": expected a number from 0 to 1, found 1.5'],
    [{ seed: 1 }, 'Cannot use "seed": there is no such parameter'],
    [{ container: "c" }, 'Cannot use "container": it is not supported yet'],
    [
      { context_management: { edits: [{ type: "clear_tool_uses_20250919" }] } },
      'Cannot use "context_management.edits[0].type": "clear_tool_uses_20250919" is not supported yet, expected "clear_thinking_20251015"',
    ],
    [{ speed: "fast" }, 'Cannot use "speed": "fast" is not supported yet, expected "standard"'],
    [
      { output_format: SCHEMA, output_config: { format: SCHEMA } },
      'Cannot use "output_format": "output_config" says the form of the answer already',
    ],
    [{ mcp_servers: [] }, 'Cannot use "mcp_servers": it is not supported yet'],
    [
      user({ type: "document", source: { type: "base64", media_type: "application/pdf", data: "x" } }),
      'Cannot use "messages[0].content[0].source.type": "base64" is not supported yet, expected "text" or "content"',
    ],
    [
      user({ type: "image", source: { type: "file", file_id: "f" } }),
      'Cannot use "messages[0].content[0].source.type": "file" is not supported yet, expected "base64" or "url"',
    ],
    [
      user({ type: "tool_result", tool_use_id: "a", content: [{ type: "tool_reference", tool_name: "f" }] }),
      'Cannot use "messages[0].content[0].content[0].type": "tool_reference" is not supported yet, expected "text", "image", "document" or "search_result"',
    ],
    [user({ type: "text" }), 'Cannot use the request: "messages[0].content[0].text" is missing, expected a text'],
    [
      user({ type: "tool_result", tool_use_id: "a" }),
      'Cannot use "tool_use_id": the message before calls no tool by "a"',
    ],
    [
      user({ type: "text", text: "x" }, { type: "tool_result", tool_use_id: "a" }),
      'Cannot use "messages[0].content[1]": results of tools go before text',
    ],
    [
      { messages: [{ role: "tool", content: "x" }] },
      'Cannot use "messages[0].role": expected "user", "assistant" or "system", found "tool"',
    ],
    [{ tool_choice: { type: "any" } }, 'Cannot use "tool_choice": there are no tools to choose from'],
    [{ tool_choice: { type: "tool", name: "x" } }, 'Cannot use "tool_choice.name": no tool is named "x"'],
    [
      { thinking: { type: "enabled", budget_tokens: 5 } },
      'Cannot use "thinking.budget_tokens": expected an integer of at least 1024, found 5',
    ],
    [
      { thinking: { type: "disabled" }, output_config: { effort: "low" } },
      'Cannot use "output_config.effort": thinking is disabled',
    ],
    [
      { tools: [{ type: "web_search_20250305", name: "web_search" }] },
      'Cannot use "tools[0].type": "web_search_20250305" is not supported yet, expected "custom"',
    ],
    [
      { tools: [{ name: "f", input_schema: { type: "object" }, defer_loading: true }] },
      'Cannot use "tools[0].defer_loading": true is not supported yet, expected false',
    ],
    [
      user({ type: "document", source: { type: "content", content: "x" }, citations: { enabled: true } }),
      'Cannot use "messages[0].content[0].citations.enabled": true is not supported yet, expected false',
    ],
  ];
  for (const [wish, message] of cases) {
    test(JSON.stringify(wish), async () => {
      const backend = new ScriptedBackend();
      const response = await serverOf(backend).post(PATH, { ...HI, ...wish });
      const request_id = response.headers.get("request-id");
      expect<unknown>([response.status, await response.json()]).toEqual([
        400,
        { type: "error", error: { type: "invalid_request_error", message }, request_id },
      ]);
      expect(backend.requests).toBeEmpty();
    });
  }

  test("a route, a method, a body and a parameter, in the same form", async () => {
    const { ask, post } = serverOf(new ScriptedBackend());
    const responses = [
      await ask(`${PATH}/batches`),
      await ask(PATH),
      await post(PATH, "{"),
      await post(`${PATH}?limit=1`, HI),
      await ask("/v1/nowhere", { headers: { "anthropic-version": "2023-06-01" } }),
    ];
    expect(responses.map(({ status }) => status)).toEqual([404, 405, 400, 400, 404]);
    for (const response of responses) {
      const body = (await response.json()) as { type: string; request_id: string };
      expect([body.type, body.request_id]).toEqual(["error", response.headers.get("request-id") ?? "none"]);
    }
  });
});

test("every wish of a request arrives in the neutral form", async () => {
  const backend = new ScriptedBackend();
  const mark = { cache_control: { type: "ephemeral", ttl: "1h" } };
  const response = await serverOf(backend).post(PATH, {
    ...HI,
    ...mark,
    system: [
      { type: "text", text: "A", ...mark },
      { type: "text", text: "B" },
    ],
    messages: [
      { role: "user", content: "one" },
      {
        role: "user",
        content: [
          { type: "text", text: "two", ...mark },
          { type: "text", text: "three" },
        ],
      },
      {
        role: "assistant",
        content: [
          { type: "redacted_thinking", data: "x" },
          { type: "text", text: "four" },
        ],
      },
      { role: "user", content: "five" },
    ],
    temperature: 0.5,
    top_p: 0.9,
    top_k: 40,
    stop_sequences: ["END"],
    metadata: { user_id: "u" },
    service_tier: "standard_only",
    tools: [{ name: "f", input_schema: { type: "object" }, strict: true, ...mark }],
    tool_choice: { type: "tool", name: "f", disable_parallel_tool_use: true },
    output_config: { effort: "high", format: { type: "json_schema", schema: { type: "object" } } },
  });
  expect(response.status).toBe(200);
  expect(backend.last).toMatchObject({
    sampling: { temperature: 0.5, top_p: 0.9, top_k: 40 },
    tokens_max: 64,
    stop: ["END"],
    tools: [{ name: "f", strict: true }],
    tool_choice: { kind: "named", name: "f" },
    parallel_tool_calls: false,
    reasoning: { effort: "high", tokens_max: null },
    constraint: { kind: "json_schema", parameter: "output_config.format.schema" },
    prompt: {
      messages: [
        { role: "system", content: "A\n\nB" },
        { role: "user", content: "one\n\ntwo\n\nthree" },
        { role: "assistant", content: "four", reasoning: null },
        { role: "user", content: "five" },
      ],
    },
  });
});

test("what Claude Code sends with every request arrives, as hints", async () => {
  const backend = new ScriptedBackend();
  const { post } = serverOf(backend);
  const mark = { cache_control: { type: "ephemeral", ttl: "1h", scope: "global" } };
  const thought = (thinking: string) => ({
    role: "assistant",
    content: [{ type: "thinking", thinking, signature: "" }],
  });
  const request = {
    ...HI,
    system: [{ type: "text", text: "You are Claude Code", ...mark }],
    messages: [...HI.messages, thought("old"), ...HI.messages, thought("new"), ...HI.messages],
    tools: [{ name: "Bash", input_schema: { type: "object" }, eager_input_streaming: true, ...mark }],
    metadata: { user_id: "{}" },
    thinking: { type: "adaptive" },
    output_config: { effort: "xhigh" },
    container: null,
    temperature: null,
  };
  const thoughtsWith = async (keep?: unknown) => {
    const edits = [{ type: "clear_thinking_20251015", keep }];
    const answer = await post(`${PATH}?beta=true`, { ...request, context_management: { edits } });
    expect(answer.status).toBe(200);
    const { prompt } = backend.last;
    const messages = prompt.kind === "messages" ? prompt.messages : [];
    return messages.flatMap((message) => (message.role === "assistant" ? [message.reasoning] : []));
  };
  expect(await thoughtsWith("all")).toEqual(["old", "new"]);
  expect(await thoughtsWith({ type: "thinking_turns", value: 1 })).toEqual([null, "new"]);
  expect(await thoughtsWith()).toEqual([null, "new"]);
  expect(backend.last.reasoning).toEqual({ effort: "xhigh", tokens_max: null, is_hint: true });
});

test("an answer that a stop text, its length or the context ended says so", async () => {
  const endings = [
    ["stop", "END", 2, "stop_sequence", "END"],
    ["length", null, 64, "max_tokens", null],
    ["length", null, 2, "model_context_window_exceeded", null],
  ] as const;
  for (const [reason, stop_text, completion_tokens, stop_reason, stop_sequence] of endings) {
    const script: Script = async function* () {
      yield { kind: "start", prompt_tokens: 5 };
      yield { kind: "finish", choice: 0, reason, stop_text };
      yield { kind: "end", usage: { ...USAGE, completion_tokens } };
    };
    const body = await (await serverOf(new ScriptedBackend(script)).post(PATH, HI)).json();
    expect(body).toMatchObject({ stop_reason, stop_sequence });
  }
});

test("a stream that waits is pinged, and then answered or refused by an event", async () => {
  for (const fails of [false, true]) {
    const { promise: pinged, resolve: begin } = Promise.withResolvers<void>();
    const script: Script = async function* () {
      await pinged;
      if (fails) throw new Failure("no_memory", "Cannot load: it is full");
      yield* answerOf("late");
    };
    const response = await serverOf(new ScriptedBackend(script), 60_000, 10).post(PATH, { ...HI, stream: true });
    let text = "";
    for await (const piece of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (text.split("event: ping").length > 2) begin();
    }
    expect(text).toStartWith(": waiting position=2 estimated_ms=1500 for=row\n\nevent: ping\n");
    const types = eventsIn(text.replaceAll(/^:.*\n\n/gm, "")).map(({ type }) => type);
    expect([response.status, types[0], types[1]]).toEqual([200, "ping", "ping"]);
    const rest = types.filter((type) => type !== "ping");
    expect([rest[0], rest.at(-1)]).toEqual(fails ? ["error", "error"] : ["message_start", "message_stop"]);
  }
});

async function* answerOf(text: string): AsyncGenerator<GenerationEvent> {
  yield { kind: "start", prompt_tokens: 5 };
  yield said(text);
  yield { kind: "finish", choice: 0, reason: "stop", stop_text: null };
  yield { kind: "end", usage: USAGE };
}

interface StreamEvent {
  readonly type: string;
  readonly index?: number;
  readonly content_block?: { readonly type: string };
  readonly delta?: { readonly type: string };
}

const DELTAS: Readonly<Record<string, RegExp>> = {
  text: /^(?:text_delta )*$/,
  thinking: /^(?:thinking_delta )*signature_delta $/,
  tool_use: /^(?:input_json_delta )*$/,
};

const SEED = 20_261_121;
test(`whatever a model says, its blocks come one after another and one event ends them (seed ${SEED})`, async () => {
  const random = seeded(SEED);
  for (let round = 0; round < 60; round++) {
    const events = anyEvents(random);
    const fails = integer(random, 0, 3) === 0;
    const script: Script = async function* () {
      yield { kind: "start", prompt_tokens: 5 };
      yield* events;
      if (fails) throw new Error("of ours");
      yield { kind: "finish", choice: 0, reason: "stop", stop_text: null };
      yield { kind: "end", usage: USAGE };
    };
    const response = await serverOf(new ScriptedBackend(script)).post(PATH, { ...HI, stream: true });
    const read = eventsIn(await response.text());
    const types = read.map(({ type }) => type);
    expect(types[0]).toBe("message_start");
    expect(types.slice(fails ? -1 : -2)).toEqual(fails ? ["error"] : ["message_delta", "message_stop"]);
    expect(types.filter((type) => type === "error" || type === "message_stop")).toHaveLength(1);
    expectBlocks(read.slice(1, fails ? -1 : -2), fails);
  }
});

function anyEvents(random: () => number): GenerationEvent[] {
  const events: GenerationEvent[] = [];
  let calls = 0;
  for (let left = integer(random, 0, 12); left > 0; left--) {
    const kind = integer(random, 0, 2);
    if (kind === 0) events.push(said(integer(random, 0, 4) === 0 ? "" : "word"));
    if (kind === 1) events.push({ kind: "reasoning", choice: 0, text: "hm" });
    if (kind < 2) continue;
    const index = calls++;
    events.push({ kind: "call", choice: 0, index, id: `call_${index}`, name: "f" });
    for (const text of ["{", "}"]) events.push({ kind: "arguments", choice: 0, index, text });
  }
  return events;
}

function eventsIn(text: string): StreamEvent[] {
  return text
    .split("\n\n")
    .slice(0, -1)
    .map((block) => {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? [];
      const event = JSON.parse(data ?? "null") as StreamEvent;
      expect(event.type).toBe(name ?? "no name");
      return event;
    });
}

function expectBlocks(events: readonly StreamEvent[], is_cut: boolean): void {
  let open: string | null = null;
  let deltas = "";
  let count = 0;
  for (const { type, index, content_block, delta } of events) {
    expect(index).toBe(count);
    if (type === "content_block_start") {
      expect(open).toBeNull();
      open = content_block?.type ?? null;
      deltas = "";
    } else if (type === "content_block_delta") {
      expect(open).not.toBeNull();
      deltas += `${delta?.type} `;
    } else {
      expect(type).toBe("content_block_stop");
      expect(deltas).toMatch(DELTAS[open ?? ""] ?? /$^/);
      open = null;
      count++;
    }
  }
  if (!is_cut) expect(open).toBeNull();
}
