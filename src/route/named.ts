/** A backend that takes requests by any name: each goes on with the model's own, and with what its profile adds. */

import type { Backend } from "../core/backend.ts";
import type { Embeddings, EmbedRequest, RerankRequest, Scores } from "../core/encoding.ts";
import type { GenerationEvent, GenerationRequest } from "../core/generation.ts";
import type { PrefixCache, PrefixExplanation } from "../core/prefix.ts";
import type { Profile } from "../core/profile.ts";
import type { Outlook } from "../core/routing.ts";
import type { TokenDesk } from "../core/tokens.ts";
import { completed } from "./defaults.ts";
import type { Meaning, Names } from "./names.ts";

export class NamedBackend implements Backend, PrefixCache, TokenDesk {
  readonly #backend: Backend;
  readonly #desks: PrefixCache & TokenDesk;
  readonly #names: Pick<Names, "resolve">;

  constructor(backend: Backend, desks: PrefixCache & TokenDesk, names: Pick<Names, "resolve">) {
    this.#backend = backend;
    this.#desks = desks;
    this.#names = names;
  }

  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<GenerationEvent> {
    return this.#backend.generate(inFull(request, this.#names.resolve(request.model)), signal);
  }

  async count(request: GenerationRequest, signal: AbortSignal): Promise<number> {
    return await this.#backend.count(inFull(request, this.#names.resolve(request.model)), signal);
  }

  async explain(request: GenerationRequest, signal: AbortSignal): Promise<PrefixExplanation> {
    return await this.#desks.explain(inFull(request, this.#names.resolve(request.model)), signal);
  }

  async tokenize(model: string, text: string, around: boolean, signal: AbortSignal) {
    return await this.#desks.tokenize(this.#names.resolve(model).model, text, around, signal);
  }

  async tokenizeChat(request: GenerationRequest, signal: AbortSignal) {
    return await this.#desks.tokenizeChat(inFull(request, this.#names.resolve(request.model)), signal);
  }

  async detokenize(model: string, token_ids: readonly number[], signal: AbortSignal) {
    return await this.#desks.detokenize(this.#names.resolve(model).model, token_ids, signal);
  }

  async applyTemplate(request: GenerationRequest, signal: AbortSignal) {
    return await this.#desks.applyTemplate(inFull(request, this.#names.resolve(request.model)), signal);
  }

  async embed(request: EmbedRequest, signal: AbortSignal): Promise<Embeddings> {
    const { model } = this.#names.resolve(request.model);
    return await this.#backend.embed({ ...request, model }, signal);
  }

  async rerank(request: RerankRequest, signal: AbortSignal): Promise<Scores> {
    const { model } = this.#names.resolve(request.model);
    return await this.#backend.rerank({ ...request, model }, signal);
  }
}

/** As whoever asks by the profile's name meets it. */
export function outlookWithin(outlook: Outlook, profile: Profile | null): Outlook {
  const { context_length } = outlook;
  if (context_length === null) return outlook;
  return { ...outlook, context_length: Math.min(context_length, profile?.context_length ?? context_length) };
}

/** What the request leaves open the profile says. */
function inFull(request: GenerationRequest, { model, profile }: Meaning): GenerationRequest {
  return profile === null ? { ...request, model } : completed({ ...request, model }, profile);
}
