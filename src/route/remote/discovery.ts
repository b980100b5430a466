/** Asks servers what they are, whether they answer, and which models they have. Sends no prompt. */

import { Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { readUpTo } from "../../core/bounded.ts";
import type { BackendType, Detection, Provider, ProviderTest } from "../../core/routing.ts";
import { DIALECTS } from "./remote-backend.ts";

/** For an answer; whoever needs longer to list its models does not serve anybody. */
const TEST_MS_MAX = 10_000;
/** A server on this machine answers at once or is not there. */
const LOOK_MS_MAX = 1500;

/** The longest list there is, of a gateway to all clouds, has less than one. */
const LIST_BYTES_MAX = 8 * 2 ** 20;

const NO_BYTES = Buffer.alloc(0);

const modelList = Type.Object({ data: Type.Array(Type.Object({ id: Type.String() })) });

export async function testProvider(provider: Provider, key: string | null, signal: AbortSignal): Promise<ProviderTest> {
  const started_ms = performance.now();
  const told = (outcome: ProviderTest["outcome"], detail: string, models: readonly string[] = []): ProviderTest => {
    return { outcome, detail, models, latency_ms: Math.round(performance.now() - started_ms) };
  };
  const url = `${provider.base_url}/models`;
  const answer = await ask(url, DIALECTS[provider.api_type].headers(key), TEST_MS_MAX, signal);
  switch (answer.kind) {
    case "refused":
      return told("refused", `nothing listens at ${url}`);
    case "unreachable":
      return told("unreachable", `${url}: ${answer.detail}`);
    case "answered": {
      const { status, value } = answer;
      if (status === 401 || status === 403) return told("unauthorised", `it refuses the key (${status})`);
      if (status >= 400 || !Value.Check(modelList, value)) {
        return told("wrong_protocol", `${url} answered with ${status} and no list of models`);
      }
      const models = value.data.map((model) => model.id);
      return told("ok", `it has ${models.length} models`, models);
    }
  }
}

const ollamaLoaded = Type.Object({ models: Type.Array(Type.Object({ name: Type.String() })) });
const lmstudioModels = Type.Object({
  data: Type.Array(Type.Object({ id: Type.String(), state: Type.Optional(Type.String()) })),
});

/** Those in memory, where the server tells; llama.cpp has what it lists. */
export async function loadedModels(provider: Provider, signal: AbortSignal): Promise<readonly string[]> {
  const { origin } = new URL(provider.base_url);
  const read = async (path: string) => {
    const answer = await ask(origin + path, {}, TEST_MS_MAX, signal);
    return answer.kind === "answered" ? answer.value : null;
  };
  switch (provider.backend_type) {
    case "ollama": {
      const value = await read("/api/ps");
      return Value.Check(ollamaLoaded, value) ? value.models.map((model) => model.name) : [];
    }
    case "lmstudio": {
      const value = await read("/api/v0/models");
      if (!Value.Check(lmstudioModels, value)) return [];
      return value.data.filter((model) => model.state === "loaded").map((model) => model.id);
    }
    case "llamacpp": {
      const value = await read("/v1/models");
      return Value.Check(modelList, value) ? value.data.map((model) => model.id) : [];
    }
    default:
      return [];
  }
}

/** OpenAI where there is a key for it, then the servers of this machine in their order. */
export async function detectProvider(
  openai: Provider | null,
  signal: AbortSignal,
  servers: readonly Provider[],
): Promise<Detection> {
  if (openai !== null) return { provider: openai, tried: ["openai: its key is stored"] };
  const tried = ["openai: no key is stored"];
  for (const server of servers) {
    const found = await identify(new URL(server.base_url).origin, signal);
    tried.push(`${server.name} at ${new URL(server.base_url).host}: ${found ?? "no server"}`);
    if (found === server.backend_type) return { provider: server, tried };
  }
  return { provider: null, tried };
}

type Identity = Exclude<BackendType, "cloud" | "auto"> | "another server";

/** By what each has alone: two of them share their port. */
async function identify(origin: string, signal: AbortSignal): Promise<Identity | null> {
  const look = async (path: string) => await ask(origin + path, {}, LOOK_MS_MAX, signal);
  const has = async (path: string, shape: ReturnType<typeof Type.Object>) => {
    const answer = await look(path);
    return answer.kind === "answered" && answer.status === 200 && Value.Check(shape, answer.value);
  };
  const models = await look("/v1/models");
  if (models.kind !== "answered") return null;
  if (await has("/api/version", Type.Object({ version: Type.String() }))) return "ollama";
  if (await has("/api/v0/models", lmstudioModels)) return "lmstudio";
  if (
    models.server === "llama.cpp" ||
    (await has("/props", Type.Object({ default_generation_settings: Type.Any() })))
  ) {
    return "llamacpp";
  }
  // mlx-lm's is Python's own small server, and says so; it has no list where the hub's cache is not there.
  if (models.server?.startsWith("BaseHTTP/") !== true) return "another server";
  const speaks = models.status === 200 && Value.Check(modelList, models.value);
  return speaks || (await has("/health", Type.Object({ status: Type.String() }))) ? "mlxlm" : "another server";
}

type Heard =
  | { readonly kind: "answered"; readonly status: number; readonly value: unknown; readonly server: string | null }
  | { readonly kind: "refused" }
  | { readonly kind: "unreachable"; readonly detail: string };

async function ask(
  url: string,
  headers: Readonly<Record<string, string>>,
  ms_max: number,
  client: AbortSignal,
): Promise<Heard> {
  const signal = AbortSignal.any([client, AbortSignal.timeout(ms_max)]);
  try {
    const response = await fetch(url, { headers, signal, redirect: "manual" });
    const body = response.body === null ? NO_BYTES : await readUpTo(response.body, LIST_BYTES_MAX);
    if (body === null) return { kind: "unreachable", detail: `its answer exceeds ${LIST_BYTES_MAX} bytes` };
    const value = tryParse(body.toString());
    return { kind: "answered", status: response.status, value, server: response.headers.get("server") };
  } catch (error) {
    client.throwIfAborted();
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (code === "ConnectionRefused" || code === "ECONNREFUSED") return { kind: "refused" };
    return { kind: "unreachable", detail: error instanceof Error ? error.message : String(error) };
  }
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
