/** Puts into words where a prompt departs from what the prefix cache holds. */

import type { Around, PrefixExplanation, PrefixMatch } from "../core/prefix.ts";
import { Detokenizer } from "../text/detokenizer.ts";
import type { Vocabulary } from "../text/messages.ts";

// Enough to recognise the place.
const TOKENS_AROUND = 12;

export function inWords(
  { matched_tokens, departure }: PrefixMatch,
  prompt_ids: readonly number[],
  vocabulary: Vocabulary,
): PrefixExplanation {
  const prompt_tokens = prompt_ids.length;
  if (departure === null) return { prompt_tokens, matched_tokens, departure };
  const { position, cached_token_ids } = departure;
  // Up to there both are the same.
  const cached_ids = [...prompt_ids.slice(0, matched_tokens), ...cached_token_ids];
  const prompt = around(prompt_ids, position, vocabulary);
  const cached = around(cached_ids, position, vocabulary);
  return { prompt_tokens, matched_tokens, departure: { position, prompt, cached } };
}

function around(token_ids: readonly number[], position: number, vocabulary: Vocabulary): Around {
  const text = (from: number, to: number) => {
    const detokenizer = new Detokenizer(vocabulary, { at_start: from === 0 });
    return detokenizer.push(token_ids.slice(from, to)) + detokenizer.flush();
  };
  return {
    token_id: token_ids[position] ?? null,
    text_before: text(Math.max(0, position - TOKENS_AROUND), position),
    text_after: text(position, position + TOKENS_AROUND),
  };
}
