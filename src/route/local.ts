/** Answers on this machine: prompt to tokens, tokens to text. Knows no wire format and no thread. */

import type { Backend, LoadedModel } from "../core/backend.ts";
import type { Embeddings, EmbedRequest, RerankRequest, Scores } from "../core/encoding.ts";
import type { GenerationEvent, GenerationRequest, Prompt, Sampling, SamplingWishes } from "../core/generation.ts";
import type { PrefixCache, PrefixExplanation } from "../core/prefix.ts";
import type { Catalog } from "../schedule/catalog.ts";
import type { Lease } from "../schedule/pool.ts";
import type { Scheduler } from "../schedule/scheduler.ts";
import type { TextClient } from "../text/client.ts";
import { Detokenizer } from "../text/detokenizer.ts";
import { StopFinder } from "../text/stop.ts";
import { inWords } from "./prefix.ts";
import { promptTokens } from "./prompt.ts";
import { embed, mustAnswer, type ReadingParts, rerank } from "./reading.ts";

// OpenAI's defaults, where neither the caller nor the model says otherwise.
const PLAIN_SAMPLING = { temperature: 1, top_k: 0, top_p: 1, min_p: 0 } as const;

export class LocalBackend implements Backend, PrefixCache {
  readonly #catalog: Catalog;
  readonly #text: TextClient;
  readonly #scheduler: Scheduler;
  readonly #randomSeed: () => number;

  constructor(catalog: Catalog, text: TextClient, scheduler: Scheduler, randomSeed: () => number) {
    this.#catalog = catalog;
    this.#text = text;
    this.#scheduler = scheduler;
    this.#randomSeed = randomSeed;
  }

  async explain(request: GenerationRequest, signal: AbortSignal): Promise<PrefixExplanation> {
    using lease = await this.#acquire(request, signal);
    const { model, text, prompt_ids } = await this.#read(request, lease.loaded, signal);
    return inWords(await this.#scheduler.explain(model, prompt_ids), prompt_ids, text.vocabulary);
  }

  async embed(request: EmbedRequest, signal: AbortSignal): Promise<Embeddings> {
    return await embed(request, this.#catalog.find(request.model), this.#reading, signal);
  }

  async rerank(request: RerankRequest, signal: AbortSignal): Promise<Scores> {
    return await rerank(request, this.#catalog.find(request.model), this.#reading, signal);
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    using lease = await this.#acquire(request, signal);
    const { loaded } = lease;
    const { model, text, prompt_ids } = await this.#read(request, loaded, signal);
    const room = loaded.context_length - prompt_ids.length;
    const row = {
      model: model.name,
      prompt_ids,
      sampling: this.#resolve(request.sampling, text.sampling, model.sampling),
      tokens_max: Math.min(request.tokens_max ?? room, room),
      stop_token_ids: text.stop_token_ids,
      priority: request.priority,
    };
    const detokenizer = new Detokenizer(text.vocabulary, { at_start: startsText(request.prompt) });
    const words = new Words(detokenizer, request.stop);
    let completion_tokens = 0;
    const end = (reason: "stop" | "length"): GenerationEvent => {
      return { kind: "end", reason, usage: { prompt_tokens: prompt_ids.length, completion_tokens } };
    };

    let started = false;
    for await (const { token_ids, finish } of this.#scheduler.generate(row, signal)) {
      // Not before the engine has: what fails until then is still told as a failure and not as a broken answer.
      if (!started) yield { kind: "start", prompt_tokens: prompt_ids.length };
      started = true;
      completion_tokens += token_ids.length;
      const next = words.push(token_ids, finish !== null);
      if (next.text !== "") yield { kind: "text", text: next.text };
      if (next.found) return yield end("stop");
      if (finish !== null) return yield end(finish);
    }
  }

  get #reading(): ReadingParts {
    return { text: this.#text, scheduler: this.#scheduler };
  }

  async #acquire(request: GenerationRequest, signal: AbortSignal): Promise<Lease> {
    const model = this.#catalog.find(request.model);
    mustAnswer(model.name, await this.#text.load(model.path));
    return await this.#scheduler.acquire(model, signal);
  }

  async #read(request: GenerationRequest, loaded: LoadedModel, signal: AbortSignal) {
    const model = this.#catalog.find(request.model);
    const text = await this.#text.load(model.path);
    const prompt_ids = await promptTokens(request.prompt, { path: model.path, loaded, text }, this.#text, signal);
    return { model, text, prompt_ids };
  }

  /** The caller's word first, then the model's files, then its authors' advice. */
  #resolve(...wishes: readonly Omit<SamplingWishes, "seed">[] & { 0: SamplingWishes }): Sampling {
    const pick = (field: keyof typeof PLAIN_SAMPLING) =>
      wishes.map((wish) => wish[field]).find((value) => value !== null) ?? PLAIN_SAMPLING[field];
    return {
      temperature: pick("temperature"),
      top_k: pick("top_k"),
      top_p: pick("top_p"),
      min_p: pick("min_p"),
      seed: wishes[0].seed ?? this.#randomSeed(),
    };
  }
}

/** Tokens to the text that may be sent: whole characters, and nothing from a stop string on. */
class Words {
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopFinder;

  constructor(detokenizer: Detokenizer, stop: readonly string[]) {
    this.#detokenizer = detokenizer;
    this.#stops = new StopFinder(stop);
  }

  push(token_ids: readonly number[], last: boolean): { text: string; found: boolean } {
    const decoded = this.#detokenizer.push(token_ids) + (last ? this.#detokenizer.flush() : "");
    const { text, found } = this.#stops.push(decoded);
    return { text: found || !last ? text : text + this.#stops.flush(), found };
  }
}

/** A chat's answer begins a text; a completion continues one unless there is none. */
function startsText(prompt: Prompt): boolean {
  return prompt.kind === "messages" || (prompt.kind === "text" && prompt.text === "");
}
