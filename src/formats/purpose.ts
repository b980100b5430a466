/** What a model folder says it is for: answering, vectors of texts, or scores of pairs. Reads its small files only. */

import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../core/failure.ts";
import type { EmbeddingPurpose, Pooling, Purpose, Reading, RerankerPurpose } from "../core/purpose.ts";
import { FileBytes } from "./file-bytes.ts";
import { asObject, readJson } from "./json.ts";

/** `path`: a model folder or a GGUF file, which is always for answering. */
export function purposeOf(path: string): Purpose {
  if (!statSync(path).isDirectory()) return CHAT;
  const config = optionalFields(path, "config.json") ?? {};
  const architecture = architectureOf(config);
  const modules = modulesOf(path);
  const classifies = architecture.endsWith("ForSequenceClassification");
  if (modules !== null && !classifies) return moduled(path, config, modules);
  if (classifies) return classifier(path, config);
  if (ENCODERS.has(String(config["model_type"]))) return plainEncoder(path, config, architecture);
  return isRanking(path) ? wordRanking(path, config) : CHAT;
}

/** As far as the config alone tells: a decoder may be meant for vectors or scores by its other files. */
export function purposeOfConfig(config: Fields): Purpose["kind"] {
  if (architectureOf(config).endsWith("ForSequenceClassification")) return "reranker";
  return ENCODERS.has(String(config["model_type"])) ? "embedding" : "chat";
}

function architectureOf(config: Fields): string {
  const [architecture = ""] = texts(config["architectures"]);
  return architecture;
}

const CHAT: Purpose = { kind: "chat" };

/** Of `model_type`; they read a text both ways and cannot continue one. */
const ENCODERS: ReadonlySet<string> = new Set(["bert", "roberta", "xlm-roberta"]);

type Fields = Readonly<Record<string, unknown>>;

function moduled(folder: string, config: Fields, modules: readonly Module[]): Purpose {
  const [first, second, ...others] = modules;
  const rest = others.map(({ type }) => type);
  const foreign = modules.find(({ type }) => !["Transformer", "Pooling", "Normalize", "LogitScore"].includes(type));
  if (foreign !== undefined) throw refusal(folder, "modules.json", `the module ${foreign.type} is not supported`);
  if (first?.type !== "Transformer" || first.path !== "") {
    throw refusal(folder, "modules.json", "its first module must be a Transformer at the folder itself");
  }
  if (second?.type === "LogitScore" && rest.length === 0) return tokenRanking(folder, second.path);
  if (second?.type !== "Pooling" || rest.length > 1 || rest.some((type) => type !== "Normalize")) {
    const found = modules.map(({ type }) => type).join(", ");
    throw refusal(folder, "modules.json", `expected Transformer, Pooling and Normalize or none, found ${found}`);
  }
  const place = join(second.path, "config.json");
  return embedding(folder, config, poolingOf(folder, place, fieldsOf(folder, place)), rest.length > 0);
}

/** As sentence-transformers reads one that is not its own. */
function plainEncoder(folder: string, config: Fields, architecture: string): Purpose {
  if (/(?:Model|ForMaskedLM|ForPreTraining)$/.test(architecture) || architecture === "") {
    return embedding(folder, config, ["mean"], false);
  }
  throw refusal(folder, "config.json", `the architecture ${architecture} is not supported`);
}

function embedding(folder: string, config: Fields, pooling: readonly Pooling[], normalize: boolean): EmbeddingPurpose {
  return {
    kind: "embedding",
    pooling,
    normalize,
    width: widthOf(folder, config) * pooling.length,
    dimensions: dimensionsOf(config),
    ...promptsOf(folder),
    reading: readingOf(folder),
  };
}

/** The fields of `1_Pooling/config.json`, in the order in which the results lie. */
const POOLING_FLAGS: readonly (readonly [string, Pooling])[] = [
  ["pooling_mode_cls_token", "cls"],
  ["pooling_mode_max_tokens", "max"],
  ["pooling_mode_mean_tokens", "mean"],
  ["pooling_mode_mean_sqrt_len_tokens", "mean_sqrt"],
  ["pooling_mode_weightedmean_tokens", "weighted_mean"],
  ["pooling_mode_lasttoken", "last"],
];

/** What newer files write in one field, `pooling_mode`. */
const POOLING_NAMES: ReadonlyMap<string, Pooling> = new Map([
  ["cls", "cls"],
  ["max", "max"],
  ["mean", "mean"],
  ["mean_sqrt_len_tokens", "mean_sqrt"],
  ["weightedmean", "weighted_mean"],
  ["lasttoken", "last"],
]);

function poolingOf(folder: string, file: string, fields: Fields): readonly Pooling[] {
  if (fields["include_prompt"] === false) {
    throw refusal(folder, file, "include_prompt false is not supported");
  }
  const named = fields["pooling_mode"];
  if (named === undefined) {
    const flagged = POOLING_FLAGS.flatMap(([flag, pooling]) => (fields[flag] === true ? [pooling] : []));
    return flagged.length > 0 ? flagged : ["mean"];
  }
  return (typeof named === "string" ? [named] : texts(named)).map((name) => {
    const pooling = POOLING_NAMES.get(name);
    if (pooling === undefined) throw refusal(folder, file, `the pooling "${name}" is not supported`);
    return pooling;
  });
}

function widthOf(folder: string, config: Fields): number {
  const width = config["hidden_size"];
  if (typeof width === "number") return width;
  throw refusal(folder, "config.json", "hidden_size must be a number");
}

/** As vLLM reads the same fields; no others tell of a training that lets a vector be cut. */
function dimensionsOf(config: Fields): EmbeddingPurpose["dimensions"] {
  const listed = config["matryoshka_dimensions"];
  if (Array.isArray(listed)) return listed.filter((item) => Number.isInteger(item));
  return config["is_matryoshka"] === true ? "any" : [];
}

function promptsOf(folder: string): Pick<EmbeddingPurpose, "prompt" | "prompts"> {
  const fields = optionalFields(folder, "config_sentence_transformers.json");
  const listed = Object.entries(asObject(fields?.["prompts"]) ?? {});
  const prompts = Object.fromEntries(listed.filter((entry): entry is [string, string] => typeof entry[1] === "string"));
  const name = fields?.["default_prompt_name"];
  if (typeof name !== "string") return { prompt: "", prompts };
  const prompt = Object.hasOwn(prompts, name) ? prompts[name] : undefined;
  if (prompt !== undefined) return { prompt, prompts };
  throw refusal(folder, "config_sentence_transformers.json", `there is no prompt "${name}"`);
}

function classifier(folder: string, config: Fields): RerankerPurpose {
  const labels = Object.keys(asObject(config["id2label"]) ?? {}).length;
  const count = typeof config["num_labels"] === "number" ? config["num_labels"] : labels || 2;
  if (count !== 1) throw refusal(folder, "config.json", `a classifier must have 1 label to rank by, found ${count}`);
  if (!ENCODERS.has(String(config["model_type"]))) {
    throw refusal(folder, "config.json", `a classifier of the family ${config["model_type"]} is not supported`);
  }
  return {
    kind: "reranker",
    score: { from: "classifier" },
    activation: activationOf(folder, config),
    reading: readingOf(folder),
  };
}

function tokenRanking(folder: string, path: string): RerankerPurpose {
  const place = join(path, "config.json");
  const { true_token_id: yes_id, false_token_id } = fieldsOf(folder, place);
  const no_id = false_token_id ?? null;
  if (!(isTokenId(yes_id) && (no_id === null || isTokenId(no_id)))) {
    throw refusal(folder, place, "true_token_id and false_token_id must be token ids");
  }
  return {
    kind: "reranker",
    score: { from: "tokens", yes_id, no_id, prompt: "template" },
    activation: activationOf(folder, {}),
    reading: readingOf(folder),
  };
}

/** Qwen3-Reranker as it was first published: nothing but its card tells it from a model for answering. */
function wordRanking(folder: string, config: Fields): RerankerPurpose {
  if (config["model_type"] !== "qwen3") {
    // each such family has words and a prompt of its own
    throw refusal(
      folder,
      "README.md",
      `text-ranking by a decoder of the family ${config["model_type"]} is not supported`,
    );
  }
  const tokenizer = fieldsOf(folder, "tokenizer.json");
  const vocabulary = asObject(asObject(tokenizer["model"])?.["vocab"]);
  const [yes_id, no_id] = [vocabulary?.["yes"], vocabulary?.["no"]];
  if (!(isTokenId(yes_id) && isTokenId(no_id))) {
    throw refusal(folder, "tokenizer.json", 'a reranker must have the tokens "yes" and "no"');
  }
  return {
    kind: "reranker",
    score: { from: "tokens", yes_id, no_id, prompt: "qwen" },
    activation: "sigmoid",
    reading: readingOf(folder),
  };
}

const CARD_BYTES_MAX = 2 ** 16; // what is asked for stands at the top

function isRanking(folder: string): boolean {
  const path = join(folder, "README.md");
  if (!existsSync(path)) return false;
  using file = new FileBytes(path);
  const text = new TextDecoder().decode(file.read(0, Math.min(file.bytes, CARD_BYTES_MAX), "the card"));
  const [, matter = ""] = /^---\r?\n(.*?)\n---/s.exec(text) ?? [];
  return /^pipeline_tag:\s*["']?text-ranking["']?\s*$/m.test(matter);
}

function activationOf(folder: string, config: Fields): RerankerPurpose["activation"] {
  const own = optionalFields(folder, "config_sentence_transformers.json")?.["activation_fn"];
  const named =
    own ??
    asObject(config["sentence_transformers"])?.["activation_fn"] ??
    config["sbert_ce_default_activation_function"];
  const name = String(named ?? "Sigmoid")
    .split(".")
    .at(-1);
  if (name === "Sigmoid") return "sigmoid";
  if (name === "Identity") return "identity";
  throw refusal(folder, "config.json", `the activation ${name} is not supported`);
}

/** Older versions named the file after the family. */
const READING_FILES = ["bert", "roberta", "xlm-roberta", "distilbert", "camembert", "albert", "xlnet"];

/** A tokenizer that has no limit says so with a number of thirty digits. */
const TOKENS_MAX_MEANT = 2 ** 24;

/** What tokenizer.json says of truncation is how its files were once exported; the two read here are what counts. */
function readingOf(folder: string): Reading {
  const files = READING_FILES.map((family) => optionalFields(folder, `sentence_${family}_config.json`));
  const said = files.find((fields) => fields !== null);
  const limits = [said?.["max_seq_length"], optionalFields(folder, "tokenizer_config.json")?.["model_max_length"]];
  const tokens_max = limits.find((limit) => typeof limit === "number" && limit >= 1 && limit <= TOKENS_MAX_MEANT);
  return {
    tokens_max: typeof tokens_max === "number" ? Math.floor(tokens_max) : null,
    lowercase: said?.["do_lower_case"] === true,
  };
}

interface Module {
  /** The last word of its class. */
  readonly type: string;
  readonly path: string;
}

function modulesOf(folder: string): readonly Module[] | null {
  const path = join(folder, "modules.json");
  if (!existsSync(path)) return null;
  const listed = readJson(path);
  if (!Array.isArray(listed)) throw refusal(folder, "modules.json", "it must be a list");
  return listed.map((item) => {
    const { type, path = "" } = asObject(item) ?? {};
    if (typeof type !== "string" || typeof path !== "string" || path.split(/[/\\]/).includes("..")) {
      throw refusal(folder, "modules.json", "each module must have a type and a path inside the folder");
    }
    return { type: type.split(".").at(-1) ?? type, path };
  });
}

function fieldsOf(folder: string, name: string): Fields {
  const fields = asObject(readJson(join(folder, name)));
  if (fields === null) throw refusal(folder, name, "it must be a JSON object");
  return fields;
}

function optionalFields(folder: string, name: string): Fields | null {
  return existsSync(join(folder, name)) ? fieldsOf(folder, name) : null;
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

function isTokenId(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}

function refusal(folder: string, file: string, state: string): Failure {
  return new Failure("unsupported", `Cannot use "${join(folder, file)}": ${state}`);
}
