/** The compiled executable as a server, over real sockets. */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import OpenAI from "openai";
import { Home, MODEL, type Served } from "../served.ts";
import { IS_COMPILED, runToEnd, START_MS_MAX, startServer } from "./executable.ts";

setDefaultTimeout(START_MS_MAX);
const testExecutable = test.skipIf(!IS_COMPILED);
const question = {
  model: MODEL,
  messages: [{ role: "user", content: "What is the capital of France?" }],
  temperature: 0,
  max_tokens: 16,
} as const;

const home = new Home();
let running: Served | null = null;

beforeAll(async () => {
  if (IS_COMPILED) running = await startServer(home);
}, START_MS_MAX);

afterAll(async () => {
  await running?.stop("SIGKILL");
  home[Symbol.dispose]();
});

function client(): OpenAI {
  return new OpenAI({ baseURL: `${running?.url}/v1`, apiKey: "none", maxRetries: 0 });
}

testExecutable("a chat gets Paris", async () => {
  const answer = await client().chat.completions.create({ ...question, messages: [...question.messages] });
  expect(answer.choices[0]?.message.content).toContain("Paris");
});

testExecutable("a streamed chat is the whole one in pieces", async () => {
  const messages = [...question.messages];
  const whole = await client().chat.completions.create({ ...question, messages });
  const pieces: string[] = [];
  for await (const chunk of await client().chat.completions.create({ ...question, messages, stream: true })) {
    pieces.push(chunk.choices[0]?.delta.content ?? "");
  }
  expect(pieces.filter((piece) => piece !== "").length).toBeGreaterThan(2);
  expect(pieces.join("")).toBe(whole.choices[0]?.message.content ?? "");
});

testExecutable("the API page and all it loads come from the executable", async () => {
  const page = await (await fetch(`${running?.url}/docs`)).text();
  const loaded = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(
    ([, target]) => new URL(target ?? "", `${running?.url}/docs`),
  );
  for (const target of loaded.filter(({ protocol }) => protocol !== "data:")) {
    expect(target.origin).toBe(running?.url ?? "");
    expect((await fetch(target)).status).toBe(200);
  }
});

testExecutable("a busy port is one sentence and code 1, at once", async () => {
  const port = new URL(running?.url ?? "").port;
  const { code, errors } = await runToEnd(home, ["serve", "--port", port]);
  expect(code).toBe(1);
  expect(errors).toBe(`bunsen: Cannot listen on 127.0.0.1:${port}: another program already uses this port\n`);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  testExecutable(`${signal} ends it with code 0, also while it answers`, async () => {
    await using server = await startServer(home);
    const reply = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        ...question,
        max_tokens: 2000,
        stream: true,
        messages: [{ role: "user", content: "Count to 500" }],
      }),
    });
    await reply.body?.getReader().read();
    const asked_ms = performance.now();
    expect(await server.stop(signal)).toBe(0);
    expect(performance.now() - asked_ms).toBeLessThan(5_000);
  });
}
