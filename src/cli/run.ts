/** `bunsen run`: a chat in the terminal, or one answer to a pipe. */

import { createInterface } from "node:readline/promises";
import { buildApp } from "../app.ts";
import type { Config } from "../config.ts";
import type { Backend } from "../core/backend.ts";
import { Failure } from "../core/failure.ts";
import { type Message, PLAIN_ANSWER } from "../core/generation.ts";
import type { Options } from "./options.ts";

export async function run(config: Config, options: Omit<Options, "command">): Promise<void> {
  await using app = await buildApp(config, options.models);
  const [model] = app.wanted;
  if (model === undefined) throw new Failure("not_found", "Cannot run: no model is built in, name one with --model");
  const asked = await readPrompt(options.words.join(" "));
  if (asked === null) return await converse(app.backend, model);
  await answer(app.backend, model, [{ role: "user", content: asked }]);
}

/** The words of the command line, with what a pipe brings behind them; null: nobody asked yet. */
async function readPrompt(words: string): Promise<string | null> {
  const piped = process.stdin.isTTY ? "" : (await Bun.stdin.text()).trimEnd();
  const asked = [words, piped].filter((part) => part !== "").join("\n\n");
  if (asked !== "") return asked;
  if (process.stdin.isTTY) return null;
  throw new Failure("invalid_request", "Cannot run: the prompt is empty");
}

async function converse(backend: Backend, model: string): Promise<void> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout, prompt: "> " });
  const chat = new AbortController();
  let answering: AbortController | null = null;
  const messages: Message[] = [];
  process.stdout.write(`${model}; Ctrl-C stops an answer, Ctrl-D ends the chat\n`);
  terminal.on("close", () => chat.abort());
  terminal.on("SIGINT", () => (answering === null ? terminal.close() : answering.abort()));
  terminal.prompt();
  for await (const line of terminal) {
    if (line.trim() !== "") {
      messages.push({ role: "user", content: line });
      answering = new AbortController();
      const said = await answer(backend, model, messages, AbortSignal.any([chat.signal, answering.signal]));
      answering = null;
      messages.push({ role: "assistant", content: said, reasoning: null, tool_calls: [] });
    }
    if (chat.signal.aborted) break;
    terminal.prompt();
  }
  process.stdout.write("\n");
}

/** Prints the answer as it comes and gives what was said, whole or up to the abort. */
async function answer(
  backend: Backend,
  model: string,
  messages: readonly Message[],
  signal: AbortSignal = new AbortController().signal,
): Promise<string> {
  const request = {
    request_id: "run",
    model,
    prompt: { kind: "messages", messages },
    ...PLAIN_ANSWER,
  } as const;
  let said = "";
  try {
    for await (const event of backend.generate(request, signal)) {
      if (event.kind !== "text") continue;
      said += event.text;
      process.stdout.write(event.text);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  process.stdout.write("\n");
  return said;
}
