/** How likely drawn tokens were, in the two forms of OpenAI's answers. Knows no HTTP. */

import { Type } from "@sinclair/typebox";
import type { DrawnReport, TokenReport } from "../core/generation.ts";

/** Of a chat's answer: token by token. */
export function chatLogprobs(tokens: readonly DrawnReport[]) {
  const content = tokens.map((token) => ({ ...tell(token), top_logprobs: token.top.map(tell) }));
  return { content, refusal: null };
}

/** Of a completion: list by list. Of the likeliest tokens two may have one text: the likelier is told. */
export function completionLogprobs(tokens: readonly DrawnReport[]) {
  return {
    tokens: tokens.map(({ text }) => text),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ text, logprob, top }) => {
      return logprob === null ? null : byText([{ text, logprob }, ...top]);
    }),
    text_offset: tokens.map(({ text_offset }) => text_offset),
  };
}

function tell({ text, bytes, logprob }: TokenReport | DrawnReport) {
  return { token: text, logprob, bytes };
}

function byText(tokens: readonly Pick<TokenReport, "text" | "logprob">[]): Record<string, number> {
  const entries = tokens.map(({ text, logprob }) => [text, logprob] as const);
  return Object.fromEntries(entries.sort(([, left], [, right]) => left - right));
}

const tokenProperties = {
  token: Type.String({ description: "Bytes that are no text by themselves are written `bytes:\\xe2\\x80`." }),
  logprob: Type.Number(),
  bytes: Type.Union([Type.Array(Type.Integer()), Type.Null()]),
};

export const chatLogprobsSchema = Type.Union([
  Type.Object({
    content: Type.Array(Type.Object({ ...tokenProperties, top_logprobs: Type.Array(Type.Object(tokenProperties)) })),
    refusal: Type.Null(),
  }),
  Type.Null(),
]);

export const completionLogprobsSchema = Type.Union([
  Type.Object({
    tokens: Type.Array(Type.String()),
    token_logprobs: Type.Array(
      Type.Union([Type.Number(), Type.Null()], { description: "null: nothing is before it." }),
    ),
    top_logprobs: Type.Array(Type.Union([Type.Record(Type.String(), Type.Number()), Type.Null()])),
    text_offset: Type.Array(Type.Integer({ description: "Characters of the answer before the token." })),
  }),
  Type.Null(),
]);
