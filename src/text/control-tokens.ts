/** Which tokens steer a model rather than say something, where its files leave that open. */

/** Tokens that end a text or a turn, by the names model families gave them. */
const END_OF_TURN: ReadonlySet<string> = new Set([
  "<|im_end|>", // ChatML: Qwen, SmolLM, …
  "<|eot_id|>", // Llama 3
  "<|eom_id|>",
  "<|eot|>", // Llama 4
  "<end_of_turn>", // Gemma
  "<turn|>", // Gemma 4
  "<|end|>", // Phi
  "<|endoftext|>",
  "<|end_of_text|>", // Llama 3, Granite
  "<|end_of_turn|>",
  "<|END_OF_TURN_TOKEN|>", // Cohere
  "<｜end▁of▁sentence｜>", // DeepSeek
  "<end_of_utterance>", // SmolVLM
  "<|return|>", // gpt-oss
  "<|call|>",
  "[EOT]",
  "<EOT>",
]);

export function isEndOfTurn(content: string): boolean {
  return END_OF_TURN.has(content);
}

/** The ids among `tokens` that end an answer. */
export function endOfTurnIds(tokens: readonly { readonly id: number; readonly content: string }[]): readonly number[] {
  const contents = new Set(tokens.map((token) => token.content));
  // In the Harmony format <|end|> ends a message within a turn, and <|return|> or <|call|> the turn.
  const is_harmony = contents.has("<|return|>") && contents.has("<|call|>");
  const ends = tokens.filter((token) => isEndOfTurn(token.content) && !(is_harmony && token.content === "<|end|>"));
  return ends.map((token) => token.id);
}

/** Turn markers, some of which their files do not call special: `<|user|>`, `<｜User｜>`, `<start_of_turn>`, `<|turn>`. */
export function isTurnMarker(content: string): boolean {
  return isEndOfTurn(content) || content === "<start_of_turn>" || /^<[|｜].+>$|^<.+[|｜]>$/su.test(content);
}
