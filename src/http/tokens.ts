/** `POST /tokenize`, `/detokenize` and `/apply-template`: what the tokenizer of a model of this machine makes of words. */

import { Elysia } from "elysia";
import { Failure } from "../core/failure.ts";
import {
  detokenizeRequestSchema,
  promptBodySchema,
  readTemplate,
  readTokenize,
  templateRequestSchema,
  textBodySchema,
  tokenizeRequestSchema,
  tokensBody,
  tokensBodySchema,
} from "../wire/tokens.ts";
import { readJson } from "./body.ts";
import { describe } from "./openapi.ts";
import type { RouteParts } from "./parts.ts";

const TAG = "Tokens";
const PROBLEMS = [400, 403, 404, 413, 415, 500, 503] as const;

const details = {
  tokenize: describe(TAG, "Turn a text or a talk into tokens", { "application/json": tokensBodySchema }, PROBLEMS),
  detokenize: describe(TAG, "Turn tokens into their text", { "application/json": textBodySchema }, PROBLEMS),
  template: describe(TAG, "Write a talk as its model reads it", { "application/json": promptBodySchema }, PROBLEMS),
};

export function tokenRoutes(parts: RouteParts) {
  const { tokens, ids, outlook } = parts;
  const parse = async ({ request }: { request: Request }) => await readJson(request);
  const modelOf = (name: string | null | undefined) => name ?? onlyModel(parts);
  return new Elysia({ normalize: false })
    .post(
      "/tokenize",
      async ({ body, request }) => {
        const model = modelOf(body.model);
        const asked = readTokenize(body, model, ids.of(request));
        const found =
          asked.kind === "chat"
            ? await tokens.tokenizeChat(asked.request, request.signal)
            : await tokens.tokenize(model, asked.text, asked.around, request.signal);
        return tokensBody(found, body, (await outlook(model)).context_length);
      },
      { parse, body: tokenizeRequestSchema, detail: details.tokenize },
    )
    .post(
      "/detokenize",
      async ({ body, request }) => {
        const text = await tokens.detokenize(modelOf(body.model), body.tokens, request.signal);
        return { content: text, prompt: text };
      },
      { parse, body: detokenizeRequestSchema, detail: details.detokenize },
    )
    .post(
      "/apply-template",
      async ({ body, request }) => {
        const asked = readTemplate(body, modelOf(body.model), ids.of(request));
        return { prompt: await tokens.applyTemplate(asked, request.signal) };
      },
      { parse, body: templateRequestSchema, detail: details.template },
    );
}

/** Whose callers are used to a server of one model. */
function onlyModel({ owner }: RouteParts): string {
  const [only, another] = owner.status().loaded_models;
  if (only !== undefined && another === undefined) return only.model_id;
  const state = only === undefined ? "no model is in memory" : "several models are in memory";
  throw new Failure("invalid_request", `Cannot use the request: "model" is missing, and ${state}`, "model");
}
