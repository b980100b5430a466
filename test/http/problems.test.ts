/** How trouble is told: problem details that also carry OpenAI's error object, and the request's id. */

import { describe, expect, test } from "bun:test";
import { Failure, type FailureKind } from "../../src/core/failure.ts";
import { BODY_BYTES_MAX } from "../../src/http/body.ts";
import { failing, hello, readEvents, readProblem, ScriptedBackend, serverOf } from "./scripted-backend.ts";

const CHAT = "/v1/chat/completions";
const HI = { model: "tiny", messages: [{ role: "user", content: "hi" }] };
const SECRET = "the password is swordfish";

interface Expected {
  readonly status: number;
  readonly type: string;
  readonly code: string | null;
  readonly retry_after: string | null;
  readonly should_retry?: string;
}

const KINDS: Record<FailureKind, Expected> = {
  invalid_request: { status: 400, type: "invalid_request_error", code: null, retry_after: null },
  unsupported: { status: 400, type: "invalid_request_error", code: "unsupported", retry_after: null },
  context_overflow: { status: 400, type: "invalid_request_error", code: "context_length_exceeded", retry_after: null },
  unauthorized: { status: 401, type: "authentication_error", code: "invalid_api_key", retry_after: null },
  forbidden: { status: 403, type: "permission_error", code: "forbidden", retry_after: null },
  not_found: { status: 404, type: "invalid_request_error", code: "not_found", retry_after: null },
  too_large: { status: 413, type: "invalid_request_error", code: "request_too_large", retry_after: null },
  overloaded: { status: 429, type: "rate_limit_error", code: "overloaded", retry_after: "1" },
  unavailable: { status: 503, type: "server_error", code: "unavailable", retry_after: null, should_retry: "false" },
  no_memory: { status: 503, type: "server_error", code: "insufficient_memory", retry_after: "1" },
  timeout: { status: 408, type: "invalid_request_error", code: "timeout", retry_after: null },
  cancelled: { status: 409, type: "invalid_request_error", code: "cancelled", retry_after: null },
  engine: { status: 500, type: "server_error", code: "engine_error", retry_after: null },
  upstream: { status: 502, type: "server_error", code: "upstream_error", retry_after: null },
  upstream_timeout: { status: 504, type: "server_error", code: "upstream_timeout", retry_after: null },
};

test("a failure that knows when to try again says so", async () => {
  const failure = new Failure("overloaded", "Cannot take the request: 256 wait already", null, 17);
  const { post } = serverOf(new ScriptedBackend(failing(failure, 0)));
  expect((await post(CHAT, HI)).headers.get("retry-after")).toBe("17");
});

describe("a failure before the first event", () => {
  for (const [kind, expected] of Object.entries(KINDS) as [FailureKind, Expected][]) {
    for (const stream of [false, true]) {
      test(`of kind ${kind} is status ${expected.status}${stream ? ", also for a stream" : ""}`, async () => {
        const failure = new Failure(kind, "Cannot do it: it is too hard", "messages");
        const { post, bugs } = serverOf(new ScriptedBackend(failing(failure, 0)));
        const response = await post(CHAT, { ...HI, stream });
        expect(response.status).toBe(expected.status);
        expect(response.headers.get("retry-after")).toBe(expected.retry_after);
        expect(response.headers.get("x-should-retry")).toBe(expected.should_retry ?? null);
        const { title, ...problem } = await readProblem(response);
        expect(title).not.toBeEmpty();
        expect(problem).toEqual({
          type: `urn:bunsen:problem:${kind.replaceAll("_", "-")}`,
          status: expected.status,
          detail: "Cannot do it: it is too hard",
          instance: CHAT,
          request_id: "req_000000000001",
          error: {
            message: "Cannot do it: it is too hard",
            type: expected.type,
            param: "messages",
            code: expected.code,
          },
        });
        expect(bugs).toBeEmpty();
      });
    }
  }
});

test("a failure after the first event of a stream is its last event, and there is no [DONE]", async () => {
  const failure = new Failure("engine", "Cannot go on: the engine died");
  const backend = new ScriptedBackend(failing(failure, 2));
  const { post, bugs } = serverOf(backend);
  const response = await post(CHAT, { ...HI, stream: true });
  expect(response.status).toBe(200);
  const events = await readEvents(response);
  expect(events).toHaveLength(3);
  expect(events.at(-1)).toEqual({
    error: { message: "Cannot go on: the engine died", type: "server_error", param: null, code: "engine_error" },
  });
  expect(backend.closed).toBe(1);
  expect(bugs).toBeEmpty();
});

test("a failure in the middle of a whole answer is an error status", async () => {
  const { post } = serverOf(new ScriptedBackend(failing(new Failure("engine", "Cannot go on: it died"), 2)));
  const response = await post(CHAT, HI);
  expect(response.status).toBe(500);
  expect((await readProblem(response)).error.code).toBe("engine_error");
});

describe("a bug of ours", () => {
  const message = "Cannot answer: an error inside the server, which its log shows under req_000000000001";
  for (const thrown of [new Error(SECRET), new TypeError(SECRET), SECRET, { message: SECRET }]) {
    test(`is status 500 that tells nothing: ${Bun.inspect(thrown).split("\n").at(-1)}`, async () => {
      const { post, bugs } = serverOf(new ScriptedBackend(failing(thrown, 0)));
      const response = await post(CHAT, HI);
      expect(response.status).toBe(500);
      const text = await response.clone().text();
      expect(text).not.toContain("swordfish");
      expect((await readProblem(response)).error).toEqual({
        message,
        type: "server_error",
        param: null,
        code: "internal_error",
      });
      expect(bugs).toEqual([{ error: thrown, request_id: "req_000000000001" }]);
    });
  }

  test("in a stream tells nothing either", async () => {
    const { post, bugs } = serverOf(new ScriptedBackend(failing(new Error(SECRET), 1)));
    const events = await readEvents(await post(CHAT, { ...HI, stream: true }));
    expect(events.at(-1)).toEqual({ error: { message, type: "server_error", param: null, code: "internal_error" } });
    expect(bugs).toHaveLength(1);
  });

  test("is a backend that ends without a terminal event", async () => {
    const { post, bugs } = serverOf(
      new ScriptedBackend(async function* () {
        for await (const event of hello()) if (event.kind !== "end") yield event;
      }),
    );
    expect((await post(CHAT, HI)).status).toBe(500);
    const events = await readEvents(await post(CHAT, { ...HI, stream: true }));
    expect(events.at(-1)).toHaveProperty("error");
    expect(events).not.toContain("[DONE]");
    expect(bugs).toHaveLength(2);
  });
});

test("an unknown model is 404 with OpenAI's code", async () => {
  const { post } = serverOf(new ScriptedBackend());
  const response = await post(CHAT, { ...HI, model: "gpt-9" });
  expect(response.status).toBe(404);
  expect((await readProblem(response)).error).toMatchObject({ param: "model", code: "model_not_found" });
});

test("an unknown route is 404, a wrong method 405 with the right ones", async () => {
  const { ask } = serverOf(new ScriptedBackend());
  const nowhere = await ask("/v2/chat");
  expect(nowhere.status).toBe(404);
  expect((await readProblem(nowhere)).detail).toBe("Cannot answer GET /v2/chat: there is no such route");
  const cases: [string, string, string][] = [
    ["GET", CHAT, "POST"],
    ["DELETE", "/v1/models/org/name", "GET"],
    ["PUT", "/v1/models/tiny", "GET"],
    ["POST", "/health", "GET"],
    ["GET", "/v1/completions/", "POST"],
  ];
  for (const [method, path, allow] of cases) {
    const response = await ask(path, { method });
    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe(allow);
    expect((await readProblem(response)).detail).toBe(`Cannot answer ${method} ${path}: this route takes ${allow}`);
  }
});

test("a body that is not JSON by its type is 415", async () => {
  const { post, ask } = serverOf(new ScriptedBackend());
  const form = "application/x-www-form-urlencoded";
  for (const type of ["text/plain", form, "multipart/form-data; boundary=x", "application/json-seq"]) {
    const response = await post(CHAT, HI, { "content-type": type });
    expect(response.status).toBe(415);
    expect((await readProblem(response)).detail).toContain(`"${type}", expected "application/json"`);
  }
  const bare = await ask(CHAT, { method: "POST" });
  expect(bare.status).toBe(415);
  const packed = await post(CHAT, HI, { "content-encoding": "gzip" });
  expect(packed.status).toBe(415);
});

test("a type with a charset is JSON too", async () => {
  const { post } = serverOf(new ScriptedBackend());
  const response = await post(CHAT, HI, { "content-type": "Application/JSON; charset=utf-8" });
  expect(response.status).toBe(200);
});

describe("a body over the limit is 413", () => {
  test("when its length is announced", async () => {
    const { ask } = serverOf(new ScriptedBackend());
    const headers = { "content-type": "application/json", "content-length": String(BODY_BYTES_MAX + 1) };
    const response = await ask(CHAT, { method: "POST", headers, body: "{}" });
    expect(response.status).toBe(413);
    expect((await readProblem(response)).detail).toContain(`at most ${BODY_BYTES_MAX} bytes`);
  });

  test("when it is not, and then it is not read to its end", async () => {
    const { ask } = serverOf(new ScriptedBackend());
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        sent += 1 << 20;
        controller.enqueue(new Uint8Array(1 << 20).fill(0x20));
        if (sent > 64 * BODY_BYTES_MAX) controller.close();
      },
    });
    const response = await ask(CHAT, { method: "POST", headers: { "content-type": "application/json" }, body });
    expect(response.status).toBe(413);
    await readProblem(response);
    expect(sent).toBeLessThan(2 * BODY_BYTES_MAX);
  });

  test("and one at the limit is read", async () => {
    const { post } = serverOf(new ScriptedBackend());
    const text = JSON.stringify(HI);
    const response = await post(CHAT, text + " ".repeat(BODY_BYTES_MAX - text.length));
    expect(response.status).toBe(200);
  });
});

test("every response has the request's id, and each request its own", async () => {
  const { ask, post } = serverOf(new ScriptedBackend());
  const responses = [
    await post(CHAT, HI),
    await post(CHAT, { ...HI, stream: true }),
    await post("/v1/completions", { model: "tiny", prompt: "x" }),
    await post(CHAT, { ...HI, n: 2 }),
    await post(CHAT, "{"),
    await post(CHAT, { ...HI, model: "none" }),
    await ask("/v1/models"),
    await ask("/v1/models/org%2Fname"),
    await ask("/v1/models/none"),
    await ask("/health"),
    await ask("/health", { method: "HEAD" }),
    await ask("/openapi.json"),
    await ask("/docs"),
    await ask("/nowhere"),
    await ask(CHAT),
    await ask("/health", { headers: { origin: "https://example.com" } }),
  ];
  const ids = responses.map((response) => response.headers.get("x-request-id"));
  expect(ids).toEqual(responses.map((_, index) => `req_${(index + 1).toString(16).padStart(12, "0")}`));
});
