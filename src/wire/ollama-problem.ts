/** What a caller of Ollama's API is told when a request fails: one sentence. */

import { Type } from "@sinclair/typebox";
import { type Problem, problem, problemText } from "./problem.ts";

export function ollamaProblem(error: unknown, request_id: string, instance: string): Problem {
  const { status, headers } = problem(error, request_id, instance);
  return {
    status,
    headers: { ...headers, "content-type": "application/json" },
    body: ollamaLastWords(error, request_id),
  };
}

/** Also the line that ends a stream which had begun well. */
export function ollamaLastWords(error: unknown, request_id: string): object {
  return { error: problemText(error, request_id) };
}

export const ollamaErrorSchema = Type.Object({ error: Type.String() });
