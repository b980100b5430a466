/**
 * What the bench of the gateway runs beside itself: `upstream`, which answers at once, and `gateway`, ours without an
 * engine.
 */

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildRouting, openCredentials } from "../../src/app.ts";
import { Failure } from "../../src/core/failure.ts";
import { defaultSettings } from "../../src/core/settings.ts";
import { listen } from "../../src/http/listen.ts";
import { createServer } from "../../src/http/server.ts";
import { Catalog } from "../../src/schedule/catalog.ts";
import { StoredApiKeys } from "../../src/store/api-keys.ts";
import { StoredAudit } from "../../src/store/audit.ts";
import { openStore } from "../../src/store/database.ts";
import { ScriptedHub } from "../../test/http/scripted-hub.ts";
import { NO_TOKENS, ScriptedOwner, ScriptedProfiles, ScriptedShelf } from "../../test/http/scripted-owner.ts";

const CHUNKS = 100;
const ANSWER = JSON.stringify({
  id: "chatcmpl-1",
  object: "chat.completion",
  created: 1,
  model: "far",
  choices: [{ index: 0, message: { role: "assistant", content: "Hello" }, logprobs: null, finish_reason: "stop" }],
  usage: { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10 },
});

const [part, port = "", upstream_url = ""] = process.argv.slice(2);
if (part === "upstream") serveUpstream(Number(port));
else await serveGateway(Number(port), upstream_url);

function serveUpstream(port: number): void {
  const encoder = new TextEncoder();
  const chunk = (delta: object, finish_reason: string | null) =>
    encoder.encode(
      `data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "far", choices: [{ index: 0, delta, finish_reason }] })}\n\n`,
    );
  const word = chunk({ content: "word " }, null);
  const last = chunk({}, "stop");
  const done = encoder.encode("data: [DONE]\n\n");
  Bun.serve({
    hostname: "127.0.0.1",
    port,
    async fetch(request) {
      const { stream } = (await request.json()) as { stream?: boolean };
      if (stream !== true) return new Response(ANSWER, { headers: { "content-type": "application/json" } });
      let sent = 0;
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          // Each in a write of its own, as a model makes them.
          await new Promise((resolve) => setImmediate(resolve));
          controller.enqueue(sent < CHUNKS - 1 ? word : last);
          sent += 1;
          if (sent < CHUNKS) return;
          controller.enqueue(done);
          controller.close();
        },
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    },
  });
}

async function serveGateway(port: number, base_url: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "bunsen-gateway-"));
  const store = openStore(folder);
  const settings = { ...defaultSettings(2 ** 33), private_hosts: ["127.0.0.1"], default_provider: "cloud" };
  const absent = () => {
    throw new Failure("unavailable", "Cannot answer here: there is no engine");
  };
  const local = { generate: absent, embed: absent, rerank: absent, count: absent };
  const parts = {
    store,
    settings,
    providers: openCredentials(store, settings, { data_folder: folder, providers: [] }).providers,
    local,
    names: { has: () => false, resolve: (model: string) => ({ model, profile: null }) },
    outlook: () => Promise.reject(new Error("no model is here")),
  };
  const { router, desk, providers } = buildRouting(parts);
  await providers.save({ name: "cloud", api_type: "openai", backend_type: "cloud", base_url }, "sk-bench");
  await providers.warm();
  let count = 0;
  const server = createServer({
    gateway: router,
    desk,
    audit: new StoredAudit(store, settings, Date.now, (error) => console.error(error)),
    models: new Catalog([]),
    outlook: parts.outlook,
    prefix_cache: { explain: absent },
    tokens: NO_TOKENS,
    owner: new ScriptedOwner(),
    profiles: new ScriptedProfiles(),
    hub: new ScriptedHub(),
    keys: new StoredApiKeys(store, Date.now),
    isKeyRequired: () => false,
    responses: new ScriptedShelf(),
    version: "bench",
    requestId: () => `req_${(++count).toString(16).padStart(12, "0")}`,
    now: Date.now,
    unread_ms_max: 60_000,
    silence_ms: () => 10_000,
    reportBug: (error) => console.error(error),
  });
  listen(server, { host: "127.0.0.1", port });
}
