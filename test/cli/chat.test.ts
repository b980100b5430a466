/** A chat in a real terminal, from source. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SOURCE } from "../served.ts";

const CHAT_MS_MAX = 60_000;
setDefaultTimeout(CHAT_MS_MAX);

const CTRL_C = "\x03";
const CTRL_D = "\x04";

class Chat implements Disposable {
  #shown = "";
  readonly #terminal: Bun.Terminal;
  readonly #child: Bun.Subprocess;

  constructor() {
    const decoder = new TextDecoder();
    this.#terminal = new Bun.Terminal({
      data: (_, bytes) => {
        this.#shown += decoder.decode(bytes, { stream: true });
      },
    });
    this.#child = Bun.spawn([...SOURCE, "run"], {
      env: { PATH: process.env["PATH"], HOME: mkdtempSync(join(tmpdir(), "bunsen-home-")), TERM: "xterm" },
      terminal: this.#terminal,
    });
  }

  type(keys: string): void {
    this.#terminal.write(keys);
  }

  /** Waits until `text` is shown, and forgets all up to it. */
  async until(text: string): Promise<void> {
    const deadline_ms = performance.now() + CHAT_MS_MAX / 3;
    for (let at = -1; at < 0; at = this.#shown.indexOf(text)) {
      if (performance.now() > deadline_ms) throw new Error(`not shown: "${text}", but ${Bun.inspect(this.#shown)}`);
      await Bun.sleep(10);
    }
    this.#shown = this.#shown.slice(this.#shown.indexOf(text) + text.length);
  }

  async ended(): Promise<{ code: number; shown: string }> {
    const code = await this.#child.exited;
    return { code, shown: this.#shown };
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
    this.#terminal.close();
  }
}

/** Asks for a long answer and waits for its beginning. */
async function beginCounting(chat: Chat): Promise<void> {
  await chat.until("> ");
  chat.type("Count from 1 to 500.\r");
  await chat.until("\n");
  await chat.until("4");
}

test("Ctrl-D ends the chat at once, also during an answer", async () => {
  using chat = new Chat();
  await beginCounting(chat);
  chat.type(CTRL_D);
  const { code, shown } = await chat.ended();
  expect(code).toBe(0);
  expect(shown).not.toContain("20");
});

test("Ctrl-C stops an answer, the chat goes on, and ends with the next", async () => {
  using chat = new Chat();
  await beginCounting(chat);
  chat.type(CTRL_C);
  await chat.until("> ");
  chat.type("What is the capital of France?\r");
  await chat.until("Paris");
  await chat.until("> ");
  chat.type(CTRL_C);
  expect((await chat.ended()).code).toBe(0);
});
