/**
 * Clients that read, cancel and disconnect at random while the engine is killed under them. Speaks to the server by
 * HTTP only.
 */

import { integer } from "../random.ts";
import { MODEL, Served } from "../served.ts";

export interface Server {
  readonly url: string;
  readonly pid: number;
}

export interface Process {
  readonly pid: number;
  readonly bytes_resident: number;
}

const TOKENS_MAX = 24;
const SUBJECTS = ["rain", "a lamp", "the sea", "bread", "Tuesday", "a long road", "iron", "the letter q"];

/** Small enough that rows take each other's blocks; the default model has 22 of them then. */
const KV_BYTES_MAX = 32 * 2 ** 20;
const BLOCK_BYTES = 2 * 30 * 3 * 64 * 32 * 4;
export const CONTEXT_LENGTH = 32 * Math.floor(KV_BYTES_MAX / BLOCK_BYTES);

/** `command` as far as `serve`: the executable, or the runtime and the sources. */
export async function startServer(command: readonly string[], isolation: string): Promise<Served> {
  return await Served.start(["--isolation", isolation, "--kv-bytes-max", String(KV_BYTES_MAX)], { command });
}

/** What came of the requests; `wrong` lists what should not happen at all. */
export class Chaos {
  readonly seen = { whole: 0, engine_errors: 0, refused: 0, cancelled: 0, disconnected: 0, kills: 0 };
  readonly wrong: string[] = [];
  readonly #server: Server;
  readonly #random: () => number;
  readonly #answers = new Map<string, string>();
  #ends_ms = 0;

  constructor(server: Server, random: () => number) {
    this.#server = server;
    this.#random = random;
  }

  /** What each question's answer is when nothing goes wrong. */
  async learn(): Promise<void> {
    const ask = async (question: string) => {
      const { text, error } = await read(await this.#ask(question, TOKENS_MAX));
      if (error !== null) throw new Error(`the server does not answer: ${error}`);
      this.#answers.set(question, text);
    };
    await Promise.all(SUBJECTS.map(ask));
  }

  async run(duration_ms: number, clients: number, kills: boolean): Promise<void> {
    this.#ends_ms = performance.now() + duration_ms;
    const work = Array.from({ length: clients }, () => this.#client());
    await Promise.all(kills ? [...work, this.#killer()] : work);
  }

  /** A prompt that needs every block of the cache: were one lost, it could not be answered. */
  async fillCache(context_length: number): Promise<void> {
    const prompt = Array.from({ length: context_length - 4 }, (_, index) => 500 + ((index * 31) % 20_000));
    const reply = await post(this.#server, "completions", { model: MODEL, prompt, max_tokens: 4, temperature: 0 });
    if (reply.status !== 200) this.wrong.push(`a prompt that fills the cache: ${reply.status} ${await reply.text()}`);
  }

  async #client(): Promise<void> {
    while (performance.now() < this.#ends_ms) {
      const question = SUBJECTS[integer(this.#random, 0, SUBJECTS.length - 1)] ?? "";
      const kind = this.#random();
      if (kind < 0.2) await this.#cancel(question);
      else if (kind < 0.4) await this.#disconnect(question);
      else await this.#readWhole(question);
    }
  }

  async #readWhole(question: string): Promise<void> {
    const tokens_max = integer(this.#random, 1, TOKENS_MAX);
    const { text, error, is_done } = await read(await this.#ask(question, tokens_max));
    if (error === "engine_error") this.seen.engine_errors += 1;
    else if (error === "overloaded") this.seen.refused += 1;
    else if (error !== null) this.wrong.push(`${question}: ${error}`);
    else if (!is_done) this.wrong.push(`${question}: ended without an end`);
    else if (!this.#answers.get(question)?.startsWith(text)) this.wrong.push(`${question}: another answer: ${text}`);
    else this.seen.whole += 1;
  }

  async #cancel(question: string): Promise<void> {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), integer(this.#random, 0, 300));
    try {
      await read(await this.#ask(question, 400, controller.signal));
    } catch {
      this.seen.cancelled += 1;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The socket is gone without a word. */
  async #disconnect(question: string): Promise<void> {
    const { hostname, port } = new URL(this.#server.url);
    const body = JSON.stringify(bodyOf(question, 400));
    const head = `POST /v1/chat/completions HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Type: application/json\r\n`;
    const socket = await Bun.connect({ hostname, port: Number(port), socket: { data() {} } });
    socket.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
    await Bun.sleep(integer(this.#random, 0, 300));
    socket.terminate();
    this.seen.disconnected += 1;
  }

  async #killer(): Promise<void> {
    while (performance.now() < this.#ends_ms) {
      await Bun.sleep(integer(this.#random, 200, 2500));
      const engine = engineOf(this.#server);
      if (engine === null) continue;
      process.kill(engine.pid, "SIGKILL");
      this.seen.kills += 1;
    }
  }

  async #ask(question: string, tokens_max: number, signal?: AbortSignal): Promise<Response> {
    return await post(this.#server, "chat/completions", bodyOf(question, tokens_max), signal);
  }
}

/** The process that the server's engine lives in. */
export function engineOf({ pid }: Server): Process | null {
  return processes().find((found) => found.parent === pid) ?? null;
}

export function serverOf({ pid }: Server): Process | null {
  return processes().find((found) => found.pid === pid) ?? null;
}

function processes(): (Process & { readonly parent: number })[] {
  const { stdout } = Bun.spawnSync(["ps", "-A", "-o", "pid=,ppid=,rss=,stat="]);
  const lines = stdout.toString().trim().split("\n");
  const found = lines.map((line) => line.trim().split(/\s+/));
  const alive = found.filter(([, , , state]) => !state?.startsWith("Z"));
  return alive.map(([pid, parent, rss]) => ({
    pid: Number(pid),
    parent: Number(parent),
    bytes_resident: 1024 * Number(rss),
  }));
}

function bodyOf(question: string, tokens_max: number): object {
  const messages = [{ role: "user", content: `Tell me about ${question}.` }];
  return { model: MODEL, messages, temperature: 0, max_tokens: tokens_max, stream: true };
}

async function post({ url }: Server, path: string, body: object, signal?: AbortSignal): Promise<Response> {
  const headers = { "content-type": "application/json" };
  return await fetch(`${url}/v1/${path}`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
    signal: signal ?? null,
  });
}

interface Answer {
  readonly text: string;
  /** The code of the error that ended it. */
  readonly error: string | null;
  readonly is_done: boolean;
}

async function read(reply: Response): Promise<Answer> {
  if (reply.status !== 200) {
    const { error } = (await reply.json()) as { error: { code: string | null } };
    return { text: "", error: error.code ?? String(reply.status), is_done: true };
  }
  const lines = (await reply.text()).split("\n\n").filter((line) => line.startsWith("data: "));
  let [text, error]: [string, string | null] = ["", null];
  for (const line of lines) {
    if (line === "data: [DONE]") continue;
    const event = JSON.parse(line.slice("data: ".length));
    text += event.choices?.[0]?.delta?.content ?? "";
    error = event.error?.code ?? error;
  }
  return { text, error, is_done: lines.at(-1) === "data: [DONE]" };
}
