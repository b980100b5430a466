/** What a model folder is for, by its files; and what is refused by its name. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { purposeOf } from "../../src/formats/purpose.ts";
import { failureOf, scratchFolder, write } from "./scratch.ts";

const ROOT = scratchFolder();
let count = 0;

type Files = Readonly<Record<string, object | string>>;

function folder(files: Files): string {
  const path = join(ROOT, String(count++));
  for (const [name, content] of Object.entries(files)) {
    write(join(path, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return path;
}

const BERT = { model_type: "bert", architectures: ["BertModel"], hidden_size: 8 };
const QWEN = { model_type: "qwen3", architectures: ["Qwen3ForCausalLM"], hidden_size: 16 };
const RANKS = { model_type: "bert", architectures: ["BertForSequenceClassification"], id2label: { "0": "LABEL_0" } };

function modules(...types: string[]) {
  return types.map((type, idx) => ({
    idx,
    name: String(idx),
    path: idx === 0 ? "" : `${idx}_${type}`,
    type: `sentence_transformers.models.${type}`,
  }));
}

const SENTENCE = {
  "config.json": BERT,
  "modules.json": modules("Transformer", "Pooling", "Normalize"),
  "1_Pooling/config.json": { word_embedding_dimension: 8, pooling_mode_mean_tokens: true },
};

const READING = { tokens_max: null, lowercase: false };
const PLAIN = {
  kind: "embedding",
  pooling: ["mean"],
  normalize: false,
  width: 8,
  dimensions: [],
  prompt: "",
  prompts: {},
  reading: READING,
};
const RANKING = { kind: "reranker", score: { from: "classifier" }, activation: "sigmoid", reading: READING };
const TOKENS = { from: "tokens", yes_id: 5, no_id: 6 };

const CASES: [string, Files, object][] = [
  ["a model that answers", { "config.json": { model_type: "llama" } }, { kind: "chat" }],
  ["an encoder alone is pooled by its mean", { "config.json": BERT }, PLAIN],
  ["a sentence-transformers folder", SENTENCE, { ...PLAIN, normalize: true }],
  [
    "its own limit goes before the tokenizer's",
    {
      ...SENTENCE,
      "sentence_bert_config.json": { max_seq_length: 256, do_lower_case: true },
      "tokenizer_config.json": { model_max_length: 512 },
      "tokenizer.json": { truncation: { max_length: 128 } },
    },
    { ...PLAIN, normalize: true, reading: { tokens_max: 256, lowercase: true } },
  ],
  [
    "the tokenizer's limit, where it is one",
    { ...SENTENCE, "sentence_bert_config.json": {}, "tokenizer_config.json": { model_max_length: 512 } },
    { ...PLAIN, normalize: true, reading: { tokens_max: 512, lowercase: false } },
  ],
  [
    "no limit is a number of thirty digits",
    { "config.json": BERT, "tokenizer_config.json": { model_max_length: 1e30 } },
    PLAIN,
  ],
  [
    "a decoder that gives its last token, may be cut, and has a prompt",
    {
      "config.json": { ...QWEN, is_matryoshka: true },
      "modules.json": modules("Transformer", "Pooling"),
      "1_Pooling/config.json": { pooling_mode_mean_tokens: false, pooling_mode_lasttoken: true },
      "config_sentence_transformers.json": { prompts: { query: "Query: " }, default_prompt_name: "query" },
    },
    {
      ...PLAIN,
      ...{ pooling: ["last"], width: 16, dimensions: "any", prompt: "Query: ", prompts: { query: "Query: " } },
    },
  ],
  [
    "several ways at once, and the lengths to cut to",
    {
      ...SENTENCE,
      "config.json": { ...BERT, matryoshka_dimensions: [4, 2] },
      "1_Pooling/config.json": { pooling_mode_max_tokens: true, pooling_mode_cls_token: true },
    },
    { ...PLAIN, pooling: ["cls", "max"], normalize: true, width: 16, dimensions: [4, 2] },
  ],
  [
    "the newer word for pooling",
    { ...SENTENCE, "1_Pooling/config.json": { pooling_mode: "lasttoken" } },
    { ...PLAIN, pooling: ["last"], normalize: true },
  ],
  ["a classifier with one label", { "config.json": RANKS }, RANKING],
  [
    "a classifier whose authors want its logits",
    { "config.json": { ...RANKS, sbert_ce_default_activation_function: "torch.nn.modules.linear.Identity" } },
    { ...RANKING, activation: "identity" },
  ],
  [
    "a decoder scored by two tokens",
    {
      "config.json": QWEN,
      "modules.json": modules("Transformer", "LogitScore"),
      "1_LogitScore/config.json": { true_token_id: 5, false_token_id: 6 },
    },
    { ...RANKING, score: { ...TOKENS, prompt: "template" } },
  ],
  [
    "a decoder whose card says that it ranks",
    {
      "config.json": QWEN,
      "README.md": "---\nlicense: apache-2.0\npipeline_tag: text-ranking\n---\n# Title\n",
      "tokenizer.json": { model: { vocab: { yes: 5, no: 6 } } },
    },
    { ...RANKING, score: { ...TOKENS, prompt: "qwen" } },
  ],
  [
    "a card that only speaks of ranking",
    { "config.json": QWEN, "README.md": "---\npipeline_tag: text-generation\n---\npipeline_tag: text-ranking\n" },
    { kind: "chat" },
  ],
];

test.each(CASES)("%s", (_, files, expected) => {
  expect(purposeOf(folder(files))).toEqual(expected as ReturnType<typeof purposeOf>);
});

const REFUSED: [string, Files, string][] = [
  ["a dense layer", { ...SENTENCE, "modules.json": modules("Transformer", "Pooling", "Dense") }, "the module Dense is"],
  [
    "two normalizations",
    { ...SENTENCE, "modules.json": modules("Transformer", "Normalize") },
    "expected Transformer, Pooling",
  ],
  [
    "a folder outside",
    { ...SENTENCE, "modules.json": [{ type: "Transformer", path: "../secret" }] },
    "a path inside the folder",
  ],
  ["modules that are none", { ...SENTENCE, "modules.json": { a: 1 } }, "it must be a list"],
  ["an unknown pooling", { ...SENTENCE, "1_Pooling/config.json": { pooling_mode: "median" } }, 'the pooling "median"'],
  ["pooling without the prompt", { ...SENTENCE, "1_Pooling/config.json": { include_prompt: false } }, "include_prompt"],
  ["three labels", { "config.json": { ...RANKS, num_labels: 3 } }, "must have 1 label to rank by, found 3"],
  ["a classifier of a decoder", { "config.json": { ...RANKS, model_type: "qwen3" } }, "of the family qwen3"],
  [
    "ranking by the words of another family",
    { "config.json": { ...QWEN, model_type: "qwen2" }, "README.md": "---\npipeline_tag: text-ranking\n---\n" },
    "text-ranking by a decoder of the family qwen2 is not supported",
  ],
  ["answers to questions", { "config.json": { ...BERT, architectures: ["BertForQuestionAnswering"] } }, "BertForQ"],
  [
    "a prompt that is not there",
    { ...SENTENCE, "config_sentence_transformers.json": { default_prompt_name: "query" } },
    'there is no prompt "query"',
  ],
];

describe("refused by name", () => {
  test.each(REFUSED)("%s", (_, files, words) => {
    expect(failureOf(() => purposeOf(folder(files))).message).toContain(words);
  });
});
