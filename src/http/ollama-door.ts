/** What all endpoints of Ollama's dialect have in common. */

import type { TSchema } from "@sinclair/typebox";
import { untagged } from "../core/model-names.ts";
import { ollamaLastWords } from "../wire/ollama-problem.ts";
import { describe, type ProblemStatus } from "./openapi.ts";

/** Who asks for one of these reads Ollama's errors. */
export const OLLAMA_PATH =
  /^\/api\/(?:chat|generate|embed|embeddings|tags|ps|show|version|pull|push|create|copy|delete|blobs)(?:\/|$)/;

export const NDJSON = "application/x-ndjson";

export const OLLAMA = {
  protocol: "ollama",
  passed_headers: [],
  framing: { media_type: NDJSON, frame: (line: object) => `${JSON.stringify(line)}\n`, ending: "", waiting: null },
  lastWords: ollamaLastWords,
  modelOf: untagged,
} as const;

export function describeOllama(
  summary: string,
  content: Readonly<Record<string, TSchema>>,
  problems: readonly ProblemStatus[],
  request?: TSchema,
) {
  return describe("Ollama", summary, content, problems, request);
}
