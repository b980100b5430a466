/** Reads from the headers of a model's files what it is. Loads nothing and opens no MLX. */

import { statSync } from "node:fs";
import { join } from "node:path";
import type { Capability, ModelCard } from "./core/card.ts";
import { Failure } from "./core/failure.ts";
import type { Purpose } from "./core/purpose.ts";
import type { KvBits } from "./core/settings.ts";
import { isSixteen } from "./formats/ggml-k-blocks.ts";
import type { GgufFile } from "./formats/gguf.ts";
import { readGgufModel } from "./formats/gguf-parts.ts";
import { asObject } from "./formats/json.ts";
import { purposeOf } from "./formats/purpose.ts";
import { readSafetensorsFolder, type SafetensorsTensor } from "./formats/safetensors.ts";
import { type ModelConfig, readConfig } from "./models/config.ts";
import { contextLength, textCache, textConfig } from "./models/estimate.ts";
import { architectureOf } from "./models/gguf-architectures.ts";
import { isReadType } from "./models/gguf-weights.ts";
import { isFamily } from "./models/load.ts";
import { quantizationOf, refuseForeignQuantization } from "./models/quantization.ts";
import { mentionsThoughts } from "./text/answer/thoughts.ts";
import { readFolderHeader } from "./text/folder.ts";
import { readGgufHeader } from "./text/gguf-source.ts";
import type { TextHeader } from "./text/source.ts";

/** Reads each model's files once, and again when they have changed; `kvBits` tells in which bits it keeps keys and values. */
export function cardReader(kvBits: (path: string) => KvBits): (path: string) => ModelCard {
  const known = new Map<string, { readonly changed_ms: number; readonly bits: KvBits; readonly card: ModelCard }>();
  return (path) => {
    const changed_ms = changedMs(path);
    const bits = kvBits(path);
    const before = known.get(path);
    if (before?.changed_ms === changed_ms && before.bits === bits) return before.card;
    const card = readCard(path, bits);
    known.set(path, { changed_ms, bits, card });
    return card;
  };
}

/** Of a folder the config is looked at too: it may be written anew in its place. */
function changedMs(path: string): number {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined)
    throw new Failure("unavailable", `Cannot read the model in ${path}: it is not there any more`);
  if (!found.isDirectory()) return found.mtimeMs;
  return Math.max(found.mtimeMs, statSync(join(path, "config.json"), { throwIfNoEntry: false })?.mtimeMs ?? 0);
}

/** `path`: a model folder or a GGUF file. `bits`: in which a model that answers keeps keys and values. */
export function readCard(path: string, bits: KvBits): ModelCard {
  const { config, forms, tensors, troubles, notes, readHeader } = statSync(path).isDirectory()
    ? ofFolder(path)
    : ofGguf(path);
  const text = textConfig(config);
  const purpose = told(troubles, () => purposeOf(path).kind);
  const known = numberOf(text["max_position_embeddings"]);
  const context_length = known === null ? null : contextLength(text, tensors);
  const header = told(troubles, readHeader);
  const template = header?.chat_template ?? null;
  const headers = { path, config: text, tensors };
  const cache = (purpose === "chat" && told(troubles, () => cacheOf(headers, bits))) || NO_CACHE;
  return {
    family: String(config["model_type"] ?? "unnamed"),
    purpose,
    capabilities: capabilitiesOf(purpose, template),
    parameters: forms.reduce((sum, { parameters }) => sum + parameters, 0),
    quantization: together(forms),
    context_length,
    layers: numberOf(text["num_hidden_layers"]),
    hidden_size: numberOf(text["hidden_size"]),
    cache,
    bytes_weights: tensors.reduce((sum, { bytes }) => sum + bytes, 0),
    chat_template: template,
    thinks: template !== null && mentionsThoughts(template),
    sampling: header?.sampling ?? NO_SAMPLING,
    chat_template_options: template === null ? null : templateOptions(template),
    not_supported: [...new Set(troubles)],
    notes: [
      ...[...notes, ...remarks(config)],
      ...(purpose === "chat" && known !== null && context_length !== known ? [shortened(known)] : []),
      ...(cache.kind === "recurrent" ? [NOT_GUESSED] : []),
    ],
  };
}

function numberOf(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

const NO_SAMPLING = { temperature: null, top_k: null, top_p: null, min_p: null };
const NOT_GUESSED = "its tokens are not guessed ahead: what its recurrent layers keep is not taken back";

function shortened(known: number): string {
  return `its ${known} tokens end here where its factors of positions for longer texts would begin`;
}

const NO_CACHE = { kind: "none", window: null, bits: 32, bytes_per_token: 0, bytes_per_text: 0 } as const;

function cacheOf(headers: Parameters<typeof textCache>[0], bits: KvBits): ModelCard["cache"] {
  const { token_bytes, window_token_bytes, window, state_bytes } = textCache(headers, bits);
  const kind = state_bytes > 0 ? "recurrent" : window > 0 ? "windowed" : "full";
  const bytes_per_token = token_bytes + window_token_bytes;
  return { kind, window: window || null, bits, bytes_per_token, bytes_per_text: state_bytes };
}

interface Form {
  readonly form: string;
  readonly parameters: number;
}

interface Headers {
  readonly config: ModelConfig;
  readonly tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly bytes: number }[];
  readonly forms: readonly Form[];
  readonly troubles: string[];
  readonly notes: readonly string[];
  readonly readHeader: () => TextHeader;
}

/** What `act` gives, or null when it is refused, which is then one of the troubles. */
function told<Value>(troubles: string[], act: () => Value): Value | null {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    troubles.push(error.message);
    return null;
  }
}

function ofFolder(path: string): Headers {
  const config = readConfig(path);
  const tensors = readSafetensorsFolder(path);
  const troubles: string[] = [];
  if (!isFamily(config["model_type"])) troubles.push(`Cannot load ${path}: its family is "${config["model_type"]}"`);
  told(troubles, () => refuseForeignQuantization(config, path));
  const forms = [...tensors.values()].flatMap((tensor) => {
    return told(troubles, () => formOf(tensor, tensors, config, path)) ?? [];
  });
  return {
    config,
    tensors: [...tensors.values()],
    forms,
    troubles,
    notes: [],
    readHeader: () => readFolderHeader(path),
  };
}

/** null: it belongs to another tensor. */
function formOf(
  { name, dtype, shape }: SafetensorsTensor,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  config: ModelConfig,
  path: string,
): Form | null {
  const elements = shape.reduce((product, size) => product * size, 1);
  const stem = name.replace(/\.(?:weight|scales|biases)$/, "");
  if (name.endsWith("_blocks")) return { form: "4-bit mxfp4 in groups of 32", parameters: 2 * elements };
  if (name.endsWith("_scales") && tensors.has(name.replace(/_scales$/, "_blocks"))) return null;
  if (/^I\d/.test(dtype)) return null; // positions and the like
  if (stem === name || !tensors.has(`${stem}.scales`)) return { form: dtype.toLowerCase(), parameters: elements };
  if (!name.endsWith(".weight")) return null;
  const how = quantizationOf(config, stem, path);
  if (how === null) return { form: dtype.toLowerCase(), parameters: elements };
  const form = `${how.bits}-bit ${how.mode} in groups of ${how.group_size}`;
  return { form, parameters: (elements * 32) / how.bits };
}

function ofGguf(path: string): Headers {
  const file = readGgufModel(path);
  const tensors = [...file.tensors.values()];
  const troubles: string[] = [];
  const config = told(troubles, () => architectureOf(file).config(() => null)) ?? ofUnknown(file);
  const forms = tensors.map(({ type, shape }) => {
    return { form: type, parameters: shape.reduce((product, size) => product * size, 1) };
  });
  const foreign = tensors.find(({ type }) => !isReadType(type));
  if (foreign !== undefined) troubles.push(`Cannot load ${path}: tensor "${foreign.name}" is ${foreign.type}`);
  const rounded = [...new Set(tensors.map(({ type }) => type).filter(isSixteen))];
  const notes = rounded.map((type) => `its ${type} weights are kept in 8-bit groups of 32, rounded once more`);
  return { config, tensors, forms, troubles, notes, readHeader: () => readGgufHeader(file) };
}

function ofUnknown(file: GgufFile): ModelConfig {
  return { model_type: file.metadata.get("general.architecture") };
}

function together(forms: readonly Form[]): readonly Form[] {
  const sums = new Map<string, number>();
  for (const { form, parameters } of forms) sums.set(form, (sums.get(form) ?? 0) + parameters);
  return [...sums].map(([form, parameters]) => ({ form, parameters })).sort((a, b) => b.parameters - a.parameters);
}

/** Variables that templates of published models ask for, beside the messages. */
const TEMPLATE_VARIABLES = [
  ...["tools", "documents", "enable_thinking", "thinking", "reasoning_effort", "thinking_budget", "clear_thinking"],
  ...[
    "preserve_thinking",
    "model_identity",
    "builtin_tools",
    "custom_tools",
    "date_string",
    "system_message",
    "controls",
  ],
];

/** What a template asks for in order to have a model think. */
const THINKING = ["enable_thinking", "thinking", "reasoning_effort", "thinking_budget"];

function capabilitiesOf(purpose: Purpose["kind"] | null, template: string | null): readonly Capability[] {
  switch (purpose) {
    case "embedding":
      return ["embeddings"];
    case "reranker":
      return ["rerank"];
    case null:
      return [];
    case "chat": {
      if (template === null) return ["completions"];
      const options = templateOptions(template);
      const thinks = mentionsThoughts(template) || THINKING.some((name) => options.includes(name));
      return [
        "chat",
        "completions",
        ...(options.includes("tools") ? ["tools" as const] : []),
        ...(thinks ? ["reasoning" as const] : []),
      ];
    }
  }
}

function templateOptions(template: string): readonly string[] {
  const code = [...template.matchAll(/\{[{%].*?[%}]\}/gs)]
    .map(([block]) => block.replace(/"[^"]*"|'[^']*'/g, ""))
    .join("\n");
  return TEMPLATE_VARIABLES.filter((name) => new RegExp(`(?<![.\\w])${name}\\b`).test(code));
}

function remarks(config: ModelConfig): readonly string[] {
  const sees = asObject(config["vision_config"]) !== null;
  const hears = asObject(config["audio_config"]) !== null;
  return [
    ...(sees ? ["its images are not read, its text is"] : []),
    ...(hears ? ["its sound is not read, its text is"] : []),
  ];
}
