/** How callers' keys are written in requests and answers. Knows no HTTP and no store. */

import { type Static, Type } from "@sinclair/typebox";
import type { ApiKey, ApiKeyWords, NewApiKey } from "../core/api-keys.ts";
import { optional, strictObject } from "./schema.ts";

/** Goes into the audit and into messages as it is. */
export const API_KEY_NAME = "^[\\w.@-]{1,64}$";
const name = Type.String({
  pattern: API_KEY_NAME,
  description: "Letters, digits and . _ @ -, at most 64; under it the audit tells its requests.",
});
const admin = Type.Boolean({ description: "May also set the server and look into it; others only ask models." });
const privacy = Type.Literal("local-only", { description: "What is asked with it never leaves this machine." });

export const apiKeyRequestSchema = strictObject({ name, admin: optional(admin), privacy: optional(privacy) }, [], {
  examples: [{ name: "laptop", privacy: "local-only" }],
});

export const apiKeySchema = Type.Object({
  id: Type.Integer(),
  name,
  admin,
  privacy: Type.Union([privacy, Type.Null()]),
  created_at: Type.String({ format: "date-time" }),
});

export const newApiKeySchema = Type.Object({
  ...apiKeySchema.properties,
  api_key: Type.String({ description: "Told this once; only its hash is kept." }),
});

export function readApiKey(body: Static<typeof apiKeyRequestSchema>): ApiKeyWords {
  return { name: body.name, admin: body.admin ?? false, privacy: body.privacy ?? null };
}

export function apiKeyBody({ created_ms, ...key }: ApiKey): Static<typeof apiKeySchema> {
  return { ...key, created_at: new Date(created_ms).toISOString() };
}

export function newApiKeyBody({ key, secret }: NewApiKey): Static<typeof newApiKeySchema> {
  return { ...apiKeyBody(key), api_key: secret };
}
