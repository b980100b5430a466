/**
 * Bunsen as its owner runs it, each time with a home of its own: commands to their end, and servers with what is asked
 * of them.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./root.ts";

/** The one that is built in. */
export const MODEL = "SmolLM2-135M-Instruct";

/** The runtime and the sources; the words of a command come behind them. */
export const SOURCE: readonly string[] = [process.execPath, join(ROOT, "src/main.ts")];

interface Given {
  /** `SOURCE`, or an executable. */
  readonly command?: readonly string[];
  /** Whose folder it is removes it; without one there is an empty one, for as long as the program runs. */
  readonly home?: string;
  /** Beside these the program sees a HOME, and a PATH that leads nowhere. */
  readonly variables?: Readonly<Record<string, string>>;
}

interface GivenOnce extends Given {
  readonly stdin?: string;
  readonly folder?: string;
}

export interface Ended {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/** What a route gives; the body is {} where it is no JSON. */
export interface Reply<Body> {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Body;
}

export class Served implements AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  /** Those it names when it listens. */
  readonly models: readonly string[];
  readonly #child: Bun.Subprocess;
  readonly #home: Home;

  private constructor(line: string, child: Bun.Subprocess, home: Home) {
    const { url, models } = JSON.parse(line) as { url: string; models: string[] };
    this.url = url;
    this.models = models;
    this.pid = child.pid;
    this.#child = child;
    this.#home = home;
  }

  /** On a free port, once it listens. */
  static async start(words: readonly string[] = [], given: Given = {}): Promise<Served> {
    const home = new Home(given.home);
    const child = Bun.spawn([...(given.command ?? SOURCE), "serve", "--port", "0", "--json", ...words], {
      cwd: "/",
      env: surroundings(home, given),
      stdout: "pipe",
      stderr: "inherit",
    });
    const line = await firstLine(child.stdout);
    if (line === "") throw new Error(`the server did not start: code ${await child.exited}`);
    return new Served(line, child, home);
  }

  // biome-ignore lint/suspicious/noExplicitAny: answers of every route, looked into by tests only
  async ask<Body = any>(method: string, path: string, body?: object, api_key?: string): Promise<Reply<Body>> {
    const headers = {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(api_key === undefined ? {} : { authorization: `Bearer ${api_key}` }),
    };
    const response = await fetch(this.url + path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: text.startsWith("{") ? JSON.parse(text) : {},
    };
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number> {
    this.#child.kill(signal);
    const code = await this.#child.exited;
    this.#home[Symbol.dispose]();
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
  }
}

/** Runs a command to its end. */
export async function runToEnd(words: readonly string[], given: GivenOnce = {}): Promise<Ended> {
  using home = new Home(given.home);
  const child = Bun.spawn([...(given.command ?? SOURCE), ...words], {
    cwd: given.folder ?? "/",
    env: surroundings(home, given),
    stdin: new Blob([given.stdin ?? ""]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, output, errors };
}

/** An empty folder that is gone with its owner, or one that has another. */
export class Home implements Disposable {
  readonly path: string;
  readonly #is_own: boolean;

  constructor(path?: string) {
    this.path = path ?? mkdtempSync(join(tmpdir(), "bunsen-home-"));
    this.#is_own = path === undefined;
  }

  [Symbol.dispose](): void {
    if (this.#is_own) rmSync(this.path, { recursive: true, force: true });
  }
}

const surroundings = (home: Home, { variables }: Given) => ({ PATH: "/nonexistent", HOME: home.path, ...variables });

/** Empty when the output ended before. */
async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  reader.releaseLock();
  return text.slice(0, Math.max(0, text.indexOf("\n")));
}
