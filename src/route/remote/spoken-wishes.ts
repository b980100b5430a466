/** Which of a caller's wishes a provider's protocol has words for. What it has none for is refused, never left out. */

import { Failure } from "../../core/failure.ts";
import {
  type GenerationRequest,
  type GenerationWishes,
  PLAIN_ANSWER,
  type SamplingWishes,
} from "../../core/generation.ts";

/** Those that say how this server goes about it and not what is answered. */
const OURS: readonly (keyof GenerationWishes)[] = [
  "priority",
  "context_tokens_max",
  "keep_s",
  "prediction",
  "tells_tokens",
];
/** Those that every protocol has, each in its own words. */
const EVERYWHERE: readonly (keyof GenerationWishes)[] = [
  "sampling",
  "tokens_max",
  "stop",
  "tools",
  "tool_choice",
  "parallel_tool_calls",
  "reasoning",
];

/** What the caller has said about sampling, which must be of `names`; the rest is left to the provider. */
export function spokenSampling(
  request: GenerationRequest,
  names: readonly (keyof SamplingWishes)[],
): Readonly<Record<string, unknown>> {
  for (const [name, plain] of Object.entries(PLAIN_ANSWER) as [keyof GenerationWishes, unknown][]) {
    if (OURS.includes(name) || EVERYWHERE.includes(name)) continue;
    const is_ours = name === "truncation" && request[name] === "here";
    if (!is_ours && !Bun.deepEquals(request[name], plain)) throw unspoken(name, "it has no words for that");
  }
  const said = Object.entries(request.sampling).filter(([, value]) => value !== null);
  const unsaid = said.find(([name]) => !names.some((known) => known === name));
  if (unsaid !== undefined) throw unspoken(unsaid[0], "it has no such parameter");
  return Object.fromEntries(said);
}

export function unspoken(name: string, state: string): Failure {
  return new Failure("unsupported", `Cannot use "${name}" with a provider of another protocol: ${state}`, name);
}
