/** The main thread's side of the text worker: tokens in and out without blocking the server. */

import { Failure, fromRecord } from "../core/failure.ts";
import type { CompiledGrammar, Constraint } from "../core/grammar.ts";
import type {
  Chat,
  EncodedChat,
  EncodedInput,
  FromText,
  Gap,
  Input,
  TextAnswers,
  TextCall,
  TextModel,
  ToText,
  Vocabulary,
} from "./messages.ts";

export interface TextClient {
  /** `path`: a model folder or a GGUF file. Loads once; later calls return the same. */
  load(path: string): Promise<TextModel>;
  encodeChat(path: string, chat: Chat, reader?: Reader): Promise<EncodedChat>;
  /**
   * Special tokens in the text are recognised, and the tokens that the model wants around a text are put there unless
   * `around` is false.
   */
  encodeText(path: string, text: string, reader?: Reader, around?: boolean): Promise<number[]>;
  /** As a model is asked to fill in; throws where it was not taught to. */
  encodeFill(path: string, gap: Gap, reader?: Reader): Promise<number[]>;
  /** The prompt as the template writes it. */
  renderChat(path: string, chat: Chat, signal: AbortSignal): Promise<string>;
  /** Frees what `load` made; the next call makes it again. */
  forget(path: string): void;
  /** Each on its own within `tokens_max`; what is beyond is cut. */
  encodeInputs(path: string, inputs: readonly Input[], reader: Reader): Promise<EncodedInput[]>;
  close(): void;
}

/** Compiles what answers must be, and looks at them again. */
export interface GrammarClient {
  /** Throws a `Failure` that says what of the constraint cannot be enforced. Keeps what it has compiled. */
  compile(constraint: Constraint, vocabulary: Vocabulary, signal: AbortSignal): Promise<CompiledGrammar>;
  /** How a text departs from what it must be, or null. */
  check(constraint: Constraint, text: string, signal: AbortSignal): Promise<string | null>;
  close(): void;
}

export interface TextWorker extends TextClient, GrammarClient {
  /** Starts the thread before anybody asks. */
  begin(): void;
}

/** Who waits for the tokens of a text. */
export interface Reader {
  /** The text is read no further once it has so many; the last word may bring a few more. */
  readonly tokens_max: number;
  /** Ends the call with its reason: one that waits is dropped, one that runs ends at the next word. */
  readonly signal: AbortSignal;
}

/** `url` of the worker's entry: where it lies depends on the file that is the program's own entry. */
export function startTextWorker(url: string, silence_ms_max: number = SILENCE_MS_MAX): TextWorker {
  return new WorkerClient(() => new Worker(url), silence_ms_max);
}

/**
 * Opening the largest tokenizer takes 2 s and encoding a megabyte about 1 s; a worker that is silent for longer
 * hangs in a hostile template or text.
 */
const SILENCE_MS_MAX = 60_000;

/** A large one takes some MB. */
const GRAMMARS_MAX = 64;

const ANYONE: Reader = { tokens_max: Number.POSITIVE_INFINITY, signal: new AbortController().signal };

interface Job {
  readonly message: ToText;
  readonly resolve: (value: TextAnswers[keyof TextAnswers]) => void;
  readonly reject: (reason: unknown) => void;
}

/** The worker is given one call at a time. When it dies it fails that call, and the next starts a new one. */
class WorkerClient implements TextWorker {
  readonly #start: () => Worker;
  readonly #silence_ms_max: number;
  readonly #models = new Map<string, Promise<TextModel>>();
  readonly #grammars = new Map<string, CompiledGrammar>();
  readonly #waiting = new Set<Job>();
  /** Also after its caller has left: until the worker answers, it has no time for another. */
  #running: Job | null = null;
  #worker: Worker | null = null;
  #watch: ReturnType<typeof setTimeout> | undefined;

  constructor(start: () => Worker, silence_ms_max: number) {
    this.#start = start;
    this.#silence_ms_max = silence_ms_max;
  }

  begin(): void {
    this.#worker ??= this.#begin();
  }

  load(path: string): Promise<TextModel> {
    const known = this.#models.get(path);
    if (known !== undefined) return known;
    const model = this.#call({ kind: "load", path }, ANYONE.signal);
    this.#models.set(path, model);
    // A failure is not kept: the file may be there the next time.
    model.catch(() => this.#models.delete(path));
    return model;
  }

  forget(path: string): void {
    if (!this.#models.delete(path)) return;
    this.#call({ kind: "forget", path }, ANYONE.signal).catch(() => undefined); // a dead worker holds nothing
  }

  encodeChat(path: string, chat: Chat, { tokens_max, signal } = ANYONE): Promise<EncodedChat> {
    return this.#call({ kind: "encode_chat", path, chat, now_ms: Date.now(), tokens_max }, signal);
  }

  encodeText(path: string, text: string, { tokens_max, signal } = ANYONE, around = true): Promise<number[]> {
    return this.#call({ kind: "encode_text", path, text, tokens_max, around }, signal);
  }

  renderChat(path: string, chat: Chat, signal: AbortSignal): Promise<string> {
    return this.#call({ kind: "render_chat", path, chat, now_ms: Date.now() }, signal);
  }

  encodeFill(path: string, { before, behind }: Gap, { tokens_max, signal } = ANYONE): Promise<number[]> {
    return this.#call({ kind: "encode_fill", path, gap: { before, behind }, tokens_max }, signal);
  }

  encodeInputs(path: string, inputs: readonly Input[], { tokens_max, signal }: Reader): Promise<EncodedInput[]> {
    return this.#call({ kind: "encode_inputs", path, inputs, tokens_max }, signal);
  }

  async compile(constraint: Constraint, vocabulary: Vocabulary, signal: AbortSignal): Promise<CompiledGrammar> {
    const alphabet = spelledBytes(vocabulary);
    const marks = [...new Set(vocabulary.marks.values())];
    const key = JSON.stringify([constraint, alphabet, marks]);
    const known =
      this.#grammars.get(key) ?? (await this.#call({ kind: "compile", constraint, alphabet, marks }, signal));
    this.#grammars.delete(key);
    const [oldest] = this.#grammars.keys();
    if (this.#grammars.size >= GRAMMARS_MAX && oldest !== undefined) this.#grammars.delete(oldest);
    this.#grammars.set(key, known);
    return known;
  }

  check(constraint: Constraint, text: string, signal: AbortSignal): Promise<string | null> {
    return this.#call({ kind: "check", constraint, text }, signal);
  }

  close(): void {
    const failure = stopped("it was closed");
    for (const { reject } of this.#waiting) reject(failure);
    this.#waiting.clear();
    this.#end(failure);
  }

  async #call<Call extends TextCall>(call: Call, signal: AbortSignal): Promise<TextAnswers[Call["kind"]]> {
    signal.throwIfAborted();
    const left = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const { promise, resolve, reject } = Promise.withResolvers<TextAnswers[Call["kind"]]>();
    const job: Job = { message: { call, left }, resolve: resolve as Job["resolve"], reject };
    const leave = () => {
      this.#waiting.delete(job);
      Atomics.store(left, 0, 1);
      reject(signal.reason);
    };
    signal.addEventListener("abort", leave, { once: true });
    this.#waiting.add(job);
    this.#next();
    try {
      return await promise;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  #next(): void {
    const [job] = this.#waiting;
    if (job === undefined || this.#running !== null) return;
    this.#waiting.delete(job);
    this.#running = job;
    this.#worker ??= this.#begin();
    const reason = `it gave no answer for ${this.#silence_ms_max} ms`;
    this.#watch = setTimeout(() => this.#end(stopped(reason)), this.#silence_ms_max);
    this.#worker.postMessage(job.message);
  }

  #begin(): Worker {
    const worker = this.#start();
    const died = (reason: string) => {
      if (this.#worker === worker) this.#end(stopped(reason));
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
    const job = this.#running;
    this.#running = null;
    clearTimeout(this.#watch);
    if (message.kind === "answer") job?.resolve(message.value);
    else job?.reject(fromRecord(message.failure));
    this.#next();
  }

  /** Ends the worker and the call that it has. */
  #end(failure: Failure): void {
    const job = this.#running;
    const worker = this.#worker;
    this.#running = null;
    this.#worker = null;
    clearTimeout(this.#watch);
    worker?.terminate();
    job?.reject(failure);
    this.#next();
  }
}

/** The bytes that are a token of their own. */
function spelledBytes({ bytes, offsets }: Vocabulary): number[] {
  const spelled = new Set<number>();
  for (let id = 0; id + 1 < offsets.length; id++) {
    const from = offsets[id] ?? 0;
    if ((offsets[id + 1] ?? 0) - from === 1) spelled.add(bytes[from] ?? 0);
  }
  return [...spelled].sort((a, b) => a - b);
}

function stopped(reason: string): Failure {
  return new Failure("engine", `Cannot read text: the text worker stopped: ${reason}`);
}

/** An uncaught error comes with its place in the source around it. */
function sentence(trouble: string): string {
  const [first = "", ...others] = trouble.split("\n");
  const named = others.find((line) => line.startsWith("error: "))?.slice("error: ".length);
  return (named ?? first).slice(0, 200);
}
