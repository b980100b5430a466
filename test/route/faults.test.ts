/** What a client sees, and what the audit says, of each way in which a provider can fail. */

import { describe, expect, test } from "bun:test";
import type { Socket } from "node:net";
import type { Tuning } from "../../src/route/remote/upstream.ts";
import { scratchFolder } from "../formats/scratch.ts";
import { type Behaviour, event, faultyServer, LAST_PIECE, piece, STREAM_HEAD, whole } from "./faulty-server.ts";
import { closedAfterEach, openHouse, until } from "./house.ts";

const FOLDER = scratchFolder();
const HI = { model: "far", messages: [{ role: "user", content: "hi" }] };
const GOOD = JSON.stringify({ id: "x", choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } });
const USAGE = `data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n`;
const DONE = "data: [DONE]\n\n";

const open = closedAfterEach();

let houses = 0;

/** A house whose model `far` is at a provider that behaves so, with `tiny` as its fallback or none. */
async function houseBefore(
  behave: Behaviour,
  tuning: Partial<Tuning> = {},
  fallbacks: readonly string[] = [],
  silence_ms = 10_000,
) {
  const server = await faultyServer(behave);
  const house = openHouse({ folder: `${FOLDER}/${houses++}`, tuning, silence_ms });
  open.push(() => server.stop(), house.close);
  await house.set("providers", { name: "cloud", api_type: "openai", base_url: server.base_url });
  await house.set("rules", { model_pattern: "far", pattern_type: "exact", target: "cloud", fallbacks });
  return { house, server };
}

const RESET: Behaviour = (socket) => void socket.resetAndDestroy();

/** Faults before anything of an answer has come: streamed or not, they are the same. */
const BEFORE: Record<string, { behave: Behaviour; status: number; error_type: string; tuning?: Partial<Tuning> }> = {
  "resets the connection": { behave: RESET, status: 502, error_type: "upstream" },
  "is silent": {
    behave: () => undefined,
    status: 504,
    error_type: "upstream_timeout",
    tuning: { first_byte_ms_max: 100 },
  },
  "answers with another type": {
    behave: (socket) => void socket.write(whole(200, "text/html", "<p>Hello</p>")),
    status: 502,
    error_type: "upstream",
  },
  "fails with 500": {
    behave: (socket) => void socket.write(whole(500, "application/json", '{"error":{"message":"oh"}}')),
    status: 500,
    error_type: "http_500",
  },
  "fails with 500 and no JSON": {
    behave: (socket) => void socket.write(whole(500, "text/plain", "oh")),
    status: 502,
    error_type: "upstream",
  },
  "has no room": {
    behave: (socket) =>
      void socket.write(whole(429, "application/json", '{"error":{"message":"later"}}', { "retry-after": "7" })),
    status: 429,
    error_type: "http_429",
  },
  "refuses the key": {
    behave: (socket) => void socket.write(whole(401, "application/json", '{"error":{"message":"bad key sk-1"}}')),
    status: 502,
    error_type: "upstream",
  },
  "does not know the model": {
    behave: (socket) => void socket.write(whole(404, "application/json", '{"error":{"message":"no such model"}}')),
    status: 404,
    error_type: "http_404",
  },
  "finds the request wrong": {
    behave: (socket) => void socket.write(whole(400, "application/json", '{"error":{"message":"bad tool"}}')),
    status: 400,
    error_type: "http_400",
  },
  redirects: {
    behave: (socket) => void socket.write(whole(307, "text/plain", "", { location: "http://169.254.169.254/x" })),
    status: 502,
    error_type: "upstream",
  },
};

for (const stream of [false, true]) {
  describe(`before an answer${stream ? " as a stream" : ""} a provider`, () => {
    for (const [fault, { behave, status, error_type, tuning }] of Object.entries(BEFORE)) {
      test(`${fault}: the client is told with ${status}, once`, async () => {
        const { house, server } = await houseBefore(behave, tuning);
        const response = await house.chat({ ...HI, stream });
        expect(response.status).toBe(status);
        expect(await response.json()).toHaveProperty("error.message");
        if (status === 429) expect(response.headers.get("retry-after")).toBe("7");
        expect(server.requests()).toHaveLength(1);
        const [row, ...more] = house.rows();
        expect(more).toEqual([]);
        const expected = {
          status: error_type === "upstream_timeout" ? "timeout" : "error",
          error_type,
          backend: "cloud",
        };
        expect(row).toMatchObject({ ...expected, left_machine: true, model_asked: "far", prompt_tokens: null });
        expect(house.bugs).toEqual([]);
      });

      if (fault === "finds the request wrong") continue;
      test(`${fault}: a fallback answers whole`, async () => {
        const { house } = await houseBefore(behave, tuning, ["local:tiny"]);
        const response = await house.chat({ ...HI, stream });
        expect(response.status).toBe(200);
        expect(await response.text()).toContain("wörld");
        expect(response.headers.get("x-bunsen-route")).toBe("local:tiny (rule 1, fallback 1)");
        const expected = { status: "success", backend: "local", model_served: "tiny", completion_tokens: 2 };
        expect(house.rows()).toMatchObject([{ ...expected, left_machine: true, error_type: null }]);
      });
    }
  });
}

/** What servers say while they have nothing to say. */
const SILENCES = [": OPENROUTER PROCESSING\n\n", 'event: ping\ndata: {"type": "ping"}\n\n', ":\r\n\r\n"];
const WORD = /^(?:: working\n\n)+/;

describe("comments and pings before the first event of a provider", () => {
  const broken: Record<string, (socket: Socket) => void> = {
    "that then resets": (socket) => void socket.resetAndDestroy(),
    "that then ends": (socket) => void socket.end(LAST_PIECE),
    "that fails in the same breath": (socket) =>
      void socket.end(piece(`${SILENCES.join("")}data: {"error":{"message":"full"}}\n\n`) + LAST_PIECE),
    "that then fails": (socket) => void socket.end(piece('data: {"error":{"message":"full"}}\n\n') + LAST_PIECE),
  };

  test.each(Object.entries(broken))("%s: a fallback answers whole", async (_, fail) => {
    const behave: Behaviour = async (socket) => {
      socket.write(STREAM_HEAD);
      for (const silence of SILENCES) {
        socket.write(piece(silence));
        await Bun.sleep(10);
      }
      fail(socket);
    };
    const { house } = await houseBefore(behave, {}, ["local:tiny"]);
    const response = await house.chat({ ...HI, stream: true });
    expect(await response.text()).toContain("wörld");
    expect(response.headers.get("x-bunsen-route")).toBe("local:tiny (rule 1, fallback 1)");
    expect(house.rows()).toMatchObject([{ status: "success", backend: "local", error_type: null }]);
  });

  test("reach the client with it, byte for byte", async () => {
    const text = SILENCES.join("") + event("Hello", "stop") + SILENCES.join("") + DONE;
    const behave: Behaviour = async (socket) => {
      socket.write(STREAM_HEAD);
      for (const block of text.split(/(?<=\n\n|\r\n\r\n)/)) {
        socket.write(piece(block));
        await Bun.sleep(2);
      }
      socket.end(LAST_PIECE);
    };
    const { house } = await houseBefore(behave);
    expect(await (await house.chat({ ...HI, stream: true })).text()).toBe(text);
  });

  test("are not waited for: the client has comments of this server, and then the fallback", async () => {
    const behave: Behaviour = async (socket) => {
      socket.write(STREAM_HEAD + piece(SILENCES[0] ?? ""));
      await Bun.sleep(150);
      socket.resetAndDestroy();
    };
    const { house } = await houseBefore(behave, {}, ["local:tiny"], 20);
    const text = await (await house.chat({ ...HI, stream: true })).text();
    expect(text).toMatch(WORD);
    expect(text.replace(WORD, "")).toStartWith("data: {");
    expect(text).toContain("wörld");
  });
});

for (const stream of [false, true]) {
  test(`nobody listens${stream ? " for a stream" : ""}: the client is told with 502`, async () => {
    const { house, server } = await houseBefore(() => undefined);
    server.stop();
    const response = await house.chat({ ...HI, stream });
    expect([response.status, await response.text()]).toEqual([502, expect.stringContaining("refuses the connection")]);
    expect(house.rows()).toMatchObject([{ status: "error", error_type: "upstream", backend: "cloud" }]);
  });
}

const HEAD = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\n";

/** Faults in the midst of a whole answer: nothing of it is given, and another may still be asked. */
const HALFWAY: Record<string, { behave: Behaviour; tuning?: Partial<Tuning>; status: number; audit: object }> = {
  "resets the connection": {
    behave: async (socket) => {
      socket.write(`${HEAD}content-length: 1000\r\n\r\n{"id": "x", "choi`);
      await Bun.sleep(20);
      socket.resetAndDestroy();
    },
    status: 502,
    audit: { status: "error", error_type: "upstream" },
  },
  "ends within a chunk": {
    behave: (socket) => void socket.end(`${HEAD}transfer-encoding: chunked\r\n\r\n400\r\n{"id": "x", "choi`),
    status: 502,
    audit: { status: "error", error_type: "upstream" },
  },
  "sends JSON that is none": {
    behave: (socket) => void socket.write(whole(200, "application/json", '{"id": "x')),
    status: 502,
    audit: { status: "error", error_type: "upstream" },
  },
  "falls silent": {
    behave: (socket) => void socket.write(`${HEAD}content-length: 1000\r\n\r\n{"id": "x", "choi`),
    tuning: { total_ms_max: 150 },
    status: 504,
    audit: { status: "timeout", error_type: "upstream_timeout" },
  },
  "never ends": {
    behave: async (socket) => {
      socket.write(`${HEAD}transfer-encoding: chunked\r\n\r\n`);
      while (!socket.destroyed) {
        socket.write(piece(" ".repeat(1000)));
        await Bun.sleep(2);
      }
    },
    tuning: { total_ms_max: 150 },
    status: 504,
    audit: { status: "timeout", error_type: "upstream_timeout" },
  },
};

describe("amid a whole answer a provider", () => {
  for (const [fault, { behave, tuning, status, audit }] of Object.entries(HALFWAY)) {
    test(`${fault}: the client is told with ${status}, or has the whole answer of a fallback`, async () => {
      const { house, server } = await houseBefore(behave, tuning);
      const response = await house.chat(HI);
      expect([response.status, await response.json()]).toEqual([
        status,
        expect.objectContaining({ error: expect.anything() }),
      ]);
      expect(house.rows()).toMatchObject([
        { ...audit, backend: "cloud", prompt_tokens: null, completion_tokens: null },
      ]);
      await until(() => server.closed() === 1 || fault === "sends JSON that is none");
      await house.send("PUT", "/api/settings/rules/1", {
        model_pattern: "far",
        pattern_type: "exact",
        target: "cloud",
        fallbacks: ["local:tiny"],
      });
      expect(await (await house.chat(HI)).text()).toContain("wörld");
      expect(house.rows()[1]).toMatchObject({ status: "success", backend: "local", left_machine: true });
      expect(house.bugs).toEqual([]);
    });
  }
});

/** Faults in the midst of a stream: what had come whole stays, and one typed error ends it. */
const AMID: Record<string, { behave: Behaviour; tuning?: Partial<Tuning>; status: string }> = {
  "resets the connection": {
    behave: async (socket) => {
      socket.write(STREAM_HEAD + piece(event("Hello")));
      await Bun.sleep(20);
      socket.resetAndDestroy();
    },
    status: "error",
  },
  "ends within an event": {
    behave: (socket) =>
      void socket.write(STREAM_HEAD + piece(event("Hello")) + piece(event("lost").slice(0, 30)) + LAST_PIECE),
    status: "error",
  },
  "ends before its end": {
    behave: (socket) => void socket.write(STREAM_HEAD + piece(event("Hello")) + LAST_PIECE),
    status: "error",
  },
  "falls silent": {
    behave: (socket) => void socket.write(STREAM_HEAD + piece(event("Hello"))),
    tuning: { total_ms_max: 150 },
    status: "timeout",
  },
};

describe("amid a stream a provider", () => {
  for (const [fault, { behave, tuning, status }] of Object.entries(AMID)) {
    test(`${fault}: what came stays, one error ends it, and no fallback is spliced in`, async () => {
      const { house, server } = await houseBefore(behave, { retries_max: 2, ...tuning }, ["local:tiny"]);
      const response = await house.chat({ ...HI, stream: true });
      expect(response.status).toBe(200);
      const text = await response.text();
      expect(text.startsWith(event("Hello"))).toBe(true);
      const rest = text.slice(event("Hello").length);
      expect(rest).toMatch(/^data: \{"error":\{[^\n]+\}\}\n\n$/);
      expect(text).not.toContain("DONE");
      expect(server.requests()).toHaveLength(1);
      await until(() => house.rows().length === 1);
      expect(house.rows()).toMatchObject([{ status, backend: "cloud", completion_tokens: null }]);
      expect(house.backend.requests).toEqual([]);
    });
  }

  test("tells of an error itself: its words are the last, and the audit knows", async () => {
    const words = 'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n';
    const { house } = await houseBefore(
      (socket) => void socket.write(STREAM_HEAD + piece(event("Hello")) + piece(words) + LAST_PIECE),
    );
    expect(await (await house.chat({ ...HI, stream: true })).text()).toBe(event("Hello") + words);
    await until(() => house.rows().length === 1);
    expect(house.rows()).toMatchObject([{ status: "error", error_type: "upstream" }]);
  });

  test("never ends: the time for the whole ends it", async () => {
    const { house, server } = await houseBefore(
      async (socket) => {
        socket.write(STREAM_HEAD);
        while (!socket.destroyed) {
          socket.write(piece(event("again")));
          await Bun.sleep(2);
        }
      },
      { total_ms_max: 200 },
    );
    const text = await (await house.chat({ ...HI, stream: true })).text();
    expect(text).toMatch(/data: \{"error":\{[^\n]+\}\}\n\n$/);
    await until(() => server.closed() === 1);
    expect(house.rows()).toMatchObject([{ status: "timeout" }]);
  });

  test("is left when the client leaves, and the audit says cancelled", async () => {
    const { house, server } = await houseBefore((socket) => void socket.write(STREAM_HEAD + piece(event("Hello"))));
    const leave = new AbortController();
    const response = await house.chat({ ...HI, stream: true }, { signal: leave.signal });
    await response.body?.getReader().read();
    leave.abort();
    await until(() => server.closed() === 1 && house.rows().length === 1);
    expect(house.rows()).toMatchObject([{ status: "cancelled", backend: "cloud" }]);
  });
});

/** Where every event is read and written anew. */
const ACROSS: Record<string, { behave: Behaviour; tuning?: Partial<Tuning>; audit: object }> = {
  "resets the connection": {
    behave: async (socket) => {
      socket.write(STREAM_HEAD + piece(event("Hello")));
      await Bun.sleep(20);
      socket.resetAndDestroy();
    },
    audit: { status: "error", error_type: "upstream" },
  },
  "sends an event that is not JSON": {
    behave: (socket) => void socket.write(STREAM_HEAD + piece(event("Hello")) + piece("data: {\n\n") + LAST_PIECE),
    audit: { status: "error", error_type: "upstream" },
  },
  "sends an event of another protocol": {
    behave: (socket) =>
      void socket.write(STREAM_HEAD + piece(event("Hello")) + piece('data: {"a":1}\n\n') + LAST_PIECE),
    audit: { status: "error", error_type: "upstream" },
  },
  "ends within an event": {
    behave: (socket) =>
      void socket.write(STREAM_HEAD + piece(event("Hello")) + piece(event("lost").slice(0, 30)) + LAST_PIECE),
    audit: { status: "error", error_type: "upstream" },
  },
  "never ends": {
    behave: async (socket) => {
      socket.write(STREAM_HEAD);
      while (!socket.destroyed) {
        socket.write(piece(event("Hello")));
        await Bun.sleep(2);
      }
    },
    tuning: { total_ms_max: 200 },
    audit: { status: "timeout", error_type: "upstream_timeout" },
  },
};

describe("amid an answer to a caller of another protocol a provider", () => {
  const asked = { model: "far", max_tokens: 5, messages: [{ role: "user", content: "hi" }] };
  for (const [fault, { behave, tuning, audit }] of Object.entries(ACROSS)) {
    test(`${fault}: a stream ends with one error in the caller's words, and a whole answer is only that`, async () => {
      const { house } = await houseBefore(behave, tuning);
      const streamed = await house.send("POST", "/v1/messages", { ...asked, stream: true });
      const text = await streamed.text();
      expect([streamed.status, text]).toEqual([200, expect.stringContaining('"text":"Hello"')]);
      expect(text.match(/event: error\ndata: \{"type":"error","error":\{[^\n]+\}\n\n$/)).not.toBeNull();
      expect(text).not.toContain("message_stop");
      const plain = await house.send("POST", "/v1/messages", asked);
      expect(plain.status).toBeGreaterThanOrEqual(502);
      expect(await plain.json()).toMatchObject({ type: "error", error: { message: expect.any(String) } });
      await until(() => house.rows().length === 2);
      const row = { ...audit, backend: "cloud", dialect: "anthropic", completion_tokens: null };
      expect(house.rows()).toMatchObject([row, row]);
      expect(house.bugs).toEqual([]);
    });
  }
});

test("a client that leaves before the answer began ends the request at the provider", async () => {
  const { house, server } = await houseBefore(() => undefined);
  const leave = new AbortController();
  const asked = house.chat(HI, { signal: leave.signal }).catch(() => "left");
  await until(() => server.requests().length === 1);
  leave.abort();
  expect(await asked).toBe("left");
  await until(() => server.closed() === 1 && house.rows().length === 1);
  expect(house.rows()).toMatchObject([{ status: "cancelled" }]);
});

test("events cut anywhere by the network arrive the same, and are counted as the client saw them", async () => {
  const body = event("Hel") + event("lo", "stop") + USAGE + DONE;
  for (const size of [1, 7, 64]) {
    const { house } = await houseBefore(async (socket) => {
      socket.write(STREAM_HEAD);
      for (let at = 0; at < body.length; at += size) socket.write(piece(body.slice(at, at + size)));
      socket.write(LAST_PIECE);
    });
    expect(await (await house.chat({ ...HI, stream: true })).text()).toBe(body);
    await until(() => house.rows().length === 1);
    expect(house.rows()).toMatchObject([{ status: "success", prompt_tokens: 3, completion_tokens: 2 }]);
  }
});

describe("a provider is asked again", () => {
  const failTwice =
    (status: number, headers: Record<string, string> = {}): Behaviour =>
    (socket, index) =>
      void socket.write(
        index < 2 ? whole(status, "application/json", "{}", headers) : whole(200, "application/json", GOOD),
      );

  for (const status of [408, 429, 500, 503]) {
    test(`after ${status}, and its good answer is passed on`, async () => {
      const { house, server } = await houseBefore(failTwice(status), { retries_max: 2 });
      const response = await house.chat(HI);
      expect([response.status, await response.text()]).toEqual([200, GOOD]);
      expect(server.requests()).toHaveLength(3);
      expect(house.rows()).toMatchObject([{ status: "success", prompt_tokens: 3, completion_tokens: 2 }]);
    });
  }

  test("not before it has said, and not at all when that is too long", async () => {
    const patient = await houseBefore(failTwice(429, { "retry-after": "1" }), { retries_max: 1 });
    const before_ms = performance.now();
    expect((await patient.house.chat(HI)).status).toBe(429);
    expect(performance.now() - before_ms).toBeGreaterThan(990);
    expect(patient.server.requests()).toHaveLength(2);
    const hurried = await houseBefore(failTwice(429, { "retry-after": "60" }), { retries_max: 1 });
    expect((await hurried.house.chat(HI)).status).toBe(429);
    expect(hurried.server.requests()).toHaveLength(1);
  });
});

test("five failures open the breaker, one probe closes it, and its state can be seen and reset", async () => {
  let well = false;
  const { house, server } = await houseBefore(
    (socket) => void socket.write(well ? whole(200, "application/json", GOOD) : whole(500, "application/json", "{}")),
    { half_open_after_ms: 200 },
  );
  const states = async () => {
    const { data } = (await (await house.send("GET", "/api/providers/health")).json()) as {
      data: { breakers: object[] }[];
    };
    return data[0]?.breakers;
  };
  for (let index = 0; index < 5; index++) expect((await house.chat(HI)).status).toBe(500);
  const asked = server.requests().length;
  const refused = await house.chat(HI);
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([502, "1"]);
  expect(server.requests()).toHaveLength(asked);
  expect(await states()).toEqual([{ model: "far", state: "open" }]);
  await Bun.sleep(220);
  well = true;
  expect((await house.chat(HI)).status).toBe(200);
  const failed = { status: "error", error_type: "http_500", backend: "cloud", left_machine: true };
  expect(house.rows()).toMatchObject([
    ...Array(5).fill(failed),
    { status: "error", error_type: "upstream", backend: "cloud", left_machine: false },
    { status: "success", prompt_tokens: 3 },
  ]);
  expect(await states()).toEqual([{ model: "far", state: "closed" }]);
  well = false;
  for (let index = 0; index < 5; index++) await house.chat(HI);
  expect(await states()).toEqual([{ model: "far", state: "open" }]);
  expect((await house.send("POST", "/api/settings/providers/cloud/reset")).status).toBe(200);
  well = true;
  expect((await house.chat(HI)).status).toBe(200);
});

test("what goes beyond the cap of requests at once is refused with 429", async () => {
  const { house, server } = await houseBefore(() => undefined, { in_flight_max: 2, first_byte_ms_max: 300 });
  const held = [house.chat(HI), house.chat(HI)];
  await until(() => server.requests().length === 2);
  expect((await house.chat(HI)).status).toBe(429);
  expect((await Promise.all(held)).map((response) => response.status)).toEqual([504, 504]);
});
