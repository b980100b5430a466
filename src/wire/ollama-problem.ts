/** What a caller of Ollama's API is told when a request fails: one sentence. */

import { Type } from "@sinclair/typebox";
import { type Problem, statement } from "./problem.ts";

export function ollamaProblem(error: unknown, request_id: string): Problem {
  const { status, headers, message } = statement(error, request_id);
  return { status, headers: { ...headers, "content-type": "application/json" }, body: { error: message } };
}

/** Also the line that ends a stream which had begun well. */
export function ollamaLastWords(error: unknown, request_id: string): object {
  return { error: statement(error, request_id).message };
}

export const ollamaErrorSchema = Type.Object({ error: Type.String() });
