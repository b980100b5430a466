/** Who may call: this machine by its own name. */

import { describe, expect, test } from "bun:test";
import { refuseForeign } from "../../src/http/loopback.ts";
import { readProblem, ScriptedBackend, serverOf } from "./scripted-backend.ts";

const request = (headers: Record<string, string>) => new Request("http://localhost/health", { headers });

describe("a Host header", () => {
  for (const host of ["localhost", "LocalHost:10240", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:65535"]) {
    test(`of ${host} is let in`, () => {
      expect(() => refuseForeign(request({ host }))).not.toThrow();
    });
  }
  const names = ["example.com", "localhost.example.com", "127.0.0.1.nip.io", "evil-localhost", "localhost:80:80"];
  const addresses = ["0.0.0.0", "192.168.0.2:10240", "[::]", "::1", "user@localhost", "localhost/", "localhost:", ""];
  for (const host of [...names, ...addresses]) {
    test(`of "${host}" is refused`, () => {
      expect(() => refuseForeign(request({ host }))).toThrow("Cannot answer the request: its Host header names");
    });
  }
});

describe("an Origin header", () => {
  for (const origin of ["http://localhost", "http://127.0.0.1:3000", "https://[::1]:8443"]) {
    test(`of ${origin} is let in`, () => {
      expect(() => refuseForeign(request({ origin }))).not.toThrow();
    });
  }
  for (const origin of [
    "https://example.com",
    "null",
    "http://localhost.example.com",
    "file://",
    "ftp://localhost",
    "",
  ]) {
    test(`of "${origin}" is refused`, () => {
      expect(() => refuseForeign(request({ origin }))).toThrow("Cannot answer the request: its Origin header names");
    });
  }
});

test("a foreign page gets 403 on every route and reaches no backend", async () => {
  const backend = new ScriptedBackend();
  const { ask, post } = serverOf(backend);
  const origin = "https://example.com";
  const chat = { model: "tiny", messages: [{ role: "user", content: "hi" }] };
  const responses = [
    await post("/v1/chat/completions", chat, { origin }),
    await post("/v1/chat/completions", chat, { host: "rebound.example.com" }),
    await ask("/v1/models", { headers: { origin } }),
    await ask("/docs", { headers: { host: "rebound.example.com" } }),
    await ask("/nowhere", { headers: { origin } }),
  ];
  for (const response of responses) {
    expect(response.status).toBe(403);
    expect((await readProblem(response)).error).toMatchObject({ type: "permission_error", code: "forbidden" });
  }
  expect(backend.requests).toBeEmpty();
});

test("a request whose URL names another host is refused without a Host header", async () => {
  const { app } = serverOf(new ScriptedBackend());
  const response = await app.handle(new Request("http://example.com/health"));
  expect(response.status).toBe(403);
});
