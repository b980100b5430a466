/** What tokens cost, as the owner says. */

export interface Price {
  /** A glob over a model's name where it is served, alone or behind its backend's as in `openai:gpt-5*`. */
  readonly pattern: string;
  readonly prompt_per_million: number;
  readonly completion_per_million: number;
  /** Of what the provider had cached of a prompt; null: as the rest of it. */
  readonly cached_per_million: number | null;
  /** Three letters, as in USD. */
  readonly currency: string;
}

export interface PriceStore {
  /** The same array until it is replaced; of those that fit a model the first counts. */
  prices(): readonly Price[];
  replace(prices: readonly Price[]): void;
}

interface Counted {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  /** null where nobody said. */
  readonly cached_tokens: number | null;
}

export function costOf(price: Price, { prompt_tokens, completion_tokens, cached_tokens }: Counted): number {
  const { prompt_per_million, completion_per_million, cached_per_million } = price;
  const cached = Math.min(cached_tokens ?? 0, prompt_tokens);
  const read = (prompt_tokens - cached) * prompt_per_million + cached * (cached_per_million ?? prompt_per_million);
  return (read + completion_tokens * completion_per_million) / 1e6;
}
