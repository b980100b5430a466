/** A backend that takes requests by any name: each goes on with the model's own, and with what its profile adds. */

import type { Backend } from "../core/backend.ts";
import type { Embeddings, EmbedRequest, RerankRequest, Scores } from "../core/encoding.ts";
import type { GenerationEvent, GenerationRequest, Prompt } from "../core/generation.ts";
import type { PrefixCache, PrefixExplanation } from "../core/prefix.ts";
import type { Profile } from "../core/profile.ts";
import type { Outlook } from "../core/routing.ts";
import type { Meaning, Names } from "./names.ts";

export class NamedBackend implements Backend, PrefixCache {
  readonly #backend: Backend;
  readonly #prefix_cache: PrefixCache;
  readonly #names: Pick<Names, "resolve">;

  constructor(backend: Backend, prefix_cache: PrefixCache, names: Pick<Names, "resolve">) {
    this.#backend = backend;
    this.#prefix_cache = prefix_cache;
    this.#names = names;
  }

  generate(request: GenerationRequest, signal: AbortSignal): AsyncIterable<GenerationEvent> {
    return this.#backend.generate(inFull(request, this.#names.resolve(request.model)), signal);
  }

  async count(request: GenerationRequest, signal: AbortSignal): Promise<number> {
    return await this.#backend.count(inFull(request, this.#names.resolve(request.model)), signal);
  }

  async explain(request: GenerationRequest, signal: AbortSignal): Promise<PrefixExplanation> {
    return await this.#prefix_cache.explain(inFull(request, this.#names.resolve(request.model)), signal);
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
  if (profile === null) return { ...request, model };
  const { sampling } = request;
  return {
    ...request,
    model,
    prompt: withSystemPrompt(request.prompt, profile.system_prompt),
    sampling: {
      ...sampling,
      temperature: sampling.temperature ?? profile.temperature,
      top_p: sampling.top_p ?? profile.top_p,
    },
    adapter: request.adapter ?? profile.adapter,
    tokens_max: request.tokens_max ?? profile.max_tokens,
    template_options: { ...profile.template_options, ...request.template_options },
    context_tokens_max: request.context_tokens_max ?? profile.context_length,
  };
}

function withSystemPrompt(prompt: Prompt, content: string | null): Prompt {
  if (content === null || prompt.kind !== "messages") return prompt;
  if (prompt.messages.some(({ role }) => role === "system")) return prompt;
  return { ...prompt, messages: [{ role: "system", content }, ...prompt.messages] };
}
