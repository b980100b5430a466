/** How the hub's settings are written in requests and answers. Knows no HTTP and no store. */

import { type Static, Type } from "@sinclair/typebox";
import { Failure } from "../core/failure.ts";
import type { HubWords } from "../core/hub.ts";
import { SETTINGS } from "../core/settings.ts";
import { isUrl } from "../core/url.ts";

export const hubStatusSchema = Type.Object({
  hf_endpoint: Type.String({ description: SETTINGS.hf_endpoint.help, examples: ["https://huggingface.co"] }),
  token: Type.Union(
    ["none", "stored", "environment", "file", "lost"].map((state) => Type.Literal(state)),
    { description: "Where it comes from; it is never shown. lost: enter it again.", examples: ["stored"] },
  ),
});

export const hubRequestSchema = Type.Object(
  {
    hf_endpoint: Type.Optional(Type.String({ minLength: 1, description: SETTINGS.hf_endpoint.help })),
    token: Type.Optional(Type.Union([Type.String(), Type.Null()], { description: "null removes the stored one." })),
  },
  { additionalProperties: false, minProperties: 1 },
);

export const hubTestSchema = Type.Object({
  outcome: Type.Union(
    ["ok", "no_token", "token_lost", "unauthorised", "refused", "unreachable"].map((outcome) => Type.Literal(outcome)),
  ),
  detail: Type.String(),
  name: Type.Union([Type.String(), Type.Null()], { description: "Whose token it is." }),
  latency_ms: Type.Number(),
});

/** A token goes into a header; of one that cannot, nothing is said back. */
export function readHubWords({ hf_endpoint, token }: Static<typeof hubRequestSchema>): HubWords {
  if (hf_endpoint !== undefined && !isUrl(hf_endpoint)) {
    const state = `expected a URL of http or https without a query, found "${hf_endpoint}"`;
    throw new Failure("invalid_request", `Cannot use "hf_endpoint": ${state}`, "hf_endpoint");
  }
  if (typeof token === "string" && !/^[\x21-\x7e]{1,512}$/.test(token)) {
    const state = "expected up to 512 letters, digits and signs without a space";
    throw new Failure("invalid_request", `Cannot use "token": ${state}`, "token");
  }
  return { ...(hf_endpoint === undefined ? {} : { hf_endpoint }), ...(token === undefined ? {} : { token }) };
}
