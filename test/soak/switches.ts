/** Clients that ask for one model after another where not all fit, and what a server has in its hands before and after. */

import { readdirSync, readFileSync } from "node:fs";
import { integer } from "../random.ts";

export interface Holdings {
  readonly bytes_resident: number;
  readonly files: number;
  readonly threads: number;
  /** Of memory: shared buffers and libraries are some of them. */
  readonly mappings: number;
  /** By the server's own ledger. */
  readonly bytes_taken: number;
}

export interface SoakModels {
  /** That continue texts. */
  readonly generators: readonly string[];
  readonly embedder: string;
}

const PROMPT = "Once upon a time there was";
const TOKENS_MAX = 8;
// What an allocator gives back, it gives back late.
const SETTLE_MS = 2000;

export class Soak {
  readonly seen = { whole: 0, streamed: 0, embedded: 0, left: 0, refused: 0 };
  readonly wrong: string[] = [];
  readonly #url: string;
  readonly #models: SoakModels;
  readonly #random: () => number;
  readonly #answers = new Map<string, string>();
  #left = 0;

  constructor(url: string, models: SoakModels, random: () => number) {
    this.#url = url;
    this.#models = models;
    this.#random = random;
  }

  /** What each model says when nobody else asks. */
  async learn(): Promise<void> {
    for (const model of this.#names) this.#answers.set(model, await this.#answer(model, false));
  }

  /** So many requests of so many clients; each asks for another model than the one before. */
  async run(switches: number, clients: number): Promise<void> {
    this.#left = switches;
    await Promise.all(Array.from({ length: clients }, () => this.#client()));
  }

  /** With every model unloaded. */
  async holdings(pid: number): Promise<Holdings> {
    for (const model of this.#names) await this.#post(`/admin/models/unload/${encodeURIComponent(model)}`, null);
    await Bun.sleep(SETTLE_MS);
    const { taken_bytes } = (await (await fetch(`${this.#url}/admin/ledger`)).json()) as { taken_bytes: number };
    const [, pages = "0"] = readFileSync(`/proc/${pid}/statm`, "utf8").split(" ");
    return {
      bytes_resident: Number(pages) * 4096,
      files: readdirSync(`/proc/${pid}/fd`).length,
      threads: readdirSync(`/proc/${pid}/task`).length,
      mappings: readFileSync(`/proc/${pid}/maps`, "utf8").trimEnd().split("\n").length,
      bytes_taken: taken_bytes,
    };
  }

  get #names(): readonly string[] {
    return [...this.#models.generators, this.#models.embedder];
  }

  async #client(): Promise<void> {
    let last = "";
    while (this.#left > 0) {
      this.#left -= 1;
      const others = this.#names.filter((name) => name !== last);
      last = others[integer(this.#random, 0, others.length - 1)] ?? "";
      await this.#ask(last);
    }
  }

  async #ask(model: string): Promise<void> {
    const kind = this.#random();
    try {
      if (kind < 0.15) return await this.#leave(model);
      const stream = kind < 0.5;
      const answer = await this.#answer(model, stream);
      if (answer !== this.#answers.get(model)) this.wrong.push(`${model}: another answer: ${answer.slice(0, 80)}`);
      if (model === this.#models.embedder) this.seen.embedded += 1;
      else if (stream) this.seen.streamed += 1;
      else this.seen.whole += 1;
    } catch (error) {
      if (error instanceof Refused) this.seen.refused += 1;
      else this.wrong.push(`${model}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Before the answer, perhaps before the load. */
  async #leave(model: string): Promise<void> {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), integer(this.#random, 0, 200));
    try {
      await this.#post(...this.#request(model, true), controller.signal).then((response) => response.text());
    } catch {
      this.seen.left += 1;
    } finally {
      clearTimeout(timer);
    }
  }

  async #answer(model: string, stream: boolean): Promise<string> {
    const response = await this.#post(...this.#request(model, stream));
    const text = await response.text();
    if (response.status === 503 && text.includes('"insufficient_memory"')) throw new Refused();
    if (response.status !== 200) throw new Error(`${response.status} ${text.slice(0, 200)}`);
    if (model === this.#models.embedder) return JSON.stringify(JSON.parse(text).data[0].embedding);
    if (!stream) return JSON.parse(text).choices[0].text;
    const events = text.split("\n\n").filter((block) => block.startsWith("data: {"));
    if (!text.endsWith("data: [DONE]\n\n")) throw new Error(`the stream ended early: ${text.slice(-200)}`);
    return events.map((event) => JSON.parse(event.slice("data: ".length)).choices[0]?.text ?? "").join("");
  }

  #request(model: string, stream: boolean): [string, object] {
    if (model === this.#models.embedder) return ["/v1/embeddings", { model, input: PROMPT }];
    return ["/v1/completions", { model, prompt: PROMPT, max_tokens: TOKENS_MAX, temperature: 0, stream }];
  }

  async #post(path: string, body: object | null, signal?: AbortSignal): Promise<Response> {
    const json = body === null ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
    return await fetch(this.#url + path, { method: "POST", ...json, signal: signal ?? null });
  }
}

/** Said honestly: it does not fit now. */
class Refused extends Error {}
