/** Reads how many tokens a provider says it has counted, in OpenAI's words or in Anthropic's. */

import { type Static, Type } from "@sinclair/typebox";
import type { CountedUsage } from "../../core/exchange.ts";
import { checkedWhenUsed } from "./checked-when-used.ts";

/** More than all text there is; beyond 2^63 the audit's column would refuse it. */
const TOKENS_MAX = 1e12;
const count = Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: TOKENS_MAX }), Type.Null()]));
const details = Type.Optional(Type.Union([Type.Object({ cached_tokens: count }), Type.Null()]));

const thought = Type.Optional(
  Type.Union([Type.Object({ reasoning_tokens: count, thinking_tokens: count }), Type.Null()]),
);

const usage = Type.Object({
  prompt_tokens: count,
  completion_tokens: count,
  prompt_tokens_details: details,
  completion_tokens_details: thought,
  input_tokens: count,
  output_tokens: count,
  input_tokens_details: details,
  output_tokens_details: thought,
  cache_read_input_tokens: count,
  cache_creation_input_tokens: count,
});

const maybeUsage = Type.Optional(Type.Union([usage, Type.Null()]));
const inner = Type.Optional(Type.Object({ usage: maybeUsage }));

/** In the body itself, in Anthropic's first event (`message`), or in the last of OpenAI's responses (`response`). */
const holder = checkedWhenUsed(Type.Object({ usage: maybeUsage, message: inner, response: inner }));

/** `before`: what earlier events of the same answer said; a later word counts. */
export function usageIn(value: unknown, before: CountedUsage | null): CountedUsage | null {
  if (!holder().Check(value)) return before;
  const found = value.usage ?? value.message?.usage ?? value.response?.usage;
  return found ? merged(found, before) : before;
}

function merged(found: Static<typeof usage>, before: CountedUsage | null): CountedUsage {
  const cached = found.prompt_tokens_details?.cached_tokens ?? found.input_tokens_details?.cached_tokens;
  const thought = found.completion_tokens_details ?? found.output_tokens_details;
  return {
    prompt_tokens: found.prompt_tokens ?? promptOf(found) ?? before?.prompt_tokens ?? 0,
    completion_tokens: found.completion_tokens ?? found.output_tokens ?? before?.completion_tokens ?? 0,
    cached_tokens: cached ?? found.cache_read_input_tokens ?? before?.cached_tokens ?? null,
    reasoning_tokens: thought?.reasoning_tokens ?? thought?.thinking_tokens ?? before?.reasoning_tokens ?? null,
  };
}

/** Anthropic counts what was cached apart from the rest. */
function promptOf(found: Static<typeof usage>): number | null {
  if (found.input_tokens === undefined || found.input_tokens === null) return null;
  return found.input_tokens + (found.cache_read_input_tokens ?? 0) + (found.cache_creation_input_tokens ?? 0);
}
