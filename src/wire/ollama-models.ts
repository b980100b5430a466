/** What Ollama's API tells of models: those there are, those in memory, and one by itself. Knows no HTTP. */

import { createHash } from "node:crypto";
import { Type } from "@sinclair/typebox";
import type { ModelEstimate, ModelRecord } from "../core/backend.ts";
import { Failure } from "../core/failure.ts";
import type { ModelStatus } from "../core/owner.ts";
import { ollamaModel, untagged } from "./ollama-parameters.ts";
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
    insecure: optional(Type.Literal(false)),
    username: emptyText,
    password: emptyText,
  },
  [],
);

/** Throws where there is none of that name. */
export function namedModel(
  { model, name }: { readonly model?: string | null; readonly name?: string | null },
  models: readonly ModelRecord[],
): ModelRecord {
  const wanted = model || name;
  if (!wanted) throw new Failure("invalid_request", 'Cannot use the request: "model" is missing', "model");
  const found = models.find((record) => record.name === untagged(wanted));
  if (found !== undefined) return found;
  throw new Failure(
    "not_found",
    `Cannot find model "${wanted}": model not found, this server does not have it`,
    "model",
  );
}

export function versionBody(version: string) {
  return { version: `${OLLAMA_API}+bunsen.${version}` };
}

export function tagsBody(models: readonly ModelRecord[]) {
  return { models: models.map(summary) };
}

/** `shares_memory`: the graphics chip computes in the machine's own memory. */
export function psBody(resident: readonly ModelStatus[], models: readonly ModelRecord[], shares_memory: boolean) {
  const ready = resident.filter(({ state }) => state === "ready");
  return {
    models: ready.flatMap(({ model_id, size_bytes, expires_at, context_length }) => {
      const record = models.find(({ name }) => name === model_id);
      if (record === undefined) return [];
      const size_vram = shares_memory ? size_bytes : 0;
      return [{ ...summary(record), size: size_bytes, size_vram, expires_at: expires_at ?? NEVER, context_length }];
    }),
  };
}

export function showBody(record: ModelRecord, { purpose }: ModelEstimate) {
  const { modified_at, details } = summary(record);
  const capabilities = { chat: ["completion"], embedding: ["embedding"], reranker: [] }[purpose];
  return { modified_at, details, capabilities, model_info: { "general.basename": record.name } };
}

function summary(record: ModelRecord) {
  const { name, created_s, bytes } = record;
  const modified_at = new Date(created_s * 1000).toISOString();
  return { name, model: name, modified_at, size: bytes, digest: digestOf(record), details: detailsOf(record) };
}

/** Another when its files are; to hash them would take a second a gigabyte. */
function digestOf({ name, created_s, bytes }: ModelRecord): string {
  return createHash("sha256")
    .update(JSON.stringify([name, created_s, bytes]))
    .digest("hex");
}

function detailsOf({ format }: ModelRecord) {
  return { parent_model: "", format, family: "", families: [], parameter_size: "", quantization_level: "" };
}

const detailsSchema = Type.Object({ format: Type.String() });
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
      context_length: Type.Union([Type.Integer(), Type.Null()]),
    }),
  ),
});
export const showBodySchema = Type.Object({
  modified_at: Type.String({ format: "date-time" }),
  details: detailsSchema,
  capabilities: Type.Array(Type.String({ examples: ["completion", "embedding"] })),
  model_info: Type.Record(Type.String(), Type.Unknown()),
});
export const versionSchema = Type.Object({ version: Type.String() });
export const statusSchema = Type.Object({ status: Type.String() });
