/** Starts the compiled executable as a stranger would: elsewhere, with an empty home and nothing in the environment. */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../root.ts";

export const EXECUTABLE = join(ROOT, "dist/bunsen");
/** Without it the tests of this folder are skipped; `./compile.sh` makes it. */
export const IS_COMPILED = existsSync(EXECUTABLE);
export const MODEL = "SmolLM2-135M-Instruct";

/** A first start unpacks 130 MB and reads the model. */
export const START_MS_MAX = 60_000;

/** An empty folder that is gone with its owner. */
export class Home implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "bunsen-home-"));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export interface Ended {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/** Runs a command to its end. */
export async function runToEnd(home: Home, words: readonly string[], stdin = "", folder = "/"): Promise<Ended> {
  const child = spawn(home, words, stdin, folder);
  const [output, errors, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, output, errors };
}

export interface Running extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  stop(signal: "SIGTERM" | "SIGINT" | "SIGKILL"): Promise<number>;
}

/** Starts `serve` on a free port and waits until it answers. */
export async function startServer(home: Home, words: readonly string[] = []): Promise<Running> {
  const child = spawn(home, ["serve", "--port", "0", "--json", ...words]);
  const line = await firstLine(child.stdout);
  if (line === "") throw new Error(`the executable did not start: ${await child.stderr.text()}`);
  const stop: Running["stop"] = (signal) => {
    child.kill(signal);
    return child.exited;
  };
  const { url } = JSON.parse(line) as { url: string };
  return { url, pid: child.pid, stop, [Symbol.asyncDispose]: async () => void (await stop("SIGKILL")) };
}

export function spawn(home: Home, words: readonly string[], stdin = "", folder = "/") {
  return Bun.spawn([EXECUTABLE, ...words], {
    cwd: folder,
    env: { HOME: home.path, PATH: "/nonexistent" },
    stdin: new Blob([stdin]),
    stdout: "pipe",
    stderr: "pipe",
  });
}

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
