/** What the owner wants of a provider, put into a request that does not say it. */

import type { Call, Neutral } from "../../core/exchange.ts";
import type { ProviderDefaults } from "../../core/routing.ts";
import { withMissing } from "./top-level-model.ts";

export function withDefaults(call: Call, { max_tokens, temperature }: ProviderDefaults): Call {
  if (max_tokens === null && temperature === null) return call;
  const names = LENGTHS[call.endpoint];
  if (names === undefined) return call;
  const shorter = max_tokens === null ? call.body : withMissing(call.body, names, max_tokens);
  const body = temperature === null ? shorter : withMissing(shorter, ["temperature"], temperature);
  return { ...call, body, neutral: () => neutralWith(call.neutral(), max_tokens, temperature) };
}

/** How each endpoint calls the most tokens of an answer; the first is what is written. */
const LENGTHS: Readonly<Partial<Record<Call["endpoint"], readonly string[]>>> = {
  chat: ["max_tokens", "max_completion_tokens"],
  completions: ["max_tokens"],
  messages: ["max_tokens"],
  responses: ["max_output_tokens"],
};

function neutralWith(neutral: Neutral, max_tokens: number | null, temperature: number | null): Neutral {
  if (neutral.kind !== "generation") return neutral;
  const [first, ...rest] = neutral.generations;
  const completed = (request: typeof first) => ({
    ...request,
    tokens_max: request.tokens_max ?? max_tokens,
    sampling: { ...request.sampling, temperature: request.sampling.temperature ?? temperature },
  });
  return { ...neutral, generations: [completed(first), ...rest.map(completed)] };
}
