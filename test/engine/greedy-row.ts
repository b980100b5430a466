/** A row that wants the best tokens and nothing else: tests change what they are about. */

import { PLAIN_SAMPLING } from "../../src/core/generation.ts";
import { AT_ONCE } from "../open-mlx.ts";

export const GREEDY_ROW = {
  sampling: { ...PLAIN_SAMPLING, temperature: 0, seed: 0 },
  adapter: null,
  adapter_bytes_max: 2 ** 30,
  logprobs: null,
  tokens_min: 0,
  stop_token_ids: [],
  grammar: null,
  thought: null,
  prompt_logprobs: false,
  urgency: AT_ONCE,
};
