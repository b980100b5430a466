/** OpenAI's `responses/compact`: a talk as its user's words and a summary, for a caller to go on from. Knows no HTTP. */

import { type Static, Type } from "@sinclair/typebox";
import { assert } from "../core/assert.ts";
import type { GenerationRequest, Message } from "../core/generation.ts";
import type { ResponseShelf } from "../core/responses.ts";
import { signatureOf } from "./anthropic-signature.ts";
import type { Answer, AnswerWriter } from "./openai-answer.ts";
import { noteParameters } from "./openai-chat.ts";
import { usageBody, usageSchema } from "./openai-response-body.ts";
import { type Item, isSaidBy } from "./openai-response-items.ts";
import { markOf, readTalk, responseId, talkParameters } from "./openai-responses.ts";
import { strictObject } from "./schema.ts";

export const compactionRequestSchema = strictObject(
  { ...talkParameters, prompt_cache_key: noteParameters.prompt_cache_key },
  [],
);

interface AskedCompaction {
  readonly generation: GenerationRequest;
  readonly writer: AnswerWriter;
}

const ASKED = [
  "Sum up the talk so far, so that somebody who knows nothing else of it can go on with it: what was asked for, what was",
  "found out, decided and done, and what is still to be done. Keep names, numbers and paths as they are.",
].join(" ");

export function readCompaction(
  body: Static<typeof compactionRequestSchema>,
  request_id: string,
  shelf: ResponseShelf,
  now_ms: number,
): AskedCompaction {
  const { prompt, items } = readTalk(body, request_id, shelf);
  assert(prompt.prompt.kind === "messages", "a talk is messages");
  const generation = { ...prompt, prompt: { kind: "messages", messages: asking(prompt.prompt.messages) } } as const;
  return { generation, writer: new CompactionWriter(items, markOf(request_id), now_ms) };
}

/** Many templates know no two turns of one side. */
function asking(messages: readonly Message[]): readonly Message[] {
  const last = messages.at(-1);
  if (last?.role !== "user") return [...messages, { role: "user", content: ASKED }];
  return [...messages.slice(0, -1), { ...last, content: `${last.content}\n\n${ASKED}` }];
}

class CompactionWriter implements AnswerWriter {
  readonly #items: readonly Item[];
  readonly #mark: string;
  readonly #created_ms: number;

  constructor(items: readonly Item[], mark: string, created_ms: number) {
    this.#items = items;
    this.#mark = mark;
    this.#created_ms = created_ms;
  }

  body({ choices: [choice], usage }: Answer): object {
    assert(choice !== undefined, "an answer has a choice");
    const summary = { type: "compaction", id: `cmp_${this.#mark}_0`, encrypted_content: signatureOf(choice.text) };
    return {
      id: responseId(this.#mark),
      object: "response.compaction",
      created_at: Math.floor(this.#created_ms / 1000),
      output: [...this.#items.filter((item) => isSaidBy(item, "user")), summary],
      usage: usageBody(usage),
    };
  }

  chunks(): never {
    assert(false, "a compaction is not streamed");
  }
}

export const compactionSchema = Type.Object({
  id: Type.String(),
  object: Type.Literal("response.compaction"),
  created_at: Type.Integer({ description: "Seconds since the epoch." }),
  output: Type.Array(Type.Object({ type: Type.String(), id: Type.String() }), {
    description: "The user's messages, and a `compaction`: they are sent as the `input` that the talk goes on from.",
  }),
  usage: usageSchema,
});
