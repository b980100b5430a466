/** What only a real socket shows: clients that leave or do not read, busy ports, bodies over the limit. */

import { afterEach, describe, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { Failure } from "../../src/core/failure.ts";
import { BODY_BYTES_MAX } from "../../src/http/body.ts";
import { type Listening, listen } from "../../src/http/listen.ts";
import { endless, readProblem, type Script, ScriptedBackend, said, serverOf, USAGE } from "./scripted-backend.ts";

const CHAT = "/v1/chat/completions";
const HI = { model: "tiny", messages: [{ role: "user", content: "hi" }] };

const open: Listening[] = [];

afterEach(async () => {
  for (const listening of open.splice(0)) await listening.stop();
});

function start(script?: Script, unread_ms_max?: number) {
  const backend = new ScriptedBackend(script);
  const { app, bugs } = serverOf(backend, unread_ms_max);
  const listening = listen(app, { host: "127.0.0.1", port: 0 });
  open.push(listening);
  const post = async (body: object, signal?: AbortSignal) =>
    await fetch(`${listening.url}${CHAT}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      signal: signal ?? null,
    });
  return { backend, bugs, post, ...listening };
}

async function until(fact: () => boolean): Promise<void> {
  for (let waited_ms = 0; waited_ms < 2000; waited_ms += 5) {
    if (fact()) return;
    await Bun.sleep(5);
  }
  throw new Error(`Not within 2 s: ${fact}`);
}

function postOf(body: object): string {
  const text = JSON.stringify(body);
  return [
    `POST ${CHAT} HTTP/1.1`,
    "Host: localhost",
    "Content-Type: application/json",
    `Content-Length: ${text.length}`,
    "",
    text,
  ].join("\r\n");
}

function socketTo(port: number): { socket: Socket; received: () => string; closed: Promise<void> } {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.on("data", (data) => {
    text += data;
  });
  socket.on("error", () => undefined);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return { socket, received: () => text, closed };
}

describe("a client that leaves ends its generation", () => {
  async function expectEnd(backend: ScriptedBackend, bugs: unknown[]) {
    await until(() => backend.aborted === 1 && backend.closed === 1);
    const events = backend.events;
    await Bun.sleep(30);
    expect(backend.events).toBe(events);
    expect(bugs).toBeEmpty();
  }

  test("in the middle of a stream", async () => {
    const { backend, bugs, post } = start(endless);
    const leaving = new AbortController();
    const response = await post({ ...HI, stream: true }, leaving.signal);
    await response.body?.getReader().read();
    leaving.abort();
    await expectEnd(backend, bugs);
  });

  test("before the first event of a stream", async () => {
    const { backend, bugs, post } = start(async function* (_, signal) {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      yield* [];
    });
    const leaving = new AbortController();
    const response = post({ ...HI, stream: true }, leaving.signal).catch(() => null);
    await until(() => backend.requests.length === 1);
    leaving.abort();
    await expectEnd(backend, bugs);
    expect(await response).toBeNull();
  });

  test("while it waits for a whole answer", async () => {
    const { backend, bugs, post } = start(endless);
    const leaving = new AbortController();
    const response = post(HI, leaving.signal).catch(() => null);
    await until(() => backend.events > 2);
    leaving.abort();
    await expectEnd(backend, bugs);
    expect(await response).toBeNull();
  });

  test("even if the backend heeds no signal, by the iterator's return", async () => {
    const { backend, bugs, post } = start(async function* () {
      yield { kind: "start", prompt_tokens: 1 };
      while (true) {
        await Bun.sleep(5);
        yield said("word ");
      }
    });
    const leaving = new AbortController();
    const response = await post({ ...HI, stream: true }, leaving.signal);
    await response.body?.getReader().read();
    leaving.abort();
    await expectEnd(backend, bugs);
  });

  test("when the server stops", async () => {
    const { backend, bugs, post, stop } = start(endless);
    const response = await post({ ...HI, stream: true });
    await response.body?.getReader().read();
    await stop();
    await expectEnd(backend, bugs);
  });

  test("and a backend that throws on its way out is no bug", async () => {
    const { backend, bugs, post } = start(async function* (_, signal) {
      yield { kind: "start", prompt_tokens: 1 };
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    });
    for (const stream of [true, false]) {
      const leaving = new AbortController();
      const response = post({ ...HI, stream }, leaving.signal).then((response) => response.text());
      const outcome = response.then(
        () => "answered",
        () => "left",
      );
      await until(() => backend.requests.length === (stream ? 1 : 2));
      await Bun.sleep(20);
      leaving.abort();
      await until(() => backend.closed === backend.requests.length);
      expect(await outcome).toBe("left");
    }
    expect(bugs).toBeEmpty();
  });
});

test("an answer that ended is not aborted when its client leaves", async () => {
  const { backend, post, stop } = start();
  await (await post({ ...HI, stream: true })).text();
  await (await post(HI)).text();
  await stop();
  await Bun.sleep(20);
  expect({ aborted: backend.aborted, closed: backend.closed }).toEqual({ aborted: 0, closed: 2 });
});

test("a client that does not read holds the backend back instead of filling memory", async () => {
  const { backend, port } = start(async function* () {
    yield { kind: "start", prompt_tokens: 1 };
    while (true) yield said("x".repeat(10_000));
  });
  const { socket } = socketTo(port);
  socket.pause();
  socket.write(postOf({ ...HI, stream: true }));
  await until(() => backend.events > 10);
  let before = -1;
  await until(() => {
    const still = backend.events === before;
    before = backend.events;
    return still;
  });
  await Bun.sleep(200);
  expect(backend.events).toBe(before);
  expect(before).toBeLessThan(2000); // 20 MB: the kernel's buffers of both ends hold a few
  socket.destroy();
  await until(() => backend.closed === 1);
});

test("a client that has not read for too long is cut off, and its generation ends", async () => {
  const { backend, bugs, port } = start(async function* () {
    yield { kind: "start", prompt_tokens: 1 };
    while (true) yield said("x".repeat(10_000));
  }, 200);
  const { socket, closed } = socketTo(port);
  socket.pause();
  socket.write(postOf({ ...HI, stream: true }));
  await until(() => backend.aborted === 1 && backend.closed === 1);
  socket.resume();
  await closed;
  expect(bugs).toBeEmpty();
});

test("a silent engine is not taken for a client that does not read", async () => {
  const { backend, post } = start(async function* () {
    yield { kind: "start", prompt_tokens: 1 };
    await Bun.sleep(500);
    yield said("late");
    yield { kind: "finish", choice: 0, reason: "stop", stop_text: null };
    yield { kind: "end", usage: USAGE };
  }, 200);
  const text = await (await post({ ...HI, stream: true })).text();
  expect(text).toContain("late");
  expect(text).toEndWith("data: [DONE]\n\n");
  expect(backend.aborted).toBe(0);
});

test("two requests on one connection are both answered", async () => {
  const { port } = start();
  const { socket, received } = socketTo(port);
  socket.write(postOf({ ...HI, stream: true }));
  await until(() => received().includes("[DONE]"));
  socket.write(postOf(HI));
  await until(() => received().includes('"chat.completion"'));
  socket.destroy();
});

test("a body announced over the limit is refused at once, in a sentence", async () => {
  const { port, backend } = start();
  const { socket, received } = socketTo(port);
  const head = ["Host: localhost", "Content-Type: application/json", `Content-Length: ${BODY_BYTES_MAX + 1}`];
  socket.write([`POST ${CHAT} HTTP/1.1`, ...head, "", "{"].join("\r\n"));
  await until(() => received().includes("request_too_large"));
  expect(received()).toStartWith("HTTP/1.1 413 ");
  expect(received()).toContain("application/problem+json");
  expect(backend.requests).toBeEmpty();
  socket.destroy();
});

test("a client that leaves while it sends its body is no bug", async () => {
  const { port, bugs, backend } = start();
  const { socket, closed } = socketTo(port);
  const head = ["Host: localhost", "Content-Type: application/json", "Content-Length: 1000"];
  socket.write([`POST ${CHAT} HTTP/1.1`, ...head, "", "{"].join("\r\n"));
  await Bun.sleep(30);
  socket.destroy();
  await closed;
  await Bun.sleep(50);
  expect(bugs).toBeEmpty();
  expect(backend.requests).toBeEmpty();
});

test("a page whose name was made to point here is refused by the Host header it sends", async () => {
  const { port } = start();
  const { socket, received } = socketTo(port);
  socket.write("GET /v1/models HTTP/1.1\r\nHost: rebound.example.com\r\n\r\n");
  await until(() => received().includes("rebound.example.com"));
  expect(received()).toStartWith("HTTP/1.1 403 ");
  socket.destroy();
});

describe("a Host header that makes no URL is refused in a sentence", () => {
  const expected = "expected localhost, 127.0.0.1 or [::1]";
  const cases: [string, string, string][] = [
    ["missing, as HTTP/1.0 allows", "GET /health?x HTTP/1.0\r\n\r\n", "its Host header is missing"],
    ["empty", "GET /health HTTP/1.1\r\nHost: \r\n\r\n", 'its Host header names ""'],
    [
      "with a user",
      "GET /health HTTP/1.1\r\nHost: localhost:1@evil.example\r\n\r\n",
      'its Host header names "localhost:1@evil.example"',
    ],
    ["with a space", "POST /v1/models HTTP/1.1\r\nHost: a b\r\n\r\n", 'its Host header names "a b"'],
  ];
  test.each(cases)("%s", async (_, request, state) => {
    const { port, bugs } = start();
    const { socket, received } = socketTo(port);
    socket.write(request);
    await until(() => received().endsWith("}"));
    socket.destroy();
    const [head = "", body = ""] = received().split("\r\n\r\n");
    expect(head).toMatch(/^HTTP\/1\.[01] 400 /);
    expect(head.toLowerCase()).toContain("content-type: application/problem+json");
    expect(head.toLowerCase()).toContain("x-request-id: req_");
    expect(JSON.parse(body).detail).toBe(`Cannot answer the request: ${state}, ${expected}`);
    expect(bugs).toBeEmpty();
  });
});

test("an error that escapes the server is a problem that tells nothing, and is reported", async () => {
  const { app, bugs } = serverOf(new ScriptedBackend());
  const escaped = new Error("the password is swordfish");
  const broken = { ...app, handle: () => Promise.reject(escaped) };
  const listening = listen(broken, { host: "127.0.0.1", port: 0 });
  open.push(listening);
  const response = await fetch(`${listening.url}/health`);
  expect(response.status).toBe(500);
  const { detail, request_id } = await readProblem(response);
  expect(detail).toBe(`Cannot answer: an error inside the server, which its log shows under ${request_id}`);
  expect(bugs).toEqual([{ error: escaped, request_id }]);
});

describe("listening", () => {
  function refusalOf(host: string, port: number): unknown {
    const { app } = serverOf(new ScriptedBackend());
    try {
      open.push(listen(app, { host, port }));
    } catch (error) {
      return error;
    }
    throw new Error(`${host}:${port} was free`);
  }

  test("on a port that is taken is a failure that says so", () => {
    const { port } = start();
    const sentence = `Cannot listen on 127.0.0.1:${port}: another program already uses this port`;
    expect(refusalOf("127.0.0.1", port)).toEqual(new Failure("unavailable", sentence));
  });

  test("on an address of another machine is a failure that says so", () => {
    const sentence = "Cannot listen on 203.0.113.1:0: this machine has no such address";
    expect(refusalOf("203.0.113.1", 0)).toEqual(new Failure("unavailable", sentence));
  });

  test("on a port that does not exist is a failure", () => {
    expect(refusalOf("127.0.0.1", 70_000)).toBeInstanceOf(Failure);
  });

  test("gives the URL at which it answers, and stops answering when it is stopped", async () => {
    const { url, stop } = start();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    const response = await fetch(`${url}/nowhere`);
    expect((await readProblem(response)).status).toBe(404);
    await stop();
    await expect(fetch(`${url}/health`)).rejects.toThrow();
  });
});
