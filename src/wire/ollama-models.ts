/** What Ollama's API tells of models: those there are, those in memory, and one by itself. Knows no HTTP. */

import { createHash } from "node:crypto";
import { type Static, Type } from "@sinclair/typebox";
import type { ModelList, ModelRecord } from "../core/backend.ts";
import type { ModelCard } from "../core/card.ts";
import { Failure } from "../core/failure.ts";
import type { PullStep } from "../core/hub.ts";
import type { ModelStatus } from "../core/owner.ts";
import { ollamaModel } from "./ollama-parameters.ts";
import { optional, strictObject } from "./schema.ts";

/** Whose published description is followed here; clients ask for a least version of Ollama. */
const OLLAMA_API = "0.12.6";

/** Far enough for clients to say "forever". */
const NEVER = "9999-12-31T23:59:59Z";

/** Older clients say `name`. */
const either = { model: optional(ollamaModel), name: optional(Type.String()) };
const emptyText = optional(Type.Literal("")); // Ollama's own client sends what it does not use

export const showSchema = strictObject(
  {
    ...either,
    verbose: optional(Type.Boolean({ description: "Nothing is left out either way." })),
    system: emptyText,
    template: emptyText,
    options: optional(strictObject({}, [])),
  },
  [],
);
export const pullSchema = strictObject(
  {
    ...either,
    stream: optional(Type.Boolean()),
    insecure: optional(Type.Literal(false, { description: "The hub's certificate is always checked." })),
    username: emptyText,
    password: emptyText,
  },
  [],
);

export const copySchema = strictObject(
  {
    source: ollamaModel,
    destination: Type.String({ minLength: 1, description: "A new name for it: a profile that says nothing else." }),
  },
  [],
);
export const deleteSchema = strictObject(either, []);

interface EitherName {
  readonly model?: string | null;
  readonly name?: string | null;
}

export function nameOf({ model, name }: EitherName): string {
  const wanted = model || name;
  if (wanted) return wanted;
  throw new Failure("invalid_request", 'Cannot use the request: "model" is missing', "model");
}

/** Throws where there is none of that name. */
export function namedModel(asked: EitherName, models: Pick<ModelList, "record">): ModelRecord {
  const wanted = nameOf(asked);
  const found = models.record(wanted);
  if (found !== null) return found;
  throw new Failure(
    "not_found",
    `Cannot find model "${wanted}": model not found, this server does not have it`,
    "model",
  );
}

type UnfinishedPull = Exclude<PullStep, { readonly kind: "done" }>;

/** A line of a pull, in the words that Ollama's clients look for. */
export function pullBody(step: UnfinishedPull): Static<typeof pullLineSchema> {
  switch (step.kind) {
    case "listing":
      return { status: "pulling manifest" };
    case "file": {
      const { digest, bytes_total, bytes_here } = step;
      const [, hex = ""] = digest.split(":");
      const status = `pulling ${hex.slice(0, DIGEST_SHOWN)}`;
      return { status, digest, total: bytes_total, completed: bytes_here };
    }
    case "verifying":
      return { status: "verifying sha256 digest" };
    case "placing":
      return { status: "writing manifest" };
  }
}

const DIGEST_SHOWN = 12;

export function versionBody(version: string) {
  return { version: `${OLLAMA_API}+bunsen.${version}` };
}

/** null: its files cannot be read. */
type CardOf = (name: string) => ModelCard | null;

export function tagsBody(models: readonly ModelRecord[], cardOf: CardOf) {
  return { models: models.map((record) => summary(record, cardOf(record.name))) };
}

/** `shares_memory`: the graphics chip computes in the machine's own memory. */
export function psBody(
  resident: readonly ModelStatus[],
  models: readonly ModelRecord[],
  cardOf: CardOf,
  shares_memory: boolean,
) {
  const ready = resident.filter(({ state }) => state === "ready");
  return {
    models: ready.flatMap(({ model_id, size_bytes, expires_at, context_length }) => {
      const record = models.find(({ name }) => name === model_id);
      if (record === undefined) return [];
      const size_vram = shares_memory ? size_bytes : 0;
      const told = summary(record, cardOf(record.name));
      const length = context_length === null ? {} : { context_length };
      return [{ ...told, size: size_bytes, size_vram, expires_at: expires_at ?? NEVER, ...length }];
    }),
  };
}

export function showBody(record: ModelRecord, card: ModelCard) {
  const { modified_at, details } = summary(record, card);
  return {
    parameters: parametersOf(card).join("\n"),
    template: card.chat_template ?? "",
    modified_at,
    details,
    capabilities: capabilitiesOf(card),
    model_info: infoOf(record, card),
  };
}

function parametersOf({ sampling }: ModelCard): readonly string[] {
  const said = Object.entries(sampling).filter(([, value]) => value !== null);
  return said.map(([name, value]) => `${name.padEnd(PARAMETER_WIDTH)} ${value}`);
}

const PARAMETER_WIDTH = 24; // as Ollama sets them

/** Tools are told to a model whose template has no place for them, so each that chats may call. */
function capabilitiesOf({ purpose, chat_template, thinks }: ModelCard): readonly string[] {
  switch (purpose) {
    case "chat":
      return ["completion", ...(chat_template === null ? [] : ["tools"]), ...(thinks ? ["thinking"] : [])];
    case "embedding":
      return ["embedding"];
    default:
      return [];
  }
}

/** By the names that GGUF has for them. */
function infoOf({ name }: ModelRecord, card: ModelCard): Readonly<Record<string, unknown>> {
  const { family, parameters, context_length, layers, hidden_size } = card;
  const known = { context_length, block_count: layers, embedding_length: hidden_size };
  const said = Object.entries(known).filter(([, value]) => value !== null);
  return {
    "general.architecture": family,
    "general.basename": name,
    "general.parameter_count": parameters,
    ...Object.fromEntries(said.map(([key, value]) => [`${family}.${key}`, value])),
  };
}

function summary(record: ModelRecord, card: ModelCard | null) {
  const { name, created_s, bytes } = record;
  const modified_at = new Date(created_s * 1000).toISOString();
  return { name, model: name, modified_at, size: bytes, digest: digestOf(record), details: detailsOf(record, card) };
}

/** Another when its files are; to hash them would take a second a gigabyte. */
function digestOf({ name, created_s, bytes }: ModelRecord): string {
  return createHash("sha256")
    .update(JSON.stringify([name, created_s, bytes]))
    .digest("hex");
}

function detailsOf({ format }: ModelRecord, card: ModelCard | null) {
  const family = card?.family ?? "";
  return {
    parent_model: "",
    format,
    family,
    families: family === "" ? [] : [family],
    parameter_size: card === null ? "" : shortNumber(card.parameters),
    quantization_level: levelOf(card),
  };
}

/** The form that most weights have: "Q4_K", "BF16", "4-bit". */
function levelOf(card: ModelCard | null): string {
  const [first = ""] = (card?.quantization[0]?.form ?? "").split(" ");
  return /^\d/.test(first) ? first : first.toUpperCase();
}

/** "134.5M", "7.6B". */
function shortNumber(count: number): string {
  const [unit, letter] = UNITS.find(([unit]) => count >= unit) ?? [1, ""];
  return `${Number((count / unit).toFixed(1))}${letter}`;
}

const UNITS = [
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "K"],
] as const;

const detailsSchema = Type.Object({
  format: Type.String(),
  family: Type.String(),
  families: Type.Array(Type.String()),
  parameter_size: Type.String({ examples: ["134.5M"] }),
  quantization_level: Type.String({ examples: ["Q4_K"] }),
});
const summaryProperties = {
  name: Type.String(),
  model: Type.String(),
  modified_at: Type.String({ format: "date-time" }),
  size: Type.Integer({ description: "In bytes." }),
  digest: Type.String({ description: "Names this state of its files; it is not a hash of what they hold." }),
  details: detailsSchema,
};

export const tagsSchema = Type.Object({ models: Type.Array(Type.Object(summaryProperties)) });
export const psSchema = Type.Object({
  models: Type.Array(
    Type.Object({
      ...summaryProperties,
      size_vram: Type.Integer(),
      expires_at: Type.String({ format: "date-time" }),
      context_length: Type.Optional(Type.Integer({ description: "Absent of a model without one." })),
    }),
  ),
});
export const showBodySchema = Type.Object({
  parameters: Type.String({ description: "What the model's files say of sampling, a line each." }),
  template: Type.String({ description: "The chat template of its files, which is not Ollama's kind." }),
  modified_at: Type.String({ format: "date-time" }),
  details: detailsSchema,
  capabilities: Type.Array(Type.String({ examples: ["completion", "tools", "thinking", "embedding"] })),
  model_info: Type.Record(Type.String(), Type.Unknown()),
});
export const versionSchema = Type.Object({ version: Type.String() });
export const statusSchema = Type.Object({ status: Type.String() });
export const pullLineSchema = Type.Object({
  status: Type.String({ examples: ["pulling manifest", "pulling 4fcbd1a2e3b4", "success"] }),
  digest: Type.Optional(Type.String({ description: "Names the file that is fetched." })),
  total: Type.Optional(Type.Integer({ description: "Bytes of it." })),
  completed: Type.Optional(Type.Integer({ description: "Bytes of it that are here." })),
});
