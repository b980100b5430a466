/** How the routes are described in the OpenAPI document. */

import type { TSchema } from "@sinclair/typebox";
import type { DocumentDecoration } from "elysia";

const DESCRIPTIONS = {
  400: "The request is wrong, or asks for something that is not supported",
  401: "The request has no API key where one is needed, or one that is not known here",
  403: "The request does not come from this machine, or its API key does not allow it",
  404: "There is no such model",
  408: "The owner's limit of time is over",
  409: "The owner ended the request",
  413: "The body is over the limit",
  415: "The body is not JSON",
  429: "Too many requests at once; try again after `Retry-After` seconds",
  502: "The provider failed",
  504: "The provider took too long",
  500: "The engine or the server failed",
  503: "The model or the engine cannot serve until its owner mends it",
} as const;

/** Every route may answer 401. */
export type ProblemStatus = Exclude<keyof typeof DESCRIPTIONS, 401>;

/** The forms of an error, by the protocol that a route belongs to. */
const ERRORS: Readonly<Record<string, readonly [type: string, schema: string]>> = {
  Anthropic: ["application/json", "AnthropicError"],
  Ollama: ["application/json", "OllamaError"],
};
const PROBLEM = ["application/problem+json", "Problem"] as const;

/** `content`: the schemas of a good answer by media type. `request`: of a body that Elysia does not check itself. */
export function describe(
  tag: string,
  summary: string,
  content: Readonly<Record<string, TSchema>>,
  problems: readonly ProblemStatus[],
  request?: TSchema,
): DocumentDecoration {
  const good = Object.fromEntries(Object.entries(content).map(([type, schema]) => [type, { schema }]));
  const bad = ([401, ...problems] as const).map((status) => [status, problemResponse(tag, status)]);
  const responses = { 200: { description: "OK", content: good }, ...Object.fromEntries(bad) };
  if (request === undefined) return { tags: [tag], summary, responses };
  const requestBody = { required: true, content: { "application/json": { schema: request } } };
  return { tags: [tag], summary, requestBody, responses };
}

function problemResponse(tag: string, status: keyof typeof DESCRIPTIONS) {
  const [type, name] = ERRORS[tag] ?? PROBLEM;
  const schema = { $ref: `#/components/schemas/${name}` };
  return { description: DESCRIPTIONS[status], content: { [type]: { schema } } };
}
