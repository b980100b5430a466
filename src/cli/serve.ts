/** `bunsen serve`: answers until it is told to stop. */

import { type App, buildApp } from "../app.ts";
import type { Config } from "../config.ts";
import { Failure } from "../core/failure.ts";
import { listen } from "../http/listen.ts";
import { createServer } from "../http/server.ts";
import type { Options } from "./options.ts";
import { VERSION } from "./version.ts";

export async function serve(config: Config, options: Omit<Options, "command">): Promise<void> {
  const started_ms = performance.now();
  await using app = await buildApp(config, options.models);
  const { host, port } = app.settings;
  const is_open = !isOnlyHere(host);
  if (is_open) refuseWithoutKeys(host, app.keys.keys().length);
  using audit = app.openAudit((error) => process.stderr.write(`audit ${Bun.inspect(error)}\n`));
  const server = createServer({
    gateway: app.router,
    desk: app.desk,
    audit,
    models: app.names,
    outlook: app.outlook,
    prefix_cache: app.prefix_cache,
    tokens: app.tokens,
    owner: app.owner,
    profiles: app.profiles,
    hub: app.hub,
    keys: app.keys,
    isKeyRequired: () => is_open || app.settings.require_api_key === "on",
    responses: app.responses,
    requestId: () => `req_${Buffer.from(crypto.getRandomValues(new Uint8Array(6))).toString("hex")}`,
    now: () => Date.now(),
    version: VERSION,
    unread_ms_max: UNREAD_MS_MAX,
    silence_ms: () => 1000 * app.settings.stream_silence_s,
    reportBug: (error, request_id) => process.stderr.write(`${request_id} ${Bun.inspect(error)}\n`),
  });
  const { url, stop } = listen(server, { host, port });
  const stopped = untilStopped();
  const announce = async () => {
    const { mlx_version, device } = await app.engine.device();
    for (const { model_id, reason } of await app.owner.begin()) {
      if (reason !== null) process.stderr.write(`bunsen: Cannot preload "${model_id}": ${reason}\n`);
    }
    await app.providers.warm();
    await tellDefault(app);
    const start_ms = Math.round(performance.now() - started_ms);
    const start = { url, models: residents(app), mlx_version, device, start_ms };
    process.stdout.write(options.json ? `${JSON.stringify(start)}\n` : greeting(start));
  };
  process.on("SIGHUP", () => void reload(app));
  // Listening comes first, so that a busy port is told before a model is loaded.
  try {
    await Promise.race([announce(), stopped]);
    await stopped;
  } finally {
    await stop();
  }
}

/** Longer than a laptop's network takes to come back, short enough that clients which hang do not take all places. */
const UNREAD_MS_MAX = 120_000;

function isOnlyHere(host: string): boolean {
  return host === "localhost" || host === "127.0.0.1" || host === "::1";
}

/** Whoever reaches the port could use it. */
function refuseWithoutKeys(host: string, keys: number): void {
  if (keys > 0) return;
  const state = "other machines are served by API keys only, and there is none";
  throw new Failure("forbidden", `Cannot listen on ${host}: ${state}; make one with "bunsen keys create NAME"`);
}

/** What `auto` has found, and why not another. */
async function tellDefault(app: App): Promise<void> {
  const detection = await app.findDefault();
  if (detection === null) return;
  const name = detection.provider?.name ?? "none";
  process.stderr.write(`bunsen: the default provider is ${name} (${detection.tried.join("; ")})\n`);
}

interface Start {
  readonly url: string;
  readonly models: readonly string[];
  readonly mlx_version: string;
  readonly device: string;
  readonly start_ms: number;
}

function greeting({ url, models, mlx_version, device, start_ms }: Start): string {
  return [
    `Bunsen ${VERSION} answers on ${url} (MLX ${mlx_version} on the ${device}, ready in ${start_ms} ms)`,
    `  models   ${models.join(", ") || "none resident; see bunsen models"}`,
    `  OpenAI   ${url}/v1`,
    `  API      ${url}/docs`,
    "  Ctrl-C stops it",
    "",
  ].join("\n");
}

/** As the reload route does; what is wrong is told, and all stays as it was. */
async function reload({ owner }: App): Promise<void> {
  try {
    const { changed, needs_restart } = await owner.reload();
    const later = needs_restart.length === 0 ? "" : `; from the next start on: ${needs_restart.join(", ")}`;
    process.stderr.write(`bunsen: Settings read anew, changed: ${changed.join(", ") || "none"}${later}\n`);
  } catch (error) {
    process.stderr.write(`bunsen: ${error instanceof Failure ? error.message : Bun.inspect(error)}\n`);
  }
}

function residents({ owner }: App): string[] {
  return owner.status().loaded_models.map(({ model_id }) => model_id);
}

function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
}
