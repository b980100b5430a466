/** Answers on this machine: prompt to tokens, tokens to text. Knows no wire format and no thread. */

import type { Backend, LoadedModel } from "../core/backend.ts";
import { Failure } from "../core/failure.ts";
import type { GenerationEvent, GenerationRequest, Prompt, Sampling, SamplingWishes } from "../core/generation.ts";
import type { Catalog, CatalogModel } from "../schedule/catalog.ts";
import type { Scheduler } from "../schedule/scheduler.ts";
import type { TextClient } from "../text/client.ts";
import { Detokenizer } from "../text/detokenizer.ts";
import { StopFinder } from "../text/stop.ts";

// OpenAI's defaults, where neither the caller nor the model says otherwise.
const PLAIN_SAMPLING = { temperature: 1, top_k: 0, top_p: 1, min_p: 0 } as const;

export class LocalBackend implements Backend {
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

  /** Makes a model resident before anyone asks for it. */
  async prepare(name: string): Promise<LoadedModel> {
    const model = this.#catalog.find(name);
    const [loaded] = await Promise.all([this.#scheduler.resident(model), this.#text.load(model.path)]);
    return loaded;
  }

  async *generate(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    const model = this.#catalog.find(request.model);
    const [loaded, text_model] = await Promise.all([this.#scheduler.resident(model), this.#text.load(model.path)]);
    const prompt_ids = await this.#encode(request.prompt, model, loaded);
    const room = loaded.context_length - prompt_ids.length;
    if (room < 1) throw overflow(model, prompt_ids.length, loaded.context_length);

    const row = {
      model: model.name,
      prompt_ids,
      sampling: this.#resolve(request.sampling, text_model.sampling, model.sampling),
      tokens_max: Math.min(request.tokens_max ?? room, room),
      stop_token_ids: text_model.stop_token_ids,
    };
    const words = new Words(
      new Detokenizer(text_model.vocabulary, { at_start: startsText(request.prompt) }),
      request.stop,
    );
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
      const { text, found } = words.push(token_ids, finish !== null);
      if (text !== "") yield { kind: "text", text };
      if (found) return yield end("stop");
      if (finish !== null) return yield end(finish);
    }
  }

  async #encode(prompt: Prompt, model: CatalogModel, loaded: LoadedModel): Promise<readonly number[]> {
    const token_ids = await this.#tokens(prompt, model);
    const parameter = prompt.kind === "messages" ? "messages" : "prompt";
    if (token_ids.length === 0) {
      const state = `it is empty, and "${model.name}" has no beginning token`;
      throw new Failure("invalid_request", `Cannot use the prompt: ${state}`, parameter);
    }
    // A tokenizer may know more tokens than its model: the embedding of one beyond it lies outside its memory.
    const foreign = token_ids.find((id) => id >= loaded.vocabulary_size);
    if (foreign === undefined) return token_ids;
    const state = `"${model.name}" has ${loaded.vocabulary_size} tokens, found token ${foreign}`;
    throw new Failure("invalid_request", `Cannot use the prompt: ${state}`, parameter);
  }

  async #tokens(prompt: Prompt, model: CatalogModel): Promise<readonly number[]> {
    switch (prompt.kind) {
      case "messages":
        return await this.#text.encodeChat(model.path, prompt.messages);
      case "text":
        return await this.#text.encodeText(model.path, prompt.text);
      case "tokens":
        return prompt.token_ids;
    }
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

function overflow(model: CatalogModel, prompt_tokens: number, context_length: number): Failure {
  const state = `the prompt has ${prompt_tokens} tokens, "${model.name}" takes ${context_length} with the answer`;
  return new Failure("context_overflow", `Cannot fit the prompt: ${state}`, null);
}
