/** The main thread's side of the text worker: tokens in and out without blocking the server. */

import { Failure, fromRecord } from "../core/failure.ts";
import type { Message } from "../core/generation.ts";
import type { FromText, TextAnswers, TextCall, TextModel, ToText } from "./messages.ts";

export interface TextClient {
  /** `path`: a model folder or a GGUF file. Loads once; later calls return the same. */
  load(path: string): Promise<TextModel>;
  encodeChat(path: string, messages: readonly Message[]): Promise<number[]>;
  /** Special tokens in the text are recognised, and the model's own beginning token is put in front, as its tokenizer says. */
  encodeText(path: string, text: string): Promise<number[]>;
  close(): void;
}

/** `url` of the worker's entry: where it lies depends on the file that is the program's own entry. */
export function startTextWorker(url: string, silence_ms_max: number = SILENCE_MS_MAX): TextClient {
  return new WorkerClient(() => new Worker(url), silence_ms_max);
}

/**
 * Opening the largest tokenizer takes 2 s and encoding a megabyte about 1 s; a worker that is silent for longer while
 * something waits hangs in a hostile template or text.
 */
const SILENCE_MS_MAX = 60_000;

interface Pending {
  readonly resolve: (value: TextAnswers[keyof TextAnswers]) => void;
  readonly reject: (failure: Failure) => void;
}

/** A worker that died fails its calls; the next call starts a new one. */
class WorkerClient implements TextClient {
  readonly #start: () => Worker;
  readonly #silence_ms_max: number;
  readonly #models = new Map<string, Promise<TextModel>>();
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | null = null;
  #last_id = 0;
  #watch: ReturnType<typeof setTimeout> | undefined;

  constructor(start: () => Worker, silence_ms_max: number) {
    this.#start = start;
    this.#silence_ms_max = silence_ms_max;
  }

  load(path: string): Promise<TextModel> {
    const known = this.#models.get(path);
    if (known !== undefined) return known;
    const model = this.#call({ kind: "load", path });
    this.#models.set(path, model);
    // A failure is not kept: the file may be there the next time.
    model.catch(() => this.#models.delete(path));
    return model;
  }

  encodeChat(path: string, messages: readonly Message[]): Promise<number[]> {
    return this.#call({ kind: "encode_chat", path, messages, now_ms: Date.now() });
  }

  encodeText(path: string, text: string): Promise<number[]> {
    return this.#call({ kind: "encode_text", path, text });
  }

  close(): void {
    this.#end("it was closed");
  }

  #call<Call extends TextCall>(call: Call): Promise<TextAnswers[Call["kind"]]> {
    this.#worker ??= this.#begin();
    this.#last_id += 1;
    const message: ToText = { id: this.#last_id, call };
    const { promise, resolve, reject } = Promise.withResolvers<TextAnswers[Call["kind"]]>();
    this.#pending.set(message.id, { resolve: resolve as Pending["resolve"], reject });
    if (this.#pending.size === 1) this.#watchSilence();
    this.#worker.postMessage(message);
    return promise;
  }

  #begin(): Worker {
    const worker = this.#start();
    const died = (reason: string) => {
      if (this.#worker === worker) this.#end(reason);
    };
    worker.addEventListener("message", (event: MessageEvent<FromText>) => {
      if (this.#worker === worker) this.#receive(event.data);
    });
    // Without a listener a worker that cannot start would be waited for without end.
    worker.addEventListener("error", (event) => died(sentence(event.message)));
    worker.addEventListener("close", () => died("its thread ended"));
    return worker;
  }

  #receive(message: FromText): void {
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    this.#watchSilence();
    if (message.kind === "answer") pending?.resolve(message.value);
    else pending?.reject(fromRecord(message.failure));
  }

  #watchSilence(): void {
    clearTimeout(this.#watch);
    if (this.#pending.size === 0) return;
    const reason = `it gave no answer for ${this.#silence_ms_max} ms`;
    this.#watch = setTimeout(() => this.#end(reason), this.#silence_ms_max);
  }

  #end(reason: string): void {
    const worker = this.#worker;
    const pending = [...this.#pending.values()];
    this.#worker = null;
    this.#pending.clear();
    clearTimeout(this.#watch);
    worker?.terminate();
    const failure = new Failure("unavailable", `Cannot read text: the text worker stopped: ${reason}`);
    for (const call of pending) call.reject(failure);
  }
}

/** An uncaught error comes with its place in the source around it. */
function sentence(trouble: string): string {
  const [first = "", ...others] = trouble.split("\n");
  const named = others.find((line) => line.startsWith("error: "))?.slice("error: ".length);
  return (named ?? first).slice(0, 200);
}
