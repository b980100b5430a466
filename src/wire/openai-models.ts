/** OpenAI's list of models. Knows no HTTP. */

import { Type } from "@sinclair/typebox";
import type { ModelRecord } from "../core/backend.ts";

export function modelBody(model: ModelRecord) {
  return { id: model.name, object: "model", created: model.created_s, owned_by: model.owner };
}

export function modelListBody(models: readonly ModelRecord[]) {
  return { object: "list", data: models.map(modelBody) };
}

export const modelSchema = Type.Object({
  id: Type.String(),
  object: Type.Literal("model"),
  created: Type.Integer({ description: "Seconds since the epoch." }),
  owned_by: Type.String(),
});

export const modelListSchema = Type.Object({ object: Type.Literal("list"), data: Type.Array(modelSchema) });
