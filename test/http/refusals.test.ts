/** What is refused, and with which words: every parameter is honoured or refused, none is ignored. */

import { describe, expect, test } from "bun:test";
import { integer, seeded } from "../random.ts";
import { readProblem, ScriptedBackend, serverOf } from "./scripted-backend.ts";

const CHAT = "/v1/chat/completions";
const COMPLETIONS = "/v1/completions";
const HI = { model: "tiny", messages: [{ role: "user", content: "hi" }] };
const SAY = { model: "tiny", prompt: "Say" };

interface Refused {
  readonly message: string;
  readonly param: string | null;
  readonly code: string | null;
}

async function refusal(path: string, body: unknown): Promise<Refused> {
  const backend = new ScriptedBackend();
  const response = await serverOf(backend).post(path, body);
  expect(response.status).toBe(400);
  expect(backend.requests).toBeEmpty();
  const { error } = await readProblem(response);
  expect(error.type).toBe("invalid_request_error");
  return { message: error.message, param: error.param, code: error.code };
}

function wrong(param: string, state: string): Refused {
  return { message: `Cannot use "${param}": ${state}`, param, code: null };
}

function notYet(param: string, state = "it is not supported yet"): Refused {
  return { message: `Cannot use "${param}": ${state}`, param, code: "unsupported" };
}

function missing(param: string, expected: string): Refused {
  return { message: `Cannot use the request: "${param}" is missing, expected ${expected}`, param, code: null };
}

const ROLES = '"system", "developer", "user", "assistant", "tool" or "function"';
const CONTENT = "a text or an array of parts";
const CALL = { id: "call_1", type: "function", function: { name: "f", arguments: "{}" } };
const TOOL = { type: "function", function: { name: "f" } };
const user = (content: unknown) => ({ messages: [{ role: "user", content }] });

const SHARED: [object, Refused][] = [
  [{ temperature: 2.01 }, wrong("temperature", "expected a number from 0 to 2, found 2.01")],
  [{ temperature: "hot" }, wrong("temperature", 'expected a number from 0 to 2, found "hot"')],
  [{ top_p: -0.1 }, wrong("top_p", "expected a number from 0 to 1, found -0.1")],
  [{ min_p: 1.5 }, wrong("min_p", "expected a number from 0 to 1, found 1.5")],
  [{ top_k: -2 }, wrong("top_k", "expected an integer of at least -1, found -2")],
  [{ top_k: 1.5 }, wrong("top_k", "expected an integer of at least -1, found 1.5")],
  [{ max_completion_tokens: 0.5 }, wrong("max_completion_tokens", "expected an integer of at least 1, found 0.5")],
  [{ max_tokens: 3, max_completion_tokens: 4 }, wrong("max_tokens", '"max_completion_tokens" says 4, found 3')],
  [
    { seed: 2 ** 53 },
    wrong("seed", "expected an integer from -9007199254740991 to 9007199254740991, found 9007199254740992"),
  ],
  [{ stop: "" }, wrong("stop", 'expected a text that is not empty, found ""')],
  [{ stop: ["a", ""] }, wrong("stop[1]", 'expected a text that is not empty, found ""')],
  [
    { stop: [..."abcdefghijklmnopq"] },
    wrong("stop", "expected an array of at most 16 texts, found an array of 17 items"),
  ],
  [{ stream: "yes" }, wrong("stream", 'expected true or false, found "yes"')],
  [{ stream_options: { include_usage: true } }, wrong("stream_options", 'it needs "stream": true')],
  [{ stream: false, stream_options: {} }, wrong("stream_options", 'it needs "stream": true')],
  [{ stream: true, stream_options: [] }, wrong("stream_options", "expected an object, found an array of 0 items")],
  [
    { stream: true, stream_options: { include_usage: null } },
    wrong("stream_options.include_usage", "expected true or false, found null"),
  ],
  [{ stream: true, stream_options: { more: 1 } }, wrong("stream_options.more", "there is no such parameter")],
  [{ warmth: 1.1 }, wrong("warmth", "there is no such parameter")],
  [{ typical_p: 1.1 }, wrong("typical_p", "expected a number from 0 to 1, found 1.1")],
  [{ xtc_probability: -1 }, wrong("xtc_probability", "expected a number from 0 to 1, found -1")],
  [{ xtc_threshold: 0.6 }, wrong("xtc_threshold", "expected a number from 0 to 0.5, found 0.6")],
  [{ presence_penalty: 2.1 }, wrong("presence_penalty", "expected a number from -2 to 2, found 2.1")],
  [{ frequency_penalty: "a" }, wrong("frequency_penalty", 'expected a number from -2 to 2, found "a"')],
  [{ repetition_penalty: 0 }, wrong("repetition_penalty", "expected a number from 0.1 to 10, found 0")],
  [{ logit_bias: { 5: 101 } }, wrong("logit_bias[5]", "expected a number from -100 to 100, found 101")],
  [{ logit_bias: { the: 1 } }, wrong("logit_bias", 'expected ids of tokens, found "the"')],
  [{ logit_bias: { "-1": 1 } }, wrong("logit_bias", 'expected ids of tokens, found "-1"')],
  [
    { logit_bias: Object.fromEntries(Array.from({ length: 1025 }, (_, id) => [id, 1])) },
    wrong("logit_bias", "expected at most 1024 tokens, found 1025"),
  ],
  [{ n: 0 }, wrong("n", "expected an integer from 1 to 16, found 0")],
  [{ n: 17 }, wrong("n", "expected an integer from 1 to 16, found 17")],
  [{ min_tokens: -1 }, wrong("min_tokens", "expected an integer of at least 0, found -1")],
  [{ min_tokens: 9, max_tokens: 8 }, wrong("min_tokens", "the answer has at most 8 tokens, found 9")],
  [{ stop_token_ids: [1.5] }, wrong("stop_token_ids[0]", "expected an integer of at least 0, found 1.5")],
  [{ ignore_eos: 1 }, wrong("ignore_eos", "expected true or false, found 1")],
  [{ model: "" }, wrong("model", 'expected a text that is not empty, found ""')],
  [{ model: null }, wrong("model", "expected a text that is not empty, found null")],
  [{ model: undefined }, missing("model", "a text that is not empty")],
];

describe("a chat is refused for", () => {
  const cases: typeof SHARED = [
    ...SHARED,
    [{ logprobs: 1 }, wrong("logprobs", "expected true or false, found 1")],
    [{ logprobs: true, top_logprobs: 21 }, wrong("top_logprobs", "expected an integer from 0 to 20, found 21")],
    [{ top_logprobs: 2 }, wrong("top_logprobs", 'it needs "logprobs": true')],
    [{ logprobs: false, top_logprobs: 2 }, wrong("top_logprobs", 'it needs "logprobs": true')],
    [{ messages: undefined }, missing("messages", "an array of messages that is not empty")],
    [{ messages: [] }, wrong("messages", "expected an array of messages that is not empty, found an array of 0 items")],
    [{ messages: "hi" }, wrong("messages", 'expected an array of messages that is not empty, found "hi"')],
    [{ messages: ["hi"] }, wrong("messages[0]", 'expected an object, found "hi"')],
    [{ max_tokens: 0 }, wrong("max_tokens", "expected an integer of at least 1 or -1, found 0")],
    [{ messages: [{ content: "x" }] }, missing("messages[0].role", ROLES)],
    [{ messages: [{ role: "user" }] }, missing("messages[0].content", CONTENT)],
    [{ messages: [{ role: "bot", content: "" }] }, wrong("messages[0].role", `expected ${ROLES}, found "bot"`)],
    [
      { messages: [HI.messages[0], { role: "tool", content: "4", tool_call_id: "a" }] },
      wrong("messages[1].tool_call_id", 'expected the id of a call in a message before, found "a"'),
    ],
    [
      { messages: [{ role: "function", name: "add", content: "4" }] },
      wrong("messages[0].name", 'no message before calls "add"'),
    ],
    [{ messages: [{ role: "tool", content: "x" }] }, missing("messages[0].tool_call_id", "the id of a call")],
    [{ messages: [{ role: "assistant" }] }, missing("messages[0].content", CONTENT)],
    [
      { messages: [{ role: "user", content: "x", tool_calls: [CALL] }] },
      wrong("messages[0].tool_calls", 'the role is "user", only "assistant" has it'),
    ],
    [
      { messages: [{ role: "assistant", tool_calls: [{ ...CALL, type: "custom" }] }] },
      missing("messages[0].tool_calls[0].custom", "an object"),
    ],
    [{ tools: [TOOL, TOOL] }, wrong("tools[1].function.name", 'two tools are named "f"')],
    [{ tools: [{ type: "custom", custom: {} }] }, missing("tools[0].custom.name", "a text")],
    [{ tool_choice: "required" }, wrong("tool_choice", "there are no tools to choose from")],
    [
      { tools: [TOOL], tool_choice: { type: "function", function: { name: "g" } } },
      wrong("tool_choice", 'no tool is named "g"'),
    ],
    [
      { reasoning_effort: "much" },
      wrong("reasoning_effort", 'expected "none", "minimal", "low", "medium", "high", "xhigh" or "max", found "much"'),
    ],
    [{ store: true }, notYet("store", "answers are not stored, expected false")],
    [{ metadata: { a: 1 } }, wrong("metadata.a", "expected a text, found 1")],
    [{ messages: [{ role: "user", content: "x", mood: 1 }] }, wrong("messages[0].mood", "there is no such parameter")],
    [user(null), wrong("messages[0].content", `expected ${CONTENT}, found null`)],
    [
      user([{ type: "refusal", refusal: "No" }]),
      wrong("messages[0].content[0]", 'the role is "user", only "assistant" refuses'),
    ],
    [
      user([{ type: "image_url", image_url: { url: "data:," } }]),
      wrong(
        "messages[0].content[0].image_url.url",
        'expected an address or a data URL of an image in base64, found "data:,"',
      ),
    ],
    [
      user([
        { type: "text", text: "x" },
        { type: "input_audio", input_audio: {} },
      ]),
      notYet(
        "messages[0].content[1].type",
        '"input_audio" is not supported yet, expected "text", "image_url" or "refusal"',
      ),
    ],
    [
      user([{ type: "poem", text: "x" }]),
      wrong("messages[0].content[0].type", 'expected "text", "image_url" or "refusal", found "poem"'),
    ],
    [user([{ type: "text" }]), missing("messages[0].content[0].text", "a text")],
    [user([{ type: "text", text: "x", tone: 1 }]), wrong("messages[0].content[0].tone", "there is no such parameter")],
  ];
  for (const [change, expected] of cases) {
    test(JSON.stringify(change), async () => {
      expect(await refusal(CHAT, { ...HI, ...change })).toEqual(expected);
    });
  }
});

describe("a completion is refused for", () => {
  const PROMPT = "a text or an array of token ids or prompts that is not empty";
  const cases: typeof SHARED = [
    ...SHARED,
    [{ prompt: undefined }, missing("prompt", PROMPT)],
    [{ prompt: null }, wrong("prompt", `expected ${PROMPT}, found null`)],
    [
      { prompt: [] },
      wrong("prompt", "expected an array of token ids or prompts that is not empty, found an array of 0 items"),
    ],
    [{ prompt: [3, -1] }, wrong("prompt[1]", "expected an integer of at least 0, found -1")],
    [{ prompt: ["one", 2] }, wrong("prompt", "expected token ids or prompts, found both")],
    [
      { prompt: ["one", []] },
      wrong("prompt[1]", "expected an array of token ids that is not empty, found an array of 0 items"),
    ],
    [
      { prompt: new Array(17).fill("x"), n: 4 },
      wrong("prompt", "expected at most 64 answers to all prompts, found 68"),
    ],
    [{ best_of: 2, n: 3 }, wrong("best_of", '"n" says 3, found 2')],
    [{ best_of: 21 }, wrong("best_of", "expected an integer from 1 to 20, found 21")],
    [{ best_of: 2, stream: true }, wrong("best_of", "which answers are the best shows at their end: it has no stream")],
    [{ echo: "yes" }, wrong("echo", 'expected true or false, found "yes"')],
    [
      { echo: true, logprobs: 0, best_of: 2 },
      wrong("best_of", 'with "echo" and "logprobs" the prompt would count too'),
    ],
    [{ logprobs: true }, wrong("logprobs", "expected an integer from 0 to 20, found true")],
    [{ logprobs: 21 }, wrong("logprobs", "expected an integer from 0 to 20, found 21")],
    [{ max_tokens: -2 }, wrong("max_tokens", "expected an integer of at least -1, found -2")],
    [{ messages: [] }, wrong("messages", "there is no such parameter")],
  ];
  for (const [change, expected] of cases) {
    test(JSON.stringify(change), async () => {
      expect(await refusal(COMPLETIONS, { ...SAY, ...change })).toEqual(expected);
    });
  }
});

test("each of OpenAI's other parameters is refused by name", async () => {
  for (const name of "audio moderation web_search_options".split(" ")) {
    for (const value of [1, false]) {
      expect(await refusal(CHAT, { ...HI, [name]: value })).toEqual(notYet(name));
    }
  }
  expect(await refusal(CHAT, { ...HI, modalities: ["audio"] })).toEqual(
    notYet("modalities[0]", '"audio" is not supported yet, expected "text"'),
  );
  expect(await refusal(COMPLETIONS, { prompt: [1], model: "tiny", suffix: "x" })).toEqual(
    wrong("suffix", "prompts of token ids are taken as they are"),
  );
  expect(await refusal(COMPLETIONS, { ...SAY, suffix: "x", echo: true })).toEqual(
    wrong("suffix", 'with "echo" it has no place'),
  );
});

test("what asks for nothing but the plain answer is taken", async () => {
  const { post } = serverOf(new ScriptedBackend());
  const plain = { stream: true, stream_options: { include_obfuscation: false }, user: "ada" };
  expect((await post(CHAT, { ...HI, ...plain, modalities: ["text"], verbosity: "medium" })).status).toBe(200);
  expect((await post(COMPLETIONS, { ...SAY, ...plain })).status).toBe(200);
});

describe("taken, as its peers take it", () => {
  const answered = async (...messages: object[]) => {
    const backend = new ScriptedBackend();
    const response = await serverOf(backend).post(CHAT, { ...HI, messages: [...HI.messages, ...messages] });
    expect(response.status).toBe(200);
    const { prompt } = backend.last;
    return prompt.kind === "messages" ? prompt.messages.slice(1) : [];
  };
  const silent = { role: "assistant", content: "", reasoning: null, tool_calls: [] } as const;

  test("null for whatever is not supported yet", async () => {
    const names = "audio function_call functions moderation web_search_options".split(" ");
    const nothing = Object.fromEntries(names.map((name) => [name, null]));
    expect((await serverOf(new ScriptedBackend()).post(CHAT, { ...HI, ...nothing })).status).toBe(200);
  });

  test("an answer as OpenAI's clients write it down, with all that it lacks", async () => {
    const dumped = {
      role: "assistant",
      content: "Hm",
      refusal: null,
      annotations: [],
      audio: null,
      function_call: null,
    };
    expect(await answered({ ...dumped, tool_calls: null })).toEqual([{ ...silent, content: "Hm" }]);
  });

  test("an answer that says nothing, or refuses", async () => {
    const refused = { role: "assistant", content: [{ type: "refusal", refusal: "No" }] };
    const said = await answered({ role: "assistant", content: null }, { role: "assistant", content: [] }, refused);
    expect(said).toEqual([silent, silent, { ...silent, content: "No" }]);
  });

  test("a result that says nothing, with the tool's name", async () => {
    const calls = { role: "assistant", tool_calls: [CALL] };
    const result = { role: "tool", tool_call_id: CALL.id, name: "f" };
    const said = await answered(calls, { ...result, content: null }, { ...result, content: [] });
    expect(said.slice(1)).toEqual(Array(2).fill({ role: "tool", content: "", tool_call_id: CALL.id }));
  });

  test("arguments that a model left unfinished", async () => {
    const cut = { ...CALL, function: { name: "f", arguments: '{"a' } };
    const [answer] = await answered({ role: "assistant", tool_calls: [cut] });
    expect(answer).toMatchObject({ tool_calls: [{ arguments: '{"a' }] });
  });

  test("names of those who speak", async () => {
    const said = { content: "x", name: "Ada" };
    const named = await answered(
      { role: "user", ...said },
      { role: "assistant", ...said },
      { role: "system", ...said },
    );
    expect(named).toMatchObject(Array(3).fill({ name: "Ada" }));
  });

  test("no stop texts or many, no bound of tokens, and all tokens to draw from", async () => {
    const backend = new ScriptedBackend();
    const { post } = serverOf(backend);
    await post(COMPLETIONS, { ...SAY, stop: [], max_tokens: -1, top_k: -1 });
    expect(backend.last).toMatchObject({ stop: [], tokens_max: null, sampling: { top_k: 0 } });
    await post(CHAT, { ...HI, stop: [..."abcdef"], logprobs: false, top_logprobs: 0 });
    expect(backend.last).toMatchObject({ stop: [..."abcdef"], logprobs: null });
  });

  test("a schema with its description", async () => {
    const backend = new ScriptedBackend();
    const json_schema = { name: "n", description: "What it is for", schema: { type: "object" } };
    await serverOf(backend).post(CHAT, { ...HI, response_format: { type: "json_schema", json_schema } });
    expect(backend.last.constraint).toMatchObject({ kind: "json_schema", schema: { type: "object" } });
  });
});

describe("a body is refused that", () => {
  const DEEP = "Cannot read the body: it is nested deeper than 128 levels";
  const cases: [string, string, string | RegExp][] = [
    ["is not an object", "[1]", "Cannot use the request: expected an object, found an array of 1 item"],
    ["is null", "null", "Cannot use the request: expected an object, found null"],
    ["is empty", "", "Cannot read the body: it is empty, expected a JSON object"],
    ["breaks off", '{"model":', /^Cannot read the body: it is not JSON \(.+\)$/],
    ["breaks off a million arrays deep", "[".repeat(1e6), /^Cannot read the body: it is not JSON \(.+\)$/],
    ["nests a million arrays", `${"[".repeat(1e6)}${"]".repeat(1e6)}`, DEEP],
    ["nests 60,000 arrays in a field", `{"messages":${"[".repeat(60_000)}${"]".repeat(60_000)}}`, DEEP],
    ["nests 60,000 objects", `${'{"a":'.repeat(60_000)}1${"}".repeat(60_000)}`, DEEP],
    ["nests one level more than the limit", `${"[".repeat(129)}${"]".repeat(129)}`, DEEP],
    ["nests as much as the limit", `${"[".repeat(128)}${"]".repeat(128)}`, /^Cannot use the request: /],
    ["hides a parameter as __proto__", '{"__proto__":{"n":2}}', /"__proto__": there is no such parameter|is missing/],
  ];
  for (const [what, body, expected] of cases) {
    test(what, async () => {
      const { message } = await refusal(CHAT, body);
      expect(message).toMatch(expected);
    });
  }

  test("is not UTF-8", async () => {
    const { ask } = serverOf(new ScriptedBackend());
    const body = new Uint8Array([0x7b, 0xff, 0x7d]);
    const response = await ask(CHAT, { method: "POST", headers: { "content-type": "application/json" }, body });
    expect(response.status).toBe(400);
    expect((await readProblem(response)).detail).toBe("Cannot read the body: it is not UTF-8");
  });
});

test("a query parameter is refused, for no route has one", async () => {
  const response = await serverOf(new ScriptedBackend()).ask("/v1/models?limit=1");
  expect(response.status).toBe(400);
  expect((await readProblem(response)).error.param).toBe("limit");
});

test("a long value is shown in part", async () => {
  const { message } = await refusal(CHAT, { ...HI, stream: "x".repeat(100_000) });
  expect(message.length).toBeLessThan(200);
});

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

describe("of a random request", () => {
  const SEED = 20_261_121;
  const FULL: Json = {
    model: "tiny",
    messages: [
      { role: "system", content: "a" },
      { role: "user", content: [{ type: "text", text: "b" }] },
    ],
    stream: true,
    stream_options: { include_usage: true },
    temperature: 0.5,
    stop: ["x"],
    seed: 1,
  };

  /** Every object within, with the place of it. */
  function objectsIn(value: Json, place = ""): { place: string; object: { [key: string]: Json } }[] {
    if (typeof value !== "object" || value === null) return [];
    if (Array.isArray(value)) return value.flatMap((item, index) => objectsIn(item, `${place}[${index}]`));
    const inner = Object.entries(value).flatMap(([key, item]) =>
      objectsIn(item, place === "" ? key : `${place}.${key}`),
    );
    return [{ place, object: value }, ...inner];
  }

  test(`an unknown property at any depth is refused by its path (seed ${SEED})`, async () => {
    const random = seeded(SEED);
    for (const { place } of objectsIn(FULL)) {
      const name = `p${integer(random, 0, 1e9)}`;
      const body = structuredClone(FULL);
      const target = objectsIn(body).find((found) => found.place === place);
      if (target !== undefined) target.object[name] = integer(random, 0, 9);
      const path = place === "" ? name : `${place}.${name}`;
      expect(await refusal(CHAT, body)).toEqual(wrong(path, "there is no such parameter"));
    }
  });

  const VALUES: Json[] = [
    null,
    true,
    0,
    -1,
    1.5,
    1e300,
    "",
    "text",
    "\ud800",
    [],
    [[]],
    {},
    { type: "text" },
    ["a", 1],
  ];

  /** Puts a random value at a random place. */
  function disturb(value: Json, random: () => number): Json {
    const stop = typeof value !== "object" || value === null || random() < 0.2;
    if (stop) return VALUES[integer(random, 0, VALUES.length - 1)] ?? null;
    const keys = Object.keys(value);
    const key = keys[integer(random, 0, keys.length - 1)];
    if (key === undefined) return null;
    if (Array.isArray(value)) return value.map((item, index) => (String(index) === key ? disturb(item, random) : item));
    return { ...value, [key]: disturb(value[key] ?? null, random) };
  }

  test(`no disturbance is a bug: it is answered, or refused in one sentence (seed ${SEED})`, async () => {
    const random = seeded(SEED);
    const backend = new ScriptedBackend();
    const { post, bugs } = serverOf(backend);
    const statuses = new Map<number, number>();
    for (let round = 0; round < 600; round++) {
      const [path, whole] =
        round % 2 === 0 ? [CHAT, FULL] : [COMPLETIONS, { ...SAY, stop: ["x"], seed: 1, stream: false }];
      const body = disturb(whole, random);
      const response = await post(path, body);
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
      if (response.status === 200) await response.text();
      else expect(`${JSON.stringify(body)} ${(await readProblem(response)).detail}`).toMatch(/ Cannot [^\n]+[^.\n]$/);
    }
    expect(bugs).toBeEmpty();
    expect([...statuses.keys()].sort()).toEqual([200, 400, 404]);
  });
});
