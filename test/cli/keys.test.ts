/** `bunsen keys` beside a server that runs: other machines are served by keys only, and by those alone that there are now. */

import { expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { Home, MODEL, runToEnd, Served } from "../served.ts";

const HI = { model: MODEL, messages: [{ role: "user", content: "Hello" }], max_tokens: 2 };
const OWN_ADDRESS = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;

test("other machines are served by keys, which act at once", async () => {
  using home = new Home();
  const given = { home: home.path };
  const none = await runToEnd(["serve", "--host", "0.0.0.0", "--port", "0"], given);
  const state = "other machines are served by API keys only, and there is none";
  const sentence = `bunsen: Cannot listen on 0.0.0.0: ${state}; make one with "bunsen keys create NAME"\n`;
  expect([none.code, none.errors]).toEqual([1, sentence]);

  const created = await runToEnd(["keys", "create", "phone", "--local-only"], given);
  const secret = created.output.trim();
  expect([created.code, secret]).toEqual([0, expect.stringMatching(/^bsk_/)]);
  await using server = await Served.start(["--host", "0.0.0.0"], given);
  expect((await server.ask("GET", "/v1/models")).status).toBe(401);
  expect((await server.ask("POST", "/v1/chat/completions", HI, secret)).status).toBe(200);
  if (OWN_ADDRESS !== undefined) {
    const url = `http://${OWN_ADDRESS}:${new URL(server.url).port}/v1/models`;
    expect((await fetch(url)).status).toBe(401);
    expect((await fetch(url, { headers: { "x-api-key": secret } })).status).toBe(200);
  }

  const listed = await runToEnd(["keys"], given);
  expect(listed.output).toMatch(/^phone +\d{4}-\d\d-\d\d {2}local-only\n$/);
  expect((await runToEnd(["keys", "remove", "phone"], given)).output).toBe("removed phone\n");
  expect((await server.ask("POST", "/v1/chat/completions", HI, secret)).status).toBe(401);
  const again = await runToEnd(["keys", "remove", "phone"], given);
  expect([again.code, again.errors]).toEqual([
    1,
    'bunsen: Cannot remove API key "phone": there is none of that name\n',
  ]);
}, 60_000);
