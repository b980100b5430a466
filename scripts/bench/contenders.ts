/** Who is measured: ours and a peer, each a URL or a command that is started and stopped. Knows no figure. */

import { availableParallelism } from "node:os";
import type { ParseArgsOptionsConfig } from "node:util";
import { ask } from "./answer.ts";
import { type Server, startServer, stopServer } from "./server.ts";

const START_MS_MAX = 300_000;
const POLL_MS = 5;

export const CONTENDER_HELP = `  --ours URL           base URL of a running server, as http://127.0.0.1:10240/v1
  --ours-command "…"   start this one, as "dist/bunsen serve --port {port}", and stop it at the end
  --peer URL           base URL of a llama-server that runs
  --peer-command PATH  start this llama-server executable, and stop it at the end
  --peer-model FILE    the GGUF file it is to serve
`;

export const CONTENDER_OPTIONS = {
  ours: { type: "string" },
  "ours-command": { type: "string" },
  peer: { type: "string" },
  "peer-command": { type: "string" },
  "peer-model": { type: "string" },
} as const satisfies ParseArgsOptionsConfig;

export type ContenderValues = { readonly [Option in keyof typeof CONTENDER_OPTIONS]?: string | undefined };

export type Name = "ours" | "peer";

export interface Contender {
  readonly name: Name;
  /** null: it runs at `url` already. */
  readonly command: readonly string[] | null;
  readonly url: string | null;
  readonly extra: Readonly<Record<string, unknown>>;
}

export interface Running {
  readonly name: Name;
  readonly server: Server;
  readonly model: string;
  readonly extra: Contender["extra"];
}

const IGNORE_END = { ignore_eos: true };

/** The peer has so many slots, each of so many tokens. */
export function readContenders(values: ContenderValues, slots: number, slot_tokens: number): Contender[] {
  const ours = values["ours-command"]?.split(/\s+/).filter(Boolean) ?? null;
  const found: Contender[] = [];
  if (ours !== null || values.ours !== undefined) {
    found.push({ name: "ours", command: ours, url: values.ours ?? null, extra: IGNORE_END });
  }
  const program = values["peer-command"];
  if (program !== undefined || values.peer !== undefined) {
    const command = program === undefined ? null : peerCommand(program, values["peer-model"] ?? "", slots, slot_tokens);
    found.push({ name: "peer", command, url: values.peer ?? null, extra: IGNORE_END });
  }
  return found;
}

function peerCommand(program: string, model: string, slots: number, slot_tokens: number): string[] {
  const sizes = ["-t", availableParallelism(), "-np", slots, "-c", slots * slot_tokens, "--cache-ram", 0].map(String);
  return [program, "-m", model, ...sizes, "--host", "127.0.0.1", "--port", "{port}"];
}

/** Starts the contender, or finds it at its URL, and waits for its first answer, of one token. */
export async function startContender(contender: Contender): Promise<{ running: Running; start_ms: number }> {
  const { name, command, url, extra } = contender;
  const began_ms = performance.now();
  const server = command === null ? { url: (url ?? "").replace(/\/$/, ""), process: null } : startServer(command);
  const model = await firstAnswer(server, extra);
  return { running: { name, server, model, extra }, start_ms: performance.now() - began_ms };
}

/** The model that answered. A server that is still starting refuses connections, or answers that it loads. */
async function firstAnswer(server: Server, extra: Contender["extra"]): Promise<string> {
  const deadline_ms = performance.now() + START_MS_MAX;
  while (true) {
    try {
      const model = await firstModel(server.url);
      await ask({ url: server.url, model, salt: "Answer.", prompt: "Hello", tokens_max: 1, extra });
      return model;
    } catch (error) {
      const ended = server.process !== null && server.process.exitCode !== null;
      if (ended || server.process === null || performance.now() > deadline_ms) {
        await stopServer(server);
        throw error;
      }
    }
    await Bun.sleep(POLL_MS);
  }
}

async function firstModel(url: string): Promise<string> {
  const reply = await fetch(`${url}/models`);
  const list = (await reply.json()) as { data?: readonly { id: string }[] };
  const first = list.data?.[0];
  if (first === undefined) throw new Error(`${url} lists no model`);
  return first.id;
}
