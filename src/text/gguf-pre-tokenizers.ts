/** How text is cut into words before merging, by the names GGUF files use for it: what the tokenizer.json of those models says. */

import { GPT2_EXPRESSION } from "./tokenizer-parts.ts";

export interface PreTokenizer {
  /** Applied one after another; each match and each text between matches is a word. */
  readonly expressions: readonly string[];
  readonly normalizes: "NFC" | null;
  /** A word that is itself a token is taken whole. */
  readonly ignores_merges: boolean;
  /** Unless the file says otherwise. */
  readonly adds_bos: boolean;
}

const PLAIN = { normalizes: null, ignores_merges: false, adds_bos: false } as const;

const gpt2: PreTokenizer = { ...PLAIN, expressions: [GPT2_EXPRESSION] };

const digitsThenGpt2: PreTokenizer = { ...PLAIN, expressions: ["\\p{N}", GPT2_EXPRESSION] };

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const restOfTiktoken = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

const llama3: PreTokenizer = {
  expressions: [String.raw`${contractions}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|${restOfTiktoken}`],
  normalizes: null,
  ignores_merges: true,
  adds_bos: true,
};

const qwen2: PreTokenizer = {
  expressions: [String.raw`${contractions}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|${restOfTiktoken}`],
  normalizes: "NFC",
  ignores_merges: false,
  adds_bos: false,
};

const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;

const tekken: PreTokenizer = {
  expressions: [
    String.raw`[^\r\n\p{L}\p{N}]?${UPPER}*${LOWER}+|[^\r\n\p{L}\p{N}]?${UPPER}+${LOWER}*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  ],
  normalizes: null,
  ignores_merges: true,
  adds_bos: true,
};

/** o200k: a contraction belongs to the word before it. */
const gpt4o: PreTokenizer = {
  ...PLAIN,
  expressions: [
    String.raw`[^\r\n\p{L}\p{N}]?${UPPER}*${LOWER}+${contractions}?|[^\r\n\p{L}\p{N}]?${UPPER}+${LOWER}*${contractions}?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  ],
};

const deepseekV3: PreTokenizer = {
  ...PLAIN,
  expressions: [
    "\\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${"`"}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  ],
};

export const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map([
  ["default", gpt2],
  ["gpt-2", gpt2],
  ["phi-2", gpt2],
  ["mpt", gpt2],
  ["olmo", gpt2],
  ["smollm", digitsThenGpt2],
  ["starcoder", digitsThenGpt2],
  ["refact", digitsThenGpt2],
  ["codeshell", digitsThenGpt2],
  ["llama-bpe", llama3],
  ["llama3", llama3],
  ["llama-v3", llama3],
  ["lfm2", llama3],
  ["falcon3", llama3],
  ["pixtral", llama3],
  ["dbrx", { ...PLAIN, expressions: llama3.expressions }],
  ["smaug-bpe", { ...PLAIN, expressions: llama3.expressions }],
  ["glm4", { ...PLAIN, expressions: llama3.expressions }],
  ["chatglm-bpe", { ...PLAIN, expressions: llama3.expressions }],
  ["command-r", { ...digitsThenGpt2, normalizes: "NFC", adds_bos: true }],
  ["gpt-4o", gpt4o],
  ["qwen2", qwen2],
  ["deepseek-r1-qwen", qwen2],
  ["tekken", tekken],
  ["deepseek-v3", deepseekV3],
]);
