/**
 * Several requests answered as one: the choices of the first, then those of the second, and so on. Knows no backend's
 * inside.
 */

import type { Backend } from "./backend.ts";
import type { GenerationEvent, GenerationRequest, Usage } from "./generation.ts";
import { interleave } from "./interleave.ts";

/** Its `start` waits for that of every request: until then one of them may still be refused, and with it all. */
export async function* generateTogether(
  backend: Backend,
  requests: readonly GenerationRequest[],
  signal: AbortSignal,
): AsyncGenerator<GenerationEvent, void, undefined> {
  const [only, ...others] = requests;
  if (only !== undefined && others.length === 0) return yield* backend.generate(only, signal);
  const left = new AbortController();
  const ended = AbortSignal.any([signal, left.signal]);
  const sources = requests.map((request) => backend.generate(request, ended));
  try {
    yield* joined(interleave(sources), requests);
  } finally {
    left.abort(); // of several answers others may still run
  }
}

async function* joined(
  events: AsyncIterable<readonly [number, GenerationEvent]>,
  requests: readonly GenerationRequest[],
): AsyncGenerator<GenerationEvent, void, undefined> {
  const choicesBefore = (place: number) => requests.slice(0, place).reduce((sum, { choices }) => sum + choices, 0);
  const held: GenerationEvent[] = [];
  const starts: number[] = [];
  const usages: Usage[] = [];
  for await (const [place, event] of events) {
    if (event.kind === "start") {
      starts.push(event.prompt_tokens);
      if (starts.length < requests.length) continue;
      yield { kind: "start", prompt_tokens: sum(starts) };
      yield* held;
    } else if (event.kind === "end") {
      usages.push(event.usage);
    } else {
      const moved = { ...event, choice: choicesBefore(place) + event.choice };
      if (starts.length < requests.length) held.push(moved);
      else yield moved;
    }
  }
  yield { kind: "end", usage: total(usages) };
}

function total(usages: readonly Usage[]): Usage {
  return {
    prompt_tokens: sum(usages.map((usage) => usage.prompt_tokens)),
    cached_tokens: sum(usages.map((usage) => usage.cached_tokens)),
    completion_tokens: sum(usages.map((usage) => usage.completion_tokens)),
    reasoning_tokens: usages.every(({ reasoning_tokens }) => reasoning_tokens === null)
      ? null
      : sum(usages.map(({ reasoning_tokens }) => reasoning_tokens ?? 0)),
  };
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
