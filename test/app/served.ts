/** A server as its owner runs it, the executable where there is one, else from source; and what a caller does with it. */

import { join } from "node:path";
import { EXECUTABLE, IS_COMPILED } from "../binary/executable.ts";
import { ROOT } from "../root.ts";

const COMMAND = IS_COMPILED ? [EXECUTABLE] : [process.execPath, join(ROOT, "src/main.ts")];

export function runCommand(home: string, words: readonly string[]) {
  return Bun.spawnSync([...COMMAND, ...words], { cwd: "/", env: { PATH: "/nonexistent", HOME: home } });
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** What a route gives, each its own; {} where it is no JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: answers of every route, looked into by tests only
  readonly body: any;
}

export class Served implements AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly #child: Bun.Subprocess;

  private constructor(url: string, child: Bun.Subprocess) {
    this.url = url;
    this.pid = child.pid;
    this.#child = child;
  }

  /** Nothing is preloaded unless the words say so. */
  static async start(home: string, words: readonly string[], variables: Record<string, string> = {}): Promise<Served> {
    const child = Bun.spawn([...COMMAND, "serve", "--json", ...words], {
      cwd: "/",
      env: { PATH: "/nonexistent", HOME: home, ...variables },
      stdout: "pipe",
      stderr: "ignore",
    });
    const { value } = await child.stdout.getReader().read();
    return new Served(JSON.parse(new TextDecoder().decode(value)).url, child);
  }

  async ask(method: string, path: string, body?: object): Promise<Reply> {
    const json =
      body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
    const response = await fetch(this.url + path, { method, ...json });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: text.startsWith("{") ? JSON.parse(text) : {},
    };
  }

  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<number> {
    this.#child.kill(signal);
    return await this.#child.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
  }
}
