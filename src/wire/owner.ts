/** What the owner's routes take and give: pool, ledger, queue and settings. Knows no HTTP. */

import { type TSchema, Type } from "@sinclair/typebox";
import type { SettingForm } from "../core/setting-forms.ts";
import { SETTINGS, type SettingGroup, settingsOf } from "../core/settings.ts";
import { called } from "./violation.ts";

const bytes = (description: string) => Type.Integer({ description: `In bytes: ${description}.` });
const nullable = (schema: TSchema) => Type.Union([schema, Type.Null()]);

const modelStatus = {
  model_id: Type.String({ examples: ["SmolLM2-135M-Instruct"] }),
  model_type: nullable(Type.Union([Type.Literal("chat"), Type.Literal("embedding"), Type.Literal("reranker")])),
  state: Type.Union([Type.Literal("loading"), Type.Literal("ready"), Type.Literal("unloading")]),
  size_bytes: bytes("weights, and what its keys and values may take"),
  size_gb: Type.Number({ examples: [0.473] }),
  preloaded: Type.Boolean({ description: "It is never evicted." }),
  in_flight: Type.Integer({ description: "Requests that use it now." }),
  uses: Type.Integer(),
  loaded_at: nullable(Type.String({ format: "date-time" })),
  last_used: Type.String({ format: "date-time" }),
  expires_at: nullable(Type.String({ format: "date-time", description: "When it is unloaded; null: never." })),
  context_length: nullable(Type.Integer()),
};

const memory = {
  limit_bytes: bytes("what all models together may take"),
  taken_bytes: bytes("what they take, or have reserved"),
  free_bytes: bytes("what is left; below zero after the limit was lowered"),
  process_bytes: bytes("of the whole process, as the system counts it"),
};

export const poolStatusSchema = Type.Object({
  loaded_models: Type.Array(Type.Object(modelStatus)),
  total_models: Type.Integer({ description: "That can be served." }),
  memory: Type.Object(memory),
  max_memory_gb: Type.Number({ examples: [12.8] }),
  current_memory_gb: Type.Number({ examples: [0.473] }),
  max_models: Type.Integer({ examples: [8] }),
});

export const loadedSchema = Type.Object({ status: Type.Literal("loaded"), ...modelStatus });

export const unloadedSchema = Type.Object({ status: Type.Literal("unloaded"), model_id: Type.String() });

export const ledgerSchema = Type.Object({
  ...memory,
  entries: Type.Array(
    Type.Object({
      model_id: Type.String(),
      weights_bytes: bytes("measured, or as estimated until it is loaded"),
      weights_bytes_estimated: bytes("as the headers of its files told before"),
      is_measured: Type.Boolean(),
      kv_bytes: bytes("keys and values of its requests, and of its prefix cache in what they leave"),
      step_bytes: bytes("what its largest step takes beside"),
      adapters_bytes: bytes("adapters that are loaded for it"),
      adapters_bytes_idle: bytes("of them such as no request uses, which go when another needs their room"),
    }),
  ),
});

const place = {
  position: Type.Integer({ minimum: 1, description: "The first is at 1." }),
  estimated_ms: nullable(Type.Integer({ description: "By how long answers took lately; null: none has ended yet." })),
};
const waitSchema = Type.Union([
  Type.Object({ kind: Type.Union([Type.Literal("memory"), Type.Literal("row")]), ...place }),
  Type.Object({
    kind: Type.Literal("load"),
    stage: Type.String({ examples: ["weights"] }),
    bytes_done: Type.Integer(),
    bytes_total: Type.Integer(),
  }),
  Type.Object({ kind: Type.Literal("prompt") }),
]);

export const queueSchema = Type.Object({
  waiting: Type.Integer({ description: "Requests that wait for a row." }),
  requests: Type.Array(
    Type.Object({
      request_id: Type.String({ examples: ["req_0123456789ab"] }),
      model: Type.String(),
      state: Type.Union([Type.Literal("waiting"), Type.Literal("answering")]),
      waits_for: nullable(waitSchema),
      came_at: Type.String({ format: "date-time" }),
    }),
  ),
});

export const cancelledSchema = Type.Object({ status: Type.Literal("cancelled"), request_id: Type.String() });

export const adminHealthSchema = Type.Object({
  status: Type.Literal("ok"),
  version: Type.String(),
  memory: Type.Object(memory),
});

export const loadingEventSchema = Type.Object({
  stage: Type.String({ examples: ["weights", "tokenizer", "ready", "error"] }),
  bytes_done: Type.Optional(Type.Integer()),
  bytes_total: Type.Optional(Type.Integer()),
  message: Type.Optional(Type.String()),
});

export const preloadsSchema = Type.Array(
  Type.Object({
    model_id: Type.String(),
    status: Type.Union([Type.Literal("loaded"), Type.Literal("already_loaded"), Type.Literal("failed")]),
    reason: nullable(Type.String()),
  }),
);

const applied = {
  changed: Type.Array(Type.String({ examples: ["max_models"] })),
  needs_restart: Type.Array(Type.String(), { description: "Settings that act from the next start on." }),
  preloads: preloadsSchema,
  stays: Type.Array(
    Type.Object({
      model_id: Type.String(),
      reason: Type.Union([Type.Literal("preloaded"), Type.Literal("in use")]),
    }),
    { description: "Models that are in memory although the limit is below what is taken." },
  ),
};

export const appliedSchema = Type.Object(applied);

/** What a PUT takes: any of the group's settings. */
export function settingsRequestSchema(group: SettingGroup) {
  const fields = settingsOf(group).map((name) => [name, Type.Optional(schemaOf(SETTINGS[name].form, name))]);
  return Type.Object(Object.fromEntries(fields), { additionalProperties: false, minProperties: 1 });
}

export function settingsSchema(group: SettingGroup) {
  return Type.Object(fieldsOf(group));
}

/** What a PUT answers: the settings as they stand now, and what the change did. */
export function settingsAppliedSchema(group: SettingGroup) {
  return Type.Object({ ...fieldsOf(group), ...applied });
}

function fieldsOf(group: SettingGroup): Record<string, TSchema> {
  return Object.fromEntries(settingsOf(group).map((name) => [name, schemaOf(SETTINGS[name].form, name)]));
}

function schemaOf(form: SettingForm, name: keyof typeof SETTINGS): TSchema {
  const description = SETTINGS[name].help;
  switch (form.kind) {
    case "count":
    case "bytes":
      return Type.Integer({ minimum: form.least, maximum: form.most, description });
    case "number":
      return Type.Number({ minimum: form.least, maximum: form.most, description });
    case "choice":
    case "number_of":
      return Type.Union(
        form.of.map((value: string | number) => Type.Literal(value)),
        { description },
      );
    case "text":
    case "url":
      return Type.String({ minLength: 1, description });
    case "texts":
      return Type.Array(Type.String({ minLength: 1 }), { description, ...called("texts") });
  }
}
